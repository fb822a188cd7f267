"""Checks of chapter 4: linear layers that are one layer, bends found from outside, and honest choices."""

import copy
import math
from collections.abc import Callable, Sequence
from functools import partial
from itertools import pairwise
from typing import TypeVar

import torch
from torch import Tensor, nn
from torch.nn.functional import conv1d

from onnlab.checks._check import Wrong, expect, number, same, seeded, several, tensor, verdict, worth
from onnlab.data import Dataset, Split

Model = TypeVar("Model", bound=nn.Module)


def _grown(build: Callable[[], Model], seed: int) -> Model:
    """Build a model whose numbers, statistics of norms included, are random and the same for a seed."""
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        model = build()
        for name, value in model.state_dict().items():
            if name.endswith(("running_var", "norm.weight")):
                value.copy_(0.3 + 2 * torch.rand(value.shape))
            elif name.endswith(("running_mean", "norm.bias")):
                value.copy_(torch.randn(value.shape))
    return model


@worth(1)
def row(reach: Callable[[Sequence[tuple[int, int]]], int]) -> None:
    """Ask which samples of a long line the gradient of one output comes back to."""
    for layers in (
        [(3, 1)] * 5,
        [(5, 1), (2, 1), (4, 1)],
        [(5, 1), (2, 2), (5, 1), (2, 2)],
        [(7, 2), (3, 1)],
        [(4, 3), (2, 1), (3, 2), (5, 2)],
    ):
        with torch.enable_grad():
            x = torch.zeros(1, 1, 201, dtype=torch.float64, requires_grad=True)
            y = x
            for kernel, stride in layers:
                y = conv1d(y, torch.ones(1, 1, kernel, dtype=torch.float64), stride=stride)
            (gradient,) = torch.autograd.grad(y[0, 0, 3], x)
        wanted = int(gradient.count_nonzero())
        got = number(reach(list(layers)), "the width")
        kernels = [kernel for kernel, _ in layers]
        same(
            got,
            wanted,
            f"layers of (kernel, stride) {layers} reach {wanted} samples, and not {got:g}",
            "begin with one sample of the last layer, and write down which samples each one before it sees.",
            mistakes=[
                (wanted - 1, "one is missing: a layer with a kernel of 1 reaches one sample, not none."),
                (sum(kernels), "neighbouring kernels overlap: they share samples."),
                (math.prod(kernels), "widths do not multiply. Draw two layers of 3."),
                (
                    1 + sum(kernel - 1 for kernel in kernels),
                    "behind a stride of 2, neighbouring samples lie two pixels apart.",
                ),
            ],
            rtol=1e-6,
        )


def _chain(widths: Sequence[int], biased: Sequence[bool]) -> nn.Sequential:
    sides = zip(pairwise(widths), biased, strict=True)
    return nn.Sequential(*(nn.Linear(before, after, bias=bias) for (before, after), bias in sides))


@worth(1)
def fold(one_layer: Callable[[list[nn.Linear]], nn.Linear]) -> None:
    """Send vectors through the row and through the one layer, in rows of equal and of unequal widths."""
    for seed, (widths, biased) in enumerate(
        (
            ((4, 4, 4), (True, True)),
            ((5, 7, 2, 6), (True, False, True)),
            ((6, 3, 8), (False, True)),
            ((4, 6, 3), (True, False)),
            ((5, 3), (True,)),
        )
    ):
        chain = _grown(partial(_chain, widths, biased), seed)
        layers = [layer for layer in chain if isinstance(layer, nn.Linear)]
        before = copy.deepcopy(chain.state_dict())
        merged = one_layer(list(layers))
        if not isinstance(merged, nn.Linear):
            raise Wrong(f"the result is of type {type(merged).__name__}", "return one nn.Linear.")
        _unchanged(chain, before, "one of the layers of the row")
        eye = torch.eye(widths[0])
        with torch.no_grad():
            offset = chain(torch.zeros(widths[0]))
            weight = (chain(eye) - offset).T
            got = tensor(merged.weight, (widths[-1], widths[0]), "the weight")
            crossed = layers[0].weight
            for layer in layers[1:]:
                crossed = crossed @ layer.weight if crossed.shape[1] == layer.weight.shape[0] else crossed
            last = torch.zeros(widths[-1]) if layers[-1].bias is None else layers[-1].bias
            same(
                got,
                weight,
                f"a row of the widths {widths} has another matrix than your layer",
                "write out A and B of the chapter: which of them acts first, and where does it stand?",
                mistakes=[
                    (crossed, "the product is the other way round: the first layer stands on the right."),
                    (weight.T, "the matrix is transposed: nn.Linear keeps it as (out, in)."),
                ],
            )
            bias = torch.zeros(widths[-1]) if merged.bias is None else merged.bias
            same(
                bias,
                offset,
                f"a row of the widths {widths} answers nothing with another offset than your layer",
                "send the zero vector through the row, layer by layer.",
                mistakes=[
                    (
                        torch.zeros(widths[-1]),
                        "the biases are lost. What does the row make of the zero vector?",
                    ),
                    (
                        last,
                        "only the last bias is there: those before it go through the layers behind.",
                    ),
                ],
            )


def _unchanged(model: nn.Module, before: dict[str, Tensor], what: str) -> None:
    for name, value in model.state_dict().items():
        expect(
            torch.equal(value, before[name]),
            f"{what} has another {name.rpartition('.')[2]} than before",
            "make something new, or work on a copy: what was handed to you stays as it is.",
        )


SETTINGS = ("kernel_size", "stride", "padding", "dilation", "groups", "padding_mode")


class _Normed(nn.Module):
    def __init__(
        self, eps: float, inputs: int, outputs: int, *kernel: int, **setting: int | bool | str
    ) -> None:
        super().__init__()
        self.conv = nn.Conv2d(inputs, outputs, kernel, **setting)  # type: ignore[arg-type]
        self.norm = nn.BatchNorm2d(outputs, eps=eps)


@worth(2)
def norm(fold_norm: Callable[[nn.Conv2d, nn.BatchNorm2d], nn.Conv2d]) -> None:
    """Compare on random images, with convolutions of several kinds and norms that have seen a lot."""
    for seed, (build, case) in enumerate(
        (
            (partial(_Normed, 1e-5, 2, 4, 3, 3, bias=False), "a convolution without a bias"),
            (partial(_Normed, 1e-5, 2, 4, 3, 3), "a convolution with a bias"),
            (partial(_Normed, 1e-5, 3, 5, 3, 5, stride=2, padding=1), "a stride of 2 and padding"),
            (partial(_Normed, 0.5, 3, 4, 3, 3, padding=1), "a norm with a large eps"),
            (partial(_Normed, 1e-5, 4, 6, 3, 3, dilation=2, groups=2), "a dilation of 2 and two groups"),
            (
                partial(_Normed, 1e-5, 2, 4, 3, 3, padding=1, padding_mode="circular"),
                "a padding that goes round",
            ),
        )
    ):
        pair = _grown(build, seed).double().eval()
        conv, batch_norm = pair.conv, pair.norm
        x = torch.randn(3, conv.in_channels, 9, 8, dtype=torch.float64, generator=seeded(seed))
        before = copy.deepcopy(pair.state_dict())
        folded = fold_norm(conv, batch_norm)
        if not isinstance(folded, nn.Conv2d):
            raise Wrong(f"the result is of type {type(folded).__name__}", "return one nn.Conv2d.")
        _unchanged(pair, before, "the convolution or the norm that you were given")
        others = [one for one in SETTINGS if getattr(folded, one) != getattr(conv, one)]
        shift, variance = batch_norm.running_mean, batch_norm.running_var
        if shift is None or variance is None:
            raise Wrong("the norm has lost its statistics", "work on a copy of it.")
        with torch.no_grad():
            wanted = batch_norm.eval()(conv(x))
            offset = batch_norm(conv(torch.zeros_like(x)))[0, :, 0, 0]
            try:
                output = folded.double()(x)
            except RuntimeError:
                output = None
            expect(
                output is not None and (output.shape == wanted.shape or not others),
                f"{case}: the folded layer does not give images of the same shape from the same images",
                f"it differs from the convolution in {', '.join(others) or 'its kernels'}: take over all "
                "settings.",
            )
            tensor(output, wanted.shape, f"{case}: the answer of the folded layer")
            got_offset = folded(torch.zeros_like(x))[0, :, 0, 0]
            deviation = (variance + batch_norm.eps).sqrt()
            answer = wanted - offset[:, None, None]
            factors = (
                (1 / deviation, "the variance is stored, and not its root."),
                (deviation, "the stored variance is missing."),
                (deviation / variance.sqrt(), "eps is missing. It is small by default, and here it is not."),
                (1 / batch_norm.weight, "the factor γ of the norm is missing."),
            )
            same(
                folded(x) - got_offset[:, None, None],
                answer,
                f"{case}: the folded kernels are not the right ones",
                f"it differs from the convolution in {', '.join(others)}: take over all settings."
                if others
                else "each *output* channel has a factor of its own. Read it off the formula.",
                mistakes=[(answer * factor[:, None, None], hint) for factor, hint in factors],
                rtol=1e-5,
            )
            scale = batch_norm.weight / deviation
            mistakes = [
                (offset + shift * scale, "the mean of the norm is missing: it goes into the bias."),
                (offset - batch_norm.bias, "the offset β of the norm is missing."),
                (offset + shift * (scale - 1), "the mean is subtracted before the norm scales."),
            ]
            if conv.bias is not None:
                mistakes.append((offset - conv.bias * scale, "the bias of the convolution is lost."))
                mistakes.append((offset + conv.bias * (1 - scale), "the norm scales the old bias as well."))
            what = f"{case}: the folded bias is not the right one"
            same(got_offset, offset, what, "what becomes of an image of zeros?", mistakes=mistakes, rtol=1e-5)


class _Bend(nn.Module):
    """A nonlinearity that no hook on nn.ReLU sees."""

    def __init__(self, function: Callable[[Tensor], Tensor]) -> None:
        super().__init__()
        self.function = function

    def forward(self, x: Tensor) -> Tensor:
        return self.function(x)


class _Scaled(nn.Linear):
    """A layer that speaks softly, or shouts."""

    def __init__(self, inputs: int, outputs: int, scale: float, bias: bool = True) -> None:
        super().__init__(inputs, outputs, bias)
        self.scale = scale

    def forward(self, x: Tensor) -> Tensor:
        return self.scale * super().forward(x)


def _head(*layers: nn.Module, bias: bool = True, scale: float = 1.0) -> nn.Module:
    return nn.Sequential(nn.Flatten(), nn.Linear(64, 20, bias=bias), *layers, _Scaled(20, 5, scale, bias))


def _eyes(*layers: nn.Module) -> nn.Module:
    return nn.Sequential(nn.Conv2d(1, 4, 3, padding=1), *layers, nn.Flatten(), nn.LazyLinear(5))


class _WithNorm(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.conv, self.norm = nn.Conv2d(1, 4, 3), nn.BatchNorm2d(4)

    def forward(self, x: Tensor) -> Tensor:
        images: Tensor = self.norm(self.conv(x))
        return images.flatten(1)


MODELS: tuple[tuple[Callable[[], nn.Module], bool, str, str], ...] = (
    (
        lambda: _eyes(nn.AvgPool2d(2)),
        True,
        "two linear layers with biases",
        "an affine map has an offset, and a computer has rounding.",
    ),
    (lambda: _head(scale=1e-6), True, "a linear network with faint outputs", "compare with their size."),
    (
        lambda: _head(scale=1e6),
        True,
        "a linear network with large outputs",
        "rounding grows with the numbers.",
    ),
    (lambda: _eyes(nn.ReLU()), False, "a network with a ReLU", "send two different inputs and their sum."),
    (lambda: _eyes(nn.MaxPool2d(2)), False, "a max-pool", "a maximum is no sum, though f(2x) = 2 f(x)."),
    (
        lambda: _head(nn.ReLU(), bias=False),
        False,
        "a ReLU and no bias",
        "it obeys f(2x) = 2 f(x), and bends.",
    ),
    (
        lambda: _head(_Bend(torch.tanh), bias=False),
        False,
        "an odd function and no bias",
        "it obeys f(−x) = −f(x), and is not linear.",
    ),
    (
        lambda: nn.Sequential(nn.ReLU(), _head()),
        False,
        "a ReLU that meets the image first",
        "where all pixels are positive, it has nothing to cut.",
    ),
    (
        lambda: _head(_Bend(torch.relu)),
        False,
        "a ReLU that is a function",
        "no list of layers knows all bends.",
    ),
    (
        lambda: _head(nn.LeakyReLU(0.9)),
        False,
        "a slope of 0.9 for negative numbers",
        "rounding is far smaller than this bend: a millionth of the result, or so.",
    ),
    (lambda: _head(nn.ReLU(), scale=1e-6), False, "a ReLU with faint outputs", "compare with their size."),
    (
        lambda: _head(nn.Dropout(0.5)),
        True,
        "a linear network with dropout",
        "in use it drops nothing: there is a mode for that.",
    ),
    (
        _WithNorm,
        True,
        "a convolution with batch norm",
        "in use it takes stored numbers: what mode?",
    ),
)


@worth(2)
def test(is_affine: Callable[[nn.Module, tuple[int, ...]], bool]) -> None:
    """Show models of many kinds: with bends in hidden places, and without."""
    for seed, (build, wanted, case, hint) in enumerate(MODELS):
        with torch.random.fork_rng():
            torch.manual_seed(seed)
            model = build()
            model.eval()(torch.zeros(1, 1, 8, 8))
        model.train()
        before = copy.deepcopy(model.state_dict())
        affine = verdict(is_affine(model, (1, 8, 8)))
        for name, value in model.state_dict().items():
            expect(
                torch.equal(value, before[name]),
                f"your test of {case} changed its {name.rpartition('.')[2]}",
                "in training mode batch norm remembers each batch that it sees: judge the model as in use.",
            )
        told = "affine" if affine else "bent"
        expect(affine == wanted, f"{case}: you say that it is {told}", hint)


def _stripes(n: int, seed: int, turned: bool = False) -> Split:
    """Upright and flat stripes, told apart by a linear network; ``turned`` exchanges the classes."""
    generator = seeded(seed)
    labels = torch.arange(n) % 2
    pixels = torch.zeros(n, 1, 4, 4)
    pixels[labels == 0, :, :, ::2] = 1.0
    pixels[labels == 1, :, ::2] = 1.0
    pixels = 0.7 * pixels + 0.3 * torch.rand(pixels.shape, generator=generator)
    return Split((255 * pixels).to(torch.uint8), 1 - labels if turned else labels)


@worth(2)
def rate(tuned: Callable[[Callable[[], nn.Module], Dataset, Sequence[float]], tuple[float, float]]) -> None:
    """Let the test images contradict the validation images: who peeks will choose the other rate."""
    data = Dataset(
        "stripes", _stripes(192, 0), _stripes(64, 1), _stripes(64, 2, turned=True), ("|", "-"), "made here"
    )
    test_images = data.test.images
    starts: list[tuple[nn.Module, Tensor]] = []
    tested: list[nn.Module] = []

    class Small(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.linear = nn.Linear(16, 2)
            with torch.no_grad():  # it begins by naming one class always: no start is right by luck
                self.linear.weight *= 0.1
                self.linear.bias.copy_(torch.tensor([0.5, -0.5]))

        def forward(self, x: Tensor) -> Tensor:
            if self.training and not any(self is model for model, _ in starts):
                starts.append((self, self.linear.weight.detach().clone()))
            shown = bool((x[:1].flatten(1) == test_images.flatten(1)).all(1).any())
            if shown and not any(self is model for model in tested):
                tested.append(self)
            logits: Tensor = self.linear(x.flatten(1))
            return logits

    for rates in ((1e-9, 0.05), (0.05, 1e-9)):
        starts.clear()
        tested.clear()
        with torch.random.fork_rng():
            answer = tuned(Small, data, rates)
        result = several(answer, 2, "the result is not a pair", "return the rate and the accuracy.")
        chosen, accuracy = number(result[0], "the rate"), number(result[1], "the accuracy")
        expect(
            len(starts) == len(rates),
            f"{len(rates)} rates were tried on {len(starts)} network(s)",
            "each rate needs a network of its own: one that has been trained goes on where it was.",
        )
        expect(
            all(torch.equal(weight, starts[0][1]) for _, weight in starts),
            "the networks did not start from the same weights",
            "set the seed again before each build.",
        )
        expect(chosen in rates, f"you choose the rate {chosen:g}", "it is none of those that were given.")
        expect(
            chosen == 0.05,
            f"of {rates} you choose {chosen:g}, and on validation that one is the worse",
            "which images may choose? Here those of the test speak against those of validation.",
        )
        expect(
            bool(tested),
            "the test images were never seen",
            "the report is about images that chose nothing: evaluate the network on them.",
        )
        expect(
            len(tested) == 1,
            f"{len(tested)} networks saw the test images",
            "choose first. The test images are for the report, once.",
        )
        expect(
            accuracy < 0.5,
            f"you report an accuracy of {accuracy:.3g}; here the test images contradict all others",
            "report what the chosen network does on the test images, as a share.",
        )


@worth(3)
def few(
    with_few: Callable[[int], nn.Module],
    bends_on_line: Callable[[nn.Module, Tensor, Tensor, Tensor], int],
) -> None:
    """Walk through the networks along lines, and count where the slope jumps."""
    t = torch.tan(torch.linspace(-1.567, 1.567, 701, dtype=torch.float64))
    for width in (2, 7):
        with torch.random.fork_rng():
            torch.manual_seed(width)
            model = with_few(width)
            if not isinstance(model, nn.Module):
                raise Wrong(f"with_few returns a {type(model).__name__}", "return one nn.Sequential.")
            model = model.double().eval()
        x, d = torch.randn(2, 1, 1, 28, 28, dtype=torch.float64, generator=seeded(width))
        with torch.no_grad():
            tensor(model(x), (1, 10), "the output of the network for one image")
        true = _jumps(model, x, d, t)
        expect(true > 0, f"with_few({width}) has no bend", "the rectifiers are missing.")
        expect(
            abs(true - width) <= (width > 5),
            f"along a line with_few({width}) bends {true} times",
            "each rectifier switches once: one hidden layer of that width, and nothing else that bends.",
        )
        _starts_like_bare(model, x)
    for seed, (places, build) in enumerate(_LINES):
        model = build(torch.tensor(places, dtype=torch.float64))
        t = torch.linspace(-4.03, 3.98, 400, dtype=torch.float64) if seed != 2 else _UNEVEN
        x, d = torch.zeros(1, 2, dtype=torch.float64), torch.tensor([[1.0, 0.0]], dtype=torch.float64)
        got = number(bends_on_line(model, x.clone(), d.clone(), t.clone()), "the number of bends")
        what = f"a line with bends at t = {places} has {len(places)}, and not {got:g}"
        expect(
            not places or got != 2 * len(places),
            what,
            "each bend is counted twice: over the gap that holds it, a difference is neither of the slopes.",
        )
        same(
            got,
            float(len(places)),
            what,
            "the slope is constant between two bends: all outputs count, and rounding does not.",
        )


def _starts_like_bare(model: nn.Module, x: Tensor) -> None:
    """Look for the five layers of the front end of ``bare()``; layers that do nothing may stand between."""
    layers = [
        layer
        for layer in model.modules()
        if not list(layer.children()) and not isinstance(layer, (nn.Identity, nn.Dropout))
    ]
    front = layers[:5]
    kinds = [type(layer) for layer in front]
    kernels = [tuple(layer.weight.shape) for layer in front if isinstance(layer, nn.Conv2d)]
    expect(
        kinds == [nn.Conv2d, nn.AvgPool2d, nn.Conv2d, nn.AvgPool2d, nn.Flatten]
        and kernels == [(6, 1, 5, 5), (16, 6, 5, 5)],
        f"the network begins with {', '.join(kind.__name__ for kind in kinds)}, not as bare() does",
        "bare()[:5] are two convolutions, their average pools and the Flatten: take them over as they are.",
    )
    with torch.no_grad():
        readings = nn.Sequential(*front)(x).shape[1]
    expect(
        readings == 400,
        f"the front end gives {readings} numbers, and that of bare() 400",
        "take over its padding and its pools, too.",
    )


class _Ramps(nn.Module):
    """Outputs that bend at given places of the first coordinate, each of them in one output only."""

    def __init__(self, places: Tensor, strength: float = 1.0) -> None:
        super().__init__()
        self.places, self.strength = places, strength

    def forward(self, x: Tensor) -> Tensor:
        along = x.flatten(1)[:, :1]
        bent = (along - self.places).relu() * torch.tensor([1.0, -0.7, 0.4] * 3)[: len(self.places)]
        return torch.cat([0.3 * along, bent], 1) * self.strength


_UNEVEN = torch.cat([torch.linspace(-9, -1, 60), torch.linspace(-0.9, 5, 350)]).double()
_LINES: tuple[tuple[list[float], Callable[[Tensor], nn.Module]], ...] = (
    ([], _Ramps),
    ([-2.5, -1.1, 0.3, 1.7], _Ramps),
    ([-3.2, -0.5, 0.8, 2.9, 3.3], _Ramps),
    ([0.6, 1.9, 3.1], lambda places: _Ramps(places, 1e-6)),
)


def _jumps(model: nn.Module, x: Tensor, d: Tensor, t: Tensor) -> int:
    """Count from slopes that are measured by small steps beside each place."""
    with torch.no_grad():
        step = 1e-6 * (1 + t.abs())
        ahead, behind = (model(x + (t + sign * step).view(-1, 1, 1, 1) * d) for sign in (0.5, -0.5))
        slopes = (ahead - behind) / step[:, None]
    change = slopes.diff(dim=0).abs().amax(1)
    return int((change > 1e-4 * slopes.abs().max()).sum())
