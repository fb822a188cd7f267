"""The sampling grid: what the samples of a field mean in metres."""

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from onnlab.optics import _check


@dataclass(frozen=True)
class Grid:
    r"""A plane of ``ny`` x ``nx`` samples for light of one wavelength.

    The origin sits at index ``n // 2`` of each axis, for even and odd sizes.

    Parameters
    ----------
    shape : (int, int)
        Number of samples ``(ny, nx)``.
    pitch : float or (float, float)
        Distance between samples in metres, one number or ``(dy, dx)``.
    wavelength : float
        Wavelength in the medium, in metres.

    Raises
    ------
    TypeError
        If an argument is not a number (or a pair of numbers).
    ValueError
        If a size is below one, or a length is not positive and finite.

    Examples
    --------
    >>> grid = Grid(shape=(512, 512), pitch=4e-6, wavelength=532e-9)
    >>> grid.nyquist
    (125000.0, 125000.0)
    """

    shape: tuple[int, int]
    pitch: tuple[float, float]
    wavelength: float

    def __init__(self, shape: tuple[int, int], pitch: float | tuple[float, float], wavelength: float) -> None:
        # The pitch is stored as a pair, whatever was given, so that equal grids compare and hash as equal.
        object.__setattr__(self, "shape", _checked_shape(shape))
        object.__setattr__(self, "pitch", _check.two_lengths("pitch", pitch, "rows and columns"))
        object.__setattr__(self, "wavelength", _check.positive_length("wavelength", wavelength))

    def with_(
        self,
        *,
        shape: tuple[int, int] | None = None,
        pitch: float | tuple[float, float] | None = None,
        wavelength: float | None = None,
    ) -> "Grid":
        """Return a copy of this grid with some values replaced."""
        return Grid(
            self.shape if shape is None else shape,
            self.pitch if pitch is None else pitch,
            self.wavelength if wavelength is None else wavelength,
        )

    @property
    def ny(self) -> int:
        """Number of rows."""
        return self.shape[0]

    @property
    def nx(self) -> int:
        """Number of columns."""
        return self.shape[1]

    @property
    def dy(self) -> float:
        """Distance between rows in metres."""
        return self.pitch[0]

    @property
    def dx(self) -> float:
        """Distance between columns in metres."""
        return self.pitch[1]

    @property
    def y(self) -> Tensor:
        """Row coordinates in metres: float64, shape ``(ny,)``, zero at index ``ny // 2``."""
        return centred_index(self.ny) * self.dy

    @property
    def x(self) -> Tensor:
        """Column coordinates in metres: float64, shape ``(nx,)``, zero at index ``nx // 2``."""
        return centred_index(self.nx) * self.dx

    @property
    def fy(self) -> Tensor:
        """Row frequencies in cycles per metre: float64, shape ``(ny,)``, spacing ``1 / (ny dy)``."""
        return centred_index(self.ny) / (self.ny * self.dy)

    @property
    def fx(self) -> Tensor:
        """Column frequencies in cycles per metre: float64, shape ``(nx,)``, spacing ``1 / (nx dx)``."""
        return centred_index(self.nx) / (self.nx * self.dx)

    @property
    def radius(self) -> Tensor:
        """Distance of each sample from the origin in metres: float64, shape ``(ny, nx)``."""
        return torch.hypot(self.y[:, None], self.x)

    @property
    def extent(self) -> tuple[float, float]:
        """Height and width of the window in metres, ``(ny dy, nx dx)``."""
        return self.ny * self.dy, self.nx * self.dx

    @property
    def wavenumber(self) -> float:
        r"""Wavenumber :math:`k = 2\pi/\lambda` in radians per metre."""
        return 2 * math.pi / self.wavelength

    @property
    def nyquist(self) -> tuple[float, float]:
        r"""Highest frequency the samples hold, :math:`1/(2\Delta)` for ``(y, x)``, in cycles per metre."""
        return 1 / (2 * self.dy), 1 / (2 * self.dx)

    @property
    def critical_distance(self) -> float:
        r"""Distance in metres up to which the transfer function of free space is sampled finely enough.

        .. math:: z_c = \frac{N \Delta^2}{\lambda} \sqrt{1 - \left(\frac{\lambda}{2\Delta}\right)^2}

        with :math:`N` samples of pitch :math:`\Delta`; the smaller value of the two axes. It follows from
        asking that the phase of :math:`H(f)` turn by less than :math:`\pi` from one frequency sample to the
        next, at the Nyquist frequency. With a pitch of half a wavelength or less it is zero: such a grid
        holds waves that graze the plane, and their phase is never slow enough.

        Source: Matsushima & Shimobaba (2009), DOI 10.1364/OE.17.019662, section 3.
        """
        return min(
            n * d**2 / self.wavelength * math.sqrt(max(0.0, 1 - (self.wavelength / (2 * d)) ** 2))
            for n, d in zip(self.shape, self.pitch, strict=True)
        )

    def band_limit(self, z: float) -> tuple[float, float]:
        r"""Highest frequency whose phase is well sampled after a distance ``z``, for ``(y, x)``.

        .. math:: f_\mathrm{limit} = \frac{1}{\lambda \sqrt{(2 z / (N \Delta))^2 + 1}}

        Parameters
        ----------
        z : float
            Distance in metres, of either sign.

        Returns
        -------
        (float, float)
            Limits in cycles per metre. They may lie above :attr:`nyquist`: then nothing is lost.

        Notes
        -----
        Source: Matsushima & Shimobaba (2009), DOI 10.1364/OE.17.019662, equation 13.
        """
        z = _check.finite_number("z", z, "metres")
        height, width = self.extent
        return (
            1 / (self.wavelength * math.hypot(2 * z / height, 1)),
            1 / (self.wavelength * math.hypot(2 * z / width, 1)),
        )

    def fresnel_number(self, radius: float, z: float) -> float:
        r"""Fresnel number :math:`a^2/(\lambda z)` of an aperture of radius ``radius`` seen from ``z``.

        Well above one you are in the shadow region, near one in Fresnel diffraction, well below one in the
        far field (Fraunhofer diffraction).

        Parameters
        ----------
        radius, z : float
            Radius of the aperture and distance, both in metres and positive.

        Returns
        -------
        float
            A pure number.
        """
        radius = _check.positive_length("radius", radius)
        return radius**2 / (self.wavelength * _check.positive_length("z", z))


def centred_index(n: int) -> Tensor:
    """Return ``0..n-1`` minus the origin ``n // 2`` as float64."""
    return torch.arange(n, dtype=torch.float64) - n // 2


def _checked_shape(shape: object) -> tuple[int, int]:
    if not isinstance(shape, (tuple, list, torch.Size)) or len(shape) != 2:
        raise TypeError(f"shape must be a pair (ny, nx) of integers, got {shape!r}; write shape=(512, 512)")
    for n in shape:
        if isinstance(n, bool) or not hasattr(n, "__index__"):
            raise TypeError(f"shape must hold integers, got {shape!r}; write shape=(512, 512)")
        if n < 1:
            raise ValueError(f"shape must hold sizes of at least 1, got {tuple(shape)!r}")
    return int(shape[0]), int(shape[1])
