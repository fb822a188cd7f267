"""Right answers to the exercises of chapter 9, and wrong ones with the hint that each must get."""

from copy import deepcopy
from dataclasses import replace

import pytest
import torch
from torch import nn
from torch.nn.functional import cross_entropy, kl_div, one_hot

from onnlab.data import VOID
from onnlab.distill import (
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
from onnlab.networks import linear_unet
from tests.checks.cases import judge, right, wrong


def lazy_scores(share):
    background = 1 - share
    return background, background / 2, background / (1 + background)


def lazy_by_counting(share):
    scores = scores_of(torch.tensor([[round(1000 * (1 - share)), 0], [round(1000 * share), 0]]), 1)
    return [torch.tensor(scores.accuracy), scores.miou, scores.dice]


def dice_from_iou(iou):
    return 2 * iou / (1 + iou)


def dice_by_parts(iou):
    return 1 - (1 - iou) / (1 + iou)


def mean_iou(absent=None, average="pixels", void="out", score="iou", skip=(), only_true=False):
    """The mean over classes of a score, and the ways to get it wrong."""

    def answer(answers, labels, classes):
        if average == "pictures":
            each = [one(a, b, classes) for a, b in zip(answers, labels, strict=True)]
            return sum(each) / len(each)
        return one(answers, labels, classes)

    def one(answers, labels, classes):
        if void == "background":
            labels = torch.where(labels == VOID, 0, labels)
        elif void == "out":
            answers, labels = answers[labels != VOID], labels[labels != VOID]
        scores = []
        for number in range(classes):
            claim, truth = answers == number, labels == number
            shared, either = (claim & truth).sum().item(), (claim | truth).sum().item()
            there = truth.any() if only_true else either
            if number in skip:
                continue
            if there:
                scores.append(shared / either if score == "iou" else 2 * shared / (either + shared))
            elif absent is not None:
                scores.append(absent)
        return sum(scores) / len(scores)

    return answer


def mean_iou_of_library(answers, labels, classes):
    pairs = (labels * classes + answers)[labels != VOID].bincount(minlength=classes**2)
    return scores_of(pairs.reshape(classes, classes), len(labels)).miou


def mean_iou_from_counts(answers, labels, classes):
    counts = torch.zeros(classes, classes, dtype=torch.float64)
    valid = labels.ne(VOID)
    for truth, claim in zip(labels[valid].tolist(), answers[valid].tolist(), strict=True):
        counts[truth, claim] += 1
    return (counts.diag() / (counts.sum(0) + counts.sum(1) - counts.diag())).nanmean()


def pixel_accuracy(answers, labels, classes):
    valid = labels != VOID
    return (answers == labels)[valid].double().mean()


def sum_of_masks(answers, labels, classes):
    valid = labels != VOID
    claims, truths = (one_hot(a[valid], classes).double() for a in (answers, labels))
    return ((claims * truths).sum(0) / (claims + truths).sum(0)).nanmean()


def window(kernel=1, coarsest=0, end=0, divide=lambda n: n // 2, up=True, extra=0):
    """Count from the answer to the picture, or miscount."""

    def answer(pixel, levels, depth):
        first = last = pixel
        for _ in range(levels - 1):
            first, last = first - depth, last + depth
            if up:
                first, last = divide(first), divide(last)
            else:
                first, last = first - 1, last + 1
        first, last = first - coarsest * depth, last + coarsest * depth
        step = 2 ** (levels - 1) if up else 1
        return first * step - kernel - extra, (last + 1) * step - 1 + kernel + end + extra

    return answer


def window_by_sets(pixel, levels, depth):
    """Collect all pixels that matter."""
    seen = {pixel}
    for _ in range(levels - 1):
        seen = {n + k for n in seen for k in range(-depth, depth + 1)}
        seen = {(n - n % 2) // 2 for n in seen}
    for _ in range(levels - 1):
        seen = {2 * n + k for n in seen for k in (0, 1)}
    return [min(seen) - 1, max(seen) + 1]


def all_at_the_finest(pixel, levels, depth):
    step = 2 ** (levels - 1)
    first, last = (pixel - depth * (levels - 1)) // step, (pixel + depth * (levels - 1)) // step
    return first * step - 1, (last + 1) * step


def centred_window(pixel, levels, depth):
    first, last = window()(pixel, levels, depth)
    half = (last - first + 1) // 2
    return pixel - half, pixel + half - 1


def one_convolution(pixel, levels, depth):
    return window()(pixel, levels, min(depth, 1))


def three_levels(pixel, levels, depth):
    return window()(pixel, 3, depth)


def soft_dice(
    factor=2.0, axis=1, sums=(0, 2, 3), void="out", classes="present", power=1, hard=False, **other
):
    """The Dice loss with masks of zeros, and the ways to get it wrong."""

    def loss(logits, labels):
        p = logits.sigmoid() if axis is None else logits.softmax(axis)
        p = one_hot(p.argmax(1), logits.shape[1]).movedim(-1, 1) + 0 * p if hard else p
        valid = (labels != VOID)[:, None]
        y = one_hot(labels.clamp(min=0), logits.shape[1]).movedim(-1, 1)
        if void == "out":
            p, y = p * valid, y * valid
        elif void == "half":
            y = y * valid
        shared, sizes = (p * y).sum(sums), (p**power + y).sum(sums)
        if classes == "together":
            return 1 - factor * shared.sum() / sizes.sum()
        ratio = factor * (shared + other.get("smooth", 0)) / (sizes + 2 * other.get("smooth", 0))
        if other.get("jaccard"):
            ratio = shared / (sizes - shared)
        there = y.sum((0, 2, 3)) > 0
        ratio = ratio[..., there] if classes == "present" else ratio
        ratio = ratio[1:] if classes == "objects" else ratio
        return (1 - ratio).mean() if other.get("falls", True) else ratio.mean()

    return loss


def dice_in_a_loop(logits, labels):
    rest, count = 0, 0
    for number in range(logits.shape[1]):
        truth = labels == number
        if truth.any():
            p = logits.softmax(1)[:, number][labels != VOID]
            rest = rest + 2 * p[truth[labels != VOID]].sum() / (p.sum() + truth.sum())
            count += 1
    return (count - rest) / count


def cut_off(logits, labels):
    return soft_dice()(logits.detach(), labels)


def partly_cut(logits, labels):
    value = soft_dice()(logits, labels)
    return value.detach() + 0 * logits.sum()


def by_kd_loss(student, teacher, temperature):
    labels = torch.zeros(len(student), *student.shape[2:], dtype=torch.int64)
    return kd_loss(student, teacher.detach(), labels, temperature, alpha=1.0)


def left_out(student, teacher, temperature):
    """The right value, from a branch whose logarithm of zero is left out when it is too late."""
    log_p, log_q = ((z / temperature).log_softmax(1) for z in (teacher.detach(), student))
    naive = (student / temperature).softmax(1).log()
    log_q = torch.where(naive > -60, naive, log_q)
    return temperature**2 * (log_p.exp() * (log_p - log_q)).sum(1).mean()


def pixel_loss(axis=1, square=2, scale=(True, True), turn=False, take="mean", detach=True, stable=True):
    """The loss of the teacher's answers, and the ways to get it wrong."""

    def loss(student, teacher, temperature):
        student = student / temperature if scale[0] else student
        teacher = teacher / temperature if scale[1] else teacher
        teacher = teacher.detach() if detach else teacher
        if turn:
            student, teacher = teacher, student
        log = (lambda z: z.log_softmax(axis)) if stable else (lambda z: (z.softmax(axis) + 1e-8).log())
        each = (log(teacher).exp() * (log(teacher) - log(student))).sum(1)
        pictures = len(student)
        value = {
            "mean": each.mean(),
            "batch": each.sum() / pictures,
            "sum": each.sum(),
            "all": each.mean() / student.shape[1],
        }[take]
        return temperature**square * value

    return loss


def pixel_loss_of_torch(student, teacher, temperature):
    classes = student.shape[1]
    rows = [z.movedim(1, -1).reshape(-1, classes) / temperature for z in (student, teacher)]
    with torch.no_grad():
        target = rows[1].softmax(1)
    return temperature**2 * kl_div(rows[0].log_softmax(1), target, reduction="batchmean")


def pixel_loss_of_torch_for_pictures(student, teacher, temperature):
    log = (student / temperature).log_softmax(1)
    target = (teacher.detach() / temperature).softmax(1)
    return temperature**2 * kl_div(log, target, reduction="batchmean")


def soft_entropy(student, teacher, temperature):
    target = (teacher.detach() / temperature).softmax(1)
    return temperature**2 * cross_entropy(student / temperature, target)


def distance_of_logits(student, teacher, temperature):
    return (student - teacher.detach()).square().mean()


def student_cut(student, teacher, temperature):
    return pixel_loss()(student.detach(), teacher, temperature) + 0 * student.sum()


both = CrossEntropy() + Dice()
settings = {"batch_size": 8, "keep": "last", "progress": False}


def train_wide(early=True, copy=False, relu=False, **fixed):
    """Train a U-Net with a linear encoder, or do one thing wrong."""

    def answer(teacher, data, epochs, seed):
        if early:
            torch.manual_seed(fixed.get("weights", seed))
        shape = tuple(data.train.pixels.shape[1:])
        wide = linear_unet(teacher, shape, copy_weights=copy, relu_in_pool=relu)
        if not early:
            torch.manual_seed(seed)
        if "train" in fixed:
            data = replace(data, train=getattr(data, fixed["train"]))
        rate = fixed.get("rate", 8e-3)
        epochs = fixed.get("epochs", epochs)
        history = fit(wide, data, both, epochs=epochs, seed=seed, learning_rate=rate, **settings)
        return history if fixed.get("history") else wide

    return answer


def train_wide_by_hand(teacher, data, epochs, seed):
    """A training loop of one's own."""
    torch.manual_seed(seed)
    wide = linear_unet(teacher, (1, 16, 16), copy_weights=False).train()
    adam = torch.optim.Adam(wide.parameters(), lr=8e-3)
    for _ in range(epochs):
        for chosen in torch.randperm(len(data.train)).split(8):
            images, labels = data.train[chosen]
            logits = wide(images)
            loss = cross_entropy(logits, labels) + soft_dice()(logits, labels)
            adam.zero_grad()
            loss.backward()
            adam.step()
    return wide.eval()


def trains_the_teacher(teacher, data, epochs, seed):
    fit(teacher, data, both, epochs=epochs, seed=seed, learning_rate=8e-3, **settings)
    return teacher


def trains_a_copy_of_the_teacher(teacher, data, epochs, seed):
    torch.manual_seed(seed)
    copy = deepcopy(teacher)
    for layer in copy.modules():
        if isinstance(layer, (nn.Conv2d, nn.ConvTranspose2d)):
            layer.reset_parameters()
    fit(copy, data, both, epochs=epochs, seed=seed, learning_rate=8e-3, **settings)
    return copy


def finish(copy=True, judge="validation", score="miou", percent=1, **fixed):
    """Let a copy learn from masks, or do one thing wrong."""

    def measure(model, data):
        if score == "accuracy":
            return percent * evaluate(model, getattr(data, judge)).accuracy
        return percent * getattr(segmentation_scores(model, getattr(data, judge)), score)

    def answer(model, data, epochs, seed):
        mixed = deepcopy(model) if copy else model
        before = measure(mixed, data)
        given = replace(data, train=getattr(data, fixed["train"])) if "train" in fixed else data
        epochs, seed = fixed.get("epochs", epochs), fixed.get("seed", seed)
        rate = fixed.get("rate", 2e-3)
        fit(mixed, given, both, epochs=epochs, seed=seed, learning_rate=rate, **settings)
        before = measure(mixed, data) if fixed.get("late") else before
        after = measure(model if fixed.get("wrong_model") else mixed, data)
        return (model if fixed.get("returns_model") else mixed), before, after

    return answer


def finish_by_counts(model, data, epochs, seed):
    def measure(network):
        return torch.tensor(scores_of(confusion_matrix(network, data.validation), 1).iou_of).mean()

    mixed = deepcopy(model)
    fit(mixed, data, both, epochs=epochs, seed=seed, learning_rate=2e-3, **settings)
    return [mixed, measure(model), measure(mixed)]


def finish_with_noise(model, data, epochs, seed):
    mixed = deepcopy(model)
    with torch.no_grad():
        for parameter in mixed.parameters():
            parameter += 1e-3 * torch.randn_like(parameter)
    before = segmentation_scores(model, data.validation).miou
    fit(mixed, data, both, epochs=epochs, seed=seed, learning_rate=2e-3, **settings)
    return mixed, before, segmentation_scores(mixed, data.validation).miou


def lazy_with(*changes):
    """The three scores, some of them wrong."""

    def answer(share):
        return tuple(change(1 - share) for change in changes)

    return answer


TRUE = (lambda b: b, lambda b: b / 2, lambda b: b / (1 + b))

CASES = [
    right("ch09-lazy", lazy_scores, dice_from_iou),
    right("ch09-lazy", lazy_by_counting, dice_by_parts),
    wrong("ch09-lazy", "which share is answered right", lazy_with(lambda b: 1 - b, *TRUE[1:]), dice_from_iou),
    wrong("ch09-lazy", "nothing of it was found", lazy_with(TRUE[0], lambda b: b, TRUE[2]), dice_from_iou),
    wrong("ch09-lazy", "mean is over both", lazy_with(TRUE[0], lambda b: 0.0, TRUE[2]), dice_from_iou),
    wrong(
        "ch09-lazy", "nothing of it was found", lazy_with(*TRUE[:2], lambda b: 2 * b / (1 + b)), dice_from_iou
    ),
    wrong("ch09-lazy", "mean is over both", lazy_with(*TRUE[:2], lambda b: 0.0), dice_from_iou),
    wrong("ch09-lazy", "draw 100 pixels", lazy_with(*TRUE[:2], lambda b: b), dice_from_iou),
    wrong("ch09-lazy", "three numbers", lambda share: 1 - share, dice_from_iou),
    wrong("ch09-lazy", "the other way", lazy_scores, lambda iou: iou / (2 - iou)),
    wrong("ch09-lazy", "count twice", lazy_scores, lambda iou: 2 * iou),
    wrong("ch09-lazy", "count twice", lazy_scores, lambda iou: iou),
    wrong("ch09-lazy", "count twice", lazy_scores, lambda iou: iou / (1 + iou)),
    right("ch09-miou", mean_iou()),
    right("ch09-miou", mean_iou_from_counts),
    wrong("ch09-miou", "calls scores_of", mean_iou_of_library),
    wrong("ch09-miou", "share of right pixels", pixel_accuracy),
    wrong("ch09-miou", "Dice score", mean_iou(score="dice")),
    wrong("ch09-miou", "background is a class", mean_iou(skip=(0,))),
    wrong("ch09-miou", "each picture has its own", mean_iou(average="pictures")),
    wrong("ch09-miou", "void pixels must not count", mean_iou(void="in")),
    wrong("ch09-miou", "void pixels are not background", mean_iou(void="background")),
    wrong("ch09-miou", "leave it out of the mean", mean_iou(absent=0.0)),
    wrong("ch09-miou", "leave it out of the mean", mean_iou(absent=1.0)),
    wrong("ch09-miou", "has a score", mean_iou(only_true=True)),
    wrong("ch09-miou", "count by hand", sum_of_masks),
    wrong("ch09-miou", "count by hand", lambda a, b, n: 100 * mean_iou()(a, b, n)),
    right("ch09-reach", window()),
    right("ch09-reach", window_by_sets),
    wrong("ch09-reach", "kernel has a width", window(kernel=0)),
    wrong("ch09-reach", "last one of a coarse pixel", window(end=1)),
    wrong("ch09-reach", "no convolution follows", window(coarsest=1)),
    wrong("ch09-reach", "left of pixel 0", window(divide=lambda n: int(n / 2))),
    wrong("ch09-reach", "which coarse pixel makes", window(up=False)),
    wrong("ch09-reach", "which coarser pixels", one_convolution),
    wrong("ch09-reach", "which coarser pixels", all_at_the_finest),
    wrong("ch09-reach", "which coarse pixel makes", centred_window),
    wrong("ch09-reach", "which coarse pixel makes", three_levels),
    wrong("ch09-reach", "which coarse pixel makes", window(extra=1)),
    wrong("ch09-reach", "which coarse pixel makes", window(divide=lambda n: n / 2)),
    wrong("ch09-reach", "of its own level", lambda p, n, depth: window()(p, n, 2 * depth)),
    wrong("ch09-reach", "two pixels", lambda *case: window()(*case)[1] - window()(*case)[0] + 1),
    right("ch09-dice", soft_dice()),
    right("ch09-dice", dice_in_a_loop),
    right("ch09-dice", soft_dice(smooth=1e-8)),
    wrong("ch09-dice", "calls dice_loss", dice_loss),
    wrong("ch09-dice", "A loss falls", soft_dice(falls=False)),
    wrong("ch09-dice", "where is the 2", soft_dice(factor=1.0)),
    wrong("ch09-dice", "softmax over which axis", soft_dice(axis=-1)),
    wrong("ch09-dice", "share one probability", soft_dice(axis=None)),
    wrong("ch09-dice", "all pictures of the batch", soft_dice(sums=(2, 3))),
    wrong("ch09-dice", "each class has its own", soft_dice(classes="together")),
    wrong("ch09-dice", "the background is a class", soft_dice(classes="objects")),
    wrong("ch09-dice", "enter the mean", soft_dice(classes="all")),
    wrong("ch09-dice", "not squared", soft_dice(power=2)),
    wrong("ch09-dice", "intersection over union", soft_dice(jaccard=True)),
    wrong("ch09-dice", "in no sum", soft_dice(void="half")),
    wrong("ch09-dice", "not background", soft_dice(void="background")),
    wrong("ch09-dice", "count by hand", soft_dice(hard=True)),
    wrong("ch09-dice", "count by hand", soft_dice(smooth=1.0)),
    wrong("ch09-dice", "cut the graph", cut_off),
    wrong("ch09-dice", "cannot be trained", partly_cut),
    wrong("ch09-dice", "of type float", lambda x, y: soft_dice()(x, y).item()),
    right("ch09-answers", pixel_loss()),
    right("ch09-answers", pixel_loss_of_torch),
    wrong("ch09-answers", "calls kd_loss", by_kd_loss),
    wrong("ch09-answers", "still sends its gradient", left_out),
    wrong("ch09-answers", "divided by the pictures alone", pixel_loss_of_torch_for_pictures),
    wrong("ch09-answers", "divided by the pictures alone", pixel_loss(take="batch")),
    wrong("ch09-answers", "not the sum", pixel_loss(take="sum")),
    wrong("ch09-answers", "belongs to KL", pixel_loss(take="all")),
    wrong("ch09-answers", "T² is missing", pixel_loss(square=0)),
    wrong("ch09-answers", "and not T", pixel_loss(square=1)),
    wrong("ch09-answers", "whose probabilities weigh", pixel_loss(turn=True)),
    wrong("ch09-answers", "over which axis", pixel_loss(axis=-1)),
    wrong("ch09-answers", "over which axis", pixel_loss(axis=0)),
    wrong("ch09-answers", "of both networks", pixel_loss(scale=(False, False))),
    wrong("ch09-answers", "of the student, too", pixel_loss(scale=(False, True))),
    wrong("ch09-answers", "of the teacher, too", pixel_loss(scale=(True, False))),
    wrong("ch09-answers", "cross entropy", soft_entropy),
    wrong("ch09-answers", "compares logits", distance_of_logits),
    wrong("ch09-answers", "never negative", lambda *case: -pixel_loss()(*case)),
    wrong("ch09-answers", "flows to the teacher", pixel_loss(detach=False)),
    wrong("ch09-answers", "both steps in one", pixel_loss(stable=False)),
    wrong("ch09-answers", "stands still", student_cut),
    right("ch09-linear", train_wide()),
    right("ch09-linear", train_wide_by_hand),
    wrong("ch09-linear", "copies them", train_wide(copy=True)),
    wrong("ch09-linear", "ReLU left", train_wide(relu=True)),
    wrong("ch09-linear", "when do you seed", train_wide(early=False)),
    wrong("ch09-linear", "is for the weights", train_wide(weights=0)),
    wrong("ch09-linear", "other masks", train_wide(train="test")),
    wrong("ch09-linear", "other masks", train_wide(train="validation")),
    wrong("ch09-linear", "for all epochs", train_wide(epochs=1)),
    wrong("ch09-linear", "learning rate", train_wide(rate=1e-5)),
    wrong("ch09-linear", "fit trains in place", train_wide(history=True)),
    wrong("ch09-linear", "teacher has changed", trains_the_teacher),
    wrong("ch09-linear", "ReLU left", trains_a_copy_of_the_teacher),
    right("ch09-mixed", finish()),
    right("ch09-mixed", finish_by_counts),
    wrong("ch09-mixed", "must not get the model itself", finish(copy=False)),
    wrong("ch09-mixed", "to the very end", finish(judge="test")),
    wrong("ch09-mixed", "known by heart", finish(judge="train")),
    wrong("ch09-mixed", "this is the accuracy", finish(score="accuracy")),
    wrong("ch09-mixed", "this is the Dice score", finish(score="dice")),
    wrong("ch09-mixed", "points of 100", finish(percent=100)),
    wrong("ch09-mixed", "the same network", finish(late=True)),
    wrong("ch09-mixed", "the same network", finish(wrong_model=True)),
    wrong("ch09-mixed", "which do you return", finish(returns_model=True)),
    wrong("ch09-mixed", "train on data.train", finish(train="validation")),
    wrong("ch09-mixed", "train on data.train", finish(train="test")),
    wrong("ch09-mixed", "for all epochs", finish(epochs=1)),
    wrong("ch09-mixed", "and 0.002", finish(rate=8e-3)),
    wrong("ch09-mixed", "and 0.002", finish(rate=1e-3)),
    wrong("ch09-mixed", "hand the seed on", finish(seed=0)),
    wrong("ch09-mixed", "nothing else should draw", finish_with_noise),
    wrong("ch09-mixed", "no triple", lambda *case: finish()(*case)[0]),
]


@pytest.mark.parametrize("case", CASES, ids=str)
def test_answer(case, capsys):
    judge(case, capsys)
