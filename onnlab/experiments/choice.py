"""Which of its trials a row takes: one rule for the runs that are made and for the tables that show them."""

from collections.abc import Iterable, Mapping

from onnlab.experiments.lines import Line, score
from onnlab.experiments.settings import Experiment, Row, Run, Trial, run_of


def trial_runs(row: Row, chosen: Mapping[Row, Trial]) -> list[Run]:
    """Return the runs among which a row chooses: each declared trial with seed 0.

    Parameters
    ----------
    row : Row
        Whose trials.
    chosen : mapping
        The trials that the rows before it took. A run behind another trial of its teacher or student is of
        another teacher or student, and has no say.
    """
    return [run_of(row, trial, 0, chosen.__getitem__) for trial in row.trials]


def chosen_trial(runs: Iterable[Run], known: Mapping[str, Line]) -> Trial | None:
    """Return the trial of the run that did best on the validation split, None if none was made.

    Of equal scores the lower validation loss decides. Runs that failed are left out.

    Parameters
    ----------
    runs : iterable of Run
        As :func:`trial_runs` gives them.
    known : mapping
        Lines by the keys of their runs.
    """
    made = [(one, known[one.key]) for one in runs if one.key in known and known[one.key]["error"] is None]
    best = max(
        made,
        key=lambda pair: (score(pair[1], "validation"), -pair[1]["validation_loss"]),
        default=None,
    )
    return None if best is None else best[0].trial


def chosen_trials(experiment: Experiment, known: Mapping[str, Line]) -> dict[Row, Trial]:
    """Return the trial of each row that was tried, and whose teacher and student were, too.

    Parameters
    ----------
    experiment : Experiment
        Whose rows; they choose by their depth, teachers first.
    known : mapping
        As for :func:`chosen_trial`.
    """
    chosen: dict[Row, Trial] = {}
    for row in sorted(experiment.rows, key=lambda row: row.depth):
        if chosen.keys() >= set(row.before):
            best = chosen_trial(trial_runs(row, chosen), known)
            if best is not None:
                chosen[row] = best
    return chosen
