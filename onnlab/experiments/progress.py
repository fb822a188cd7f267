"""How far the runs of a plan are, and how long the others may take."""

import math
import statistics
import time
from collections.abc import Callable, Sequence

from onnlab.experiments.plan import Planned, distinct
from onnlab.experiments.settings import Row

BESIDE = 1.0
"""Seconds that a run takes beside its training, roughly: to start, to test, to take a device's pictures."""


class Progress:
    r"""Counts the runs of a plan as they are done, and estimates the time that is left.

    Each run has a weight, the seconds that are expected of it. With the weights :math:`W` of all, :math:`w`
    of those that are done, and the time :math:`t` since the start, :math:`t\,(W - w)/w` is left: however
    many runs are made at a time, and however fast the machine is.

    Parameters
    ----------
    planned : sequence of Planned
        What is to be done. A row that was never timed is expected to take as long as the others on average;
        one that several experiments share is made once.
    clock : callable
        Tells the time in seconds.
    """

    def __init__(self, planned: Sequence[Planned], clock: Callable[[], float] = time.monotonic) -> None:
        timed = [one.seconds for one in planned if not math.isnan(one.seconds)]
        usual = statistics.fmean(timed or [0.0])
        self.weights = {
            one.row: BESIDE + (usual if math.isnan(one.seconds) else one.seconds) for one in planned
        }
        made = distinct(planned)
        self.runs = sum(one.missing for one in made)
        self.weight = math.fsum(one.missing * self.weights[one.row] for one in made)
        self.runs_done, self.weight_done = 0, 0.0
        self.clock, self.start = clock, clock()

    def done(self, row: Row) -> str:
        """Count a run; return how far the whole is, such as ``[12/48, about 3 min left]``."""
        self.runs_done += 1
        self.weight_done += self.weights[row]
        # A choice may turn out otherwise than the file had it: then there are more runs than were planned.
        left = max(self.weight - self.weight_done, 0) / self.weight_done * (self.clock() - self.start)
        count = f"{self.runs_done}/{self.runs}"
        return f"[{count}]" if self.runs_done >= self.runs else f"[{count}, about {spoken(left)} left]"


def spoken(seconds: float) -> str:
    """Return a duration as one says it: ``40 s``, ``3 min`` or ``2.5 h``."""
    if seconds < 59.5:
        return f"{seconds:.0f} s"
    if seconds < 3570:
        return f"{seconds / 60:.0f} min"
    return f"{seconds / 3600:.1f} h"
