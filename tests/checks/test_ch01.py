import cmath
import math

import pytest
import torch
from torch.fft import fft2, fftfreq, ifft2, ifftshift

from onnlab.optics import Grid, Propagator, circular_aperture, gaussian_beam, plane_wave, propagate
from tests.checks.cases import judge, right, wrong

TURN = 2 * math.pi


def exact_pitch(n, z, wavelength):
    """Without the approximation that the pitch is many wavelengths."""
    reach = wavelength * z / (2 * n)
    return math.sqrt(wavelength**2 / 8 + math.sqrt(wavelength**4 / 64 + reach**2))


def carrier(
    pad=2,
    corner=True,
    radians=True,
    sign=1,
    fade="fades",
    precise=True,
    cast=True,
    swapped=False,
    shifted=True,
    half_bin=False,
    paraxial=False,
    crop=True,
):
    """A propagator written with fftshift and a field in the middle of its window, and its faults."""

    def carry(u, grid, z):
        my, mx = pad * grid.ny, pad * grid.nx
        real = torch.float64 if precise else u.real.dtype
        work = Grid((my, mx), (grid.dx, grid.dy) if swapped else grid.pitch, grid.wavelength)
        fy, fx = work.fy.to(real)[:, None], work.fx.to(real)
        if half_bin:
            fx = fx + 0.5 / (mx * grid.dx)
        squared = 1 / grid.wavelength**2 - fy**2 - fx**2
        size = squared.abs().sqrt() * (TURN if radians else 1)
        if paraxial:
            size = TURN * (1 / grid.wavelength - grid.wavelength * (fy**2 + fx**2) / 2)
        travels = squared >= 0
        phase = torch.where(travels, size * z, 0)
        decay = {"fades": torch.exp(-size * z), "stops": 0.0, "stays": 1.0, "grows": torch.exp(size * z)}[
            fade
        ]
        transfer = torch.where(travels, 1.0, decay) * torch.exp(sign * 1j * phase)
        transfer = transfer.to(u.dtype) if cast else transfer
        top, left = (0, 0) if corner else (grid.ny // 2, grid.nx // 2)
        field = torch.zeros(my, mx, dtype=u.dtype)
        field[top : top + grid.ny, left : left + grid.nx] = u
        transfer = ifftshift(transfer) if shifted else transfer
        v = ifft2(fft2(field) * transfer)
        return v[top : top + grid.ny, left : left + grid.nx] if crop else v

    return carry


def without_clamp(u, grid, z):
    """The root of a negative number is NaN."""
    fy, fx = (fftfreq(2 * n, d, dtype=torch.float64) for n, d in zip(grid.shape, grid.pitch, strict=True))
    kz = TURN * (1 / grid.wavelength**2 - fy[:, None] ** 2 - fx**2).sqrt()
    spectrum = fft2(u, s=kz.shape) * torch.exp(1j * kz * z).to(u.dtype)
    return ifft2(spectrum)[: grid.ny, : grid.nx]


def reach(intensity=False, radians=True, unit=1.0, finite=False, swapped=False):
    def how_far(period, wavelength):
        if swapped:
            period, wavelength = wavelength, period
        squared = 1 / period**2 - 1 / wavelength**2
        if squared <= 0:
            return 1.0 if finite else math.inf
        return unit / (math.sqrt(squared) * (TURN if radians else 1) * (2 if intensity else 1))

    return how_far


def only_wider(period, wavelength):
    """Forget the stripes that are just as wide as the wavelength."""
    if period > wavelength:
        return math.inf
    return 1 / (TURN * math.sqrt(1 / period**2 - 1 / wavelength**2))


def hole(grid, radius):
    return circular_aperture(grid, radius).to(torch.complex128)


def free(grid, z, sign=1):
    return cmath.exp(sign * 1j * grid.wavenumber * z)


def masked_disc(grid, radius, z):
    """Babinet with Propagator and a plane wave as a tensor."""
    far = torch.full(grid.shape, free(grid, z), dtype=torch.complex128)
    return far - Propagator(grid, z, dtype=torch.complex128)(hole(grid, radius))


def beams(
    grid=((128, 160), (12e-6, 8e-6)),
    z=50e-3,
    waist=120e-6,
    aside=(6, -9),
    tolerance=1e-3,
    seen=lambda v: v,
    largest=True,
):
    """Judge a propagator by a Gaussian beam; each setting can be a bad choice."""

    def is_right(propagator):
        plane = Grid(*grid, 532e-9)
        start, truth = (
            gaussian_beam(plane, waist, d, dtype=torch.complex128).roll(aside, (0, 1)) for d in (0.0, z)
        )
        off = (seen(propagator(start, plane, z)) - seen(truth)).abs()
        return (off.max() if largest else off.mean()) < tolerance

    return is_right


def slanted(propagator):
    """Judge by a beam that leans, with the help of a shift in frequency: u exp(2 pi i f x) of a wide beam."""
    plane, z = Grid((150, 128), (9e-6, 12e-6), 633e-9), 60e-3
    start, truth = (gaussian_beam(plane, 110e-6, d, dtype=torch.complex128) for d in (0.0, z))
    centred = (propagator(start, plane, z) - truth).abs().max() < 1e-3
    start, truth = (wave.roll((-7, 4), (0, 1)) for wave in (start, truth))
    return bool(centred and (propagator(start, plane, z) - truth).abs().max() < 1e-3)


def round_trip(propagator):
    plane = Grid((64, 64), 8e-6, 532e-9)
    u = gaussian_beam(plane, 60e-6, dtype=torch.complex128)
    return bool((propagator(propagator(u, plane, 5e-3), plane, -5e-3) - u).abs().max() < 1e-6)


def but_for_a_phase(propagator):
    """Judge by the overlap, whose modulus no constant phase changes."""
    plane, z = Grid((128, 160), (12e-6, 8e-6), 532e-9), 50e-3
    start, truth = (
        gaussian_beam(plane, 120e-6, d, dtype=torch.complex128).roll((6, -9), (0, 1)) for d in (0.0, z)
    )
    v = propagator(start, plane, z)
    overlap = (v.conj() * truth).sum().abs() / (v.norm() * truth.norm())
    return bool(overlap > 0.99999 and abs(v.norm() / truth.norm() - 1) < 1e-3)


def power_only(propagator):
    plane = Grid((64, 64), 8e-6, 532e-9)
    u = gaussian_beam(plane, 60e-6, dtype=torch.complex128)
    return bool((propagator(u, plane, 5e-3).norm() / u.norm() - 1).abs() < 1e-4)


def plane_waves(propagator):
    plane = Grid((64, 64), 8e-6, 532e-9)
    u = plane_wave(plane, (0.0, 0.01), dtype=torch.complex128)
    kz = plane.wavenumber * math.cos(0.01)
    return bool((propagator(u, plane, 5e-3) - u * cmath.exp(1j * kz * 5e-3)).abs().max() < 1e-3)


def searcher(
    inside=True, positive=True, root=True, mix=False, rounds=None, hybrid=False, fresh_phase=False, end=True
):
    """To and fro between two planes: error reduction or hybrid input-output, and what spoils it."""

    def retrieve(intensity, allowed, grid, z, count):
        there, back = Propagator(grid, z), Propagator(grid, -z)
        amplitude = intensity.sqrt() if root else intensity
        slide = allowed.float()
        generator = torch.Generator().manual_seed(0)
        for number in range(count if rounds is None else rounds):
            field = there(slide + 0j)
            phase = field.angle()
            if fresh_phase:
                phase = TURN * torch.rand(phase.shape, generator=generator)
            measured = torch.polar(amplitude, phase)
            walked = back(field * 0.5 + measured * 0.5 if mix else measured).real
            keep = torch.ones_like(allowed)
            keep = keep & allowed if inside else keep
            keep = keep & (walked > 0) if positive else keep
            other = slide - 0.8 * walked if hybrid and number < count - 20 else torch.zeros_like(slide)
            slide = torch.where(keep, walked, other)
        return slide.clamp(min=0) * allowed if end else slide

    return retrieve


def one_walk(intensity, inside, grid, z, rounds):
    return propagate(intensity.sqrt() + 0j, grid, -z).abs() * inside


CASES = [
    right("ch01-critical", lambda n, z, lam: math.sqrt(lam * z / 2 / n)),
    right("ch01-critical", exact_pitch),
    right("ch01-critical", lambda n, z, lam: torch.tensor(lam * z / (2 * n)).sqrt()),
    wrong("ch01-critical", "has the window been padded", lambda n, z, lam: math.sqrt(lam * z / n)),
    wrong("ch01-critical", "doubles the samples once", lambda n, z, lam: math.sqrt(lam * z / (4 * n))),
    wrong("ch01-critical", "A pitch is a length", lambda n, z, lam: lam * z / (2 * n)),
    wrong("ch01-critical", "units", lambda n, z, lam: 1e6 * math.sqrt(lam * z / (2 * n))),
    wrong("ch01-critical", "does z come back", lambda n, z, lam: math.sqrt(lam * z / (16 * n))),
    right("ch01-talbot", lambda m, s: -TURN * s * m * m),
    right("ch01-talbot", lambda m, s: (1 - m * m * s) % 1 * TURN),
    right("ch01-talbot", lambda m, s: torch.tensor(-TURN * s * m**2, dtype=torch.float64)),
    wrong("ch01-talbot", "the sign", lambda m, s: TURN * s * m**2),
    wrong("ch01-talbot", "square", lambda m, s: -TURN * s * abs(m)),
    wrong("ch01-talbot", "square", lambda m, s: -TURN * s * m),
    wrong("ch01-talbot", "factor of two", lambda m, s: -math.pi * s * m**2),
    wrong("ch01-talbot", "write out", lambda m, s: -2 * TURN * s * m**2),
    wrong("ch01-talbot", "in degrees", lambda m, s: -360 * s * m**2),
    wrong("ch01-talbot", "in turns", lambda m, s: -s * m**2),
    wrong("ch01-talbot", "frequency of the order", lambda m, s: -TURN * s * m**2 + s),
    right("ch01-carry", carrier()),
    right("ch01-carry", carrier(corner=False)),
    right("ch01-carry", carrier(pad=3)),
    wrong("ch01-carry", "without it", lambda u, grid, z: propagate(u, grid, z, "angular_spectrum")),
    wrong("ch01-carry", "without it", lambda u, grid, z: Propagator(grid, z, dtype=u.dtype)(u)),
    wrong("ch01-carry", "exp(+ikz)", carrier(sign=-1)),
    wrong("ch01-carry", "radians per metre", carrier(radians=False)),
    wrong("ch01-carry", "twice the size", carrier(pad=1)),
    wrong("ch01-carry", "which type", carrier(precise=False)),
    wrong("ch01-carry", "cast the transfer function", carrier(cast=False)),
    wrong("ch01-carry", "cut off", carrier(fade="stops")),
    wrong("ch01-carry", "clamp at 0", carrier(fade="stays")),
    wrong("ch01-carry", "two signs", carrier(fade="grows")),
    wrong("ch01-carry", "compare modulus and phase", carrier(swapped=True)),
    wrong("ch01-carry", "compare modulus and phase", carrier(shifted=False)),
    wrong("ch01-carry", "compare modulus and phase", carrier(half_bin=True)),
    wrong("ch01-carry", "two signs", carrier(paraxial=True)),
    wrong("ch01-carry", "has the shape", carrier(crop=False)),
    wrong("ch01-carry", "NaN", without_clamp),
    wrong("ch01-carry", "spectrum been multiplied", lambda u, grid, z: u),
    right("ch01-evanescent", reach()),
    right(
        "ch01-evanescent",
        lambda p, lam: torch.tensor(max(0.0, (lam / p) ** 2 - 1), dtype=torch.float64).rsqrt() * lam / TURN,
    ),
    wrong("ch01-evanescent", "asks for the amplitude", reach(intensity=True)),
    wrong("ch01-evanescent", "wants radians", reach(radians=False)),
    wrong("ch01-evanescent", "keep to metres", reach(unit=1e9)),
    wrong("ch01-evanescent", "a distance is positive", reach(unit=-1.0)),
    wrong("ch01-evanescent", "return math.inf", reach(finite=True)),
    wrong("ch01-evanescent", "is inf", reach(swapped=True)),
    wrong("ch01-evanescent", "ZeroDivisionError", only_wider),
    wrong("ch01-evanescent", "of type complex", lambda p, lam: 1 / (TURN * (lam**-2 - p**-2 + 0j) ** 0.5)),
    right("ch01-arago", lambda grid, a, z: free(grid, z) - propagate(hole(grid, a), grid, z)),
    right("ch01-arago", masked_disc),
    wrong("ch01-arago", "square opening", lambda grid, a, z: propagate(1 - hole(grid, a), grid, z)),
    wrong("ch01-arago", "many discs", lambda grid, a, z: propagate(1 - hole(grid, a), grid, z, pad=False)),
    wrong("ch01-arago", "has travelled, too", lambda grid, a, z: 1 - propagate(hole(grid, a), grid, z)),
    wrong("ch01-arago", "behind the hole", lambda grid, a, z: propagate(hole(grid, a), grid, z)),
    wrong("ch01-arago", "taken from the other", lambda grid, a, z: -masked_disc(grid, a, z)),
    wrong("ch01-arago", "wrong way", lambda g, a, z: free(g, z, -1) - propagate(hole(g, a), g, z)),
    wrong("ch01-arago", "square of its modulus", lambda grid, a, z: masked_disc(grid, a, z).abs() ** 2),
    wrong("ch01-arago", "add up to", lambda grid, a, z: masked_disc(grid, a / 2, z)),
    right("ch01-judge", beams()),
    right("ch01-judge", beams(grid=((160, 90), (8e-6, 16e-6)), waist=100e-6, z=0.04, tolerance=1e-4)),
    right("ch01-judge", slanted),
    wrong("ch01-judge", "far end", round_trip),
    wrong("ch01-judge", "far end", power_only),
    wrong("ch01-judge", "is right", plane_waves),
    wrong("ch01-judge", "far end", lambda propagator: True),
    wrong("ch01-judge", "is right", lambda propagator: False),
    wrong("ch01-judge", "known field fit", beams(waist=30e-6)),
    wrong("ch01-judge", "known field fit", beams(tolerance=1e-12)),
    wrong("ch01-judge", "same in a mirror", beams(aside=(6, 0))),
    wrong("ch01-judge", "upside down", beams(aside=(0, -9))),
    wrong("ch01-judge", "two different pitches", beams(grid=((128, 160), 10e-6))),
    wrong("ch01-judge", "far enough", beams(z=2e-3, tolerance=1e-2)),
    wrong("ch01-judge", "far end", beams(seen=torch.abs)),
    wrong("ch01-judge", "phase of its way", but_for_a_phase),
    wrong("ch01-judge", "far end", beams(tolerance=0.2)),
    right("ch01-twin", searcher()),
    right("ch01-twin", searcher(hybrid=True)),
    right("ch01-twin", searcher(mix=True)),
    wrong("ch01-twin", "what you know of the slide", searcher(inside=False, end=False)),
    wrong("ch01-twin", "and its sign", searcher(positive=False)),
    wrong("ch01-twin", "and its sign", searcher(positive=False, hybrid=True)),
    wrong("ch01-twin", "square of the amplitude", searcher(root=False)),
    wrong("ch01-twin", "nowhere negative", searcher(positive=False, end=False)),
    wrong("ch01-twin", "replace the amplitude", searcher(fresh_phase=True)),
    wrong("ch01-twin", "replace the amplitude", searcher(rounds=2)),
    wrong("ch01-twin", "replace the amplitude", one_walk),
    wrong("ch01-twin", "replace the amplitude", lambda i, inside, grid, z, rounds: i.sqrt() * inside),
]


@pytest.mark.parametrize("case", CASES, ids=str)
def test_answer(case, capsys):
    judge(case, capsys)
