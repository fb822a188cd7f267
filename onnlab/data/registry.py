"""The one function that loads data sets, and the list of those it knows."""

from collections.abc import Callable
from importlib import resources

import numpy as np
import torch

from onnlab.data.dataset import Dataset, Split


def available() -> tuple[str, ...]:
    """Return the names that :func:`load` knows."""
    return tuple(_LOADERS)


def load(name: str) -> Dataset:
    """Load a data set by its name.

    Each call reads the file and returns fresh tensors: change them as you like.

    Parameters
    ----------
    name : str
        ``"mnist-mini"``: 6 000 + 1 000 + 4 000 handwritten digits of 28 x 28 pixels. It comes with the
        package, so it needs no network.

    Returns
    -------
    Dataset
        With the splits ``train``, ``validation`` and ``test``; images float32 ``(n, 1, 28, 28)`` in
        [0, 1], labels int64 ``(n,)``.

    Raises
    ------
    ValueError
        If the name is unknown.

    Examples
    --------
    >>> digits = load("mnist-mini")
    >>> digits.train.images.shape
    torch.Size([6000, 1, 28, 28])
    """
    if name not in _LOADERS:
        raise ValueError(f"name must be one of {', '.join(map(repr, available()))}, got {name!r}")
    return _LOADERS[name]()


def _mnist_mini() -> Dataset:
    with (
        resources.files("onnlab.data").joinpath("mnist_mini.npz").open("rb") as file,
        np.load(file) as arrays,
    ):
        train, validation, test = (
            Split(
                torch.from_numpy(arrays[f"x_{split}"]).unsqueeze(1).float() / 255,
                torch.from_numpy(arrays[f"y_{split}"]).long(),
            )
            for split in ("train", "validation", "test")
        )
    return Dataset(
        name="mnist-mini",
        train=train,
        validation=validation,
        test=test,
        classes=tuple("0123456789"),
        credit="Part of MNIST: Y. LeCun, C. Cortes, C. J. C. Burges; CC BY-SA 3.0; "
        "http://yann.lecun.com/exdb/mnist/",
    )


_LOADERS: dict[str, Callable[[], Dataset]] = {"mnist-mini": _mnist_mini}
