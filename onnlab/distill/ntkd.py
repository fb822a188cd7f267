"""Kernel distillation: learn which images a teacher holds to be alike."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import torch
import torch.nn.functional as F
from torch import Generator, Tensor, nn

from onnlab.distill.kd import checked_logits
from onnlab.distill.ntk import ntk
from onnlab.distill.objectives import Batch, Key, Objective, batch_key, eval_mode, recall
from onnlab.optics._check import not_negative, one_of, share, whole_number

NORMALISATIONS = ("frobenius", "trace", None)
DISTANCES = ("mse", "alignment")
Parameters = Sequence[str] | Mapping[str, float] | None


def ntkd_loss(
    K_student: Tensor,
    K_teacher: Tensor,
    normalise: str | None = "frobenius",
    centre: bool = True,
    distance: str = "mse",
) -> Tensor:
    r"""Return the distance between two tangent kernels.

    .. math:: D = \lVert \hat K_s - \hat K_t \rVert_F^2 \quad\text{("mse")}, \qquad D = 1 -
        \frac{\langle K_s, K_t\rangle}{\lVert K_s\rVert_F \lVert K_t\rVert_F} \quad\text{("alignment")}

    where a hat stands for the kernel over its Frobenius norm, or over its trace. Both are sums over all pairs
    of images, not means, so that :math:`D` of two unit kernels is between 0 and 4 whatever the batch;
    without normalisation it is the mean over the pairs. A kernel that is zero, such as the centred one of a
    network that answers all images alike, stays zero.

    With centring, :math:`HKH` takes the place of :math:`K`, where :math:`H = I - \frac1n 11^T`.

    Parameters
    ----------
    K_student, K_teacher : Tensor
        Kernels ``(n, n)`` of the same images. The teacher's gets no gradient.
    normalise : {"frobenius", "trace", None}
        What each kernel is divided by for "mse". Kernels of two networks differ by orders of magnitude:
        without normalisation (None) their scale is nearly all that is compared.
    centre : bool
        Take off what all images have in common.
    distance : {"mse", "alignment"}
        The squared difference, or one minus the cosine. With Frobenius norms the first is twice the second.

    Returns
    -------
    Tensor
        One number.

    Raises
    ------
    TypeError, ValueError
        If the kernels are no square matrices of one size, of one image and to be centred, or an option is
        unknown.

    Notes
    -----
    Source: Xiang et al. (2025), arXiv:2508.08421, who leave normalisation and centring open. Centring and
    alignment: Cortes, Mohri & Rostamizadeh (2012), arXiv:1203.0550.
    """
    _check_options(normalise, distance)
    for name, kernel in (("K_student", K_student), ("K_teacher", K_teacher)):
        if not isinstance(kernel, Tensor) or not kernel.is_floating_point():
            raise TypeError(f"{name} must be a float tensor, got {type(kernel).__name__}; use ntk(model, x)")
        if kernel.ndim != 2 or kernel.shape[0] != kernel.shape[1] or kernel.shape != K_student.shape:
            raise ValueError(
                f"{name} must be (n, n) like the other one, got {tuple(kernel.shape)} beside "
                f"{tuple(K_student.shape)}; take both on the same images"
            )
    student, teacher = K_student, K_teacher.detach()
    if centre:
        if len(student) == 1:
            raise ValueError(
                "K_student must be of two images or more to be centred, which takes off what they have in "
                "common, got (1, 1); use larger batches, or centre=False"
            )
        student, teacher = _centred(student), _centred(teacher)
    if distance == "alignment":
        return 1 - F.cosine_similarity(student.flatten(), teacher.flatten(), dim=0, eps=1e-30)
    if normalise is None:
        return F.mse_loss(student, teacher)
    return (_scaled(student, normalise) - _scaled(teacher, normalise)).square().sum()


@dataclass(frozen=True)
class NTKD(Objective):
    r"""Learn the teacher's tangent kernel, and the labels.

    .. math:: L = \alpha\,\mathrm{CE}(z_s, y) + \beta\, D(K_s, K_t)

    with :math:`D` of :func:`ntkd_loss`. The kernels are those of the batch, of both networks in eval mode: a
    student's BatchNorm then uses its running statistics. The teacher gets no gradient and does not change; it
    is moved to the device of the images. To add kernels to distillation, count the labels once:
    ``KD(teacher) + NTKD(teacher, beta=1.0, alpha=0.0)``.

    Parameters
    ----------
    teacher : Module
        A trained network, which may be frozen.
    beta : float
        Weight of the kernels.
    alpha : float
        Weight of the cross entropy with the labels.
    normalise, centre, distance
        As in :func:`ntkd_loss`.
    projections : int, optional
        As in :func:`ntk`; student and teacher share the directions, so both need as many outputs.
    parameters, teacher_parameters : sequence or mapping, optional
        The parameters that enter the kernel of the student, and of the teacher, as in :func:`ntk`; if not
        given, those of the student that require a gradient, and all of the teacher.
    warm_up : float
        Share of the training over which :math:`\beta` grows from 0, from 0 to 1.
    remember : bool
        Keep the teacher's kernels, and take them from memory when the same images come as a batch again:
        of use with ``fit(..., fixed_batches=True)`` and without augmentation. At most 4 096 are kept.

    Raises
    ------
    TypeError, ValueError
        If an argument is of another kind or out of range.

    Notes
    -----
    Source: Xiang et al. (2025), arXiv:2508.08421, section on training.
    """

    teacher: nn.Module
    beta: float = 1.0
    alpha: float = 1.0
    normalise: str | None = "frobenius"
    centre: bool = True
    distance: str = "mse"
    projections: int | None = None
    parameters: Parameters = None
    teacher_parameters: Parameters = None
    warm_up: float = 0.0
    remember: bool = False
    _memory: dict[Key, Tensor] = field(default_factory=dict, init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        if not isinstance(self.teacher, nn.Module):
            raise TypeError(f"teacher must be a torch.nn.Module, got {type(self.teacher).__name__}")
        if not any(True for _ in self.teacher.parameters()):
            raise ValueError("teacher must have parameters, for its kernel is made of them, got none")
        not_negative("beta", self.beta)
        not_negative("alpha", self.alpha)
        share("warm_up", self.warm_up)
        if self.projections is not None:
            whole_number("projections", self.projections)
        _check_options(self.normalise, self.distance)

    def __call__(self, batch: Batch) -> Tensor:
        """Return the objective on a batch."""
        beta = self.beta * min(1.0, batch.progress / self.warm_up) if self.warm_up else self.beta
        logits = checked_logits(batch.logits, batch.targets)
        loss = self.alpha * F.cross_entropy(logits, batch.targets) if self.alpha else logits.new_zeros(())
        key = batch_key(batch.images, self.teacher) if self.remember or self.projections else None

        def ask() -> Tensor:
            names = self.teacher_parameters or [name for name, _ in self.teacher.named_parameters()]
            with torch.no_grad(), eval_mode(self.teacher.to(batch.images.device)) as teacher:
                if self.projections:
                    _check_outputs(logits[:1].numel(), teacher(batch.images[:1]).numel())
                return self._kernel(teacher, batch.images, names, key)

        teacher_kernel = recall(self._memory, key, ask) if self.remember and key else ask()
        with eval_mode(batch.model) as student:
            kernel = self._kernel(student, batch.images, self.parameters, key)
        return loss + beta * ntkd_loss(kernel, teacher_kernel, self.normalise, self.centre, self.distance)

    def _kernel(self, model: nn.Module, images: Tensor, parameters: Parameters, key: Key | None) -> Tensor:
        # The directions follow from the images: both networks get the same ones, and so does a run that
        # goes on after an interruption.
        generator = Generator().manual_seed(int.from_bytes(key[0][:7])) if key and self.projections else None
        return ntk(model, images, parameters=parameters, projections=self.projections, generator=generator)

    def __repr__(self) -> str:
        shown = {
            name: getattr(self, name)
            for name, entry in self.__dataclass_fields__.items()
            if name not in ("teacher", "_memory") and getattr(self, name) != entry.default
        }
        settings = "".join(f", {name}={value!r}" for name, value in shown.items())
        return f"NTKD({type(self.teacher).__name__}{settings})"


def _centred(kernel: Tensor) -> Tensor:
    return kernel - kernel.mean(0) - kernel.mean(1, keepdim=True) + kernel.mean()


def _scaled(kernel: Tensor, normalise: str) -> Tensor:
    size = torch.linalg.matrix_norm(kernel) if normalise == "frobenius" else torch.trace(kernel)
    return kernel / torch.where(size == 0, 1.0, size)


def _check_outputs(student: int, teacher: int) -> None:
    if student != teacher:
        raise ValueError(
            f"projections must be None for a student of {student} outputs and a teacher of {teacher}: they "
            "have no random directions in common"
        )


def _check_options(normalise: str | None, distance: str) -> None:
    if normalise not in NORMALISATIONS:
        raise ValueError(f"normalise must be one of {NORMALISATIONS}, got {normalise!r}")
    one_of("distance", distance, DISTANCES)
