"""Checks of chapter 6: the loss of distillation, a step with it, and controls for what it brings."""

import math
from collections.abc import Callable
from copy import deepcopy

import torch
import torch.nn.functional as F
from torch import Generator, Tensor, nn
from torch.optim import SGD, Optimizer

from onnlab.checks._check import (
    Wrong,
    alike,
    alone,
    expect,
    noise,
    number,
    same,
    seeded,
    several,
    tensor,
    worth,
)
from onnlab.data import Dataset, Split
from onnlab.distill import kd_loss

Augment = Callable[[Tensor, Tensor, Generator], tuple[Tensor, Tensor]]


def _logits(*shape: int, seed: int, size: float = 2.0) -> Tensor:
    return size * noise(*shape, seed=seed)


@worth(1)
def half(temperature_for: Callable[[Tensor, float], float]) -> None:
    """Heat random logits to the temperature of the answer, and a little above and below it."""

    def largest(z: Tensor, temperature: float) -> float:
        return F.softmax(z / temperature, dim=0).max().item()

    for z, share in (
        (torch.tensor([3, 0.5, -1], dtype=torch.float64), 0.5),
        (torch.tensor([2.0, -3, 2.5, -3], dtype=torch.float64), 0.35),
        (torch.tensor([0.2, -1, 2.5, 1], dtype=torch.float64), 0.9),
        (_logits(10, seed=1, size=8), 0.2),
        (_logits(10, seed=2), 0.35),
    ):
        T = number(temperature_for(z.clone(), share), "the temperature")
        expect(T > 0, f"the temperature is {T:.4g}", "a temperature is positive.")
        given = f"of {len(z)} logits the largest has the share"
        what = f"at the temperature {T:.5g}, {given} {largest(z, T):.3f}, and not {share:g}"
        expect(
            abs(largest(z, 1 / T) - share) > 1e-3 or abs(T - 1) < 1e-3,
            what,
            "logits are divided by the temperature, so that heat makes shares more equal.",
        )
        first = F.softmax(z / T, dim=0)[0].item()
        expect(
            abs(first - share) > 1e-3 or abs(largest(z, T) - first) < 1e-6,
            what,
            "the largest logit need not be the first one.",
        )
        expect(
            largest(z, 0.995 * T) >= share >= largest(z, 1.005 * T),
            what,
            "if the share is too large, which half of the bracket is too cold? Start from 0.05 and 100, and "
            "halve it until three digits stand.",
        )


@worth(1)
def bug(too_quiet: Callable[[int, float], float], real_alpha: Callable[[float, int, float], float]) -> None:
    """Compute both losses on random logits, and compare the parts of the teacher and of the labels."""
    for seed, (classes, T, alpha) in enumerate(((10, 4.0, 0.9), (3, 2.0, 0.5), (7, 5.0, 0.75))):
        s, t = _logits(32, classes, seed=seed), _logits(32, classes, seed=seed + 9)
        y = torch.randint(classes, (32,), generator=seeded(seed))
        log_q, p = F.log_softmax(s / T, 1), F.softmax(t / T, 1)
        colleague = F.kl_div(log_q, p, reduction="none").mean().item()
        soft = kd_loss(s, t, y, T, alpha=1).item()
        seen, given = soft / colleague, f"with {classes} classes at T = {T:g} the teacher"
        told = number(too_quiet(classes, T), "the factor")
        same(
            told,
            seen,
            f"{given} is {seen:.4g} times too quiet, and not {told:.4g} times",
            "two things are missing: one is in the formula, the other in what a mean divides by.",
            mistakes=[
                (T**2, "that is one of two mistakes: the mean divides by more than the batch."),
                (float(classes), "that is one of two mistakes: the formula has another factor."),
                (classes * T, "with which power does the temperature stand in the formula?"),
                (32 * seen, "the mean over the batch is right."),
                (1 / seen, "how many times too quiet is a number above 1."),
            ],
        )
        hard = kd_loss(s, t, y, T, alpha=0).item()
        ratio = alpha * colleague / ((1 - alpha) * hard)
        share = number(real_alpha(alpha, classes, T), "the weight")
        expect(
            0 < share < 1, f"the weight in effect is {share:.4g}", "it lies between 0 and 1, as any alpha."
        )
        weights = alpha / seen
        hint = "only the ratio of the two weights counts. Bring them to the sum 1."
        if alike(share, 1 / (1 + ratio * hard / soft), 1e-3):
            hint = "this is what is left for the labels."
        elif alike(share, weights, 1e-3):
            hint = "the labels kept their weight, so the two no longer add up to 1."
        elif alike(share, alpha, 1e-3):
            hint = "this is what stands in the code, and the teacher's term beside it is too small."
        expect(
            alike(share * soft / ((1 - share) * hard), ratio, 1e-3),
            f"with alpha = {alpha:g}, {given} has a weight in effect that is not {share:.4g}",
            hint,
        )


@worth(2)
def loss(distillation_loss: Callable[[Tensor, Tensor, Tensor, float, float], Tensor]) -> None:
    """Compare value and gradient with the library's, on small logits and on huge ones."""
    distillation_loss = alone(distillation_loss, "kd_loss")
    for seed, (n, classes, T, alpha) in enumerate(((7, 5, 3.0, 0.7), (1, 4, 1.5, 0.2), (6, 3, 8.0, 0.9))):
        s, t = _logits(n, classes, seed=seed), _logits(n, classes, seed=seed + 9)
        y = torch.randint(classes, (n,), generator=seeded(seed + 3))
        given = f"for {n} answers in {classes} classes, T = {T:g} and α = {alpha:g}"
        z, wanted_z = s.clone().requires_grad_(), s.clone().requires_grad_()
        with torch.enable_grad():
            answer = distillation_loss(z, t.clone(), y.clone(), T, alpha)
            wanted = kd_loss(wanted_z, t, y, T, alpha)
        if isinstance(answer, float):
            raise Wrong("the result is a float", "nothing can learn from a float: leave out the item().")
        value = tensor(answer, ())
        soft, hard = (kd_loss(s, t, y, T, alpha=a) for a in (1, 0))
        log_q, log_p = F.log_softmax(s / T, 1), F.log_softmax(t / T, 1)
        own = T**2 * -(log_p.exp() * log_p).sum(1).mean()
        back = T**2 * (log_q.exp() * (log_q - log_p)).sum(1).mean()
        across = kd_loss(s.T, t.T, y.new_zeros(classes), T, alpha=1)
        warm = F.cross_entropy(s / T, y)

        def mix(teacher_term: Tensor, label_term: Tensor, alpha: float = alpha) -> Tensor:
            return alpha * teacher_term + (1 - alpha) * label_term

        same(
            value,
            wanted,
            f"{given} the loss is {wanted:.4f}, and not {value:.4f}",
            "compute the two terms apart, on the fixed numbers of the chapter.",
            mistakes=[
                (mix(soft / T**2, hard), "one factor of the formula is missing: the teacher whispers."),
                (mix(soft / T, hard), "the factor in front of the teacher's term is not right."),
                (mix(soft / classes, hard), "a sum over classes and a mean over the batch: who divides?"),
                (mix(soft / classes / T**2, hard), "both bugs of the exercise before this one."),
                (mix(n * soft, hard), "the teacher's term is a mean over the batch."),
                (mix(soft, n * hard), "the labels' term is a mean over the batch."),
                (mix(n * soft, n * hard), "the loss is a mean over the batch."),
                (mix(hard, soft), "which of the two terms does α multiply?"),
                (soft + hard, "α weighs the two terms."),
                (alpha * soft + hard, "the labels have a weight, too."),
                (mix(soft, warm), "the labels' term has no temperature: the student means what it says."),
                (mix(soft, T**2 * warm), "the labels' term has no temperature."),
                (mix(soft + own, hard), "this is a cross entropy. It lacks the teacher's own entropy."),
                (mix(back, hard), "KL is not symmetric: whose shares stand in front of the logarithm?"),
                (mix(across, hard), "the shares of an answer add up over *classes*: look at dim."),
                (mix(across * classes / n, hard), "the shares of an answer add up over *classes*: see dim."),
            ],
            rtol=1e-5,
        )
        expect(answer.requires_grad, "the loss has no gradient", "the student's logits must not be detached.")
        answer.backward()
        wanted.backward()
        expect(
            z.grad is not None and alike(z.grad, wanted_z.grad, 1e-4),  # type: ignore[arg-type]
            "the value is right, and its gradient is not",
            "both terms teach the student: none of them may be detached.",
        )
    huge = torch.tensor([[1000.0, 0, -1000], [-1000, 0, 1000], [0, 0, 0]], dtype=torch.float64)
    for s, t in ((huge, huge), (huge.flip(1), huge), (0 * huge, huge), (huge, 0 * huge)):
        z, wanted_z = s.clone().requires_grad_(), s.clone().requires_grad_()
        with torch.enable_grad():
            value = distillation_loss(z, t.clone(), torch.tensor([0, 1, 2]), 1.0, 0.6)
            wanted = kd_loss(wanted_z, t, torch.tensor([0, 1, 2]), 1.0, 0.6)
        expect(
            bool(torch.isfinite(value)),
            f"with logits of ±1000 the loss is {value.item()}",
            "exp overflows, or a share has rounded to 0 before its logarithm: stay with logarithms.",
        )
        expect(
            abs(value.item() - wanted.item()) <= 1e-5 * (1 + wanted.item()),
            f"with logits of ±1000 the loss is {wanted:.4g}, and not {value:.4g}",
            "adding a small number, or cutting at one, changes what is added up.",
        )
        (gradient,), (right,) = torch.autograd.grad(value, z), torch.autograd.grad(wanted, wanted_z)
        expect(
            bool(torch.isfinite(gradient).all()),
            "with logits of ±1000 the loss is right, and its gradient holds NaN or infinite values",
            "a place that torch.where or nan_to_num leaves out still sends its gradient: 0 times infinity is "
            "NaN. Stay with logarithms.",
        )
        expect(
            alike(gradient, right, 1e-4),
            "with logits of ±1000 the loss is right, and its gradient is not",
            "a logarithm that is cut has no slope: stay with logarithms.",
        )


@worth(2)
def step(
    distil_step: Callable[[nn.Module, nn.Module, Tensor, Tensor, Optimizer, Augment, Generator], float],
) -> None:
    """Watch both networks during a step, and repeat it with other orders of what they saw."""
    with torch.random.fork_rng():
        torch.manual_seed(0)
        student = nn.Sequential(nn.Flatten(), nn.Linear(36, 8), nn.BatchNorm1d(8), nn.Linear(8, 4))
        teacher = nn.Sequential(nn.Flatten(), nn.Linear(36, 8), nn.BatchNorm1d(8), nn.Tanh(), nn.Linear(8, 4))
        with torch.no_grad():
            for parameter in teacher.parameters():
                parameter.mul_(3)
    images, labels = torch.rand(12, 1, 6, 6, generator=seeded(1)), torch.arange(12) % 4
    crops: list[tuple[Tensor, Tensor]] = []
    seen: dict[str, list[tuple[Tensor, bool]]] = {"student": [], "teacher": []}

    def augment(x: Tensor, y: Tensor, generator: Generator) -> tuple[Tensor, Tensor]:
        # Every image gets another place, so that old labels do not fit the new images.
        order = (torch.arange(len(x)) + 1) % len(x)
        crops.append((x[order] + 0.3 * torch.rand(x.shape, generator=generator), y[order]))
        return crops[-1][0].clone(), crops[-1][1].clone()

    def watch(name: str) -> Callable[[nn.Module, tuple[Tensor, ...]], None]:
        return lambda model, inputs: seen[name].append((inputs[0].detach().clone(), model.training))

    for network in (student, teacher):
        network.train()
        for parameter in network.parameters():
            parameter.grad = torch.ones_like(parameter) if network is student else None
    student.eval()  # as it comes from a test between two epochs
    before, old_teacher = deepcopy(student), deepcopy(teacher)
    student.register_forward_pre_hook(watch("student"))
    teacher.register_forward_pre_hook(watch("teacher"))
    optimiser = SGD(student.parameters(), lr=0.1)
    arguments = (images.clone(), labels.clone(), optimiser, augment, seeded(2))
    told = distil_step(student, teacher, *arguments)

    for name, calls in seen.items():
        expect(len(calls) > 0, f"the {name} was never asked", "both networks answer the images of the step.")
    expect(len(crops) > 0, "no image was augmented", "call augment first.")
    expect(
        len(crops) == 1,
        f"the images were augmented {len(crops)} times",
        "two calls give two crops; student and teacher have to see the same one.",
    )
    (x, y), ((x_s, student_learns), *_), ((x_t, teacher_learns), *_) = crops[0], *seen.values()
    expect(alike(x_s, x, 1e-6), "the student did not see the augmented images", "which images does it get?")
    expect(
        alike(x_t, x, 1e-6),
        "the teacher commented on images that the student did not see",
        "student and teacher have to see the same crop.",
    )
    expect(not teacher_learns, "the teacher answers in training mode", "it comes in any mode. Set it.")
    expect(student_learns, "the student answers in eval mode", "it comes in any mode. Set it.")
    for old, new in zip(old_teacher.state_dict().values(), teacher.state_dict().values(), strict=True):
        expect(alike(new, old, 0.0), "the teacher has changed", "only the student learns.")
    expect(
        all(parameter.grad is None for parameter in teacher.parameters()),
        "the teacher has got gradients",
        "ask it under torch.no_grad().",
    )

    def after(y: Tensor, stale: float = 0.0, **setting: float) -> tuple[Tensor, float]:
        model = deepcopy(before).train()
        with torch.no_grad():
            answers = old_teacher.eval()(x)
        with torch.enable_grad():
            value = kd_loss(model(x), answers, y, **setting)
        gradients = torch.autograd.grad(value, list(model.parameters()))
        pairs = zip(model.parameters(), gradients, strict=True)
        moved = [(p - 0.1 * (g + stale)).detach().flatten() for p, g in pairs]
        return torch.cat(moved), value.item()

    got = torch.cat([parameter.detach().flatten() for parameter in student.parameters()])
    start = torch.cat([parameter.detach().flatten() for parameter in before.parameters()])
    right, value = after(y)
    same(
        got - start,
        right - start,
        "the student did not move as one step of its optimiser moves it",
        "what does the optimiser need before backward(), and what after it?",
        mistakes=[
            (0 * start, "it has not moved at all."),
            (after(y, stale=1.0)[0] - start, "the gradients of an earlier step are still in there."),
            (after(labels)[0] - start, "labels and images are not of the same order: augment returned both."),
            (after(y, alpha=0.0)[0] - start, "this step followed the labels alone."),
            (after(y, alpha=1.0)[0] - start, "this step followed the teacher alone."),
            (after(y, alpha=0.1)[0] - start, "α is the weight of the teacher."),
            (after(y, temperature=1.0)[0] - start, "the task names a temperature."),
        ],
        rtol=1e-3,
    )
    same(
        number(told, "the loss"),
        value,
        f"the loss before the step was {value:.4f}, and not {float(told):.4f}",
        "return what was computed for the step, as a float.",
        rtol=1e-3,
    )


@worth(2)
def unlabelled(learn_unlabelled: Callable[[nn.Module, nn.Module, Dataset, int, int], nn.Module]) -> None:
    """Train twice with labels that mean nothing; compare with the teacher on images never seen."""
    with torch.random.fork_rng():
        torch.manual_seed(1)
        layers = (nn.Linear(25, 12), nn.BatchNorm1d(12), nn.ReLU(), nn.Dropout(0.3))
        last = nn.Linear(12, 4)
        teacher = nn.Sequential(nn.Flatten(), *layers, last)
        fresh = nn.Sequential(nn.Flatten(), nn.Linear(25, 12), nn.ReLU(), nn.Linear(12, 4))
        with torch.no_grad():
            last.weight.mul_(8)
        images = torch.randn(1000, 1, 5, 5)
        teacher(images)  # fills the statistics of its BatchNorm
        before = deepcopy(teacher.eval())
        with torch.no_grad():
            answers = teacher(images)
        students = []
        for shift in (1, 2):
            misleading = (answers.argmax(1) + shift) % 4
            data = Dataset(
                "noise",
                Split(images[:600], misleading[:600]),
                Split(images[600:800], answers.argmax(1)[600:800]),
                Split(images[800:], misleading[800:]),
                ("a", "b", "c", "d"),
                "",
            )
            student = learn_unlabelled(deepcopy(fresh), teacher, data, 25, 5)
            if not isinstance(student, nn.Module):
                kind = "None" if student is None else f"of type {type(student).__name__}"
                raise Wrong(f"the result is {kind}", "return the student; fit returns its history.")
            expect(
                student is not teacher, "the result is the teacher", "it is the student that has to learn."
            )
            students.append(student.eval())
    for old, new in zip(before.state_dict().values(), teacher.state_dict().values(), strict=True):
        expect(alike(new, old, 0.0), "the teacher has changed", "only the student learns.")
    with torch.no_grad():
        one, other = (student(images[800:]) for student in students)
        start = fresh(images[800:])
    expect(
        not alike(one, start, 1e-3), "the student has learnt nothing", "which of the two networks is in fit?"
    )
    expect(
        alike(one, other, 1e-3),
        "other training labels make another student",
        "which α leaves nothing of the labels?",
    )
    agreement = (one.argmax(1) == answers[800:].argmax(1)).float().mean().item()
    expect(
        agreement > 0.7,
        f"on new images the student agrees with the teacher in {agreement:.0%} of the cases",
        "train for all epochs, on data.train, with the learning rate of the task.",
    )
    any_label = torch.zeros(len(one), dtype=torch.int64)
    left, at_first = (kd_loss(z, answers[800:], any_label, temperature=4.0, alpha=1) for z in (one, start))
    expect(
        left < 0.35 * at_first,
        "the student gives the same answers as the teacher, with other doubts",
        "its choices alone are hard labels again: let it copy the shares, at the temperature of the task.",
    )


@worth(3)
def smooth(
    blunt: Callable[[Tensor, float], Tensor], paired_gain: Callable[[Tensor, Tensor], tuple[float, float]]
) -> None:
    """Look at the shares that the blunt logits have, and at random pairs of scores."""
    for n, classes, T in ((6, 10, 4.0), (5, 3, 2.0), (8, 6, 1.0)):
        z = _logits(n, classes, seed=classes, size=3)
        answer = tensor(blunt(z.clone(), T), (n, classes), "the answer of blunt").double()
        got, wanted = F.softmax(answer / T, 1), F.softmax(z / T, 1)
        top, first = wanted.max(1)
        given = f"at T = {T:g} with {classes} classes"
        expect(
            not (
                alike(answer.sum(1), torch.ones(n, dtype=torch.float64), 1e-5) and bool((answer >= 0).all())
            ),
            "the answer of blunt holds shares",
            "a teacher gives logits: which logits have these shares at this temperature?",
        )
        expect(
            bool((got.argmax(1) == first).all()),
            f"{given} the first choice of some rows is another class now",
            "keep the place of the largest logit in each row.",
        )
        others = torch.ones_like(got, dtype=torch.bool).scatter(1, first[:, None], False)
        doubts = got[others].view(n, classes - 1)
        expect(
            (doubts - doubts.mean(1, keepdim=True)).abs().max() < 1e-5,
            f"{given} the other classes have unequal shares",
            "spread what is left equally over the others, row by row.",
        )
        share = got.gather(1, first[:, None]).squeeze(1)
        at_one = F.softmax(z, 1).amax(1)
        means = z.masked_fill(~others, 0).sum(1) / (classes - 1)
        of_means = torch.sigmoid((z.amax(1) - means) / T - math.log(classes - 1))
        same(
            share,
            top,
            f"{given} the first choice has another share than before",
            "how sure the teacher is of each image must stay, at the temperature at which it is asked.",
            mistakes=[
                (of_means, "a mean of logits is no mean of shares: soften first, then average."),
                (at_one, "the share is that at T = 1, and the teacher is asked at another temperature."),
                (share.mean().expand(n), "every image has the same doubt: that is label smoothing."),
                (
                    (top ** (1 / T))
                    / (top ** (1 / T) + (classes - 1) * ((1 - top) / (classes - 1)) ** (1 / T)),
                    "these logits have the shares at T = 1. Which ones have them at T?",
                ),
            ],
            rtol=1e-4,
        )
    for seeds in (3, 6):
        twins = 93 + _logits(seeds, seed=seeds)
        scores = twins + 1 + 0.3 * _logits(seeds, seed=seeds + 1)
        told = paired_gain(scores.clone(), twins.clone())
        answer_pair = several(
            told, 2, f"paired_gain returns {told!r}", "return two numbers: mean, deviation."
        )
        mean, spread = (
            number(told, name) for told, name in zip(answer_pair, ("the mean", "the deviation"), strict=True)
        )
        gains = [a - b for a, b in zip(scores.tolist(), twins.tolist(), strict=True)]
        middle = sum(gains) / seeds
        squares = sum((gain - middle) ** 2 for gain in gains)
        same(
            mean,
            middle,
            "the mean gain is another one",
            "a gain is the score less the twin's.",
            mistakes=[(-middle, "a gain above its twin counts as positive.")],
            rtol=1e-4,
        )
        seen = math.sqrt(squares / (seeds - 1))
        same(
            spread,
            seen,
            "the deviation of the gain is another one",
            "take the differences first, seed by seed.",
            mistakes=[
                (math.sqrt(squares / seeds), "with n seeds, divide by n − 1: the mean is estimated, too."),
                (seen / math.sqrt(seeds), "this is the error of the mean; asked is the spread of the seeds."),
                (squares / (seeds - 1), "this is the variance."),
                (
                    math.sqrt(scores.var().item() + twins.var().item()),
                    "this treats twins as strangers: take the differences first, seed by seed.",
                ),
                (scores.std().item(), "this is the spread of one side: take the differences first."),
                (scores.std().item() - twins.std().item(), "a difference of spreads is no spread."),
            ],
            rtol=1e-4,
        )
