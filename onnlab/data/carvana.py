"""Carvana: photographs of cars and their masks, from the folders that Kaggle gives to a user."""

import os
from pathlib import Path

import numpy as np
import torch
from PIL import Image  # comes with matplotlib

from onnlab.data.cache import FOLDER, DataError, data_folder
from onnlab.data.dataset import Dataset, Split
from onnlab.optics._check import two_sizes, whole_number

CREDIT = "Carvana Image Masking Challenge (2017), https://www.kaggle.com/c/carvana-image-masking-challenge"
HALF = 128  # of 255: what a pixel whose one half is white has, as it is rounded up
SHOWN = 3  # names in a message, of perhaps thousands


def carvana(
    folder: str | os.PathLike[str] | None = None,
    *,
    size: int | tuple[int, int] = (160, 240),
    cars: int | None = None,
    seed: int = 0,
) -> Dataset:
    """Load the photographs of cars and their masks that you have from Kaggle.

    Each car stands in 16 photographs, so the splits are made by cars: a tenth of them to validate, a tenth
    to test, the others to train. Every call reads the photographs anew.

    Parameters
    ----------
    folder : path, optional
        Where you unpacked ``train.zip`` and ``train_masks.zip``: it holds ``train/CAR_NN.jpg`` and
        ``train_masks/CAR_NN_mask.gif``. The folder ``carvana`` in :func:`data_folder` unless given.
    size : int or (int, int)
        Rows and columns to which all are shrunk or stretched; published are 1280 x 1918. A pixel belongs to
        the car if more than half of its area does.
    cars : int, optional
        How many of the cars to load, drawn by the seed; at least 3. All unless given.
    seed : int
        Of the draw, and of the shares of the splits.

    Returns
    -------
    Dataset
        Classes ``"background"`` and ``"car"``; labels int64 ``(n, *size)``.

    Raises
    ------
    DataError
        If photographs or masks are missing, do not fit each other or cannot be read.
    TypeError, ValueError
        If a number is none or out of range.
    """
    rows, columns = two_sizes("size", size)
    whole_number("seed", seed, 0)
    pairs = find_pairs(Path(folder) if folder is not None else data_folder() / FOLDER)
    names = sorted({_car(photograph) for photograph, _ in pairs})
    if len(names) < 3:
        raise DataError(f"the photographs must show at least 3 cars, one for each split, got {len(names)}")
    count = len(names) if cars is None else whole_number("cars", cars, 3, len(names))
    order = torch.randperm(len(names), generator=torch.Generator().manual_seed(seed))[:count].tolist()
    held_out = max(1, round(count / 10))
    shares = order[2 * held_out :], order[:held_out], order[held_out : 2 * held_out]
    train, validation, test = (
        _read([pair for pair in pairs if _car(pair[0]) in {names[i] for i in share}], (rows, columns))
        for share in shares
    )
    return Dataset(FOLDER, train, validation, test, ("background", "car"), CREDIT)


def find_pairs(folder: Path) -> list[tuple[Path, Path]]:
    """Photographs and their masks, sorted by name; raise :class:`DataError` if one is without the other."""
    photographs = {path.stem: path for path in (folder / "train").glob("*.jpg")}
    masks = {path.stem.removesuffix("_mask"): path for path in (folder / "train_masks").glob("*_mask.gif")}
    if not photographs:
        raise DataError(
            f"{folder} must hold train/*.jpg and train_masks/*_mask.gif, got no photograph: unpack train.zip "
            f"and train_masks.zip of {CREDIT.split()[-1]} there, or name the folder that has them"
        )
    for these, those, what in (
        (photographs, masks, "a mask in train_masks for every photograph in train"),
        (masks, photographs, "a photograph in train for every mask in train_masks"),
    ):
        alone = sorted(these.keys() - those.keys())
        if alone:
            some = ", ".join(alone[:SHOWN]) + ", ..." * (len(alone) > SHOWN)
            raise DataError(
                f"{folder} must hold {what}, got none for {len(alone)} of {len(these)} ({some}): "
                "unpack the archives again"
            )
    return [(photographs[name], masks[name]) for name in sorted(photographs)]


def _car(photograph: Path) -> str:
    return photograph.stem.partition("_")[0]


def _read(pairs: list[tuple[Path, Path]], size: tuple[int, int]) -> Split:
    pixels = torch.empty(len(pairs), 3, *size, dtype=torch.uint8)
    labels = torch.empty(len(pairs), *size, dtype=torch.int64)
    for i, (photograph, mask) in enumerate(pairs):
        picture, published = _shrunk(photograph, "RGB", size)
        area, found = _shrunk(mask, "L", size)
        if found != published:
            raise DataError(
                f"{mask} must be as large as its photograph, {published[0]} x {published[1]}, got "
                f"{found[0]} x {found[1]}: unpack the archives again"
            )
        pixels[i], labels[i] = torch.from_numpy(picture).movedim(-1, 0), torch.from_numpy(area > HALF)
    return Split(pixels, labels)


def _shrunk(path: Path, mode: str, size: tuple[int, int]) -> tuple[np.ndarray, tuple[int, int]]:
    """Return a picture in another size, and the columns and rows that it had."""
    try:
        with Image.open(path) as picture:
            published = picture.size
            picture.draft(mode, (2 * size[1], 2 * size[0]))  # a JPEG opens much faster at a fraction
            return np.array(picture.convert(mode).resize(size[::-1], Image.Resampling.BOX)), published
    except OSError as error:  # that a file is no picture is one, too
        raise DataError(f"{path} cannot be read as a picture ({error}): unpack it again") from error
