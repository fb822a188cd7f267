"""Carvana: small photographs and masks in the folders and formats of Kaggle."""

import numpy as np
import pytest
import torch
from PIL import Image

from onnlab.data import DataError, carvana, load

SHAPE = (64, 96)


def mask_of(seed):
    """A car: a box of random place and size."""
    random = np.random.default_rng(seed)
    mask = np.zeros(SHAPE, bool)
    top, left = random.integers(4, 20, 2)
    mask[top : top + random.integers(20, 40), left : left + random.integers(30, 60)] = True
    return mask


def write(folder, cars=10, views=2):
    """A photograph is green with a red car; its brightness tells which car it is."""
    (folder / "train").mkdir(parents=True)
    (folder / "train_masks").mkdir()
    for car in range(cars):
        for view in range(1, views + 1):
            mask = mask_of(100 * car + view)
            picture = np.where(mask[..., None], [200, 20, 20], [20, 100 + 10 * car, 20]).astype(np.uint8)
            name = f"{car:012x}_{view:02}"
            Image.fromarray(picture).save(folder / "train" / f"{name}.jpg", quality=95, subsampling=0)
            # Kaggle's masks are GIFs of two colours, with a palette.
            Image.fromarray(mask).convert("P").save(folder / "train_masks" / f"{name}_mask.gif")
    return folder


def cars_in(split):
    """Number of each car, from the green of a corner."""
    return ((split.pixels[:, 1, 0, 0].double() - 100) / 10).round().long().tolist()


def test_every_car_is_in_one_split(tmp_path):
    data = load("carvana", folder=write(tmp_path / "here", cars=12), size=SHAPE)
    groups = [set(cars_in(split)) for split in (data.train, data.validation, data.test)]
    assert [len(group) for group in groups] == [10, 1, 1]
    assert set.union(*groups) == set(range(12)) and data.sizes["train"] == 20
    assert data.name == "carvana" and data.classes == ("background", "car") and "kaggle.com" in data.credit


def test_at_its_own_size_nothing_changes(tmp_path):
    data = carvana(write(tmp_path / "here", cars=3, views=4), size=SHAPE)
    for split in (data.train, data.validation, data.test):
        (car,) = set(cars_in(split))
        masks = torch.from_numpy(np.stack([mask_of(100 * car + view) for view in range(1, 5)]))
        assert torch.equal(split.labels, masks.long())
        red = torch.where(masks, 200.0, 20.0)
        assert (split.pixels[:, 0] - red).abs().mean() < 2  # a JPEG


@pytest.mark.parametrize("size", [(32, 48), (16, 24)])
def test_shrinking_averages_and_masks_follow_the_majority(tmp_path, size):
    data = carvana(write(tmp_path / "here", cars=3, views=3), size=size)
    step = SHAPE[0] // size[0]
    for split in (data.train, data.validation, data.test):
        (car,) = set(cars_in(split))
        masks = np.stack([mask_of(100 * car + view) for view in (1, 2, 3)])
        share = masks.reshape(3, size[0], step, size[1], step).mean((2, 4))
        assert np.array_equal(split.labels.numpy()[share != 0.5], share[share != 0.5] > 0.5)
        assert np.abs(split.pixels[:, 0].numpy() - (20 + 180 * share)).mean() < 4


def test_any_size_at_all(tmp_path):
    data = carvana(write(tmp_path / "here", cars=3, views=1), size=(50, 33))
    assert data.test.pixels.shape == (1, 3, 50, 33) and data.test.labels.shape == (1, 50, 33)


def test_some_of_the_cars(tmp_path):
    folder = write(tmp_path / "here")
    one, other = (carvana(folder, size=(16, 24), cars=4, seed=seed) for seed in (0, 1))
    assert one.sizes == {"train": 4, "validation": 2, "test": 2}
    again = carvana(folder, size=(16, 24), cars=4, seed=0)
    assert torch.equal(one.train.pixels, again.train.pixels) and cars_in(one.train) != cars_in(other.train)


def test_the_folder_beside_the_other_sets(cache):
    write(cache / "carvana", cars=3, views=1)
    assert load("carvana", size=(16, 24)).sizes == {"train": 1, "validation": 1, "test": 1}


def test_no_photographs_say_where_they_come_from(cache):
    with pytest.raises(DataError, match=r"data/carvana must hold train/\*\.jpg .*kaggle\.com/c/carvana"):
        load("carvana")


@pytest.mark.parametrize(
    ("folder", "what"), [("train_masks", "a mask in train_masks"), ("train", "a photograph in train")]
)
def test_one_without_the_other(tmp_path, folder, what):
    write(tmp_path / "here")
    files = sorted((tmp_path / "here" / folder).iterdir())
    for path in files[:5]:
        path.unlink()
    with pytest.raises(DataError, match=rf"{what}.* for 5 of 20 \(0+_01, 0+_02, 0+1_01, \.\.\.\)"):
        carvana(tmp_path / "here")


def test_a_mask_of_another_size(tmp_path):
    write(tmp_path / "here", cars=3)
    path = sorted((tmp_path / "here" / "train_masks").iterdir())[0]
    Image.new("P", (96, 60)).save(path)
    with pytest.raises(DataError, match=rf"{path.name} must be as large .* 96 x 64, got 96 x 60"):
        carvana(tmp_path / "here")


@pytest.mark.parametrize("content", [b"", b"no picture", None])
@pytest.mark.parametrize("folder", ["train", "train_masks"])
def test_a_file_that_is_no_picture_or_was_cut(tmp_path, folder, content):
    write(tmp_path / "here", cars=3)
    path = sorted((tmp_path / "here" / folder).iterdir())[0]
    whole = path.read_bytes()
    path.write_bytes(whole[: len(whole) // 2] if content is None else content)
    with pytest.raises(DataError, match="cannot be read"):
        carvana(tmp_path / "here")


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"size": (0, 24)}, ValueError, "size must be at least 1"),
        ({"size": (20, 30, 3)}, TypeError, "size must be one whole number, or two for rows and columns"),
        ({"size": "20"}, TypeError, "size must be a whole number"),
        ({"cars": 2}, ValueError, "cars must be from 3 to 4"),
        ({"cars": 5}, ValueError, "cars must be from 3 to 4"),
        ({"seed": -1}, ValueError, "seed must be at least 0"),
    ],
)
def test_errors(tmp_path, options, error, message):
    with pytest.raises(error, match=message):
        carvana(write(tmp_path / "here", cars=4, views=1), **options)


def test_half_a_pixel_is_no_car_and_one_number_is_a_square(tmp_path):
    folder = write(tmp_path / "here", cars=3, views=1)
    for path in (folder / "train_masks").iterdir():
        columns = np.broadcast_to(np.arange(SHAPE[1]) % 2 == 1, SHAPE)
        Image.fromarray(columns.copy()).convert("P").save(path)
    data = carvana(folder, size=(SHAPE[0] // 2, SHAPE[1] // 2))
    assert not data.train.labels.any()
    assert carvana(folder, size=16).train.images.shape[2:] == (16, 16)


def test_too_few_cars(tmp_path):
    with pytest.raises(DataError, match="at least 3 cars, one for each split, got 2"):
        carvana(write(tmp_path / "here", cars=2))
