"""Panels of spatial light modulators: grey levels, and complex masks on them."""

import doctest
import math

import pytest
import torch

import onnlab.hardware.panel
from onnlab.hardware import PhaseCurve, double_phase, onto_panel
from onnlab.networks import FourFConvolution
from onnlab.optics import ComplexMask, FourF, Grid, PhaseMask, fourier_grid

CURVE = PhaseCurve((0, 3, 10), (0.4, 1.3, 6.9))  # steps of 0.3 and 0.8, more than a cycle in all


def random_transmission(*shape):
    generator = torch.Generator().manual_seed(0)
    t = torch.randn(*shape, dtype=torch.complex128, generator=generator)
    return t / t.abs().max()


def test_the_example():
    found = doctest.testmod(onnlab.hardware.panel)
    assert found.attempted > 0 and found.failed == 0


def test_a_linear_curve_shares_out_the_cycle():
    curve = PhaseCurve.linear(8)
    torch.testing.assert_close(
        curve.at_levels(), 2 * math.pi * torch.arange(256, dtype=torch.float64) / 256, rtol=1e-15, atol=1e-15
    )


def test_a_curve_is_straight_between_its_points():
    assert CURVE.at_levels()[:5].tolist() == pytest.approx([0.4, 0.7, 1.0, 1.3, 2.1])
    assert CURVE.to_phase(torch.tensor([[3, 10]])).tolist() == [[1.3, 6.9]]


@pytest.mark.parametrize("curve", [CURVE, PhaseCurve.linear(4), PhaseCurve((2, 9), (-3.0, 2.6))])
def test_no_other_level_is_nearer(curve):
    phase = torch.linspace(-9, 9, 1001, dtype=torch.float64)
    every = curve.at_levels()

    def distance(shown):
        return (torch.exp(1j * shown) - torch.exp(1j * phase)[:, None]).abs()

    shown = curve.to_phase(curve.to_levels(phase))
    torch.testing.assert_close(distance(shown[:, None])[:, 0], distance(every).amin(1), rtol=0, atol=1e-12)


def test_a_phase_in_the_gap_of_a_short_curve_is_refused():
    curve = PhaseCurve((0, 10), (0.0, 5.0))
    assert curve.to_levels(torch.tensor([5.2, -0.2])).tolist() == [10, 0]
    with pytest.raises(
        ValueError, match=r"mask must hold phases that the panel can show, but one is 0\.6.* 5 rad"
    ):
        curve.to_levels(torch.tensor([5.6]))


@pytest.mark.parametrize(
    ("levels", "phases", "error", "said"),
    [
        ((0, 1), (0.0,), ValueError, "as many as levels"),
        ((0,), (0.0,), ValueError, "at least two"),
        ((0, 2, 1), (0.0, 1.0, 2.0), ValueError, "levels must rise"),
        (
            (0, 1, 2, 3, 4),
            (0.0, 1.0, 1.0, 2.0, 3.0),
            ValueError,
            r"phases must rise .* 0, 1, 1, 2, \.\.\.; .*negate",
        ),
        ((0, 1), (0.0, math.nan), ValueError, "phases must be finite"),
        ((0, 1.5), (0.0, 1.0), TypeError, "levels must be a whole number"),
        ((-1, 1), (0.0, 1.0), ValueError, "levels must be at least 0"),
    ],
)
def test_a_curve_that_is_none(levels, phases, error, said):
    with pytest.raises(error, match=said):
        PhaseCurve(levels, phases)


def test_a_level_beside_the_curve_has_no_phase():
    for level in (-1, 11):
        with pytest.raises(ValueError, match="levels must lie on the curve, from 0 to 10"):
            CURVE.to_phase(torch.tensor([level]))


def test_the_two_phases_of_a_pair_have_the_mask_as_their_mean():
    t = random_transmission(3, 6, 7)
    even, odd = double_phase(t), double_phase(t.roll(1, -1)).roll(-1, -1)  # the other colour of the board
    inner = (..., slice(None), slice(0, -1))
    mean = (torch.exp(1j * even) + torch.exp(1j * odd)) / 2
    torch.testing.assert_close(mean[inner], t[inner], rtol=1e-12, atol=1e-12)


def test_what_is_left_over_leaves_at_the_steepest_angle():
    """Analytic: the rest is i sin(delta) exp(i phi), moved by half of the spectrum along both axes."""
    t = random_transmission(8, 10)
    rest = torch.exp(1j * double_phase(t)) - t
    smooth = 1j * (1 - t.abs().square()).sqrt() * torch.exp(1j * t.angle())
    torch.testing.assert_close(
        torch.fft.fft2(rest), torch.fft.fft2(smooth).roll((4, 5), (0, 1)), rtol=1e-10, atol=1e-10
    )


def test_each_pixel_takes_the_sample_around_it():
    t = random_transmission(2, 4, 5)
    grid, panel = Grid((4, 5), (3e-5, 5e-5), 5e-7), Grid((15, 27), 1e-5, 5e-7)
    expected = torch.zeros(2, 15, 27, dtype=t.dtype)
    for i, y in enumerate(panel.y.tolist()):
        for j, x in enumerate(panel.x.tolist()):
            for k, yk in enumerate(grid.y.tolist()):
                for n, xn in enumerate(grid.x.tolist()):
                    if abs(y - yk) < 1.5e-5 and abs(x - xn) < 2.5e-5:
                        expected[:, i, j] = t[:, k, n]
    assert torch.equal(onto_panel(t, grid, panel), expected)
    assert (expected != 0).sum() == 2 * 12 * 25


def test_a_phase_only_panel_in_a_4f_system_convolves_like_the_complex_mask():
    """The panel is twice as large as the mask, so that the light between two samples of the image is told."""
    torch.manual_seed(0)
    layer = FourFConvolution(1, 1, 7, 28, pitch=8e-6, wavelength=532e-9, focal_length=0.1).double()
    t, fine = layer.masks().transmission[0].detach(), 9
    coarse = fourier_grid(layer.grid, 0.1)
    side = 2 * fine * layer.grid.ny
    panel = coarse.with_(shape=(side, side), pitch=coarse.dy / fine)
    image = torch.rand(1, 1, 28, 28, dtype=torch.float64)
    points = side // 2 + 2 * (torch.arange(28) - 14)
    field = torch.zeros(side, side, dtype=torch.complex128)
    field[points[:, None], points] = image[0, 0].to(field.dtype)
    upright = side - points

    def seen(mask):
        behind = FourF(layer.grid.with_(shape=(side, side), pitch=4e-6), 0.1, mask)(field)
        return 4 * behind[upright[:, None], upright]

    wanted = (layer.convolution(image)[0, 0] / layer.masks().scale).detach()
    on_panel = onto_panel(t, coarse, panel)

    def error(field):
        field = field * (
            (field.conj() * wanted).sum() / field.abs().square().sum()
        )  # brightness does not count
        return float((field - wanted).norm() / wanted.norm())

    assert error(seen(ComplexMask(on_panel))) < 0.02  # what square samples in place of points cost
    assert error(seen(PhaseMask(double_phase(on_panel)))) < 0.02
    assert error(seen(PhaseMask(on_panel.angle()))) > 0.2  # leaving the amplitude out is no small thing


def test_masks_that_no_panel_can_show():
    t = random_transmission(4, 4)
    with pytest.raises(TypeError, match="transmission must be complex64 or complex128, got torch.float64"):
        double_phase(t.abs())
    with pytest.raises(TypeError, match="got PhaseMask"):
        double_phase(PhaseMask(t.abs()))
    with pytest.raises(ValueError, match=r"must not exceed 1: .*divide it by its largest value"):
        double_phase(2 * t)
    with pytest.raises(ValueError, match="transmission must be finite"):
        double_phase(t * math.nan)
    with pytest.raises(ValueError, match=r"must have shape \(\.\.\., ny, nx\)"):
        double_phase(t[0])


@pytest.mark.parametrize(
    ("panel", "said"),
    [
        (Grid((20, 20), 1e-6, 6e-7), "panel must be for the mask's wavelength of 5e-07 m, got 6e-07 m"),
        (
            Grid((20, 10), 3e-6, 5e-7),
            "along x the mask reaches from -2.5e-05 m to 1.5e-05 m and the panel from -1.65e-05",
        ),
        (
            Grid((20, 20), (1.1e-5, 1e-5), 5e-7),
            "no larger than the mask's samples, 1e-05 m along y, got 1.1e-05",
        ),
    ],
)
def test_panels_that_do_not_fit_the_mask(panel, said):
    with pytest.raises(ValueError, match=said):
        onto_panel(random_transmission(4, 4), Grid((4, 4), 1e-5, 5e-7), panel)


def test_a_mask_of_another_grid():
    with pytest.raises(ValueError, match="transmission must have shape"):
        onto_panel(random_transmission(4, 5), Grid((4, 4), 1e-5, 5e-7), Grid((9, 9), 1e-5, 5e-7))
