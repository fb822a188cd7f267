"""How long the runs of a row take, from a few batches: nothing is invented that was not timed."""

import math
import os
import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from itertools import pairwise
from pathlib import Path
from tempfile import TemporaryDirectory

import torch
from torch import Tensor, nn
from torch.nn.functional import one_hot

from onnlab.data import Dataset, Split
from onnlab.distill import History
from onnlab.experiments.runs.images import dataset, images_of
from onnlab.experiments.runs.scoring import AT_ONCE, pictures_of, scores
from onnlab.experiments.runs.training import Workspace, end, fresh, trained, weights_file, write_weights
from onnlab.experiments.settings import Row, Run, any_run
from onnlab.hardware import KernelClassifier, kernel_ridge
from onnlab.hardware.estimate import RIDGES
from onnlab.networks import HybridClassifier

Clock = Callable[[], float]
Parts = dict[str, float]
"""What the seconds of a run are made of, by name."""

BATCHES = 8
"""Batches of an epoch that are enough."""
ENOUGH = 5.0
"""Seconds of computing after which no more batches are asked for."""


def parts_of(row: Row, device: str = "cpu", clock: Clock | None = None, enough: float = ENOUGH) -> Parts:
    r"""Return the seconds of a whole run of a row by their parts, extrapolated from a few batches.

    The row is trained for two epochs on a few batches, with all else as in its runs; teacher and student have
    fresh weights. With the median seconds of a step :math:`s`, of :math:`S` steps, of a validation image
    :math:`v`, of :math:`V` images, and of :math:`E` epochs, training takes

    .. math:: S s_1 + V v_1 + (E - 1) (S s_2 + V v_2)

    where 1 is the first epoch, without its first step, and 2 the second. They differ where the first one
    fills a memory: with the pictures of a device, or a teacher's kernels.

    Parameters
    ----------
    row : Row
        What is rehearsed. Its data set is fetched if it is not there.
    device : str
        See :func:`onnlab.distill.fit`.
    clock : callable, optional
        Tells seconds. Left out, it is the computing time of this process where the device is the processor:
        other work on the machine then hardly counts.
    enough : float
        Seconds after which one batch for each epoch has to do.

    Returns
    -------
    dict
        ``"readings"``: images that frozen optics read once, before the training. ``"first epoch"`` and
        ``"later epochs"``, each with its validation. ``"saving"``: the state, after each epoch.
        ``"learning"``: a network that is solved in closed form. ``"scoring"``: answers to validation and
        test images at the end, for a device with the pictures that it takes; rows that learn again find these
        taken.

    Raises
    ------
    MemoryError
        If readings that are kept would be larger than the memory of this machine.
    """
    clock = clock or (time.process_time if torch.device(device).type == "cpu" else time.perf_counter)
    torch.set_num_threads(1)  # as in a run
    run = any_run(row)
    model = fresh(run)
    if isinstance(model, KernelClassifier):
        return _solved_parts(model, images_of(run), clock, enough)
    with TemporaryDirectory() as folder:
        workspace = Workspace(Path(folder), device)
        for other in (run.teacher, run.student):
            if other is not None:
                write_weights(other, workspace, fresh(other), {})
        if row.epochs == 0:
            built, _ = trained(run, workspace)
            return {"scoring": _scoring(run, built, None, workspace, clock)}
        found = _rehearsed(run, workspace, 1, clock)
        batches = min(BATCHES, int(enough / max(found.seconds, 1e-9)))
        if batches > 1:
            found = _rehearsed(run, workspace, batches, clock)
        return _extrapolated(run, found)


@dataclass
class Epoch:
    """When the steps of an epoch began, and when its validation began and ended."""

    steps: list[float] = field(default_factory=list)
    validation: list[float] = field(default_factory=list)

    @property
    def step(self) -> float:
        """Seconds of a step: the median."""
        marks = [*self.steps, self.validation[0]]
        return statistics.median(after - before for before, after in pairwise(marks))

    @property
    def check(self) -> float:
        """Seconds of the validation."""
        return self.validation[-1] - self.validation[0]


@dataclass
class Watch:
    """Looks at a network while it is trained: notes when each step, and each validation, began and ended."""

    clock: Clock
    ready: float = math.nan
    data: Dataset | None = None
    epochs: list[Epoch] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.handles: list[torch.utils.hooks.RemovableHandle] = []

    def __call__(self, learner: nn.Module, data: Dataset) -> None:
        """Look at a network that is about to be trained with these data."""
        self.ready, self.data = self.clock(), data
        self.handles = [
            learner.register_forward_pre_hook(self._before),
            learner.register_forward_hook(self._after),
        ]

    def close(self) -> None:
        """Look away."""
        for handle in self.handles:
            handle.remove()

    def _before(self, learner: nn.Module, inputs: tuple[Tensor, ...]) -> None:
        if learner.training:
            if not self.epochs or self.epochs[-1].validation:
                self.epochs.append(Epoch())
            self.epochs[-1].steps.append(self.clock())
        elif not torch.is_grad_enabled():  # an objective may ask in eval mode, too, but for gradients
            self.epochs[-1].validation.append(self.clock())

    def _after(self, learner: nn.Module, inputs: tuple[Tensor, ...], output: Tensor) -> None:
        if not learner.training and not torch.is_grad_enabled():
            self.epochs[-1].validation.append(self.clock())


@dataclass(frozen=True)
class Rehearsed:
    """What two epochs on a few batches came to, in seconds.

    Parameters
    ----------
    seconds : float
        Of all.
    first, later : float
        Of a step in each epoch.
    first_check, later_check : float
        Of the validation in each epoch, for one image.
    saving : float
        Between the two epochs.
    reading : float
        Of an image that is read before the training; 0 if none is.
    scoring : float
        Of the answers to all validation and test images.
    """

    seconds: float
    first: float
    later: float
    first_check: float
    later_check: float
    saving: float
    reading: float
    scoring: float


def _rehearsed(run: Run, workspace: Workspace, batches: int, clock: Clock) -> Rehearsed:
    short = replace(run, row=replace(run.row, epochs=2))
    real = images_of(run)
    each = len(real.train) / math.ceil(len(real.train) / run.row.batch_size)
    count = min(round(batches * each), len(real.train))
    watch = Watch(clock)

    def few(one: Run) -> Dataset:
        return _cut(images_of(one), count, count)

    start = clock()
    try:
        model, history = trained(short, workspace, few, watch)
    finally:
        watch.close()
        weights_file(short, workspace).unlink(missing_ok=True)
        end(short, workspace)
    stop = clock()
    assert watch.data is not None
    held, shown = watch.data, few(run)
    images = len(shown.train) + len(shown.validation)
    reading = 0.0
    if held.train.pixels.shape[1:] != shown.train.pixels.shape[1:]:
        reading = (watch.ready - start) / images
        size = held.train.pixels[0].numel() * held.train.pixels.element_size()
        _check_memory(size * (len(real.train) + len(real.validation)))
    one, two = watch.epochs
    first = Epoch(one.steps[1:] or one.steps, one.validation)  # the first step of all warms up
    return Rehearsed(
        stop - start, first.step, two.step, one.check / len(shown.validation),
        two.check / len(shown.validation), two.steps[0] - one.validation[-1], reading,
        _scoring(short, model, history, workspace, clock),
    )  # fmt: skip


def _cut(data: Dataset, train: int, validation: int) -> Dataset:
    """Return a part of a data set, with as large a share of its test as of its validation images."""
    validation = min(validation, len(data.validation))
    test = max(1, round(validation * len(data.test) / len(data.validation)))
    return replace(
        data,
        train=_head(data.train, train),
        validation=_head(data.validation, validation),
        test=_head(data.test, test),
    )


def _head(split: Split, count: int) -> Split:
    return Split(split.pixels[:count], split.labels[:count])


def _extrapolated(run: Run, found: Rehearsed) -> Parts:
    """Return the parts of a training from what a few batches took."""
    data, epochs = images_of(run), run.row.epochs
    steps = math.ceil(len(data.train) / run.row.batch_size)
    checked, read = len(data.validation), len(data.train) + len(data.validation)
    if run.student is not None:  # as large a share of the validation images as of the others
        checked = max(1, round(checked * len(data.train) / len(images_of(run.student).train)))
    return {
        **({"readings": found.reading * read} if found.reading else {}),
        "first epoch": steps * found.first + checked * found.first_check,
        "later epochs": (epochs - 1) * (steps * found.later + checked * found.later_check),
        "saving": epochs * found.saving,
        "scoring": found.scoring,
    }


def _scoring(
    run: Run, model: nn.Module, history: History | None, workspace: Workspace, clock: Clock
) -> float:
    """Return the seconds of the answers to all validation and test images, from those to a few."""
    real, size = dataset(run.row.data)[0], run.row.batch_size
    shown = _cut(real, size, size)
    pictures_of.cache_clear()
    if run.student is not None and run.row.epochs and isinstance(model, HybridClassifier):
        # The run of the device as built has these pictures taken.
        scores(run, model, history, shown, workspace.device)
    start = clock()
    scores(run, model, history, shown, workspace.device)
    return (clock() - start) * len(real.validation) / len(shown.validation)


def _solved_parts(model: KernelClassifier, data: Dataset, clock: Clock, enough: float) -> Parts:
    r"""Return the parts of a run in closed form.

    The maps of :math:`n` images take :math:`a\,n` seconds. A kernel of :math:`n` and :math:`m` of them takes
    :math:`r (n + m) + p\, n m` seconds: it reads them and compares pairs. Two sizes tell these numbers. The
    regression itself is made at its real size.
    """

    def seconds(action: Callable[[], Tensor]) -> float:
        start = clock()
        action()
        return clock() - start

    def measured(count: int) -> tuple[float, float]:
        images = _head(data.train, count).images
        maps = model.maps(images)
        return seconds(lambda: model.maps(images)), seconds(lambda: model.kernel(maps, maps))

    n, checked = len(data.train), len(data.validation)
    count = min(8, n // 2)
    measured(count)  # warms up
    (_, small), (mapping, large) = measured(count), measured(2 * count)
    while mapping + large < enough / 10 and 4 * count <= n:
        count *= 2
        small, (mapping, large) = large, measured(2 * count)
    mapping /= 2 * count
    pair = max(0.0, (large - 2 * small) / (2 * count**2))
    reading = max(0.0, (4 * small - large) / (4 * count))

    def compared(m: int) -> float:
        return mapping * m + reading * (n + m) + pair * n * m

    def regression() -> float:
        features = torch.randn(n + checked, n, generator=torch.Generator().manual_seed(0))
        gram, cross = features[:n] @ features[:n].T, features[n:] @ features[:n].T
        targets = one_hot(data.train.labels, model.classes)
        return seconds(lambda: kernel_ridge(gram, targets, cross, RIDGES))

    chunks = [min(AT_ONCE, len(data.test) - k) for k in range(0, len(data.test), AT_ONCE)]
    return {
        "learning": compared(n) + compared(checked) + regression(),
        "scoring": math.fsum(map(compared, chunks)),
    }


def _check_memory(needed: int) -> None:
    """Raise if this machine has less memory than so many bytes. Not every system tells."""
    try:
        there = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    except (AttributeError, ValueError, OSError):
        return
    if needed > there:
        raise MemoryError(
            f"the readings of all images take {needed / 2**30:.1f} GiB, and this machine has "
            f"{there / 2**30:.1f}"
        )
