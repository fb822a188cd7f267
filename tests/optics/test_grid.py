import math

import numpy as np
import pytest
import torch

from onnlab.optics import Grid


@pytest.mark.parametrize("pitch", [(1e-6, 1e-6), [1e-6, 1e-6], np.array([1e-6, 1e-6]), np.array(1e-6)])
def test_equal_grids_are_one_key_however_the_pitch_is_written(pitch):
    assert {Grid((8, 6), 1e-6, 5e-7): "a"}[Grid([8, 6], pitch, 5e-7)] == "a"


def test_a_grid_is_frozen():
    with pytest.raises(AttributeError):
        Grid((8, 8), 1e-6, 5e-7).wavelength = 1e-6


@pytest.mark.parametrize("n", [1, 2, 7, 8])
def test_coordinates_match_numpy_frequencies(n):
    grid = Grid((n, n + 1), (2e-6, 3e-6), 5e-7)
    assert grid.y[n // 2] == 0 and grid.fy[n // 2] == 0
    np.testing.assert_allclose(grid.fy, np.fft.fftshift(np.fft.fftfreq(n, 2e-6)))
    np.testing.assert_allclose(grid.fx, np.fft.fftshift(np.fft.fftfreq(n + 1, 3e-6)))
    assert grid.x.dtype == grid.fx.dtype == torch.float64
    assert grid.extent == pytest.approx((n * 2e-6, (n + 1) * 3e-6))


def test_critical_distance_is_where_the_phase_step_reaches_pi():
    grid = Grid((1, 400), (1.0, 4e-6), 5e-7)
    longitudinal = (1 / grid.wavelength**2 - grid.fx**2).sqrt()
    steepest = float((2 * math.pi * longitudinal.diff()).abs().max())
    one_axis = Grid((400, 400), 4e-6, 5e-7).critical_distance
    assert one_axis * steepest == pytest.approx(math.pi, rel=0.01)


def test_band_limit_is_the_frequency_of_the_ray_to_the_edge():
    grid = Grid((400, 400), 4e-6, 5e-7)
    z = 0.05
    # A ray of frequency f travels at sin(theta) = lambda f and lands z tan(theta) off the axis.
    sine = grid.wavelength * grid.band_limit(z)[1]
    assert z * sine / math.sqrt(1 - sine**2) == pytest.approx(grid.extent[1] / 2)
    assert grid.band_limit(-z) == grid.band_limit(z)


def test_half_wavelength_pitch_has_no_critical_distance():
    assert Grid((64, 64), 2.5e-7, 5e-7).critical_distance == 0


def test_fresnel_number():
    assert Grid((8, 8), 1e-6, 5e-7).fresnel_number(1e-3, 2.0) == pytest.approx(1.0)


def test_with_replaces_only_what_is_named():
    grid = Grid((8, 6), 1e-6, 5e-7)
    assert grid.with_(shape=(16, 12)) == Grid((16, 12), 1e-6, 5e-7)
    assert grid.with_(wavelength=6e-7).pitch == (1e-6, 1e-6)


@pytest.mark.parametrize(
    ("arguments", "error", "words"),
    [
        (((8,), 1e-6, 5e-7), TypeError, "shape must be a pair"),
        (((8, 0), 1e-6, 5e-7), ValueError, "at least 1"),
        (((8, 8.0), 1e-6, 5e-7), TypeError, "shape must hold integers"),
        ((512, 1e-6, 5e-7), TypeError, "shape must be a pair"),
        (((8, 8), 0, 5e-7), ValueError, "pitch must be positive"),
        (((8, 8), -1e-6, 5e-7), ValueError, "pitch must be positive"),
        (((8, 8), float("nan"), 5e-7), ValueError, "pitch must be finite"),
        (((8, 8), (1e-6, 1e-6, 1e-6), 5e-7), TypeError, "pitch must be one length in metres, or two"),
        (((8, 8), "4um", 5e-7), TypeError, "pitch must be one real number"),
        (((8, 8), np.array([1e-6j, 1e-6j]), 5e-7), TypeError, "pitch must be one real number"),
        (((8, 8), torch.tensor(1e-6j), 5e-7), TypeError, "pitch must be one real number"),
        (((8, 8), 1e-6, 0.0), ValueError, "wavelength must be positive"),
        (((8, 8), 1e-6, float("inf")), ValueError, "wavelength must be finite"),
        (((8, 8), 1e-6, None), TypeError, "wavelength must be one real number"),
    ],
)
def test_bad_input_is_named(arguments, error, words):
    with pytest.raises(error, match=words):
        Grid(*arguments)


@pytest.mark.parametrize(
    "pitch", [np.float32(0.5), np.array(0.5), torch.tensor(0.5), torch.tensor(0.5, requires_grad=True)]
)
def test_a_number_may_come_as_a_scalar_of_numpy_or_torch(pitch):
    assert Grid((8, 8), pitch, 5e-7) == Grid((8, 8), 0.5, 5e-7)


def test_bad_distances_are_named():
    grid = Grid((8, 8), 1e-6, 5e-7)
    with pytest.raises(ValueError, match="z must be finite"):
        grid.band_limit(math.nan)
    with pytest.raises(ValueError, match="radius must be positive"):
        grid.fresnel_number(0.0, 1.0)
