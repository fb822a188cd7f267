"""Profiles, histories and grids of images."""

import numpy as np
import pytest
import torch

from onnlab.optics import Grid
from onnlab.viz import SIGNED_MAP, image_grid, show_history, show_profile, subplots

GRID = Grid((8, 64), 5e-6, 532e-9)


def test_profile_keeps_si_units_in_the_data_and_writes_prefixes():
    values = torch.exp(-((GRID.x / 5e-5) ** 2)).requires_grad_()
    fig = show_profile(GRID.x, {"computed": values, "exact": values}, marks={"edge": 5e-5}, title="a beam")
    ax = fig.axes[0]
    assert np.allclose(ax.lines[0].get_xdata(), GRID.x)
    assert np.allclose(ax.lines[0].get_ydata(), values.detach())
    assert ax.get_xlabel() == "x (µm)"
    assert ax.get_ylabel() == "intensity (arb. u.)"
    assert ax.get_title() == "a beam"
    assert [text.get_text() for text in ax.get_legend().get_texts()] == ["computed", "exact"]
    assert list(ax.lines[2].get_xdata()) == [5e-5, 5e-5]
    assert ax.texts[0].get_text() == "edge"


def test_profile_of_one_curve_over_frequency():
    ax = show_profile(GRID.fx, np.ones(64), x_label="frequency", x_unit="1/m", y_label="MTF", y_unit="").axes[
        0
    ]
    assert ax.get_xlabel() == "frequency (1/mm)"  # Nyquist: 100 per millimetre
    assert ax.get_ylabel() == "MTF"
    assert ax.get_legend() is None


def test_logarithmic_profile_and_own_axes():
    fig, axes = subplots(1, 2)
    assert show_profile([1, 2, 3], [1, 10, 100], x_unit="", log=True, ax=axes[0, 1]) is fig
    assert axes[0, 1].get_yscale() == "log"
    assert not axes[0, 0].lines


def test_history_counts_steps_from_one():
    ax = show_history({"train": [3.0, 2.0, 1.0], "validation": torch.tensor([3.5, 2.5])}).axes[0]
    assert list(ax.lines[0].get_xdata()) == [1, 2, 3]
    assert list(ax.lines[1].get_ydata()) == [3.5, 2.5]
    assert ax.get_yscale() == "log"
    assert show_history([0.5, 0.0], log=False).axes[0].get_yscale() == "linear"


def test_images_share_one_scale():
    images = torch.tensor([0.0, 0.25, 1.0]).reshape(3, 1, 1, 1).expand(3, 1, 4, 5)
    fig = image_grid(images, titles=[7, "seven"], columns=2, title="digits")
    drawn = [ax.images[0] for ax in fig.axes if ax.images]
    assert len(drawn) == 3
    assert {image.get_clim() for image in drawn} == {(0.0, 1.0)}
    assert np.array_equal(drawn[1].get_array(), np.full((4, 5), 0.25))
    assert [ax.get_title() for ax in fig.axes] == ["7", "seven", "", ""]
    assert fig.get_suptitle() == "digits"
    assert not any(ax.axison for ax in fig.axes)


def test_limits_of_images():
    def clim(images, **options):
        return image_grid(torch.tensor(images).reshape(1, 1, -1), **options).axes[0].images[0].get_clim()

    assert clim([0.2, 0.5]) == (0.0, 0.5)
    assert clim([-0.5, 0.25]) == (-0.5, 0.25)
    assert clim([-0.5, -0.25]) == (-0.5, -0.25)
    assert clim([-0.5, -0.5]) == (-0.5, 0.0) and clim([0.0, 0.0]) == (0.0, 1.0)
    assert clim([0.2, 0.5], limits=(0.1, 0.9)) == (0.1, 0.9)
    assert clim([-0.2, 0.5], signed=True) == (-0.5, 0.5)


def test_signed_and_coloured_images():
    assert image_grid(torch.ones(1, 2, 2), signed=True).axes[0].images[0].get_cmap() is SIGNED_MAP
    picture = torch.rand(2, 3, 4, 5, generator=torch.Generator().manual_seed(0))
    shown = image_grid(picture).axes[1].images[0].get_array()
    assert np.allclose(shown, picture[1].permute(1, 2, 0))


@pytest.mark.parametrize(
    ("draw", "error", "message"),
    [
        (lambda: show_profile([1, 2], [1, 2, 3]), ValueError, "curves must be as long as x, 2, got 3"),
        (lambda: show_profile([1, 2], {"a": [1j, 2]}), TypeError, "a must be real"),
        (
            lambda: show_profile(torch.ones(2, 2), [1, 2]),
            ValueError,
            r"x must be a line \(n,\), got \(2, 2\)",
        ),
        (lambda: show_profile([1, 2], [1, float("nan")]), ValueError, "curves must be finite"),
        (lambda: show_history([]), ValueError, "history must be a line"),
        (
            lambda: show_history([1.0, 0.0]),
            ValueError,
            "positive with log=True, got a minimum of 0; use log=False",
        ),
        (lambda: image_grid(torch.ones(4, 4)), ValueError, r"got \(4, 4\); .* image\[None\]"),
        (lambda: image_grid(torch.ones(1, 2, 4, 4)), ValueError, r"images must have shape"),
        (lambda: image_grid(torch.ones(1, 4, 4) + 0j), TypeError, "images must be real"),
        (lambda: image_grid(torch.ones(1, 4, 4), columns=0), ValueError, "columns must be at least 1"),
        (lambda: image_grid(torch.ones(1, 4, 4), ["a", "b"]), ValueError, "titles must be at most 1"),
    ],
)
def test_bad_input(draw, error, message):
    with pytest.raises(error, match=message):
        draw()
