"""Hybrid networks: one layer of light, a camera, and a small digital back end."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import torch
from torch import Generator, Tensor, nn
from torch.nn.functional import avg_pool2d

from onnlab.networks._check import Size
from onnlab.networks._text import columns
from onnlab.networks.optical import OpticalLayer
from onnlab.networks.unet import Decoder
from onnlab.optics._check import whole_number, whole_numbers


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
        inputs = len(optics.weight) * rows * columns
        sizes = [inputs, *whole_numbers("hidden", hidden), whole_number("classes", classes)]
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


class HybridSegmenter(Hybrid):
    """One optical layer whose maps come in several sizes, and up-convolutions behind it.

    The camera's maps are shared out to levels: the first group stays as it is, the second is averaged over
    2 x 2 pixels, the third over 4 x 4. A :class:`Decoder` goes from the coarsest level to the finest.
    All kernels look at the image itself: this is the encoder of a U-Net, flattened to one layer.

    Parameters
    ----------
    optics : OpticalLayer
        As many kernels as the groups have together; its sensor without binning.
    classes : int
        Number of classes.
    groups : sequence of int
        Kernels of each level, at least two levels.
    coarse : OpticalLayer, optional
        A second front end beside the first. It sees the image made smaller, to the size of one of the levels
        behind the first, and its maps join those of that level: its sensor, too, is without binning. In a
        small image, small kernels see far.
    depth : int
        Convolutions of 3 x 3 in each level of the back end; 0 for up-convolutions alone.

    Raises
    ------
    TypeError, ValueError
        If the optics are none, or numbers and sizes do not fit each other.

    Notes
    -----
    Source: Xiang et al. (2025), arXiv:2508.08421: 56 kernels of 3 x 3 = 8 + 16 + 32, and one of its systems
    with two parallel front ends. How the paper joins its groups is not told; this is our reading.
    """

    def __init__(
        self,
        optics: OpticalLayer,
        classes: int = 2,
        *,
        groups: Sequence[int] = (8, 16, 32),
        coarse: OpticalLayer | None = None,
        depth: int = 0,
    ) -> None:
        super().__init__()
        _check_optics(optics)
        self.groups = list(whole_numbers("groups", groups))
        if len(self.groups) < 2 or sum(self.groups) != len(optics.weight):
            raise ValueError(
                f"groups must be at least two and share out all {len(optics.weight)} kernels of the optics, "
                f"got {tuple(self.groups)}; make the optics with {sum(self.groups)} kernels"
            )
        self.optics, self.coarse = optics, coarse
        self.pools = [2**level for level in range(len(self.groups))]
        if optics.output_size != optics.image_size:
            raise ValueError("optics must have a sensor without binning: each pixel needs its answer")
        _pooled(optics.image_size, self.pools[-1])
        widths = list(self.groups)
        if coarse is not None:
            _check_optics(coarse)
            self.coarse_level = self._level_of(coarse)
            widths[self.coarse_level] += len(coarse.weight)
        self.back_end = Decoder(widths, whole_number("classes", classes), whole_number("depth", depth, 0))

    def forward(self, x: Tensor, generator: Generator | None = None) -> Tensor:
        """Return the logits ``(batch, classes, ny, nx)`` of images ``(batch, channels, ny, nx)``.

        The ``generator`` is the source of the sensor's noise; without it the noise is off.
        """
        parts = self.optics(x, generator).split(self.groups, dim=1)
        maps = [avg_pool2d(part, pool) for part, pool in zip(parts, self.pools, strict=True)]
        if self.coarse is not None:
            small = self.coarse(avg_pool2d(x, self.pools[self.coarse_level]), generator)
            maps[self.coarse_level] = torch.cat([maps[self.coarse_level], small], dim=1)
        return self.back_end(maps)

    @property
    def stages(self) -> tuple[Stage, ...]:
        """The stations of an image: optics and camera, once or twice, pools and back end."""
        found = optical_stages(self.optics)
        if self.coarse is not None:
            found += optical_stages(self.coarse, "coarse ")
        sizes = ", ".join(f"{n} over {p} x {p}" for n, p in zip(self.groups, self.pools, strict=True))
        layers = list(self.back_end.modules())
        ups, convolutions, relus = (
            sum(isinstance(layer, kind) for layer in layers)
            for kind in (nn.ConvTranspose2d, nn.Conv2d, nn.ReLU)
        )
        what = f"{ups} up-convolutions, {convolutions} convolutions, ReLU behind each but the last"
        return (
            *found,
            Stage("pool", "electronics", f"averages of maps: {sizes} pixels", 0),
            Stage("back end", "electronics", what, relus),
        )

    def _level_of(self, coarse: OpticalLayer) -> int:
        """Level whose maps are as large as those of the coarse front end."""
        sizes = [_pooled(self.optics.image_size, pool) for pool in self.pools]
        if coarse.output_size != coarse.image_size:
            raise ValueError(
                f"coarse must have a sensor without binning, got readings of {coarse.output_size} from "
                f"images of {coarse.image_size}; the image is made smaller before it: leave binning at 1"
            )
        if coarse.channels != self.optics.channels or coarse.image_size not in sizes[1:]:
            raise ValueError(
                f"coarse must be made for {self.optics.channels} channels and images of one of the sizes "
                f"{sizes[1:]}, got {coarse.channels} channels and images of {coarse.image_size}"
            )
        return sizes.index(coarse.image_size)


def optical_stages(optics: OpticalLayer, name: str = "") -> tuple[Stage, ...]:
    """What an optical layer and its camera are among the stages."""
    steps = optics.nonlinearities
    camera = ": ".join(filter(None, (optics.camera, ", ".join(steps))))
    return (
        Stage(f"{name}optics", "light", optics.describe(), 0),
        Stage(f"{name}camera", "camera", camera, len(steps)),
    )


def _check_optics(optics: object) -> None:
    if not isinstance(optics, OpticalLayer):
        raise TypeError(
            f"optics must be an OpticalLayer, got {type(optics).__name__}; "
            "pass for example IdealConvolution(1, 8, 7, 28)"
        )


def _pooled(size: Size, pool: int) -> Size:
    if any(n % pool for n in size):
        raise ValueError(
            f"pool must divide the maps of {size[0]} x {size[1]} pixels, got {pool}; make the optics for "
            f"images of another size, or pool less"
        )
    return size[0] // pool, size[1] // pool
