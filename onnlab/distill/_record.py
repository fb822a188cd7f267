"""What a forward pass leaves behind: where each parameter enters, and the way back to there."""

from collections import Counter
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn
from torch.autograd.graph import get_gradient_edge
from torch.func import functional_call

from onnlab.distill._spatial import in_space
from onnlab.distill._watch import Names, Tap, Watch
from onnlab.distill.layers import Convolution, Use

TOGETHER = 2**23  # entries of deltas that go through the network at a time


@dataclass
class Record:
    """What a forward pass left behind.

    Parameters
    ----------
    outputs : Tensor
        ``(n, outputs)``: all that the model returned, flat.
    taps : list of Tap
        The calls that a rule covers.
    uncovered : set of str
        Parameters that also enter somewhere else, so that no rule holds for them.
    normed : bool
        Whether the model called a norm of each image, whose derivatives vmap gets wrong.
    """

    outputs: Tensor
    taps: list[Tap]
    uncovered: set[str]
    normed: bool

    @property
    def clear(self) -> bool:
        """Whether the first axis of each tap is sure to be that of the images."""
        return all(use.clear for tap in self.taps for _, use in tap.uses)

    def uses(self) -> dict[Names, list[tuple[int, Use]]]:
        """Return the uses, each with the number of its tap, by parameters that have them in common."""
        named = [
            (tuple(None if name in self.uncovered else name for name in names), number, use)
            for number, tap in enumerate(self.taps)
            for names, use in tap.uses
        ]
        together = Counter(names for names, *_ in named)
        alone = Counter(name for names, *_ in named for name in names)
        found: dict[Names, list[tuple[int, Use]]] = {}
        for (weight, bias), number, use in named:
            pair = (weight, bias)
            # A weight that has another bias elsewhere, or none, adds up on its own.
            joint = None in pair or together[pair] == alone[weight] == alone[bias]
            for names in [pair] if joint else [(weight, None), (None, bias)]:
                if names != (None, None):
                    found.setdefault(names, []).append((number, use))
        return found

    @property
    def together(self) -> int:
        """How many directions are to go through the network at a time."""
        return max(1, TOGETHER // max(1, sum(tap.entries for tap in self.taps)))

    def deltas(self, directions: Tensor, differentiable: bool) -> list[Tensor]:
        """Return the derivatives of ``outputs @ direction`` by what each tap sees, ``(r, n, ...)``."""
        if not self.taps:
            return []
        groups = directions.split(self.together)
        parts = [found for group in groups for found in self._way_back(group, differentiable)]
        return parts[0] if len(parts) == 1 else [torch.cat(part) for part in zip(*parts, strict=True)]

    def _way_back(self, directions: Tensor, differentiable: bool) -> list[list[Tensor]]:
        """Let directions go together, or one after the other if PyTorch cannot."""
        back = partial(
            torch.autograd.grad,
            self.outputs,
            [tap.edge for tap in self.taps],
            retain_graph=True,
            create_graph=differentiable,
        )
        slopes = directions[:, None].expand(-1, *self.outputs.shape)
        if len(directions) > 1 and not self.normed:
            try:
                return [list(back(slopes, is_grads_batched=True))]
            except RuntimeError:  # for some functions vmap has no rule
                pass
        return [[delta[None] for delta in back(slope)] for slope in slopes]


def record(model: nn.Module, parameters: dict[str, nn.Parameter], x: Tensor, differentiable: bool) -> Record:
    """Run a model on ``x`` and note where its parameters enter.

    A layer is seen at the torch function that it ends in (``linear``, ``conv2d``), so that modules,
    functions and shared weights are all alike. Whether that was all is then read off the graph: a parameter
    that enters it at more places than were noted is *uncovered*.

    Parameters
    ----------
    model : Module
        The network.
    parameters : dict
        What enters the kernel, by name.
    x : Tensor
        ``(n, ...)``.
    differentiable : bool
        Keep the graph to the parameters themselves; otherwise it ends at stand-ins for them.
    """
    entering = {
        name: value if differentiable and value.requires_grad else value.detach().requires_grad_()
        for name, value in parameters.items()
    }
    watch = Watch({parameters[name]: value for name, value in entering.items()}, entering, len(x))
    with torch.enable_grad(), in_space(model), watch:
        # Untied: a module that stands in two places must get its own weights back, and the watch knows both.
        outputs = functional_call(model, dict(entering), (x,), tie_weights=False)
        outputs = _one_row_each(outputs, len(x))
    counts = _consumers(outputs)
    taps = [tap for tap in watch.taps if counts[tap.edge[:2]]]  # leave out what the outputs do not depend on
    kinds: dict[str, list[object]] = {}
    often = Counter(name for tap in taps for names, _ in tap.uses for name in names)
    for tap in taps:
        _move_behind(tap, counts)
        tap.uses = [part for names, use in tap.uses for part in _apart(names, use, often)]
        for names, use in tap.uses:
            for role, name in enumerate(names):
                if name is not None:
                    kinds.setdefault(name, []).append((role, type(use), getattr(use, "groups", None)))
    uncovered = {
        name
        for name, value in entering.items()
        if sum(counts[edge] for edge in {_leaf(value), _leaf(parameters[name])} - {None})
        != len(kinds.get(name, []))
        or len(set(kinds.get(name, []))) > 1
    }
    return Record(outputs, taps, uncovered, watch.normed)


def _one_row_each(outputs: object, n: int) -> Tensor:
    """Return outputs as ``(n, outputs)``; raise if they are something else than a row for each image."""
    if not isinstance(outputs, Tensor) or outputs.ndim < 1 or len(outputs) != n:
        got = tuple(outputs.shape) if isinstance(outputs, Tensor) else type(outputs).__name__
        raise TypeError(
            f"model must return one tensor with a row for each of the {n} images, got {got}; keep the axis "
            "of the batch, and wrap a model that returns several results"
        )
    if not outputs.is_floating_point():
        raise TypeError(
            f"model must return a float tensor, got {outputs.dtype}; take the intensity of a field"
        )
    return outputs.reshape(n, outputs[:1].numel())


def _move_behind(tap: Tap, counts: Counter[Any]) -> None:
    """Take the deltas of a convolution behind an average pool, if the pool is all that its result goes to."""
    convolutions = [use for _, use in tap.uses if isinstance(use, Convolution)]
    for edge, entries, step in tap.behind:
        alone = counts[tap.edge[:2]] == 1 and counts[edge[:2]] > 0
        if not alone or len(convolutions) < len(tap.uses):
            return
        tap.edge, tap.entries = edge, entries
        for use in convolutions:
            use.behind.append(step)


def _apart(names: Names, use: Use, often: Counter[str | None]) -> list[tuple[Names, Use]]:
    """Treat weight and bias each on its own where that is cheaper; not if they enter elsewhere, too."""
    parts = use.apart() if all(name is None or often[name] == 1 for name in names) else None
    if parts is None:
        return [(names, use)]
    apart: list[tuple[Names, Use]] = [((names[0], None), parts[0]), ((None, names[1]), parts[1])]
    return [part for part in apart if part[0] != (None, None)]


def _consumers(outputs: Tensor) -> Counter[Any]:
    """Count how often each result of each node of the graph is used on the way to the outputs, or as such."""
    if outputs.grad_fn is None:
        return Counter()
    counts: Counter[Any] = Counter([get_gradient_edge(outputs)[:2]])
    waiting: list[Any] = [outputs.grad_fn]
    seen = set(waiting)
    while waiting:
        node = waiting.pop()
        if node.name() == "CheckpointFunctionBackward":
            raise ValueError(
                "model must show what it computes, but torch.utils.checkpoint hides a part of it; call that "
                "with use_reentrant=False"
            )
        for before, number in node.next_functions:
            if before is not None:
                counts[before, number] += 1
                if before not in seen:
                    seen.add(before)
                    waiting.append(before)
    return counts


def _leaf(value: Tensor) -> Any:
    return get_gradient_edge(value)[:2] if value.requires_grad else None
