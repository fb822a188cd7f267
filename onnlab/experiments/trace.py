"""From a number in a table back to the runs that it is made of."""

from collections.abc import Iterable

from onnlab.experiments.lines import Line, score
from onnlab.experiments.settings import BEFORE, TUNED, Experiment, Row, Trial, key_of
from onnlab.experiments.tables import group, group_of, percent, tables_of
from onnlab.networks._text import columns


def runs_of(experiment: Experiment, row: Row, lines: Iterable[Line]) -> list[Line]:
    """Return the lines of a row, all trials and seeds, the failed ones too."""
    mine = group_of(experiment, row)
    return [line for line in lines if group(line) == mine]


def format_trace(experiment: Experiment, row: Row, lines: Iterable[Line]) -> str:
    """Return mean and spread of a row as text, and a line for each of its runs.

    Those with a star are the ones that mean and spread are over. The others are trials that validation did
    not choose, or failed, or had a teacher or student that was not the chosen one. Keys name the runs, and
    those of their teachers and students. Data are named by the first digits of their hash.

    Parameters
    ----------
    experiment, row
        One of the rows of an experiment.
    lines : iterable of dict
        All of the experiment, as :func:`onnlab.experiments.read` returns them.
    """
    known = list(lines)
    mine = runs_of(experiment, row, known)
    marks = [f"{value} labels" for value in [row.labels] if value is not None]
    marks += [mark for mark in (row.augment, row.process) if mark not in (None, "none")]
    title = f"{experiment.name} ({experiment.scale}), {', '.join([row.data, row.name, *marks])}"
    found = tables_of(experiment, known).get(row)
    if not mine:
        return f"{title}: no runs yet"
    before = [what for what in BEFORE if getattr(row, what) is not None]
    head = ("", "seed", "trial", "validation (%)", "test (%)", "key", *before)
    made = ("seconds", "device", "data", "commit")
    cells = [
        (
            "*" if found is not None and line["key"] in found.keys else "",
            str(line["seed"]),
            str(_trial(line)),
            *(
                ["failed", "failed"]
                if line["error"]
                else [f"{100 * score(line, s):.2f}" for s in ("validation", "test")]
            ),
            line["key"],
            *(key_of(line["settings"][what], line["version"]) for what in before),
            f"{line['seconds']:.0f}" if line["error"] is None else "",
            line["device"],
            line.get("data_sha256", "")[:8],
            (line["commit"] or "unknown")[:12],
        )
        for line in sorted(mine, key=lambda line: (line["seed"], str(_trial(line))))
    ]
    count = "none" if found is None else f"{found.score} {percent(found)} % over {found.n}"
    return f"{title}: {count} of {len(mine)} runs\n{columns(((*head, *made), *cells))}"


def _trial(line: Line) -> Trial:
    return Trial(**{name: line["settings"].get(name) for name in TUNED})
