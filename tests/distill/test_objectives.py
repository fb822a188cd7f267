"""Objectives: sums, one's own, and a teacher that nothing happens to."""

import copy

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from onnlab.distill import KD, Batch, CrossEntropy, fit, kd_loss, random_shift
from tests.distill.helpers import same_weights, toy_data, toy_model, toy_split


@pytest.fixture
def batch() -> Batch:
    images, labels = toy_split(12, seed=5)[:]
    student = toy_model(seed=1)
    return Batch(student, images, labels, student(images))


def test_cross_entropy(batch):
    log_p = torch.log_softmax(batch.logits, dim=1)
    hard = -log_p[torch.arange(12), batch.targets].mean()
    torch.testing.assert_close(CrossEntropy()(batch), hard)
    smooth = 0.9 * hard - 0.1 * log_p.mean()
    torch.testing.assert_close(CrossEntropy(label_smoothing=0.1)(batch), smooth)


def test_kd_compares_with_the_teacher_in_eval_mode(batch):
    teacher = toy_model(seed=2).train()
    loss = KD(teacher, temperature=3.0, alpha=0.6)(batch)
    answers = copy.deepcopy(teacher).eval()(batch.images)
    torch.testing.assert_close(loss, kd_loss(batch.logits, answers, batch.targets, 3.0, 0.6))


def test_kd_asks_the_teacher_once_for_a_batch_that_it_remembers():
    calls = []
    teacher = toy_model(seed=2)
    teacher.register_forward_hook(lambda *_: calls.append(1))
    students = []
    for remember, expected in ((False, 12), (True, 4)):
        calls.clear()
        student, objective = toy_model(seed=1), KD(teacher, remember=remember)
        settings = {"epochs": 3, "seed": 0, "batch_size": 15, "fixed_batches": True, "progress": False}
        fit(student, toy_data(train=60), objective, **settings)
        assert len(calls) == expected
        students.append(student)
    assert same_weights(*students)


@pytest.mark.parametrize("change", ["weights", "statistics"])
def test_kd_forgets_answers_of_a_teacher_that_has_changed(batch, change):
    teacher = nn.Sequential(nn.BatchNorm2d(batch.images.shape[1]), toy_model(seed=2))
    objective = KD(teacher, remember=True)
    before = objective(batch)
    if change == "weights":
        teacher[1].load_state_dict(toy_model(seed=4).state_dict())
    else:
        teacher.train()(batch.images)  # BatchNorm counts along
    after = objective(batch)
    assert not torch.equal(after, before)
    assert torch.equal(after, KD(teacher)(batch))


def test_training_leaves_the_teacher_alone():
    teacher = toy_model(seed=2)
    teacher[1].eval()  # one layer in another mode than the rest
    before, modes = copy.deepcopy(teacher), [layer.training for layer in teacher.modules()]
    fit(toy_model(), toy_data(), KD(teacher), epochs=2, seed=0, progress=False)
    assert same_weights(teacher, before)
    assert [layer.training for layer in teacher.modules()] == modes
    assert all(parameter.grad is None and parameter.requires_grad for parameter in teacher.parameters())


def test_teacher_and_student_see_the_same_augmented_images():
    student, teacher, seen = toy_model(), toy_model(seed=2), {"student": [], "teacher": []}
    student.register_forward_pre_hook(
        lambda module, inputs: seen["student"].append(inputs[0]) if module.training else None
    )
    teacher.register_forward_pre_hook(lambda module, inputs: seen["teacher"].append(inputs[0]))
    data = toy_data()
    fit(student, data, KD(teacher), epochs=1, seed=0, batch_size=30, augment=random_shift, progress=False)
    assert len(seen["student"]) == len(seen["teacher"]) == 3
    for mine, theirs in zip(seen["student"], seen["teacher"], strict=True):
        assert torch.equal(mine, theirs)
    shown = torch.cat(seen["student"])
    same = (shown[:, None] == data.train.images[None]).flatten(2).all(2).any(1)
    assert same.float().mean() < 0.3  # 1 in 25 stays where it is


def test_objectives_add_with_weights(batch):
    labels, teacher = CrossEntropy(), KD(toy_model(seed=2), alpha=1.0)
    a, b = labels(batch), teacher(batch)
    torch.testing.assert_close((labels + 0.5 * teacher)(batch), a + 0.5 * b)
    torch.testing.assert_close((2 * (labels + teacher * 3))(batch), 2 * a + 6 * b)
    assert repr(labels + 0.5 * teacher) == (
        "1 * CrossEntropy(label_smoothing=0.0) + 0.5 * KD(Sequential, temperature=4.0, alpha=1.0)"
    )
    with pytest.raises(TypeError):
        labels * "two"


def test_an_objective_of_your_own_is_a_function(batch):
    def brier(batch):
        """Squared distance of the probabilities from the truth."""
        truth = F.one_hot(batch.targets, batch.logits.shape[1])
        return (batch.logits.softmax(dim=1) - truth).square().sum(dim=1).mean()

    model, data = toy_model(), toy_data()
    history = fit(model, data, brier, epochs=30, seed=0, learning_rate=0.01, progress=False)
    assert history["training_loss"][-1] < 0.5 * history["training_loss"][0]
    both = brier(batch) + CrossEntropy()(batch)
    torch.testing.assert_close((brier + CrossEntropy())(batch), both)
    torch.testing.assert_close((CrossEntropy() + brier)(batch), both)


def test_a_good_teacher_alone_teaches():
    # With alpha = 1 the labels do not count: all that the student knows, it knows from the teacher.
    data, teacher, student = toy_data(300, 150), toy_model(seed=3), toy_model(seed=4)
    taught = fit(teacher, data, epochs=20, seed=0, learning_rate=0.01, progress=False).best
    learnt = fit(student, data, KD(teacher, alpha=1.0), epochs=20, seed=0, learning_rate=0.01, progress=False)
    assert taught.validation_accuracy > 0.8
    assert learnt.best.validation_accuracy > taught.validation_accuracy - 0.1


@pytest.mark.parametrize(
    ("make", "error", "message"),
    [
        (lambda: KD("lenet"), TypeError, "teacher must be a torch.nn.Module, got str"),
        (lambda: KD(nn.Identity(), temperature=-1.0), ValueError, "temperature must be positive"),
        (lambda: KD(nn.Identity(), alpha=2.0), ValueError, "alpha must be from 0 to 1"),
        (lambda: CrossEntropy(label_smoothing=1.0), ValueError, "label_smoothing must be from 0 to below 1"),
    ],
)
def test_errors_come_when_an_objective_is_made(make, error, message):
    with pytest.raises(error, match=message):
        make()


def test_teacher_of_other_classes_is_an_error(batch):
    with pytest.raises(ValueError, match=r"teacher_logits must have the shape \(12, 3\).*got \(12, 5\)"):
        KD(toy_model(classes=5))(batch)
