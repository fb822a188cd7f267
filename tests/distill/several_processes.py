"""What test_parallel.py trains with one process and with two: ``torchrun several_processes.py FOLDER``."""

import sys
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from types import MappingProxyType
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from onnlab.data import Dataset, Split
from onnlab.distill import KD, NTKD, Batch, CrossEntropy, Dice, evaluate, fit, is_first, mixup, process_group
from onnlab.distill import random_shift as shift
from onnlab.distill.parallel import agreed, meet, processes, rank
from tests.distill.helpers import toy_data, toy_split

SGD = partial(torch.optim.SGD, momentum=0.9)


def classifier(width: int = 4) -> nn.Module:
    """With BatchNorm of maps and of features; no dropout, which each process draws for itself."""
    return nn.Sequential(
        nn.Conv2d(1, width, 3, bias=False), nn.BatchNorm2d(width), nn.ReLU(), nn.Flatten(),
        nn.Linear(16 * width, 8, bias=False), nn.BatchNorm1d(8, momentum=None), nn.Linear(8, 3),
    )  # fmt: skip


def painter() -> nn.Module:
    return nn.Sequential(
        nn.Conv2d(1, 4, 3, padding=1, bias=False), nn.BatchNorm2d(4, affine=False), nn.Conv2d(4, 2, 1)
    )


def linear() -> nn.Module:
    return nn.Sequential(nn.Flatten(), nn.Linear(36, 3))


class Choosy(nn.Module):
    """Has a second matrix for bright images: a share, or a whole batch, may hold none."""

    def __init__(self) -> None:
        super().__init__()
        self.all, self.bright = nn.Linear(36, 3), nn.Linear(36, 3)

    def forward(self, x: Tensor) -> Tensor:
        rows = x.flatten(1)
        bright = (rows.mean(1) > 0.4).nonzero().flatten()
        return (
            self.all(rows).index_add(0, bright, self.bright(rows[bright])) if len(bright) else self.all(rows)
        )


def teacher() -> nn.Module:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(9)
        return classifier(width=6).double()


def digits() -> Dataset:
    return toy_data(43, 21)


def masks() -> Dataset:
    parts = [toy_split(n, n) for n in (13, 9, 5)]
    painted = [Split(part.pixels, (part.pixels[:, 0] > 0.6).long()) for part in parts]
    return Dataset("masks", *painted, ("dark", "bright"), "made here")


def in_float64(data: Dataset) -> Dataset:
    parts = [Split(part.pixels.double(), part.labels) for part in (data.train, data.validation, data.test)]
    return Dataset(data.name, *parts, data.classes, data.credit)


def root_of_squares(batch: Batch) -> Tensor:
    """No mean over the batch, and the weights enter it directly as well."""
    return batch.logits.square().sum().sqrt() + 0.1 * batch.model[0].weight.square().sum()


class Case(NamedTuple):
    objective: Callable[[], Callable[[Batch], Tensor]] = CrossEntropy
    settings: Mapping[str, Any] = MappingProxyType({})
    network: Callable[[], nn.Module] = classifier
    data: Callable[[], Dataset] = digits
    dtype: torch.dtype = torch.float64


# 43 images in steps of at most 16 are batches of 15, 14 and 14: the first does not divide by two.
CASES = {
    "labels": Case(),
    "mixed": Case(settings={"augment": partial(mixup, classes=3)}),
    "clipped": Case(settings={"clip": 0.1, "channels_last": True}),
    "answers": Case(lambda: KD(teacher(), 2.0), {"augment": shift}),
    "answers remembered": Case(lambda: KD(teacher(), remember=True), {"fixed_batches": True}),
    "kernels": Case(lambda: NTKD(teacher(), beta=3.0)),
    "answers and kernels": Case(
        lambda: KD(teacher()) + NTKD(teacher(), beta=3.0, alpha=0.0, projections=2), {"augment": shift}
    ),
    "no mean": Case(lambda: root_of_squares, {"learning_rate": 1e-3}),
    "masks": Case(lambda: CrossEntropy() + Dice(), {"batch_size": 3}, painter, masks),
    "one image a step": Case(settings={"batch_size": 1}, network=linear),
    "a weight for some images": Case(settings={"batch_size": 2}, network=Choosy),
    "float32": Case(settings={"optimiser": SGD}, dtype=torch.float32),
}


def train(name: str, checkpoint: Path | None = None) -> dict[str, Any]:
    """Return weights, history without its seconds, and the loss on the test images."""
    case = CASES[name]
    data = in_float64(case.data()) if case.dtype == torch.float64 else case.data()
    torch.manual_seed(rank())  # each process would start elsewhere: the first one counts
    model = case.network().to(case.dtype)
    settings = {"epochs": 2, "seed": 3, "batch_size": 16, "learning_rate": 1e-2, "progress": True}
    settings |= {**case.settings, "checkpoint": checkpoint}
    history = fit(model, data, case.objective(), **settings)
    rows = torch.tensor([row[:-1] for row in history.rows], dtype=torch.float64)
    return {"weights": model.state_dict(), "rows": rows, "loss": evaluate(model, data.test).loss}


def dropped() -> Tensor:
    """Return which answers to the first batch dropout made zero: the first seven are of the first process."""
    seen: list[Tensor] = []

    def watch(batch: Batch) -> Tensor:
        seen.append(batch.logits == 0)
        return CrossEntropy()(batch)

    fit(
        nn.Sequential(linear(), nn.Dropout()),
        digits(),
        watch,
        epochs=1,
        seed=0,
        batch_size=16,
        progress=False,
    )
    return seen[0]


def main(folder: Path) -> None:
    found: dict[str, Any] = {name: train(name) for name in CASES}
    found["processes"] = processes()
    found["alike"] = agreed(str(found)) == str(found)  # asked of the second process
    train("labels", folder / f"{rank()}.state")
    found["dropped"] = dropped()
    if is_first():
        torch.save(found, folder / "first.pt")
        meet()
        return
    torch.save(found["alike"], folder / "second.pt")
    meet()
    try:
        meet(seconds=1)  # the first one has gone
    except RuntimeError as error:
        (folder / "alone.txt").write_text(str(error))


if __name__ == "__main__":
    torch.set_num_threads(1)
    with process_group():
        main(Path(sys.argv[1]))
