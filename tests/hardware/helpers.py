"""Small hybrid networks to build, shared by the tests of the hardware."""

import torch
from torch import Generator

from onnlab.hardware import PSFBench, fabricate
from onnlab.networks import FourFConvolution, HybridClassifier, PSFConvolution

BENCH_4F = {"pitch": 8e-6, "wavelength": 532e-9, "focal_length": 0.1}
BENCH_PSF = PSFBench(pitch=5e-6, distance=2.4e-3, diameter=0.5e-3, wavelength=532e-9)


def seeded(seed=0):
    return Generator().manual_seed(seed)


def noise(*shape, seed=0):
    return torch.randn(*shape, dtype=torch.float64, generator=seeded(seed))


def images(*shape, seed=1):
    return torch.rand(*shape, dtype=torch.float64, generator=seeded(seed))


def network(kind, weight=None, size=12, camera="linear", sensor=None):
    """A classifier in float64 with optics of a kind, "4f" or "psf"."""
    weight = noise(3, 1, 3, 3) if weight is None else weight
    count, channels, *kernel = weight.shape
    arguments = (channels, count, tuple(kernel), size, camera)
    if kind == "4f":
        optics = FourFConvolution(*arguments, weight=weight, sensor=sensor, **BENCH_4F)
    else:
        optics = PSFConvolution(*arguments, weight=weight, sensor=sensor)
    return HybridClassifier(optics, 3, pool=1, hidden=()).double()


def device(kind, errors, seed=0, bench=BENCH_PSF, **settings):
    """The optics of such a network, as built."""
    student = network(kind, **settings)
    return fabricate(student, errors, seeded(seed), bench if kind == "psf" else None).optics


def moments(light):
    """Sum of light ``(ny, nx)``, and mean and covariance of its places about the origin, in samples."""
    ny, nx = light.shape
    y, x = torch.meshgrid(torch.arange(ny) - ny // 2, torch.arange(nx) - nx // 2, indexing="ij")
    points = torch.stack([y.flatten(), x.flatten()]).double()
    total = light.sum()
    mean = (points * light.flatten()).sum(1) / total
    centred = points - mean[:, None]
    return total, mean, (centred * light.flatten()) @ centred.T / total


def response(transmission):
    """Impulse response of a mask ``(ny, nx)`` with its origin at the centre, by a plain Fourier sum."""
    ny, nx = transmission.shape
    j, i = torch.arange(ny).double() - ny // 2, torch.arange(nx).double() - nx // 2
    rows = torch.exp(2j * torch.pi * j[:, None] * j / ny)
    columns = torch.exp(2j * torch.pi * i[:, None] * i / nx)
    return rows @ transmission @ columns / (ny * nx)


def gaussian_kernel(sigma_y, sigma_x, size=15, angle=0.0):
    """A Gaussian, turned from x towards y."""
    axis = torch.arange(size, dtype=torch.float64) - size // 2
    y, x = axis[:, None], axis
    cosine, sine = torch.tensor(angle).cos(), torch.tensor(angle).sin()
    along, across = cosine * x + sine * y, cosine * y - sine * x
    return torch.exp(-(along**2) / (2 * sigma_x**2) - across**2 / (2 * sigma_y**2))
