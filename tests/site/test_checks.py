"""The checks themselves: a page with one defect must be found out, and a sound one let through."""

from pathlib import Path

import pytest
from playwright.sync_api import Browser

from tests.site import checks

PIXEL = "data:image/svg+xml,<svg xmlns='http://www.w3.org/2000/svg' width='300' height='200'/>"
FIGURE = f"""<figure><img src="{PIXEL}" alt="three bright spots in a row" width="300">
    <figcaption>Spots.</figcaption></figure>"""

DEFECTS = {
    "script that throws": ("<script>missing.name = 1</script>", "script error: "),
    "error in the console": ("<script>console.error('oh')</script>", "console: oh"),
    "script from a CDN": ("<script src='https://cdn.example.org/x.js'></script>", "outside request: "),
    "missing local file": ("<script src='missing.js'></script>", "not loaded: "),
    "raw formula": ("<div class='math'>\\[ x^2 \\]</div>", "raw: "),
    "no description": (FIGURE.replace("three bright spots in a row", ""), "no description"),
    "file name as description": (
        FIGURE.replace("three bright spots in a row", "../a b/c d.png"),
        "no description",
    ),
    "no caption": (f"<img src=\"{PIXEL}\" alt='three bright spots in a row' width='300'>", "no caption"),
    "picture not found": (FIGURE.replace(PIXEL, "missing.png"), "not loaded"),
    "tiny picture": (FIGURE.replace('width="300"', 'width="40"'), "too small to read"),
    "dead explorable": ("<div class='onnlab-explorable' data-module='x'></div>", "dead explorable: x"),
    "grey on grey": ("<p style='color:#aaa;background:#bbb'>Hardly to be read.</p>", "light: color-contrast"),
    "dark mode forgotten": (
        "<style>@media (prefers-color-scheme: dark) {p {background: #222}}</style><p>Black on black.</p>",
        "dark: color-contrast",
    ),
    "defect in a closed box": ("<details><summary>Box</summary><button></button></details>", "button-name"),
    "button without a name": ("<button></button>", "button-name"),
    "wider than a phone": ("<div style='width:900px'>A wide line.</div>", "phone: the page is"),
}


def written(folder: Path, article: str) -> str:
    page = folder / "page.html"
    page.write_text(
        f"""<!doctype html><html lang="en">
        <head><meta charset="utf-8"><title>Page</title><link rel="icon" href="data:,">
        <meta name="viewport" content="width=device-width, initial-scale=1"></head>
        <body><main><h1>Page</h1><article>{article}</article></main></body></html>""",
        encoding="utf-8",
    )
    return page.as_uri()


@pytest.mark.parametrize("defect", DEFECTS)
def test_defect_is_found(chromium: Browser, tmp_path: Path, defect: str) -> None:
    article, expected = DEFECTS[defect]
    with checks.visit(chromium, written(tmp_path, article)) as visited:
        found = checks.everything(visited)
    assert any(expected in one for one in found), found


def test_sound_page_is_let_through(chromium: Browser, tmp_path: Path) -> None:
    with checks.visit(chromium, written(tmp_path, f"<p>All is well.</p>{FIGURE}")) as visited:
        assert checks.everything(visited) == []
