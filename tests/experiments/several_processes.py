"""The command as test_parallel.py starts it with torchrun: ``several_processes.py FOLDER rescued|killed``."""

import os
import signal
import sys
from dataclasses import replace

import torch
from torch import Tensor, nn

from onnlab import cli
from onnlab.distill import Batch, CrossEntropy
from onnlab.distill.parallel import rank
from onnlab.experiments import Experiment, catalogue
from onnlab.experiments.runs import training
from onnlab.experiments.settings import Row
from tests.experiments.helpers import AGAIN, BUILT, HYBRID, LINEAR, TEACHER, few_images

SHORT = replace(LINEAR, learning_rates=(1e-3,))
LONG = replace(SHORT, name="long", epochs=3, batch_size=25)  # nine steps
DARK = replace(SHORT, name="dark", labels=40)
# No BatchNorm: the bias before one has no gradient but rounding errors, of which Adam makes whole steps.
LENET = replace(TEACHER, network="LeNet")
DESIGNED = replace(HYBRID, teacher=LENET, learning_rates=(1e-3,))
AS_BUILT = replace(BUILT, student=DESIGNED)
LABELS = replace(AGAIN, student=DESIGNED, learning_rates=(4e-3,))
EXPERIMENTS = {
    "rescued": Experiment("rescued", "book", (LENET, DESIGNED, AS_BUILT, LABELS, DARK)),
    "killed": Experiment("killed", "book", (SHORT, LONG)),
}
build, cross_entropy = training.build, CrossEntropy.__call__


def build_in_the_dark(row: Row, shape: tuple[int, int, int], classes: int) -> nn.Module:
    """Fail in all processes alike."""
    if row.name == "dark":
        raise RuntimeError("the light is off")
    return build(row, shape, classes)


def die_in_the_second_epoch(objective: CrossEntropy, batch: Batch) -> Tensor:
    """End the second process."""
    if batch.progress > 0.5 and rank() == 1:
        os.kill(os.getpid(), signal.SIGKILL)
    return cross_entropy(objective, batch)


def main(folder: str, what: str) -> int:
    catalogue.EXPERIMENTS["sclc"] = lambda scale: EXPERIMENTS[what]
    if what == "rescued":
        training.build = build_in_the_dark
    if what == "killed":
        CrossEntropy.__call__ = die_in_the_second_epoch
    with few_images():
        return cli.main(["reproduce", "sclc", "--seeds", "1", "--out", folder])


if __name__ == "__main__":
    torch.set_num_threads(1)
    sys.exit(main(*sys.argv[1:]))
