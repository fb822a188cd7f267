"""Kernel distillation: the loss by hand and by NumPy, and an objective that reaches what it says."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import nn

from onnlab.distill import KD, NTKD, CrossEntropy, fit, ntk, ntkd_loss
from onnlab.distill.objectives import Batch
from tests.distill.helpers import same_weights, toy_data, toy_model

TEACHER = 100 * torch.tensor([[6.0, 5, 1], [5, 6, 1], [1, 1, 10]], dtype=torch.float64)
STUDENT = torch.tensor([[2.0, 1, 1], [1, 2, 1], [1, 1, 2]], dtype=torch.float64)


def network(seed: int = 0, hidden: int = 8) -> nn.Sequential:
    torch.manual_seed(seed)
    return nn.Sequential(nn.Flatten(), nn.Linear(36, hidden), nn.Tanh(), nn.Linear(hidden, 3))


def batch(model: nn.Module, n: int = 12, progress: float = 0.0) -> Batch:
    images, targets = toy_data().train[:n]
    return Batch(model, images, targets, model(images), progress)


def test_three_images_by_hand() -> None:
    # Centred, the kernels are 100 [[2, 1, -3], [1, 2, -3], [-3, -3, 6]] and 1 - 1/3.
    cosine = 10 / (np.sqrt(2) * np.sqrt(82))
    assert ntkd_loss(STUDENT, TEACHER, distance="alignment").item() == pytest.approx(1 - cosine)
    assert ntkd_loss(STUDENT, TEACHER).item() == pytest.approx(2 - 2 * cosine)
    plain = 58 / (np.sqrt(18) * np.sqrt(226))
    assert ntkd_loss(STUDENT, TEACHER, centre=False).item() == pytest.approx(2 - 2 * plain)
    by_trace = (STUDENT / 6 - TEACHER / 2200).square().sum()
    assert ntkd_loss(STUDENT, TEACHER, "trace", centre=False).item() == pytest.approx(by_trace.item())
    raw = (STUDENT - TEACHER).square().mean()
    assert ntkd_loss(STUDENT, TEACHER, None, centre=False).item() == pytest.approx(raw.item())


@pytest.mark.parametrize("normalise", ["frobenius", "trace", None])
@pytest.mark.parametrize("centre", [True, False])
def test_against_numpy(normalise: str | None, centre: bool) -> None:
    a, b = np.random.default_rng(0).normal(size=(2, 6, 9))
    a, b = a @ a.T, 50 * b @ b.T
    h = np.eye(6) - 1 / 6 if centre else np.eye(6)
    s, t = h @ a @ h, h @ b @ h
    size = {"frobenius": np.linalg.norm, "trace": np.trace, None: lambda m: 1.0}[normalise]
    difference = np.square(s / size(s) - t / size(t))
    expected = difference.mean() if normalise is None else difference.sum()
    got = ntkd_loss(torch.tensor(a), torch.tensor(b), normalise, centre)
    assert got.item() == pytest.approx(expected)


def test_scale_does_not_count_where_it_is_divided_out() -> None:
    for options in ({}, {"normalise": "trace"}, {"distance": "alignment"}):
        values = [ntkd_loss(scale * STUDENT, TEACHER, **options) for scale in (1e-3, 1.0, 1e5)]
        torch.testing.assert_close(torch.stack(values), values[0].expand(3))
        assert ntkd_loss(7 * TEACHER, TEACHER, **options).abs() < 1e-12
    assert ntkd_loss(7 * TEACHER, TEACHER, None) > 1


@pytest.mark.parametrize("normalise", ["frobenius", "trace", None])
@pytest.mark.parametrize("distance", ["mse", "alignment"])
def test_the_gradient_is_that_of_finite_differences(normalise: str | None, distance: str) -> None:
    student = (STUDENT + 0.1 * torch.arange(9.0, dtype=torch.float64).reshape(3, 3)).requires_grad_()
    assert torch.autograd.gradcheck(lambda k: ntkd_loss(k, TEACHER, normalise, True, distance), (student,))


def test_the_teacher_gets_no_gradient() -> None:
    teacher = TEACHER.clone().requires_grad_()
    ntkd_loss(STUDENT.clone().requires_grad_(), teacher).backward()
    assert teacher.grad is None


@pytest.mark.parametrize("options", [{}, {"normalise": "trace"}, {"distance": "alignment"}])
def test_a_student_that_answers_all_images_alike_has_a_distance(options: dict) -> None:
    student, teacher = torch.full((3, 3), 2.0, dtype=torch.float64, requires_grad=True), TEACHER
    loss = ntkd_loss(student, teacher, **options)
    centred = teacher - teacher.mean(0) - teacher.mean(1, keepdim=True) + teacher.mean()
    by_trace = (centred / centred.trace()).square().sum().item()
    assert loss.item() == pytest.approx(by_trace if "normalise" in options else 1.0)
    loss.backward()
    assert torch.isfinite(student.grad).all()


def test_one_image_may_be_compared_without_centring() -> None:
    assert ntkd_loss(STUDENT[:1, :1], TEACHER[:1, :1], centre=False) == 0


@pytest.mark.parametrize(
    ("student", "teacher", "options", "said"),
    [
        (STUDENT[:2], TEACHER, {}, "K_student must be"),
        (STUDENT, TEACHER[:2, :2], {}, "K_teacher must be"),
        (STUDENT[:1, :1], TEACHER[:1, :1], {}, "two images or more"),
        (STUDENT, TEACHER, {"normalise": "max"}, "'frobenius'"),
        (STUDENT, TEACHER, {"distance": "cosine"}, "'alignment'"),
    ],
)
def test_what_makes_no_sense_is_refused(student, teacher, options, said) -> None:
    with pytest.raises(ValueError, match=said):
        ntkd_loss(student, teacher, **options)


def test_the_objective_is_cross_entropy_and_kernels() -> None:
    teacher, student = network(1, hidden=20), network(2)
    b = batch(student)
    loss = ntkd_loss(ntk(student, b.images), ntk(teacher, b.images))
    ce = CrossEntropy()(b)
    torch.testing.assert_close(NTKD(teacher, beta=3.0)(b), ce + 3 * loss)
    torch.testing.assert_close(NTKD(teacher, beta=3.0, alpha=0.0)(b), 3 * loss)
    kd = KD(teacher)
    torch.testing.assert_close((kd + NTKD(teacher, beta=3.0, alpha=0.0))(b), kd(b) + 3 * loss)


def test_beta_grows_while_it_warms_up() -> None:
    student = network(2)
    objective = NTKD(network(1), beta=2.0, alpha=0.0, warm_up=0.5)
    values = [objective(batch(student, progress=p)).item() for p in (0.0, 0.25, 0.5, 0.9)]
    assert values[0] == 0 and values[1] == pytest.approx(values[2] / 2) and values[3] == values[2] > 0


def test_student_and_teacher_share_their_directions_and_a_batch_always_has_the_same() -> None:
    student, b = network(2), batch(network(2))
    same = NTKD(student, alpha=0.0, projections=1)
    assert same(batch(student)) < 1e-10
    objective = NTKD(network(1, hidden=20), alpha=0.0, projections=1)
    assert torch.equal(objective(b), objective(b))
    exact = NTKD(network(1, hidden=20), alpha=0.0)(b)
    assert 0 < (objective(b) - exact).abs() < exact


def test_directions_of_networks_with_other_outputs_are_not_the_same() -> None:
    other = nn.Sequential(nn.Flatten(), nn.Linear(36, 7))
    with pytest.raises(ValueError, match="a student of 3 outputs and a teacher of 7"):
        NTKD(other, projections=2)(batch(network()))
    assert NTKD(other)(batch(network())).isfinite()


def test_images_of_half_precision_are_remembered_too() -> None:
    student, teacher = network().bfloat16(), network(1).bfloat16()
    images = batch(network()).images.bfloat16()
    half = replace(batch(network()), model=student, images=images, logits=student(images))
    for objective in (NTKD(teacher, remember=True), KD(teacher, remember=True), NTKD(teacher, projections=1)):
        assert torch.equal(objective(half), objective(half)) and objective(half).isfinite()


def test_the_students_batchnorm_is_in_eval_mode_for_the_kernel_and_in_training_mode_after() -> None:
    student, teacher = toy_model().train(), network()
    b = batch(student)
    statistics = student[1].running_mean.clone()
    value = NTKD(teacher, alpha=0.0)(b)
    assert student[1].training and torch.equal(student[1].running_mean, statistics)
    torch.testing.assert_close(value, ntkd_loss(ntk(student.eval(), b.images), ntk(teacher, b.images)))


def test_the_teacher_is_asked_once_for_a_batch_that_is_remembered() -> None:
    class Counting(nn.Module):
        calls = 0

        def __init__(self):
            super().__init__()
            self.inner = network(1)

        def forward(self, x):
            Counting.calls += 1
            return self.inner(x)

    data, results = toy_data(train=60), []
    for remember, calls in ((False, 12), (True, 4)):
        Counting.calls = 0
        student, objective = network(3), NTKD(Counting(), remember=remember)
        fit(student, data, objective, epochs=3, seed=0, batch_size=15, fixed_batches=True, progress=False)
        assert Counting.calls == calls
        results.append(student)
    assert same_weights(*results)


def test_a_frozen_teacher_teaches_as_well() -> None:
    b, teacher = batch(network(2)), network(1)
    free = NTKD(teacher)(b)
    torch.testing.assert_close(NTKD(teacher.requires_grad_(False))(b), free)


@pytest.mark.parametrize("change", ["step", "load"])
def test_what_is_remembered_of_a_teacher_is_forgotten_when_it_changes(change: str) -> None:
    b, teacher = batch(network(2)), network(1)
    objective = NTKD(teacher, alpha=0.0, remember=True)
    before = objective(b)
    if change == "load":
        teacher.load_state_dict(network(4).state_dict())
    else:
        optimiser = torch.optim.SGD(teacher.parameters(), lr=1.0)
        teacher(b.images).square().sum().backward()
        optimiser.step()
    after = objective(b)
    assert not torch.equal(after, before)
    assert torch.equal(after, NTKD(teacher, alpha=0.0)(b))


def test_training_on_kernels_alone_aligns_them() -> None:
    data = toy_data()
    teacher, student = network(1, hidden=30), network(2)
    fit(teacher, data, epochs=10, seed=0, learning_rate=1e-2, progress=False)
    x = data.validation.images

    def distance() -> float:
        with torch.no_grad():
            return ntkd_loss(ntk(student, x), ntk(teacher, x)).item()

    before = distance()
    fit(
        student,
        data,
        NTKD(teacher, alpha=0.0),
        epochs=20,
        seed=0,
        learning_rate=1e-2,
        keep="last",
        progress=False,
    )
    assert distance() < 0.5 * before


def test_a_run_that_was_interrupted_ends_as_it_would_have(tmp_path) -> None:
    data, teacher = toy_data(train=60), network(1)
    settings = {"seed": 0, "batch_size": 15, "fixed_batches": True, "progress": False}
    objective = NTKD(teacher, projections=1, warm_up=0.5)
    whole, broken = network(3), network(3)
    fit(whole, data, objective, epochs=4, **settings)

    class Stop(Exception):
        pass

    def stopping(b: Batch) -> torch.Tensor:
        if b.progress >= 0.5:
            raise Stop
        return objective(b)

    stopping.__qualname__ = repr(objective)
    with pytest.raises(Stop):
        fit(broken, data, stopping, epochs=4, checkpoint=tmp_path / "run", **settings)
    fit(broken, data, objective, epochs=4, checkpoint=tmp_path / "run", **settings)
    assert same_weights(whole, broken)


@pytest.mark.parametrize(
    ("change", "error", "said"),
    [
        ({"teacher": torch.relu}, TypeError, "torch.nn.Module"),
        ({"teacher": nn.Flatten()}, ValueError, "must have parameters"),
        ({"beta": -1.0}, ValueError, "beta"),
        ({"alpha": "1"}, TypeError, "alpha"),
        ({"warm_up": 1.5}, ValueError, "warm_up"),
        ({"projections": 0}, ValueError, "projections"),
        ({"normalise": "max"}, ValueError, "normalise"),
    ],
)
def test_an_objective_that_makes_no_sense_is_refused(change, error, said) -> None:
    with pytest.raises(error, match=said):
        NTKD(**{"teacher": network(), **change})


def test_it_says_how_it_was_made() -> None:
    objective = NTKD(network(), beta=2.0, projections=1)
    assert repr(objective) == "NTKD(Sequential, beta=2.0, projections=1)"
    assert replace(objective, remember=True)._memory is not objective._memory
