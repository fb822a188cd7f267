"""Run an experiment: what is missing of it, several at a time; teachers first, devices last."""

import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path

from onnlab.distill.parallel import agreed, is_first
from onnlab.experiments.lines import Line, LineError, append, check_copies, copies, is_settled, read, score
from onnlab.experiments.plan import made_elsewhere, plan, walk
from onnlab.experiments.progress import Progress, spoken
from onnlab.experiments.runs.execution import execute, failed
from onnlab.experiments.runs.training import Workspace
from onnlab.experiments.settings import Experiment, Run
from onnlab.experiments.workers import hand_out


def run(
    experiment: Experiment,
    out: str | Path,
    *,
    seeds: int = 5,
    jobs: int | None = None,
    device: str = "cpu",
    data_note: str | None = None,
    progress: Progress | None = None,
    report: Callable[[str], None] = print,
) -> list[Line]:
    """Make all runs of an experiment that are not in its file yet; return its lines.

    For each row, seed 0 makes every trial. The one with the highest *validation* accuracy is used for the
    other seeds. A student with seed ``s`` learns from its teacher with seed ``s``; what is built with seed
    ``s`` is the student with seed ``s``.

    Each run becomes a line of ``out/NAME.jsonl`` as soon as it is done. A run that fails does so too, with
    its traceback, and the others go on, even if it takes the process down that makes it; the next call tries
    it again, unless the training diverged: it would do so again. Runs are recognised by the hash of their
    settings, so that what is there is not made again, and a run that another experiment has made in that
    folder becomes a line here, too. Weights, and trainings that were interrupted, are kept in
    ``out/weights``.

    Parameters
    ----------
    experiment : Experiment
        What to run.
    out : path
        Folder for the results; made if it is not there.
    seeds : int
        How many seeds, counted from 0.
    jobs : int, optional
        Runs at a time, each in a process of its own with one thread. Left out, it is what
        ``joblib.parallel_config`` says, and otherwise one at a time in this process: whatever ends a run
        there ends all.
    device : str
        For example ``"cuda"``.
    data_note : str, optional
        What readers must know about the copy of the data; goes into every line.
    progress : Progress, optional
        Counts the runs of several experiments; left out, those of this one.
    report : callable
        Is told a sentence for each run that is done. Before, standard error shows how far each run is: in a
        terminal a line that is written over, and for several jobs, or in a file, a line each minute.

    Returns
    -------
    list of dict
        One for each run of this experiment, old and new, that belongs to its rows and seeds.

    Raises
    ------
    ValueError
        If ``seeds`` or ``jobs`` is below 1.
    LineError
        If a file of results holds a broken line, or lines about another copy of the data.
    ClusterError
        If there are several jobs in a process group.

    Notes
    -----
    On a cluster, let its workers make the runs, as for :func:`onnlab.hardware.sweep`::

        with distributed.Client("tcp://HOST:PORT"), joblib.parallel_config(backend="dask"):
            run(experiment, "results")

    Lines are written here alone, and read at the start: two calls at a time about one experiment in one
    folder make runs twice, and of two lines the later one counts. Weights are shared by the folder ``out``: a
    worker that does not see it trains the teachers that it needs. Two processes that see it never train one
    network at a time: the second one waits. On a cluster, a run that dies with its worker is made by another
    one; it has failed once several have died of it.

    In :func:`onnlab.distill.process_group` there is one run at a time, and all processes make it together.
    They must all see the folder ``out``. The first one writes the lines and reports.
    """
    if jobs is not None and jobs < 1:
        raise ValueError(f"jobs must be at least 1, got {jobs}")
    progress = progress or Progress(plan(experiment, out, seeds=seeds))
    folder = Path(out).resolve()  # workers may have started elsewhere
    (folder / "weights").mkdir(parents=True, exist_ok=True)
    path = folder / f"{experiment.name}.jsonl"
    alone = jobs == 1 and sys.stderr.isatty()
    known = agreed({line["key"]: line for line in read(path)})
    own = frozenset(copies(known.values()))
    workspace = Workspace(folder / "weights", device, data_note, "one line" if alone else "lines", own)
    elsewhere = agreed(made_elsewhere(experiment, folder))
    mine: list[Run] = []

    def keep(one: Run, made_of: Line) -> Line:
        names = {"experiment": experiment.name, "scale": experiment.scale, "row": one.row.name}
        line = {**made_of, **names}
        check_copies(copies([*known.values(), line]))
        if is_first():
            append(path, line)
        known[one.key] = line
        return line

    for runs in walk(experiment, seeds, known):
        missing = [one for one in runs if one.key not in known or not is_settled(known[one.key])]
        for one in missing:
            if one.key in elsewhere:
                keep(one, elsewhere[one.key])
        missing = [one for one in missing if one.key not in elsewhere]
        for one, result in hand_out(partial(execute, workspace=workspace), missing, jobs):
            if isinstance(result, LineError):
                raise result
            made_of = failed(one, workspace, result) if isinstance(result, Exception) else result
            line = keep(one, agreed(made_of))
            if is_first():
                report(f"{progress.done(one.row)} {_sentence(one, line)}")
        mine += runs
    made = {one.row for one in mine}
    for row in experiment.rows:
        if row not in made and is_first():
            report(f"{row.name} ({row.data}) left out: what it builds on failed")
    return [known[one.key] for one in mine]


def _sentence(one: Run, line: Line) -> str:
    row = one.row
    what = f"{row.name} ({row.data}, {row.labels_text} labels, augment {row.augment}): "
    what += f"{one.trial}, seed {one.seed}: "
    if line["error"] is not None:
        return f"{what}failed, {line['error'].splitlines()[-1]}"
    return f"{what}test {score(line, 'test'):.2%}, {spoken(line['seconds'])}"
