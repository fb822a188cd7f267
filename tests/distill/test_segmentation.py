import math

import pytest
import torch
from sklearn import metrics
from torch import nn
from torch.nn import functional as F

from onnlab.data import VOID, Dataset, Split
from onnlab.distill import (
    KD,
    Batch,
    CrossEntropy,
    Dice,
    confusion_matrix,
    dice_loss,
    evaluate,
    fit,
    kd_loss,
    scores_of,
    segmentation_scores,
)


def noise(*shape, seed=0):
    return torch.randn(*shape, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))


def labels(*shape, classes=4, void=0.2, seed=1):
    """Random classes, of which a share is void."""
    generator = torch.Generator().manual_seed(seed)
    drawn = torch.randint(classes, shape, generator=generator)
    return torch.where(torch.rand(shape, generator=generator) < void, VOID, drawn)


class Answers(nn.Module):
    """A network that answers with its input: the channels of the images are the logits."""

    def forward(self, x):
        return x


def split_of(n=5, classes=4, **options):
    return Split(noise(n, classes, 6, 7).float(), labels(n, 6, 7, classes=classes, **options))


def flat(split):
    """True and answered classes of the valid pixels, as scikit-learn takes them."""
    valid = split.labels != VOID
    return split.labels[valid].numpy(), split.pixels.argmax(1)[valid].numpy()


def test_scores_are_those_of_scikit_learn():
    split = split_of()
    truth, answers = flat(split)
    scores = segmentation_scores(Answers(), split)
    assert scores.accuracy == pytest.approx(metrics.accuracy_score(truth, answers))
    assert scores.iou_of == pytest.approx(metrics.jaccard_score(truth, answers, average=None))
    assert scores.dice_of == pytest.approx(metrics.f1_score(truth, answers, average=None))
    assert scores.miou == pytest.approx(metrics.jaccard_score(truth, answers, average="macro"))
    assert scores.dice == pytest.approx(metrics.f1_score(truth, answers, average="macro"))
    assert scores.n == 5


@pytest.mark.parametrize("batch_size", [1, 2, 5, 100])
def test_the_confusion_matrix_is_that_of_scikit_learn_whatever_the_batch(batch_size):
    split = split_of()
    expected = metrics.confusion_matrix(*flat(split))
    assert confusion_matrix(Answers(), split, batch_size=batch_size).tolist() == expected.tolist()


def test_labels_of_images_are_scored_too():
    split = Split(noise(50, 3, 1, 1).float(), labels(50, classes=3, void=0))
    scores = segmentation_scores(nn.Sequential(Answers(), nn.Flatten()), split)
    answers = split.pixels.flatten(1).argmax(1)
    assert scores.miou == pytest.approx(metrics.jaccard_score(split.labels, answers, average="macro"))


def test_a_class_that_neither_occurs_nor_is_answered_does_not_count():
    matrix = torch.tensor([[3, 1, 0], [2, 4, 0], [0, 0, 0]])
    scores = scores_of(matrix, n=1)
    assert scores.iou_of[:2] == pytest.approx((3 / 6, 4 / 7)) and math.isnan(scores.iou_of[2])
    assert scores.miou == pytest.approx((3 / 6 + 4 / 7) / 2)
    assert scores.dice == pytest.approx((6 / 9 + 8 / 11) / 2)
    # An answer that never is right costs: it has a number, and that is zero.
    assert scores_of(torch.tensor([[3, 1], [0, 0]]), n=1).miou == pytest.approx(3 / 8)


def test_the_model_is_left_as_it_was():
    model = nn.Sequential(nn.BatchNorm2d(4), Answers()).train()
    before = model[0].running_mean.clone()
    confusion_matrix(model, split_of())
    assert model.training and torch.equal(model[0].running_mean, before)


def test_nothing_but_void_has_no_score():
    split = split_of(void=1.1)
    with pytest.raises(ValueError, match="matrix must count a pixel"):
        segmentation_scores(Answers(), split)
    with pytest.raises(ValueError, match="split must hold a label, got void pixels only"):
        evaluate(Answers(), split)


def test_dice_loss_by_its_formula():
    logits, targets = noise(3, 4, 5, 6), labels(3, 5, 6)
    probabilities = (logits.exp() / logits.exp().sum(1, keepdim=True)).numpy()
    dice = []
    for c in range(4):
        overlap = total = 0.0
        for i in range(3):
            for row in range(5):
                for column in range(6):
                    label, p = targets[i, row, column].item(), probabilities[i, c, row, column]
                    if label != VOID:
                        overlap += p * (label == c)
                        total += p + (label == c)
        dice.append(2 * overlap / total)
    assert dice_loss(logits, targets).item() == pytest.approx(1 - sum(dice) / 4, abs=1e-12)


def test_dice_loss_of_certain_answers_is_one_minus_the_f1_score():
    logits, targets = noise(3, 4, 5, 6), labels(3, 5, 6)
    certain = 1e3 * F.one_hot(logits.argmax(1), 4).movedim(-1, 1).double()
    valid = targets != VOID
    score = metrics.f1_score(targets[valid], logits.argmax(1)[valid], average="macro")
    assert dice_loss(certain, targets).item() == pytest.approx(1 - score)


def test_dice_loss_counts_only_classes_that_occur():
    logits = noise(2, 3, 4, 4)
    targets = labels(2, 4, 4, classes=2)
    shares = [2 * (p := logits.softmax(1)[:, c][targets != VOID])[(y := targets[targets != VOID] == c)].sum()
              / (p.sum() + y.sum()) for c in (0, 1)]  # fmt: skip
    torch.testing.assert_close(dice_loss(logits, targets), 1 - sum(shares) / 2)
    assert torch.autograd.gradcheck(lambda z: dice_loss(z, targets), logits.requires_grad_())


@pytest.mark.parametrize("objective", [CrossEntropy(), CrossEntropy(label_smoothing=0.1), Dice()])
def test_what_a_network_answers_at_void_pixels_does_not_matter(objective):
    logits, targets = noise(3, 4, 5, 6), labels(3, 5, 6)
    other = torch.where((targets == VOID)[:, None], noise(3, 4, 5, 6, seed=9), logits)
    one, two = (objective(Batch(nn.Identity(), z, targets, z)) for z in (logits, other))
    torch.testing.assert_close(one, two)
    assert not torch.allclose(one, objective(Batch(nn.Identity(), -logits, targets, -logits)))


def test_kd_is_the_mean_over_valid_pixels():
    student, teacher, targets = noise(3, 4, 5, 6), noise(3, 4, 5, 6, seed=2), labels(3, 5, 6)
    valid = targets != VOID
    pixels = [z.movedim(1, -1)[valid] for z in (student, teacher)]  # as a batch of single answers
    expected = kd_loss(*pixels, targets[valid], temperature=3.0, alpha=0.7)
    torch.testing.assert_close(kd_loss(student, teacher, targets, 3.0, 0.7), expected)


def test_void_pixels_get_no_gradient():
    student, targets = noise(2, 4, 5, 6).requires_grad_(), labels(2, 5, 6)
    loss = kd_loss(student, noise(2, 4, 5, 6, seed=2), targets) + dice_loss(student, targets)
    loss.backward()
    void = (targets == VOID)[:, None].expand_as(student)
    assert student.grad[void].abs().max() == 0 and student.grad[~void].abs().min() > 0


def test_evaluate_counts_valid_pixels():
    split = split_of()
    truth, answers = flat(split)
    scores = evaluate(Answers(), split)
    logits = split.pixels.movedim(1, -1)[split.labels != VOID].double()
    assert scores.accuracy == pytest.approx((truth == answers).mean())
    assert scores.loss == pytest.approx(metrics.log_loss(truth, logits.softmax(1), labels=range(4)), rel=1e-6)


def test_training_passes_over_void_pixels():
    """A threshold is learnt from the rows that have labels; the others would teach something else."""
    pixels = torch.rand(12, 1, 8, 8, generator=torch.Generator().manual_seed(0))
    truth = (pixels[:, 0] > 0.5).long()
    truth[:, :4] = VOID
    split = Split(pixels, truth)
    data = Dataset("thresholds", split, split, split, ("dark", "bright"), "made here")
    torch.manual_seed(0)
    model = nn.Conv2d(1, 2, 1)
    teacher = nn.Conv2d(1, 2, 1)
    teacher.weight.data = torch.tensor([-20.0, 20.0]).reshape(2, 1, 1, 1)
    teacher.bias.data = torch.tensor([10.0, -10.0])
    objective = CrossEntropy() + Dice() + KD(teacher)
    history = fit(model, data, objective, epochs=30, seed=0, batch_size=4, learning_rate=0.3, progress=False)
    assert torch.isfinite(history["training_loss"]).all()
    assert history.best.validation_accuracy > 0.97
    assert segmentation_scores(model, split).accuracy == pytest.approx(history.best.validation_accuracy)


def test_a_batch_of_void_pixels_is_named():
    split = Split(torch.rand(2, 1, 4, 4), torch.full((2, 4, 4), VOID))
    data = Dataset("void", split, split, split, ("dark", "bright"), "made here")
    with pytest.raises(FloatingPointError, match="all targets of the batch are void"):
        fit(nn.Conv2d(1, 2, 1), data, epochs=1, seed=0, progress=False)


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda: dice_loss(noise(2, 3), torch.rand(2, 3)), TypeError, "leave out mixup"),
        (lambda: dice_loss(noise(2, 3), torch.tensor([0, 3])), ValueError, "targets must be from 0 to 2"),
        (lambda: dice_loss(noise(2, 3), torch.tensor([0, -1])), ValueError, "or VOID, got -1 to 0"),
        (lambda: dice_loss(noise(2, 3), torch.tensor([VOID, VOID])), ValueError, "got VOID only"),
        (lambda: kd_loss(noise(1, 3), noise(1, 3), torch.tensor([VOID])), ValueError, "got VOID only"),
        (lambda: confusion_matrix(Answers(), split_of(), batch_size=0), ValueError, "batch_size"),
    ],
)
def test_errors(call, error, message):
    with pytest.raises(error, match=message):
        call()
