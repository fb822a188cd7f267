"""Colours as people see them, and figures as pixels."""

import numpy as np
import pytest
from matplotlib.backends.backend_agg import FigureCanvasAgg

# Machado, Oliveira & Fernandes (2009), DOI 10.1109/TVCG.2009.113: complete dichromacy, on linear light.
VISIONS = {
    "normal": np.eye(3),
    "protanopia": np.array(
        [[0.152286, 1.052583, -0.204868], [0.114503, 0.786281, 0.099216], [-0.003882, -0.048116, 1.051998]]
    ),
    "deuteranopia": np.array(
        [[0.367322, 0.860646, -0.227968], [0.280085, 0.672501, 0.047413], [-0.011820, 0.042940, 0.968881]]
    ),
    "tritanopia": np.array(
        [[1.255528, -0.076749, -0.178779], [-0.078411, 0.930809, 0.147602], [0.004733, 0.691367, 0.303900]]
    ),
}
RGB_TO_XYZ = np.array(
    [[0.4124564, 0.3575761, 0.1804375], [0.2126729, 0.7151522, 0.0721750], [0.0193339, 0.1191920, 0.9503041]]
)


def linear_light(rgb):
    rgb = np.asarray(rgb, dtype=float)
    return np.where(rgb <= 0.04045, rgb / 12.92, ((rgb + 0.055) / 1.055) ** 2.4)


def cielab(rgb, vision="normal"):
    """CIELAB coordinates (D65) of sRGB colours as seen with a colour vision."""
    seen = np.clip(linear_light(rgb) @ VISIONS[vision].T, 0, 1)
    xyz = seen @ RGB_TO_XYZ.T / RGB_TO_XYZ.sum(1)
    x, y, z = np.moveaxis(np.where(xyz > 216 / 24389, np.cbrt(xyz), (24389 / 27 * xyz + 16) / 116), -1, 0)
    return np.stack([116 * y - 16, 500 * (x - y), 200 * (y - z)], -1)


@pytest.fixture(params=VISIONS)
def vision(request):
    return request.param


@pytest.fixture
def lab():
    return cielab


@pytest.fixture
def luminance():
    return lambda rgb: linear_light(rgb) @ RGB_TO_XYZ[1]


@pytest.fixture
def pixel():
    """Return a function: the sRGB colour that a figure shows at a point of the data of its axes."""

    def colour_at(ax, x, y):
        canvas = FigureCanvasAgg(ax.get_figure())
        canvas.draw()
        picture = np.asarray(canvas.buffer_rgba())
        column, row = ax.transData.transform((x, y))
        return picture[picture.shape[0] - 1 - int(row), int(column), :3] / 255

    return colour_at
