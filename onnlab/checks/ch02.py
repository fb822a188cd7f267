"""Checks of chapter 2: lenses, masks, and what a kernel looks like in the Fourier plane."""

import math
from collections.abc import Callable

import torch
from torch import Generator, Tensor

from onnlab.checks._check import alike, expect, noise, number, same, seeded, tensor, worth
from onnlab.optics import ComplexMask, FourF, Grid, gaussian_beam, lens_transform, mask_for_kernel

BENCH = Grid(shape=(64, 64), pitch=10e-6, wavelength=532e-9)


def _field(*shape: int, seed: int) -> Tensor:
    return noise(*shape, seed=seed, dtype=torch.complex128)


@worth(1)
def spots(spot_place: Callable[[float, float, float], float]) -> None:
    """Compare the place of the spot with that of simulated gratings."""
    for period, wavelength, focal_length in (
        (40e-6, 532e-9, 0.1),
        (64e-6, 633e-9, 0.05),
        (32e-6, 450e-9, 0.2),
    ):
        grid = Grid(shape=(1, 512), pitch=8e-6, wavelength=wavelength)
        grating = torch.cos(2 * torch.pi * grid.x / period) * gaussian_beam(grid, waist=0.5e-3)
        F, grid_f = lens_transform(grating, grid, focal_length)
        row = F[0].abs().square() * (grid_f.x > 0)
        seen = grid_f.x[row.argmax()].item()
        place = number(spot_place(period, wavelength, focal_length), "the place")
        case = f"a grating of {period * 1e6:.0f} µm behind a lens of {focal_length * 1e3:.0f} mm"
        same(
            place,
            seen,
            f"{case} has its spot {seen * 1e3:.2f} mm from the axis, and not {place * 1e3:.4g} mm",
            "a finer grating bends light further; a longer lens turns the same angle into a longer way.",
            mistakes=[
                (1e3 * seen, "the digits are right and the power of ten is not: keep to metres."),
                (1e6 * seen, "the digits are right and the power of ten is not: keep to metres."),
            ],
            rtol=grid_f.dx / seen,
        )


@worth(1)
def camera(
    second_lens: Callable[[float, float, float], float], brightening: Callable[[float, float], float]
) -> None:
    """Build the telescope that the answer describes, and measure its pitch and its light."""
    u = gaussian_beam(BENCH, waist=0.1e-3)
    for first, pitch_out in ((0.1, 4e-6), (0.05, 25e-6)):
        second = number(second_lens(first, BENCH.dx, pitch_out), "the focal length")
        expect(
            second > 0, f"the focal length is {second:g} m", "a lens that forms this image is a convex one."
        )
        system = FourF(BENCH, focal_length=(first, second))
        got = f"with {second * 1e3:.4g} mm behind {first * 1e3:.0f} mm a sample becomes "
        got += f"{system.grid_out.dx * 1e6:.4g} µm wide, and not {pitch_out * 1e6:.0f} µm"
        same(
            system.grid_out.dx,
            pitch_out,
            got,
            "the magnification is the ratio of the two lenses: which way round?",
        )
        seen = (system(u).abs().max() / u.abs().max()).item() ** 2
        factor = number(brightening(BENCH.dx, pitch_out), "the factor")
        same(
            factor,
            seen,
            f"from {BENCH.dx * 1e6:.0f} to {pitch_out * 1e6:.0f} µm the intensity changes by {seen:.3g}, "
            f"and not by {factor:.3g}",
            "the same energy falls on another area.",
            mistakes=[
                (math.sqrt(seen), "that is the factor of the amplitude; a camera sees its square."),
                (1 / seen, "it is the other way round: a smaller picture is a brighter one."),
            ],
            rtol=1e-3,
        )


@worth(2)
def lens(fourier_plane: Callable[[Tensor], Tensor]) -> None:
    """Compare with a transform written as two matrix products, on even and on odd axes."""
    for shape in ((8, 12), (7, 9), (9, 8)):
        u = _field(*shape, seed=sum(shape))
        F = tensor(fourier_plane(u.clone()), shape)
        expect(
            F.is_complex(), "the result is real", "a field in the Fourier plane has a phase: do not take abs."
        )
        places = (torch.arange(n, dtype=torch.float64) - n // 2 for n in shape)
        rows, columns = (
            torch.exp(-2j * torch.pi * k[:, None] * k / len(k)) / math.sqrt(len(k)) for k in places
        )
        wanted = rows @ u @ columns
        energy = F.abs().square().sum() / u.abs().square().sum()
        expect(
            alike(energy, 1.0, 1e-6),
            f"the energy of a field of {shape} samples changes by a factor of {energy:.4g}",
            "the lens loses no light: look at the argument norm of torch.fft.",
        )
        middle, odd = "the light on the axis is not in the middle", "on an odd axis the two shifts differ"
        fft2, shift, unshift = torch.fft.fft2, torch.fft.fftshift, torch.fft.ifftshift
        same(
            F,
            wanted,
            f"a field of {shape} samples does not go to its Fourier transform about the middle",
            "the origin of field and transform is the sample n // 2; torch.fft has both at 0.",
            mistakes=[
                (fft2(unshift(u), norm="ortho"), f"{middle}: a shift is missing after the transform."),
                (
                    shift(fft2(u, norm="ortho")),
                    "the phase has a slope: a shift is missing before the transform.",
                ),
                (shift(fft2(shift(u), norm="ortho")), f"{odd}: which one takes the middle to 0?"),
                (unshift(fft2(unshift(u), norm="ortho")), f"{odd}: which one takes 0 to the middle?"),
                (
                    shift(torch.fft.ifft2(unshift(u), norm="ortho")),
                    "light goes forwards: no inverse transform.",
                ),
            ],
            rtol=1e-6,
        )


@worth(2)
def knife(knife_edge: Callable[[Grid], Tensor]) -> None:
    """Ask for the properties of a blade, on windows that are neither square nor even."""
    for shape in ((8, 8), (6, 9)):
        _, grid_f = lens_transform(torch.ones(shape) + 0j, BENCH.with_(shape=shape), 0.1)
        mask = tensor(knife_edge(grid_f), shape).to(torch.complex128)
        expect(
            mask.abs().max() <= 1,
            f"the mask has the modulus {mask.abs().max():.3g}",
            "a blade does not amplify.",
        )
        expect(
            bool((mask.imag == 0).all()) and bool((mask.real >= 0).all()),
            "the mask has a phase",
            "steel blocks.",
        )
        mask, middle = mask.real, shape[1] // 2
        across = mask[shape[0] // 2]
        expect(
            mask.eq(across).all(),
            "the mask changes from top to bottom",
            "the edge of the blade stands upright.",
        )
        left, right = across[1 - shape[1] % 2 : middle], across[middle + 1 :]
        expect(
            bool((left == left[0]).all())
            and bool((right == right[0]).all())
            and {left[0].item(), right[0].item()} == {0, 1},
            "one side of the axis is not all blocked and the other all open",
            "compare the coordinates of the Fourier plane with 0.",
        )
        expect(
            across[middle] == 0.5,
            f"on the axis {across[middle].item():g} of the amplitude passes",
            "the blade stands in the middle of the sample on the axis.",
        )


@worth(2)
def find(correlator: Callable[[Tensor, Grid], Tensor]) -> None:
    """Hide random templates, even and odd, in scenes; the camera is brightest where they are, turned."""
    odd = BENCH.with_(shape=(61, 70))
    for seed, (grid, (h, w), (row, column)) in enumerate(
        (
            (BENCH, (9, 9), (40, 20)),
            (BENCH, (9, 9), (21, 37)),
            (BENCH, (8, 6), (30, 30)),
            (odd, (9, 9), (40, 20)),
            (odd, (7, 10), (22, 41)),
        )
    ):
        template = torch.rand(h, w, generator=seeded(seed))
        mask = tensor(correlator(template.clone(), grid), grid.shape).to(torch.complex64)
        expect(
            mask.abs().max() < 1 + 1e-5,
            f"the mask has the modulus {mask.abs().max():.3g}: it amplifies",
            "divide by the largest modulus: glass is passive.",
        )
        wanted = mask_for_kernel(template, grid, correlate=True).transmission
        scene = torch.zeros(grid.shape, dtype=torch.complex64)
        top, left = row - h // 2, column - w // 2
        scene[top : top + h, left : left + w] = template
        answer = FourF(grid, 0.1, ComplexMask(mask))(scene).abs()
        brightest = divmod(int(answer.argmax()), grid.nx)
        place = ((2 * (grid.ny // 2) - row) % grid.ny, (2 * (grid.nx // 2) - column) % grid.nx)
        got = f"on a window of {grid.ny} x {grid.nx} a template of {h} x {w} at {(row, column)} answers at "
        got += f"{brightest}, and not at {place}"
        expect(
            not alike(torch.fft.fftshift(mask), wanted, 1e-3),
            "the axis of the mask is in its corner",
            "the axis of the bench is the sample n // 2: a shift is missing after the transform.",
        )
        expect(
            not alike(mask, wanted.conj(), 1e-3),
            got,
            "this mask convolves. One conjugation makes it a correlation.",
        )
        expect(
            brightest == place,
            got,
            "is sample n // 2 of the template at sample n // 2 of the window, and is each shift the right "
            "way round? On odd windows the two shifts differ.",
        )
        expect(
            alike(mask / mask.abs().max(), wanted, 1e-3),
            "the peak is there, and the mask is not the matched one",
            "its modulus matters, too: it lets pass what is strong in the template.",
        )


@worth(3)
def few(learn_mask: Callable[[Tensor, Tensor, int, Generator], Tensor]) -> None:
    """Let the answer learn a random filter, and test it on fields that it has not seen."""
    hidden = _field(*BENCH.shape, seed=0).to(torch.complex64)
    hidden = hidden / hidden.abs().max()
    lens_pair = FourF(BENCH, 0.1, ComplexMask(hidden))
    seen, unseen = (_field(n, *BENCH.shape, seed=n).to(torch.complex64) for n in (48, 8))
    pictures = lens_pair(seen).abs().square()
    mask = tensor(learn_mask(seen, pictures, 250, seeded(1)), BENCH.shape).to(torch.complex64)
    expect(
        mask.abs().max() < 1 + 1e-5,
        f"the mask has the modulus {mask.abs().max():.3g}: it amplifies",
        "after each step, clip what exceeds one.",
    )
    taken = FourF(BENCH, 0.1, ComplexMask(mask))(unseen).abs().square()
    wanted = lens_pair(unseen).abs().square()
    exposure = (taken * wanted).sum() / taken.square().sum()
    error = ((exposure * taken - wanted).norm() / wanted.norm()).item()
    expect(
        bool(torch.isfinite(torch.tensor(error))) and error < 0.25,
        f"on fields that it has not seen the mask takes pictures that are {error:.0%} wrong",
        "compare pictures, not fields, and leave the exposure free; both modulus and phase have to learn.",
    )
