"""The search works on a folder of files: no server, no network."""

from pathlib import Path

import pytest
from playwright.sync_api import Browser

from tests.site import checks


@pytest.mark.parametrize(
    ("words", "page"),
    [("evanescent", "book/glossary.html"), ("lens_transform", "book/reference/optics.html")],
)
def test_search_finds(chromium: Browser, site: Path, words: str, page: str) -> None:
    with checks.visit(chromium, f"{(site / 'search.html').as_uri()}?q={words}") as visited:
        visited.page.wait_for_selector("#search-results li a")
        hits = visited.page.eval_on_selector_all(
            "#search-results li a", "(all) => all.map((one) => one.href)"
        )
        assert any(page in hit for hit in hits), hits
        visited.page.click(f'#search-results li a[href*="{page}"] >> nth=0')
        visited.page.wait_for_load_state()
        assert page in visited.page.url
        assert visited.complaints == []


def test_search_box_opens_with_the_keyboard(chromium: Browser, site: Path) -> None:
    with checks.visit(chromium, (site / "book/notation.html").as_uri()) as visited:
        visited.page.keyboard.press("Control+k")
        visited.page.keyboard.type("pupil")
        visited.page.keyboard.press("Enter")
        visited.page.wait_for_selector("#search-results li a")
        assert "search.html?q=pupil" in visited.page.url
        assert visited.complaints == []


def test_nonsense_is_not_found(chromium: Browser, site: Path) -> None:
    with checks.visit(chromium, f"{(site / 'search.html').as_uri()}?q=qwxzv") as visited:
        visited.page.wait_for_selector("text=did not match any documents")
        assert visited.page.locator("#search-results li").count() == 0
