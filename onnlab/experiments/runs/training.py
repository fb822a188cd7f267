"""The network of a run: built, trained or solved as its settings say, or read back from its file."""

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import torch
from filelock import FileLock, Timeout
from torch import nn

from onnlab.data import Dataset
from onnlab.distill import (
    KD,
    NTKD,
    CrossEntropy,
    Dice,
    History,
    Objective,
    fit,
    load_checkpoint,
    save_checkpoint,
)
from onnlab.distill.checkpoint import read_about, remove_parts
from onnlab.distill.parallel import agreed, is_first, meet
from onnlab.experiments.devices import device
from onnlab.experiments.frozen import is_frozen, seen_by_back_end
from onnlab.experiments.lines import Copy
from onnlab.experiments.parts import AUGMENTATIONS, KERNELS, NETWORKS
from onnlab.experiments.runs.images import dataset, images_of, labels_pixels, shape_of
from onnlab.experiments.settings import Row, Run
from onnlab.hardware import KernelClassifier, compensate
from onnlab.hardware.estimate import RIDGES
from onnlab.networks import HybridClassifier, linear_counterpart


@dataclass(frozen=True)
class Workspace:
    """Where runs are made, and what is written down about it.

    Parameters
    ----------
    folder : Path
        For the weights of teachers and students, and for trainings that are under way.
    device : str
        See :func:`onnlab.distill.fit`.
    data_note : str, optional
        What is unusual about the copy of the data.
    progress : str
        How standard error shows how far a training is: in ``"one line"`` that is written over, in ``"lines"``
        that name the run, or with ``""`` not at all.
    copies : frozenset of Copy
        Those that the lines at hand are about: a run with another one compares with none of them.
    """

    folder: Path
    device: str = "cpu"
    data_note: str | None = None
    progress: Literal["", "one line", "lines"] = ""
    copies: frozenset[Copy] = frozenset()


def build(row: Row, image_shape: tuple[int, int, int], classes: int) -> nn.Module:
    """Return the network of a row, with weights by torch's global generator."""
    channels, ny, nx = image_shape
    size = ny if ny == nx else (ny, nx)
    network = NETWORKS[row.network](channels=channels, classes=classes, image_size=size)
    if row.front == "nonlinear":
        return network
    rectified = row.front == "relu-in-pool"
    return linear_counterpart(network, image_shape, relu_in_pool=rectified, copy_weights=False)


def trained(
    run: Run,
    workspace: Workspace,
    images: Callable[[Run], Dataset] = images_of,
    watch: Callable[[nn.Module, Dataset], None] = lambda learner, data: None,
) -> tuple[nn.Module, History | None]:
    """Train the network of a run, and teacher and student before it if they are not in the folder.

    Of what is built, only the back end is trained. There is no history if it is left as it was built, or if
    the network is solved in closed form. The state of the training stays until its :func:`end`, so that
    another call returns at once. A rehearsal trains with fewer ``images``, and has a look at what learns from
    which data just before it starts.
    """
    row, data = run.row, images(run)
    name = f"{row.name} ({row.data}, seed {run.seed})"
    settings: dict[str, Any] = {
        "epochs": row.epochs,
        "seed": run.seed,
        "batch_size": row.batch_size,
        "learning_rate": run.trial.learning_rate,
        "augment": AUGMENTATIONS[row.augment],
        "checkpoint": under_way_file(run, workspace),
        "device": workspace.device,
        "keep": row.keep,
        "fixed_batches": _fixed_batches(row),
        "progress": name if workspace.progress == "lines" else bool(workspace.progress),
    }
    if run.student is None:
        model = fresh(run)
        if isinstance(model, KernelClassifier):
            model.learn(data, RIDGES)
            return model, None
        learner = model
        # A teacher sees the images themselves, and augmented ones are new each time.
        if is_frozen(model) and run.teacher is None and row.augment == "none":
            data, learner = seen_by_back_end(model.eval(), data, workspace.device), model.back_end
        settings["channels_last"] = channels_last(model)
        watch(learner, data)
        history = fit(learner, data, _objective(run, workspace), **settings)
        if is_first():
            write_weights(run, workspace, model, history.recipe)
            remove_parts(weights_file(run, workspace))
        meet()  # the others read that file
    else:
        assert row.process is not None
        model = device(_recalled(run.student, workspace), row.process, run.seed).to(workspace.device)
        if row.epochs == 0:
            return model, None
        theirs = images(run.student)
        fraction = len(data.train) / len(theirs.train)
        settings["channels_last"] = channels_last(model)
        watch(model, theirs)
        history = compensate(model, theirs, _objective(run, workspace), fraction, **settings)
    return model, history


def end(run: Run, workspace: Workspace) -> None:
    """Remove the state of a training: nobody has to go on with it."""
    if is_first():
        under_way_file(run, workspace).unlink(missing_ok=True)
        remove_parts(under_way_file(run, workspace))


def fresh(run: Run) -> nn.Module:
    """Return the network of a run before its training."""
    data, _ = dataset(run.row.data)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(run.seed)
        return build(run.row, shape_of(data), len(data.classes))


def channels_last(model: nn.Module) -> bool:
    """Whether a network learns faster with the channels of a pixel beside each other, as measured on a CPU.

    A single convolution in front of a pool and linear layers does not: gradients come back from these in the
    other layout, and are copied. ``tests/benchmarks/bench_training.py`` prints the ratios.
    """
    return not isinstance(model, HybridClassifier)


def _objective(run: Run, workspace: Workspace) -> Objective:
    row, trial = run.row, run.trial
    labels: Objective = CrossEntropy(trial.label_smoothing or 0.0)
    overlap = [Dice()] if labels_pixels(dataset(row.data)[0]) and row.alpha != 1 else []  # 1: no labels
    labels = sum(overlap, labels)
    if run.teacher is None:
        return labels
    # The layout of its weights is that in which a convolution works, whatever that of the images.
    teacher = _recalled(run.teacher, workspace)
    teacher.to(memory_format=torch.channels_last)  # type: ignore[call-overload]  # missing in its annotations
    answers: Objective | None = None
    if trial.temperature is not None and row.alpha is not None:
        answers = sum(overlap, KD(teacher, trial.temperature, row.alpha))
    if trial.beta is None or row.kernel is None:
        return answers or labels
    options = {**KERNELS[row.kernel], "remember": _fixed_batches(row)}
    return (answers or labels) + NTKD(teacher, trial.beta, alpha=0.0, **options)


def _fixed_batches(row: Row) -> bool:
    """Whether batches come again just as they were, so that the teacher's kernels can be kept."""
    return row.kernel is not None and "projections" not in KERNELS[row.kernel] and row.augment == "none"


def _recalled(run: Run, workspace: Workspace) -> nn.Module:
    """Return the network of a run that comes before: from its file, or trained now."""
    with alone_with(run, workspace):
        if not agreed(is_made(run, workspace)):
            trained(run, workspace)
            end(run, workspace)
    # Read back even if just trained: the layout in memory, and so the rounding, is then always the same.
    model = fresh(run)
    load_checkpoint(weights_file(run, workspace), model)
    return model


def write_weights(run: Run, workspace: Workspace, model: nn.Module, recipe: Mapping[str, Any]) -> None:
    """Write the network of a run for those that are made of it, with the hash of its data."""
    data_sha256 = dataset(run.row.data)[1]
    save_checkpoint(weights_file(run, workspace), model, {**recipe, "data_sha256": data_sha256})


def is_made(run: Run, workspace: Workspace) -> bool:
    """Whether the folder holds the network of a run, trained on this copy of its data."""
    file = weights_file(run, workspace)
    if not file.exists():
        return False
    return bool(read_about(file)["recipe"].get("data_sha256") == dataset(run.row.data)[1])


@contextmanager
def alone_with(run: Run, workspace: Workspace) -> Iterator[None]:
    """Wait until no other process, on this or another machine with the same folder, makes this run.

    Of the processes of a group, the first one holds the lock for all of them. When a process ends, however it
    ends, its lock is free again.
    """
    lock = FileLock(workspace.folder / f".{run.key}.lock")
    while not agreed(is_first() and _is_locked(lock)):  # in turns: a group waits for no message so long
        pass
    try:
        yield
    finally:
        lock.release()


def _is_locked(lock: FileLock, patience: float = 60) -> bool:
    try:
        lock.acquire(timeout=patience)
    except Timeout:
        return False
    return True


def weights_file(run: Run, workspace: Workspace) -> Path:
    """The file of a network that others are made of."""
    return workspace.folder / f"{run.key}.safetensors"


def under_way_file(run: Run, workspace: Workspace) -> Path:
    """The file of a training that goes on after an interruption."""
    return workspace.folder / f"{run.key}.state"
