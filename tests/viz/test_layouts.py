"""Floor plans: every site where the layout has it, to scale, and its sign without its colour."""

import numpy as np
import pytest
from matplotlib.colors import to_rgb

from onnlab.hardware import kernel_layout
from onnlab.viz import PALETTE, show_layout, subplots

LAYOUT = kernel_layout(0.7e-3, 1.1e-3, (0.18e-3, 0.3e-3), 0.05e-3)  # 3 x 3: pairs both ways, one left over


def drawn(ax):
    """Corners of all rectangles of an axes."""
    return [path.vertices for collection in ax.collections for path in collection.get_paths()]


def test_every_site_is_drawn_where_it_is():
    for signs in (True, False):
        ax = show_layout(LAYOUT, signs=signs).axes[0]
        boxes = {tuple(np.round(np.r_[v.min(0), v.max(0)] * 1e9).astype(int)) for v in drawn(ax)}
        for top, left, bottom, right in LAYOUT.rectangles.tolist():
            assert tuple(round(e * 1e9) for e in (left, top, right, bottom)) in boxes


def test_the_plan_is_to_scale():
    fig = show_layout(LAYOUT)
    fig.draw_without_rendering()
    ax = fig.axes[0]
    assert ax.get_xlim() == pytest.approx((-0.55e-3, 0.55e-3))
    assert ax.get_ylim() == pytest.approx((0.35e-3, -0.35e-3))  # row 0 on top
    frame = ax.get_window_extent()
    assert frame.height / frame.width == pytest.approx(0.7 / 1.1, rel=1e-3)
    assert (ax.get_xlabel(), ax.get_ylabel()) == ("x (µm)", "y (µm)")
    long = show_layout(kernel_layout(1e-3, 3e-3, 0.2e-3)).axes[0]
    assert (long.get_xlabel(), long.get_ylabel()) == ("x (mm)", "y (mm)")  # one unit for both


def test_signs_are_told_by_shape(pixel, vision, lab):
    """White strokes across both, upright ones through the positive only, in any colour vision."""
    ax = show_layout(LAYOUT).axes[0]
    ky, _ = LAYOUT.kernel_size
    white = lab((1, 1, 1), vision)
    for column, face in enumerate(("vermillion", "blue")):
        for y, x in LAYOUT.centres[LAYOUT.pairs[:, column]].tolist():
            across, upright = (
                lab(pixel(ax, *point), vision) for point in ((x + 0.15 * ky, y), (x, y + 0.15 * ky))
            )
            ground = lab(to_rgb(PALETTE[face]), vision)
            assert np.linalg.norm(across - white) < 3
            assert np.linalg.norm(upright - (white if column == 0 else ground)) < 3
            assert np.linalg.norm(ground - white) > 30


def test_frames_hold_the_pairs():
    frames = show_layout(LAYOUT).axes[0].collections[-2]
    boxes = [np.r_[p.vertices.min(0), p.vertices.max(0)] for p in frames.get_paths()]
    assert len(boxes) == len(LAYOUT.pairs)
    for (left, top, right, bottom), pair in zip(boxes, LAYOUT.pairs, strict=True):
        inside = [
            i for i, (y, x) in enumerate(LAYOUT.centres.tolist()) if left < x < right and top < y < bottom
        ]
        assert inside == pair.tolist()


def test_the_unused_site_is_told():
    def key(layout, **settings):
        legend = show_layout(layout, **settings).axes[0].get_legend()
        return legend and [text.get_text() for text in legend.get_texts()]

    assert key(LAYOUT) == ["+ PSF", "− PSF", "unused"]
    assert key(kernel_layout(1e-3, 2e-3, 1e-3)) == ["+ PSF", "− PSF"]
    assert key(kernel_layout(1e-3, 1e-3, 1e-3)) == ["unused"]
    assert key(LAYOUT, signs=False) is None


def test_nothing_is_cut_off_and_axes_of_your_own():
    fig = show_layout(LAYOUT, title="title")
    fig.draw_without_rendering()
    ink, page = fig.get_tightbbox(), fig.bbox_inches
    assert min(ink.x0, ink.y0) >= 0 and ink.x1 <= page.x1 and ink.y1 <= page.y1
    fig, axes = subplots(1, 2)
    assert show_layout(LAYOUT, ax=axes[0, 1]) is fig


def test_bad_input():
    with pytest.raises(
        TypeError, match="layout must be a KernelLayout, got tuple; make it with kernel_layout"
    ):
        show_layout((3, 3))
