"""The empirical tangent kernel: what a network looks like to gradient descent."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import product

import torch
from torch import Generator, Tensor, nn
from torch.autograd.graph import GradientEdge, Node, get_gradient_edge
from torch.func import functional_call, grad, vmap

from onnlab.distill.layers import LayerKernel, Weights, as_delta, covered, layer_kernel
from onnlab.networks import SpectralConv2d
from onnlab.optics._check import finite_number, one_of, whole_number

CHUNK = 2**18
DELTAS = 2**24  # gradients by what layers return that are held at a time: 64 MiB in float32
Edge = tuple[Node, int]  # a result of a node in the graph of autograd
DROPOUTS = (nn.Dropout, nn.Dropout1d, nn.Dropout2d, nn.Dropout3d, nn.AlphaDropout, nn.FeatureAlphaDropout)


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
    It is exact, and differentiable in the parameters unless gradients are switched off.

    Linear layers, convolutions (ours too), average pools behind them and BatchNorm are contracted layer by
    layer, and their gradients are never all held at once. Any other parameter, and one that is used more
    than once, takes the slower way of per-image gradients. None is left out.

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
        to their weights :math:`w`. All that require a gradient if not given.
    projections : int, optional
        Replace the sum over :math:`C` outputs by one over this many random directions, orthonormal and
        scaled by :math:`\sqrt{C/R}`: right on average, and cheaper. It must be smaller than :math:`C`, where
        the exact kernel costs no more.
    chunk : int, optional
        Largest number of gradient entries of a layer that are held for each image.
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
        If BatchNorm or dropout is in training mode, a name is unknown, or no parameter enters.

    Notes
    -----
    Source: Jacot et al. (2018), arXiv:1806.07572. Some libraries return the mean over the outputs instead.
    """
    weights = _checked(model, x, x2, classes, parameters)
    if chunk is not None:
        whole_number("chunk", chunk)
    differentiable = torch.is_grad_enabled()
    with torch.enable_grad():
        one = _Side(model, x, weights, chunk or CHUNK, differentiable)
        two = one if x2 is None else _Side(model, x2, weights, chunk or CHUNK, differentiable)
        if projections is None:
            directions = torch.eye(one.outputs, dtype=x.dtype, device=x.device)
        elif classes == "full":
            raise ValueError('projections must be None for classes="full", which keeps every output')
        else:
            directions = _directions(one.outputs, projections, generator).to(x)
        if classes == "trace":
            kernel = x.new_zeros(len(x), len(two.x))
            # As many outputs at a time as memory allows: larger products are faster ones.
            at_once = max(1, DELTAS // max(1, one.size))
            for part in directions.split(at_once):
                kernel = kernel + _contract(one, two, part, part)
            kernel = (kernel + kernel.T) / 2 if x2 is None else kernel
        else:
            pairs = [_contract(one, two, a, b) for a, b in product(directions.split(1), repeat=2)]
            kernel = torch.stack(pairs, -1).unflatten(-1, (one.outputs, one.outputs))
    return kernel if differentiable else kernel.detach()


def ntk_trace(
    model: nn.Module,
    x: Tensor,
    *,
    samples: int = 1,
    scale: float = 1e-3,
    parameters: Sequence[str] | None = None,
    generator: Generator,
) -> Tensor:
    r"""Estimate the trace of the tangent kernel without gradients, from random pushes of the parameters.

    .. math:: \sum_i K_{ii} \approx \frac{1}{S\,\sigma^2} \sum_s
        \lVert f(x; \theta + \sigma\varepsilon_s) - f(x; \theta) \rVert^2,
        \qquad \varepsilon_s \sim \mathcal{N}(0, 1)

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
    parameters : sequence, optional
        As in :func:`ntk`.
    generator : Generator
        Source of the pushes, on the CPU.

    Returns
    -------
    Tensor
        One number, with a gradient.

    Notes
    -----
    Source: Wang et al. (2023), *NTK-SAP*, arXiv:2304.02840.
    """
    weights = _checked(model, x, None, "trace", parameters)
    whole_number("samples", samples)
    if finite_number("scale", scale) <= 0:
        raise ValueError(f"scale must be positive, got {scale}; 1e-3 is usual")
    named = {name: p for name, p in model.named_parameters() if p in weights}
    before, total = model(x), x.new_zeros(())
    for _ in range(samples):
        pushed = {
            name: p + scale * torch.randn(p.shape, generator=generator, dtype=p.dtype).to(p.device)
            for name, p in named.items()
        }
        total = total + (functional_call(model, pushed, (x,)) - before).square().sum()
    return total / (samples * scale**2)


@dataclass
class _Call:
    """One call of a covered layer: its input, and where gradients by its output are taken."""

    layer: nn.Module
    x: Tensor
    edge: GradientEdge
    size: int
    version: int
    pool: nn.Module | None = None

    def input(self) -> Tensor:
        """Return the input; raise if the model has overwritten it since."""
        if self.x._version != self.version:
            raise ValueError(
                f"model must not overwrite the input of {type(self.layer).__name__} in place after its use; "
                "write x = relu(x) instead of x.relu_()"
            )
        return self.x


class _Side:
    """One batch on its way through the network, ready for gradients of any output."""

    def __init__(
        self, model: nn.Module, x: Tensor, weights: Weights, chunk: int, differentiable: bool
    ) -> None:
        self.model, self.x, self.differentiable = model, x, differentiable
        y, calls, uses = _recorded(model, x)
        if not isinstance(y, Tensor) or len(y) != len(x) or not y.is_floating_point():
            raise TypeError(
                f"model must return a float tensor with {len(x)} rows, one for each image, got "
                f"{tuple(y.shape) if isinstance(y, Tensor) else type(y).__name__}"
            )
        self.y = y.flatten(1)
        self.outputs = self.y.shape[1]
        self.calls: list[_Call] = []
        self.kernels: list[LayerKernel] = []
        done: set[nn.Parameter] = set()
        for call in calls:
            own = [p for p in call.layer.parameters(recurse=False) if p in weights]
            # A parameter with a second use, seen or unseen, has gradients that add up before any product.
            if own and all(uses[p] == 1 for p in own):
                inputs = call.input() if differentiable else call.input().detach()
                self.calls.append(call)
                self.kernels.append(layer_kernel(call.layer, inputs, call.pool, weights, chunk))
                done.update(own)
        self.rest = {
            name: (p if differentiable else p.detach(), weights[p])
            for name, p in model.named_parameters()
            if p in weights and p not in done
        }

    @property
    def size(self) -> int:
        """How many numbers the covered layers return for the batch."""
        return sum(call.size for call in self.calls)

    def deltas(self, directions: Tensor) -> list[Tensor]:
        """Gradients of ``direction . f(x_i)`` by the output of each covered layer, for each direction."""
        if not self.calls:
            return []
        edges = [call.edge for call in self.calls]
        found = [
            torch.autograd.grad(
                (self.y @ direction).sum(),
                edges,
                retain_graph=True,
                create_graph=self.differentiable,
                materialize_grads=True,
            )
            for direction in directions
        ]
        return [
            torch.stack([as_delta(call.layer, g) for g in gradients], dim=1)
            for call, gradients in zip(self.calls, zip(*found, strict=True), strict=True)
        ]

    def jacobian(self, directions: Tensor) -> Tensor | None:
        """Gradients ``(n, entries)`` of all ``direction . f(x_i)`` by the parameters without a rule."""
        if not self.rest:
            return None
        return torch.cat([self._gradients(direction) for direction in directions], dim=1)

    def _gradients(self, direction: Tensor) -> Tensor:

        def value(parameters: dict[str, Tensor], image: Tensor) -> Tensor:
            return functional_call(self.model, parameters, (image[None],)).flatten() @ direction

        parameters = {name: p for name, (p, _) in self.rest.items()}
        found = vmap(grad(value), (None, 0))(parameters, self.x)
        return torch.cat([w**0.5 * found[name].flatten(1) for name, (_, w) in self.rest.items()], dim=1)


def _contract(one: _Side, two: _Side, a: Tensor, b: Tensor) -> Tensor:
    """The kernel between directions ``a`` of one batch and ``b`` of the other, added up."""
    same = one is two and a is b
    left, rest = one.deltas(a), one.jacobian(a)
    right, other_rest = (left, rest) if same else (two.deltas(b), two.jacobian(b))
    total = one.x.new_zeros(len(one.x), len(two.x))
    for kernel, delta, other, other_delta in zip(one.kernels, left, two.kernels, right, strict=True):
        total = total + kernel.gram(delta, other, other_delta, same)
    if rest is not None and other_rest is not None:
        total = total + rest @ other_rest.T
    return total


def _recorded(model: nn.Module, x: Tensor) -> tuple[object, list[_Call], Counter[nn.Parameter]]:
    """Run the network; return its output, the calls of covered layers, and how often parameters are used."""
    calls: dict[Edge, _Call] = {}
    pools: list[tuple[Edge, GradientEdge, int, nn.Module]] = []

    def note(layer: nn.Module, inputs: tuple[object, ...], output: object) -> None:
        (image,) = inputs if len(inputs) == 1 else (None,)
        if not isinstance(image, Tensor) or not isinstance(output, Tensor) or output.grad_fn is None:
            return
        # The edge, and not the tensor: a ReLU in place would put its own result there.
        edge = get_gradient_edge(output)
        key = edge.node, edge.output_nr
        if covered(layer):
            calls[key] = _Call(layer, image, edge, output.numel(), image._version)
        elif image.grad_fn is not None:
            before = get_gradient_edge(image)
            pools.append(((before.node, before.output_nr), edge, output.numel(), layer))

    watched = [m for m in model.modules() if covered(m) or type(m) in (nn.AvgPool2d, nn.AdaptiveAvgPool2d)]
    hooks = [m.register_forward_hook(note, prepend=True) for m in watched]
    try:
        y = model(x)
    finally:
        for hook in hooks:
            hook.remove()
    edges, uses = _uses(y) if isinstance(y, Tensor) else (Counter(), Counter())
    for before, behind, size, pool in pools:
        call = calls.get(before)
        if call is not None and isinstance(call.layer, (nn.Conv2d, SpectralConv2d)) and edges[before] == 1:
            call.edge, call.size, call.pool = behind, size, pool
    return y, list(calls.values()), uses


def _uses(y: Tensor) -> tuple[Counter[Edge], Counter[nn.Parameter]]:
    """Count how often each edge of the graph, and each parameter, is read on the way to the output."""
    edges: Counter[Edge] = Counter()
    uses: Counter[nn.Parameter] = Counter()
    seen, waiting = set(), [y.grad_fn] if y.grad_fn is not None else []
    while waiting:
        for node, index in waiting.pop().next_functions:
            if node is None:
                continue
            edges[node, index] += 1
            if hasattr(node, "variable"):
                uses[node.variable] += 1
            elif node not in seen:
                seen.add(node)
                waiting.append(node)
    return edges, uses


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
    one_of("classes", classes, ("trace", "full"))
    for name, layer in model.named_modules():
        mixes = isinstance(layer, nn.modules.batchnorm._BatchNorm) and (
            layer.training or layer.running_mean is None
        )
        if mixes or (isinstance(layer, DROPOUTS) and layer.training and layer.p > 0):
            why = "mixes the images of a batch" if mixes else "is random"
            raise ValueError(
                f"model must treat each image on its own, but {name!r} ({type(layer).__name__}) {why}; "
                "call model.eval(), and keep track_running_stats"
            )
    named = {name: p for name, p in model.named_parameters() if p.requires_grad}
    wanted = parameters if isinstance(parameters, Mapping) else dict.fromkeys(parameters or [], 1.0)
    weights: dict[nn.Parameter, float] = dict.fromkeys(named.values(), 1.0) if parameters is None else {}
    for prefix, weight in wanted.items():
        found = [p for name, p in named.items() if name == prefix or name.startswith(f"{prefix}.")]
        if not found:
            known = sorted({name.split(".")[0] for name in named})
            raise ValueError(
                f"parameters must name parts of the model that require gradients, got {prefix!r}; "
                f"parts are {', '.join(known) or 'none'}"
            )
        if finite_number(f"parameters[{prefix!r}]", weight, "") < 0:
            raise ValueError(f"parameters[{prefix!r}] must not be negative, got {weight}")
        weights |= dict.fromkeys(found, float(weight))
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
