"""Make ``mnist_mini.npz``, the digits that come with the package, from the complete MNIST.

Usage::

    python -m onnlab.data.make_mnist_mini mnist.npz [mnist_mini.npz]

The source holds uint8 arrays ``x_train y_train x_test y_test``. Training and validation digits come from
MNIST's training set, test digits from its test set, each split with the class shares of its source. The
file also keeps the row of every digit in the source (``i_train``, ``i_validation``, ``i_test``), so that
you can trace a digit, and find the digits that no model here has seen.
"""

import sys
import zipfile
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import torch

from onnlab.data.dataset import stratified_indices

SIZES = {"train": 6000, "validation": 1000, "test": 4000}
SEED = 0


def draw(source: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Choose the digits: ``x_*``, ``y_*`` and ``i_*`` for the three splits."""
    generator = torch.Generator().manual_seed(SEED)
    labels = torch.from_numpy(source["y_train"]).long()
    train = stratified_indices(labels, SIZES["train"], generator)
    unused = torch.ones(len(labels), dtype=torch.bool)
    unused[train] = False
    rest = unused.nonzero().squeeze(1)
    validation = rest[stratified_indices(labels[rest], SIZES["validation"], generator)]
    test = stratified_indices(torch.from_numpy(source["y_test"]).long(), SIZES["test"], generator)

    arrays = {}
    for split, origin, rows in (
        ("train", "train", train),
        ("validation", "train", validation),
        ("test", "test", test),
    ):
        arrays[f"x_{split}"] = source[f"x_{origin}"][rows.numpy()]
        arrays[f"y_{split}"] = source[f"y_{origin}"][rows.numpy()].astype(np.uint8)
        arrays[f"i_{split}"] = rows.numpy().astype(np.uint16)
    return arrays


def write(path: Path, arrays: Mapping[str, np.ndarray]) -> None:
    """Write a compressed ``.npz`` whose bytes depend on the arrays alone: no date, no system."""
    with zipfile.ZipFile(path, "w") as archive:
        for name, values in arrays.items():
            member = zipfile.ZipInfo(f"{name}.npy")  # dated 1980 unless told otherwise
            member.create_system = 3
            member.compress_type = zipfile.ZIP_DEFLATED
            with archive.open(member, "w") as file:
                np.lib.format.write_array(file, np.ascontiguousarray(values), allow_pickle=False)


def main(arguments: list[str]) -> None:
    """Read the source named first, write the file named second (by default the one in the package)."""
    if len(arguments) not in (1, 2):
        sys.exit("usage: python -m onnlab.data.make_mnist_mini mnist.npz [mnist_mini.npz]")
    target = Path(arguments[1]) if len(arguments) == 2 else Path(__file__).with_name("mnist_mini.npz")
    with np.load(arguments[0]) as source:
        write(target, draw(source))


if __name__ == "__main__":
    main(sys.argv[1:])
