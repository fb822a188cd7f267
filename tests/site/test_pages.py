"""Every page of the site, opened from disk with the network cut."""

from pathlib import Path

import pytest
import yaml
from playwright.sync_api import Browser

from tests.site import checks
from tests.site.conftest import ROOT


def documents(entry: dict) -> list[str]:
    """Documents of an entry of the table of contents and of everything below it."""
    own = [entry[key] for key in ("root", "file") if key in entry]
    below = [
        one
        for key in ("parts", "chapters", "sections")
        for part in entry.get(key, [])
        for one in documents(part)
    ]
    return own + below


PAGES = [
    f"{name}.html" for name in documents(yaml.safe_load((ROOT / "_toc.yml").read_text(encoding="utf-8")))
]
EXTRA = ["genindex.html", "search.html"]


@pytest.mark.parametrize("name", PAGES + EXTRA)
def test_page_is_well(chromium: Browser, site: Path, name: str) -> None:
    with checks.visit(chromium, (site / name).as_uri()) as visited:
        assert checks.everything(visited) == []


def test_no_page_is_left_out(site: Path) -> None:
    built = {
        page.relative_to(site).as_posix() for page in site.rglob("*.html") if "_static" not in page.parts
    }
    assert built == {*PAGES, *EXTRA, "index.html"}


def test_front_door_leads_to_the_first_page(chromium: Browser, site: Path) -> None:
    context = chromium.new_context(offline=True)
    page = context.new_page()
    page.goto((site / "index.html").as_uri())
    page.wait_for_url((site / PAGES[0]).as_uri())
    context.close()


def test_dark_and_light_differ(chromium: Browser, site: Path) -> None:
    brightness = (
        "() => getComputedStyle(document.body).backgroundColor.match(/[0-9.]+/g).slice(0, 3).map(Number)"
    )
    with checks.visit(chromium, (site / PAGES[0]).as_uri()) as (page, _):
        light = page.evaluate(brightness)
        checks.choose(page, "dark")
        dark = page.evaluate(brightness)
    assert min(light) > 230
    assert max(dark) < 50


def test_formulas_use_the_local_mathjax(chromium: Browser, site: Path) -> None:
    with checks.visit(chromium, (site / "book/notation.html").as_uri()) as (page, _):
        assert page.locator("mjx-container").count() > 30
        fonts = page.evaluate("() => [...document.fonts].map((font) => [font.family, font.status])")
    assert sum("MJXTEX" in family and status == "loaded" for family, status in fonts) >= 2


@pytest.mark.parametrize(("name", "least"), [("held", 20), ("results", 40)])
def test_results_are_read_without_scrolling_a_table(
    name: str, least: int, chromium: Browser, site: Path
) -> None:
    with checks.visit(chromium, (site / f"book/{name}.html").as_uri()) as (page, _):
        tables = page.locator(".onnlab-results .pst-scrollable-table-container")
        wide = tables.evaluate_all("all => all.map((one) => one.scrollWidth - one.clientWidth)")
    assert len(wide) > least and max(wide) <= 0
