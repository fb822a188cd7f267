"""How far a plan is: counted, and estimated by what the runs are expected to cost."""

import math
from dataclasses import replace

import pytest

from onnlab.experiments import Planned, Progress
from onnlab.experiments.plan import distinct, total
from onnlab.experiments.progress import BESIDE, spoken
from tests.experiments.helpers import KD, LINEAR, TEACHER, TINY


class Clock:
    """Time that passes when it is told to."""

    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


def planned(**seconds: float) -> list[Planned]:
    rows = {"teacher": TEACHER, "linear": LINEAR, "KD": KD}
    return [Planned(TINY, rows[name], 4, 2, value, here=True) for name, value in seconds.items()]


def test_time_is_left_as_runs_cost_and_not_as_they_are_counted() -> None:
    clock = Clock()
    progress = Progress(planned(teacher=600 - BESIDE, linear=60 - BESIDE), clock)
    assert progress.runs == 4
    clock.now += 300  # two at a time on a machine as fast as the one before: 600 s of work in 300 s
    assert progress.done(TEACHER) == "[1/4, about 6 min left]"  # 600 + 2 x 60 s of work, at twice the speed
    clock.now += 60
    assert progress.done(LINEAR) == "[2/4, about 6 min left]"
    clock.now += 240
    assert progress.done(TEACHER) == "[3/4, about 29 s left]"
    assert progress.done(LINEAR) == "[4/4]"


def test_a_row_that_was_never_timed_counts_as_the_others_do_on_average() -> None:
    clock = Clock()
    progress = Progress(planned(teacher=10 - BESIDE, linear=30 - BESIDE, KD=math.nan), clock)
    clock.now += 20
    # 120 s of work are planned: 2 x (10 + 30 + 20).
    assert progress.done(KD) == "[1/6, about 2 min left]"
    fresh = Progress(planned(teacher=math.nan, KD=math.nan), clock)
    clock.now += 7
    assert fresh.done(TEACHER) == "[1/4, about 21 s left]"


def test_a_row_that_two_experiments_share_is_made_once() -> None:
    other = replace(TINY, name="other", rows=(TEACHER,))
    shared = [*planned(teacher=3600.0, KD=3600.0), Planned(other, TEACHER, 4, 2, 3600.0, here=True)]
    assert [one.experiment.name for one in distinct(shared)] == ["tiny", "tiny"]
    assert Progress(shared, Clock()).runs == 4
    assert total(shared).startswith("4 runs are missing: 4.00 hours of one core.")
    assert "share count once" in total(shared) and "share" not in total(shared[:2])
    fewer = replace(TEACHER, learning_rates=TEACHER.learning_rates[:1])
    assert len(distinct([*shared, replace(shared[0], row=fewer)])) == 3  # other trials


def test_more_runs_than_were_planned_leave_no_time_below_zero() -> None:
    progress = Progress(planned(KD=1.0)[:1], Clock())
    assert [progress.done(KD) for _ in range(3)][1:] == ["[2/2]", "[3/2]"]


@pytest.mark.parametrize(
    ("seconds", "said"),
    [(0.0, "0 s"), (59.4, "59 s"), (60, "1 min"), (200, "3 min"), (3600, "1.0 h"), (9000, "2.5 h")],
)
def test_durations_are_said_shortly(seconds: float, said: str) -> None:
    assert spoken(seconds) == said
