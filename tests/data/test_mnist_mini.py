"""The shipped digits: the file is the recorded one, stratified, disjoint, and made as its script says."""

import hashlib
import os
from importlib import resources
from pathlib import Path

import numpy as np
import pytest

from onnlab.data import make_mnist_mini

SHIPPED = resources.files("onnlab.data") / "mnist_mini.npz"
SHA256 = "f6bafd81a68fe710242686d25b079273c8351719d725959ca2133a16f93ea031"
TRAIN_COUNTS = np.array([5923, 6742, 5958, 6131, 5842, 5421, 5918, 6265, 5851, 5949])  # of all of MNIST
TEST_COUNTS = np.array([980, 1135, 1032, 1010, 982, 892, 958, 1028, 974, 1009])


@pytest.fixture(scope="module")
def shipped() -> dict[str, np.ndarray]:
    with SHIPPED.open("rb") as file, np.load(file) as arrays:
        return dict(arrays)


@pytest.fixture(scope="module")
def source() -> dict[str, np.ndarray]:
    """A stand-in for MNIST with uneven classes, in which every image is unique."""
    random = np.random.default_rng(0)
    sizes = {"train": 12000, "test": 5000}
    shares = np.arange(1, 11) / 55
    return {
        f"{kind}_{split}": random.choice(10, size, p=shares).astype(np.uint8)
        if kind == "y"
        else np.arange(size, dtype=np.uint32).view(np.uint8).reshape(size, 2, 2)
        for split, size in sizes.items()
        for kind in "xy"
    }


def test_file_is_the_recorded_one():
    content = SHIPPED.read_bytes()
    assert len(content) < 2_000_000
    assert hashlib.sha256(content).hexdigest() == SHA256


@pytest.mark.parametrize(
    ("split", "counts"), [("train", TRAIN_COUNTS), ("validation", TRAIN_COUNTS), ("test", TEST_COUNTS)]
)
def test_classes_keep_their_share_of_mnist(shipped, split, counts):
    labels = shipped[f"y_{split}"]
    share = len(labels) * counts / counts.sum()
    # Validation digits are drawn from what training left, whose shares differ a little from those of MNIST.
    assert np.abs(np.bincount(labels, minlength=10) - share).max() < (1.03 if split == "validation" else 1)


def test_no_image_is_in_two_splits_or_twice_in_one(shipped):
    images = [image.tobytes() for split in make_mnist_mini.SIZES for image in shipped[f"x_{split}"]]
    assert len(set(images)) == len(images) == sum(make_mnist_mini.SIZES.values())
    rows = np.concatenate([shipped["i_train"], shipped["i_validation"]])
    assert len(np.unique(rows)) == len(rows)


def test_order_is_random(shipped):
    for split in make_mnist_mini.SIZES:
        assert len(np.unique(shipped[f"y_{split}"][:60])) == 10
        assert abs(np.corrcoef(shipped[f"i_{split}"], np.arange(len(shipped[f"i_{split}"])))[0, 1]) < 0.1


def test_licence_lies_beside_the_file():
    text = (resources.files("onnlab.data") / "LICENSE-mnist-mini").read_text()
    for part in ("LeCun", "Cortes", "Burges", "CC BY-SA 3.0", "Changes:"):
        assert part in text


def test_the_script_draws_stratified_disjoint_traceable_rows(source):
    arrays = make_mnist_mini.draw(source)
    for split, origin in (("train", "train"), ("validation", "train"), ("test", "test")):
        rows, size = arrays[f"i_{split}"], make_mnist_mini.SIZES[split]
        assert np.array_equal(arrays[f"x_{split}"], source[f"x_{origin}"][rows])
        assert np.array_equal(arrays[f"y_{split}"], source[f"y_{origin}"][rows])
        share = size * np.bincount(source[f"y_{origin}"]) / len(source[f"y_{origin}"])
        assert np.abs(np.bincount(arrays[f"y_{split}"]) - share).max() < 1.5
    assert not set(arrays["i_train"]) & set(arrays["i_validation"])


def test_the_script_writes_the_same_bytes_whenever_it_runs(source, tmp_path, monkeypatch):
    np.savez(tmp_path / "source.npz", **source)
    for name, now in (("one", 1.0e9), ("two", 1.5e9)):
        monkeypatch.setattr("time.time", lambda now=now: now)
        make_mnist_mini.main([str(tmp_path / "source.npz"), str(tmp_path / name)])
    assert (tmp_path / "one").read_bytes() == (tmp_path / "two").read_bytes()
    with np.load(tmp_path / "one") as written:
        for name, values in make_mnist_mini.draw(source).items():
            assert np.array_equal(written[name], values)


def test_the_script_says_how_it_is_called():
    with pytest.raises(SystemExit, match=r"usage: .*mnist\.npz"):
        make_mnist_mini.main([])


def test_the_script_makes_the_shipped_arrays_from_mnist(shipped):
    complete = Path(os.environ.get("ONNLAB_DATA", "")) / "mnist.npz"
    if not complete.is_file():
        pytest.skip("needs the complete MNIST: set ONNLAB_DATA to the folder that holds mnist.npz")
    with np.load(complete) as mnist:
        made = make_mnist_mini.draw(mnist)
    assert made.keys() == shipped.keys()
    for name, values in made.items():
        assert np.array_equal(values, shipped[name])
