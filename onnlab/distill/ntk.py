"""The empirical tangent kernel: what a network looks like to gradient descent."""

from collections.abc import Callable, Iterator, Mapping, Sequence

import torch
import torch.nn.functional as F
from torch import Generator, Tensor, nn
from torch.func import functional_call, grad, vmap

from onnlab.distill._gram import Part, add_gradients, add_part
from onnlab.distill._record import Record, record
from onnlab.distill._watch import Names, StandIns
from onnlab.optics._check import finite_number, not_negative, one_of, whole_number

ENTRIES = 2**24  # gradient entries that are held at a time: 64 MiB in float32

REST: Names = (None, None)  # stands for all parameters without a rule
Weights = Mapping[nn.Parameter, float]


def ntk(
    model: nn.Module,
    x: Tensor,
    x2: Tensor | None = None,
    *,
    classes: str = "trace",
    parameters: Sequence[str] | Mapping[str, float] | None = None,
    projections: int | None = None,
    chunk: int | None = None,
    generator: Generator | None = None,
) -> Tensor:
    r"""Return the empirical neural tangent kernel of a network.

    .. math:: K_{ij} = \sum_c \sum_\theta w_\theta \frac{\partial f_c(x_i)}{\partial\theta}
        \frac{\partial f_c(x_j)}{\partial\theta}

    over all outputs :math:`c` and parameters :math:`\theta`, with weights :math:`w_\theta = 1` unless given.
    It is exact, and can be differentiated once by the parameters, unless gradients are switched off.

    Linear layers, convolutions and transposed ones, average pools behind them, BatchNorm, LayerNorm and
    GroupNorm are contracted layer by layer, as modules and as functions; spectral and optical layers without
    a sensor count as convolutions. Their gradients are never all held at once, and no patches are made of
    large images. What a shared parameter does in several places adds up. Any other use of a parameter takes
    the slower way of per-image gradients; none is left out.

    Parameters
    ----------
    model : Module
        From images ``(n, ...)`` to outputs ``(n, ...)``, each image on its own.
    x, x2 : Tensor
        Images ``(n, ...)`` and ``(m, ...)``; ``x2`` is ``x`` if not given.
    classes : {"trace", "full"}
        Add up over the outputs, or keep each pair of them.
    parameters : sequence or mapping, optional
        Names of the parameters or modules that enter, such as ``["back_end"]``, or a mapping from such names
        to their weights :math:`w`, of which the last counts. All that require a gradient if not given; named,
        frozen ones enter too.
    projections : int, optional
        Replace the sum over :math:`C` outputs by one over this many random directions, orthonormal and
        scaled by :math:`\sqrt{C/R}`: right on average, and cheaper. It must be smaller than :math:`C`, where
        the exact kernel costs no more. Of ten outputs, one direction is off by about 5 % and four by 3 %
        of the norm, for a trained student of 16 kernels; after centring by 7 % and 3 %.
    chunk : int, optional
        Largest number of gradient entries of a layer that are held for each image; all images together have
        64 MiB of them if not given. Activations of a whole batch are always held: for many images, put the
        kernel together from blocks ``ntk(model, x[a], x[b])``.
    generator : Generator, optional
        Source of the directions, on the CPU; needed with ``projections``.

    Returns
    -------
    Tensor
        ``(n, m)``, or ``(n, m, C, C)`` for ``classes="full"``.

    Raises
    ------
    TypeError
        If an argument is of another kind.
    ValueError
        If BatchNorm or dropout is in training mode, a name is unknown, no parameter enters, or PyTorch is in
        inference mode.

    Notes
    -----
    Source: Jacot et al. (2018), arXiv:1806.07572. Some libraries return the mean over the outputs instead.
    """
    weights = _checked(model, x, x2, classes, parameters)
    if chunk is not None:
        whole_number("chunk", chunk)
    full, differentiable = classes == "full", torch.is_grad_enabled()
    if full and projections is not None:
        raise ValueError('projections must be None for classes="full", which keeps every output')
    named = {name: p for name, p in model.named_parameters() if p in weights}
    with torch.autocast(x.device.type, enabled=False):
        one = record(model, named, x, differentiable)
        two = None if x2 is None else record(model, named, x2, differentiable)
        seen = [one, *([two] if two else [])]
        if not all(side.clear for side in seen):
            # A layer with something else than the images in its first axis betrays itself with one image.
            seen.append(record(model, named, x[:1], False))
        uncovered = set().union(*(side.uncovered for side in seen))
        sides = []
        for images, side in ((x, one), (x2, two)):
            if images is not None and side is not None:
                side.uncovered = uncovered
                sides.append(_Side(model, named, weights, images, side))
        outputs = one.outputs.shape[1]
        rows = None if projections is None else _directions(outputs, projections, generator).to(x)
        kernel = _contract(sides[0], sides[1] if two else None, rows, full, chunk)
    if two is None:
        kernel = kernel.tril() + kernel.tril(-1).mT
    if full:
        return kernel.unflatten(1, (outputs, -1)).unflatten(0, (outputs, -1)).permute(1, 3, 0, 2)
    return kernel


def ntk_trace(
    model: nn.Module,
    x: Tensor,
    *,
    samples: int = 1,
    scale: float = 1e-3,
    parameters: Sequence[str] | Mapping[str, float] | None = None,
    generator: Generator,
) -> Tensor:
    r"""Estimate the trace of the tangent kernel without gradients, from random pushes of the parameters.

    .. math:: \sum_i K_{ii} \approx \frac{1}{S\,\sigma^2} \sum_s
        \lVert f(x; \theta + \sigma\varepsilon_s) - f(x; \theta) \rVert^2,
        \qquad \varepsilon_s \sim \mathcal{N}(0, 1)

    With weights, the push of a parameter is :math:`\sqrt{w_\theta}` times as large.

    One number says how much the outputs move, and nothing about which images move together.

    Parameters
    ----------
    model : Module
        As in :func:`ntk`.
    x : Tensor
        Images ``(n, ...)``.
    samples : int
        Number of pushes :math:`S`.
    scale : float
        Their size :math:`\sigma`.
    parameters : sequence or mapping, optional
        As in :func:`ntk`.
    generator : Generator
        Source of the pushes, on the CPU.

    Returns
    -------
    Tensor
        One number, with a gradient.

    Raises
    ------
    TypeError, ValueError
        As for :func:`ntk`, or if the scale is not positive.

    Notes
    -----
    Source: Wang et al. (2023), *NTK-SAP*, arXiv:2304.02840.
    """
    weights = _checked(model, x, None, "trace", parameters)
    whole_number("samples", samples)
    if finite_number("scale", scale) <= 0:
        raise ValueError(f"scale must be positive, got {scale}; 1e-3 is usual")
    named = {name: p for name, p in model.named_parameters() if p in weights}
    sizes = {name: scale * weights[p] ** 0.5 for name, p in named.items()}
    with StandIns({}):
        before, total = model(x), x.new_zeros(())
    for _ in range(samples):
        pushed = {
            name: p + sizes[name] * torch.randn(p.shape, generator=generator, dtype=p.dtype).to(p.device)
            for name, p in named.items()
        }
        with StandIns({p: pushed[name] for name, p in named.items()}):
            after = functional_call(model, pushed, (x,), tie_weights=False)
        total = total + (after - before).square().sum()
    return total / (samples * scale**2)


class _Side:
    """One batch on its way through the network: what its parameters need for inner products."""

    def __init__(
        self, model: nn.Module, named: dict[str, nn.Parameter], weights: Weights, x: Tensor, seen: Record
    ) -> None:
        self.model, self.x, self.seen = model, x, seen
        self.differentiable = torch.is_grad_enabled()
        roots: dict[str | None, float] = {name: weights[p] ** 0.5 for name, p in named.items()}
        self.parts = {
            (weight, bias): Part(uses, (roots.get(weight), roots.get(bias)))
            for (weight, bias), uses in seen.uses().items()
        }
        self.originals = {name: p for name, p in named.items() if name in seen.uncovered}
        self.rest = {
            name: (p if self.differentiable else p.detach(), roots[name])
            for name, p in self.originals.items()
        }

    def evaluate(self, directions: Tensor) -> dict[Names, Tensor]:
        """Return for each part what ``direction . f(x_i)`` has to do with it: :meth:`Part.outputs`."""
        deltas = self.seen.deltas(directions, self.differentiable)
        found = {names: part.outputs(deltas) for names, part in self.parts.items()}
        if self.rest:
            found[REST] = torch.stack([self._jacobian(direction) for direction in directions])
        return found

    def _jacobian(self, direction: Tensor) -> Tensor:
        """Gradients ``(n, entries)`` by the parameters that no rule covers."""

        def value(parameters: dict[str, Tensor], image: Tensor) -> Tensor:
            with StandIns({p: parameters[name] for name, p in self.originals.items()}):
                outputs = functional_call(self.model, parameters, (image[None],), tie_weights=False)
                return outputs.flatten() @ direction

        found = self._each_image(grad(value), {name: p for name, (p, _) in self.rest.items()})
        rows = [root * found[name].flatten(1) for name, (_, root) in self.rest.items()]
        return torch.cat(rows, dim=1)

    def _each_image(
        self, gradient: Callable[..., dict[str, Tensor]], parameters: dict[str, Tensor]
    ) -> dict[str, Tensor]:
        """Apply a function to each image: to all at once, unless PyTorch cannot."""
        # vmap has a wrong rule for the second derivative of layer_norm (pytorch/functorch, issue 534).
        if not (self.differentiable and self.seen.normed):
            try:
                return vmap(gradient, (None, 0))(parameters, self.x)
            except RuntimeError as error:  # for some functions it has no rule
                if "randomness" in str(error):
                    raise
        each = [gradient(parameters, image) for image in self.x]
        return {name: torch.stack([found[name] for found in each]) for name in parameters}


def _contract(
    one: _Side, two: _Side | None, directions: Tensor | None, full: bool, chunk: int | None
) -> Tensor:
    """Return the kernel as a matrix; of one batch with itself, only the lower half counts."""
    other = two or one
    if one.parts.keys() != other.parts.keys():
        raise ValueError("model must use its parameters alike for x and for x2")
    entries = chunk or max(1, ENTRIES // (len(one.x) + (len(other.x) if two else 0)))
    outputs = one.seen.outputs.shape[1]
    repeats = outputs if full else 1
    total = one.x.new_zeros(repeats * len(one.x), repeats * len(other.x))
    together = 1 if one.rest else one.seen.together  # what no rule covers is large
    for group in _groups(outputs, directions, outputs if full else together):
        left = one.evaluate(group.to(one.x))
        right = two.evaluate(group.to(one.x)) if two else left
        for names, part in one.parts.items():
            match = two.parts[names] if two else None
            total = add_part(total, part, left[names], match, right[names], full, entries)
        if REST in left:
            total = add_gradients(total, left[REST], right[REST] if two else None, full)
    return total


def _groups(outputs: int, directions: Tensor | None, size: int) -> Iterator[Tensor]:
    """Directions, or else all outputs, so many at a time."""
    if directions is not None:
        yield from directions.split(size)
        return
    for start in range(0, outputs, size):
        yield F.one_hot(torch.arange(start, min(start + size, outputs)), outputs)


def _checked(
    model: nn.Module,
    x: Tensor,
    x2: Tensor | None,
    classes: str,
    parameters: Sequence[str] | Mapping[str, float] | None,
) -> Weights:
    """Check the arguments; return the parameters that enter, with their weights."""
    if not isinstance(model, nn.Module):
        raise TypeError(f"model must be a torch.nn.Module, got {type(model).__name__}; pass an instance")
    for name, images in (("x", x), ("x2", x2)):
        if images is not None and not (isinstance(images, Tensor) and images.is_floating_point()):
            kind = images.dtype if isinstance(images, Tensor) else type(images).__name__
            raise TypeError(f"{name} must be a float tensor of images (n, ...), got {kind}")
        if images is not None and (images.ndim < 1 or len(images) < 1):
            raise ValueError(f"{name} must hold at least one image (n, ...), got {tuple(images.shape)}")
        if images is not None and (images.is_inference() or torch.is_inference_mode_enabled()):
            raise ValueError(
                f"{name} must be computed with, and used, outside of torch.inference_mode(), which keeps no "
                "graph to follow; use torch.no_grad()"
            )
    one_of("classes", classes, ("trace", "full"))
    if isinstance(parameters, str):
        raise TypeError(f"parameters must be a sequence of names, got {parameters!r}; pass [{parameters!r}]")
    named = dict(model.named_parameters(remove_duplicate=False))  # a tied weight is known by either name
    wanted = parameters if isinstance(parameters, Mapping) else dict.fromkeys(parameters or [], 1.0)
    weights: dict[nn.Parameter, float] = {}
    if parameters is None:
        weights = dict.fromkeys((p for p in named.values() if p.requires_grad), 1.0)
    for prefix, weight in wanted.items():
        found = [p for name, p in named.items() if name == prefix or name.startswith(f"{prefix}.")]
        if not found:
            known = sorted({name.split(".")[0] for name in named})
            raise ValueError(
                f"parameters must name parts of the model that require gradients, got {prefix!r}; "
                f"parts are {', '.join(known) or 'none'}"
            )
        weights |= dict.fromkeys(found, not_negative(f"parameters[{prefix!r}]", weight))
    for name, p in named.items():
        if p in weights and not p.is_floating_point():
            raise TypeError(
                f"parameters of a kernel must be real, got {name} of {p.dtype}; keep it as a real parameter "
                "and use torch.view_as_complex in the forward pass, or leave it out by parameters="
            )
    if not weights:
        raise ValueError(
            "model must have a parameter that requires a gradient, got none; call model.requires_grad_(True)"
        )
    return weights


def _directions(outputs: int, count: int, generator: Generator | None) -> Tensor:
    """Random orthonormal rows ``(count, outputs)``, times the root of ``outputs / count``."""
    whole_number("projections", count)
    if count >= outputs:
        raise ValueError(
            f"projections must be smaller than the {outputs} outputs, got {count}; "
            "the exact kernel costs no more: use None"
        )
    if generator is None:
        raise ValueError("generator must be given with projections: torch.Generator().manual_seed(0)")
    rows, _ = torch.linalg.qr(torch.randn(outputs, count, generator=generator, dtype=torch.float64))
    return rows.T * (outputs / count) ** 0.5
