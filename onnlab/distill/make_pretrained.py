"""Make the trained networks that come with the package anew, from what ``PRETRAINED`` declares.

Usage::

    python -m onnlab.distill.make_pretrained [NAME ...]

With no name all are made, in about two minutes. Each file holds its recipe and its accuracy; the test split
is read once, after the last epoch. ``weights/SHA256SUMS`` lists the hash of every file, as ``sha256sum``
writes and checks it.
"""

import hashlib
import sys

import torch

from onnlab.distill.checkpoint import save_checkpoint, write_whole
from onnlab.distill.shipped import FOLDER, PRETRAINED, weights_file

SUMS = FOLDER / "SHA256SUMS"


def sums() -> str:
    """One line for each file: its SHA-256 and its name."""
    files = [weights_file(name) for name in PRETRAINED]
    return "".join(f"{hashlib.sha256(file.read_bytes()).hexdigest()}  {file.name}\n" for file in files)


def main(names: list[str]) -> None:
    """Train the networks that are named, or all of them, and list the hashes of all files."""
    unknown = [name for name in names if name not in PRETRAINED]
    if unknown:
        sys.exit(f"unknown name {unknown[0]}; known are {', '.join(PRETRAINED)}")
    torch.set_num_threads(1)  # the sums of another number of threads round differently
    for name in names or PRETRAINED:
        model, recipe = PRETRAINED[name].train()
        save_checkpoint(weights_file(name), model, recipe)
        print(f"{name}: epoch {recipe['epoch']}, test accuracy {recipe['test_accuracy']:.2%}")
    write_whole(SUMS, sums().encode())


if __name__ == "__main__":
    main(sys.argv[1:])
