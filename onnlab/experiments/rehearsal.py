"""Rehearsals: a few batches of each row tell whether it runs, and how long its runs will take."""

import math
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path

from onnlab.experiments.extrapolation import Parts, parts_of
from onnlab.experiments.lines import REHEARSALS, Line, append_rehearsal, read_rehearsals
from onnlab.experiments.plan import SHIPPED, Planned, plan
from onnlab.experiments.progress import spoken
from onnlab.experiments.runs.execution import device_name, machinery, traceback_of
from onnlab.experiments.settings import Experiment, Row
from onnlab.experiments.tables import group_of
from onnlab.experiments.workers import hand_out


def rehearse(
    experiments: Sequence[Experiment],
    out: str | Path,
    *,
    device: str = "cpu",
    shipped: Path = SHIPPED,
    measure: Callable[[Row, str], Parts] = parts_of,
    report: Callable[[str], None] = print,
) -> list[Line]:
    """Rehearse all rows that no finished run has timed on this device; return their lines, new ones last.

    Each row becomes a line of ``out/rehearsals.jsonl`` as soon as it is done; one that does not run does so
    too, with its traceback, and is tried again by the next call. Rows are rehearsed one after the other, in a
    process of their own: one that the system kills, because memory ran out, does not end the others.

    Parameters
    ----------
    experiments : sequence of Experiment
        What is to be rehearsed.
    out : path
        Folder of the results; made if it is not there. Nothing else in it is written.
    device : str
        For example ``"cuda"``.
    shipped : path
        Folder of other results: rows that were timed there are not rehearsed.
    measure : callable
        From a row and a device to the parts of its seconds, in the other process.
    report : callable
        Is told a sentence for each row.

    Raises
    ------
    LineError
        If a file of results holds a broken line.
    """
    Path(out).mkdir(parents=True, exist_ok=True)
    path = Path(out).resolve() / REHEARSALS
    made_on = machinery(device_name(device))
    name = made_on["device"]
    known = {line["group"]: line for line in read_rehearsals(path) if line["device"] == name}
    planned = [one for each in experiments for one in plan(each, out, seeds=1, device=name, shipped=shipped)]
    asked = [one for one in planned if not _is_known(one, known)]
    done = hand_out(partial(_measured, measure=measure, device=device), asked, 1)
    for number, (one, result) in enumerate(done, start=1):
        found = {"error": traceback_of(result)} if isinstance(result, Exception) else result
        line = {**_names(one), **made_on, "error": None, **found}
        append_rehearsal(path, line)
        report(f"[{number}/{len(asked)}] {_sentence(one.row, line)}")
        known[line["group"]] = line
    return list(known.values())


def _measured(one: Planned, measure: Callable[[Row, str], Parts], device: str) -> Line:
    try:
        parts = {name: round(seconds, 3) for name, seconds in measure(one.row, device).items()}
    except Exception as error:
        return {"error": traceback_of(error)}
    return {"parts": parts, "seconds": round(math.fsum(parts.values()), 2)}


def _names(one: Planned) -> Line:
    return {
        "group": group_of(one.experiment, one.row),
        "experiment": one.experiment.name,
        "scale": one.experiment.scale,
        "row": one.row.name,
    }


def _is_known(one: Planned, known: Mapping[str, Line]) -> bool:
    """Whether a row was timed by a finished run, or has been rehearsed here."""
    timed = not math.isnan(one.seconds) and not one.extrapolated
    line = known.get(group_of(one.experiment, one.row), {"error": ""})
    return timed or line["error"] is None


def _sentence(row: Row, line: Line) -> str:
    what = f"{row.name} ({', '.join(filter(None, (row.data, row.process)))}, {row.labels_text} labels): "
    if line["error"] is not None:
        return f"{what}does not run, {line['error'].splitlines()[-1]}"
    return f"{what}about {spoken(line['seconds'])} a run"
