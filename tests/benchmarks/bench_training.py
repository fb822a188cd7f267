"""How fast is training? ``make bench`` prints ratios of times, and the images a second of each method.

An epoch is one of :func:`onnlab.distill.fit`, with ten images to validate, so that validation hardly counts.
Images are random bytes: what is in them changes no time. Times are those of the processor, with one thread.

What the ways to compute are for: each pays for some networks and costs others, so look at the ratio of yours.
Compiling takes from seconds to minutes before the first step, which is not in the ratio.
"""

import shutil
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache, partial
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Generator, Tensor, nn

from onnlab.data import Dataset, Split
from onnlab.distill import KD, NTKD, CrossEntropy, Objective, fit
from onnlab.experiments.parts import AUGMENTATIONS, NETWORKS
from onnlab.experiments.runs.training import channels_last
from onnlab.networks import linear_counterpart

MOST_ON_DATA = 0.15  # of an epoch
MOST_FOR_KD = 1.3  # of an epoch with labels and the teacher's answers to its images
by_processor_time = pytest.mark.benchmark(timer=time.process_time)


@dataclass(frozen=True)
class Task:
    """A student, its teacher, and images of one size."""

    student: str
    teacher: str
    shape: tuple[int, int, int]
    augment: str
    n: int = 640

    def network(self, name: str) -> nn.Module:
        torch.manual_seed(0)
        channels, size, _ = self.shape
        return NETWORKS[name](channels=channels, classes=10, image_size=size)

    @property
    def taught(self) -> nn.Module:
        """The teacher, in the layout in which it answers fastest."""
        return self.network(self.teacher).eval().to(memory_format=torch.channels_last)

    @cache  # noqa: B019  # there are two tasks
    def data(self) -> Dataset:
        generator = Generator().manual_seed(0)
        pixels = torch.randint(256, (self.n, *self.shape), dtype=torch.uint8, generator=generator)
        split = Split(pixels, torch.randint(10, (self.n,), generator=generator))
        few = Split(split.pixels[:10], split.labels[:10])
        return Dataset("noise", split, few, few, tuple("0123456789"), "")

    def epoch(self, objective: Objective, **settings: Any) -> None:
        """Train for one epoch."""
        model = self.network(self.student)
        settings = {"augment": AUGMENTATIONS[self.augment], "channels_last": channels_last(model), **settings}
        fit(model, self.data(), objective, epochs=1, seed=0, progress=False, **settings)

    def batches(self) -> list[Tensor]:
        """The images of an epoch as a student gets them, augmented."""
        generator, augment = Generator().manual_seed(0), AUGMENTATIONS[self.augment]
        order = torch.randperm(self.n, generator=generator)
        return [augment(*self.data().train[indices], generator)[0] for indices in order.split(64)]


TASKS = {
    "digits, LeNet to eight kernels": Task("Hybrid-8", "LeNet", (1, 28, 28), "shift"),
    "photographs, CNN to 16 kernels": Task("Hybrid-16", "SmallCNN-16", (3, 32, 32), "shift+flip"),
}
AGAIN = {"fixed_batches": True, "augment": None}  # what is remembered is remembered of such batches
METHODS: dict[str, tuple[Callable[[nn.Module], Objective], dict[str, Any]]] = {
    "labels": (lambda teacher: CrossEntropy(), {}),
    "KD": (KD, {}),
    "KD, remembered": (partial(KD, remember=True), AGAIN),
    "NTKD": (NTKD, {}),
    "NTKD, remembered": (partial(NTKD, remember=True), AGAIN),
    "NTKD, one projection": (partial(NTKD, projections=1), {}),
    "KD + NTKD": (lambda teacher: KD(teacher) + NTKD(teacher, alpha=0.0), {}),
}


@by_processor_time
@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("task", TASKS)
def test_epoch(benchmark, task, method):
    make, settings = METHODS[method]
    objective = make(TASKS[task].taught)
    benchmark.group, benchmark.name = f"an epoch of training: {task}", method
    # The first round is not counted: it warms up, and fills the memory of what is remembered.
    benchmark.pedantic(lambda: TASKS[task].epoch(objective, **settings), rounds=3, warmup_rounds=1)
    benchmark.extra_info["images a second"] = round(TASKS[task].n / benchmark.stats.stats.min)


def fastest(*works: Callable[[], object], rounds: int = 7) -> list[float]:
    """Least processor seconds of each work, all of them in turn, so that a noisy spell hits them alike."""
    times: list[list[float]] = [[] for _ in works]
    for _ in range(rounds):
        for work, mine in zip(works, times, strict=True):
            start = time.process_time()
            work()
            mine.append(time.process_time() - start)
    return [min(mine) for mine in times]


@pytest.mark.parametrize("task", TASKS)
def test_data_are_a_small_part_of_an_epoch(task):
    whole, data = fastest(partial(TASKS[task].epoch, CrossEntropy()), TASKS[task].batches)
    print(f"\n{task}: batches and augmentation are {data / whole:.1%} of an epoch with labels")
    assert data < MOST_ON_DATA * whole


@pytest.mark.parametrize("task", TASKS)
def test_kd_costs_little_more_than_the_teachers_answers(task):
    teacher, batches = TASKS[task].taught, TASKS[task].batches()

    def answers() -> None:
        with torch.no_grad():
            for images in batches:
                teacher(images)

    epoch = TASKS[task].epoch
    labels, taught, kd = fastest(partial(epoch, CrossEntropy()), answers, partial(epoch, KD(teacher)))
    print(f"\n{task}: an epoch with KD takes {kd / (labels + taught):.2f} of labels and answers")
    assert kd < MOST_FOR_KD * (labels + taught)


def linear(name: str) -> Callable[..., nn.Module]:
    """The strictly linear counterpart of a network."""

    def build(channels: int, classes: int, image_size: int) -> nn.Module:
        network = NETWORKS[name](channels=channels, classes=classes, image_size=image_size)
        return linear_counterpart(network, (channels, image_size, image_size), copy_weights=False)

    return build


# How it is built, shape of its images, classes, images in a step, and whether each pixel has a label.
LEARNERS: dict[str, tuple[Callable[..., nn.Module], tuple[int, int, int], int, int, bool]] = {
    "Hybrid-8": (NETWORKS["Hybrid-8"], (1, 28, 28), 10, 64, False),
    "Hybrid-16": (NETWORKS["Hybrid-16"], (3, 32, 32), 10, 64, False),
    "LeNet": (NETWORKS["LeNet"], (1, 28, 28), 10, 64, False),
    "SmallCNN-16": (NETWORKS["SmallCNN-16"], (3, 32, 32), 10, 64, False),
    "linear LeNet": (linear("LeNet"), (1, 28, 28), 10, 64, False),
    "linear SmallCNN-16": (linear("SmallCNN-16"), (3, 32, 32), 10, 64, False),
    "Segmenter": (NETWORKS["Segmenter"], (3, 24, 24), 2, 16, True),
    "UNet-8": (NETWORKS["UNet-8"], (3, 24, 24), 2, 16, True),
}
WAYS = ["plain", "channels_last", "bfloat16", "channels_last and bfloat16", "compiled"]


@by_processor_time
@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::UserWarning")  # while PyTorch compiles
@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("name", LEARNERS)
def test_way_to_compute(benchmark, name, way):
    if way == "compiled" and shutil.which("g++") is None:
        pytest.skip("compiling for a processor needs g++")
    build, (channels, size, _), classes, n, pixels = LEARNERS[name]
    torch.manual_seed(0)
    model = build(channels=channels, classes=classes, image_size=size)
    optimiser = torch.optim.Adam(model.parameters())
    layout = torch.channels_last if "channels_last" in way else torch.contiguous_format
    model.to(memory_format=layout)
    images = torch.rand(n, channels, size, size).contiguous(memory_format=layout)
    targets = torch.randint(classes, (n, size, size) if pixels else (n,))
    forward = torch.compile(model) if way == "compiled" else model

    def step() -> None:
        with torch.autocast("cpu", torch.bfloat16, enabled="bfloat16" in way):
            logits = forward(images)
        optimiser.zero_grad()
        F.cross_entropy(logits.float(), targets).backward()
        optimiser.step()

    benchmark.group, benchmark.name = f"a step of {n} images: {name}", way
    benchmark.pedantic(step, rounds=20, warmup_rounds=3)
    benchmark.extra_info["images a second"] = round(n / benchmark.stats.stats.min)
