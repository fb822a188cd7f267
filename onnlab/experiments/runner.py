"""Run an experiment: what is missing of it, several at a time; teachers first, devices last."""

from collections.abc import Callable
from itertools import groupby
from pathlib import Path

from joblib import Parallel, delayed

from onnlab.experiments.lines import Line, append, read, score
from onnlab.experiments.settings import Experiment, Row, Run, Trial, run_of
from onnlab.experiments.tables import chosen_trial
from onnlab.experiments.training import Place, commit, execute


def run(
    experiment: Experiment,
    out: str | Path,
    *,
    seeds: int = 5,
    jobs: int | None = None,
    device: str = "cpu",
    data_note: str | None = None,
    report: Callable[[str], None] = print,
) -> list[Line]:
    """Make all runs of an experiment that are not in its file yet; return its lines.

    For each row, seed 0 makes every trial. The one with the highest *validation* accuracy is used for the
    other seeds. A student with seed ``s`` learns from its teacher with seed ``s``; what is built with seed
    ``s`` is the student with seed ``s``.

    Each run becomes a line of ``out/NAME.jsonl`` as soon as it is done. A run that fails does so too, with
    its traceback, and the others go on; the next call tries it again. Runs are recognised by the hash of
    their settings, so that what is there is never made twice. Weights, and trainings that were interrupted,
    are kept in ``out/weights``.

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
        ``joblib.parallel_config`` says, and 1 otherwise.
    device : str
        For example ``"cuda"``.
    data_note : str, optional
        What readers must know about the copy of the data; goes into every line.
    report : callable
        Is told a sentence for each run.

    Returns
    -------
    list of dict
        One for each run of this experiment, old and new, that belongs to its rows and seeds.

    Raises
    ------
    ValueError
        If ``seeds`` or ``jobs`` is below 1, or the file of results holds a broken line.

    Notes
    -----
    On a cluster, let joblib hand out the runs, as for :func:`onnlab.hardware.sweep`::

        with distributed.Client("tcp://HOST:PORT"), joblib.parallel_config(backend="dask"):
            run(experiment, "results")

    Lines are written here alone. Weights are shared by the folder ``out``: a worker that does not see it
    trains the teachers that it needs. A run that dies with its worker is made by another one.
    """
    for name, value in (("seeds", seeds), ("jobs", 1 if jobs is None else jobs)):
        if value < 1:
            raise ValueError(f"{name} must be at least 1, got {value}")
    folder = Path(out).resolve()  # workers may have started elsewhere
    (folder / "weights").mkdir(parents=True, exist_ok=True)
    path = folder / f"{experiment.name}.jsonl"
    place = Place(folder / "weights", device, commit(), data_note)
    known = {line["key"]: line for line in read(path)}
    chosen: dict[Row, Trial] = {}
    mine: list[str] = []

    def make(runs: list[Run]) -> None:
        missing = [one for one in runs if known.get(one.key, {"error": ""})["error"] is not None]
        report(f"{len(runs)} runs, {len(missing)} of them to be made")
        tasks = (delayed(_execute)(one, place) for one in missing)
        for one, result in Parallel(n_jobs=jobs, return_as="generator_unordered")(tasks):
            names = {"experiment": experiment.name, "scale": experiment.scale, "row": one.row.name}
            line = {**names, **result}
            append(path, line)
            known[one.key] = line
            report(_sentence(one, line))
        mine.extend(one.key for one in runs)

    for _, level in groupby(sorted(experiment.rows, key=lambda row: row.depth), lambda row: row.depth):
        rows = [row for row in level if chosen.keys() >= set(row.before)]
        grid = {row: [run_of(row, trial, 0, chosen.__getitem__) for trial in row.trials] for row in rows}
        make([one for runs in grid.values() for one in runs])
        for row, runs in grid.items():
            best = chosen_trial(known[one.key] for one in runs)
            if best is not None:
                chosen[row] = best
        made = [row for row in rows if row in chosen]
        make([run_of(row, chosen[row], seed, chosen.__getitem__) for seed in range(1, seeds) for row in made])
    return [known[key] for key in mine]


def _execute(one: Run, place: Place) -> tuple[Run, Line]:
    return one, execute(one, place)


def _sentence(one: Run, line: Line) -> str:
    row = one.row
    labels = "all" if row.labels is None else row.labels
    what = f"{row.name} ({row.data}, {labels} labels, augment {row.augment}): "
    what += f"{one.trial}, seed {one.seed}: "
    if line["error"] is not None:
        return f"{what}failed, {line['error'].splitlines()[-1]}"
    return f"{what}test {score(line, 'test'):.2%}, {line['seconds']:.0f} s"
