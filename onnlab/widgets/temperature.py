"""The explorable of chapter 6: what a temperature does to the answers of teacher and student."""

from typing import Any

import torch
import torch.nn.functional as F
import traitlets
from torch import Tensor

from onnlab.distill import kd_loss
from onnlab.distill.kd import check_settings
from onnlab.widgets._explorable import Explorable
from onnlab.widgets._traits import Block, Rows, check_shares

EXAMPLES = ("teacher", "student", "labels", "images", "shown")


class Temperature(Explorable):
    r"""Soften the answers of a teacher and a student; see losses, gradients and their limit.

    Without arguments it shows the worked example of the chapter. What is pulled in the browser is
    :attr:`teacher` and :attr:`student` here; assign to them, and the bars follow. The numbers below belong to
    the answer :attr:`shown`.

    Parameters
    ----------
    teacher, student : Tensor, array or rows of numbers
        Logits ``(n, classes)`` of ``n`` examples; kept as float64.
    labels : sequence of int
        Right class of each example.
    images : Tensor or array
        The examples ``(n, ny, nx)``, between 0 and 1; may be left out.
    temperature : float
        :math:`T`, positive; the slider goes from 0.5 to 50.
    shown : int
        Index of the example that is shown.

    Examples
    --------
    >>> few, labels = digits.test.images[:4], digits.test.labels[:4]
    >>> Temperature(teacher=teacher(few), student=student(few), labels=labels, images=few[:, 0])
    """

    module = "temperature"

    teacher = Rows(lambda: torch.tensor([[3.0, 0.5, -1.0]], dtype=torch.float64))
    student = Rows(lambda: torch.tensor([[2.0, 1.0, 0.1]], dtype=torch.float64))
    labels = traitlets.List(traitlets.Int(), [0]).tag(sync=True)
    images = Block(lambda: torch.empty(0, 28, 28), check_shares)
    temperature = traitlets.Float(4.0).tag(sync=True)
    shown = traitlets.Int(0).tag(sync=True)

    def __init__(self, *, labels: Any = (0,), **state: Any) -> None:
        super().__init__(labels=torch.as_tensor(labels).tolist(), **state)

    @traitlets.validate("temperature")
    def _check_temperature(self, proposal: dict) -> float:
        check_settings(proposal["value"], alpha=1)
        return proposal["value"]

    @traitlets.validate(*EXAMPLES)
    def _check_examples(self, proposal: dict) -> Any:
        # One value is new; the examples must still fit together.
        new = {name: getattr(self, name) for name in EXAMPLES} | {proposal["trait"].name: proposal["value"]}
        n, classes = new["teacher"].shape
        if new["student"].shape != (n, classes):
            raise ValueError(
                f"student must have the shape {(n, classes)} of teacher, got {tuple(new['student'].shape)}; "
                "give both networks the same images"
            )
        if len(new["labels"]) != n or not all(0 <= label < classes for label in new["labels"]):
            raise ValueError(f"labels must be {n} classes from 0 to {classes - 1}, got {new['labels']}")
        if len(new["images"]) not in (0, n):
            raise ValueError(
                f"images must be {n}, one for each answer, got {len(new['images'])}; or leave them out"
            )
        if not 0 <= new["shown"] < n:
            raise ValueError(f"shown must be from 0 to {n - 1}, got {new['shown']}")
        return proposal["value"]

    def _loss(self, student: Tensor, alpha: float) -> Tensor:
        target = torch.tensor([self.labels[self.shown]])
        return kd_loss(student, self.teacher[self.shown, None], target, self.temperature, alpha)

    @property
    def shares(self) -> Tensor:
        """Softened answers of teacher and student: float64, ``(2, classes)``."""
        both = torch.stack([self.teacher[self.shown], self.student[self.shown]])
        return F.softmax(both / self.temperature, dim=1)

    @property
    def soft_loss(self) -> float:
        r""":math:`T^2\,\mathrm{KL}`, the teacher's term of :func:`~onnlab.distill.kd_loss`."""
        return self._loss(self.student[self.shown, None], alpha=1).item()

    @property
    def divergence(self) -> float:
        """KL without the factor."""
        return self.soft_loss / self.temperature**2

    @property
    def cross_entropy(self) -> float:
        """Cross entropy of the student with the label, at temperature 1."""
        return self._loss(self.student[self.shown, None], alpha=0).item()

    @property
    def gradient(self) -> Tensor:
        """Gradient of :attr:`soft_loss` with respect to the student's logits: float64, ``(classes,)``."""
        student = self.student[self.shown, None].clone().requires_grad_()
        return torch.autograd.grad(self._loss(student, alpha=1), student)[0][0]

    @property
    def limit(self) -> float:
        """Limit of :attr:`soft_loss` for high temperatures: half the mean square of centred differences."""
        difference = self.student[self.shown] - self.teacher[self.shown]
        return (difference - difference.mean()).square().mean().item() / 2
