"""Links within the site lead somewhere, and links to the outside are secure."""

from functools import cache
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urldefrag, urlsplit

import pytest


class Anchors(HTMLParser):
    """Targets and links of one page."""

    def __init__(self) -> None:
        super().__init__()
        self.ids: set[str] = set()
        self.links: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        values = dict(attrs)
        self.ids |= {values[key] for key in ("id", "name") if values.get(key)}
        self.links += [values[key] for key in ("href", "src") if values.get(key)]


@cache
def read(page: Path) -> Anchors:
    anchors = Anchors()
    anchors.feed(page.read_text(encoding="utf-8"))
    return anchors


def broken(page: Path) -> list[str]:
    """Links of a page that lead nowhere."""
    found = []
    for link in read(page).links:
        parts = urlsplit(link)
        if parts.scheme:
            found += [link] if parts.scheme == "http" else []
            continue
        path, anchor = urldefrag(link.partition("?")[0] if "?" in link else link)
        target = (page.parent / unquote(path)).resolve() if path else page
        if not target.is_file() or (
            anchor and target.suffix == ".html" and unquote(anchor) not in read(target).ids
        ):
            found.append(link)
    return found


def test_every_link_leads_somewhere(site: Path) -> None:
    pages = [page for page in site.rglob("*.html") if "_static" not in page.parts]
    assert len(pages) > 5
    assert {page.name: broken(page) for page in pages if broken(page)} == {}


@pytest.mark.parametrize("link", ["gone.html", "#gone", "page.html#gone", "gone.css", "http://example.org"])
def test_broken_link_is_found(tmp_path: Path, link: str) -> None:
    page = tmp_path / "page.html"
    page.write_text(f'<p id="here"><a href="#here">good</a><a href="{link}">bad</a></p>', encoding="utf-8")
    assert broken(page) == [link]
