"""Open a page in Chromium with the network cut, and list what is wrong with it.

Each check returns sentences, so that one visit can report everything at once; an empty list means well.
"""

import re
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from importlib import resources
from typing import Literal, NamedTuple

from playwright.sync_api import Browser, ConsoleMessage, Page
from playwright.sync_api import TimeoutError as Slow

LOCAL = ("file:", "data:", "blob:", "about:")
OUTSIDE = re.compile(r"^(?!file:|data:|blob:|about:)")
PHONE = {"width": 390, "height": 844}
DESKTOP = {"width": 1280, "height": 900}
AXE = (resources.files("axe_playwright_python") / "axe.min.js").read_text(encoding="utf-8")


class Visit(NamedTuple):
    """An open page and the complaints of the browser, which grow as the page is used."""

    page: Page
    complaints: list[str]


@contextmanager
def visit(browser: Browser, url: str) -> Iterator[Visit]:
    """Open ``url`` without a network; errors, failed loads and requests to the outside are complaints."""
    context = browser.new_context(viewport=DESKTOP, offline=True, reduced_motion="reduce")
    context.set_default_timeout(10_000)
    page, complaints = context.new_page(), []
    context.route(OUTSIDE, lambda route: route.abort())
    page.on("request", lambda request: complaints.extend(outside(request.url)))
    page.on("requestfailed", lambda request: complaints.append(f"not loaded: {request.url}"))
    page.on("pageerror", lambda error: complaints.append(f"script error: {error}"))
    page.on("console", lambda line: complaints.extend(errors(line)))
    try:
        page.goto(url, wait_until="load")
        page.evaluate("() => window.MathJax?.startup?.promise")
        page.evaluate("() => document.fonts.ready.then(() => true)")
        yield Visit(page, complaints)
    finally:
        context.close()


def outside(url: str) -> list[str]:
    """Complain of a request that leaves the machine."""
    return [] if url.startswith(LOCAL) else [f"outside request: {url}"]


def errors(line: ConsoleMessage) -> list[str]:
    """Complain of an error in the browser's console."""
    return [f"console: {line.text}"] if line.type == "error" else []


def everything(visited: Visit) -> list[str]:
    """All complaints about a page: as loaded, in light and dark, on a desktop and on a phone."""
    page = visited.page
    unfold(page)
    found = untypeset_formulas(page) + bad_figures(page) + dead_explorables(page)
    found += [f"light: {one}" for one in barriers(page)]
    choose(page, "dark")
    found += [f"dark: {one}" for one in barriers(page, ["color-contrast", "link-in-text-block"])]
    page.set_viewport_size(PHONE)
    found += [f"phone: {one}" for one in too_wide(page)]
    page.set_viewport_size(DESKTOP)
    return found + visited.complaints


def unfold(page: Page) -> None:
    """Open all that is folded away, so that it is checked as well."""
    folded = page.evaluate(
        """() => {
            const boxes = document.querySelectorAll("article details:not([open])");
            const titles = document.querySelectorAll("article .toggle-hidden > .admonition-title");
            boxes.forEach((one) => (one.open = true));
            titles.forEach((one) => one.click());
            return boxes.length + titles.length;
        }"""
    )
    if folded:
        page.wait_for_timeout(1000)  # the theme waits a moment before it looks for what now scrolls
        with suppress(Slow):  # on a busy machine longer; if it never does, axe says so
            page.wait_for_function(
                """() => [...document.querySelectorAll("pre")].every(
                    (one) => one.scrollWidth <= one.clientWidth || one.tabIndex === 0)""",
                timeout=10_000,
            )


def choose(page: Page, scheme: Literal["light", "dark"]) -> None:
    """Switch the system to light or dark, and wait until the page has followed."""
    page.emulate_media(color_scheme=scheme)
    page.evaluate("() => new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(done)))")


def untypeset_formulas(page: Page) -> list[str]:
    """Formulas that are still TeX, hold an error, or miss their font."""
    return page.evaluate(
        r"""() => {
            const found = [];
            for (const formula of document.querySelectorAll("span.math, div.math")) {
                if (!formula.querySelector("mjx-container")) found.push("raw: " + formula.textContent);
            }
            for (const error of document.querySelectorAll("mjx-merror")) {
                found.push("formula with an error: " + error.textContent.slice(0, 80));
            }
            for (const font of document.fonts) {
                if (font.status === "error") found.push("font not loaded: " + font.family);
            }
            return found;
        }"""
    )


def bad_figures(page: Page) -> list[str]:
    """Pictures in the text without a description, without a caption, not loaded, or too small to read."""
    return page.evaluate(
        r"""() => {
            const found = [];
            for (const image of document.querySelectorAll("article img")) {
                const name = image.src.startsWith("data:") ? "inline picture" : image.src.split("/").pop();
                const alt = image.alt.trim();
                if (alt.split(/\s+/).length < 3 || /\.(png|svg|jpe?g|webp|gif)$/i.test(alt)) {
                    found.push(`${name}: no description, alt is "${alt}"`);
                }
                const caption = image.closest("figure")?.querySelector("figcaption")?.textContent.trim();
                if (!caption) found.push(`${name}: no caption`);
                if (!image.complete || image.naturalWidth === 0) found.push(`${name}: not loaded`);
                else if (image.getBoundingClientRect().width < 200) found.push(`${name}: too small to read`);
            }
            return found;
        }"""
    )


def dead_explorables(page: Page) -> list[str]:
    """Explorables that did not come to life."""
    return page.evaluate(
        """() => [...document.querySelectorAll(".onnlab-explorable")]
            .filter((one) => !one.querySelector(".onn") || one.dataset.live !== "true")
            .map((one) => "dead explorable: " + one.dataset.module)"""
    )


def too_wide(page: Page) -> list[str]:
    """Whether the page as a whole has to be scrolled sideways."""
    wide = page.evaluate("() => document.documentElement.scrollWidth - window.innerWidth")
    return [f"the page is {wide} px wider than the screen"] if wide > 0 else []


def barriers(page: Page, rules: list[str] | None = None) -> list[str]:
    """Serious and critical violations that axe-core finds; ``rules`` narrows the search to some."""
    if not page.evaluate("() => 'axe' in window"):
        page.evaluate(AXE)
    violations = page.evaluate(
        """(rules) => axe.run(document, {
            preload: false,
            resultTypes: ["violations"],
            ...(rules ? {runOnly: rules} : {rules: {"label-content-name-mismatch": {enabled: true}}}),
        }).then((result) => result.violations)""",
        rules,
    )
    return [
        f"{one['id']}: {node['html'][:120]}"
        for one in violations
        if one["impact"] in ("serious", "critical")
        for node in one["nodes"]
    ]
