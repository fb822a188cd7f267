"""The one function that loads data sets."""

from pathlib import Path
from typing import Any

import numpy as np
import torch

from onnlab.data.cache import FOLDER, MADE, SHIPPED, DataError, available, local_path, read_arrays
from onnlab.data.carvana import carvana
from onnlab.data.dataset import VOID, Dataset, Split, stratified_indices
from onnlab.data.scenes import scenes
from onnlab.data.sources import SOURCES, Arrays, Source

SEED = 0  # of the choice of the validation images, which is the same on every computer


def load(name: str, **options: Any) -> Dataset:
    """Load a data set by its name.

    Each call reads the file and returns fresh tensors: change them as you like. Test images are those of the
    published test set. Validation images are drawn from the published training set, class by class, always
    the same ones; the others keep their order. CamVid has published ones.

    Parameters
    ----------
    name : str
        With the numbers of images for training, validation and test:

        - ``"mnist-mini"``: 6 000 + 1 000 + 4 000 handwritten digits, 28 x 28 pixels. It comes with the
          package, so it needs no network.
        - ``"scenes"``: 1 000 + 200 + 300 pictures of 64 x 64 pixels with digits and shapes, and the class of
          every pixel; made on the spot by :func:`scenes`, which has more sizes and numbers to choose from.
        - ``"mnist"``: all 55 000 + 5 000 + 10 000 digits.
        - ``"fashion-mnist"``: 55 000 + 5 000 + 10 000 pieces of clothing, 28 x 28 pixels.
        - ``"cifar10"``: 45 000 + 5 000 + 10 000 animals and vehicles, 32 x 32 pixels in three colours.
        - ``"camvid"``: 367 + 101 + 233 street scenes, 180 x 240 pixels in three colours, each pixel of one
          of 11 classes or :data:`VOID`. :meth:`Dataset.against_rest` asks for cars alone.
        - ``"carvana"``: 5 088 photographs of cars with their masks, in a folder that you have from Kaggle:
          see :func:`carvana`.

        From ``"mnist"`` to ``"camvid"`` they are fetched on the first call, see :func:`fetch`.
    **options
        For ``"scenes"`` those of :func:`scenes`, for ``"carvana"`` those of :func:`carvana`; no other set has
        any.

    Returns
    -------
    Dataset
        With the splits ``train``, ``validation`` and ``test``; images float32 ``(n, channels, ny, nx)`` in
        [0, 1], stored as bytes; labels int64 ``(n,)``, or ``(n, ny, nx)`` where each pixel has one.

    Raises
    ------
    TypeError
        If the data set does not have such an option.
    ValueError
        If the name is unknown.
    DataError
        If the data set cannot be fetched, or its file cannot be read or holds something else.

    Examples
    --------
    >>> digits = load("mnist-mini")
    >>> digits.train.images.shape
    torch.Size([6000, 1, 28, 28])
    """
    if name == MADE:
        return scenes(**options)
    if name == FOLDER:
        return carvana(**options)
    if name not in available():
        raise ValueError(f"name must be one of {', '.join(map(repr, available()))}, got {name!r}")
    if options:
        raise TypeError(f"the data set {name!r} has no options, got {', '.join(options)}; leave them out")
    arrays = read_arrays(name)
    if name == SHIPPED:
        return _mnist_mini(arrays)
    source, path = SOURCES[name], local_path(name)
    checked = arrays.get("sha256", np.array([])).tolist() == list(source.files.values())
    train = _split(arrays, "train", source, path)
    if source.held_out is None:
        validation = _split(arrays, "val", source, path)
    else:
        train, validation = _hold_out(train, max(1, len(train) // source.held_out))
    return Dataset(
        name=name,
        train=train,
        validation=validation,
        test=_split(arrays, "test", source, path),
        classes=source.classes,
        credit=source.credit + ("" if checked else f"; pixels as found in {path.name}"),
    )


def _hold_out(train: Split, n: int) -> tuple[Split, Split]:
    held_out = torch.zeros(len(train), dtype=torch.bool)
    held_out[stratified_indices(train.labels, n, torch.Generator().manual_seed(SEED))] = True
    return (
        Split(train.pixels[~held_out], train.labels[~held_out]),
        Split(train.pixels[held_out], train.labels[held_out]),
    )


def _mnist_mini(arrays: Arrays) -> Dataset:
    train, validation, test = (
        Split(
            torch.from_numpy(arrays[f"x_{split}"]).unsqueeze(1),
            torch.from_numpy(arrays[f"y_{split}"]).long(),
        )
        for split in ("train", "validation", "test")
    )
    mnist = SOURCES["mnist"]
    return Dataset(SHIPPED, train, validation, test, mnist.classes, f"Part of {mnist.credit}")


def _split(arrays: Arrays, split: str, source: Source, path: Path) -> Split:
    """Make a split of images ``(n, ny, nx)`` or ``(n, ny, nx, channels)`` and their labels."""
    for key in (f"x_{split}", f"y_{split}"):
        if key not in arrays:
            raise DataError(f"{path} must hold {key}, got {', '.join(arrays)}: mend the file or delete it")
    x, y = arrays[f"x_{split}"], arrays[f"y_{split}"]
    images = x[:, None] if x.ndim == 3 else np.moveaxis(x, -1, 1) if x.ndim == 4 else x
    if x.dtype != np.uint8 or images.shape[1:] != source.shape or len(x) == 0:
        raise DataError(
            f"x_{split} in {path} must be uint8 images of (channels, ny, nx) = {source.shape}, channels "
            f"last, got {x.dtype} of shape {x.shape}: mend the file or delete it"
        )
    shape = x.shape[:1] if source.void is None else x.shape[:3]
    most = len(source.classes) - 1 if source.void is None else source.void
    if y.dtype.kind not in "ui" or y.shape != shape or y.min() < 0 or y.max() > most:
        raise DataError(
            f"y_{split} in {path} must be {' x '.join(map(str, shape))} integers from 0 to {most}, "
            f"got {y.dtype} of shape {y.shape}: mend the file or delete it"
        )
    labels = torch.from_numpy(y.astype(np.int64))
    if source.void is not None:
        labels[labels == source.void] = VOID
    return Split(torch.from_numpy(np.ascontiguousarray(images)), labels)
