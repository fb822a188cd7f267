import copy
from dataclasses import replace

import pytest
import torch
from torch import nn

from onnlab.data import Dataset, Split, load, scenes
from onnlab.distill import KD, NTKD, CrossEntropy, Dice, evaluate, fit, random_shift
from onnlab.hardware import CameraNoise, LateralShift, PhaseNoise, PSFBench, PSFError, compensate, fabricate
from onnlab.networks import HybridClassifier, HybridSegmenter, LeNet, PSFConvolution
from onnlab.optics import Camera
from tests.hardware.helpers import BENCH_PSF, network, seeded


def split(n, seed):
    """Three classes, by the row that is bright."""
    labels = torch.arange(n) % 3
    pixels = torch.rand(n, 1, 12, 12, generator=seeded(seed)) * 0.7
    pixels[torch.arange(n), 0, 4 * labels + 1] += 0.3
    return Split(pixels, labels)


TOY = Dataset("rows", split(90, 0), split(60, 1), split(60, 2), tuple("abc"), "made here")


def built(kind, errors=None):
    """A device that is frozen, with a back end that has learnt nothing."""
    torch.manual_seed(0)
    errors = errors or {"4f": PhaseNoise(0.4), "psf": PSFError(0.4)}[kind]
    return fabricate(network(kind), errors, seeded(), BENCH_PSF if kind == "psf" else None).float()


class Teacher(nn.Module):
    """Reads the rows off the image; it remembers what it was shown."""

    def __init__(self):
        super().__init__()
        self.layer = nn.Linear(144, 3)
        self.seen = []

    def forward(self, x):
        self.seen.append(x.detach().clone())
        return self.layer(x.flatten(1))


def in_data(images, data):
    """Whether each of some images is one of a split."""
    return bool((images[:, None] == data.images[None]).flatten(2).all(2).any(1).all())


OBJECTIVES = {
    "labels": lambda teacher: CrossEntropy(),
    "kd": lambda teacher: KD(teacher),
    "ntkd": lambda teacher: NTKD(teacher, beta=0.1),
    "both": lambda teacher: KD(teacher) + NTKD(teacher, beta=0.1, alpha=0.0),
}


@pytest.mark.parametrize("kind", ["4f", "psf"])
@pytest.mark.parametrize("name", OBJECTIVES)
def test_only_the_back_end_learns_and_the_teacher_sees_images(kind, name):
    model, teacher = built(kind), Teacher()
    optics, before = model.optics, copy.deepcopy(model.state_dict())
    history = compensate(
        model, TOY, OBJECTIVES[name](teacher), 0.5, epochs=5, seed=0, batch_size=15, progress=False
    )
    assert model.optics is optics and not model.training and not optics.training
    after = model.state_dict()
    changed = {key for key in before if not torch.equal(before[key], after[key])}
    assert changed == {"back_end.1.weight", "back_end.1.bias"} and before.keys() == after.keys()
    assert len(history) == 5 and history.recipe["fraction"] == 0.5 and history.recipe["images"] == 45
    assert all(in_data(images, TOY.train) for images in teacher.seen) and bool(teacher.seen) == (
        name != "labels"
    )
    losses = history["training_loss"]
    assert losses[-1] < losses[0]


@pytest.mark.parametrize("kind", ["4f", "psf"])
def test_each_image_is_shown_once_and_remembering_changes_nothing(kind):
    """Against a plain training of the same network, which measures each image at every step."""
    one, other = built(kind), built(kind)
    shown = []
    handle = one.optics.register_forward_hook(lambda layer, x, y: shown.append(x[0]))
    compensate(one, TOY, fraction=0.2, epochs=5, seed=3, progress=False)
    handle.remove()
    shown = torch.cat(shown)
    assert len(shown) == 18 + 12 == len(shown.flatten(1).unique(dim=0))

    part = replace(TOY, train=TOY.train.subset(18, 3), validation=TOY.validation.subset(12, 3))
    assert part.train.labels.bincount().tolist() == [6, 6, 6]
    fit(other, part, epochs=5, seed=3, progress=False)
    for (name, found), expected in zip(one.named_parameters(), other.parameters(), strict=True):
        torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-5, msg=name)


def test_all_objectives_get_the_same_images_in_the_same_order():
    teachers = [Teacher(), Teacher()]
    for teacher, alpha in zip(teachers, (0.9, 0.1), strict=True):
        compensate(built("psf"), TOY, KD(teacher, alpha=alpha), 0.3, epochs=2, seed=1, progress=False)
    for one, other in zip(*(teacher.seen for teacher in teachers), strict=True):
        assert torch.equal(one, other)


def test_noise_is_new_at_every_step_and_follows_from_the_seed():
    errors = [PSFError(0.4), CameraNoise(Camera(photons=20))]
    readings, weights = [], []
    for seed in (0, 0, 1):
        model = built("psf", errors)
        handle = model.optics.register_forward_hook(lambda layer, x, y: readings.append((x[0], y)))
        compensate(model, TOY, fraction=0.05, epochs=2, seed=seed, noise=True, keep="last", progress=False)
        handle.remove()
        weights.append(model.back_end[1].weight)
    assert torch.equal(weights[0], weights[1]) and not torch.equal(weights[0], weights[2])
    of_training = [pair for pair in readings[:4] if len(pair[0]) == 4]
    (first, y), (second, z) = of_training
    order = [(second == image).flatten(1).all(1).nonzero().item() for image in first]
    assert not torch.allclose(y, z[order])


def test_with_augmentation_nothing_is_remembered():
    model, shown = built("psf"), []
    handle = model.optics.register_forward_hook(lambda layer, x, y: shown.append(len(x[0])))
    compensate(model, TOY, fraction=0.1, epochs=2, seed=0, augment=random_shift, progress=False)
    handle.remove()
    assert sum(shown) == 2 * (9 + 6)


def test_the_device_comes_back_when_a_training_fails():
    model = built("psf")
    optics = model.optics

    def broken(batch):
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        compensate(model, TOY, broken, epochs=1, seed=0, progress=False)
    assert model.optics is optics


def test_a_segmenter_with_two_front_ends():
    data = scenes(size=16, train=40, validation=10, test=10, seed=0)
    channels = data.train.pixels.shape[1]
    student = HybridSegmenter(
        PSFConvolution(channels, 6, 3, 16, "rectified"),
        len(data.classes),
        groups=(4, 2),
        coarse=PSFConvolution(channels, 2, 3, 8, "rectified"),
    )
    model = fabricate(student, LateralShift(5e-6, 0, 2e-6), seeded(), PSFBench(5e-6))
    before = copy.deepcopy(model.state_dict())
    compensate(model, data, Dice(), 0.5, epochs=2, seed=0, batch_size=8, progress=False)
    changed = {key for key, value in model.state_dict().items() if not torch.equal(before[key], value)}
    assert changed and all(key.startswith("back_end") for key in changed)


@pytest.mark.slow
def test_a_misplaced_device_is_rescued_with_a_tenth_of_the_data():
    torch.manual_seed(0)
    digits = load("mnist-mini")
    student = HybridClassifier(PSFConvolution(1, 8, 7, 28, "rectified"), hidden=(32,))
    fit(student, digits, epochs=3, seed=0, progress=False)
    device = fabricate(student, [LateralShift(15e-6, -10e-6), PSFError(0.4)], seeded(), BENCH_PSF)
    test = digits.test.subset(1000, 0)
    perfect, as_built = (evaluate(model, test).accuracy for model in (student, device))
    compensate(device, digits, epochs=20, seed=0, progress=False)
    rescued = evaluate(device, test).accuracy
    assert as_built < perfect - 0.1
    assert rescued > as_built + 0.6 * (perfect - as_built)


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda: compensate(LeNet(), TOY, epochs=1, seed=0), TypeError, "must be a Hybrid.*, got LeNet"),
        (
            lambda: compensate(HybridClassifier(PSFConvolution(1, 2, 3, 12), 3), TOY, epochs=1, seed=0),
            ValueError,
            "optics that can learn; build the network with fabricate",
        ),
        (
            lambda: compensate(built("psf"), TOY, fraction=0, epochs=1, seed=0),
            ValueError,
            "fraction .* above 0",
        ),
        (lambda: compensate(built("psf"), TOY, fraction=10, epochs=1, seed=0), ValueError, "from 0 to 1"),
        (lambda: compensate(built("psf"), TOY, epochs=0, seed=0), ValueError, "epochs must be at least 1"),
    ],
)
def test_refusals(call, error, message):
    with pytest.raises(error, match=message):
        call()
