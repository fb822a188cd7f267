"""The drawn bench: rays obey the lens laws, and the drawing is to scale along the axis."""

import numpy as np
import pytest
from matplotlib.colors import to_rgb

from onnlab.viz import PALETTE, Element, draw_bench, four_f_bench, trace_rays

POINT = np.array([0.3, 0.3, 0.3]), np.array([-2.0, 0.0, 2.0])  # three rays from one point


def ray_lines(fig):
    """Lines drawn through every element, by colour."""
    lines = {}
    for line in fig.axes[0].lines:
        for name in ("vermillion", "blue"):
            if to_rgb(line.get_color()) == to_rgb(PALETTE[name]):
                lines.setdefault(name, []).append(line.get_xydata())
    return {name: np.array(drawn) for name, drawn in lines.items()}


def test_four_f_positions():
    assert [e.position for e in four_f_bench(0.1)] == pytest.approx([0, 0.1, 0.2, 0.3, 0.4])
    bench = four_f_bench((0.05, 0.2), mask="edge filter")
    assert [e.position for e in bench] == pytest.approx([0, 0.05, 0.1, 0.3, 0.5])
    assert four_f_bench([0.05, 0.2], mask="edge filter") == bench
    assert [e.kind for e in bench] == ["object", "lens", "mask", "lens", "camera"]
    assert bench[2].label == "edge filter"


@pytest.mark.parametrize(("f1", "f2"), [(0.1, 0.1), (0.05, 0.2)])
def test_four_f_images_a_point_with_the_right_magnification(f1, f2):
    at_camera = trace_rays(four_f_bench((f1, f2)), *POINT)[-1]
    assert at_camera == pytest.approx(np.full(3, -0.3 * f2 / f1))


def test_fourier_plane_sorts_rays_by_slope():
    height, slope = np.array([-0.2, 0.0, 0.5]), np.full(3, 1.5)
    assert trace_rays(four_f_bench(0.1), height, slope)[2] == pytest.approx(np.full(3, 1.5 * 0.1))


def test_single_lens_images_where_the_lens_equation_says():
    f, a = 0.1, 0.15
    b = 1 / (1 / f - 1 / a)
    bench = [Element("object", 0, ""), Element("lens", a, "", f), Element("camera", a + b)]
    assert trace_rays(bench, *POINT)[-1] == pytest.approx(np.full(3, -0.3 * b / a))


def test_diverging_lens_spreads_a_beam_from_its_focus():
    bench = [Element("plane", 0), Element("lens", 0.1, "", -0.05), Element("plane", 0.2)]
    heights = trace_rays(bench, np.array([1.0]), np.zeros(1))[:, 0]
    assert heights == pytest.approx([1, 1, 1 + 0.1 / 0.05])


def test_drawn_rays_meet_again_on_the_camera():
    rays = ray_lines(draw_bench(four_f_bench((0.1, 0.2))))
    assert set(rays) == {"vermillion", "blue"}
    for drawn in rays.values():
        z, height = drawn[..., 0], drawn[..., 1]
        assert np.allclose(z, [0, 0.1, 0.2, 0.4, 0.6])
        assert np.ptp(height[:, 0]) == pytest.approx(0, abs=1e-12)
        assert height[:, -1] == pytest.approx(-2 * height[:, 0])
        assert np.ptp(height[:, 2]) > 0.1
        assert np.abs(height).max() < 1  # inside the lenses
    assert rays["vermillion"][0, 0, 1] == pytest.approx(-rays["blue"][0, 0, 1])


def test_cones_pass_the_middle_of_the_stop():
    bench = [
        Element("object", 0),
        Element("lens", 0.15, "lens", 0.1),
        Element("stop", 0.2, "stop"),
        Element("camera", 0.45),
    ]
    for drawn in ray_lines(draw_bench(bench)).values():
        assert drawn[:, 2, 1].mean() == pytest.approx(0, abs=1e-12)
        assert np.ptp(drawn[:, 3, 1]) == pytest.approx(0, abs=1e-12)


def test_a_beam_is_parallel_and_a_stop_opens_for_it():
    fig = draw_bench([Element("stop", 0.0, "aperture"), Element("plane", 0.4, "screen")], rays="beam")
    beam = ray_lines(fig)["vermillion"]
    assert np.allclose(beam[:, 0, 1], beam[:, 1, 1])
    blades = [patch.get_bbox() for patch in fig.axes[0].patches]
    assert blades[0].y1 == pytest.approx(beam[..., 1].min())
    assert blades[1].y0 == pytest.approx(beam[..., 1].max())


def test_labels_and_distances():
    texts = [text.get_text() for text in draw_bench(four_f_bench(0.1)).axes[0].texts]
    assert {"object", "lens 1", "Fourier mask", "lens 2", "camera"} <= set(texts)
    assert texts.count("$f$ = 100 mm") == 4
    texts = [text.get_text() for text in draw_bench(four_f_bench((0.05, 0.25))).axes[0].texts]
    assert texts.count("$f_1$ = 50 mm") == texts.count("$f_2$ = 250 mm") == 2
    bench = [Element("object", 0), Element("lens", 0.15, "", 0.1), Element("camera", 0.45)]
    assert "150 mm" in [text.get_text() for text in draw_bench(bench).axes[0].texts]


def test_rays_and_distances_can_be_left_out():
    fig = draw_bench(four_f_bench(0.1), rays="none", distances=False, title="a 4f system")
    assert not ray_lines(fig)
    assert not any("mm" in text.get_text() for text in fig.axes[0].texts)
    assert fig.axes[0].get_title() == "a 4f system"


@pytest.mark.parametrize("kind", ["source", "lens", "mask", "stop", "camera"])
def test_things_are_drawn_where_they_stand(kind):
    thing = Element(kind, 0.3, "", 0.1 if kind == "lens" else None)
    fig = draw_bench([Element("plane", 0.0), thing, Element("plane", 1.0)], rays="none")
    boxes = [patch.get_path().get_extents(patch.get_patch_transform()) for patch in fig.axes[0].patches]
    assert min(box.x0 for box in boxes) <= 0.3 <= max(box.x1 for box in boxes)
    assert all(abs(edge - 0.3) < 0.06 for box in boxes for edge in (box.x0, box.x1))
    assert max(box.y1 for box in boxes) > 0.7


def test_nothing_is_cut_off_at_the_border():
    bench = [
        Element("source", 0.0, "laser"),
        Element("lens", 0.1, "L1", -0.05),
        Element("lens", 0.15, "L2", 0.1),
        Element("object", 0.2, "object"),
        Element("mask", 0.25, "mask"),
        Element("camera", 0.3, "camera"),
    ]
    fig = draw_bench(bench, rays="beam", title="title")
    fig.draw_without_rendering()
    ink, page = fig.get_tightbbox(), fig.bbox_inches
    assert ink.x0 >= 0
    assert ink.y0 >= 0
    assert ink.x1 <= page.x1
    assert ink.y1 <= page.y1


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Element("mirror", 0.0), "kind must be one of 'source', .* got 'mirror'"),
        (lambda: Element("lens", 0.0), "focal_length must be given for a lens"),
        (lambda: Element("lens", 0.0, "", 0.0), "focal_length must be given for a lens"),
        (lambda: Element("mask", 0.0, "", 0.1), "for nothing else; got 0.1 for kind 'mask'"),
        (lambda: draw_bench([Element("object", 0.0)]), "elements must be at least two, got 1"),
        (lambda: draw_bench(four_f_bench(0.1)[::-1]), "in the order of their positions"),
        (lambda: draw_bench(four_f_bench(0.1), rays="all"), "rays must be one of 'points', 'beam', 'none'"),
    ],
)
def test_bad_input(make, message):
    with pytest.raises(ValueError, match=message):
        make()
