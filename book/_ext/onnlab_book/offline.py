"""No page asks the network for anything: MathJax comes along, remote scripts stay away."""

import shutil
from importlib import metadata
from pathlib import Path

from sphinx.application import Sphinx
from sphinx.config import Config
from sphinx.errors import ExtensionError

MATHJAX_PACKAGE = "sphinx-mathjax-offline"
MATHJAX_ENTRY = "tex-mml-chtml.js"
MATHJAX_PARTS = (MATHJAX_ENTRY, "input/tex/extensions/", "output/chtml/fonts/")


def setup(app: Sphinx) -> None:
    app.connect("config-inited", configure)
    app.connect("builder-inited", drop_thebe)
    app.connect("build-finished", copy_mathjax)


def configure(app: Sphinx, config: Config) -> None:
    config.mathjax_path = f"mathjax/{MATHJAX_ENTRY}"
    config.mathjax3_config = {"options": {"enableMenu": False}, **(config.mathjax3_config or {})}


def drop_thebe(app: Sphinx) -> None:
    """Disconnect sphinx-thebe: jupyter-book always loads it, and its script fails on every page."""
    for event, listeners in app.events.listeners.items():
        app.events.listeners[event] = [
            one for one in listeners if getattr(one.handler, "__module__", "") != "sphinx_thebe"
        ]


def mathjax_files() -> dict[str, Path]:
    """Files of the installed MathJax that the site needs: path below ``mathjax/`` -> file on disk."""
    try:
        files = metadata.files(MATHJAX_PACKAGE) or []
    except metadata.PackageNotFoundError as error:
        raise ExtensionError(f"formulas need {MATHJAX_PACKAGE}: pip install {MATHJAX_PACKAGE}") from error
    found = {}
    for file in files:
        _, marker, name = file.as_posix().partition("static/mathjax/")
        if marker and name.startswith(MATHJAX_PARTS):
            found[name] = Path(str(file.locate()))
    if MATHJAX_ENTRY not in found:
        raise ExtensionError(f"{MATHJAX_PACKAGE} holds no {MATHJAX_ENTRY}; install version 0.0.2")
    return found


def copy_mathjax(app: Sphinx, error: Exception | None) -> None:
    """Copy at the end: jupyter-book would add every script found in ``_static`` earlier to every page."""
    if error is not None or app.builder.format != "html":
        return
    for name, source in mathjax_files().items():
        target = Path(app.outdir) / "_static" / "mathjax" / name
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(source, target)
