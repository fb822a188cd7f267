"""SI prefixes, round lengths and tick labels."""

import pytest

from onnlab.viz import subplots
from onnlab.viz.units import label_axis, quantity, round_length, si_unit


@pytest.mark.parametrize(
    ("largest", "unit", "scale", "label"),
    [
        (2.5e-4, "m", 1e-6, "µm"),
        (1e-6, "m", 1e-6, "µm"),
        (9.99e-7, "m", 1e-9, "nm"),
        (-0.02, "m", 1e-3, "mm"),
        (3.0, "m", 1.0, "m"),
        (4.2e3, "J", 1e3, "kJ"),
        (5e4, "1/m", 1e3, "1/mm"),
        (2e6, "1/m", 1e6, "1/µm"),
        (0.5, "1/m", 1e-3, "1/km"),
        (1e-30, "m", 1e-12, "pm"),
        (0.0, "m", 1.0, "m"),
        (4000.0, "", 1.0, ""),
    ],
)
def test_prefix(largest, unit, scale, label):
    got_scale, got_label = si_unit(largest, unit)
    assert got_scale == pytest.approx(scale, rel=1e-12)
    assert got_label == label


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (0.1, "100 mm"),
        (2e-6, "2 µm"),
        (-5.32e-7, "−532 nm"),
        (0.4, "400 mm"),
        (1.25, "1.25 m"),
        (1e-6, "1 µm"),
    ],
)
def test_quantity(value, text):
    assert quantity(value, "m") == text


def test_quantity_without_unit():
    assert quantity(2500.0, "") == "2500"


@pytest.mark.parametrize(
    ("limit", "length"),
    [(1.0, 1.0), (1.9e-6, 1e-6), (2e-6, 2e-6), (4.99e-3, 2e-3), (0.05, 0.05), (99.0, 50.0), (3e-4, 2e-4)],
)
def test_round_length(limit, length):
    assert round_length(limit) == pytest.approx(length, rel=1e-12)


def test_axis_in_metres_reads_in_micrometres():
    fig, axes = subplots()
    ax = axes[0, 0]
    ax.set_xlim(-2.5e-4, 2.5e-4)
    label_axis(ax, "x", "x", "m")
    fig.draw_without_rendering()
    assert ax.get_xlabel() == "x (µm)"
    places = dict(zip(ax.get_xticks(), (tick.get_text() for tick in ax.get_xticklabels()), strict=True))
    shown = {round(place * 1e6): text for place, text in places.items()}
    assert shown[-200] == "−200"
    assert shown[100] == "100"
