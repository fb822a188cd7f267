"""Checks of chapter 1: directions, distances, propagators, and how to tell that they are right."""

import cmath
import math
from collections.abc import Callable

import torch
from torch import Tensor

from onnlab.checks._check import alike, alone, expect, number, only, same, seeded, tensor, worth
from onnlab.optics import Grid, Propagator, circular_aperture, gaussian_beam, plane_wave, propagate
from onnlab.optics.propagation import transfer_function

Walk = Callable[[Tensor, Grid, float], Tensor]

GREEN = 532e-9


@worth(1)
def critical(critical_pitch: Callable[[int, float, float], float]) -> None:
    """Ask a grid of that pitch for its critical distance."""
    for n, z, wavelength in ((512, 0.1, GREEN), (128, 0.02, 633e-9), (1000, 0.3, 450e-9)):
        pitch = number(critical_pitch(n, z, wavelength), "the pitch")
        case = f"for {n} samples and {z:g} m"
        expect(
            1e-7 < pitch < 1e-2,
            f"{case} the pitch is {pitch:.3g} m",
            "what are the units of your formula? A pitch is a length, of some micrometres here.",
        )
        reached = Grid((2 * n, 2 * n), pitch, wavelength).critical_distance
        same(
            reached,
            z,
            f"{case} a padded window of pitch {pitch * 1e6:.3g} µm has the critical distance {reached:.3g} m",
            "put your pitch into the formula of the critical distance: does z come back?",
            mistakes=[
                (2 * z, "twice too far: has the window been padded?"),
                (z / 2, "half as far: padding doubles the samples once."),
            ],
            rtol=0.02,
        )


@worth(1)
def talbot(order_phase: Callable[[int, float], float]) -> None:
    """Propagate single orders of a grating over a share of its Talbot distance."""
    line = Grid((1, 64), 100e-6 / 64, GREEN)
    z_t = 2 * 100e-6**2 / GREEN
    orders = (1, 2, 3, -2)
    waves = torch.exp(2j * torch.pi * torch.tensor((0, *orders))[:, None, None] * line.x / 100e-6)

    def gained(share: float) -> Tensor:
        after = propagate(waves, line, share * z_t, "fresnel", pad=False)
        factor = (after / waves)[:, 0, 32]
        return factor[1:] / factor[0]

    for share in (0.07, 0.25, 0.31):
        wanted = gained(share)
        phases = torch.tensor(
            [number(order_phase(m, share), "the phase") for m in orders], dtype=torch.float64
        )

        def on_circle(radians: Tensor) -> Tensor:
            return torch.polar(torch.ones_like(radians), radians)

        if alike(on_circle(torch.deg2rad(phases)), wanted, 1e-3):
            expect(False, "the phase is in degrees", "cos, sin and exp want radians.")
        if alike(on_circle(2 * torch.pi * phases), wanted, 1e-3):
            expect(False, "the phase is in turns", "a turn has 2π radians.")
        same(
            on_circle(phases),
            wanted,
            f"after {share:g} of the Talbot distance the orders {orders} do not have these phases",
            "put the frequency of the order and the Talbot distance into the phase that the task gives.",
            mistakes=[
                (wanted.conj(), "the sign: a slanted wave gains less phase on its way than a straight one."),
                (
                    gained(share)[0] ** torch.tensor([1, 2, 3, 2]),
                    "the phase grows with the square of the frequency.",
                ),
                (
                    gained(share)[0] ** torch.tensor(orders),
                    "the phase grows with the square of the frequency.",
                ),
                (gained(share / 2), "half of what it is: the Talbot distance holds a factor of two."),
                (gained(2 * share), "twice what it is: write out k_z and the Talbot distance once more."),
            ],
            rtol=1e-3,
        )


@worth(2)
def carry(carry: Walk) -> None:
    """Compare with a Gaussian beam, and probe the margin, the precision and the evanescent waves."""
    carry = alone(carry, "propagate", "transfer_function")

    def walked(u: Tensor, grid: Grid, z: float) -> Tensor:
        v = tensor(carry(u.clone(), grid, z), grid.shape, "the field")
        expect(
            v.dtype == u.dtype,
            f"a field of {u.dtype} comes out as {v.dtype}",
            "compute the phase as finely as you like, and cast the transfer function to the type of u.",
        )
        return v

    for shape, pitch, wavelength in (((96, 81), (8e-6, 10e-6), GREEN), ((75, 64), (12e-6, 10e-6), 633e-9)):
        grid = Grid(shape, pitch, wavelength)
        u, truth = (gaussian_beam(grid, 60e-6, d, dtype=torch.complex128) for d in (0.0, 15e-3))
        u, truth = (wave.roll((4, -6), (0, 1)) for wave in (u, truth))
        v = walked(u, grid, 15e-3)
        same(
            v,
            truth,
            f"a Gaussian beam on {shape} samples with the pitch {pitch} m does not become what it should",
            "take a beam of which you know the answer, and compare modulus and phase at one sample.",
            mistakes=[
                (truth.conj(), "light travels as exp(+ikz) in this book: look at the signs."),
                (u, "the field has not changed: has the spectrum been multiplied?"),
                (
                    propagate(u, grid, 15e-3 / (2 * math.pi)),
                    "the phase is too slow: frequencies in cycles per metre are not yet radians per metre.",
                ),
            ],
            rtol=1e-4,
        )
    grid = Grid((128, 128), 8e-6, GREEN)
    tilted = gaussian_beam(grid, 100e-6) * plane_wave(grid, (0.0, math.radians(1.65)))
    expect(
        walked(tilted, grid, 30e-3).abs().max() < 0.01,
        "a beam that has left the window on the right comes in on the left",
        "give the transform a window of twice the size, dark around the field, and crop afterwards.",
    )
    grid, z = Grid((128, 128), 16e-6, GREEN), 0.1
    v = walked(gaussian_beam(grid, 200e-6), grid, z)
    truth = gaussian_beam(grid, 200e-6, z, dtype=torch.complex128)
    off = ((v - truth).abs().max() / truth.abs().max()).item()
    expect(
        off < 2e-5,
        f"in complex64 a beam of {z:g} m is wrong by {off:.1%}",
        "the phase is near a million radians: which type holds it, and which type hold the frequencies?",
    )
    grid, z = Grid((32, 48), 50e-9, GREEN), 50e-9
    point = torch.zeros(grid.shape, dtype=torch.complex128)
    point[16, 24] = 1
    double = grid.with_(shape=(64, 96))
    travels = torch.fft.ifftshift(torch.hypot(double.fy[:, None], double.fx) * GREEN < 1)

    def with_others(kept: float) -> Tensor:
        return _filtered(point, torch.where(travels, _transfer(double, z), kept))

    same(
        walked(point, grid, z),
        _filtered(point, _transfer(double, z)),
        "evanescent waves do not fade as they should",
        "beyond 1/λ the root is imaginary. Which of its two signs makes a wave fade, and how fast?",
        mistakes=[
            (with_others(0.0), "they are cut off. A tenth of a wavelength from their source they are there."),
            (with_others(1.0), "they keep their strength: a clamp at 0 holds them where they start."),
        ],
        rtol=1e-2,
    )


@worth(2)
def evanescent(reach: Callable[[float, float], float]) -> None:
    """Watch stripes fade on a fine grid, and measure how far they get."""
    for period, wavelength in ((400e-9, GREEN), (200e-9, GREEN), (400e-9, 633e-9), (500e-9, 800e-9)):
        nano = Grid((1, 40), period / 8, wavelength)
        stripes = torch.cos(2 * torch.pi * nano.x / period)[None] + 0j
        left = propagate(stripes, nano, 20e-9, pad=False).abs().max().item()
        seen = -20e-9 / math.log(left)
        length = number(reach(period, wavelength), "the distance")
        case = f"stripes of {period * 1e9:.0f} nm in light of {wavelength * 1e9:.0f} nm"
        same(
            length,
            seen,
            f"{case} do not reach {length:.4g} m",
            "their amplitude falls as the exponential of -|k_z| z; what is |k_z| at the frequency 1/p?",
            mistakes=[
                (seen / 2, "that is where the intensity is down to 1/e. The task asks for the amplitude."),
                (2 * math.pi * seen, "frequencies are in cycles per metre; an exponent wants radians."),
                (seen * 1e9, "the digits are right and the power of ten is not: keep to metres."),
                (-seen, "a distance is positive."),
            ],
            rtol=1e-3,
        )
    for period, wavelength in ((800e-9, GREEN), (640e-9, 633e-9), (GREEN, GREEN)):
        length = reach(period, wavelength)
        expect(
            bool(only(length) == math.inf),
            f"stripes of {period * 1e9:.0f} nm in light of {wavelength * 1e9:.0f} nm get {length}",
            "as wide as the wavelength, or wider, they travel without loss: for those, return math.inf.",
        )


@worth(2)
def arago(behind_disc: Callable[[Grid, float, float], Tensor]) -> None:
    """Let the light behind a disc and that behind a hole add up to a wave that met nothing."""
    for radius, fresnel_number in ((250e-6, 4), (200e-6, 2.5)):
        plane = Grid((192, 160), 5e-6, GREEN)
        z = radius**2 / (GREEN * fresnel_number)
        shadow = tensor(behind_disc(plane, radius, z), plane.shape, "the field")
        expect(
            shadow.is_complex(),
            "the result is real",
            "hand in the field; the square of its modulus comes later.",
        )
        free = cmath.exp(1j * plane.wavenumber * z)
        hole = circular_aperture(plane, radius).to(torch.complex128)
        behind_hole = propagate(hole, plane, z)
        same(
            shadow,
            free - behind_hole,
            f"behind a disc of {2e6 * radius:.0f} µm the light is not what the hole leaves over",
            "with disc and hole together nothing is in the way: what do their two fields add up to?",
            mistakes=[
                (1 - behind_hole, "the plane wave has travelled, too: it has gained the phase of its way."),
                (behind_hole - free, "the sign: which of the two is taken from the other?"),
                (behind_hole, "that is the light behind the hole."),
                (
                    propagate(1 - hole, plane, z),
                    "that is a disc in a square opening: the dark margin of the window cuts the plane wave.",
                ),
                (
                    propagate(1 - hole, plane, z, pad=False),
                    "that is a field of many discs, for the window repeats: there is only one.",
                ),
                (
                    free.conjugate() - behind_hole,
                    "the plane wave travels the wrong way: exp(+ikz) in this book.",
                ),
            ],
            rtol=1e-3,
        )


def _transfer(grid: Grid, z: float) -> Tensor:
    return transfer_function(grid, z, "angular_spectrum", pad=False, dtype=torch.complex128)


def _filtered(u: Tensor, transfer: Tensor) -> Tensor:
    ny, nx = u.shape
    return torch.fft.ifft2(torch.fft.fft2(u, s=transfer.shape) * transfer)[:ny, :nx]


def _without_band_limit(u: Tensor, grid: Grid, z: float) -> Tensor:
    return _filtered(u, _transfer(grid.with_(shape=(2 * grid.ny, 2 * grid.nx)), z))


def _rounded(u: Tensor, grid: Grid, z: float) -> Tensor:
    # What single precision does to the phase, which is near k z.
    transfer = _transfer(grid.with_(shape=(2 * grid.ny, 2 * grid.nx)), z)
    rounding = torch.rand(transfer.shape, dtype=torch.float64, generator=seeded(0)) - 0.5
    rounding *= grid.wavenumber * abs(z) * torch.finfo(torch.float32).eps
    return _filtered(u, transfer * torch.polar(torch.ones_like(rounding), rounding))


def _half_a_bin_off(u: Tensor, grid: Grid, z: float) -> Tensor:
    tilt = torch.exp(1j * torch.pi * grid.x / grid.extent[1])
    return propagate(u * tilt, grid, z) * tilt.conj()


def _in_two_steps(u: Tensor, grid: Grid, z: float) -> Tensor:
    return propagate(propagate(u, grid, 0.4 * z), grid, 0.6 * z)


def _mirrored(u: Tensor, grid: Grid, z: float, axis: int = -1) -> Tensor:
    return propagate(u, grid, z).flip(axis).roll(1 - u.shape[axis] % 2, axis)


HONEST: tuple[Walk, ...] = (propagate, _without_band_limit, _in_two_steps)
CROOKED: tuple[tuple[Walk, str], ...] = (
    (lambda u, grid, z: u, "does nothing at all"),
    (lambda u, grid, z: propagate(u, grid, -z), "walks backwards in phase"),
    (lambda u, grid, z: 0.9 * propagate(u, grid, z), "loses a fifth of the light"),
    (lambda u, grid, z: propagate(u, grid, 1.05 * z), "walks five per cent too far"),
    (lambda u, grid, z: propagate(u, grid, z).abs() + 0j, "forgets the phase"),
    (
        lambda u, grid, z: propagate(u, grid, z) * cmath.exp(-1j * grid.wavenumber * z),
        "leaves out the phase of its way, *kz*",
    ),
    (_half_a_bin_off, "takes frequencies that are half a bin off"),
    (_mirrored, "mirrors left and right"),
    (lambda u, grid, z: _mirrored(u, grid, z, axis=-2), "mirrors top and bottom"),
    (lambda u, grid, z: propagate(u, grid, z).roll(1, -2), "moves the field by a row"),
    (lambda u, grid, z: propagate(u, grid.with_(pitch=grid.pitch[::-1]), z), "mixes up the two pitches"),
    (_rounded, "computes its phase in single precision"),
)


@worth(2)
def judge(is_right: Callable[[Walk], bool]) -> None:
    """Send the judge honest strangers and crooked ones."""
    for honest in HONEST:
        expect(
            bool(is_right(honest)),
            "it condemns a propagator that is right",
            "does your known field fit into the window, at the start and at the end, and is your tolerance "
            "that of a good propagator, near 1e-4?",
        )
    advice = {
        "mirrors left and right": "is your test field the same in a mirror?",
        "mirrors top and bottom": "is your test field the same when it is upside down?",
        "mixes up the two pitches": "give the window two different pitches.",
        "computes its phase in single precision": "go far enough for the phase to be large.",
        "takes frequencies that are half a bin off": "go far enough: it drifts with distance.",
    }
    for crooked, fault in CROOKED:
        expect(
            not is_right(crooked),
            f"it trusts a propagator that {fault}",
            advice.get(fault, "compare with the complex field that you know, at the far end."),
        )


@worth(3)
def twin(retrieve: Callable[[Tensor, Tensor, Grid, float, int], Tensor]) -> None:
    """Hide random slides behind their intensities."""
    grid, z = Grid((64, 64), 16e-6, GREEN), 10e-3
    inside = torch.zeros(grid.shape, dtype=torch.bool)
    inside[6:58, 4:56] = True  # nearly all of the window: the dark part alone says too little
    there = Propagator(grid, z)
    for seed in (0, 2, 16):
        blocks = torch.rand(8, 8, generator=seeded(seed))
        slide = torch.zeros(grid.shape)
        slide[8:56, 6:54] = 0.4 * (blocks * (blocks > 0.7)).kron(torch.ones(6, 6))
        intensity = there(slide + 0j).abs().square()
        found = tensor(retrieve(intensity.clone(), inside.clone(), grid, z, 250), grid.shape, "the slide")
        expect(not found.is_complex(), "the slide is complex", "a slide of phase 0 is real.")
        expect(
            found.min() > -1e-3 * slide.max(),
            f"the slide holds {found.min().item():.2g}",
            "it is nowhere negative: that is a thing to use in each round.",
        )
        expect(
            found[~inside].abs().max() < 1e-3 * slide.max(),
            "there is light where the slide is dark",
            "use in each round what you know of the slide.",
        )
        taken = there(found.float() + 0j).abs().square()
        measured = intensity.sqrt()
        expect(
            (taken.sqrt() - measured).norm() < 3 * (taken.sqrt() - intensity).norm(),
            "the amplitude of its light is what was measured as intensity",
            "a camera measures the square of the amplitude.",
        )
        off = ((found - slide).norm() / slide.norm()).item()
        expect(
            off < 0.11,
            f"after 250 rounds the slide is {off:.0%} wrong",
            "keep the computed phase and replace the amplitude in the one plane; in the other one use all "
            "that you know of the slide, where it is dark and its sign. Do both in every round.",
        )
