"""Scenes: what they promise about masks, classes, splits and seeds."""

import math

import pytest
import torch

from onnlab.data import load, scenes

SMALL = {"train": 40, "validation": 5, "test": 6}


def test_defaults_are_what_load_gives():
    data = load("scenes")
    assert data.sizes == {"train": 1000, "validation": 200, "test": 300}
    assert data.name == "scenes" and "MNIST" in data.credit and "CC BY-SA 3.0" in data.credit
    for split in (data.train, data.validation, data.test):
        assert split.pixels.dtype == torch.uint8 and split.pixels.shape[1:] == (1, 64, 64)
        assert split.labels.dtype == torch.int64 and split.labels.shape[1:] == (64, 64)
        share = torch.bincount(split.labels.flatten(), minlength=6) / split.labels.numel()
        assert share[0] < 0.8 and share[1:].min() > 0.02 and len(share) == len(data.classes) == 6


@pytest.mark.parametrize(
    ("size", "channels", "shape"),
    [(32, 3, (3, 32, 32)), ((17, 40), 1, (1, 17, 40)), ([50, 33], 2, (2, 50, 33))],
)
def test_any_size_and_colour(size, channels, shape):
    data = scenes(size, channels=channels, **SMALL)
    assert data.sizes == SMALL
    assert data.test.pixels.shape == (6, *shape) and data.test.labels.shape == (6, *shape[1:])


def test_the_seed_makes_the_pictures_and_nothing_else_does():
    torch.manual_seed(1)
    one = scenes(24, **SMALL)
    torch.manual_seed(2)
    same, other = scenes(24, **SMALL), scenes(24, seed=1, **SMALL)
    assert torch.equal(one.train.pixels, same.train.pixels) and torch.equal(one.test.labels, same.test.labels)
    assert not torch.equal(one.train.labels, other.train.labels)


def test_a_longer_training_split_leaves_the_others_as_they_are():
    few, many = scenes(24, **SMALL), scenes(24, **{**SMALL, "train": 300})
    assert torch.equal(few.test.pixels, many.test.pixels)
    assert torch.equal(few.validation.labels, many.validation.labels)


def test_figure_and_ground_are_the_same_pictures_with_two_classes():
    every, two = scenes(24, **SMALL), scenes(24, figure_ground=True, **SMALL)
    assert two.classes == ("background", "object")
    assert torch.equal(two.train.pixels, every.train.pixels)
    assert torch.equal(two.test.labels == 1, every.test.labels != 0) and two.test.labels.max() == 1


def test_no_two_pictures_are_the_same():
    data = scenes(24, **{**SMALL, "train": 600})  # more than are painted at a time
    every = torch.cat([data.train.pixels, data.validation.pixels, data.test.pixels])
    assert len(every.flatten(1).unique(dim=0)) == 611


def test_masks_are_exact():
    """Without noise and with one object, pixels of both sides of an edge differ, as their textures do."""
    data = scenes(96, objects=1, noise=0, train=200, validation=1, test=1)
    pictures, labels = data.train.images[:, 0], data.train.labels
    edge = labels[:, :, 1:] != labels[:, :, :-1]
    step = (pictures[:, :, 1:] - pictures[:, :, :-1]).abs()
    # A mean differs by 0.24 at least; blotches and gratings rarely make up for it.
    assert (step[edge] > 0.05).double().mean() > 0.95
    assert (step[~edge] > 0.05).double().mean() < 0.02


@pytest.mark.parametrize(
    ("name", "least", "most"),
    [
        ("disc", torch.pi / 4, torch.pi / 4),
        ("ring", 0.7 * torch.pi / 4, 0.7 * torch.pi / 4),
        ("triangle", 3**0.5 / 4, 3**0.5 / 4 / math.cos(math.pi / 12) ** 2),
    ],
)
def test_shapes_fill_their_share_of_the_box_around_them(name, least, most):
    """Area over the square of the longer side: pi/4 for a disc; for a triangle it depends on the tilt."""
    data = scenes(160, objects=1, train=150, validation=1, test=1)
    number = data.classes.index(name)
    shares = []
    for labels in data.train.labels:
        rows, columns = (labels == number).nonzero(as_tuple=True)
        inside = len(rows) and min(rows.min(), columns.min()) > 0 and max(rows.max(), columns.max()) < 159
        if inside:
            sides = (rows.max() - rows.min() + 1, columns.max() - columns.min() + 1)
            shares.append(len(rows) / max(sides).item() ** 2)
    assert len(shares) >= 10
    # The box of the smallest, of 38 pixels, is known to a pixel: its area to 1 in 19.
    assert least * (1 - 1 / 19) < min(shares) and max(shares) < most * (1 + 1 / 19)


def test_later_objects_cover_earlier_ones():
    few, many = (
        (scenes(48, objects=n, train=60, validation=1, test=1).train.labels > 0).double().mean().item()
        for n in (1, 12)
    )
    assert few < 0.12
    # Independent objects leave (1 - share of one)^12 of the background, not 1 - 12 shares.
    assert many == pytest.approx(1 - (1 - few) ** 12, abs=0.1)


def test_neither_brightness_nor_texture_tells_the_class():
    """The mean and the spread of brightness are the same for every kind of object, to within chance."""
    data = scenes(32, objects=1, noise=0, train=1000, validation=1, test=1)
    means = {}
    for picture, labels in zip(data.train.images[:, 0], data.train.labels, strict=True):
        if labels.any():
            means.setdefault(labels.max().item(), []).append(picture[labels > 0].mean().item())
    for values in means.values():
        values = torch.tensor(values)
        assert abs(values.mean() - 0.5) < 4 * 0.23 / len(values) ** 0.5
        assert 0.17 < values.std() < 0.30


def test_against_the_rest():
    data = scenes(24, **SMALL)
    rest = data.against_rest("ring")
    assert rest.classes == ("rest", "ring") and rest.credit == data.credit and rest.sizes == data.sizes
    assert torch.equal(rest.test.labels, (data.test.labels == 5).long())
    assert rest.test.pixels is data.test.pixels
    with pytest.raises(ValueError, match="name must be one of 'background', .* got 'car'"):
        data.against_rest("car")


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"size": 8}, ValueError, "size must be at least 16, got 8"),
        ({"size": 32.0}, TypeError, "size must be a whole number"),
        ({"train": 0}, ValueError, "train must be at least 1"),
        ({"channels": 0}, ValueError, "channels must be at least 1"),
        ({"objects": -1}, ValueError, "objects must be at least 1"),
        ({"noise": -0.1}, ValueError, "noise must be from 0 up"),
        ({"seed": -1}, ValueError, "seed must be at least 0"),
    ],
)
def test_errors(options, error, message):
    with pytest.raises(error, match=message):
        scenes(**options)
