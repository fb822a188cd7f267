"""Knowledge distillation: the loss that compares a student's answers with a teacher's."""

import torch
import torch.nn.functional as F
from torch import Tensor

from onnlab.data import VOID
from onnlab.optics._check import finite_number, share


def kd_loss(
    student_logits: Tensor,
    teacher_logits: Tensor,
    targets: Tensor,
    temperature: float = 4.0,
    alpha: float = 0.9,
) -> Tensor:
    r"""Distillation loss of Hinton, Vinyals and Dean: soft answers of the teacher, and the labels.

    .. math::

        L = \alpha\, T^2\, \mathrm{KL}\bigl(\sigma(z_t/T) \,\|\, \sigma(z_s/T)\bigr)
            + (1-\alpha)\, \mathrm{CE}(z_s, y)

    with the softmax :math:`\sigma` over classes. Both terms are sums over classes and means over the batch
    (and over the pixels that are not void, if there are any). The factor :math:`T^2` keeps the gradient of
    the first term of the same size at every temperature; for :math:`T \to \infty` that term becomes half the
    mean over classes of the squared difference between the logits, after the mean of each has been taken
    away.

    Parameters
    ----------
    student_logits, teacher_logits : Tensor
        Floating point, both ``(n, classes)`` or ``(n, classes, ny, nx)``. Half precision is computed in
        float32. No gradient flows to the teacher.
    targets : Tensor
        Classes, int64 ``(n,)`` or ``(n, ny, nx)``, with :data:`onnlab.data.VOID` where a pixel has none; or
        probabilities of the shape of the logits, as :func:`onnlab.distill.mixup` makes them.
    temperature : float
        :math:`T > 0`. The higher, the more the unlikely classes count.
    alpha : float
        Weight of the teacher, from 0 (labels only) to 1 (teacher only).

    Returns
    -------
    Tensor
        One number.

    Raises
    ------
    TypeError
        If a tensor is of the wrong type, or a setting is not a number.
    ValueError
        If shapes do not match, a target is no class, all are void, or a setting is out of range.

    Notes
    -----
    G. Hinton, O. Vinyals, J. Dean, *Distilling the knowledge in a neural network*, arXiv:1503.02531 (2015).

    Examples
    --------
    >>> student, teacher = torch.tensor([[2.0, 1.0, 0.1]]), torch.tensor([[3.0, 0.5, -1.0]])
    >>> kd_loss(student, teacher, torch.tensor([0]), temperature=4.0, alpha=0.5)
    tensor(0.4109)
    """
    check_settings(temperature, alpha)
    student = checked_logits(student_logits, targets, "student_logits")
    teacher = checked_logits(teacher_logits, targets, "teacher_logits").detach()
    if student.shape != teacher.shape:
        raise ValueError(
            f"teacher_logits must have the shape {tuple(student.shape)} of student_logits, "
            f"got {tuple(teacher.shape)}; give both networks the same images and classes"
        )
    log_student = F.log_softmax(student / temperature, dim=1)
    log_teacher = F.log_softmax(teacher / temperature, dim=1)
    # Not reduction="mean": that divides by the number of classes too.
    divergence = F.kl_div(log_student, log_teacher, reduction="none", log_target=True).sum(dim=1)
    if not targets.is_floating_point():
        divergence = divergence[counted(targets)]
    soft = temperature**2 * divergence.mean()
    return alpha * soft + (1 - alpha) * F.cross_entropy(student, targets)


def check_settings(temperature: float, alpha: float) -> None:
    """Raise unless the temperature is positive and ``alpha`` between 0 and 1."""
    if finite_number("temperature", temperature) <= 0:
        raise ValueError(f"temperature must be positive, got {temperature}; 2 to 10 is usual")
    share("alpha", alpha)


def checked_logits(logits: Tensor, targets: Tensor, name: str = "logits") -> Tensor:
    """Return logits that fit the targets, in float32 or better; raise if they do not."""
    if not isinstance(logits, Tensor) or not logits.is_floating_point():
        got = logits.dtype if isinstance(logits, Tensor) else type(logits).__name__
        raise TypeError(f"{name} must be a floating-point tensor, got {got}; take the output of the network")
    if logits.ndim not in (2, 4):
        raise ValueError(
            f"{name} must have shape (n, classes) or (n, classes, ny, nx), got {tuple(logits.shape)}; "
            "keep the axis of the batch, and end a classifier with a linear layer"
        )
    _check_targets(targets, logits)
    return logits if logits.dtype == torch.float64 else logits.float()


def counted(targets: Tensor) -> Tensor:
    """Return where targets are not void; raise if they all are, for a mean over nothing is no number."""
    valid = targets != VOID
    if not valid.any():
        raise ValueError(
            "targets must name a class somewhere, got VOID only; leave such images out, or use larger batches"
        )
    return valid


def _check_targets(targets: Tensor, logits: Tensor) -> None:
    if not isinstance(targets, Tensor):
        raise TypeError(f"targets must be a tensor, got {type(targets).__name__}; use torch.tensor(targets)")
    classes = logits.shape[1]
    one_each = (logits.shape[0], *logits.shape[2:])
    if targets.is_floating_point():
        if targets.shape != logits.shape:
            raise ValueError(
                f"targets must have shape {tuple(logits.shape)} if they are probabilities, "
                f"got {tuple(targets.shape)}; use targets.long() if they are classes"
            )
    elif targets.dtype != torch.int64:
        raise TypeError(f"targets must be int64 classes, got {targets.dtype}; use targets.long()")
    elif targets.shape != one_each:
        raise ValueError(
            f"targets must have shape {one_each}, one class for each answer, got {tuple(targets.shape)}; "
            "take images and labels from the same batch"
        )
    elif ((targets < 0) | (targets >= classes)).logical_and(targets != VOID).any():
        raise ValueError(
            f"targets must be from 0 to {classes - 1}, the classes of the network, or VOID, got "
            f"{targets.min().item()} to {targets.max().item()}; give the network as many outputs as classes"
        )
