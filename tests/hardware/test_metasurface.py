import math
import warnings

import numpy as np
import pytest
import torch
from scipy.special import j1

from onnlab.hardware import MetaAtoms, Metasurface, at_sensor
from onnlab.optics import Grid, SamplingWarning, circular_aperture, propagate, psf, spherical_wave
from tests.hardware.light import direct_sum

NITRIDE = MetaAtoms.silicon_nitride()
GREEN = 532e-9
# A library with every phase in one colour, so that a lens is met to within a small phase step.
STEP = 2 * math.pi / 64


def ideal_atoms(count=64, wavelength=GREEN):
    turns = torch.arange(count, dtype=torch.float64)[:, None] / count
    widths = torch.linspace(60e-9, 240e-9, count, dtype=torch.float64)
    transmission = torch.polar(torch.ones_like(turns), 2 * math.pi * turns)
    return MetaAtoms(widths, transmission, (wavelength,), 250e-9, 1e-6, "circle")


def rand(*shape, seed=0):
    return torch.rand(shape, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))


# The library


def test_published_phase_at_the_ends_of_the_table():
    # By hand, from a (1 - exp(-(w^2 - b w) / c)) with w = 0.065 and 0.237 micrometres.
    for colour, (a, b, c) in enumerate(
        [(5.03593, 0.0244, 0.28081), (2.28293, 0.03756, 0.07134), (1.87336, 0.0474, 0.03191)]
    ):
        first, last = (a * (1 - math.exp(-(w * w - b * w) / c)) for w in (0.065, 0.237))
        assert float(NITRIDE.phase[0, colour]) == pytest.approx(2 * math.pi * first)
        assert NITRIDE.coverage[colour] == pytest.approx(2 * math.pi * (last - first))
    assert bool((NITRIDE.phase.diff(dim=0) > 0).all())
    assert NITRIDE.coverage[0] < 2 * math.pi < NITRIDE.coverage[1] < NITRIDE.coverage[2]


def test_the_fits_are_of_full_widths():
    """A thin pillar fills its cell by (w/p)^2, and slows light by that share of what a solid film does."""
    index = torch.tensor([1.99, 2.01, 2.04])  # of silicon nitride at 635, 532 and 450 nm
    film = 2 * math.pi * (index - 1) * NITRIDE.height / torch.tensor(NITRIDE.wavelengths)
    widths = NITRIDE.widths[[0, -1]].float()
    share = (widths / NITRIDE.period)[:, None] ** 2
    measured = NITRIDE.phase[[0, -1]].float()
    assert bool(((measured / (share * film) - 1).abs() < 0.35).all())
    assert bool((measured / (4 * share * film) < 0.4).all())  # read as half-widths they would be far off


def test_transmission_is_interpolated_between_unwrapped_phases():
    widths = torch.tensor([100e-9, 120e-9, 140e-9, 160e-9], dtype=torch.float64)
    phase = torch.tensor([2.0, 3.0, 4.0, 5.0], dtype=torch.float64)  # passes pi
    modulus = torch.tensor([1.0, 0.8, 0.9, 1.0], dtype=torch.float64)
    atoms = MetaAtoms(widths, torch.polar(modulus, phase)[:, None], (GREEN,), 300e-9, 1e-6, "square")
    torch.testing.assert_close(atoms.phase[:, 0], phase)
    asked = torch.tensor([[100e-9, 125e-9], [160e-9, 0.0]], dtype=torch.float64)
    expected = torch.polar(
        torch.tensor([[1.0, 0.825], [1.0, 1.0]], dtype=torch.float64),
        torch.tensor([[2.0, 3.25], [5.0, 0.0]], dtype=torch.float64),
    )
    torch.testing.assert_close(atoms.transmit(asked)[0], expected)


def test_a_table_that_starts_without_a_pillar_says_what_that_is():
    table = torch.polar(torch.tensor([0.5, 1.0, 1.0]), torch.tensor([0.3, 1.0, 2.0]))[:, None]
    atoms = MetaAtoms(torch.tensor([0.0, 1e-7, 2e-7]), table, (GREEN,), 300e-9, 1e-6, "square")
    torch.testing.assert_close(atoms.transmit(torch.zeros(1, 1))[0, 0, 0], table[0, 0])


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("wavelength", NITRIDE.wavelengths)
def test_widths_to_phase_and_back(wavelength, dtype):
    column = NITRIDE.colour(wavelength)
    own = NITRIDE.phase[:, column]
    # Phases that the library has, a turn more or less: the way back ends within half of its largest step.
    wanted = (own[0] + rand(20, 30) * min(NITRIDE.coverage[column], 2 * math.pi)).to(dtype)
    surface = Metasurface.from_phase(wanted - 2 * math.pi, NITRIDE, wavelength)
    assert surface.widths.dtype == dtype
    error = (surface.phase(wavelength) - wanted).remainder(2 * math.pi)
    error = torch.minimum(error, 2 * math.pi - error)
    assert float(error.max()) <= float(own.diff().max()) / 2 + 1e-4
    # The widths themselves come back, where a phase belongs to one width only.
    if NITRIDE.coverage[column] < 2 * math.pi:
        again = Metasurface.from_phase(surface.phase(wavelength), NITRIDE, wavelength)
        assert torch.equal(again.widths, surface.widths)


def test_the_nearest_phase_is_that_of_a_search_through_all():
    wanted = 20 * rand(40) - 10
    for wavelength in NITRIDE.wavelengths:
        apart = NITRIDE.phase[:, NITRIDE.colour(wavelength)] - wanted[:, None]
        nearest = (1 - torch.cos(apart)).amin(1)
        widths = NITRIDE.nearest(wanted, wavelength)
        reached = NITRIDE.transmit(widths)[NITRIDE.colour(wavelength)].angle()
        torch.testing.assert_close(1 - torch.cos(reached - wanted), nearest, rtol=1e-6, atol=1e-12)


def test_gradient_of_the_transmission_in_the_widths():
    # Between two entries of the table, where the line has no corner; in nanometres, for gradcheck's step.
    table = NITRIDE.widths[:-1].reshape(4, 43) * 1e9 + 0.5
    weight = rand(3, 4, 43)

    def total(nanometres):
        return (NITRIDE.transmit(nanometres * 1e-9) * weight).real.sum()

    assert torch.autograd.gradcheck(total, table.requires_grad_(), eps=1e-3, atol=1e-6)


@pytest.mark.parametrize(
    ("changes", "error", "words"),
    [
        ({"widths": [1.0]}, TypeError, "widths must be a float tensor"),
        ({"widths": torch.tensor([2e-7, 1e-7])}, ValueError, "widths must be >= 0 and increase"),
        ({"widths": torch.tensor([-1e-7, 1e-7])}, ValueError, "widths must be >= 0"),
        ({"widths": torch.tensor([math.nan, 1e-7])}, ValueError, "widths must be finite"),
        ({"widths": torch.tensor([1e-7])}, ValueError, "number of widths must be at least 2"),
        ({"transmission": torch.ones(2, 1)}, TypeError, "transmission must be a complex tensor"),
        ({"transmission": torch.ones(3, 1) + 0j}, ValueError, r"transmission must have shape .* = \(2, 1\)"),
        ({"transmission": 1.1 * torch.ones(2, 1) + 0j}, ValueError, "modulus of at most 1, got 1.1"),
        ({"transmission": math.nan * torch.ones(2, 1) + 0j}, ValueError, "transmission must be finite"),
        ({"wavelengths": (0.0,)}, ValueError, "wavelengths must be positive"),
        ({"wavelengths": ()}, ValueError, "transmission must have shape"),
        ({"period": 1.5e-7}, ValueError, "period must be at least the widest pillar"),
        ({"period": -3e-7}, ValueError, "period must be positive"),
        ({"height": 0.0}, ValueError, "height must be positive"),
        ({"shape": "hexagon"}, ValueError, "shape must be one of"),
    ],
)
def test_bad_libraries(changes, error, words):
    arguments = {
        "widths": torch.tensor([1e-7, 2e-7]),
        "transmission": torch.tensor([[1.0], [1j]]),
        "wavelengths": (GREEN,),
        "period": 3e-7,
        "height": 1e-6,
        "shape": "square",
    }
    with pytest.raises(error, match=words):
        MetaAtoms(**{**arguments, **changes})


def test_a_lattice_that_is_a_grating_warns():
    with pytest.warns(SamplingWarning, match="use less than the wavelength, 5.32e-07"):
        MetaAtoms(torch.tensor([1e-7, 2e-7]), torch.tensor([[1.0], [1j]]), (GREEN,), 6e-7, 1e-6, "square")


def test_a_table_with_gaps_in_the_phase_warns():
    table = torch.polar(torch.ones(2, 1), torch.tensor([[0.0], [2.0]]))
    with pytest.warns(SamplingWarning, match="more widths"):
        MetaAtoms(torch.tensor([1e-7, 2e-7]), table, (GREEN,), 3e-7, 1e-6, "square")


@pytest.mark.parametrize("width", [64e-9, 238e-9, 150.0, -100e-9])
def test_widths_outside_the_table(width):
    with pytest.raises(ValueError, match=r"widths must be 0 \(no pillar\) or from 65 to 237 nm.*clamp them"):
        NITRIDE.transmit(torch.full((2, 2), width))
    with pytest.raises(ValueError, match="widths must be 0"):
        Metasurface(torch.full((2, 2), width), NITRIDE)


def test_wavelengths_outside_the_table():
    with pytest.raises(ValueError, match=r"635, 532, 450 nm, got 600 nm.*nearest"):
        NITRIDE.nearest(torch.zeros(2, 2), 600e-9)


# The metasurface


def test_a_parameter_stays_that_object_and_learns():
    widths = torch.nn.Parameter(torch.full((4, 5), 150e-9, dtype=torch.float64))
    surface = Metasurface(widths, NITRIDE)
    assert surface.widths is widths and list(surface.parameters()) == [widths]
    surface.transmission().real.sum().backward()
    assert widths.grad is not None and bool((widths.grad != 0).all())
    assert "4 x 5 pillars, period=293 nm" in repr(surface)


def test_light_through_it_keeps_its_energy_and_its_colours():
    surface = Metasurface(65e-9 + 172e-9 * rand(6, 5), NITRIDE)
    u = torch.complex(rand(2, 3, 6, 5), rand(2, 3, 6, 5, seed=1))
    v = surface(u)
    torch.testing.assert_close(v.abs(), u.abs())
    for j, wavelength in enumerate(NITRIDE.wavelengths):
        torch.testing.assert_close((v / u)[1, j].angle(), surface.phase(wavelength))


# Behind it


@pytest.mark.parametrize("scatter", [0.0, 3.0])
def test_field_at_the_sensor_is_the_rayleigh_sommerfeld_integral(scatter):
    grid, sensor = Grid((60, 51), (280e-9, 293e-9), GREEN), Grid((8, 7), (0.6e-6, 0.7e-6), GREEN)
    z = 35e-6  # sin(theta) = 0.3: far from paraxial
    rough = torch.polar(torch.ones(grid.shape, dtype=torch.float64), scatter * rand(*grid.shape))
    u = spherical_wave(grid, -z, dtype=torch.complex128) * rough
    expected = direct_sum(u, grid, z, sensor)
    field, where = at_sensor(u, grid, z, sensor.shape, sensor.pitch)
    assert where == sensor
    assert float((field - expected).abs().max() / expected.abs().max()) < 2e-3


@pytest.mark.parametrize("scatter", [0.0, 3.0])
@pytest.mark.parametrize(
    ("count", "z"), [(30, 1e-3), (30, 120e-6), (60, 120e-6), (100, 300e-6), (100, 60e-6)]
)
def test_field_at_the_sensor_from_near_to_far(count, z, scatter):
    """Fresnel numbers from 0.03 to 5.5: far away few rays go to the window, and none may be missed."""
    grid, sensor = Grid((count, count), 290e-9, 635e-9), Grid((11, 11), 1e-6, 635e-9)
    u = torch.polar(torch.ones(grid.shape, dtype=torch.float64), scatter * rand(*grid.shape))
    expected = direct_sum(u, grid, z, sensor)
    field, _ = at_sensor(u, grid, z, sensor.shape, sensor.pitch)
    assert float((field - expected).abs().max() / expected.abs().max()) < 1e-3


def test_field_at_the_sensor_agrees_with_propagate_on_its_own_grid():
    grid = Grid((128, 127), 293e-9, GREEN)
    u = spherical_wave(grid, -60e-6, dtype=torch.complex128) * circular_aperture(grid, 15e-6, torch.float64)
    whole = propagate(u, grid, 60e-6, method="angular_spectrum")
    field, _ = at_sensor(u, grid, 60e-6, (33, 32), grid.pitch)
    part = whole[64 - 16 : 64 + 17, 63 - 16 : 63 + 16]
    assert float((field - part).abs().max() / part.abs().max()) < 2e-3


def lens(diameter, focal_length, atoms, count=128):
    grid = Grid((count, count), atoms.period, GREEN)
    phase = spherical_wave(grid, -focal_length, dtype=torch.complex128).angle()
    stop = circular_aperture(grid, diameter / 2, torch.float64)
    return Metasurface.from_phase(phase, atoms, GREEN, stop)


def test_a_lens_draws_an_airy_disc():
    diameter, focal_length = 30e-6, 150e-6  # sin(theta) = 0.1
    atoms = ideal_atoms()
    sensor = Grid((41, 40), 0.25e-6, GREEN)
    (spot,) = lens(diameter, focal_length, atoms).psf(focal_length, sensor.shape, sensor.pitch)
    w = math.pi * diameter * sensor.radius / (GREEN * focal_length)
    w[20, 20] = 1e-9
    airy = torch.from_numpy((2 * j1(w.numpy()) / w.numpy()) ** 2)
    # On the axis: power through the opening times its area, over (lambda f)^2.
    peak = math.pi * diameter**2 / 4 / (GREEN * focal_length) ** 2 * 0.25e-6**2
    # The lens is exact and the Airy pattern paraxial: they differ by the order of sin^2(theta).
    assert float((spot - peak * airy).abs().max() / peak) < 1e-2
    # Most of the difference is the scale, which a sharper test leaves out.
    assert float((spot / spot.max() - airy).abs().max()) < 4e-3


def test_a_slow_lens_draws_the_psf_of_the_optics():
    focal_length, atoms = 600e-6, ideal_atoms()
    surface = lens(30e-6, focal_length, atoms)
    (spot,) = surface.psf(focal_length, (33, 33), 1e-6)
    expected, _ = psf(surface.aperture, surface.grid(GREEN), focal_length, (33, 33), 1e-6)
    # A phase that is right to +-half a step scatters step^2 / 12 of the light, and the spot lacks it.
    assert float((spot - expected).abs().max() / expected.max()) < STEP**2 / 12 + 2e-3


def test_all_light_arrives():
    surface = lens(20e-6, 60e-6, ideal_atoms(), count=100)
    (spot,) = surface.psf(60e-6, (301, 301), 0.3e-6)
    assert 0.985 < float(spot.sum()) <= 1 + 1e-3  # the Airy rings beyond the window hold the rest
    wide = surface.psf(60e-6, (401, 401), 0.3e-6)[0]
    assert float(wide.sum()) >= float(spot.sum()) - 1e-4


def test_a_lens_with_a_grating_sends_its_spot_to_the_angle_of_the_grating_equation():
    """A tilt of the phase by q cycles per metre steers the light to sin(theta) = lambda q."""
    atoms, z, count = ideal_atoms(), 100e-6, 96
    grid = Grid((count, count), atoms.period, GREEN)
    tilts = (0.1 / GREEN, -0.05 / GREEN)
    # A stigmatic lens for an off-axis point: the spherical wave towards where the tilted ray lands.
    sine2 = sum((GREEN * q) ** 2 for q in tilts)
    target = [GREEN * q * z / math.sqrt(1 - sine2) for q in tilts]
    r = torch.sqrt((grid.y[:, None] - target[0]) ** 2 + (grid.x - target[1]) ** 2 + z**2)
    phase = -grid.wavenumber * r
    # On the axis, its slope is the tilt of the grating equation.
    slope = (phase[count // 2 + 1, count // 2] - phase[count // 2 - 1, count // 2]) / (4 * math.pi * grid.dy)
    assert float(slope) == pytest.approx(tilts[0], rel=1e-3)
    sensor = Grid((101, 101), 0.3e-6, GREEN)
    (spot,) = Metasurface.from_phase(phase, atoms, GREEN).psf(z, sensor.shape, sensor.pitch)
    row, column = divmod(int(spot.argmax()), 101)
    assert float(sensor.y[row]) == pytest.approx(target[0], abs=0.3e-6)
    assert float(sensor.x[column]) == pytest.approx(target[1], abs=0.3e-6)


def test_a_shift_on_the_lattice_shifts_the_spot():
    """The shift theorem: a metasurface moved sideways by whole cells moves the field by as much."""
    atoms = ideal_atoms()
    phase = torch.zeros(40, 40, dtype=torch.float64)
    grid = Grid((30, 30), atoms.period, GREEN)
    phase[:30, :30] = spherical_wave(grid, -50e-6, dtype=torch.complex128).angle()
    stop = torch.zeros(40, 40, dtype=torch.float64)
    stop[:30, :30] = 1
    first, second = (
        Metasurface.from_phase(p, atoms, GREEN, a).psf(50e-6, (24, 24), atoms.period)[0]
        for p, a in ((phase, stop), (phase.roll((6, 2), (0, 1)), stop.roll((6, 2), (0, 1))))
    )
    torch.testing.assert_close(second[6:, 2:], first[:-6, :-2], rtol=0, atol=1e-3 * float(first.max()))


def test_colours_focus_at_their_own_distances():
    """A lens for green, a hologram, has f ~ 1 / lambda: red is blurred where green is sharp."""
    grid = Grid((128, 128), NITRIDE.period, GREEN)
    f = 100e-6
    surface = Metasurface.from_phase(spherical_wave(grid, -f, dtype=torch.complex128).angle(), NITRIDE, GREEN)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        spots = surface.psf(f, (65, 65), 0.3e-6)
    assert spots.shape == (3, 65, 65)
    peaks = spots.amax((-2, -1))
    assert float(peaks[1]) > 5 * float(peaks[0]) and float(peaks[1]) > 5 * float(peaks[2])


def test_gradient_of_the_psf_in_the_widths():
    nanometres = (120.5 + 80 * rand(6, 5).mul(4).floor() / 4).requires_grad_()
    weight = rand(3, 4, 3)

    def total(values):
        return (Metasurface(values * 1e-9, NITRIDE).psf(20e-6, (4, 3), 1e-6) * weight * 1e3).sum()

    assert torch.autograd.gradcheck(total, nanometres, eps=1e-3, atol=1e-6)


def test_single_precision_is_as_good_as_its_digits():
    surface = lens(20e-6, 60e-6, ideal_atoms(), count=100)
    single = Metasurface(surface.widths.float(), surface.atoms, surface.aperture)
    spot, expected = (s.psf(60e-6, (20, 21), 0.4e-6)[0] for s in (single, surface))
    assert spot.dtype == torch.float32
    torch.testing.assert_close(spot.double(), expected, rtol=0, atol=1e-4 * float(expected.max()))


def test_a_coarse_sensor_warns_and_names_the_pitch_that_will_do():
    surface = lens(20e-6, 60e-6, ideal_atoms(), count=100)
    with pytest.warns(SamplingWarning, match="Use pitch=") as caught:
        surface.psf(60e-6, (20, 20), 2e-6)
    pitch = float(str(caught[0].message).split("Use pitch=(")[1].split(",")[0])
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        surface.psf(60e-6, (20, 20), pitch)


def test_a_lattice_too_coarse_for_steep_rays_warns():
    surface = Metasurface(torch.full((100, 100), 150e-9, dtype=torch.float64), NITRIDE)
    with pytest.warns(SamplingWarning, match="a second order reaches the sensor"):
        surface.psf(5e-6, (20, 20), 0.1e-6)


@pytest.mark.parametrize(
    ("arguments", "error", "words"),
    [
        ((-1e-4, (4, 4), 1e-6), ValueError, "distance must be positive"),
        ((math.nan, (4, 4), 1e-6), ValueError, "distance must be finite"),
        ((1e-4, (0, 4), 1e-6), ValueError, "shape"),
        ((1e-4, (4, 4), -1e-6), ValueError, "pitch"),
    ],
)
def test_bad_sensors(arguments, error, words):
    surface = Metasurface(torch.full((8, 8), 150e-9), NITRIDE)
    with pytest.raises(error, match=words):
        surface.psf(*arguments)


@pytest.mark.parametrize(
    ("widths", "aperture", "error", "words"),
    [
        (np.ones((2, 2)), None, TypeError, "widths must be a torch.Tensor"),
        (torch.full((2, 2, 2), 1e-7), None, ValueError, r"widths must have shape \(ny, nx\)"),
        (torch.full((2, 2), math.nan), None, ValueError, "widths must be finite"),
        (torch.full((2, 2), 1e-7), torch.ones(2, 3), ValueError, "aperture must have the shape of widths"),
        (torch.full((2, 2), 1e-7), 2 * torch.ones(2, 2), ValueError, "aperture must lie between 0 and 1"),
    ],
)
def test_bad_metasurfaces(widths, aperture, error, words):
    with pytest.raises(error, match=words):
        Metasurface(widths, NITRIDE, aperture)


def test_other_bad_arguments():
    surface = Metasurface(torch.full((8, 8), 150e-9), NITRIDE)
    with pytest.raises(TypeError, match="atoms must be MetaAtoms"):
        Metasurface(surface.widths, "silicon")
    with pytest.raises(TypeError, match="u must be a complex64"):
        surface(torch.ones(3, 8, 8))
    with pytest.raises(ValueError, match=r"u must have shape \(..., 3, 8, 8\)"):
        surface(torch.ones(2, 8, 8) + 0j)
    with pytest.raises(ValueError, match="aperture must let some light through"):
        Metasurface(surface.widths, NITRIDE, torch.zeros(8, 8)).psf(1e-4, (4, 4), 1e-6)
    with pytest.raises(ValueError, match="step must be positive"):
        MetaAtoms.silicon_nitride(step=-1e-9)


def test_the_nearest_widths_are_made_where_the_phase_lives():
    """The library stays on the CPU; tensors of the meta device have a place and no numbers."""
    widths = NITRIDE.nearest(torch.zeros(3, 4, device="meta"), GREEN)
    assert widths.device.type == "meta" and widths.shape == (3, 4) and widths.dtype == torch.float32


def test_an_aperture_that_is_a_parameter_can_be_trained():
    aperture = torch.nn.Parameter(torch.full((3, 4), 0.5))
    surface = Metasurface(torch.full((3, 4), 150e-9), NITRIDE, aperture)
    assert [name for name, p in surface.named_parameters() if p is aperture] == ["aperture"]
    surface.transmission().abs().square().sum().backward()
    light = NITRIDE.transmit(surface.widths).abs().square().sum(0)
    torch.testing.assert_close(aperture.grad, 2 * aperture.detach() * light)
