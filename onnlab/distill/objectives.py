"""Objectives: what a training lowers. Each is a callable that turns a batch into one number."""

import hashlib
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from onnlab.data._digest import raw
from onnlab.distill.kd import check_settings, checked_logits, kd_loss
from onnlab.distill.parallel import shared


@dataclass(frozen=True, eq=False)
class Batch:
    """What an objective gets to see of one training step.

    Parameters
    ----------
    model : Module
        The network in training.
    images : Tensor
        ``(n, channels, ny, nx)``, augmented already.
    targets : Tensor
        Classes, int64 ``(n,)`` or ``(n, ny, nx)``, or probabilities of the shape of the logits.
    logits : Tensor
        ``model(images)``, computed once for all objectives.
    progress : float
        Share of the steps of the training that are done, in [0, 1).
    """

    model: nn.Module
    images: Tensor
    targets: Tensor
    logits: Tensor
    progress: float = 0.0


class Objective(ABC):
    """Base of the objectives here: they can be weighted and added, ``CrossEntropy() + 0.5 * KD(teacher)``.

    Your own needs no base: any function from a :class:`Batch` to one number is an objective, and can be
    added to these.
    """

    @abstractmethod
    def __call__(self, batch: Batch) -> Tensor:
        """Return the value on a batch, one number that has a gradient."""

    def __add__(self, other: Callable[[Batch], Tensor]) -> "Sum":
        return Sum((*_terms(self), *_terms(other)))

    def __radd__(self, other: Callable[[Batch], Tensor]) -> "Sum":
        return Sum((*_terms(other), *_terms(self)))

    def __mul__(self, weight: float) -> "Sum":
        if isinstance(weight, bool) or not isinstance(weight, (int, float)):
            return NotImplemented
        return Sum(tuple((weight * inner, term) for inner, term in _terms(self)))

    __rmul__ = __mul__


Term = tuple[float, Callable[[Batch], Tensor]]
Key = tuple[bytes, int]
REMEMBERED = 4096  # kernels of 64 images: 64 MiB


@dataclass(frozen=True)
class Sum(Objective):
    """Weighted sum of objectives, each with its weight; made by ``+`` and ``*``."""

    terms: tuple[Term, ...]

    def __call__(self, batch: Batch) -> Tensor:
        """Return the sum on a batch."""
        return torch.stack([weight * term(batch) for weight, term in self.terms]).sum()

    def __repr__(self) -> str:
        return " + ".join(f"{weight:g} * {term!r}" for weight, term in self.terms)


def _terms(objective: Callable[[Batch], Tensor]) -> tuple[Term, ...]:
    return objective.terms if isinstance(objective, Sum) else ((1.0, objective),)


@dataclass(frozen=True)
class CrossEntropy(Objective):
    r"""Learn from the labels alone: :math:`-\log \sigma(z)_y`, mean over the batch.

    Parameters
    ----------
    label_smoothing : float
        Share :math:`\epsilon`, from 0 to below 1, of each label that is spread evenly over all classes.
    """

    label_smoothing: float = 0.0

    def __post_init__(self) -> None:
        if not 0 <= self.label_smoothing < 1:
            raise ValueError(f"label_smoothing must be from 0 to below 1, got {self.label_smoothing}")

    def __call__(self, batch: Batch) -> Tensor:
        """Return the cross entropy on a batch."""
        logits = checked_logits(batch.logits, batch.targets)
        return F.cross_entropy(logits, batch.targets, label_smoothing=self.label_smoothing)


@dataclass(frozen=True)
class KD(Objective):
    """Learn from a teacher's answers to the same augmented images, and from the labels: :func:`kd_loss`.

    The teacher answers in eval mode and without gradient. Neither its weights nor its BatchNorm statistics
    change; it is moved to the device of the images.

    Parameters
    ----------
    teacher : Module
        A trained network with as many classes as the student. One of several convolutions answers faster
        after ``teacher.to(memory_format=torch.channels_last)``, whatever the layout of the student.
    temperature, alpha : float
        As in :func:`kd_loss`.
    remember : bool
        Keep the teacher's answers, and take them from memory when the same images come as a batch again:
        of use with ``fit(..., fixed_batches=True)`` and without augmentation. At most 4 096 batches are kept.
    """

    teacher: nn.Module
    temperature: float = 4.0
    alpha: float = 0.9
    remember: bool = False
    _memory: dict[Key, Tensor] = field(default_factory=dict, init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        if not isinstance(self.teacher, nn.Module):
            raise TypeError(f"teacher must be a torch.nn.Module, got {type(self.teacher).__name__}")
        check_settings(self.temperature, self.alpha)

    def __call__(self, batch: Batch) -> Tensor:
        """Return the distillation loss on a batch."""

        def ask() -> Tensor:
            with inference(self.teacher.to(batch.images.device)) as teacher:
                return shared(teacher)(batch.images)

        key = batch_key(batch.images, self.teacher) if self.remember else None
        answers = recall(self._memory, key, ask) if key else ask()
        return kd_loss(batch.logits, answers, batch.targets, self.temperature, self.alpha)

    def __repr__(self) -> str:
        return f"KD({type(self.teacher).__name__}, temperature={self.temperature}, alpha={self.alpha})"


def batch_key(images: Tensor, teacher: nn.Module) -> Key:
    """Tell a batch by its bytes, and a teacher by how often its weights have been written to.

    In-place changes count up the version of a tensor: what was known of other weights is forgotten.
    """
    versions = sum(tensor._version for tensor in (*teacher.parameters(), *teacher.buffers()))
    return hashlib.sha256(raw(images)).digest(), versions


def recall(memory: dict[Key, Tensor], key: Key, ask: Callable[[], Tensor]) -> Tensor:
    """Return what a teacher said of a batch, or ask it and remember, as long as there is room."""
    if key in memory:
        return memory[key]
    answer = ask()
    if len(memory) < REMEMBERED:
        memory[key] = answer
    return answer


@contextmanager
def eval_mode(model: nn.Module) -> Iterator[nn.Module]:
    """Hold a model in eval mode; afterwards each of its layers is in its mode again."""
    modes = [(layer, layer.training) for layer in model.modules()]
    model.eval()
    try:
        yield model
    finally:
        for layer, training in modes:
            layer.training = training


@contextmanager
def inference(model: nn.Module) -> Iterator[nn.Module]:
    """Hold a model in :func:`eval_mode`, without gradients."""
    with torch.no_grad(), eval_mode(model):
        yield model
