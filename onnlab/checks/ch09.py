"""Checks of chapter 9: scores and losses of masks, the window of a pixel, and two trainings."""

from collections.abc import Callable
from copy import deepcopy
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from onnlab.checks._check import Wrong, alike, alone, expect, number, same, seeded, several, tensor, worth
from onnlab.data import VOID, Dataset, load
from onnlab.distill import dice_loss, kd_loss, scores_of, segmentation_scores
from onnlab.networks import HybridSegmenter, IdealConvolution, LinearUNet, UNet
from onnlab.networks.unet import EncoderDecoder


@worth(1)
def lazy(lazy_scores: Callable[[float], Any], dice_from_iou: Callable[[float], float]) -> None:
    """Score an empty answer, and random ones, by their confusion matrix."""
    names = ("the accuracy", "the mIoU", "the mean Dice score")
    for count in (12, 50, 87):
        share = count / 100
        scores = scores_of(torch.tensor([[100 - count, 0], [count, 0]]), 1)
        answer = several(
            lazy_scores(share),
            3,
            "lazy_scores does not return three numbers",
            "return accuracy, mIoU and mean Dice.",
        )
        of_object = "the object is a class too, and nothing of it was found."
        alone = "the background is a class too: the mean is over both."
        mistakes = (
            [(share, "which share is answered right, that of the objects or the other one?")],
            [(scores.iou_of[0], of_object), (0.0, alone)],
            [(scores.dice_of[0], of_object), (0.0, alone)],
        )
        seen = (scores.accuracy, scores.miou, scores.dice)
        for name, got, wanted, slips in zip(names, answer, seen, mistakes, strict=True):
            got = number(got, name)
            same(
                got,
                wanted,
                f"with objects on {share:.0%} of the pixels {name} is {wanted:.4f}, and not {got:.4f}",
                "draw 100 pixels; count for each class what both masks have, and what either has.",
                mistakes=slips,
            )
    for matrix in ([[8, 4], [2, 2]], [[50, 3], [7, 40]], [[9, 5], [6, 0]], [[9, 0], [0, 5]]):
        scores = scores_of(torch.tensor(matrix), 1)
        iou, dice = scores.iou_of[1], scores.dice_of[1]
        got = number(dice_from_iou(iou), "the Dice score")
        expect(
            abs(got - dice) < 1e-4,
            f"masks with an IoU of {iou:.4f} have a Dice score of {dice:.4f}, and not {got:.4f}",
            "this is the IoU that belongs to a Dice score; you need the other way."
            if abs(got - iou / (2 - iou)) < 1e-6 and iou < 1
            else "the sizes of both masks add up to union and intersection: the shared pixels count twice.",
        )


@worth(2)
def miou(mean_iou: Callable[[Tensor, Tensor, int], float]) -> None:
    """Compare with the library's score of a confusion matrix."""
    mean_iou = alone(mean_iou)
    plain = "start with two classes and pictures of 2 × 2 pixels, and count by hand."
    for case, classes, shown, absent in (
        ("two classes", 2, 2, None),
        ("void pixels", 3, 3, None),
        ("a class that is nowhere", 4, 3, None),
        ("a class that is answered but occurs nowhere", 4, 4, 3),
        ("a class that is answered only on void pixels", 4, 3, None),
    ):
        generator = seeded(classes + len(case))
        labels = torch.randint(shown, (3, 6, 7), generator=generator)
        labels[0][torch.rand(6, 7, generator=generator) < 0.7] = 0  # pictures differ in their classes
        answers = torch.where(
            torch.rand(labels.shape, generator=generator) < 0.6,
            labels,
            torch.randint(shown, labels.shape, generator=generator),
        )
        if absent is not None:
            labels[labels == absent] = 0
        if "void" in case:
            labels[torch.rand(labels.shape, generator=generator) < 0.3] = VOID
        if "only on" in case:
            answers[labels == VOID] = classes - 1
        matrix = _matrix(answers, labels, classes)
        scores = scores_of(matrix, len(labels))
        got = number(mean_iou(answers.clone(), labels.clone(), classes), "the mIoU")
        as_wrong = matrix.double()
        claimed = torch.stack([(answers[labels == VOID] == c).sum() for c in range(classes)])
        diagonal = as_wrong.diagonal()
        void_counts = (
            (diagonal / (as_wrong.sum(0) + as_wrong.sum(1) - diagonal + claimed)).nan_to_num().mean().item()
        )
        ious = torch.tensor(scores.iou_of, dtype=torch.float64)
        each = torch.tensor(
            [scores_of(_matrix(a, b, classes), 1).miou for a, b in zip(answers, labels, strict=True)]
        )
        occurs = matrix.sum(1) > 0
        mistakes: list[tuple[Tensor | float, str]] = [
            (scores.accuracy, "this is the share of right pixels, which the background wins."),
            (scores.dice, "this is the Dice score."),
            (ious[1:].nanmean(), "the background is a class, too."),
            (each.mean(), "all pictures together make one score; here each picture has its own."),
        ]
        if "void" in case:
            kept = torch.where(labels == VOID, 0, labels)
            mistakes += [
                (void_counts, "void pixels must not count, wherever they are: not as a wrong claim either."),
                (scores_of(_matrix(answers, kept, classes), 1).miou, "void pixels are not background."),
            ]
        nowhere = "a class that is neither there nor answered has no score: leave it out of the mean."
        mistakes += [
            (ious.nan_to_num(0).mean(), nowhere),
            (ious.nan_to_num(1).mean(), nowhere),
            (ious[occurs].mean(), "a class that was answered has a score, even if it occurs nowhere: which?"),
        ]
        same(
            got,
            scores.miou,
            f"with {case} the mIoU is {scores.miou:.4f}, and not {got:.4f}",
            plain,
            mistakes=[pair for pair in mistakes if not alike(pair[0], scores.miou, 1e-4)],
        )


def _matrix(answers: Tensor, labels: Tensor, classes: int) -> Tensor:
    pairs = (labels * classes + answers)[labels != VOID]
    return pairs.bincount(minlength=classes**2).reshape(classes, classes)


@worth(2)
def reach(window: Callable[[int, int, int], Any]) -> None:
    """Push the pixels of a picture, and look which of them move the answer."""
    for levels, depth, away in (
        (3, 0, 0),
        (2, 0, 1),
        (2, 1, 0),
        (3, 1, 2),
        (3, 2, 0),
        (3, 2, 3),
        (3, 3, 1),
        (4, 1, 5),
        (2, 4, 1),
    ):
        first, last = _moving(48 + away, levels, depth)
        for pixel in (48 + away, away):
            answer = several(
                window(pixel, levels, depth),
                2,
                "window does not return two pixels",
                "return the first and the last pixel.",
            )
            ends = [number(end, name) for end, name in zip(answer, ("first", "last"), strict=True)]
            wanted = [end - (48 + away - pixel) for end in (first, last)]
            got_width, width = ends[1] - ends[0] + 1, last - first + 1
            coarse = 2 ** (levels - 1)
            if ends[1] == wanted[1] + 1 and ends[0] == wanted[0]:
                hint = "the last pixel still belongs to the window: what is the last one of a coarse pixel?"
            elif ends == [wanted[0] + 1, wanted[1] - 1]:
                hint = "the light looks at the picture first: its kernel has a width, too."
            elif depth and got_width == width + 2 * depth * coarse:
                hint = "no convolution follows the coarsest maps themselves: an up-convolution comes first."
            elif pixel < coarse * (depth + 2) and ends[1] == wanted[1]:
                hint = "left of pixel 0 the count goes on: to which coarse pixel does pixel −1 belong?"
            elif not depth:
                hint = "only up-convolutions and the light are left: which coarse pixel makes this one?"
            elif got_width < width:
                hint = "which coarser pixels make these? Take every convolution in, round to whole pixels."
            else:
                hint = "a convolution adds one pixel *of its own level* on each side: count level by level."
            expect(
                ends == wanted,
                f"with {levels} levels and depth {depth} pixel {pixel} sees {wanted[0]} to {wanted[1]}, and "
                f"not {ends[0]:g} to {ends[1]:g}",
                hint,
            )


def _moving(pixel: int, levels: int, depth: int) -> tuple[int, int]:
    """First and last pixel that move an answer of a network in which nothing can cancel."""
    optics = IdealConvolution(1, levels, 3, (32, 96))
    model = HybridSegmenter(optics, classes=1, groups=(1,) * levels, depth=depth).double().eval()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.fill_(0.5)
    picture = torch.ones(1, 1, 32, 96, dtype=torch.float64, requires_grad=True)
    with torch.enable_grad():
        (push,) = torch.autograd.grad(model(picture)[0, 0, 16, pixel], picture)
    moved = push[0, 0].any(0).nonzero()
    return int(moved[0]), int(moved[-1])


@worth(2)
def dice(soft_dice: Callable[[Tensor, Tensor], Tensor]) -> None:
    """Compare value and gradient with the library on masks with void pixels and missing classes."""
    soft_dice = alone(soft_dice)
    for case, classes, shown, void in (
        ("two classes", 2, 2, 0.0),
        ("three classes", 3, 3, 0.0),
        ("void pixels", 3, 3, 0.3),
        ("classes that do not occur", 5, 2, 0.0),
    ):
        generator = seeded(len(case))
        logits = 2 * torch.randn(3, classes, 5, 6, dtype=torch.float64, generator=generator)
        labels = torch.randint(shown, (3, 5, 6), generator=generator)
        labels[0, :, :4] = 0
        labels[torch.rand(labels.shape, generator=generator) < void] = VOID
        wanted, wanted_gradient = _with_gradient(dice_loss, logits, labels)
        p = logits.softmax(1)
        valid = labels != VOID
        y = nn.functional.one_hot(labels.clamp(min=0), classes).movedim(-1, 1).double() * valid[:, None]
        q = p * valid[:, None]
        dims = (0, 2, 3)
        overlap, both = (q * y).sum(dims), (q + y).sum(dims)
        there = y.sum(dims) > 0
        ratio = 2 * overlap / both
        in_each = (2 * (q * y).sum((2, 3)) / (q + y).sum((2, 3)))[:, there]
        intersection = overlap / (both - overlap)
        squares = 2 * overlap / (q.square().sum(dims) + y.sum(dims))
        every = logits.softmax(-1) * valid[:, None]
        one = logits.sigmoid() * valid[:, None]
        mistakes = [
            (ratio[there].mean(), "this is the score: it rises as the masks get better. A loss falls."),
            (1 - ratio[there].mean() / 2, "equal masks must give 0: where is the 2?"),
            (1 - ratio[there][1:].mean(), "the background is a class, too."),
            (1 - 2 * overlap.sum() / both.sum(), "each class has its own ratio; then take the mean."),
            (1 - in_each.mean(), "the sums run over all pictures of the batch, and not over each alone."),
            (1 - intersection[there].mean(), "this is the intersection over union of soft masks."),
            (1 - squares[there].mean(), "the terms of the denominator are not squared here."),
            (
                1 - (2 * (every * y).sum(dims) / (every + y).sum(dims))[there].mean(),
                "the probabilities of one *pixel* add up to one: softmax over which axis?",
            ),
            (
                1 - (2 * (one * y).sum(dims) / (one + y).sum(dims))[there].mean(),
                "the classes of a pixel share one probability: they add up to one.",
            ),
            (
                1 - (2 * (p * y).sum(dims) / (p + y).sum(dims))[there].mean(),
                "void pixels must not count, in no sum.",
            ),
            (1 - ratio.mean(), "only the classes that occur in the labels enter the mean."),
            (1 - ratio.sum() / 2, "take the mean over classes, and not their sum."),
        ]
        if void:
            kept = dice_loss(logits, labels.clamp(min=0))
            mistakes.append((kept, "void pixels are not background."))
        got, gradient = _with_gradient(soft_dice, logits, labels)
        same(
            got,
            wanted,
            f"with {case} the loss is {wanted.item():.4f}, and not {got.item():.4f}",
            "start with logits so large that the probabilities are 0 and 1, and count by hand.",
            mistakes=[pair for pair in mistakes if not alike(pair[0], wanted, 1e-4)],
        )
        same(
            gradient,
            wanted_gradient,
            "the value is right, but its gradient is not",
            "answers that are cut to 0 and 1, or leave the graph, cannot be trained.",
        )


def _with_gradient(loss: Callable[..., Tensor], x: Tensor, *rest: Any) -> tuple[Tensor, Tensor]:
    """Value of a loss and its gradient to the first argument."""
    with torch.enable_grad():
        leaf = x.clone().requires_grad_()
        # A step before the loss: the student may change its argument in place.
        value = loss(leaf * 1.0, *(r.clone() if isinstance(r, Tensor) else r for r in rest))
        if not isinstance(value, Tensor):
            tensor(value, (), "the loss")
        elif value.numel() == 1:
            value = value.reshape(())
        tensor(value, (), "the loss")
        if not value.requires_grad:
            raise Wrong(
                "the loss has no gradient",
                "argmax, rounding, item() and detach() cut the graph: keep the probabilities as they are.",
            )
        (gradient,) = torch.autograd.grad(value, leaf)
    return value.detach(), gradient


@worth(2)
def answers(pixel_loss: Callable[[Tensor, Tensor, float], Tensor]) -> None:
    """Compare value and gradient with the library, and try a teacher that is certain."""
    pixel_loss = alone(pixel_loss)
    for shape, temperature in (((2, 3, 4, 5), 2.0), ((3, 2, 6, 6), 4.0), ((2, 5, 3, 4), 1.0)):
        ours, theirs = (2 * torch.randn(shape, dtype=torch.float64, generator=seeded(s)) for s in (1, 2))
        nothing = torch.zeros(shape[0], *shape[2:], dtype=torch.int64)

        def library(student: Tensor, teacher: Tensor, t: float, labels: Tensor = nothing) -> Tensor:
            return kd_loss(student, teacher, labels, temperature=t, alpha=1.0)

        wanted, wanted_gradient = _with_gradient(library, ours, theirs, temperature)
        got, gradient = _with_gradient(pixel_loss, ours, theirs, temperature)
        pixels, classes = shape[2] * shape[3], shape[1]
        axis = "the classes of one pixel share one probability: softmax over which axis?"
        mistakes = [
            (wanted * pixels, "this is a sum over the pixels of a picture, divided by the pictures alone."),
            (wanted * pixels * shape[0], "take the mean over pixels, and not the sum."),
            (
                wanted / classes,
                "the sum over classes belongs to KL: only pixels and pictures enter the mean.",
            ),
            (wanted / temperature**2, "the factor T² is missing."),
            (wanted / temperature, "the factor in front is T², and not T."),
            (library(theirs, ours, temperature), "KL is not symmetric: whose probabilities weigh?"),
            (-wanted, "the sign is turned: KL is never negative."),
            (_swapped(ours, theirs, temperature, -1), axis),
            (_swapped(ours, theirs, temperature, 0), axis),
            (
                temperature**2 * library(ours, theirs, 1.0),
                "the temperature has to divide the logits, of both networks.",
            ),
            (
                library(ours * temperature, theirs, temperature),
                "the temperature has to divide the logits of the student, too.",
            ),
            (
                library(ours, theirs * temperature, temperature),
                "the temperature has to divide the logits of the teacher, too.",
            ),
            (
                temperature**2 * _soft_entropy(ours, theirs, temperature),
                "this is a cross entropy: it is not zero where the two agree.",
            ),
            (
                (ours - theirs).square().mean(),
                "this compares logits; KL compares probabilities.",
            ),
        ]
        same(
            got,
            wanted,
            f"for logits of {shape} at T = {temperature:g} the loss is {wanted.item():.4f}, and not "
            f"{got.item():.4f}",
            "try one pixel of two classes, by hand; then two equal networks, which must give zero.",
            mistakes=[pair for pair in mistakes if not alike(pair[0], wanted, 1e-4)],
        )
        same(
            gradient,
            wanted_gradient,
            "the value is right, but its gradient is not",
            "only the teacher stands still; everything that comes from the student stays in the graph.",
        )
    with torch.enable_grad():
        student, teacher = ours.clone().requires_grad_(), theirs.clone().requires_grad_()
        pixel_loss(student, teacher, 2.0).backward()
    expect(
        teacher.grad is None or not teacher.grad.any(),
        "a gradient flows to the teacher",
        "the student has to come to the teacher, and not the other way round.",
    )
    certain = 400 * torch.randn(2, 2, 4, 4, generator=seeded(3))
    labels = torch.zeros(2, 4, 4, dtype=torch.int64)
    wanted, wanted_gradient = _with_gradient(
        lambda student, teacher: kd_loss(student, teacher, labels, temperature=2.0, alpha=1.0),
        certain.flip(0),
        certain,
    )
    got, gradient = _with_gradient(pixel_loss, certain.flip(0), certain, 2.0)
    same(
        got,
        wanted,
        "with a teacher that is certain the loss is another one",
        "a logarithm of a probability that has been rounded, or lifted by a small number, is lost: PyTorch "
        "has both steps in one.",
    )
    expect(
        bool(torch.isfinite(gradient).all()) and alike(gradient, wanted_gradient, 1e-4),
        "with a teacher that is certain the loss is right, and its gradient is not",
        "a place that torch.where or nan_to_num leaves out still sends its gradient, and 0 times infinity is "
        "NaN; a logarithm that is cut has no slope.",
    )


def _swapped(student: Tensor, teacher: Tensor, temperature: float, axis: int) -> Tensor:
    """The loss with a softmax over an axis that is not that of the classes."""
    p, q = ((z / temperature).log_softmax(axis) for z in (teacher, student))
    return temperature**2 * (p.exp() * (p - q)).sum(1).mean()


def _soft_entropy(student: Tensor, teacher: Tensor, temperature: float) -> Tensor:
    return cross_entropy(student / temperature, (teacher / temperature).softmax(1))


def _small_scenes() -> Dataset:
    """A few scenes. Masks for training are inside out: who learns from other ones learns something else."""
    scenes = load("scenes", size=16, figure_ground=True)
    parts = {}
    for name, count in (("train", 32), ("validation", 24), ("test", 24)):
        parts[name] = getattr(scenes, name).subset(count, 0)
    return replace(scenes, **(parts | {"train": replace(parts["train"], labels=1 - parts["train"].labels)}))


def _vector(model: nn.Module) -> Tensor:
    return torch.cat([value.detach().double().flatten() for value in model.state_dict().values()])


def _loss(model: nn.Module, split: Any) -> float:
    with torch.no_grad():
        return cross_entropy(deepcopy(model).eval()(split.images), split.labels).item()


@worth(3)
def linear(train_wide: Callable[[nn.Module, Dataset, int, int], LinearUNet]) -> None:
    """Train tiny ones; look at their encoders, their seeds, and what they have learnt."""
    data = _small_scenes()
    with torch.random.fork_rng():
        torch.manual_seed(7)
        teacher = UNet(1, 2, width=4, levels=3).eval()
        with torch.no_grad():
            for parameter in teacher.parameters():
                parameter.mul_(2)
        before = _vector(teacher).clone()
        models = []
        for round_, (epochs, seed) in enumerate(((1, 3), (1, 3), (1, 4), (12, 3))):
            torch.manual_seed(100 + round_)
            model = train_wide(teacher, data, epochs, seed)
            expect(
                torch.equal(_vector(teacher), before),
                "the teacher has changed",
                "it only lends its form; train the network that you made of it.",
            )
            if not isinstance(model, EncoderDecoder):
                raise Wrong(
                    f"the result is of type {type(model).__name__}",
                    "return the trained network: fit trains in place, and returns something else.",
                )
            models.append(model)
        model = models[-1]
        maps, x, y = deepcopy(model).eval(), data.test.images[:4], data.test.images[4:8]
        with torch.no_grad():
            together, rest = x + y, torch.zeros_like(x)
            for level in maps.encoder:
                together, x, y, rest = (level(z) for z in (together, x, y, rest))
                bend = (together - x - y + rest).norm() / (together - rest).norm()
                expect(
                    bend < 1e-3,
                    "the encoder is not linear: maps of a sum are not the sum of maps",
                    "is a ReLU left in the pools? linear_unet has a setting for it.",
                )
    one, again, _, long = models
    first = [next(m.decoder.parameters()).detach().flatten() for m in models]
    lent = next(teacher.decoder.parameters()).detach().flatten()
    expect(
        torch.cosine_similarity(first[0], lent, dim=0) < 0.7,
        "the weights are still close to those of the teacher",
        "linear_unet copies them, unless you tell it not to.",
    )
    expect(
        torch.equal(_vector(one), _vector(again)),
        "two runs with the same seed give different networks",
        "the weights must follow from the seed: when are they drawn, and when do you seed?",
    )
    expect(
        torch.cosine_similarity(first[0], first[2], dim=0) < 0.7,
        "two seeds start from the same weights",
        "the seed of the arguments is for the weights, too.",
    )
    losses = [_loss(m, data.train) for m in (one, long)]
    expect(
        losses[1] < 0.6 and losses[1] < losses[0] - 0.05,
        f"after 12 epochs its cross entropy on the training masks is {losses[1]:.2f}",
        "train on data.train, for all epochs, with the learning rate of the task."
        if losses[1] < 0.9
        else "it has learnt from other masks than those of data.train.",
    )


@worth(3)
def mixed(finish_with_masks: Callable[[nn.Module, Dataset, int, int], Any]) -> None:
    """Finish a tiny student twice; look at the copy, the original, and at which pictures it was judged."""
    data = _small_scenes()
    with torch.random.fork_rng():
        torch.manual_seed(5)
        model = HybridSegmenter(IdealConvolution(1, 12, 3, 16), classes=2, groups=(4, 8), depth=1).eval()
        start = _vector(model).clone()
        copies = []
        for round_, (epochs, seed) in enumerate(((1, 3), (1, 3), (1, 4), (14, 3))):
            torch.manual_seed(200 + round_)
            copy, first, last = several(
                finish_with_masks(model, data, epochs, seed),
                3,
                "the result is no triple",
                "return the copy, the mIoU before, and the one after.",
            )
            expect(
                torch.equal(_vector(model), start),
                "the model has changed",
                "fit trains in place: it must not get the model itself.",
            )
            if not isinstance(copy, nn.Module):
                raise Wrong(
                    f"the first of the three is of type {type(copy).__name__}", "return the trained copy."
                )
            expect(
                not torch.equal(_vector(copy), start),
                "the copy has not learnt anything",
                "which of the two networks did you train, and which do you return?",
            )
            for name, told, network in (("before", first, model), ("after", last, copy)):
                told = number(told, f"the mIoU {name}")
                scores = segmentation_scores(network, data.validation)
                turned = segmentation_scores(copy if network is model else model, data.validation).miou
                same(
                    told,
                    scores.miou,
                    f"the validation mIoU {name} is {scores.miou:.4f}, and not {told:.4f}",
                    "measure it with segmentation_scores on the validation pictures.",
                    mistakes=[
                        (
                            segmentation_scores(network, data.test).miou,
                            "leave the test pictures to the very end.",
                        ),
                        (
                            segmentation_scores(network, data.train).miou,
                            "training pictures are known by heart.",
                        ),
                        (100 * scores.miou, "from 0 to 1, and not in points of 100."),
                        (scores.accuracy, "this is the accuracy."),
                        (scores.dice, "this is the Dice score."),
                        (turned, "measure before and after; do both numbers come from the same network?"),
                    ],
                )
            copies.append(copy)
    expect(
        torch.equal(_vector(copies[0]), _vector(copies[1])),
        "two runs with the same seed give different networks",
        "fit takes the seed; nothing else should draw numbers.",
    )
    expect(
        not torch.equal(_vector(copies[0]), _vector(copies[2])),
        "the order of the pictures does not follow from the seed",
        "hand the seed on to fit.",
    )
    moved = max(
        (new - old).abs().max().item()
        for new, old in zip(copies[0].parameters(), model.parameters(), strict=True)
    )
    expect(
        0.0035 < moved < 0.012,
        f"in one epoch a weight moves by up to {moved:.4f}",
        "Adam moves a weight by at most the learning rate in a step: take the budget, and 0.002.",
    )
    losses = [_loss(m, data.train) for m in (model, copies[0], copies[-1])]
    expect(
        losses[2] < losses[0] and losses[2] < losses[1],
        f"the cross entropy on the training masks goes from {losses[0]:.2f} to {losses[2]:.2f}",
        "train on data.train, and for all epochs.",
    )
