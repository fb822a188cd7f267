import math
from dataclasses import replace

import pytest
import torch
import torch.nn.functional as F
from scipy.optimize import brentq

from onnlab.distill import KD, CrossEntropy, fit, kd_loss
from onnlab.distill.objectives import Batch
from tests.checks.cases import judge, right, wrong


def bisection(soften=lambda z, T: F.softmax(z / T, 0).max(), warmer=True, steps=40, high=100.0, back=None):
    """Halve a bracket, with the share of the largest logit or of another one."""

    def temperature_for(logits, share):
        low, top = 0.05, high
        for _ in range(steps):
            middle = (low + top) / 2
            too_large = bool(soften(logits, middle) > share)
            low, top = (middle, top) if too_large == warmer else (low, middle)
        return (back or (lambda T, z: T))(middle, logits)

    return temperature_for


def by_brentq(logits, share):
    """With scipy, over the logarithm of the temperature, and without a softmax."""
    gaps = (logits.max() - logits).tolist()
    excess = lambda x: sum(math.exp(-gap / math.exp(x)) for gap in gaps) - 1 / share  # noqa: E731
    return torch.tensor(math.exp(brentq(excess, math.log(0.05), math.log(100))))


def weight(alpha, classes, temperature):
    part = alpha / (classes * temperature**2)
    return part / (part + 1 - alpha)


def loss(square=2, soft_mean="batch", hard_mean=True, axis=1, swap=False, reverse=False, entropy=True, **odd):
    """The loss of distillation, and the ways to get it wrong."""

    def distillation_loss(student, teacher, labels, temperature, alpha):
        log_q = F.log_softmax(student / temperature, axis)
        log_p = F.log_softmax(teacher / temperature, axis)
        if reverse:
            log_p, log_q = log_q, log_p
        table = log_p.exp() * ((log_p if entropy else 0) - log_q)
        divergence = {"batch": table.sum(1).mean(), "all": table.mean(), "none": table.sum()}[soft_mean]
        warm = temperature if odd.get("warm") else 1
        hard = F.cross_entropy(student / warm, labels, reduction="mean" if hard_mean else "sum")
        if odd.get("detach"):
            hard = hard.detach()
        weights = (1 - alpha, alpha) if swap else (alpha, odd.get("labels", 1 - alpha))
        return weights[0] * temperature**square * divergence + weights[1] * hard

    return distillation_loss


def with_kl_div(student, teacher, labels, temperature, alpha):
    answers = F.softmax(teacher / temperature, 1)
    divergence = F.kl_div(F.log_softmax(student / temperature, 1), answers, reduction="batchmean")
    sure = torch.log_softmax(student, 1)[torch.arange(len(labels)), labels]
    return alpha * divergence * temperature**2 - (1 - alpha) * sure.mean()


def naive(student, teacher, labels, temperature, alpha, little=0.0):
    """The six lines of the chapter, perhaps with a small number against logarithms of zero."""
    p = torch.exp(teacher / temperature) / torch.exp(teacher / temperature).sum(1, keepdim=True)
    q = torch.exp(student / temperature) / torch.exp(student / temperature).sum(1, keepdim=True)
    kl = (p * torch.log((p + little) / (q + little))).sum(1).mean()
    sure = torch.exp(student) / torch.exp(student).sum(1, keepdim=True)
    ce = -torch.log(sure[torch.arange(len(labels)), labels] + little).mean()
    return alpha * temperature**2 * kl + (1 - alpha) * ce


def shares_then_logarithms(student, teacher, labels, temperature, alpha, little=0.0):
    p, q = (F.softmax(z / temperature, 1) for z in (teacher, student))
    kl = (p * ((p + little).log() - (q + little).log())).sum(1).mean()
    return alpha * temperature**2 * kl + (1 - alpha) * F.cross_entropy(student, labels)


def left_out(student, teacher, labels, temperature, alpha):
    """The right value, from a branch whose logarithm of zero is left out when it is too late."""
    log_p, log_q = (F.log_softmax(z / temperature, 1) for z in (teacher, student))
    naive = F.softmax(student / temperature, 1).log()
    log_q = torch.where(naive > -100, naive, log_q)
    hard = F.cross_entropy(student, labels)
    return alpha * temperature**2 * (log_p.exp() * (log_p - log_q)).sum(1).mean() + (1 - alpha) * hard


def cut_shares(student, teacher, labels, temperature, alpha):
    """The right value where the teacher is sure, and no gradient for what the student says there."""
    log_p, log_q = (F.log_softmax(z / temperature, 1) for z in (teacher, student))
    log_q = torch.where(log_q < -300, log_q.detach(), log_q)
    hard = F.cross_entropy(student, labels)
    return alpha * temperature**2 * (log_p.exp() * (log_p - log_q)).sum(1).mean() + (1 - alpha) * hard


def with_a_little(student, teacher, labels, temperature, alpha):
    return shares_then_logarithms(student, teacher, labels, temperature, alpha, little=1e-12)


def clamped(student, teacher, labels, temperature, alpha):
    return loss()(student.clamp(-50, 50), teacher.clamp(-50, 50), labels, temperature, alpha)


def stepper(**change):
    """One step of training, with one line missing or another one in its place."""

    def distil_step(student, teacher, images, labels, optimiser, augment, generator):
        crops, marks = augment(images, labels, generator)
        teacher.train(change.get("teacher_mode", False))
        shown = {"crop": crops, "original": images}.get(change.get("teacher_sees", "crop"))
        if shown is None:
            shown = augment(images, labels, generator)[0]
        with torch.no_grad():
            answers = teacher(shown)
        student.train(change.get("student_mode", True))
        seen = images if change.get("student_sees") == "original" else crops
        marks = labels if change.get("old_labels") else marks
        value = kd_loss(student(seen), answers, marks, change.get("T", 4.0), change.get("alpha", 0.9))
        if change.get("clean", True):
            optimiser.zero_grad()
        value.backward()
        if change.get("move", True):
            optimiser.step()
        return change.get("result", lambda value: value.item())(value)

    return distil_step


def with_objective(student, teacher, images, labels, optimiser, augment, generator):
    images, labels = augment(images, labels, generator)
    student.train()
    optimiser.zero_grad()
    value = KD(teacher)(Batch(student, images, labels, student(images)))
    value.backward()
    optimiser.step()
    return value.detach()


def without_augmentation(student, teacher, images, labels, optimiser, augment, generator):
    return stepper()(student, teacher, images, labels, optimiser, lambda x, y, g: (x, y), generator)


def teacher_learns_too(student, teacher, images, labels, optimiser, augment, generator):
    images, labels = augment(images, labels, generator)
    student.train()
    answers = teacher.eval()(images)
    value = kd_loss(student(images), answers, labels) + F.cross_entropy(answers, labels)
    optimiser.zero_grad()
    value.backward()
    optimiser.step()
    return value.item()


def statistics_wander(student, teacher, *rest):
    """Ask a teacher in training mode first, and in eval mode as well."""
    result = stepper()(student, teacher, *rest)
    with torch.no_grad():
        teacher.train()[1:](torch.randn(8, 36))
    return result


def learner(objective=lambda teacher: KD(teacher, temperature=4, alpha=1), **change):
    """Train from a teacher alone, or not quite alone."""

    def learn_unlabelled(student, teacher, data, epochs, seed):
        model = teacher if change.get("swap") else student
        other = student if change.get("swap") else teacher
        settings = {"learning_rate": change.get("rate", 1e-2), "progress": False}
        history = fit(
            model, data, objective(other), epochs=change.get("epochs", epochs), seed=seed, **settings
        )
        return change.get("result", lambda model, history: model)(model, history)

    return learn_unlabelled


def by_hand(student, teacher, data, epochs, seed):
    generator = torch.Generator().manual_seed(seed)
    adam = torch.optim.Adam(student.parameters(), lr=1e-2)
    with torch.no_grad():
        answers = teacher.eval()(data.train.images)
    for _ in range(epochs):
        for batch in torch.randperm(len(answers), generator=generator).split(50):
            p = F.softmax(answers[batch] / 4, 1)
            value = -16 * (p * F.log_softmax(student(data.train.images[batch]) / 4, 1)).sum(1).mean()
            adam.zero_grad()
            value.backward()
            adam.step()
    return student


def pseudo_labels(student, teacher, data, epochs, seed):
    with torch.no_grad():
        choices = teacher(data.train.images).argmax(1)
    labelled = replace(data, train=replace(data.train, labels=choices))
    fit(student, labelled, epochs=epochs, seed=seed, learning_rate=1e-2, progress=False)
    return student


def blunter(keep="shares", at=None, result="logits", axis=1, share=None):
    """Spread the doubts of a teacher, at its temperature or at a wrong one."""

    def blunt(logits, temperature):
        T = at or temperature
        shares = F.softmax(logits / T, axis)
        top, first = shares.max(1, keepdim=True)
        if share:
            top = torch.full_like(top, share)
        rest = (1 - top) / (logits.shape[1] - 1)
        flat = rest.expand_as(shares).scatter(1, first, top)
        return {"logits": temperature * flat.log(), "logarithms": flat.log(), "shares": flat}[result]

    return blunt


def by_difference(logits, temperature):
    """A number for the first choice, zeros for the others."""
    top, first = F.softmax(logits / temperature, 1).max(1, keepdim=True)
    lead = temperature * (top * (logits.shape[1] - 1) / (1 - top)).log()
    return torch.zeros_like(logits).scatter_(1, first, lead)


def mean_of_logits(logits, temperature):
    top, first = logits.max(1, keepdim=True)
    rest = (logits.sum(1, keepdim=True) - top) / (logits.shape[1] - 1)
    return rest.expand_as(logits).scatter(1, first, top)


def first_class(logits, temperature):
    flat = blunter()(logits, temperature).sort(1, descending=True).values
    return flat


def without_second(logits, temperature):
    """Level all but the two largest."""
    flat = by_difference(logits, temperature)
    second = logits.topk(2, 1).indices[:, 1:]
    return flat.scatter(1, second, 0.5)


def paired(scores, twins):
    return (scores - twins).mean(), (scores - twins).std()


def gain(mean=lambda d, s, t: d.mean(), spread=lambda d, s, t: d.std()):
    return lambda s, t: (mean(s - t, s, t).item(), spread(s - t, s, t).item())


CASES = [
    right("ch06-half", bisection()),
    right("ch06-half", by_brentq),
    wrong("ch06-half", "logits are divided", bisection(back=lambda T, z: 1 / T)),
    wrong("ch06-half", "which half", bisection(warmer=False)),
    wrong("ch06-half", "three digits", bisection(steps=8)),
    wrong("ch06-half", "0.05 and 100", bisection(high=5.0)),
    wrong("ch06-half", "need not be the first", bisection(lambda z, T: F.softmax(z / T, 0)[0])),
    wrong("ch06-half", "which half", bisection(lambda z, T: F.softmax(z / T, 0).min())),
    wrong("ch06-half", "which half", bisection(lambda z, T: F.softmax(z * T, 0).max())),
    wrong("ch06-half", "0.05 and 100", lambda z, share: 5.59),
    wrong("ch06-half", "positive", bisection(back=lambda T, z: math.log(T) - 9)),
    right("ch06-bug", lambda C, T: C * T**2, weight),
    right(
        "ch06-bug",
        lambda C, T: float(T * T * C),
        lambda a, C, T: 1 / (1 + C * T * T * (1 / torch.tensor(a) - 1)),
    ),
    wrong("ch06-bug", "more than the batch", lambda C, T: T**2, weight),
    wrong("ch06-bug", "another factor", lambda C, T: C, weight),
    wrong("ch06-bug", "which power", lambda C, T: C * T, weight),
    wrong("ch06-bug", "above 1", lambda C, T: 1 / (C * T**2), weight),
    wrong("ch06-bug", "is in the formula", lambda C, T: 160, weight),
    wrong("ch06-bug", "add up to 1", lambda C, T: C * T**2, lambda a, C, T: a / (C * T**2)),
    wrong("ch06-bug", "for the labels", lambda C, T: C * T**2, lambda a, C, T: 1 - weight(a, C, T)),
    wrong("ch06-bug", "stands in the code", lambda C, T: C * T**2, lambda a, C, T: a),
    wrong("ch06-bug", "between 0 and 1", lambda C, T: C * T**2, lambda a, C, T: a * C * T**2),
    wrong("ch06-bug", "to the sum 1", lambda C, T: C * T**2, lambda a, C, T: a / (C * T**2) / (1 - a)),
    wrong("ch06-bug", "to the sum 1", lambda C, T: C * T**2, lambda a, C, T: weight(a, C, T**0.5)),
    right("ch06-loss", loss()),
    right("ch06-loss", with_kl_div),
    right("ch06-loss", lambda s, t, y, T, alpha: loss()(s.float(), t.float(), y, T, alpha)),
    wrong("ch06-loss", "calls kd_loss", kd_loss),
    wrong("ch06-loss", "calls kd_loss", lambda s, t, y, T, alpha: kd_loss(s.float(), t.float(), y, T, alpha)),
    wrong("ch06-loss", "still sends its gradient", left_out),
    wrong("ch06-loss", "has no slope", cut_shares),
    wrong("ch06-loss", "whispers", loss(square=0)),
    wrong("ch06-loss", "factor in front", loss(square=1)),
    wrong("ch06-loss", "who divides", loss(soft_mean="all")),
    wrong("ch06-loss", "both bugs", loss(soft_mean="all", square=0)),
    wrong("ch06-loss", "teacher's term is a mean", loss(soft_mean="none")),
    wrong("ch06-loss", "labels' term is a mean", loss(hard_mean=False)),
    wrong("ch06-loss", "the loss is a mean", loss(soft_mean="none", hard_mean=False)),
    wrong("ch06-loss", "over *classes*", loss(axis=0)),
    wrong("ch06-loss", "does α multiply", loss(swap=True)),
    wrong("ch06-loss", "have a weight", loss(labels=1)),
    wrong("ch06-loss", "not symmetric", loss(reverse=True)),
    wrong("ch06-loss", "own entropy", loss(entropy=False)),
    wrong("ch06-loss", "no temperature", loss(warm=True)),
    wrong("ch06-loss", "may be detached", loss(detach=True)),
    wrong("ch06-loss", "leave out the item", lambda *given: loss()(*given).item()),
    wrong("ch06-loss", "no gradient", lambda s, *rest: loss()(s.detach(), *rest)),
    wrong("ch06-loss", "the two terms apart", lambda s, t, *rest: loss()(t, s, *rest)),
    wrong("ch06-loss", "exp overflows", naive),
    wrong("ch06-loss", "stay with logarithms", shares_then_logarithms),
    wrong("ch06-loss", "changes what is added up", with_a_little),
    wrong("ch06-loss", "changes what is added up", clamped),
    right("ch06-step", stepper()),
    right("ch06-step", with_objective),
    wrong("ch06-step", "training mode", stepper(teacher_mode=True)),
    wrong("ch06-step", "eval mode", stepper(student_mode=False)),
    wrong("ch06-step", "the same crop", stepper(teacher_sees="original")),
    wrong("ch06-step", "two crops", stepper(teacher_sees="another")),
    wrong("ch06-step", "did not see the augmented", stepper(student_sees="original")),
    wrong("ch06-step", "call augment", without_augmentation),
    wrong("ch06-step", "augment returned both", stepper(old_labels=True)),
    wrong("ch06-step", "an earlier step", stepper(clean=False)),
    wrong("ch06-step", "not moved at all", stepper(move=False)),
    wrong("ch06-step", "names a temperature", stepper(T=1.0)),
    wrong("ch06-step", "weight of the teacher", stepper(alpha=0.1)),
    wrong("ch06-step", "the labels alone", stepper(alpha=0.0)),
    wrong("ch06-step", "the teacher alone", stepper(alpha=1.0)),
    wrong("ch06-step", "torch.no_grad", teacher_learns_too),
    wrong("ch06-step", "only the student learns", statistics_wander),
    wrong("ch06-step", "is None", stepper(result=lambda value: None)),
    wrong("ch06-step", "as a float", stepper(result=lambda value: 2 * value.item())),
    right("ch06-unlabelled", learner()),
    right("ch06-unlabelled", by_hand),
    wrong("ch06-unlabelled", "nothing of the labels", learner(lambda t: KD(t, 4.0, 0.9))),
    wrong("ch06-unlabelled", "nothing of the labels", learner(lambda t: KD(t, 4.0, 0.0))),
    wrong("ch06-unlabelled", "nothing of the labels", learner(lambda t: CrossEntropy())),
    wrong("ch06-unlabelled", "other doubts", pseudo_labels),
    wrong("ch06-unlabelled", "for all epochs", learner(epochs=1, rate=1e-3)),
    wrong("ch06-unlabelled", "result is the teacher", learner(swap=True)),
    wrong("ch06-unlabelled", "returns its history", learner(result=lambda model, history: history)),
    wrong("ch06-unlabelled", "learnt nothing", lambda student, *_: student),
    right("ch06-smooth", blunter(), gain()),
    right("ch06-smooth", by_difference, paired),
    wrong("ch06-smooth", "soften first", mean_of_logits, paired),
    wrong("ch06-smooth", "that at T = 1", blunter(at=1.0), paired),
    wrong("ch06-smooth", "holds shares", blunter(result="shares"), paired),
    wrong("ch06-smooth", "Which ones have them at T", blunter(result="logarithms"), paired),
    wrong("ch06-smooth", "label smoothing", blunter(share=0.9), paired),
    wrong("ch06-smooth", "another class", first_class, paired),
    wrong("ch06-smooth", "another class", blunter(axis=0), paired),
    wrong("ch06-smooth", "unequal shares", without_second, paired),
    wrong("ch06-smooth", "unequal shares", lambda z, T: z, paired),
    wrong("ch06-smooth", "positive", blunter(), gain(mean=lambda d, s, t: (t - s).mean())),
    wrong("ch06-smooth", "less the twin's", blunter(), gain(mean=lambda d, s, t: s.mean())),
    wrong("ch06-smooth", "n − 1", blunter(), gain(spread=lambda d, s, t: d.std(correction=0))),
    wrong(
        "ch06-smooth", "error of the mean", blunter(), gain(spread=lambda d, s, t: d.std() / len(d) ** 0.5)
    ),
    wrong("ch06-smooth", "the variance", blunter(), gain(spread=lambda d, s, t: d.var())),
    wrong(
        "ch06-smooth",
        "twins as strangers",
        blunter(),
        gain(spread=lambda d, s, t: torch.hypot(s.std(), t.std())),
    ),
    wrong("ch06-smooth", "one side", blunter(), gain(spread=lambda d, s, t: s.std())),
    wrong("ch06-smooth", "difference of spreads", blunter(), gain(spread=lambda d, s, t: s.std() - t.std())),
]


@pytest.mark.parametrize("case", CASES, ids=str)
def test_answer(case, capsys):
    judge(case, capsys)
