"""Infinitely many random kernels with a read-out: against features, and against many of them."""

import pickle
from dataclasses import replace
from functools import partial

import numpy as np
import pytest
import torch
from sklearn.linear_model import Ridge
from torch import Generator, Tensor
from torch.nn.functional import avg_pool2d, conv2d, one_hot, unfold

from onnlab.data import Dataset, Split, load
from onnlab.hardware import KernelClassifier, kernel_ridge, wide_camera


def few(train: int = 40, validation: int = 30, side: int = 28) -> Dataset:
    whole = load("mnist-mini")
    splits = {"train": train, "validation": validation, "test": 20}
    parts = {name: getattr(whole, name).subset(count, 0) for name, count in splits.items()}
    middle = slice(14 - side // 2, 14 + side // 2)
    return replace(
        whole, **{name: Split(s.pixels[..., middle, middle], s.labels) for name, s in parts.items()}
    )


def infinite(camera: str) -> KernelClassifier:
    return KernelClassifier(10, partial(wide_camera, kernel_size=7, pool=4, camera=camera))


def pooled_patches(x: Tensor) -> Tensor:
    patches = unfold(x, 7, padding=3).unflatten(2, x.shape[-2:])
    return avg_pool2d(patches, 4).flatten(1) / 7


def test_behind_a_linear_camera_it_is_ridge_regression_on_pooled_patches() -> None:
    data = few()
    model = infinite("linear")
    ridge = model.learn(data, (0.01,))
    x, new = (pooled_patches(split.images.double()).numpy() for split in (data.train, data.test))
    unit = np.square(x - x.mean(0)).sum() / len(x)
    targets = one_hot(data.train.labels, 10).double().numpy()
    expected = Ridge(alpha=ridge * unit).fit(x, targets).predict(new)
    np.testing.assert_allclose(model(data.test.images).numpy(), expected, atol=1e-4)


def test_behind_a_rectified_camera_it_is_what_many_random_kernels_come_to() -> None:
    data, count = few(side=8), 20_000
    model = infinite("rectified")
    model.learn(data, (0.1,))
    weight = torch.randn(count, 1, 7, 7, generator=Generator().manual_seed(0)) / 7
    x, new = (
        avg_pool2d(conv2d(split.images, weight, padding=3).relu(), 4).flatten(1)
        for split in (data.train, data.test)
    )
    targets = one_hot(data.train.labels, 10)
    expected = kernel_ridge(x @ x.T, targets, new @ x.T, (0.1,))[0].float()
    found = model(data.test.images)
    assert (found - expected).norm() < 0.02 * expected.norm()
    assert not torch.allclose(found, linear_answers(data), atol=0.05)


def linear_answers(data: Dataset) -> Tensor:
    model = infinite("linear")
    model.learn(data, (0.1,))
    return model(data.test.images)


def test_validation_images_choose_the_ridge() -> None:
    data = few()
    model, ridges = infinite("linear"), (1e-4, 1e-2, 1e3)
    chosen, found = model.learn(data, ridges), model(data.test.images)
    right = []
    for ridge in ridges:
        assert model.learn(data, (ridge,)) == ridge
        assert torch.equal(model(data.test.images), found) == (ridge == chosen)
        answers = model(data.validation.images).argmax(1)
        right.append((answers == data.validation.labels).sum().item())
    assert chosen != 1e3 and right[ridges.index(chosen)] == max(right) > min(right)


def test_the_maps_of_training_images_are_taken_once() -> None:
    data, seen = few(), []

    def maps(x: Tensor) -> Tensor:
        seen.append(len(x))
        return x.flatten(1)

    model = KernelClassifier(10, lambda x, x2: (x @ x2.T / 100).exp(), maps)
    model.learn(data, (0.01, 0.1))
    assert sorted(seen) == [30, 40]
    found = torch.cat([model(some) for some in data.test.images.split(5)])
    assert seen[2:] == [5, 5, 5, 5]
    plain = KernelClassifier(10, lambda x, x2: (x.flatten(1) @ x2.flatten(1).T / 100).exp())
    plain.learn(data, (0.01, 0.1))
    torch.testing.assert_close(found, plain(data.test.images))


def test_it_cannot_answer_before_it_has_learnt() -> None:
    with pytest.raises(RuntimeError, match=r"must learn before it answers; call learn"):
        infinite("linear")(torch.zeros(1, 1, 28, 28))


def test_a_classifier_can_be_stored() -> None:
    data = few()
    model = infinite("linear")
    model.learn(data, (0.01,))
    again = pickle.loads(pickle.dumps(model))
    assert torch.equal(again(data.test.images), model(data.test.images))
