"""The distillation loss against fixed values, SciPy, its limit, and finite differences."""

import math

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from scipy.special import log_softmax, rel_entr, softmax

from onnlab.distill import kd_loss

STUDENT = torch.tensor([[2, 1, 0.1], [0.5, -1, 3], [1, 1, 1]], dtype=torch.float64)
TEACHER = torch.tensor([[3, 0.5, -1], [1, -2, 2], [0, 2, -2]], dtype=torch.float64)
LABELS = torch.tensor([0, 2, 1])


def random_logits(*shape: int, seed: int = 0, scale: float = 3.0) -> torch.Tensor:
    generator = torch.Generator().manual_seed(seed)
    return scale * torch.randn(*shape, generator=generator, dtype=torch.float64)


@pytest.mark.parametrize(
    ("temperature", "expected"),
    [(1, 0.3330857627), (2, 0.5481643092), (4, 0.6365214497), (20, 0.6603003847)],
)
def test_fixed_values_of_the_soft_term(temperature, expected):
    assert kd_loss(STUDENT, TEACHER, LABELS, temperature, alpha=1.0).item() == pytest.approx(
        expected, abs=1e-10
    )


def test_fixed_value_of_the_hard_term():
    assert kd_loss(STUDENT, TEACHER, LABELS, alpha=0.0).item() == pytest.approx(0.5371055448, abs=1e-10)


@pytest.mark.parametrize("temperature", [0.5, 1.0, 4.0, 50.0])
@pytest.mark.parametrize("alpha", [0.0, 0.3, 1.0])
def test_agrees_with_scipy(temperature, alpha):
    student, teacher = random_logits(16, 10), random_logits(16, 10, seed=1)
    labels = torch.arange(16) % 10
    p, q = (softmax(z.numpy() / temperature, axis=1) for z in (teacher, student))
    soft = temperature**2 * rel_entr(p, q).sum(axis=1).mean()
    hard = -log_softmax(student.numpy(), axis=1)[np.arange(16), labels.numpy()].mean()
    loss = kd_loss(student, teacher, labels, temperature, alpha)
    assert loss.item() == pytest.approx(alpha * soft + (1 - alpha) * hard, rel=1e-12)


def test_hot_limit_is_half_the_squared_distance_of_centred_logits():
    student, teacher = random_logits(8, 5), random_logits(8, 5, seed=1)
    centred = [z - z.mean(dim=1, keepdim=True) for z in (student, teacher)]
    limit = 0.5 * F.mse_loss(*centred).item()
    errors = [
        abs(kd_loss(student, teacher, torch.zeros(8).long(), t, alpha=1.0).item() / limit - 1)
        for t in (1e3, 1e4)
    ]
    assert errors[1] < 1e-3
    assert errors[0] / errors[1] == pytest.approx(10, rel=0.1)  # the next term of the series is 1 / T


@pytest.mark.parametrize("temperature", [0.5, 4.0])
def test_gradient_by_finite_differences(temperature):
    student = random_logits(4, 3).requires_grad_()
    teacher = random_logits(4, 3, seed=1)
    assert torch.autograd.gradcheck(
        lambda z: kd_loss(z, teacher, torch.tensor([0, 2, 1, 1]), temperature, 0.7), student
    )


def test_gradient_by_its_formula():
    student, teacher, t, alpha = STUDENT.clone().requires_grad_(), TEACHER, 4.0, 0.9
    kd_loss(student, teacher, LABELS, t, alpha).backward()
    z = student.detach()
    soft = t * (torch.softmax(z / t, 1) - torch.softmax(teacher / t, 1))
    hard = torch.softmax(z, 1) - F.one_hot(LABELS, 3)
    torch.testing.assert_close(student.grad, (alpha * soft + (1 - alpha) * hard) / 3)


def test_no_gradient_to_the_teacher():
    student, teacher = STUDENT.clone().requires_grad_(), TEACHER.clone().requires_grad_()
    kd_loss(student, teacher, LABELS).backward()
    assert teacher.grad is None and student.grad is not None


@pytest.mark.parametrize("temperature", [0.5, 50.0])
@pytest.mark.parametrize("scale", [3.0, 200.0])  # 200: the softmax of most classes is zero in float32
def test_half_precision_is_computed_in_single(temperature, scale):
    student, teacher = (random_logits(32, 10, seed=seed, scale=scale).bfloat16() for seed in (0, 1))
    labels = torch.arange(32) % 10
    exact = kd_loss(student.double(), teacher.double(), labels, temperature, 0.9)
    student.requires_grad_()
    loss = kd_loss(student, teacher, labels, temperature, 0.9)
    loss.backward()
    assert loss.dtype == torch.float32
    assert loss.item() == pytest.approx(exact.item(), rel=1e-3)
    assert student.grad.dtype == torch.bfloat16 and torch.isfinite(student.grad).all()


def test_a_batch_twice_over_has_the_same_loss():
    twice = [torch.cat([x, x]) for x in (STUDENT, TEACHER, LABELS)]
    torch.testing.assert_close(kd_loss(*twice), kd_loss(STUDENT, TEACHER, LABELS))


def test_pixels_count_like_images():
    student, teacher = random_logits(2, 4, 3, 5), random_logits(2, 4, 3, 5, seed=1)
    labels = torch.arange(30).reshape(2, 3, 5) % 4
    flat = [z.movedim(1, -1).reshape(30, 4) for z in (student, teacher)]
    torch.testing.assert_close(kd_loss(student, teacher, labels), kd_loss(*flat, labels.reshape(30)))


def test_probabilities_as_targets():
    sure = F.one_hot(LABELS, 3).double()
    torch.testing.assert_close(kd_loss(STUDENT, TEACHER, sure), kd_loss(STUDENT, TEACHER, LABELS))
    other = F.one_hot(LABELS.flip(0), 3).double()
    mixed = kd_loss(STUDENT, TEACHER, 0.25 * sure + 0.75 * other)  # linear in the targets
    parts = 0.25 * kd_loss(STUDENT, TEACHER, sure) + 0.75 * kd_loss(STUDENT, TEACHER, other)
    torch.testing.assert_close(mixed, parts)


def test_settings_may_come_from_numpy():
    loss = kd_loss(STUDENT, TEACHER, LABELS, temperature=np.float32(4), alpha=np.float32(0.5))
    torch.testing.assert_close(loss, kd_loss(STUDENT, TEACHER, LABELS, temperature=4.0, alpha=0.5))


@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        ({"student_logits": [[1.0]]}, TypeError, "student_logits must be a floating-point tensor, got list"),
        ({"student_logits": torch.ones(3, 3).long()}, TypeError, "student_logits must be a floating-point"),
        ({"student_logits": torch.ones(3)}, ValueError, r"student_logits must have shape \(n, classes\) or"),
        ({"teacher_logits": torch.ones(3, 4)}, ValueError, r"teacher_logits must have the shape \(3, 3\)"),
        ({"targets": [0, 1, 2]}, TypeError, "targets must be a tensor, got list"),
        ({"targets": torch.tensor([0, 2, 3])}, ValueError, "targets must be from 0 to 2.*got 0 to 3"),
        ({"targets": torch.tensor([0, 2, -1])}, ValueError, "targets must be from 0 to 2.*got -1 to 2"),
        ({"targets": torch.tensor([0, 2])}, ValueError, r"targets must have shape \(3,\)"),
        ({"targets": LABELS.int()}, TypeError, "targets must be int64 classes, got torch.int32"),
        ({"targets": LABELS.double()}, ValueError, r"targets must have shape \(3, 3\) if they are prob"),
        ({"temperature": 0.0}, ValueError, "temperature must be positive, got 0.0"),
        ({"temperature": math.inf}, ValueError, "temperature must be finite, got inf"),
        ({"temperature": "hot"}, TypeError, "temperature must be one real number, got 'hot'"),
        ({"alpha": 1.1}, ValueError, "alpha must be from 0 to 1, got 1.1"),
        ({"alpha": math.nan}, ValueError, "alpha must be finite"),
    ],
)
def test_errors_name_the_argument(change, error, message):
    arguments = {"student_logits": STUDENT, "teacher_logits": TEACHER, "targets": LABELS, **change}
    with pytest.raises(error, match=message):
        kd_loss(**arguments)
