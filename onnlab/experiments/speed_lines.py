"""How fast each method learns: the lines of a measurement, and their tables."""

import json
import math
import statistics
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from itertools import groupby
from pathlib import Path

from onnlab.distill.checkpoint import write_whole
from onnlab.experiments.lines import LineError, objects
from onnlab.experiments.report import Layout, plain_table

SPEEDS = "speed.jsonl"
"""Name of the file of a measurement, beside those of results."""

COMMAND = "`onnlab speed --out results/speed.jsonl`"
"""What makes that file."""


@dataclass(frozen=True)
class Speed:
    """How fast one method learns one task: what a line of the file holds.

    Parameters
    ----------
    task, method : str
        In ``SPEED_TASKS`` and ``METHODS``.
    what : str
        The task in words.
    images : int
        In an epoch.
    seconds : list of float
        Of an epoch, in each round.
    joules : list of float or None
        The same; None where the machine does not tell. Other work on it counts in.
    clock : str
        What the seconds are.
    commit, versions, device
        Code and machine.

    Raises
    ------
    ValueError
        If a field is of the wrong type or out of range. The message names it.
    """

    task: str
    method: str
    what: str
    images: int
    seconds: list[float]
    joules: list[float] | None
    clock: str
    commit: str | None
    versions: dict[str, str]
    device: str

    def __post_init__(self) -> None:
        for name in ("task", "method", "what", "clock", "device"):
            if not isinstance(getattr(self, name), str):
                raise ValueError(f"{name} must be a text, got {getattr(self, name)!r}")
        if self.commit is not None and not isinstance(self.commit, str):
            raise ValueError(f"commit must be a text or null, got {self.commit!r}")
        if not isinstance(self.versions, dict):
            raise ValueError(f"versions must be an object, got {self.versions!r}")
        if type(self.images) is not int or self.images < 1:
            raise ValueError(f"images must be a whole number from 1 on, got {self.images!r}")
        if not _are_finite(self.seconds) or min(self.seconds) <= 0:
            raise ValueError(f"seconds must be numbers above 0, one for each round, got {self.seconds!r}")
        if self.joules is not None and (not _are_finite(self.joules) or min(self.joules) < 0):
            raise ValueError(f"joules must be null or numbers, one for each round, got {self.joules!r}")

    @property
    def measurement(self) -> str:
        """What all lines of one measurement share."""
        versions = ", ".join(f"{name} {version}" for name, version in self.versions.items())
        return f"{self.clock}, {len(self.seconds)} rounds, on {self.device}, commit {self.commit}, {versions}"

    @property
    def images_a_second(self) -> float:
        """Median over the rounds."""
        return self.images / statistics.median(self.seconds)

    @property
    def joules_an_image(self) -> float | None:
        """Mean over the rounds: counters may be coarse beside an epoch."""
        return None if self.joules is None else statistics.fmean(self.joules) / self.images

    def times_as_long(self, other: "Speed") -> list[float]:
        """Return the ratio of its time to that of another method, in each round."""
        return [mine / theirs for mine, theirs in zip(self.seconds, other.seconds, strict=True)]


def _are_finite(numbers: object) -> bool:
    """Whether this is a list of numbers, and not empty."""
    return (
        isinstance(numbers, list)
        and len(numbers) > 0
        and all(isinstance(number, float) and math.isfinite(number) for number in numbers)
    )


def write_speeds(path: Path, speeds: Iterable[Speed]) -> None:
    """Write a measurement in place of the one before, for numbers of two do not compare."""
    lines = (json.dumps(asdict(one), allow_nan=False) + "\n" for one in speeds)
    write_whole(path, "".join(lines).encode())


def read_speeds(path: Path) -> list[Speed]:
    """Return the lines of a file, none if there is no file.

    Raises
    ------
    LineError
        If a line is not as it has to be, or not all are of one measurement. The message names the file.
    """
    again = f"measure again: {COMMAND}"
    speeds = list(objects(path, lambda fields: Speed(**fields), again))
    for number, one in enumerate(speeds, start=1):
        if one.measurement != speeds[0].measurement:
            raise LineError(
                f"{path}, line {number}: it must be of one measurement with the first line, "
                f"{speeds[0].measurement}, got {one.measurement}; {again}"
            )
    return speeds


def speed_tables(speeds: Sequence[Speed], layout: Layout = plain_table) -> str:
    """Return a table for each task, and how it was measured: all of one measurement."""
    if not speeds:
        return f"There is no measurement yet: {COMMAND} makes it."
    tasks = [list(group) for _, group in groupby(speeds, key=lambda one: one.task)]
    texts = [f"{task[0].task.capitalize()}: {task[0].what}.\n\n{_table(task, layout)}" for task in tasks]
    return "\n\n".join([*texts, f"Measured: {speeds[0].measurement}."])


def _table(speeds: Sequence[Speed], layout: Layout) -> str:
    first = speeds[0]
    head = ["Method", "Images a second", f"Time, in multiples of {first.method}", "Least to most"]
    lines = []
    for one in speeds:
        ratios = one.times_as_long(first)
        spread = f"{min(ratios):.2f} to {max(ratios):.2f}"
        lines.append([one.method, f"{one.images_a_second:.0f}", f"{statistics.median(ratios):.2f}", spread])
    if any(one.joules_an_image is not None for one in speeds):
        head.append("Millijoules an image")
        for line, one in zip(lines, speeds, strict=True):
            line.append("" if one.joules_an_image is None else f"{1e3 * one.joules_an_image:.1f}")
    return layout(head, lines, (0,))
