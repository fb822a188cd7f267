"""Explorables on static pages: the JavaScript that JupyterLab runs, packed into one local script.

A widget's HTML twin is ``<div class="onnlab-explorable" data-module="..." data-state="{...}">`` with a
sentence inside for readers without JavaScript. Notebooks bring it among their outputs; in a Markdown page the
directive ``{explorable}`` writes it. Every module that a page names goes into the script; ``mount.js`` brings
the twins to life.
"""

import json
import re
from pathlib import Path
from typing import Any

import yaml
from docutils import nodes
from sphinx.application import Sphinx
from sphinx.util.docutils import SphinxDirective

SCRIPT = "onnlab-explorables.js"
TWIN = re.compile(r'<div class="onnlab-explorable"[^>]* data-module="([^"]+)"')
MOUNT = Path(__file__).with_name("mount.js")


def setup(app: Sphinx) -> None:
    app.add_directive("explorable", Explorable)
    app.connect("html-page-context", add_script)
    app.connect("build-finished", write_script)


class Explorable(SphinxDirective):
    """``{explorable} FourierMask``: a widget of ``onnlab.widgets``, its arguments as YAML in the body."""

    required_arguments = 1
    has_content = True

    def run(self) -> list[nodes.Node]:
        from onnlab import widgets

        widget = getattr(widgets, self.arguments[0], None)
        if widget is None:
            raise self.error(f"onnlab.widgets has no {self.arguments[0]}")
        arguments = yaml.safe_load("\n".join(self.content)) or {}
        return [nodes.raw("", widget(**arguments).twin(), format="html")]


def add_script(app: Sphinx, page: str, template: str, context: dict[str, Any], document: object) -> None:
    """Load the script on pages with an explorable, and on no other."""
    if TWIN.search(context.get("body", "")):
        app.add_js_file(SCRIPT, loading_method="defer")


def packed(sources: dict[str, str]) -> str:
    """One classic script from the sources of modules: pages opened from disk may load no other kind."""
    return f"(() => {{\nconst MODULES = {json.dumps(sources)};\n{MOUNT.read_text(encoding='utf-8')}}})();\n"


def write_script(app: Sphinx, error: Exception | None) -> None:
    if error is not None or app.builder.format != "html":
        return
    pages = (page.read_text(encoding="utf-8") for page in Path(app.outdir).rglob("*.html"))
    names = sorted({name for page in pages for name in TWIN.findall(page)})
    if names:
        from onnlab.widgets._bundle import bundle

        script = packed({name: bundle(name) for name in names})
        (Path(app.outdir) / "_static" / SCRIPT).write_text(script, encoding="utf-8")
