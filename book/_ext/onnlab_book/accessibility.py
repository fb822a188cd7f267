"""Repairs to the HTML that the theme and its extensions write, found with axe-core."""

import re
from pathlib import Path

from sphinx.application import Sphinx

# What today's theme writes, and what stands in its place. The pages themselves are checked in tests/site.
REPAIRS = {
    # The sidebar is a landmark.
    r'<div id="pst-primary-sidebar"': '<div role="region" aria-label="Book" id="pst-primary-sidebar"',
    # The arrow that unfolds the pages of a chapter has a name.
    r"(>([^<>]+)</a><details[^>]*>)<summary>": r'\1<summary aria-label="Pages of \2">',
    # The search button is called what it shows.
    r'(<button class="btn search-button-field[^>]*?) aria-label="Search"': r"\1",
    # So is a cell that shows its code when asked.
    r'<summary aria-label="Toggle hidden content">': "<summary>",
    # Icons are not read out.
    r'(<i class="theme-switch[^>]*?) title="[^"]*"': r"\1",
    # The list of references uses no withdrawn role, and no role for its entries without one for the list.
    r'(<div) role="list"( class="citation-list")': r"\1\2",
    r'(<div class="citation"[^>]*?) role="doc-biblioentry"': r"\1",
    # One spelling in the whole book.
    r"\bColor mode\b": "Colour mode",
}


def setup(app: Sphinx) -> None:
    app.connect("build-finished", repair_pages)


def repaired(html: str) -> str:
    for pattern, replacement in REPAIRS.items():
        html = re.sub(pattern, replacement, html)
    return html


def repair_pages(app: Sphinx, error: Exception | None) -> None:
    if error is not None or app.builder.format != "html":
        return
    for page in Path(app.outdir).rglob("*.html"):
        before = page.read_text(encoding="utf-8")
        after = repaired(before)
        if after != before:
            page.write_text(after, encoding="utf-8")
