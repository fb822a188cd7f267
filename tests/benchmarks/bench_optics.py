"""How fast is the light? ``make bench`` prints ratios to bare ``torch.fft``; busy machines fail nothing.

In each group the first entry is the floor: the transforms that the task cannot do without.
"""

from collections.abc import Callable

import pytest
import torch
import torchoptics
from torch import Tensor, nn
from torchoptics.elements import Lens, PhaseModulator

from onnlab.optics import ComplexMask, FourF, Grid, PhaseMask, Propagator, propagate

FOCAL, DISTANCE = 0.1, 0.01
SIZES = [(1, 256), (1, 512), (8, 512), (4, 1024)]
PITCH, WAVELENGTH = 8e-6, 532e-9
PEER = "torchoptics"


def scene(batch: int, n: int) -> tuple[Grid, Tensor, Tensor]:
    generator = torch.Generator().manual_seed(0)
    u = torch.randn(batch, n, n, dtype=torch.complex64, generator=generator)
    return Grid((n, n), PITCH, WAVELENGTH), u, torch.randn(n, n, generator=generator)


def peer_system(n: int, phi: Tensor) -> torchoptics.System:
    """The same bench in torchoptics: lens, mask, lens, walked plane by plane."""
    common = {"spacing": PITCH}
    return torchoptics.System(
        Lens((n, n), FOCAL, z=FOCAL, **common),
        PhaseModulator(phi, z=2 * FOCAL, **common),
        Lens((n, n), FOCAL, z=3 * FOCAL, **common),
    )


def forward_4f(batch: int, n: int) -> dict[str, Callable[[], object]]:
    grid, u, phi = scene(batch, n)
    m = torch.polar(torch.ones_like(phi), phi)
    given, phase = FourF(grid, FOCAL, ComplexMask(m)), FourF(grid, FOCAL, PhaseMask(phi))
    peer, field = peer_system(n, phi), torchoptics.Field(u, WAVELENGTH, spacing=PITCH)
    return {
        "bare ifft2(fft2(u) * m)": lambda: torch.fft.ifft2(torch.fft.fft2(u) * m),
        "onnlab FourF, ComplexMask(m)": lambda: given(u),
        "onnlab FourF, PhaseMask(phi)": lambda: phase(u),
        PEER: lambda: peer.measure_at_z(field, 4 * FOCAL),
    }


def train_4f(batch: int, n: int) -> dict[str, Callable[[], object]]:
    """Forward, and backward to the phase: the step of every trained mask."""
    grid, u, phi = scene(batch, n)
    phi = nn.Parameter(phi)
    system, peer = FourF(grid, FOCAL, PhaseMask(phi)), peer_system(n, phi)
    field = torchoptics.Field(u, WAVELENGTH, spacing=PITCH)

    def step(run: Callable[[], Tensor]) -> Callable[[], object]:
        return lambda: run().abs().square().sum().backward()

    return {
        "naive ifft2(fft2(u) * exp(1j * phi))": step(
            lambda: torch.fft.ifft2(torch.fft.fft2(u) * torch.exp(1j * phi))
        ),
        "onnlab FourF": step(lambda: system(u)),
        PEER: step(lambda: peer.measure_at_z(field, 4 * FOCAL).data),
    }


def free_space(batch: int, n: int) -> dict[str, Callable[[], object]]:
    grid, u, _ = scene(batch, n)
    propagator = Propagator(grid, DISTANCE)
    h = torch.randn(2 * n, 2 * n, dtype=torch.complex64)
    field = torchoptics.Field(u, WAVELENGTH, spacing=PITCH)

    def floor() -> Tensor:
        padded = nn.functional.pad(u, (0, n, 0, n))
        return torch.fft.ifft2(torch.fft.fft2(padded) * h)[..., :n, :n]

    return {
        "cached H, padded to 2N": floor,
        "onnlab Propagator": lambda: propagator(u),
        "onnlab propagate (H rebuilt)": lambda: propagate(u, grid, DISTANCE),
        PEER: lambda: field.propagate_to_z(DISTANCE),
    }


GROUPS = {"4f forward": forward_4f, "4f forward and backward": train_4f, "free space": free_space}
CASES = [
    pytest.param(group, size, name, id=f"{group}, {size[0]} x {size[1]} x {size[1]}: {name}")
    for group, build in GROUPS.items()
    for size in SIZES
    for name in build(1, 8)  # a tiny bench tells the names
    if name != PEER or size in SIZES[:2]  # the peer takes minutes for more
]


@pytest.mark.parametrize(("group", "size", "name"), CASES)
def test_speed(benchmark, group, size, name):
    run = GROUPS[group](*size)[name]
    benchmark.group, benchmark.name = f"{group}, {size[0]} x {size[1]} x {size[1]}", name
    with torch.set_grad_enabled("backward" in group):
        run()
        benchmark.pedantic(run, rounds=3 if name == PEER else 15)
