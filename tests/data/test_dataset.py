"""Splits, subsets and the one function that loads."""

import dataclasses

import pytest
import torch
from torch.utils.data import DataLoader

from onnlab.data import Dataset, Split, load
from onnlab.data.dataset import stratified_indices


def toy_split(n: int = 40, classes: int = 4) -> Split:
    """Image ``i`` is filled with ``i / n``, so that every image can be told from the others."""
    images = (torch.arange(n) / n).reshape(n, 1, 1, 1).expand(n, 1, 3, 5).clone()
    return Split(images, torch.arange(n) % classes)


@pytest.fixture(scope="module")
def digits() -> Dataset:
    return load("mnist-mini")


def test_shapes_types_and_range(digits):
    assert digits.sizes == {"train": 6000, "validation": 1000, "test": 4000}
    for split in (digits.train, digits.validation, digits.test):
        assert split.images.shape == (len(split), 1, 28, 28)
        assert split.images.dtype == torch.float32
        assert split.labels.shape == (len(split),)
        assert split.labels.dtype == torch.int64
        assert split.images.min() == 0
        assert split.images.max() == 1
        assert split.labels.unique().tolist() == list(range(10))
    assert digits.classes[7] == "7"
    assert "CC BY-SA 3.0" in digits.credit


def test_images_show_what_the_labels_say(digits):
    # The mean image of each class, learnt on the training split, names most test digits (about 82 % of
    # all of MNIST): shuffled labels or pixels would bring it down to 10 %.
    means = torch.stack([digits.train.images[digits.train.labels == c].mean(0) for c in range(10)])
    distance = torch.cdist(digits.test.images.flatten(1), means.flatten(1))
    accuracy = (distance.argmin(1) == digits.test.labels).float().mean()
    assert accuracy > 0.75


def test_each_call_returns_fresh_tensors(digits):
    spoilt = load("mnist-mini")
    spoilt.train.pixels.zero_()
    spoilt.train.labels.fill_(3)
    again = load("mnist-mini")
    assert torch.equal(again.train.pixels, digits.train.pixels)
    assert torch.equal(again.train.labels, digits.train.labels)


def test_data_sets_are_frozen(digits):
    with pytest.raises(dataclasses.FrozenInstanceError):
        digits.train = digits.test
    with pytest.raises(dataclasses.FrozenInstanceError):
        digits.train.labels = digits.test.labels


def test_unknown_name_lists_the_known_ones():
    with pytest.raises(ValueError, match="name must be one of 'mnist-mini', .* got 'mnits'"):
        load("mnits")


def test_repr_names_sizes_and_spares_the_pixels(digits):
    assert repr(digits) == "Dataset('mnist-mini': train 6000, validation 1000, test 4000; 10 classes)"
    assert repr(digits.test) == "Split(4000 images of shape (1, 28, 28))"


def test_a_split_works_in_a_data_loader():
    batches = list(DataLoader(toy_split(), batch_size=16))
    assert [len(labels) for _, labels in batches] == [16, 16, 8]
    assert torch.equal(torch.cat([images for images, _ in batches]), toy_split().images)
    images, labels = toy_split()[3:5]
    assert images.shape == (2, 1, 3, 5)
    assert labels.tolist() == [3, 0]


def test_bytes_become_floats_when_they_are_taken_out():
    pixels = torch.arange(256, dtype=torch.uint8).reshape(16, 1, 4, 4)
    split = Split(pixels, torch.arange(16))
    expected = torch.arange(256, dtype=torch.float64).reshape(16, 1, 4, 4) / 255
    for index in (3, slice(2, 5), torch.tensor([7, 1]), [4, 4], slice(None)):
        images, labels = split[index]
        assert images.dtype == torch.float32
        torch.testing.assert_close(images.double(), expected[index], rtol=1e-7, atol=0)
        assert torch.equal(labels, torch.arange(16)[index])
    assert torch.equal(split.images, split[:][0])
    assert split.images is split.images  # not made again at each mention
    assert split.subset(9, seed=0).pixels.dtype == torch.uint8
    assert torch.equal(split.pixels, pixels)


def test_floats_stay_as_they_are():
    split = Split(torch.rand(4, 1, 2, 2, dtype=torch.float64), torch.arange(4))
    assert split.images is split.pixels
    assert torch.equal(split[1:3][0], split.pixels[1:3])


@pytest.mark.parametrize("n", [1, 9, 400, 5999, 6000])
def test_subset_keeps_the_class_shares(digits, n):
    share = torch.bincount(digits.train.labels) * n / len(digits.train)
    counts = torch.bincount(digits.train.subset(n, seed=0).labels, minlength=10)
    assert counts.sum() == n
    assert (counts - share).abs().max() < 1


def test_subset_draws_without_replacement_and_keeps_pairs():
    split = toy_split(40)
    part = split.subset(23, seed=1)
    rows = (part.images[:, 0, 0, 0] * 40).round().long()
    assert len(rows.unique()) == 23
    assert torch.equal(part.labels, split.labels[rows])
    whole = split.subset(40, seed=1)
    assert (whole.images[:, 0, 0, 0] * 40).round().long().sort().values.tolist() == list(range(40))


def test_subset_order_does_not_reveal_the_class(digits):
    first = digits.train.subset(1000, seed=0).labels[:100]
    assert torch.bincount(first, minlength=10).min() > 0


def test_subset_follows_its_seed_and_nothing_else(digits):
    torch.manual_seed(1)
    one = digits.test.subset(50, seed=7)
    torch.manual_seed(2)
    same, other = digits.test.subset(50, seed=7), digits.test.subset(50, seed=8)
    assert torch.equal(one.images, same.images)
    assert not torch.equal(one.images, other.images)


def test_subset_is_a_copy():
    split = toy_split()
    split.subset(40, seed=0).images.fill_(9)
    assert split.images.max() < 1


def test_subset_of_pixel_labels():
    split = Split(torch.rand(10, 3, 4, 6), torch.zeros(10, 4, 6, dtype=torch.int64))
    part = split.subset(4, seed=0)
    assert part.images.shape == (4, 3, 4, 6)
    assert part.labels.shape == (4, 4, 6)


def test_left_over_places_go_to_the_largest_remainders():
    labels = torch.tensor([0] * 5 + [1] * 3 + [2] * 2)  # shares of 4: 2.0, 1.2, 0.8
    chosen = labels[stratified_indices(labels, 4, torch.Generator().manual_seed(0))]
    assert torch.bincount(chosen).tolist() == [2, 1, 1]


@pytest.mark.parametrize("n", [0, -1, 41])
def test_subset_size_out_of_range(n):
    with pytest.raises(ValueError, match=rf"n must be from 1 to 40, got {n}"):
        toy_split().subset(n, seed=0)


@pytest.mark.parametrize("n", [2.5, "3", True])
def test_subset_size_of_another_type(n):
    with pytest.raises(TypeError, match="n must be a whole number"):
        toy_split().subset(n, seed=0)


@pytest.mark.parametrize(
    ("images", "labels", "message"),
    [
        (torch.zeros(5, 28, 28), torch.zeros(5).long(), r"pixels must have shape .* got \(5, 28, 28\)"),
        (torch.zeros(5, 1, 8, 8).long(), torch.zeros(5).long(), "pixels must be uint8 .* got torch.int64"),
        (torch.zeros(5, 1, 8, 8), torch.zeros(5), "labels must be int64 .* got torch.float32"),
        (torch.zeros(5, 1, 8, 8), torch.zeros(5, 10).long(), r"labels must be int64 .* \(5, 10\)"),
        (torch.zeros(5, 1, 8, 8), torch.zeros(4).long(), "equally many, got 5 and 4"),
    ],
)
def test_splits_that_do_not_fit(images, labels, message):
    with pytest.raises(ValueError, match=message):
        Split(images, labels)


def test_coarser_digits(digits):
    coarse = digits.coarser(7)
    assert coarse.sizes == digits.sizes and coarse.credit == digits.credit
    assert torch.equal(coarse.test.labels, digits.test.labels)
    blocks = digits.test.pixels.double().reshape(-1, 1, 4, 7, 4, 7).mean((3, 5))
    assert (coarse.test.pixels - blocks).abs().max() <= 0.5 + 1e-4


@pytest.mark.parametrize("factor", [2, 3, -1, 0])
def test_a_factor_that_does_not_fit(digits, factor):
    with pytest.raises(ValueError, match="factor must be .*got"):
        digits.coarser(factor)
    with pytest.raises(TypeError, match="factor must be a whole number"):
        digits.coarser(7.0)
