import math

import numpy as np
import pytest
import torch
from scipy.special import j1
from torch import nn
from torch.nn.functional import conv2d

from onnlab.optics import (
    AmplitudeMask,
    ComplexMask,
    FourF,
    Grid,
    PhaseMask,
    circular_aperture,
    focal_field,
    fraunhofer,
    gaussian_beam,
    lens_transform,
    mask_for_kernel,
    propagate,
    rectangular_aperture,
    thin_lens,
)
from tests.optics.helpers import inner, random_field, relative_error

SHAPES = [(32, 32), (33, 31), (20, 45)]
FOCAL = 0.1


def bench(shape, pitch=10e-6):
    return Grid(shape, pitch, 532e-9)


def flip(u):
    """The image of each sample mirrored about the origin, index by index."""
    ny, nx = u.shape[-2:]
    rows = [(2 * (ny // 2) - i) % ny for i in range(ny)]
    columns = [(2 * (nx // 2) - i) % nx for i in range(nx)]
    return u[..., rows, :][..., columns]


@pytest.mark.parametrize("shape", SHAPES)
def test_lens_transform_is_the_fourier_integral(shape):
    grid = bench(shape, (9e-6, 11e-6))
    u = random_field(shape)
    field, grid_f = lens_transform(u, grid, FOCAL)
    rows = torch.exp(-2j * math.pi * grid_f.y[:, None] * grid.y / (grid.wavelength * FOCAL))
    columns = torch.exp(-2j * math.pi * grid.x[:, None] * grid_f.x / (grid.wavelength * FOCAL))
    integral = rows @ u @ columns * grid.dy * grid.dx / (grid.wavelength * FOCAL)
    assert relative_error(field, integral) < 1e-11


@pytest.mark.parametrize("shape", SHAPES)
def test_lens_transform_keeps_the_energy(shape):
    grid = bench(shape, (9e-6, 11e-6))
    u = random_field(shape, torch.complex64)
    field, grid_f = lens_transform(u, grid, FOCAL)
    before, after = (
        float(f.abs().double().square().sum()) * g.dy * g.dx for f, g in ((u, grid), (field, grid_f))
    )
    assert after == pytest.approx(before, rel=1e-6)


def test_lens_transform_is_free_space_lens_free_space():
    """The 2f system, walked step by step with propagate and thin_lens."""
    grid, focal, waist = Grid((512, 512), 10e-6, 532e-9), 0.2, 150e-6
    u = gaussian_beam(grid, waist, dtype=torch.complex128) * torch.exp(2j * math.pi * 3e3 * grid.x)
    walked = propagate(propagate(u, grid, focal) * thin_lens(grid, focal, torch.complex128), grid, focal)
    field, _ = focal_field(u, grid, focal, grid.shape, grid.pitch)
    phase = np.exp(1j * (2 * grid.wavenumber * focal - math.pi / 2))
    assert relative_error(walked, field * phase) < 1e-3


def test_airy_field():
    grid = Grid((1024, 1024), 10e-6, 500e-9)
    radius = 400.3 * grid.dx
    pupil = circular_aperture(grid, radius, torch.float64).to(torch.complex128)
    first_zero = 0.61 * grid.wavelength * FOCAL / radius
    field, grid_f = focal_field(pupil, grid, FOCAL, (65, 65), first_zero / 10)
    argument = 2 * math.pi * radius * grid_f.radius.numpy() / (grid.wavelength * FOCAL)
    argument[32, 32] = 1e-9
    airy = math.pi * radius**2 / (grid.wavelength * FOCAL) * 2 * j1(argument) / argument
    assert relative_error(field, torch.from_numpy(airy)) <= 1e-5


@pytest.mark.parametrize("shape", SHAPES)
def test_the_loupe_shows_the_same_field(shape):
    grid = bench(shape, (9e-6, 11e-6))
    u = random_field((2, *shape), torch.complex64)
    whole, grid_f = lens_transform(u, grid, FOCAL)
    field, grid_z = focal_field(u, grid, FOCAL, shape, grid_f.pitch)
    assert grid_z.pitch == grid_f.pitch
    assert relative_error(field, whole) < 2e-6


def test_the_loupe_between_the_samples():
    grid = bench((32, 33))
    u = random_field(grid.shape)
    field, g = focal_field(u, grid, FOCAL, (7, 10), (3e-6, 4e-6))
    rows = torch.exp(-2j * math.pi * g.y[:, None] * grid.y / (grid.wavelength * FOCAL))
    columns = torch.exp(-2j * math.pi * grid.x[:, None] * g.x / (grid.wavelength * FOCAL))
    assert relative_error(field, rows @ u @ columns * grid.dy * grid.dx / (grid.wavelength * FOCAL)) < 1e-11


def test_far_away_a_slit_becomes_a_sinc():
    grid = Grid((64, 256), 10e-6, 532e-9)
    height, width, z = 300e-6, 500e-6, 20.0
    slit = rectangular_aperture(grid, height, width, torch.float64).to(torch.complex128)
    field, grid_z = fraunhofer(slit, grid, z)
    reach = grid.wavelength * z
    # The aperture has square samples: their own sinc multiplies that of the slit.
    axes = [
        size * np.sinc(c.numpy() * size / reach) / 1 for c, size in ((grid_z.y, height), (grid_z.x, width))
    ]
    exact = axes[0][:, None] * axes[1] / reach
    central = np.ix_(
        np.abs(grid_z.y.numpy()) < 2 * reach / height, np.abs(grid_z.x.numpy()) < 2 * reach / width
    )
    assert np.abs(field.abs().numpy()[central] - np.abs(exact[central])).max() < 2e-3 * exact.max()
    assert np.angle(complex(field[32, 128])) == pytest.approx(
        float(np.angle(np.exp(1j * (grid.wavenumber * z - math.pi / 2)))), abs=1e-6
    )


def test_fraunhofer_is_fresnel_far_away():
    grid = Grid((256, 256), 10e-6, 532e-9)
    z = 3.0
    u = gaussian_beam(grid, 100e-6, dtype=torch.complex128)
    field, grid_z = fraunhofer(u, grid, z)
    exact = gaussian_beam(grid_z, 100e-6, z, torch.complex128)
    fresnel_number = grid.fresnel_number(100e-6, z)
    assert relative_error(field, exact) < 5 * fresnel_number


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize(("dtype", "limit"), [(torch.complex64, 5e-7), (torch.complex128, 1e-13)])
def test_an_empty_4f_system_flips(shape, dtype, limit):
    u = random_field((3, *shape), dtype)
    assert relative_error(FourF(bench(shape), FOCAL)(u), flip(u)) <= limit


@pytest.mark.parametrize("shape", SHAPES)
def test_4f_is_two_lens_transforms(shape):
    grid = bench(shape)
    mask = ComplexMask(random_field(shape, seed=3))
    u = random_field((2, *shape))
    system = FourF(grid, (0.1, 0.25), mask, stop=2e-3)
    plane, grid_f = lens_transform(u, grid, 0.1)
    assert grid_f == system.grid_fourier
    plane = plane * mask.t * circular_aperture(grid_f, 2e-3)
    image, grid_out = lens_transform(plane, grid_f, 0.25)
    assert relative_error(system(u), image) < 1e-12
    assert grid_out.pitch == pytest.approx(system.grid_out.pitch)


def test_magnification():
    grid = bench((64, 64))
    system = FourF(grid, (0.1, 0.3))
    assert system.magnification == pytest.approx(-3)
    u = gaussian_beam(grid, 60e-6, dtype=torch.complex128)
    v = system(u)
    intensity = v.abs().square()
    width = 2 * math.sqrt((intensity.sum(0) * system.grid_out.x**2).sum() / intensity.sum())
    assert width == pytest.approx(3 * 60e-6, rel=1e-3)
    out = float(intensity.sum()) * system.grid_out.dx**2
    assert out == pytest.approx(float(u.abs().square().sum()) * grid.dx**2, rel=1e-12)


def test_a_stop_takes_the_energy_outside_it():
    grid = bench((64, 64))
    u = random_field(grid.shape)
    spectrum, grid_f = lens_transform(u, grid, FOCAL)
    stop = (grid_f.radius < 1.5e-3).double()
    out = FourF(grid, FOCAL, stop=stop)(u).abs().square().sum() * grid.dx**2
    passed = (spectrum * stop).abs().square().sum() * grid_f.dx**2
    assert float(out) == pytest.approx(float(passed), rel=1e-12)
    assert float(out) < 0.9 * float(u.abs().square().sum()) * grid.dx**2


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("size", [(1, 1), (3, 3), (4, 4), (5, 2), (7, 7)])
@pytest.mark.parametrize("correlate", [False, True])
def test_mask_for_kernel_makes_conv2d(shape, size, correlate):
    """With a dark margin the circular system equals a linear convolution; torch's is a correlation."""
    grid = bench(shape)
    kernel = random_field(size, seed=4)
    u = random_field(shape, seed=5)
    u[:5], u[-5:], u[:, :5], u[:, -5:] = 0, 0, 0, 0
    mask = mask_for_kernel(kernel, grid, correlate=correlate)
    assert float(mask.transmission.abs().max()) == pytest.approx(1)
    got = flip(mask.scale * FourF(grid, FOCAL, ComplexMask(mask.transmission))(u))
    # conv2d takes sum_k w[k] u[i + k - before]; a convolution is a correlation with the mirrored kernel,
    # whose origin is mirrored too.
    weight = kernel if correlate else kernel.flip(0, 1)
    before = [s // 2 if correlate else s - 1 - s // 2 for s in size]
    after = [s - 1 - b for s, b in zip(size, before, strict=True)]
    padded = torch.nn.functional.pad(u, (before[1], after[1], before[0], after[0]))
    assert relative_error(got, conv2d(padded[None, None], weight[None, None])[0, 0]) < 1e-11


def test_a_stack_of_kernels_is_a_stack_of_masks():
    grid = bench((32, 32))
    kernels = torch.randn(4, 3, 3, generator=torch.Generator().manual_seed(0))
    stack = mask_for_kernel(kernels, grid)
    u = random_field((2, 1, 32, 32), torch.complex64)
    out = stack.scale * FourF(grid, FOCAL, ComplexMask(stack.transmission))(u)
    assert out.shape == (2, 4, 32, 32)
    single = mask_for_kernel(kernels[2], grid)
    alone = single.scale * FourF(grid, FOCAL, ComplexMask(single.transmission))(u[:, 0])
    assert relative_error(out[:, 2], alone) < 1e-5


def test_the_system_wraps_round_without_a_margin():
    grid = bench((16, 16))
    u = torch.zeros(16, 16, dtype=torch.complex128)
    u[8, 0] = 1
    shift_left = torch.zeros(3, 3, dtype=torch.float64)
    shift_left[1, 0] = 1
    mask = mask_for_kernel(shift_left, grid)
    image = flip(FourF(grid, FOCAL, ComplexMask(mask.transmission))(u)).abs()
    assert float(image[8, 15]) == pytest.approx(1)


@pytest.mark.parametrize(("dtype", "limit"), [(torch.complex64, 1e-5), (torch.complex128, 1e-12)])
@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("name", ["lens", "loupe", "fraunhofer", "fourf"])
def test_autograd_is_the_adjoint(name, shape, dtype, limit):
    grid = bench(shape)
    mask = PhaseMask(torch.rand(shape, dtype=torch.float64))
    apply = {
        "lens": lambda u: lens_transform(u, grid, FOCAL)[0],
        "loupe": lambda u: focal_field(u, grid, FOCAL, (11, 14), 20e-6)[0],
        "fraunhofer": lambda u: fraunhofer(u, grid, 1.0)[0],
        "fourf": FourF(grid, (0.1, 0.2), mask, stop=3e-3),
    }[name]
    x = random_field(shape, dtype, 1).requires_grad_()
    ax = apply(x)
    y = random_field(tuple(ax.shape), dtype, 2)
    (adjoint,) = torch.autograd.grad(ax, x, y)
    # Two random vectors may be nearly orthogonal: compare with their lengths.
    size = float(y.abs().square().sum().sqrt() * ax.detach().abs().square().sum().sqrt())
    assert abs(inner(y, ax.detach()) - inner(adjoint, x.detach())) <= limit * size


@pytest.mark.parametrize("shape", [(6, 6), (5, 8)])
def test_gradients_match_finite_differences(shape):
    grid, u = bench(shape), random_field(shape)
    target = torch.rand(shape, dtype=torch.float64)
    phi = torch.rand(shape, dtype=torch.float64, requires_grad=True)
    t = random_field(shape, seed=7).requires_grad_()

    def loss(mask):
        return (FourF(grid, FOCAL, mask)(u).abs().square() - target).square().sum()

    assert torch.autograd.gradcheck(lambda p: loss(PhaseMask(p)), (phi,))
    assert torch.autograd.gradcheck(lambda p: loss(AmplitudeMask(p)), (phi,))
    assert torch.autograd.gradcheck(lambda p: loss(ComplexMask(p)), (t,))


def test_the_phase_of_a_system_is_trainable():
    phi = nn.Parameter(torch.zeros(16, 16))
    system = FourF(bench((16, 16)), FOCAL, PhaseMask(phi))
    assert [p is phi for p in system.parameters()] == [True]


@pytest.mark.parametrize(
    ("make", "error", "words"),
    [
        (lambda g: FourF(g, 0.0), ValueError, "focal_length must be positive"),
        (lambda g: FourF(g, (0.1, 0.1, 0.1)), TypeError, "focal_length must be one length in metres, or two"),
        (lambda g: FourF(g, 0.1, mask=torch.ones(16, 16)), TypeError, "mask must be a PhaseMask"),
        (
            lambda g: FourF(g, 0.1, PhaseMask(torch.zeros(16, 15))),
            ValueError,
            r"mask must have shape \(..., 16, 16\)",
        ),
        (lambda g: FourF(g, 0.1, stop=torch.ones(15, 16)), ValueError, "stop must have shape"),
        (lambda g: FourF(g, 0.1, stop=torch.nn.Parameter(torch.tensor(1e-3))), TypeError, "use stop.item"),
        (lambda g: FourF(g, 0.1, stop=-1e-3), ValueError, "stop must be positive"),
        (lambda g: FourF(g, 0.1)(random_field((16, 15))), ValueError, "u must have shape"),
        (lambda g: FourF(g, 0.1)(torch.ones(16, 16)), TypeError, "u must be complex64 or complex128"),
        (lambda g: FourF(g, 0.1)(torch.full((16, 16), complex("nan"))), ValueError, "u must be finite"),
        (
            lambda g: lens_transform(random_field((16, 16)), g, math.nan),
            ValueError,
            "focal_length must be finite",
        ),
        (lambda g: fraunhofer(random_field((16, 16)), g, -1.0), ValueError, "z must be positive"),
        (
            lambda g: focal_field(random_field((16, 16)), g, 0.1, (8, 8), 0.0),
            ValueError,
            "pitch must be positive",
        ),
        (lambda g: mask_for_kernel(torch.ones(17, 3), g), ValueError, "kernel must fit the grid of 16 x 16"),
        (lambda g: mask_for_kernel(torch.zeros(3, 3), g), ValueError, "kernel must not be all zero"),
        (lambda g: mask_for_kernel(torch.ones(3), g), ValueError, r"kernel must have shape \(..., ky, kx\)"),
        (
            lambda g: mask_for_kernel(torch.ones(3, 3, dtype=torch.int64), g),
            TypeError,
            "kernel must be a float",
        ),
        (lambda g: mask_for_kernel(torch.full((3, 3), math.inf), g), ValueError, "kernel must be finite"),
    ],
)
def test_bad_input_is_named(make, error, words):
    with pytest.raises(error, match=words):
        make(bench((16, 16)))


def test_a_stop_that_is_a_parameter_can_be_trained():
    stop = torch.nn.Parameter(torch.rand(16, 16, dtype=torch.float64))
    u = random_field((16, 16), seed=1)
    system = FourF(bench((16, 16)), FOCAL, stop=stop)
    assert [name for name, p in system.named_parameters() if p is stop] == ["stop"]
    system(u).abs().square().sum().backward()
    # By Parseval each sample of the stop passes its own share of the light.
    light = torch.fft.fftshift(torch.fft.fft2(u)).abs().square() / 16**2
    torch.testing.assert_close(stop.grad, 2 * stop.detach() * light)
    assert not list(FourF(bench((16, 16)), FOCAL, stop=stop.detach()).parameters())
