"""Fields, intensities, kernels and rows of planes: what is drawn where, in which colour, and how long."""

import matplotlib
import numpy as np
import pytest
import torch
from matplotlib.colors import LogNorm, to_rgb
from matplotlib.patches import Rectangle

from onnlab.optics import Grid
from onnlab.viz import (
    SIGNED_MAP,
    Plane,
    domain_colours,
    phase_colours,
    show_field,
    show_intensity,
    show_kernel,
    show_planes,
    subplots,
)

GRID = Grid((6, 9), (2e-6, 3e-6), 532e-9)  # even and odd, two pitches
INFERNO = matplotlib.colormaps["inferno"]


def ramp(grid=GRID):
    """Values that tell every sample from every other."""
    return torch.arange(grid.ny * grid.nx, dtype=torch.float64).reshape(grid.shape) / (grid.ny * grid.nx)


def field():
    return torch.polar(0.2 + ramp(), 6 * ramp())


def bar_of(ax):
    return next(patch for patch in ax.patches if isinstance(patch, Rectangle))


def texts(ax):
    return [text.get_text() for text in ax.texts]


@pytest.mark.parametrize("show", [show_field, show_intensity])
def test_samples_lie_at_their_coordinates(show):
    ax = show(ramp(), GRID).axes[0]
    left, right, bottom, top = ax.images[0].get_extent()
    x, y = GRID.x.tolist(), GRID.y.tolist()
    assert (left, right) == pytest.approx((x[0] - 1.5e-6, x[-1] + 1.5e-6))
    assert (top, bottom) == pytest.approx((y[0] - 1e-6, y[-1] + 1e-6))
    assert ax.get_xlabel() == "x (µm)"
    assert ax.get_ylabel() == "y (µm)"


def test_pixels_show_the_colours_of_the_field(pixel):
    ax = show_field(field(), GRID).axes[0]
    expected = domain_colours(field())
    for row, column in ((0, 0), (0, 8), (5, 0), (2, 7), (5, 8)):
        shown = pixel(ax, float(GRID.x[column]), float(GRID.y[row]))
        assert np.allclose(shown, expected[row, column], atol=1 / 255)


def test_row_zero_is_on_top(pixel):
    intensity = torch.zeros(GRID.shape)
    intensity[0, 0] = 1
    fig = show_intensity(intensity, GRID, scale_bar=False)
    fig.draw_without_rendering()
    ax = fig.axes[0]
    assert np.allclose(pixel(ax, float(GRID.x[0]), float(GRID.y[0])), INFERNO(1.0)[:3], atol=1 / 255)
    x, y = ax.transAxes.inverted().transform(ax.transData.transform((GRID.x[0], GRID.y[0])))
    assert x < 0.2
    assert y > 0.8


def test_field_gamma_and_title():
    fig = show_field(field(), GRID, gamma=0.5, title="behind the hole")
    image = fig.axes[0].images[0].get_array()
    assert np.allclose(image, domain_colours(field(), gamma=0.5))
    assert fig.axes[0].get_title() == "behind the hole"


def test_key_of_colours_is_the_wheel():
    fig = show_field(field(), GRID)
    key = fig.axes[0].child_axes[0]
    wheel = np.asarray(key.images[0].get_array())
    middle = wheel.shape[0] // 2
    assert np.allclose(wheel[middle, -1, :3], phase_colours(0.0))  # right: phase 0, full brightness
    assert np.allclose(wheel[0, middle, :3], phase_colours(np.pi / 2))  # up
    assert np.allclose(wheel[middle, middle, :3], 0)
    assert wheel[0, 0, 3] == 0  # nothing outside the disc
    places = {text.get_text(): text.xy for text in key.texts}
    assert places["0"] == (1, 0)
    assert places["π/2"] == (0, 1)


def test_split_field_shows_amplitude_and_phase():
    values = field()
    values[0, 0] = 0
    left, right = show_field(values, GRID, split=True).axes[:2]
    assert np.allclose(left.images[0].get_array(), values.abs())
    phase = right.images[0].get_array()
    assert np.allclose(phase[1:], values.angle()[1:])
    assert phase.mask[0, 0]  # no amplitude, no phase
    assert phase.mask.sum() == 1
    assert right.images[0].get_clim() == pytest.approx((-np.pi, np.pi))


@pytest.mark.parametrize(
    ("nx", "pitch", "length", "label"),
    [
        (100, 1e-6, 2e-5, "20 µm"),
        (512, 4e-6, 5e-4, "500 µm"),
        (250, 10e-6, 5e-4, "500 µm"),
        (64, 1e-3, 1e-2, "10 mm"),
    ],
)
def test_scale_bar_has_a_round_length_in_metres(nx, pitch, length, label):
    grid = Grid((nx, nx), pitch, 532e-9)
    ax = show_intensity(torch.ones(grid.shape), grid).axes[0]
    assert bar_of(ax).get_width() == pytest.approx(length)
    assert label in texts(ax)
    assert length <= nx * pitch / 4


def test_scale_bar_is_as_long_as_its_samples_on_screen():
    grid = Grid((100, 100), 1e-6, 532e-9)
    fig = show_intensity(torch.ones(grid.shape), grid)
    fig.draw_without_rendering()
    ax = fig.axes[0]
    bar, frame = bar_of(ax).get_window_extent(), ax.get_window_extent()
    assert bar.width / frame.width == pytest.approx(20 / 100)
    assert frame.x0 < bar.x0
    assert frame.y0 < bar.y0


def test_scale_bar_can_be_left_out():
    assert not show_intensity(ramp(), GRID, scale_bar=False).axes[0].patches


def test_width_zooms_and_the_scale_bar_follows():
    grid = Grid((100, 100), 1e-6, 532e-9)
    ax = show_intensity(torch.ones(grid.shape), grid, width=10e-6).axes[0]
    assert ax.get_xlim() == pytest.approx((-5e-6, 5e-6))
    assert ax.get_ylim() == pytest.approx((5e-6, -5e-6))
    assert bar_of(ax).get_width() == pytest.approx(2e-6)
    wide = show_intensity(torch.ones(grid.shape), grid, width=1.0).axes[0]  # wider than the grid: all of it
    assert wide.get_xlim() == pytest.approx((-50.5e-6, 49.5e-6))


def test_intensity_scales():
    values = ramp().numpy() * 4
    assert show_intensity(values, GRID).axes[0].images[0].get_clim() == pytest.approx((0, values.max()))
    image = show_intensity(values, GRID, peak=2.0).axes[0].images[0]
    assert image.get_clim() == (0, 2)
    assert image.colorbar.extend == "max"
    image = show_intensity(values, GRID, decades=3).axes[0].images[0]
    assert isinstance(image.norm, LogNorm)
    assert image.get_clim() == pytest.approx((values.max() / 1000, values.max()))
    image = show_intensity(values, GRID, gamma=0.5).axes[0].images[0]
    assert image.norm(values.max() / 4) == pytest.approx(0.5)


def test_dark_planes_are_drawn():
    zero = torch.zeros(GRID.shape)
    for fig in (
        show_intensity(zero, GRID),
        show_intensity(zero, GRID, decades=3),
        show_field(zero + 0j, GRID),
        show_field(zero + 0j, GRID, split=True),
        show_kernel(zero, GRID),
        show_planes([("dark", zero, GRID)]),
    ):
        fig.draw_without_rendering()


def test_rounding_below_zero_is_black_not_an_error():
    values = ramp()
    values[0, 0] = -1e-9
    assert show_intensity(values, GRID).axes[0].images[0].get_array().min() == 0


def test_tensors_with_gradient_and_arrays_and_leading_axes():
    plain = show_intensity(ramp(), GRID).axes[0].images[0].get_array()
    for same in (ramp().requires_grad_(), ramp().numpy(), ramp()[None, None], ramp().tolist()):
        assert np.array_equal(show_intensity(same, GRID).axes[0].images[0].get_array(), plain)
    show_planes([("field", field().requires_grad_(), GRID)]).draw_without_rendering()


def test_kernel_scale_is_symmetric_and_zero_is_white(pixel):
    ax = show_kernel([[1.0, 0.0], [-0.5, 0.25]]).axes[0]
    assert ax.images[0].get_clim() == (-1, 1)
    assert texts(ax) == ["1", "0", "−0.5", "0.25"]
    assert np.allclose(pixel(ax, 0.8, -0.3), SIGNED_MAP(0.5)[:3], atol=1 / 255)
    assert np.allclose(pixel(ax, -0.3, -0.3), SIGNED_MAP(1.0)[:3], atol=1 / 255)
    assert (ax.get_xlabel(), ax.get_ylabel()) == ("column", "row")


def test_large_kernels_and_those_on_a_grid_show_no_numbers():
    assert not show_kernel(torch.ones(8, 3)).axes[0].texts
    ax = show_kernel(ramp(), GRID).axes[0]
    assert not ax.texts
    assert ax.get_xlabel() == "x (µm)"


def test_planes_side_by_side():
    other = GRID.with_(pitch=1e-3)
    fig = show_planes(
        [
            ("object", ramp(), GRID),
            Plane("Fourier plane", field(), other, gamma=0.5),
            ("difference", ramp() - 0.5, GRID),
        ]
    )
    axes = fig.axes[:3]
    assert [ax.get_title() for ax in axes] == ["object", "Fourier plane", "difference"]
    assert axes[0].images[0].get_cmap().name == "inferno"
    assert np.allclose(axes[1].images[0].get_array(), domain_colours(field(), gamma=0.5))
    assert axes[2].images[0].get_cmap() is SIGNED_MAP
    assert axes[2].images[0].get_clim() == (-0.5, 0.5)
    assert bar_of(axes[0]).get_width() == pytest.approx(5e-6)
    assert bar_of(axes[1]).get_width() == pytest.approx(2e-3)
    assert bar_of(axes[2]).get_facecolor()[:3] == to_rgb("black")
    assert all(ax.get_xlabel() == "" and len(ax.get_xticks()) == 0 for ax in axes)
    assert any("0.5" in text for text in texts(axes[2].child_axes[0]))  # the key tells gamma


def test_planes_break_into_rows_and_have_no_key_without_a_field():
    fig = show_planes([(str(i), ramp(), GRID) for i in range(5)], columns=3)
    assert [ax.axison for ax in fig.axes] == [True] * 5 + [False]
    rows = {round(ax.get_subplotspec().rowspan.start) for ax in fig.axes[:5]}
    assert rows == {0, 1}
    assert not any(ax.child_axes for ax in fig.axes)


def test_nothing_is_cut_off_at_the_border():
    grid = Grid((32, 48), 4e-6, 532e-9)
    u = torch.polar(torch.ones(grid.shape), 1e5 * grid.x.float().expand(grid.shape))
    for fig in (
        show_field(u, grid, title="title"),
        show_field(u, grid, split=True),
        show_intensity(u.abs() ** 2, grid, title="title"),
        show_kernel(u.real, grid, title="title"),
        show_planes([("one", u, grid), ("two", u, grid)]),
        show_planes([(str(i), u, grid) for i in range(4)]),
    ):
        fig.draw_without_rendering()
        ink, page = fig.get_tightbbox(), fig.bbox_inches
        assert ink.x0 >= 0
        assert ink.y0 >= 0
        assert ink.x1 <= page.x1
        assert ink.y1 <= page.y1


def test_pictures_go_into_axes_of_your_own():
    fig, axes = subplots(1, 3)
    size = tuple(fig.get_size_inches())
    assert show_intensity(ramp(), GRID, ax=axes[0, 0]) is fig
    assert show_field(field(), GRID, ax=axes[0, 1]) is fig
    assert show_kernel(ramp(), GRID, ax=axes[0, 2]) is fig
    assert all(len(ax.images) == 1 for ax in axes.flat)
    assert tuple(fig.get_size_inches()) == size


@pytest.mark.parametrize(
    ("draw", "error", "message"),
    [
        (lambda: show_field(torch.ones(5, 9), GRID), ValueError, r"shape \(6, 9\) of its grid, got \(5, 9\)"),
        (
            lambda: show_field(torch.ones(2, 6, 9), GRID),
            ValueError,
            r"one plane .* got \(2, 6, 9\); .* field\[0\]",
        ),
        (lambda: show_field(torch.ones(9), GRID), ValueError, "field must be one plane"),
        (
            lambda: show_field(torch.ones(6, 9), 4e-6),
            TypeError,
            "grid must be an onnlab.optics.Grid, got float",
        ),
        (lambda: show_field(torch.full((6, 9), torch.inf), GRID), ValueError, "field must be finite"),
        (lambda: show_field(ramp(), GRID, gamma=0), ValueError, "gamma must be positive"),
        (lambda: show_field(ramp(), GRID, width=0.0), ValueError, "width must be positive"),
        (lambda: show_field(ramp(), GRID, split=True, ax=object()), ValueError, "ax must be None"),
        (lambda: show_intensity(field(), GRID), TypeError, r"real, .* intensity.abs\(\) \*\* 2"),
        (lambda: show_intensity(ramp() - 0.5, GRID), ValueError, r"minimum of -0.5; use show_kernel"),
        (lambda: show_intensity(ramp(), GRID, peak=-1), ValueError, "peak must be positive"),
        (lambda: show_intensity(ramp(), GRID, decades=0), ValueError, "decades must be positive"),
        (
            lambda: show_intensity(ramp(), GRID, decades=3, gamma=0.5),
            ValueError,
            "gamma must be 1 with decades",
        ),
        (lambda: show_kernel(field()), TypeError, "kernel must be real"),
        (lambda: show_planes([]), ValueError, "at least one plane"),
        (lambda: show_planes([("a", ramp(), GRID)], columns=0), ValueError, "columns must be at least 1"),
        (
            lambda: show_planes([("a", torch.ones(3, 3), GRID)]),
            ValueError,
            "the values of 'a' must have the shape",
        ),
    ],
)
def test_bad_input(draw, error, message):
    with pytest.raises(error, match=message):
        draw()
