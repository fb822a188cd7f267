r"""Colours for complex and for signed numbers, the same to (nearly) every eye.

Phase is a circle, so its colours must be one too. Most wheels, such as HSV, collapse to a line for the one
man in twelve who sees red and green alike. Here the wheel is an ellipse in the OKLab colour space,

.. math:: (L, a, b) = c + s \sin\varphi + k \cos\varphi,

with the signs +1 and -1 at the ends of the blue-yellow axis, which red-green blindness leaves intact, and
+i and -i told apart by lightness as well. Amplitude is brightness: zero is black at every phase.

OKLab: B. Ottosson, "A perceptual color space for image processing" (2020).
"""

from collections.abc import Sequence

import numpy as np
from matplotlib.colors import LinearSegmentedColormap, ListedColormap
from numpy.typing import ArrayLike

from onnlab.viz._check import as_array
from onnlab.viz.style import PALETTE

# Found by maximising the smallest difference between phases 45 degrees apart, seen with normal vision and
# with each kind of dichromacy, among the ellipses that fit into the colours of a screen.
_CENTRE = np.array([0.66, 0.03, -0.01])
_SINE = np.array([0.13, -0.09, 0.0])
_COSINE = np.array([0.0, 0.02, 0.13])

_OKLAB_TO_LMS = np.array(
    [[1, 0.3963377774, 0.2158037573], [1, -0.1055613458, -0.0638541728], [1, -0.0894841775, -1.2914855480]]
)
_LMS_TO_RGB = np.array(
    [
        [4.0767416621, -3.3077115913, 0.2309699292],
        [-1.2684380046, 2.6097574011, -0.3413193965],
        [-0.0041960863, -0.7034186147, 1.7076147010],
    ]
)


def phase_colours(phase: ArrayLike) -> np.ndarray:
    """Colour of each phase at full brightness.

    Parameters
    ----------
    phase : array
        Angles in radians, any shape.

    Returns
    -------
    ndarray
        sRGB in [0, 1], shape ``(..., 3)``: 0 is amber, pi/2 a light teal, pi blue, -pi/2 a dark pink.
    """
    angle = np.asarray(phase, dtype=np.float64)[..., None]
    oklab = _CENTRE + np.sin(angle) * _SINE + np.cos(angle) * _COSINE
    return _encode((oklab @ _OKLAB_TO_LMS.T) ** 3 @ _LMS_TO_RGB.T)


def domain_colours(field: ArrayLike, *, peak: float | None = None, gamma: float = 1.0) -> np.ndarray:
    r"""Colour complex numbers: phase as hue, amplitude as brightness :math:`(|u|/u_0)^\gamma`.

    Parameters
    ----------
    field : Tensor or array
        Complex (or real, signed) numbers :math:`u` of any shape.
    peak : float, optional
        Amplitude :math:`u_0` of full brightness; larger ones are clipped. By default the largest.
    gamma : float
        Below one, faint parts become brighter.

    Returns
    -------
    ndarray
        sRGB in [0, 1], shape ``(..., 3)``. Zero is black.

    Raises
    ------
    ValueError
        If the field is not finite, or ``peak`` or ``gamma`` is not positive.
    """
    values = as_array(field, "field")
    if not gamma > 0:
        raise ValueError(f"gamma must be positive, got {gamma!r}; 1 shows amplitude, 2 intensity")
    if peak is not None and not peak > 0:
        raise ValueError(f"peak must be a positive amplitude, got {peak!r}; leave it out to use the largest")
    amplitude = np.abs(values)
    full = amplitude.max(initial=0.0) if peak is None else peak
    brightness = np.minimum(amplitude / full, 1.0) ** gamma if full > 0 else amplitude
    return phase_colours(np.angle(values)) * brightness[..., None]


def readable_on(colour: Sequence[float]) -> str:
    """Return ``"black"`` or ``"white"``, whichever has the higher contrast on an sRGB colour (WCAG 2)."""
    rgb = np.asarray(colour, dtype=np.float64)[:3]
    linear = np.where(rgb <= 0.04045, rgb / 12.92, ((rgb + 0.055) / 1.055) ** 2.4)
    luminance = linear @ [0.2126, 0.7152, 0.0722]
    return "black" if (luminance + 0.05) ** 2 > 1.05 * 0.05 else "white"


def _encode(linear: np.ndarray) -> np.ndarray:
    """Linear light to sRGB (IEC 61966-2-1)."""
    linear = np.clip(linear, 0.0, 1.0)
    return np.where(linear <= 0.0031308, 12.92 * linear, 1.055 * linear ** (1 / 2.4) - 0.055)


PHASE_MAP = ListedColormap(phase_colours(np.linspace(-np.pi, np.pi, 257)), name="onnlab_phase")
"""The wheel as a colour map, from -pi to pi."""

SIGNED_MAP = LinearSegmentedColormap.from_list(
    "onnlab_signed", ["#003A5C", PALETTE["blue"], "#F7F7F7", PALETTE["vermillion"], "#6E2C00"]
)
"""Blue for negative, white for zero, vermillion for positive."""
