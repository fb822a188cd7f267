"""Hybrid networks: one layer of light, a camera, and a small digital back end."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

from torch import Generator, Tensor, nn

from onnlab.networks._check import Size
from onnlab.networks._text import columns
from onnlab.networks.optical import OpticalLayer
from onnlab.optics._check import whole_number


@dataclass(frozen=True)
class Stage:
    """One station of an image on its way through a hybrid network.

    Parameters
    ----------
    name, where, what : str
        The station, whether it is light, camera or electronics, and what happens there.
    nonlinearities : int
        How many of its steps are not linear.
    """

    name: str
    where: str
    what: str
    nonlinearities: int


class Hybrid(nn.Module):
    """A network whose stages can be told: base of the hybrid networks."""

    @property
    def stages(self) -> tuple[Stage, ...]:
        """The stations of an image, in their order."""
        raise NotImplementedError

    @property
    def nonlinearities(self) -> int:
        """How many steps between image and answer are not linear, wherever they sit."""
        return sum(stage.nonlinearities for stage in self.stages)

    def describe(self) -> str:
        """Return the stages as text, with the nonlinearities of each and their sum."""
        rows = [("stage", "where", "what", "nonlinear steps")]
        rows += [(s.name, s.where, s.what, str(s.nonlinearities)) for s in self.stages]
        return columns([*rows, ("in all", "", "", str(self.nonlinearities))])


class HybridClassifier(Hybrid):
    """One optical convolution, a camera, an average pool, and fully connected layers with ReLU between them.

    Every nonlinearity has its place in the arguments: that of the camera in ``optics``, one ReLU for each
    number in ``hidden``. The pool is linear, and comes behind the camera's nonlinearity. You may replace
    ``optics`` of a trained network by another layer: a physical one that shares the ``weight``, or a built
    twin with its errors.

    Parameters
    ----------
    optics : OpticalLayer
        :class:`IdealConvolution`, :class:`PSFConvolution` or :class:`FourFConvolution`.
    classes : int
        Number of classes.
    pool : int
        Pixels along each side that are averaged to one; 1 for no pool. It divides ``optics.output_size``.
    hidden : sequence of int
        Sizes of the hidden layers: none for a linear read-out, one for two fully connected layers.

    Raises
    ------
    TypeError, ValueError
        If ``optics`` is no optical layer, a number is none, or the pool does not fit the readings.

    Notes
    -----
    Source: Xiang et al. (2025), arXiv:2508.08421: 8 kernels of 7 x 7 and two fully connected layers for
    MNIST, 16 and three for CIFAR-10.

    Examples
    --------
    >>> from onnlab.networks import IdealConvolution
    >>> model = HybridClassifier(IdealConvolution(1, 16, 7, 28, camera="rectified"), hidden=(256, 64))
    >>> print(model.describe())
    stage     where        what                                              nonlinear steps
    optics    light        16 kernels 7 x 7 on 1 channel: ideal convolution  0
    camera    camera       rectified: negative readings become 0             1
    pool      electronics  average of 4 x 4 pixels, to 7 x 7                 0
    back end  electronics  784-256-64-10, ReLU between the layers            2
    in all                                                                   3
    """

    def __init__(
        self, optics: OpticalLayer, classes: int = 10, *, pool: int = 4, hidden: Sequence[int] = (64,)
    ) -> None:
        super().__init__()
        _check_optics(optics)
        self.optics = optics
        self.pooled_size = rows, columns = _pooled(optics.output_size, whole_number("pool", pool))
        self.pool = nn.AvgPool2d(pool)
        inner = [whole_number("hidden", n) for n in hidden]
        sizes = [len(optics.weight) * rows * columns, *inner, whole_number("classes", classes)]
        layers: list[nn.Module] = [nn.Flatten(), nn.Linear(sizes[0], sizes[1])]
        for before, after in pairwise(sizes[1:]):
            layers += [nn.ReLU(), nn.Linear(before, after)]
        self.back_end = nn.Sequential(*layers)

    def forward(self, x: Tensor, generator: Generator | None = None) -> Tensor:
        """Return the logits ``(batch, classes)`` of images ``(batch, channels, ny, nx)``.

        The ``generator`` is the source of the sensor's noise; without it the noise is off.
        """
        return self.back_end(self.pool(self.optics(x, generator)))

    @property
    def stages(self) -> tuple[Stage, ...]:
        """The stations of an image: optics, camera, pool and back end."""
        side = self.pool.kernel_size
        rows, columns = self.pooled_size
        linear = [layer for layer in self.back_end if isinstance(layer, nn.Linear)]
        sizes = "-".join(str(n) for n in (linear[0].in_features, *(layer.out_features for layer in linear)))
        hidden = len(linear) - 1
        return (
            *optical_stages(self.optics),
            Stage("pool", "electronics", f"average of {side} x {side} pixels, to {rows} x {columns}", 0),
            Stage("back end", "electronics", sizes + ", ReLU between the layers" * (hidden > 0), hidden),
        )


def optical_stages(optics: OpticalLayer) -> tuple[Stage, Stage]:
    """What an optical layer and its camera are among the stages."""
    steps = optics.nonlinearities
    camera = ": ".join(filter(None, (optics.camera, ", ".join(steps))))
    return Stage("optics", "light", optics.describe(), 0), Stage("camera", "camera", camera, len(steps))


def _check_optics(optics: object) -> None:
    if not isinstance(optics, OpticalLayer):
        raise TypeError(
            f"optics must be an OpticalLayer, got {type(optics).__name__}; "
            "pass for example IdealConvolution(1, 8, 7, 28)"
        )


def _pooled(size: Size, pool: int) -> Size:
    if any(n % pool for n in size):
        raise ValueError(f"pool must divide the readings of {size[0]} x {size[1]} pixels, got {pool}")
    return size[0] // pool, size[1] // pool
