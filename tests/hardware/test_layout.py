import doctest
import re
from dataclasses import FrozenInstanceError
from fractions import Fraction

import pytest
import torch

import onnlab.hardware.layout
from onnlab.hardware import kernel_layout


def test_the_examples():
    found = doctest.testmod(onnlab.hardware.layout)
    assert found.attempted > 0 and found.failed == 0


def place(room: Fraction, side: Fraction, gap: Fraction) -> int:
    """Put one kernel beside the other, in exact arithmetic, until the next one sticks out."""
    count, end = 0, side
    while end <= room:
        count, end = count + 1, end + gap + side
    return count


@pytest.mark.parametrize("gap", ["0", "0.01", "0.1", "0.05"])
@pytest.mark.parametrize("side", ["0.1", "0.3", "0.07", "0.35"])
@pytest.mark.parametrize(("height", "width"), [("1", "0.9"), ("2.1", "0.7"), ("0.35", "3.3")])
def test_the_count_is_that_of_placing_one_by_one(height, width, side, gap):
    """Exact fits among them, which floor of a float quotient misses: 0.9 / 0.3 is below 3."""
    mm = Fraction(1, 1000)
    exact = [Fraction(text) * mm for text in (height, width, side, gap)]
    layout = kernel_layout(*(float(text) * 1e-3 for text in (height, width, side, gap)))
    rows, columns = (place(room, *exact[2:]) for room in exact[:2])
    assert layout.shape == (rows, columns)
    assert layout.count == rows * columns == len(layout.centres)


@pytest.mark.parametrize("parts", [1, 3, 7, 10, 49, 1000])
def test_an_exact_fit_is_one_whatever_the_rounding(parts):
    for gap in (0.0, 1e-7, 3e-7):
        for side in (0.1e-3, 0.3e-6, 7e-5):
            room = sum([side + gap] * parts) - gap  # rounding piles up as it does in a script
            assert kernel_layout(room, room, side, gap).count == parts**2
            assert (
                kernel_layout(room * (1 - 1e-6), room, side, gap).count == (parts - 1) * parts
                if parts > 1
                else 1
            )


@pytest.mark.parametrize(
    "layout",
    [
        kernel_layout(1e-3, 1.5e-3, 0.2e-3, 0.05e-3),
        kernel_layout(1e-3, 1e-3, (0.3e-3, 0.1e-3)),
        kernel_layout(0.5e-3, 0.1e-3, 0.1e-3),
    ],
)
def test_sites_are_inside_apart_and_symmetric(layout):
    assert layout.centres.dtype == torch.float64
    assert torch.equal(layout.centres.flip(0), -layout.centres)
    top, left, bottom, right = layout.rectangles.T
    slack = 1e-15
    assert max(-top.min(), bottom.max()) <= layout.height / 2 + slack
    assert max(-left.min(), right.max()) <= layout.width / 2 + slack
    ky, kx = layout.kernel_size
    torch.testing.assert_close(bottom - top, torch.full_like(top, ky))
    torch.testing.assert_close(right - left, torch.full_like(top, kx))
    first, second = torch.triu_indices(layout.count, layout.count, 1)
    apart = (layout.centres[first] - layout.centres[second]).abs() - torch.tensor(
        [ky, kx], dtype=torch.float64
    )
    assert apart.amax(1).min() >= layout.gap - slack  # in one direction or the other
    covered = ((bottom - top) * (right - left)).sum().item()
    assert layout.filled == pytest.approx(covered / (layout.height * layout.width))


@pytest.mark.parametrize("rows", [1, 2, 3, 4, 5])
@pytest.mark.parametrize("columns", [1, 2, 3, 4, 5])
def test_pairs_are_neighbours_and_use_each_site_once(rows, columns):
    layout = kernel_layout(rows * 2e-4, columns * 3e-4, (2e-4, 3e-4))
    assert layout.shape == (rows, columns)
    sites = [*layout.pairs.flatten().tolist(), *layout.unused]
    assert sorted(sites) == list(range(rows * columns))
    assert len(layout.unused) == rows * columns % 2
    steps = (layout.centres[layout.pairs[:, 1]] - layout.centres[layout.pairs[:, 0]]) / torch.tensor(
        layout.kernel_size, dtype=torch.float64
    )
    assert torch.allclose(steps.abs().sum(1), torch.ones(len(steps), dtype=torch.float64))
    assert (steps > -1e-9).all()  # the positive one is left or above


def test_it_is_a_value():
    layout = kernel_layout(1e-3, 1e-3, 1e-4)
    assert layout == kernel_layout(1e-3, 1e-3, (1e-4, 1e-4), 0.0)
    with pytest.raises(FrozenInstanceError):
        layout.gap = 1.0


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ((0.0, 1e-3, 1e-4), ValueError, "height must be positive"),
        ((1e-3, -1e-3, 1e-4), ValueError, "width must be positive"),
        ((1e-3, float("nan"), 1e-4), ValueError, "width must be finite"),
        ((1e-3, 1e-3, "0.1"), TypeError, "kernel_size must be one real number"),
        ((1e-3, 1e-3, (1e-4, 1e-4, 1e-4)), ValueError, r"kernel_size must be one length or \(ky, kx\)"),
        ((1e-3, 1e-3, 0.0), ValueError, "kernel_size must be positive"),
        ((1e-3, 1e-3, 1e-4, -1e-6), ValueError, "gap must not be negative"),
        ((1e-3, 1e-3, 1e-4, float("inf")), ValueError, "gap must be finite"),
        ((1e-3, 1e-3, 1e-10), ValueError, "at most 1000000 sites along a side.* metres"),
        (
            (1e-3, 2e-3, (1.5e-3, 1e-3)),
            ValueError,
            "kernels of at most 0.001 x 0.001 m, or a rectangle of at least 0.0015 x 0.002 m",
        ),
    ],
)
def test_errors(arguments, error, message):
    with pytest.raises(error, match=message):
        kernel_layout(*arguments)


def test_the_remedy_does_when_taken_literally():
    with pytest.raises(ValueError, match="kernel_size must fit") as caught:
        kernel_layout(1.23456789e-3, 2e-3, (1.23456799e-3, 2.0000051e-3))
    numbers = [float(n) for n in re.findall(r"[\d.e-]+(?= x|(?= m,)|(?= m$))", str(caught.value))][-4:]
    smaller, larger = numbers[:2], numbers[2:]
    assert kernel_layout(1.23456789e-3, 2e-3, tuple(smaller)).count == 1
    assert kernel_layout(*larger, (1.23456799e-3, 2.0000051e-3)).count == 1
