"""What do tangent kernels cost? ``make bench`` prints ratios of times, and the memory that each way needs.

The first entry of each group is the recipe of the PyTorch documentation: the Jacobian by ``torch.func``, one
parameter after the other, contracted with itself. At 1000 images it is left out: it needs as many bytes as
there are images, outputs and parameters together, 9 GB for the student and 20 for the CNN, and minutes. The
first entry there is the exact kernel, layer by layer.

Times are those of the processor, with one thread; memory is read where Linux tells it.

The JAX library neural-tangents is left out too: installing it brings TensorFlow with it.
"""

import multiprocessing
import re
import time
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from torch import Generator, Tensor, nn
from torch.func import functional_call, jacrev, vmap

from onnlab.data import load
from onnlab.distill import KD, NTKD, Batch, layers, ntk
from onnlab.experiments import parts
from onnlab.networks import HybridClassifier, IdealConvolution, LeNet, PSFConvolution, SmallCNN


def student() -> nn.Module:
    return HybridClassifier(IdealConvolution(1, 16, 7, 28), hidden=(256, 64))


NETWORKS: dict[str, Callable[[], nn.Module]] = {
    "student, 16 kernels 7 x 7, 784-256-64-10": student,
    "CNN, 32-64-128 kernels, BatchNorm": SmallCNN,
    "LeNet": LeNet,
    "student of 8 PSF pairs": lambda: HybridClassifier(PSFConvolution(1, 8, 7, 28, "rectified")),
}


def recipe(model: nn.Module, x: Tensor) -> Tensor:
    """The kernel by the Jacobian of all outputs by all parameters."""
    parameters = {name: p.detach() for name, p in model.named_parameters()}

    def outputs(values: dict[str, Tensor], image: Tensor) -> Tensor:
        return functional_call(model, values, (image[None],))[0]

    jacobian = vmap(jacrev(outputs), (None, 0))(parameters, x)
    return sum(torch.einsum("ncp,mcp->nm", j.flatten(2), j.flatten(2)) for j in jacobian.values())


def sketch(directions: int) -> Callable[[nn.Module, Tensor], Tensor]:
    return lambda model, x: ntk(model, x, projections=directions, generator=Generator().manual_seed(0))


WAYS: dict[str, Callable[[nn.Module, Tensor], Tensor]] = {
    "torch.func": recipe,
    "layer by layer": ntk,
    "4 directions": sketch(4),
    "1 direction": sketch(1),
}
by_processor_time = pytest.mark.benchmark(timer=time.process_time)
CASES = [
    pytest.param(network, n, way, id=f"{network}, {n} images: {way}")
    for network in NETWORKS
    for n in (64, 256, 1000)
    for way in WAYS
    if not (n == 1000 and way == "torch.func")
]


def prepared(network: str, n: int) -> tuple[nn.Module, Tensor]:
    torch.manual_seed(0)
    return NETWORKS[network]().eval(), load("mnist-mini").train[:n][0]


def peak(network: str, n: int, way: str) -> float:
    """Memory in MiB that a call adds to the process at its highest: to be asked in a process of its own."""
    torch.set_num_threads(1)
    model, x = prepared(network, n)
    with torch.no_grad():
        WAYS[way](model, x[:2])
        before = highest()
        WAYS[way](model, x)
    return highest() - before


def highest() -> float:
    """Most memory in MiB that this process has had so far."""
    (kib,) = re.findall(r"VmHWM:\s*(\d+) kB", Path("/proc/self/status").read_text())
    return int(kib) / 1024


@by_processor_time
@pytest.mark.parametrize(("network", "n", "way"), CASES)
def test_kernel(benchmark, network, n, way):
    model, x = prepared(network, n)
    benchmark.group, benchmark.name = f"tangent kernel: {network}, {n} images", way
    with torch.no_grad():
        WAYS[way](model, x[:2])
        benchmark.pedantic(lambda: WAYS[way](model, x), rounds=1 if way == "torch.func" else 3)
    with multiprocessing.get_context("spawn").Pool(1) as fresh:
        benchmark.extra_info["MiB at most"] = round(fresh.apply(peak, (network, n, way)))


STEPS = {
    "KD": lambda teacher: KD(teacher),
    "NTKD": lambda teacher: NTKD(teacher),
    "NTKD, teacher's kernels remembered": lambda teacher: NTKD(teacher, remember=True),
    "NTKD, fully connected layers of the teacher": lambda teacher: NTKD(
        teacher, teacher_parameters=["classifier"]
    ),
    "NTKD, 4 directions": lambda teacher: NTKD(teacher, projections=4),
    "NTKD, 1 direction": lambda teacher: NTKD(teacher, projections=1),
    "NTKD, 1 direction, remembered": lambda teacher: NTKD(teacher, projections=1, remember=True),
}


@by_processor_time
@pytest.mark.parametrize("name", STEPS)
def test_step(benchmark, name):
    torch.manual_seed(0)
    model, objective = student(), STEPS[name](LeNet().eval())
    optimiser = torch.optim.Adam(model.parameters())
    images, targets = load("mnist-mini").train[:64]

    def step() -> None:
        loss = objective(Batch(model, images, targets, model(images)))
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()

    benchmark.group, benchmark.name = "a step of distillation: 64 images, LeNet to the student", name
    step()
    benchmark.pedantic(step, rounds=20)


PIXEL_STEPS = {
    "KD": lambda teacher: KD(teacher),
    "NTKD, last level, 1 direction": lambda teacher: NTKD(teacher, projections=1, **parts.LAST_LEVEL),
    "the same, with patches": lambda teacher: NTKD(teacher, projections=1, **parts.LAST_LEVEL),
    "NTKD, last level, 4 directions": lambda teacher: NTKD(teacher, projections=4, **parts.LAST_LEVEL),
}


@by_processor_time
@pytest.mark.parametrize("name", PIXEL_STEPS)
def test_pixel_step(benchmark, monkeypatch, name):
    """Large images: patches of them, as small ones are treated, would be nine times as large."""
    if "patches" in name:
        monkeypatch.setattr(layers, "PATCHES", 2**62)
    torch.manual_seed(0)
    shape = {"channels": 3, "classes": 2, "image_size": (180, 240)}
    teacher, model = (parts.NETWORKS[name](**shape) for name in ("UNet-16", "Segmenter"))
    model, teacher = (net.to(memory_format=torch.channels_last) for net in (model, teacher.eval()))
    images, targets = torch.rand(8, 3, 180, 240), torch.randint(2, (8, 180, 240))
    images = images.contiguous(memory_format=torch.channels_last)
    objective = PIXEL_STEPS[name](teacher)

    def step() -> None:
        model.zero_grad()
        objective(Batch(model, images, targets, model(images))).backward()

    benchmark.group, benchmark.name = "a step on 8 street scenes of 180 x 240, U-Net to the segmenter", name
    step()
    benchmark.pedantic(step, rounds=3)
