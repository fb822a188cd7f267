"""How fast each method learns: images a second, measured in turn so that the methods compare."""

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property, partial
from typing import Any, NamedTuple

import torch
from torch import Generator, nn

from onnlab.data import Dataset, Split
from onnlab.distill import KD, NTKD, CrossEntropy, Dice, Objective, fit
from onnlab.experiments.energy import Meter
from onnlab.experiments.parts import AUGMENTATIONS, KERNELS, NETWORKS
from onnlab.experiments.runs.execution import device_name, machinery
from onnlab.experiments.runs.training import channels_last
from onnlab.experiments.speed_lines import Speed


@dataclass(frozen=True)
class SpeedTask:
    """A student, its teacher, and images of one size. Images are noise: what is in them changes no time.

    Parameters
    ----------
    student, teacher : str
        Networks by name.
    shape : tuple of int
        Of an image: channels, rows, columns.
    images : int
        In an epoch.
    batch_size : int
        Images in a step.
    augment : str
        How images are augmented, by name.
    pixels : bool
        Whether each pixel has a label, one of two classes, and not each image one of ten.
    kernel : str
        The kernel of NTKD, by name.
    """

    student: str
    teacher: str
    shape: tuple[int, int, int]
    images: int = 640
    batch_size: int = 64
    augment: str = "none"
    pixels: bool = False
    kernel: str = "plain"

    def network(self, name: str) -> nn.Module:
        """Return a network of this name for these images, always with the same weights."""
        channels, size, _ = self.shape
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(0)
            return NETWORKS[name](channels=channels, classes=len(self.data.classes), image_size=size)

    def taught(self) -> nn.Module:
        """Return the teacher, in the layout in which it answers fastest."""
        teacher = self.network(self.teacher).eval()
        return teacher.to(memory_format=torch.channels_last)  # type: ignore[call-overload]

    @cached_property
    def data(self) -> Dataset:
        """The images. One alone is there to validate with, for that is no training."""
        generator, classes = Generator().manual_seed(0), 2 if self.pixels else 10
        labelled = (self.images, *self.shape[1:]) if self.pixels else (self.images,)
        pixels = torch.randint(256, (self.images, *self.shape), dtype=torch.uint8, generator=generator)
        train = Split(pixels, torch.randint(classes, labelled, generator=generator))
        one = Split(train.pixels[:1], train.labels[:1])
        return Dataset("noise", train, one, one, tuple(map(str, range(classes))), "")

    def epoch(self, objective: Objective, fixed_batches: bool = False, device: str = "cpu") -> None:
        """Train the student for one epoch. Fixed batches come again as they were, so without augmentation."""
        model = self.network(self.student)
        fit(
            model, self.data, objective, epochs=1, seed=0, batch_size=self.batch_size, device=device,
            augment=None if fixed_batches else AUGMENTATIONS[self.augment], fixed_batches=fixed_batches,
            channels_last=channels_last(model), progress=False,
        )  # fmt: skip

    def __str__(self) -> str:
        channels, ny, nx = self.shape
        augment = "" if self.augment == "none" else f", {self.augment}"
        return (
            f"{self.teacher} to {self.student}, {self.batch_size} images of "
            f"{channels} × {ny} × {nx} in a step{augment}"
        )


SPEED_TASKS = {
    "digits": SpeedTask("Hybrid-8", "LeNet", (1, 28, 28), augment="shift"),
    "photographs": SpeedTask("Hybrid-16", "SmallCNN-16", (3, 32, 32), images=320, augment="shift+flip"),
    "pixels": SpeedTask(
        "Segmenter", "UNet-8", (3, 24, 24), images=80, batch_size=8, pixels=True, kernel="last level"
    ),
}
"""What is learnt, by name."""


def labels(task: SpeedTask, teacher: nn.Module) -> Objective:
    """Return the objective without a teacher."""
    return _with_overlap(task, CrossEntropy())


def answers(task: SpeedTask, teacher: nn.Module, remember: bool = False) -> Objective:
    """Return that of KD."""
    return _with_overlap(task, KD(teacher, remember=remember))


def kernels(
    task: SpeedTask,
    teacher: nn.Module,
    beside: Callable[[SpeedTask, nn.Module], Objective] = labels,
    **options: Any,
) -> Objective:
    """Return that of NTKD, beside labels or answers."""
    return beside(task, teacher) + NTKD(teacher, alpha=0.0, **{**KERNELS[task.kernel], **options})


def _with_overlap(task: SpeedTask, objective: Objective) -> Objective:
    return objective + Dice() if task.pixels else objective


class Method(NamedTuple):
    """How to make an objective of a task and a teacher, and whether it is for fixed batches."""

    objective: Callable[[SpeedTask, nn.Module], Objective]
    fixed_batches: bool = False


METHODS = {
    "labels": Method(labels),
    "KD": Method(answers),
    "KD, remembered": Method(partial(answers, remember=True), fixed_batches=True),
    "NTKD": Method(kernels),
    "NTKD, remembered": Method(partial(kernels, remember=True), fixed_batches=True),
    "NTKD, one projection": Method(partial(kernels, projections=1)),
    "KD + NTKD": Method(partial(kernels, beside=answers)),
}
"""How it is learnt, by name. All others are compared with the first."""


class Clock(NamedTuple):
    """What it tells, and how to read it."""

    name: str
    read: Callable[[], float]


def clock_of(device: str) -> Clock:
    """Return the processor's time, or on a GPU, which the processor does not wait for, that of the wall."""
    if torch.device(device).type != "cuda":
        return Clock("processor time of one thread", time.process_time)

    def wall() -> float:
        torch.cuda.synchronize(device)
        return time.perf_counter()

    return Clock("wall time", wall)


class Spent(NamedTuple):
    """What a work took, once. Joules are None where the machine does not tell."""

    seconds: float
    joules: float | None


def in_turn(
    works: Sequence[Callable[[], object]], rounds: int, clock: Callable[[], float], device: str = "cpu"
) -> list[list[Spent]]:
    """Do all works once in each round, so that a noisy spell hits them alike; return for each its rounds.

    A round before them does not count: it warms up, and fills the memories.
    """
    spent: list[list[Spent]] = [[] for _ in works]
    for number in range(rounds + 1):
        for work, mine in zip(works, spent, strict=True):
            with Meter(device) as meter:
                start = clock()
                work()
                seconds = clock() - start
            if number > 0:
                mine.append(Spent(seconds, meter.joules))
    return spent


def measure_speeds(
    tasks: Mapping[str, SpeedTask] = SPEED_TASKS,
    *,
    rounds: int = 7,
    device: str = "cpu",
    report: Callable[[str], None] = print,
) -> list[Speed]:
    """Measure an epoch of each method, task by task; return a :class:`Speed` for each.

    One thread computes. Other work on the machine hardly counts in the time of a processor, but slows it down
    by what both share: measure on a quiet machine.

    Parameters
    ----------
    tasks : mapping of str to SpeedTask
        By name.
    rounds : int
        How often each method takes its turn.
    device : str
        See :func:`onnlab.distill.fit`.
    report : callable
        Called with a line of text before each task.
    """
    torch.set_num_threads(1)
    clock = clock_of(device)
    made_by = machinery(device_name(device))
    speeds = []
    for name, task in tasks.items():
        report(f"{name}: {task}")
        teacher = task.taught()
        epochs = [
            partial(task.epoch, method.objective(task, teacher), method.fixed_batches, device)
            for method in METHODS.values()
        ]
        for method, rounds_of in zip(METHODS, in_turn(epochs, rounds, clock.read, device), strict=True):
            joules = [one.joules for one in rounds_of if one.joules is not None]
            speeds.append(
                Speed(
                    task=name,
                    method=method,
                    what=str(task),
                    images=task.images,
                    seconds=[round(one.seconds, 5) for one in rounds_of],
                    joules=joules if len(joules) == rounds else None,
                    clock=clock.name,
                    **made_by,
                )
            )
    return speeds
