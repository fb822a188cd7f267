import doctest
import importlib
import math
from dataclasses import FrozenInstanceError, replace
from itertools import pairwise

import pytest
import torch
from torch import nn

from onnlab.hardware import Constants, cost, crossover, photons_for_snr
from onnlab.networks import (
    FourFConvolution,
    HybridClassifier,
    HybridSegmenter,
    IdealConvolution,
    LeNet,
    PSFConvolution,
    UNet,
    linear_counterpart,
)
from onnlab.optics import Camera

FREE = Constants(
    mac=0, frame=0, read=0, conversion_step=0, write=0, exposure=0, show_time=0
)  # each test puts back what it is about


def hybrid():
    return HybridClassifier(PSFConvolution(1, 8, 7, 28), hidden=(64,))


def test_the_examples():
    found = doctest.testmod(importlib.import_module("onnlab.hardware.cost"))
    assert found.attempted > 0 and found.failed == 0


def products(*sizes):
    """Multiplications of a chain of fully connected layers."""
    return sum(a * b for a, b in pairwise(sizes))


READ = 2 * 8 * 28 * 28
MACS = products(8 * 7 * 7, 64, 10)


@pytest.mark.parametrize(
    ("constants", "options", "part", "energy"),
    [
        ({"mac": 3.0}, {}, "computing", 3.0 * MACS),
        ({"read": 2.0}, {}, "capture", 2.0 * READ),
        ({"frame": 5.0}, {}, "capture", 5.0),
        ({"frame": 5.0}, {"parallel": False}, "capture", 5.0 * 16),
        ({"conversion_step": 0.5, "bits": 6}, {}, "conversion", 0.5 * 64 * READ),
        ({"write": 7.0}, {"display": True}, "display", 7.0 * 28 * 28),
        ({"write": 7.0}, {}, "display", 0.0),
    ],
)
def test_each_energy_by_hand(constants, options, part, energy):
    found = cost(hybrid(), (1, 28, 28), replace(FREE, **constants), **options)
    assert getattr(found, part) == pytest.approx(energy)
    assert found.energy == pytest.approx(energy)  # and the others are nothing
    assert (found.macs, found.read) == (MACS, READ)


def test_energies_and_times_add_up():
    found = cost(hybrid(), (1, 28, 28), wavelength=532e-9, display=True)
    parts = [found.capture, found.conversion, found.display, found.light, found.computing]
    assert min(parts) > 0 and found.energy == pytest.approx(sum(parts))
    c = Constants()
    expected = c.exposure + READ / c.read_rate + c.show_time + MACS / c.mac_rate
    assert found.latency == pytest.approx(expected)
    one_by_one = cost(hybrid(), (1, 28, 28), parallel=False)
    assert one_by_one.capture_time - found.capture_time == pytest.approx(15 * c.exposure)


def test_a_digital_network_reads_the_scene_once():
    found = cost(LeNet(), (1, 28, 28), replace(FREE, read=1.0, frame=100.0), wavelength=532e-9)
    assert (found.capture, found.light) == (100 + 28 * 28, 0.0)
    assert found.optical_macs == 0


def test_a_laser_pays_for_its_photons():
    constants = replace(FREE, light_efficiency=0.2, quantum_efficiency=0.5, read_noise=0.0, snr=10.0)
    found = cost(hybrid(), (1, 28, 28), constants, wavelength=620e-9)
    photon = 2.0 * 1.602176634e-19  # 620 nm are 2.00 eV
    assert found.photons == pytest.approx(READ * 200)
    assert found.light == pytest.approx(READ * 200 * photon / 0.2, rel=2e-3)
    assert cost(hybrid(), (1, 28, 28), constants).light == 0.0


def in_a_4f_system(wavelength):
    return FourFConvolution(1, 8, 7, 28, pitch=8e-6, wavelength=wavelength, focal_length=0.1)


def test_a_4f_system_has_a_laser_of_its_own_wavelength():
    green, red = (cost(in_a_4f_system(w), (1, 28, 28)) for w in (500e-9, 1000e-9))
    assert green.light == pytest.approx(2 * red.light) and red.light > 0
    assert green == cost(in_a_4f_system(500e-9), (1, 28, 28), wavelength=500e-9)
    assert green.light == pytest.approx(cost(hybrid(), (1, 28, 28), wavelength=500e-9).light)


def test_each_bench_has_the_light_that_it_needs():
    """A scene lights the PSFs of the coarse front end, a laser the masks of the other."""
    fine = FourFConvolution(1, 8, 3, 28, pitch=8e-6, wavelength=500e-9, focal_length=0.1)
    coarse = PSFConvolution(1, 4, 3, 14)
    both = HybridSegmenter(fine, groups=(4, 4), coarse=coarse)
    assert cost(both, (1, 28, 28)).light == pytest.approx(cost(fine, (1, 28, 28)).light)
    lit = cost(both, (1, 28, 28), wavelength=500e-9).light
    alone = cost(coarse, (1, 14, 14), wavelength=500e-9).light
    assert lit == pytest.approx(cost(fine, (1, 28, 28)).light + alone)


@pytest.mark.parametrize(("noise", "dark"), [(0.0, 0.0), (3.0, 0.0), (20.0, 7.0)])
@pytest.mark.parametrize("snr", [0.5, 10.0, 300.0])
def test_photons_give_the_ratio_that_was_asked_for(snr, noise, dark):
    photons = photons_for_snr(snr, quantum_efficiency=0.6, read_noise=noise, dark_electrons=dark)
    camera = Camera(photons=photons, quantum_efficiency=0.6, read_noise=noise, dark_current=max(dark, 0.0))
    variance = camera.variance(torch.ones(1, 1, dtype=torch.float64)).item()
    assert 0.6 * photons / math.sqrt(variance) == pytest.approx(snr)


def test_the_ratio_is_seen_in_pictures():
    photons = photons_for_snr(12.0, read_noise=8.0)
    picture = Camera(photons=photons, read_noise=8.0)(
        torch.ones(400, 400, dtype=torch.float64), torch.Generator().manual_seed(0)
    )
    assert (picture.mean() / picture.std()).item() == pytest.approx(12.0, rel=0.01)


def test_photons_at_both_ends():
    assert photons_for_snr(7.0) == 49.0
    assert photons_for_snr(1e-3, read_noise=10.0) == pytest.approx(1e-2, rel=1e-3)  # S sigma


PUBLISHED = {  # MACs, energy and capture of arXiv:2508.08421, as printed
    "hybrid": (65e6, 5.83e-3, 3.82e-3),
    "compact": (239e6, 9.73e-3, 2.36e-3),
    "U-Net": (65.9e9, 2.04, 2.36e-3),
}


@pytest.mark.parametrize(("macs", "energy", "capture"), PUBLISHED.values(), ids=PUBLISHED)
def test_published_energies_follow_from_published_macs(macs, energy, capture):
    """A layer with that many MACs, and a camera that takes what is printed for it."""
    layer = nn.Conv2d(1, 1, 1)
    rows = math.gcd(int(macs), 10**5)
    constants = replace(FREE, mac=Constants().mac, frame=capture)
    found = cost(layer, (1, rows, int(macs) // rows), constants)
    assert found.macs == macs
    assert float(f"{found.energy:.2e}") == energy


def test_the_energy_of_a_mac_is_the_one_that_suits_all_three():
    half = {"hybrid": (0.5e6, 5e-6), "compact": (0.5e6, 5e-6), "U-Net": (0.05e9, 5e-3)}  # of the last digit
    low, high = 0.0, math.inf
    for name, (macs, energy, capture) in PUBLISHED.items():
        error = half[name][1] + 5e-6
        low = max(low, (energy - capture - error) / (macs + half[name][0]))
        high = min(high, (energy - capture + error) / (macs - half[name][0]))
    assert low < Constants().mac < high
    assert [float(f"{1e12 * bound:.2f}") for bound in (low, high)] == [30.82, 30.94]


def macs_at(make, size):
    return cost(make(size), (3, size, size)).macs


def test_published_macs_and_the_architectures_that_we_know():
    """What the paper does not tell is the size of its images. Ours must grow with their area."""
    students = [macs_at(lambda n: HybridSegmenter(IdealConvolution(3, 56, 3, n)), n) for n in (64, 128)]
    # By hand: up-convolutions 32 -> 16 and 32 -> 8 of 2 x 2, a read-out of 16 maps for two classes.
    assert students[0] == 64**2 * (32 * 16 * 4 // 16 + 32 * 8 * 4 // 4 + 16 * 2)
    assert students[1] == 4 * students[0]
    side = 64 * math.sqrt(65e6 / students[0])
    assert 394 < side < 397
    teacher = macs_at(lambda n: UNet(3, 2, 64, 5), 64)
    assert 299 < 64 * math.sqrt(65.9e9 / teacher) < 300


def test_published_captures_do_not_grow_with_what_is_read():
    """56 pairs of pictures against one in three colours, at any one size: far from 3.82 to 2.36."""
    shape = (3, 64, 64)
    pairs = cost(HybridSegmenter(PSFConvolution(3, 56, 3, 64)), shape)
    picture = cost(UNet(), shape)
    assert (
        pairs.read / picture.read == pytest.approx(112 / 3) == pytest.approx(pairs.capture / picture.capture)
    )
    assert 112 / 3 > 20 * 3.82 / 2.36


def test_crossover_where_algebra_puts_it():
    """A camera with a fixed energy pays from the size on where MACs cost more: F + r n^2 = m n^2."""
    constants = replace(FREE, frame=1.0, mac=1e-5)
    digital = replace(FREE, mac=1e-5)

    def light(size):
        return cost(PSFConvolution(1, 4, 5, size), (1, size, size), constants)

    def numbers(size):
        return cost(nn.Conv2d(1, 4, 5, padding=2, bias=False), (1, size, size), digital)

    first = math.floor(math.sqrt(1.0 / (1e-5 * 4 * 25))) + 1
    assert crossover(light, numbers, range(8, 500)) == first == 32
    assert crossover(light, numbers, range(8, 500, 5)) == 33
    assert crossover(light, numbers, [40, 50]) == 40
    assert crossover(light, numbers, range(8, 30)) is None
    assert crossover(light, numbers, [first - 1]) is None


def test_a_large_image_makes_the_bench_worth_its_camera():
    """A merged front end has one reading a map however long it is; its teacher has all the products."""

    def teacher(size):
        return nn.Sequential(
            nn.Conv2d(3, 16, 3, padding=1), nn.ReLU(), nn.MaxPool2d(4), nn.Conv2d(16, 32, 3, padding=1)
        )

    def by_light(size):
        shape = (3, size, size)
        return cost(linear_counterpart(teacher(size), shape), shape, Constants(frame=1e-3))

    def by_numbers(size):
        return cost(teacher(size), (3, size, size), Constants())

    sizes = range(16, 257, 16)
    found = crossover(by_light, by_numbers, sizes)
    cheaper = [size for size in sizes if by_light(size).energy < by_numbers(size).energy]
    assert cheaper == [size for size in sizes if size >= found] and 16 < found < 256
    slow = crossover(by_light, by_numbers, sizes, by="latency")
    assert slow is None  # twice 32 maps take longer to read than these products take to compute


def test_it_is_told_as_a_table():
    text = cost(hybrid(), (1, 28, 28)).describe().splitlines()
    assert text[1].split() == ["optics", "PSFConvolution", "light", "307,328", "0", "12,544"]
    assert text[-2].split() == ["in", "all", "electronics", f"{MACS:,}", "12,544"]
    assert text[-1].split() == ["light", "307,328"]


def test_constants_are_fixed():
    with pytest.raises(FrozenInstanceError):
        Constants().mac = 1.0


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda: Constants(mac=-1.0), ValueError, "mac must not be negative"),
        (lambda: Constants(read=math.nan), ValueError, "read must be finite"),
        (lambda: Constants(bits=8.5), TypeError, "bits must be a whole number"),
        (lambda: Constants(bits=0), ValueError, "bits must be from 1 to 24"),
        (lambda: Constants(mac_rate=0), ValueError, "mac_rate must be positive"),
        (lambda: Constants(light_efficiency=2), ValueError, "light_efficiency must be at most 1"),
        (lambda: cost(LeNet(), (1, 28, 28), {"mac": 1}), TypeError, "constants must be Constants"),
        (lambda: cost(LeNet(), (1, 28, 28), wavelength=0.0), ValueError, "wavelength must be positive"),
        (
            lambda: cost(in_a_4f_system(500e-9), (1, 28, 28), wavelength=10e-6),
            ValueError,
            "wavelength must be 5e-07, the one of the 4f system's grid, got 1e-05",
        ),
        (lambda: photons_for_snr(0.0), ValueError, "snr must be positive"),
        (lambda: photons_for_snr(1.0, quantum_efficiency=1.5), ValueError, "at most 1, got 1.5"),
        (lambda: photons_for_snr(1.0, read_noise=-1.0), ValueError, "must not be negative"),
        (
            lambda: photons_for_snr(1.0, read_noise=math.nan),
            ValueError,
            r"finite \(electrons\), got nan",
        ),
        (lambda: photons_for_snr(1.0, dark_electrons="1"), TypeError, r"number \(electrons\), got"),
        (lambda: crossover(None, None, []), ValueError, "sizes must increase and hold at least one"),
        (lambda: crossover(None, None, [3, 2]), ValueError, "sizes must increase"),
        (lambda: crossover(None, None, [3], by="weight"), ValueError, "by must be one of"),
    ],
)
def test_errors(call, error, message):
    with pytest.raises(error, match=message):
        call()
