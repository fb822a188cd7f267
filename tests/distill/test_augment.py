"""Augmentations against NumPy, with targets that tell where each pixel came from."""

from functools import partial

import numpy as np
import pytest
import torch

from onnlab.distill import compose, mixup, random_flip, random_shift


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def numbered(n: int, ny: int = 5, nx: int = 7) -> torch.Tensor:
    """``n`` times the same two-channel image, each of its pixels with a value of its own."""
    return torch.arange(2.0 * ny * nx).reshape(1, 2, ny, nx).repeat(n, 1, 1, 1)


def test_shift_is_a_crop_of_the_mirrored_image_and_all_crops_occur():
    images, labels = numbered(600), torch.arange(600)
    moved, same = random_shift(images, labels, seeded(), pixels=2)
    padded = np.pad(images[0].numpy(), ((0, 0), (2, 2), (2, 2)), mode="reflect")
    crops = {padded[:, i : i + 5, j : j + 7].tobytes(): (i, j) for i in range(5) for j in range(5)}
    found = [crops[image.numpy().tobytes()] for image in moved]
    assert len(crops) == len(set(found)) == 25
    assert torch.equal(same, labels)


def test_no_shift_changes_nothing():
    images, labels = numbered(3), torch.arange(3)
    assert torch.equal(random_shift(images, labels, seeded(), pixels=0)[0], images)


def test_flip_mirrors_half_of_the_images():
    images, labels = numbered(400), torch.arange(400)
    flipped, same = random_flip(images, labels, seeded())
    mirrored = (flipped == images.flip(-1)).flatten(1).all(1)
    assert torch.equal(flipped[~mirrored], images[~mirrored])
    assert 150 < mirrored.sum() < 250  # five standard deviations
    assert torch.equal(same, labels)


@pytest.mark.parametrize("augment", [random_shift, random_flip, compose(random_shift, random_flip)])
def test_labels_of_pixels_move_with_them(augment):
    images = numbered(50)
    moved, labels = augment(images, images[:, 0].long(), seeded())
    assert not torch.equal(moved, images)
    assert torch.equal(labels, moved[:, 0].long())


def test_mixup_mixes_images_and_labels_in_the_same_proportion():
    labels = torch.arange(200) % 4
    images = torch.eye(4)[labels][:, :, None, None].expand(200, 4, 3, 3)  # channel c is the share of class c
    mixed, shares = mixup(images, labels, seeded(), classes=4)
    torch.testing.assert_close(mixed, shares[:, :, None, None].expand_as(mixed))
    torch.testing.assert_close(shares.sum(1), torch.ones(200))
    own = shares[torch.arange(200), labels][(shares > 0).sum(1) == 2]  # mixed with an image of another class
    assert len(own) > 100
    assert own.mean() == pytest.approx(0.5, abs=0.12) and own.std() == pytest.approx(12**-0.5, abs=0.05)


@pytest.mark.parametrize("augment", [random_shift, random_flip, mixup, compose(random_flip, mixup)])
def test_same_generator_same_result_and_the_input_stays(augment):
    images, labels = numbered(20) + torch.arange(20)[:, None, None, None], torch.arange(20) % 10
    before = images.clone()
    one, other, third = (augment(images, labels, seeded(seed)) for seed in (1, 1, 2))
    assert torch.equal(one[0], other[0]) and torch.equal(one[1], other[1])
    assert not torch.equal(one[0], third[0])
    assert torch.equal(images, before)


def test_compose_applies_in_order_from_one_generator():
    images, labels = numbered(20), torch.arange(20) % 10
    generator = seeded(3)
    expected = mixup(*random_shift(images, labels, generator, pixels=1), generator)
    actual = compose(partial(random_shift, pixels=1), mixup)(images, labels, seeded(3))
    assert torch.equal(actual[0], expected[0]) and torch.equal(actual[1], expected[1])


def test_errors():
    images = numbered(4)
    for pixels in (-1, 5):
        with pytest.raises(ValueError, match=f"pixels must be from 0 to 4 for these images, got {pixels}"):
            random_shift(images, torch.arange(4), seeded(), pixels=pixels)
    with pytest.raises(ValueError, match=r"targets must have shape \(n,\)"):
        mixup(images, torch.zeros(4, 5, 7).long(), seeded())
    with pytest.raises(ValueError, match=r"targets must be from 0 to 9, got 9 to 12; .*classes=len"):
        mixup(images, torch.arange(9, 13), seeded())
