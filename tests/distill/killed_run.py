"""A training run that kills itself, for test_resume.py: ``python killed_run.py FILE step|write COUNT``."""

import os
import signal
import sys
from pathlib import Path

import torch
from torch import Tensor, nn

from onnlab.distill import Batch, CrossEntropy, History, fit, random_shift
from tests.distill.helpers import toy_data, toy_model

left = {"step": -1, "write": -1}  # objectives, or writes of a file, until the process dies


def cross_entropy(batch: Batch) -> Tensor:
    count_down("step")
    return CrossEntropy()(batch)


def count_down(what: str) -> None:
    left[what] -= 1
    if left[what] == 0:
        os.kill(os.getpid(), signal.SIGKILL)


def train(file: Path | None, seed: int = 0) -> tuple[nn.Module, History]:
    """Four epochs of three steps: dropout, BatchNorm, momentum, augmentation, all to be gone on with."""
    model = toy_model(seed)
    history = fit(
        model,
        toy_data(),
        cross_entropy,
        epochs=4,
        seed=5,
        batch_size=32,
        learning_rate=0.01,
        augment=random_shift,
        keep="last",
        checkpoint=file,
        progress=False,
    )
    return model, history


if __name__ == "__main__":
    torch.set_num_threads(1)
    left[sys.argv[2]] = int(sys.argv[3])
    fsync = os.fsync

    def fsync_or_die(descriptor: int) -> None:
        fsync(descriptor)
        count_down("write")

    os.fsync = fsync_or_die
    train(Path(sys.argv[1]))
