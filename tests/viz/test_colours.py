"""The wheel is cyclic, amplitude is brightness, and every colour vision keeps apart what differs."""

import itertools

import numpy as np
import pytest
import torch
from matplotlib.colors import hsv_to_rgb, to_rgb

from onnlab.viz import PALETTE, PHASE_MAP, SIGNED_MAP, domain_colours, phase_colours
from onnlab.viz.colours import readable_on
from onnlab.viz.style import LINE_COLOURS

TURN = np.linspace(-np.pi, np.pi, 360, endpoint=False)


def smallest_step(colours, degrees):
    """Smallest difference between phases that far apart; ``colours`` has one row for each degree."""
    return np.linalg.norm(colours - np.roll(colours, degrees, axis=0), axis=-1).min()


def test_phase_is_cyclic():
    assert np.allclose(phase_colours(-np.pi), phase_colours(np.pi), atol=1e-12)
    assert np.allclose(phase_colours(TURN), phase_colours(TURN + 2 * np.pi), atol=1e-12)
    steps = np.linalg.norm(np.diff(phase_colours(np.append(TURN, np.pi)), axis=0), axis=1)
    assert steps.max() < 0.02  # no jump anywhere


def test_no_colour_of_the_wheel_is_clipped():
    # A clipped channel would make a flat stretch, in which phases look the same.
    colours = phase_colours(TURN)
    assert colours.min() > 0
    assert colours.max() < 1


def test_amplitude_is_brightness_at_every_phase(luminance):
    amplitude = np.linspace(0, 1, 50)
    colours = domain_colours(amplitude * np.exp(1j * TURN[::10, None]))
    assert (np.diff(luminance(colours), axis=1) > 0).all()


def test_zero_is_black():
    assert (domain_colours(np.array([0.0, 1.0]))[0] == 0).all()
    assert (domain_colours(torch.zeros(3, 4, dtype=torch.complex64)) == 0).all()


def test_known_values():
    field = torch.tensor([[2.0, -1.0], [1.0j, 0.0]])
    colours = domain_colours(field)
    assert colours.shape == (2, 2, 3)
    assert np.allclose(colours[0, 0], phase_colours(0.0))
    assert np.allclose(colours[0, 1], 0.5 * phase_colours(np.pi))
    assert np.allclose(colours[1, 0], 0.5 * phase_colours(np.pi / 2))


def test_peak_and_gamma():
    assert np.allclose(domain_colours([1.0], peak=4.0), 0.25 * phase_colours(0.0))
    assert np.allclose(domain_colours([9.0], peak=4.0), phase_colours(0.0))  # clipped
    assert np.allclose(domain_colours([1.0], peak=4.0, gamma=0.5), 0.5 * phase_colours(0.0))


def test_plus_i_is_light_and_minus_i_dark(luminance):
    assert luminance(phase_colours(np.pi / 2)) > 2 * luminance(phase_colours(-np.pi / 2))


def test_real_signs_are_amber_and_blue():
    red, _, blue = domain_colours([1.0])[0]
    assert red > 2 * blue
    red, _, blue = domain_colours([-1.0])[0]
    assert blue > 1.5 * red


def test_tensors_of_every_kind():
    field = torch.tensor([1 + 1j, 2 - 1j], requires_grad=True)
    expected = domain_colours(np.array([1 + 1j, 2 - 1j]))
    assert np.allclose(domain_colours(field), expected)
    conjugate = domain_colours(field.conj())  # a lazy view, which numpy() alone refuses
    assert np.allclose(conjugate, domain_colours(np.array([1 - 1j, 2 + 1j])))
    assert np.allclose(domain_colours(torch.tensor([1, -2], dtype=torch.bfloat16)), domain_colours([1, -2]))


@pytest.mark.parametrize("bad", [{"peak": 0.0}, {"peak": -1.0}, {"gamma": 0.0}, {"gamma": float("nan")}])
def test_bad_options(bad):
    with pytest.raises(ValueError, match=f"{next(iter(bad))} must be"):
        domain_colours([1.0], **bad)


def test_bad_fields():
    with pytest.raises(ValueError, match="field must be finite"):
        domain_colours(torch.tensor([1.0, float("nan")]))
    with pytest.raises(TypeError, match="field must hold numbers"):
        domain_colours(["a"])


def test_phases_stay_apart_for_every_vision(lab, vision):
    # A difference of 2.3 is just noticeable side by side.
    colours = lab(phase_colours(TURN), vision)
    assert smallest_step(colours, 45) > 9
    assert smallest_step(colours, 90) > 17
    assert smallest_step(colours, 180) > 25


@pytest.mark.parametrize("blindness", ["protanopia", "deuteranopia"])
def test_the_usual_wheel_would_fail(lab, blindness):
    hue = hsv_to_rgb(np.stack([TURN / (2 * np.pi) % 1, np.ones(360), np.ones(360)], -1))
    assert smallest_step(lab(hue, blindness), 45) < 5
    assert smallest_step(lab(phase_colours(TURN), blindness), 45) > 9


def test_signs_of_a_field_are_the_safest_pair(lab):
    for blindness in ("protanopia", "deuteranopia"):
        plus, minus, plus_i, minus_i = lab(phase_colours([0, np.pi, np.pi / 2, -np.pi / 2]), blindness)
        assert np.linalg.norm(plus - minus) > 60 > np.linalg.norm(plus_i - minus_i)


def test_palette_stays_apart_for_every_vision(lab, vision):
    colours = lab([to_rgb(PALETTE[name]) for name in PALETTE], vision)
    distances = [np.linalg.norm(a - b) for a, b in itertools.combinations(colours, 2)]
    assert len(distances) == 28
    assert min(distances) > 15


def test_first_lines_stand_out_on_white(luminance):
    contrast = [1.05 / (luminance(to_rgb(PALETTE[name])) + 0.05) for name in LINE_COLOURS[:4]]
    assert min(contrast) > 3


def test_phase_map_is_the_wheel():
    assert np.allclose(PHASE_MAP(0.0)[:3], PHASE_MAP(1.0)[:3])
    assert np.allclose(PHASE_MAP(0.5)[:3], phase_colours(0.0))
    assert np.allclose(PHASE_MAP(0.75)[:3], phase_colours(np.pi / 2), atol=0.02)


def test_signed_map_is_light_in_the_middle_and_tells_the_signs(lab, vision):
    colours = lab(SIGNED_MAP(np.linspace(0, 1, 255))[:, :3], vision)
    lightness = colours[:, 0]
    assert lightness[127] > 95
    assert (np.diff(lightness[:128]) > 0).all()
    assert (np.diff(lightness[127:]) < 0).all()
    for strength in (32, 64, 127):
        assert np.linalg.norm(colours[127 - strength] - colours[127 + strength]) > 15


def test_text_on_a_colour_has_contrast(luminance):
    for colour in SIGNED_MAP(np.linspace(0, 1, 50)):
        text, paper = luminance(to_rgb(readable_on(colour))), luminance(colour[:3])
        assert (max(text, paper) + 0.05) / (min(text, paper) + 0.05) > 4.5
