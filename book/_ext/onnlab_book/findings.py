"""``{beside}``, ``{claim}``, ``{verdicts}``, ``{luck}``, ``{energy}``, ``{speed}``, ``{hours}``."""

from collections.abc import Callable
from pathlib import Path

from docutils import nodes
from docutils.statemachine import StringList
from sphinx.application import Sphinx
from sphinx.util.docutils import SphinxDirective

from onnlab.experiments.claims import claim
from onnlab.experiments.consumption import energy_table, lasers, paper_energies, savings
from onnlab.experiments.findings import (
    beside_tables,
    claim_scores,
    claim_text,
    hours_table,
    luck,
    verdicts_table,
)
from onnlab.experiments.speed_lines import SPEEDS, read_speeds, speed_tables
from onnlab.networks._text import markdown_table
from onnlab_book.results import LINES, kept_together


def claimed(name: str, folder: Path) -> str:
    """One claim, with all that speaks of it."""
    one = claim(name)
    return claim_text(one, claim_scores(folder, (one,)))


def measured(folder: Path) -> str:
    """The speed of each method, and where its lines are."""
    speeds = read_speeds(folder / SPEEDS)
    lines = f"\n\nEvery round of it: {{download}}`{SPEEDS} </{LINES}/{SPEEDS}>`." if speeds else ""
    return speed_tables(speeds, markdown_table) + lines


def costs(scale: str) -> str:
    """What an image costs at a scale, and what of it deserves a word."""
    return "\n\n".join((energy_table(scale), savings(scale), lasers(scale)))


TEXTS: dict[str, Callable[[str, Path], str]] = {
    "beside": beside_tables,
    "claim": claimed,
    "verdicts": lambda _, folder: verdicts_table(claim_scores(folder)),
    "luck": lambda _, folder: luck(claim_scores(folder)),
    "hours": hours_table,
    "speed": lambda _, folder: measured(folder),
    "energy": lambda scale, _: costs(scale) if scale else paper_energies(),
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
        text = kept_together(TEXTS[self.name](self.arguments[0] if self.arguments else "", folder))
        shown = nodes.container(classes=["onnlab-results", f"onnlab-{self.name}"])
        self.state.nested_parse(StringList(text.splitlines(), source=str(folder)), 0, shown)
        return [shown]
