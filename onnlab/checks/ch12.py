"""Checks of chapter 12: what undoing asks of a back end, what it costs, and what a device is ordered by."""

import copy
import math
from collections.abc import Callable
from typing import Any

import torch
from torch import Generator, Tensor, nn

from onnlab.checks._check import alike, expect, number, same, seeded, several, tensor, worth


def _pair(answer: object, what: str) -> tuple[Any, ...]:
    """Return the two parts of an answer, or tell that there are none."""
    return several(answer, 2, f"the result is not a pair, {what}", "return both, with a comma between them.")


@worth(1)
def dark(corrected: Callable[[Tensor, Tensor, float, Tensor], tuple[Tensor, Tensor]]) -> None:
    """Compare the sums in front of the ReLU on both devices."""
    for seed, factor in enumerate((0.5, 0.25, 1.6)):
        draw = seeded(seed)
        old, bias, black = (
            torch.randn(*shape, dtype=torch.float64, generator=draw) for shape in ((5, 7), (5,), (7,))
        )
        readings = torch.rand(12, 7, dtype=torch.float64, generator=draw)
        given = [old.clone(), bias.clone(), black.clone()]
        got = _pair(corrected(given[0], given[1], factor, given[2]), "weights and bias")
        expect(
            torch.equal(given[0], old) and torch.equal(given[1], bias),
            "the old layer has changed",
            "make new tensors: an operation in place writes into the design.",
        )
        new, moved = (
            tensor(part, shape, name).double()
            for part, shape, name in zip(got, ((5, 7), (5,)), ("the weights", "the bias"), strict=True)
        )
        wanted = readings @ old.T + bias
        without_black = factor * readings @ new.T
        expect(
            alike(without_black - without_black[:1], (wanted - wanted[:1]), 1e-4),
            f"with {factor:g} of the light a difference of two readings does not count as much as before",
            "weights make up for a factor: are they to be larger or smaller?",
        )
        seen = (factor * readings + black) @ new.T + moved
        same(
            seen,
            wanted,
            "the sums in front of the ReLU are not the old ones",
            "put m' into W' m' + b', and read off what b' must be.",
            mistakes=[
                (seen - moved + bias, "the black level adds something to each sum: take it off again."),
                (
                    seen - moved + bias / factor,
                    "the bias came from the electronics and has not become darker.",
                ),
                (wanted + 2 * black @ new.T, "the black level is counted twice: which sign has its share?"),
                (wanted + black @ new.T - black @ old.T, "which weights does the black level meet?"),
            ]
            if not alike(seen, wanted, 1e-4)
            else (),
        )


@worth(2)
def price(scatter: Callable[[Tensor, Tensor, Tensor, float], float | Tensor]) -> None:
    """Take very many pictures, undo each of them, and look at the answers."""
    cases = (
        ([3.0, -2.0], [[0.4, 0.0], [0.4, 0.4]], [1.0, 0.5], 200),
        ([1.0, 2.0], [[0.5, 0.2], [0.3, 0.6]], [0.3, 0.9], 3000),
        ([1.0, -1.0, 0.5], [[0.6, 0.1, 0.0], [0.3, 0.5, 0.1], [0.0, 0.3, 0.7]], [0.2, 1.0, 0.6], 50),
    )
    for seed, (weights, device, scene, photons) in enumerate(cases):
        v, B, x = (torch.tensor(values, dtype=torch.float64) for values in (weights, device, scene))
        counts = torch.poisson((B @ x * photons).expand(200_000, -1), seeded(seed))
        undone = torch.linalg.solve(B, (counts / photons).T)
        wanted = (v @ undone).std().item()
        got = number(scatter(v.clone(), B.clone(), x.clone(), photons), "the standard deviation")
        spread = (B @ x / photons).sqrt()
        same(
            got,
            wanted,
            f"with {photons} photons the answers to {scene} scatter by {wanted:.4f}, and not by {got:.4g}",
            "find the new weights, the scatter of each reading, and add what is independent.",
            mistakes=[
                ((v * spread).norm().item(), "these are the old weights: the new ones amplify more."),
                (wanted**2, "this is the variance; a standard deviation is its root."),
                (wanted * photons, "in which unit is a reading? A white pixel is 1, and not its electrons."),
                (wanted * math.sqrt(photons), "how does the scatter shrink with the light?"),
                (
                    wanted / math.sqrt(photons),
                    "the mean count grows with the light, and its scatter by the root.",
                ),
                (
                    torch.linalg.solve(B.T, v).abs().mul(spread).sum().item(),
                    "independent errors do not add up; their squares do.",
                ),
                (
                    torch.linalg.solve(B.T, v).mul((x / photons).sqrt()).norm().item(),
                    "the camera counts what the device sends, B x, and not the scene.",
                ),
                (torch.linalg.solve(B, v).mul(spread).norm().item(), "v' B = v: on which side does B stand?"),
            ],
            rtol=0.012,
        )


def _penalised(M: Tensor, offset: Tensor, seen: Tensor, aims: Tensor, rho: float) -> Tensor:
    return (aims - seen @ M.T - offset).square().sum() + rho * M.square().sum()


@worth(2)
def few(undo: Callable[[Tensor, Tensor, float], tuple[Tensor, Tensor]]) -> None:
    """Ask whether the answer is a minimum, with more and with fewer images than readings."""
    for n, e, d, rho in ((40, 6, 4, 3.0), (5, 12, 3, 0.5)):
        draw = seeded(n)
        seen = torch.randn(n, e, dtype=torch.float64, generator=draw) + 1.5
        aims = torch.randn(n, d, dtype=torch.float64, generator=draw) - 2.0

        def answer(
            seen: Tensor, aims: Tensor, rho: float, shape: tuple[int, int] = (d, e)
        ) -> tuple[Tensor, Tensor]:
            M, offset = _pair(undo(seen.clone(), aims.clone(), rho), "M and offset")
            return tensor(M, shape, "M").double(), tensor(offset, shape[:1], "the offset").double()

        M, offset = answer(seen, aims, rho)
        what = f"with {n} images and {e} readings"
        off = (aims - seen @ M.T - offset).mean(0).abs().max().item()
        expect(
            off < 1e-4,
            f"{what} the mean of the maps is missed by {off:.2g}",
            "the offset is free: it takes the mean of the device's maps, through M, to that of the design's.",
        )
        moved, _ = answer(seen + 3, aims, rho)
        expect(
            alike(moved, M, 1e-4),
            f"{what} M changes if a constant is added to the readings",
            "take both means off first; the ridge is for M alone.",
        )
        twice, _ = answer(torch.cat([seen, seen]), torch.cat([aims, aims]), 2 * rho)
        expect(
            alike(twice, M, 1e-4),
            f"{what} ridge and errors are weighed in another way: twice the images and twice the ridge "
            "must give the same M",
            "the errors are added up over the images: a *sum*, not a mean.",
        )
        stronger, _ = answer(seen, aims, 1e6 * rho)
        expect(
            bool(stronger.norm() < 0.1 * M.norm()),
            f"{what} a huge ridge does not make M small",
            "where does rho stand in the system that you solve?",
        )
        at = [part.clone().requires_grad_() for part in (M, offset)]
        there = torch.autograd.grad(_penalised(at[0], at[1], seen, aims, rho), at)[0].norm()
        zero = torch.zeros_like(M).requires_grad_()
        start = torch.autograd.grad(_penalised(zero, aims.mean(0), seen, aims, rho), zero)[0].norm()
        expect(
            bool(there < 1e-4 * start),
            f"{what} a small step away from M makes the penalised sum smaller",
            "set the gradient by M to zero, and solve; count rho once, and not its square.",
        )


@worth(3)
def rectified(
    learn_from_design: Callable[[nn.Module, Tensor, Tensor, int, Generator], nn.Module],
) -> None:
    """Let the answer rescue a device that bends, and count its answers to readings that it has not seen."""
    draw = seeded(0)
    kinds = torch.randn(5, 12, generator=draw)
    with torch.random.fork_rng():  # layers draw their first weights
        first, last = nn.Linear(12, 10), nn.Linear(10, 5)
    back_end = nn.Sequential(nn.Flatten(), first, nn.ReLU(), last)
    with torch.no_grad():
        first.weight.copy_(torch.cat([kinds, -kinds]) / kinds.norm(dim=1).repeat(2)[:, None])
        first.bias.fill_(-0.2)
        last.weight.copy_(torch.cat([2 * torch.eye(5), -torch.eye(5)], 1))
        last.bias.zero_()
        readings = kinds[torch.randint(5, (900,), generator=draw)]
        readings = readings + 0.5 * torch.randn(900, 12, generator=draw)
        device = 0.5 * torch.eye(12) + 0.3 * torch.randn(12, 12, generator=draw)
        seen = (readings @ device).clamp(min=-0.5) + 0.5
        answers = back_end(readings)
    before = copy.deepcopy(back_end.state_dict())

    def learner(steps: int) -> nn.Module:
        found = learn_from_design(back_end, seen[:600].clone(), answers[:600].clone(), steps, seeded(1))
        expect(
            isinstance(found, nn.Module),
            f"the result is of type {type(found).__name__}, and not a network",
            "return the trained copy of the back end itself.",
        )
        return found

    learners = [learner(steps) for steps in (600, 600, 1)]
    expect(
        all(torch.equal(before[key], value) for key, value in back_end.state_dict().items()),
        "the back end of the design has changed",
        "train a deep copy: two names for one network are one network.",
    )
    with torch.no_grad():
        outputs = [tensor(one(seen[600:]), (300, 5), "the answer of the copy") for one in learners]
        got, again, first_step = outputs
        as_built = back_end(seen[600:])
    right, old = (
        (one.argmax(1) == answers[600:].argmax(1)).double().mean().item() for one in (got, as_built)
    )
    expect(
        right > 0.9,
        f"on readings that it has not seen the copy answers as the design in {right:.0%} of the cases, "
        f"without training in {old:.0%}",
        "all layers of the copy have to learn; compare its answers to the readings of the *device* with "
        "those of the design to the same images, and clear the gradients before each step. If its answers "
        "come nearer with more steps, the learning rate is too small for these.",
    )
    aims = answers[600:]
    missed = got - aims
    missed = missed - missed.mean(1, keepdim=True)  # what all logits share changes no answer
    off = (missed.norm() / (aims - aims.mean(0)).norm()).item()
    expect(
        off < 0.5,
        f"the copy chooses like the design and answers otherwise: it is {off:.0%} off",
        "compare the logits themselves: an answer is five numbers here, and not only the largest of them. If "
        "you do, the learning rate is too small for 600 steps.",
    )
    expect(
        torch.equal(got, again),
        "two calls with generators of one seed give two networks",
        "draw the batches from the generator that you are given.",
    )
    expect(
        bool((first_step - as_built).norm() < 0.5 * (got - as_built).norm()),
        "one step moves the answers about as far as 600 steps do",
        "take as many steps as you are asked for.",
    )


@worth(2)
def panel(two_phases: Callable[[Tensor], Tensor]) -> None:
    """Add up neighbours of masks that change from block to block."""
    for blocks in ((3, 4), (1, 5)):
        draw = seeded(blocks[1])
        values = torch.polar(
            torch.rand(blocks, dtype=torch.float64, generator=draw),
            6 * torch.rand(blocks, dtype=torch.float64, generator=draw),
        )
        values[0, 0], values[0, 1] = 1.0, 0.0
        mask = values.repeat_interleave(2, 0).repeat_interleave(2, 1)
        phase = tensor(two_phases(mask.clone()), mask.shape, "the phase")
        expect(not phase.is_complex(), "the phase is complex", "a panel takes angles, in radians.")
        field = torch.polar(torch.ones_like(phase, dtype=torch.float64), phase.double())
        ny, nx = blocks
        corners = field.reshape(ny, 2, nx, 2).movedim(1, 2).flatten(2)  # of each block, row by row
        a, b, c, d = corners.unbind(-1)
        same(
            corners.mean(-1),
            values,
            "the mean of neighbours is not the number that the mask asks for",
            "two arrows of length 1, turned by δ to either side: how long is half of their sum?",
            mistakes=[
                (
                    torch.polar(torch.ones_like(values.real), values.angle()),
                    "both neighbours have one phase: nothing cancels.",
                ),
                (
                    torch.polar((1 - values.abs().square()).clamp(min=0).sqrt(), values.angle()),
                    "a mask of modulus 1 needs no difference of phases, and a dark one the largest.",
                ),
                (values.abs() + 0j, "the phase of the mask itself is missing."),
                (torch.polar(values.abs().cos(), values.angle()), "an amplitude is not yet an angle."),
                (
                    torch.polar(values.abs().square(), values.angle()),
                    "a mask acts on the field; take its modulus.",
                ),
            ],
            rtol=1e-3,
        )
        stripes = alike(a, c, 1e-6) or alike(a, b, 1e-6)
        expect(
            alike(a, d, 1e-3) and alike(b, c, 1e-3) and not stripes,
            "the neighbours do not take turns like the fields of a chequerboard",
            "what has (0, 0) in common with (1, 1), and (0, 1) with (1, 0)?",
        )
    odd = torch.full((3, 5), 0.5 + 0j)
    turned = torch.polar(torch.ones(3, 5), tensor(two_phases(odd), (3, 5), "the phase").float())
    signs = turned.imag.sign()
    expect(
        bool((signs[:-1] == -signs[1:]).all()) and bool((signs[:, :-1] == -signs[:, 1:]).all()),
        "on a grid of odd size some neighbours have the same turn",
        "take rows and columns for the pattern, not the count of pixels.",
    )


@worth(1)
def classes(to_classes: Callable[[Tensor, int], Tensor]) -> None:
    """Look at the distances of the widths that are left, and at how far each pillar has moved."""
    for count in (2, 4, 9):
        widths = 80e-9 + 170e-9 * torch.rand(20, 30, dtype=torch.float64, generator=seeded(count)) ** 2
        got = tensor(to_classes(widths.clone(), count), widths.shape, "the result").double()
        left = got.flatten().sort().values
        steps = left.diff()
        kinds = 1 + int((steps > 1e-12).sum())
        low, high = widths.min(), widths.max()
        expect(
            bool(got.max() < 1e-6),
            f"a width is {got.max():.3g} m",
            "return the widths themselves, in metres, and not the numbers of their classes.",
        )
        expect(
            kinds <= count,
            f"there are {kinds} widths, and not {count}",
            "how many steps lie between so many classes?",
        )
        expect(
            bool((left[0] - low).abs() < 1e-11) and bool((left[-1] - high).abs() < 1e-11),
            "the smallest or the largest width has moved",
            "the first and the last class are widths of the design: how many steps lie between so many "
            "classes?",
        )
        step = (high - low).item() / (count - 1)
        big = steps[steps > 1e-12] / step
        expect(
            bool((big - big.round()).abs().max() < 1e-3),
            "the classes are not at equal distances",
            "divide the range, not the list of the widths.",
        )
        moved = (got - widths).abs().max().item()
        expect(
            moved <= step / 2 * 1.001,
            f"a width moves by {moved * 1e9:.1f} nm, and half a step is {step / 2 * 1e9:.1f} nm",
            "take the nearest class, not the one below.",
        )
