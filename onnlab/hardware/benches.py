"""What errors act on: the masks of a 4f system, or PSFs on a sensor, each with the camera behind it."""

from collections.abc import Callable
from dataclasses import dataclass, replace

import torch
from torch import Tensor
from torch.nn.functional import pad

from onnlab.networks import FourFConvolution, PSFConvolution
from onnlab.optics import Camera, Grid, fourier_grid
from onnlab.optics._check import positive_length


@dataclass(frozen=True)
class PSFBench:
    r"""The measures of a bench that a :class:`~onnlab.networks.PSFConvolution` does not know, in metres.

    The pitch is always needed. The others are asked for by the errors that depend on them.

    Parameters
    ----------
    pitch : float
        Distance on the sensor of the samples of image and PSF.
    distance : float, optional
        From the optic to the sensor.
    diameter : float, optional
        Of the optic.
    wavelength : float, optional
        Of the light.
    """

    pitch: float
    distance: float | None = None
    diameter: float | None = None
    wavelength: float | None = None

    def __post_init__(self) -> None:
        for name in self.__dataclass_fields__:
            if name == "pitch" or getattr(self, name) is not None:
                positive_length(name, getattr(self, name))

    def needed(self, name: str, error: object) -> float:
        """Return one of the measures; raise if it was not given."""
        value = getattr(self, name)
        if value is None:
            raise ValueError(
                f"bench must have a {name} for {type(error).__name__}, got {self}; "
                f"give PSFBench(..., {name}=...) in metres"
            )
        return value


@dataclass(frozen=True, eq=False)
class Bench:
    """The camera's side of every bench.

    Parameters
    ----------
    brightness : float
        Factor of all light that reaches the camera.
    stray : float
        Share of it that is spread evenly over the picture.
    sensor : Camera, optional
        Where noise and digits come in.
    """

    brightness: float
    stray: float
    sensor: Camera | None


@dataclass(frozen=True, eq=False)
class Masks(Bench):
    """The masks in the Fourier plane of a 4f system.

    Parameters
    ----------
    transmission : Tensor
        Complex ``(colours, kernels, ny, nx)``; the camera sees the mean intensity over the colours.
    scale : Tensor
        What the passivity of the masks cost, one number.
    grid : Grid
        Of the input plane.
    focal_length : float
        Of both lenses, in metres.
    first : (int, int)
        The least offset, in samples, to which a mask sends light. All channels lie to the right of the
        output: their light goes up to ``channels - 1`` tiles to the left.
    """

    transmission: Tensor
    scale: Tensor
    grid: Grid
    focal_length: float
    first: tuple[int, int]

    @classmethod
    def of(cls, layer: FourFConvolution) -> "Masks":
        """Return the perfect masks of a layer."""
        masks = layer.masks()
        first = -(layer.tile[0] // 2), -(layer.grid.nx - (layer.tile[1] + 1) // 2)
        transmission = masks.transmission[None]
        return cls(1.0, 0.0, layer.sensor, transmission, masks.scale, layer.grid, layer.focal_length, first)

    @property
    def plane(self) -> Grid:
        """Grid of the masks themselves."""
        return fourier_grid(self.grid, self.focal_length)


@dataclass(frozen=True, eq=False)
class PSFs(Bench):
    """Pairs of PSFs on a sensor.

    Parameters
    ----------
    positive, negative : Tensor
        Not negative, ``(kernels, channels, ny, nx)``, as large as the image, each with its origin at
        ``(ny // 2, nx // 2)``.
    scale : Tensor
        Of their difference, ``(kernels, 1, 1)``.
    bench : PSFBench
        The measures.
    """

    positive: Tensor
    negative: Tensor
    scale: Tensor
    bench: PSFBench

    @classmethod
    def of(cls, layer: PSFConvolution, bench: PSFBench) -> "PSFs":
        """Return the perfect PSFs of a layer, in a dark window as large as the image."""
        pair = layer.pair()
        positive, negative = (in_window(psf, layer.image_size) for psf in (pair.positive, pair.negative))
        return cls(1.0, 0.0, layer.sensor, positive, negative, pair.scale, bench)

    @property
    def window(self) -> tuple[int, int]:
        """Size ``(ny, nx)`` of image and PSFs."""
        ny, nx = self.positive.shape[-2:]
        return ny, nx

    def trimmed(self) -> tuple[Tensor, Tensor]:
        """Return both PSFs, without the dark margin around their light."""
        lit = (self.positive + self.negative).detach().flatten(0, 1).any(0)
        cuts = []
        for axis, n in enumerate(self.window):
            rows = lit.any(1 - axis).nonzero() - n // 2
            reach = int(rows.abs().max()) if len(rows) else 0
            size = min(2 * reach + 1, n)
            cuts.append(slice(n // 2 - size // 2, n // 2 - size // 2 + size))
        return self.positive[..., cuts[0], cuts[1]], self.negative[..., cuts[0], cuts[1]]


def in_window(psf: Tensor, window: tuple[int, int]) -> Tensor:
    """Surround PSFs ``(..., ky, kx)`` with darkness; their origin becomes that of the window."""
    size = zip(window, psf.shape[-2:], strict=True)
    rows, columns = ((n // 2 - k // 2, n - k - n // 2 + k // 2) for n, k in size)
    return pad(psf, (*columns, *rows))


def each(psfs: PSFs, change: Callable[[Tensor], Tensor]) -> PSFs:
    """Change both PSFs of all pairs in the same way."""
    return replace(psfs, positive=change(psfs.positive), negative=change(psfs.negative))


def stray_light(intensity: Tensor, share: float) -> Tensor:
    """Spread a share of the light of each picture ``(..., ny, nx)`` evenly over it."""
    return torch.lerp(intensity, intensity.mean((-2, -1), keepdim=True), share) if share else intensity
