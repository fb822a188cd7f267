"""``{beside}``, ``{claim}``, ``{verdicts}``, ``{luck}`` and ``{energy}``: what came of the experiments."""

from collections.abc import Callable
from pathlib import Path

from docutils import nodes
from docutils.statemachine import StringList
from sphinx.application import Sphinx
from sphinx.util.docutils import SphinxDirective

from onnlab.experiments.findings import beside_tables
from onnlab_book.results import LINES

TEXTS: dict[str, Callable[[str, Path], str]] = {
    "beside": beside_tables,
}
"""Markdown for each directive, of its argument and the folder of the results."""


def setup(app: Sphinx) -> None:
    for name in TEXTS:
        app.add_directive(name, Finding)


class Finding(SphinxDirective):
    """Show one of ``TEXTS``. The argument names an experiment, a claim, or a scale."""

    optional_arguments = 1

    def run(self) -> list[nodes.Node]:
        folder = Path(self.env.srcdir) / LINES
        for path in folder.glob("*.jsonl"):
            self.env.note_dependency(str(path))
        text = TEXTS[self.name](self.arguments[0] if self.arguments else "", folder)
        shown = nodes.container(classes=["onnlab-results"])
        self.state.nested_parse(StringList(text.splitlines(), source=str(folder)), 0, shown)
        return [shown]
