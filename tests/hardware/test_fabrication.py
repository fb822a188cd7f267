import copy
from dataclasses import replace

import pytest
import torch
from torch import nn

from onnlab.data import Dataset, Split, load
from onnlab.distill import Scores, evaluate, fit
from onnlab.hardware import (
    BuiltOptics,
    CameraNoise,
    LateralShift,
    PhaseNoise,
    PSFBench,
    PSFError,
    YieldCurve,
    fabricate,
    fabrication,
    noise_aware,
    yield_curve,
)
from onnlab.networks import HybridClassifier, HybridSegmenter, IdealConvolution, PSFConvolution
from onnlab.optics import Camera
from tests.hardware.helpers import BENCH_PSF, images, network, noise, seeded

ERRORS = {"4f": PhaseNoise(0.5), "psf": PSFError(0.5)}
BENCHES = {"4f": None, "psf": BENCH_PSF}


def state(model):
    return {name: value.clone() for name, value in model.state_dict().items()}


def same(one, other):
    return one.keys() == other.keys() and all(torch.equal(one[name], other[name]) for name in one)


@pytest.mark.parametrize("kind", ["4f", "psf"])
def test_the_student_is_untouched_and_the_device_is_frozen(kind):
    student, x = network(kind, nn.Parameter(noise(3, 1, 3, 3))), images(2, 1, 12, 12)
    before, answers = state(student), student(x)
    twin = fabricate(student, ERRORS[kind], seeded(), BENCHES[kind])
    assert type(twin) is HybridClassifier and isinstance(twin.optics, BuiltOptics)
    assert not torch.allclose(twin(x), answers, rtol=0.01)
    assert {name for name, p in twin.named_parameters() if p.requires_grad} == {
        "back_end.1.weight",
        "back_end.1.bias",
    }
    assert not any(buffer.requires_grad for buffer in twin.buffers())
    with torch.no_grad():
        for value in twin.state_dict().values():
            value.mul_(2)
    assert same(before, state(student)) and torch.equal(student(x), answers)
    assert student.optics.weight.requires_grad


@pytest.mark.parametrize("kind", ["4f", "psf"])
def test_a_device_follows_from_its_seed_and_can_be_stored(kind):
    student, x = network(kind), images(2, 1, 12, 12)
    one, again, other = (fabricate(student, ERRORS[kind], seeded(seed), BENCHES[kind]) for seed in (1, 1, 2))
    assert torch.equal(one(x), again(x)) and not torch.allclose(one(x), other(x), rtol=0.01)
    if kind == "4f":  # PSFs are cut to their light, which may differ in size
        other.load_state_dict(one.state_dict())
        assert torch.equal(one(x), other(x))
    assert torch.equal(copy.deepcopy(one)(x), one(x))
    assert torch.equal(one.float()(x.float()), one(x.float()))


def test_what_was_built_is_told():
    twin = fabricate(network("psf"), LateralShift(1e-6, 0), seeded(), BENCH_PSF)
    assert "pairs of PSFs, two pictures subtracted, as built" in twin.describe()
    assert twin.nonlinearities == 0


def test_both_front_ends_of_a_segmenter_are_built():
    fine = PSFConvolution(1, 6, 3, 8, weight=noise(6, 1, 3, 3).float())
    coarse = PSFConvolution(1, 2, 3, 4, weight=noise(2, 1, 3, 3).float())
    student = HybridSegmenter(fine, groups=(4, 2), coarse=coarse)
    twin = fabricate(student, LateralShift(5e-6, 0), seeded(), PSFBench(5e-6))
    x = images(1, 1, 8, 8).float()
    assert isinstance(twin.optics, BuiltOptics) and isinstance(twin.coarse, BuiltOptics)
    torch.testing.assert_close(twin.optics(x)[..., 2:], fine(x)[..., 1:-1])
    assert twin(x).shape == (1, 2, 8, 8)


def toy(n, seed):
    """Two classes, of points left and right of each other by two pixels."""
    labels = torch.arange(n) % 2
    pixels = torch.rand(n, 1, 12, 12, generator=seeded(seed)) * 0.4
    place = torch.randint(2, 10, (n,), generator=seeded(seed + 1))
    which = torch.arange(n)
    pixels[which, 0, place, 5] += 0.6
    pixels[which, 0, place, torch.where(labels == 1, 7, 3)] += 0.6
    return Split(pixels, labels)


TOY = Dataset("points", toy(120, 0), toy(60, 10), toy(200, 20), ("left", "right"), "made here")


def trained():
    torch.manual_seed(0)
    weight = nn.Parameter(torch.randn(2, 1, 3, 3) / 3)
    student = HybridClassifier(PSFConvolution(1, 2, 3, 12, "rectified", weight=weight), 2, pool=2, hidden=())
    fit(student, TOY, epochs=15, seed=0, learning_rate=0.01, progress=False)
    return student


def test_yield_falls_with_the_size_of_the_error():
    student = trained()
    sizes = (0.0, 1e-6, 15e-6)
    curve = yield_curve(student, TOY.test, lambda s: LateralShift(0, 0, s), sizes, 6, seed=0, bench=BENCH_PSF)
    assert curve.accuracy.shape == (3, 6)
    perfect = evaluate(student, TOY.test).accuracy
    assert (curve.accuracy[0] == perfect).all() and curve.std[0] == 0
    assert curve.mean[2] < curve.mean[1] - 0.05 and curve.std[2] > 0
    torch.testing.assert_close(curve.mean, curve.accuracy.sum(1) / 6)
    again = yield_curve(student, TOY.test, lambda s: LateralShift(0, 0, s), sizes[2:], 6, 0, BENCH_PSF)
    assert torch.equal(again.accuracy[0], curve.accuracy[2])


class FarGenerator:
    """Stands in for a generator on a device that this machine does not have."""

    def __init__(self, device="cpu"):
        self.device, self.seed = torch.device(device), None

    def manual_seed(self, seed):
        self.seed = seed
        return self if self.device.type == "meta" else seeded(seed)


def test_the_noise_of_a_sensor_is_drawn_where_the_student_lives(monkeypatch):
    """A camera takes no generator of another device; what is built is drawn on the CPU all the same."""
    drawn = []

    def answers(model, split):
        drawn.append(model.generator)
        return Scores(0.0, 0.0, 1)

    monkeypatch.setattr(fabrication, "evaluate", answers)
    monkeypatch.setattr(fabrication, "Generator", FarGenerator)
    monkeypatch.setattr(fabrication, "fabricate", lambda student, *_: student)
    student = network("4f")
    yield_curve(student, TOY.test, PhaseNoise, (0.1,), 1, 0)
    yield_curve(student.to("meta"), TOY.test, PhaseNoise, (0.1, 0.2), 2, 0)
    assert [generator.device.type for generator in drawn] == ["cpu"] + 4 * ["meta"]
    seeds = [generator.seed for generator in drawn[1:]]
    assert seeds[:2] == seeds[2:] and seeds[0] != seeds[1]


def test_a_yield_curve_by_hand():
    curve = YieldCurve((0.0, 1.0), torch.tensor([[0.9, 0.9], [0.5, 0.8]], dtype=torch.float64))
    assert curve.above(0.8).tolist() == [1.0, 0.5]
    assert curve.mean.tolist() == pytest.approx([0.9, 0.65])
    assert curve.std.tolist() == pytest.approx([0, 0.3 / 2**0.5])
    assert str(curve).splitlines()[2].split() == ["1", "65.00%", "21.21%", "50.00%"]


def test_the_yield_sees_the_noise_of_the_sensor():
    student = trained()
    dim = yield_curve(
        student, TOY.test, lambda p: CameraNoise(Camera(photons=p)), (1e6, 0.3), 2, 0, BENCH_PSF
    )
    assert dim.mean[0] > dim.mean[1] + 0.05


def test_noise_aware_optics_are_new_at_each_step_and_the_design_when_tested():
    student, x = network("psf", nn.Parameter(noise(3, 1, 3, 3))), images(2, 1, 12, 12)
    model = noise_aware(student, PSFError(0.3), BENCH_PSF)
    model.train()
    torch.manual_seed(0)
    one, other = model(x), model(x)
    torch.manual_seed(0)
    assert torch.equal(model(x), one) and not torch.allclose(one, other, rtol=0.01)
    torch.testing.assert_close(model.eval()(x), student(x), rtol=0, atol=0)
    assert model.optics.weight is not student.optics.weight
    names = {name for name, _ in model.named_parameters()}
    assert len(names) == 3  # the kernels once, and the read-out


@pytest.mark.slow
def test_prevention_trades_the_perfect_device_for_the_real_ones():
    """Trained with misplaced PSFs, digits are read better, and more alike, by devices that have them."""
    digits = load("mnist-mini")
    data = replace(digits, train=digits.train.subset(1000, 0), validation=digits.validation.subset(100, 0))
    test, errors = digits.test.subset(300, 0), LateralShift(0, 0, 10e-6)
    perfect, devices = [], []
    for aware in (False, True):
        torch.manual_seed(0)
        model = HybridClassifier(PSFConvolution(1, 4, 5, 28, "rectified"), hidden=(32,))
        if aware:
            model = noise_aware(model, errors, BENCH_PSF)
        fit(model, data, epochs=8, seed=0, learning_rate=0.01, keep="last", progress=False)
        perfect.append(evaluate(model, test).accuracy)
        devices.append(yield_curve(model, test, lambda s: errors, (1.0,), 6, 0, BENCH_PSF))
    assert devices[1].mean > devices[0].mean + 0.05
    assert devices[1].std < devices[0].std
    assert perfect[1] < perfect[0]


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (
            lambda: fabricate(HybridClassifier(IdealConvolution(1, 2, 3, 8)), PhaseNoise(0.1), seeded()),
            ValueError,
            "got an IdealConvolution; share its kernels",
        ),
        (
            lambda: fabricate(network("4f"), PhaseNoise(0.1), seeded(), BENCH_PSF),
            ValueError,
            "it has its own",
        ),
        (lambda: fabricate(network("psf"), PSFError(0.1), seeded()), TypeError, "pass PSFBench"),
        (lambda: fabricate(network("4f"), [0.1], seeded()), TypeError, "errors must be an OpticalError"),
        (lambda: fabricate(network("4f"), PhaseNoise(0.1), 0), TypeError, "must be a torch.Generator, got 0"),
        (
            lambda: fabricate(nn.Linear(2, 2), PhaseNoise(0.1), seeded()),
            TypeError,
            "student must be a Hybrid",
        ),
        (
            lambda: fabricate(fabricate(network("4f"), [], seeded()), PhaseNoise(0.1), seeded()),
            ValueError,
            "built already",
        ),
        (lambda: noise_aware(network("psf"), PSFError(0.1)), TypeError, "pass PSFBench"),
        (lambda: yield_curve(network("4f"), TOY.test, PhaseNoise, (), 2, 0), ValueError, "at least one"),
        (lambda: yield_curve(network("4f"), TOY.test, PhaseNoise, (0.1,), 0, 0), ValueError, "devices"),
    ],
)
def test_refusals(call, error, message):
    with pytest.raises(error, match=message):
        call()
