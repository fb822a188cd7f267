"""``{results}``: tables and a figure of one experiment, from the lines in ``results/``."""

import re
from pathlib import Path
from typing import Any, ClassVar

from docutils import nodes
from docutils.parsers.rst import directives
from docutils.statemachine import StringList
from matplotlib.figure import Figure
from sphinx.application import Sphinx
from sphinx.util.docutils import SphinxDirective

from onnlab.experiments import EXPERIMENTS, SCALES, Experiment, Row, TableRow, read, tables_of
from onnlab.experiments.report import (
    data_notes,
    gains_table,
    missing,
    part,
    results_table,
    score_name,
)
from onnlab.experiments.tables import percent
from onnlab.viz import PALETTE, style, subplots

LINES = "results"
PICTURES = "_build/results"  # inside the source folder, where Sphinx looks for pictures


def setup(app: Sphinx) -> None:
    app.add_directive("results", Results)


def markdown(experiment: Experiment, found: dict[Row, TableRow], seeds: int, picture: str = "") -> str:
    """Everything there is to say of an experiment: what is missing, accuracies, figure, gains, data.

    ``picture`` is the path of the dot plot, as a page of the book writes it; no figure without it.
    """
    command = f"`onnlab reproduce {experiment.name} --scale {experiment.scale} --seeds {seeds}`"
    if not found:
        return f"There are no runs of this table yet: {command} makes them."
    blocks = []
    if gaps := missing(experiment, found, seeds):
        blocks.append(f"**Incomplete:** {'; '.join(gaps)}. {command} makes what is missing.")
    blocks.append(results_table(experiment, found))
    if picture:
        blocks.append(
            f"```{{figure}} {picture}\n:name: fig-results-{label(experiment)}\n:alt: {alt(found)}\n\n"
            f"Test {score_name(found)}. Dots: seeds. Bars: mean and standard deviation.\n```"
        )
    if gains := gains_table(experiment, found):
        blocks.append(f"Gains, paired over the seeds:\n\n{gains}")
    for note in data_notes(found):
        blocks.append(f"About the data: {note}.")
    blocks.append(trace(experiment))
    return "\n\n".join(blocks)


def trace(experiment: Experiment) -> str:
    """Where the runs behind the numbers are."""
    name = experiment.name
    command = f"onnlab trace {name} --scale {experiment.scale} --data {experiment.rows[0].data}"
    lines = f"{{download}}`{name}.jsonl </{LINES}/{name}.jsonl>`"
    return f"The runs behind each number: `{command}`, or the lines themselves, {lines}."


def label(experiment: Experiment) -> str:
    return f"{experiment.name}-{experiment.scale}-{experiment.rows[0].data}"


def title(row: Row, rows: list[Row]) -> str:
    """The name of a row, with what tells it from others of that name."""
    marks = [row.process] if row.process and len({one.process for one in rows if one.process}) > 1 else []
    marks += [f"{row.labels_text} labels"] if len({one.labels for one in rows}) > 1 else []
    marks += [row.augment] if len({one.augment for one in rows}) > 1 and row.augment != "none" else []
    return ", ".join([row.name, *marks])


def alt(found: dict[Row, TableRow]) -> str:
    """The figure in words: the mean of each row."""
    rows = list(found)
    means = "; ".join(f"{title(row, rows)} {percent(one)} per cent" for row, one in found.items())
    return f"Dot plot of test {score_name(found)}, a row for each network: {means}."


def dot_plot(found: dict[Row, TableRow]) -> Figure:
    """A row for each network: its seeds as dots, mean and standard deviation as a bar."""
    fig, axes = subplots(width=7.2, height=0.9 + 0.27 * len(found))
    ax, rows = axes[0, 0], list(found)
    with style():
        for place, one in enumerate(found.values()):
            values = [100 * value for _, value in one.scores]
            ax.plot(values, [place] * one.n, "o", color=PALETTE["sky"], ls="none", mec="none")
            spread = 100 * one.std if one.n > 1 else None
            look = {"fmt": "|", "color": PALETTE["black"], "ms": 12, "capsize": 3}
            ax.errorbar(100 * one.mean, place, xerr=spread, **look)
        ax.set_yticks(range(len(rows)), [title(row, rows) for row in rows])
        ax.set(xlabel=f"test {score_name(found)} (%)", ylim=(len(rows) - 0.5, -0.5))
    return fig


def kept_together(text: str) -> str:
    """Return Markdown whose tables break no line inside an interval, or between a number and its spread."""

    def unbroken(found: re.Match[str]) -> str:
        return re.sub("(?<!,) ", "\N{NO-BREAK SPACE}", found.group())

    pieces = r"\([^()]*\d[^()]*\)| ± |\S+ to \S+|of \d+"
    return re.sub(r"^\|.*", lambda line: re.sub(pieces, unbroken, line.group()), text, flags=re.M)


class Results(SphinxDirective):
    """Show one experiment at one scale, on one data set."""

    required_arguments = 1
    option_spec: ClassVar[dict[str, Any]] = {
        "scale": lambda text: directives.choice(text, SCALES),
        "data": directives.unchanged_required,
        "seeds": directives.positive_int,
    }

    def run(self) -> list[nodes.Node]:
        experiment = part(EXPERIMENTS[self.arguments[0]](self.options["scale"]), self.options["data"])
        path = Path(self.env.srcdir) / LINES / f"{self.arguments[0]}.jsonl"
        self.env.note_dependency(str(path))
        found = tables_of(experiment, read(path))
        picture = ""
        if found:
            picture = f"/{PICTURES}/{label(experiment)}.png"
            file = Path(self.env.srcdir) / picture.removeprefix("/")
            file.parent.mkdir(parents=True, exist_ok=True)
            dot_plot(found).savefig(file, dpi=192)
        text = kept_together(markdown(experiment, found, self.options["seeds"], picture))
        shown = nodes.container(classes=["onnlab-results"])
        self.state.nested_parse(StringList(text.splitlines(), source=str(path)), 0, shown)
        return [shown]
