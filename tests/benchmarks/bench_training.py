"""Where does the time of a training go? ``make bench`` fails where data or KD cost more than they should.

What is trained, and by which methods, is that of ``onnlab speed``, which tells the images a second of each.
Times are those of the processor, with one thread.

What the ways to compute are for: each pays for some networks and costs others, so look at the ratio of yours.
Compiling takes from seconds to minutes before the first step, which is not in the ratio.
"""

import shutil
import time
from collections.abc import Callable
from functools import partial

import pytest
import torch
import torch.nn.functional as F
from torch import Generator, Tensor, nn

from onnlab.experiments.parts import AUGMENTATIONS, NETWORKS
from onnlab.experiments.runs.training import channels_last
from onnlab.experiments.speed import METHODS, SPEED_TASKS, SpeedTask, in_turn
from onnlab.networks import linear_counterpart

MOST_ON_DATA = 0.15  # of an epoch
MOST_FOR_KD = 1.3  # of an epoch with labels and the teacher's answers to its images
by_processor_time = pytest.mark.benchmark(timer=time.process_time)


def fastest(*works: Callable[[], object]) -> list[float]:
    """Least processor seconds of each work, all of them in turn."""
    return [min(one.seconds for one in spent) for spent in in_turn(works, rounds=7, clock=time.process_time)]


def batches(task: SpeedTask) -> list[Tensor]:
    """The images of an epoch as the student gets them, augmented."""
    generator, augment = Generator().manual_seed(0), AUGMENTATIONS[task.augment]
    last = channels_last(task.network(task.student))
    layout = torch.channels_last if last else torch.contiguous_format
    made = []
    for indices in torch.randperm(task.images, generator=generator).split(task.batch_size):
        images, targets = task.data.train[indices]
        if augment:
            images, _ = augment(images, targets, generator)
        made.append(images.contiguous(memory_format=layout))
    return made


def epoch(task: SpeedTask, method: str, teacher: nn.Module) -> Callable[[], None]:
    return partial(task.epoch, METHODS[method].objective(task, teacher))


@pytest.mark.parametrize("name", SPEED_TASKS)
def test_data_are_a_small_part_of_an_epoch(name):
    task = SPEED_TASKS[name]
    whole, data = fastest(epoch(task, "labels", task.taught()), partial(batches, task))
    print(f"\n{name}: batches and augmentation are {data / whole:.1%} of an epoch with labels")
    assert data < MOST_ON_DATA * whole


@pytest.mark.parametrize("name", SPEED_TASKS)
def test_kd_costs_little_more_than_the_teachers_answers(name):
    task = SPEED_TASKS[name]
    teacher, images = task.taught(), batches(task)

    def answers() -> None:
        with torch.no_grad():
            for batch in images:
                teacher(batch)

    labels, taught, kd = fastest(epoch(task, "labels", teacher), answers, epoch(task, "KD", teacher))
    print(f"\n{name}: an epoch with KD takes {kd / (labels + taught):.2f} of labels and answers")
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
