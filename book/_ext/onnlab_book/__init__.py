"""The book's Sphinx extension: a site that is alive, readable by everybody and needs no network.

One module, one concern: ``theme`` (looks), ``offline`` (MathJax, no remote scripts), ``explorables`` (live
widgets on static pages), ``library`` (reference pages from docstrings), ``glossary`` (hints under links),
``executed`` (outputs of cells), ``runtimes`` (seconds per chapter), ``results`` (tables of the experiments),
``findings`` (what held) and ``accessibility`` (repairs to the theme's HTML).
"""

from sphinx.application import Sphinx

from onnlab_book import (
    accessibility,
    executed,
    explorables,
    findings,
    glossary,
    library,
    offline,
    results,
    runtimes,
    theme,
)


def setup(app: Sphinx) -> dict[str, bool]:
    for module in (
        theme,
        offline,
        explorables,
        library,
        glossary,
        executed,
        runtimes,
        results,
        findings,
        accessibility,
    ):
        module.setup(app)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
