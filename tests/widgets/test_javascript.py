"""The mathematics of the explorables, run in Node, against numpy and ``onnlab.optics``."""

from collections.abc import Callable
from dataclasses import replace
from itertools import pairwise
from typing import Any

import matplotlib
import numpy as np
import pytest
import torch

from onnlab.data import load
from onnlab.hardware import Cost, crossover, kernel_layout
from onnlab.optics import (
    ComplexMask,
    FourF,
    Grid,
    choose_method,
    image_incoherent,
    signed_kernel_pair,
)
from onnlab.viz.colours import SIGNED_MAP, phase_colours
from onnlab.widgets import (
    BuiltPSF,
    DeviceDesign,
    Diffraction,
    FourierMask,
    MergeKernels,
    PaintKernel,
    PoolImage,
    Temperature,
)
from onnlab.widgets._bundle import digit
from tests.widgets import examples

JavaScript = Callable[..., Any]

SIZE = 128


def relative_error(shown: list, expected: torch.Tensor) -> float:
    expected = expected.to(torch.float64)
    assert expected.abs().max() > 0
    shown = torch.tensor(shown, dtype=torch.float64).reshape(expected.shape)
    return float((shown - expected).abs().max() / expected.abs().max())


def random(*shape: int) -> np.ndarray:
    return np.random.default_rng(0).standard_normal(shape)


# Fourier transform ------------------------------------------------------------------------------------


@pytest.mark.parametrize("n", [2, 8, 128, 256, 1, 3, 36, 45])
@pytest.mark.parametrize("inverse", [False, True])
def test_fft2_equals_numpy(javascript: JavaScript, n: int, inverse: bool) -> None:
    re, im = random(2, n, n)
    answer = javascript(
        "lib",
        """
        const u = { re: Float64Array.from(given.re), im: Float64Array.from(given.im) };
        m.fft2(u, given.n, given.inverse);
        answer = u;
        """,
        {"re": re.ravel().tolist(), "im": im.ravel().tolist(), "n": n, "inverse": inverse},
    )
    expected = (np.fft.ifft2 if inverse else np.fft.fft2)(re + 1j * im)
    shown = (np.array(answer["re"]) + 1j * np.array(answer["im"])).reshape(n, n)
    assert np.abs(shown - expected).max() <= 1e-12 * np.abs(expected).max()


def test_fft_equals_numpy(javascript: JavaScript) -> None:
    re, im = random(2, 64)
    lines = (
        "answer = { re: Float64Array.from(given.re), im: Float64Array.from(given.im) }; m.fft(answer, 64);"
    )
    answer = javascript("lib", lines, {"re": re.tolist(), "im": im.tolist()})
    expected = np.fft.fft(re + 1j * im)
    shown = np.array(answer["re"]) + 1j * np.array(answer["im"])
    assert np.abs(shown - expected).max() <= 1e-12 * np.abs(expected).max()


@pytest.mark.parametrize("n", [6, 7])
def test_shifted_equals_fftshift(javascript: JavaScript, n: int) -> None:
    values = random(n, n)
    shown = javascript("lib", "answer = m.shifted(given[0], given[1]);", [values.ravel().tolist(), n])
    assert np.array_equal(np.reshape(shown, (n, n)), np.fft.fftshift(values))


# Colours and objects ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("intensity", matplotlib.colormaps["inferno"](np.linspace(0, 1, 256))[:, :3]),
        ("signed", SIGNED_MAP(np.linspace(0, 1, 256))[:, :3]),
        ("phase", phase_colours(2 * np.pi * np.arange(256) / 256)),
    ],
)
def test_colours_are_those_of_the_figures(javascript: JavaScript, name: str, expected: np.ndarray) -> None:
    lut = np.array(javascript("lib", "answer = m.colours(given);", name)).reshape(256, 3)
    assert np.abs(lut - 255 * expected).max() <= 2.5


def test_complex_colours(javascript: JavaScript) -> None:
    values = np.array([1, -1, 1j, -1j, 0, 0.5 + 0.5j, -0.3j, 3])
    pixels = javascript(
        "lib",
        "answer = new Uint8ClampedArray(32); m.paintComplex(answer, given);",
        {"re": values.real.tolist(), "im": values.imag.tolist()},
    )
    pixels = np.array(pixels).reshape(-1, 4)
    brightness = np.minimum(np.abs(values), 1)[:, None]
    assert np.abs(pixels[:, :3] - 255 * brightness * phase_colours(np.angle(values))).max() <= 3
    assert (pixels[:, 3] == 255).all()


def test_values_beyond_the_ends_take_the_last_colour(javascript: JavaScript) -> None:
    lines = "answer = new Uint8ClampedArray(20); m.paintValues(answer, given, 'intensity', 0, 2);"
    pixels = np.array(javascript("lib", lines, [-1, 0, 1, 2, 9])).reshape(5, 4)[:, :3]
    inferno = 255 * matplotlib.colormaps["inferno"]([0.0, 0.0, 0.5, 1.0, 1.0])[:, :3]
    assert np.abs(pixels - inferno).max() <= 3


def test_digit_is_one_of_mnist_mini(javascript: JavaScript) -> None:
    image = torch.from_numpy(digit() / 255).float()
    assert (load("mnist-mini").test.images[:, 0] == image).all(dim=(1, 2)).sum() == 1
    assert relative_error(javascript("lib", "answer = m.digit();"), FourierMask().object) <= 1e-7


@pytest.mark.parametrize("name", ["bars", "star"])
def test_targets_are_black_and_white(javascript: JavaScript, name: str) -> None:
    target = np.array(javascript("lib", "answer = m[given]();", name)).reshape(SIZE, SIZE)
    assert set(np.unique(target)) == {0.0, 1.0}
    assert 0.05 < target.mean() < 0.5
    assert target[:8].sum() == target[-7:].sum() == target[:, :8].sum() == 0


def test_bars_have_the_periods_they_promise(javascript: JavaScript) -> None:
    target = np.array(javascript("lib", "answer = m.bars();")).reshape(SIZE, SIZE)
    for period, row in ((16, 30), (8, 75), (4, 105)):
        edges = np.flatnonzero(np.diff(target[row, :64]) > 0)
        assert np.diff(edges).tolist() == [period, period]


def test_packed_numbers_survive(javascript: JavaScript) -> None:
    lines = """
        const view = m.pack(given);
        const inside = new Uint8Array(view.byteLength + 3);
        inside.set(new Uint8Array(view.buffer), 3);
        const odd = new DataView(inside.buffer, 3);
        const none = new DataView(new ArrayBuffer(0));
        answer = [view, odd, none, undefined].map(m.unpack);
    """
    assert javascript("lib", lines, [1, -0.5, 0.25]) == [[1, -0.5, 0.25], [1, -0.5, 0.25], None, None]


# Diffraction ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("shape", ["circle", "square", "slits", "ring"])
@pytest.mark.parametrize("distance", [1e-3, 0.02, 0.06, 0.2])  # both methods
def test_diffraction_equals_propagate(javascript: JavaScript, shape: str, distance: float) -> None:
    widget = Diffraction(shape=shape, distance=distance, radius=2.3e-4, wavelength=488e-9)
    bench = {name: getattr(widget, name) for name in ("shape", "distance", "radius", "wavelength", "pitch")}
    lines = "answer = [m.aperture(given), m.diffract(m.aperture(given), given), m.chooseMethod(given)];"
    aperture, intensity, method = javascript("diffraction", lines, bench)
    assert relative_error(aperture, widget.aperture) <= 1e-11  # differences of areas of the whole circle
    assert relative_error(intensity, widget.intensity) <= 1e-6
    assert method == choose_method(widget.grid, distance).method


def test_method_is_that_of_the_library_at_every_distance(javascript: JavaScript) -> None:
    grid = Diffraction().grid
    distances = torch.logspace(-3, 0, 200, dtype=torch.float64).tolist()
    lines = "answer = given.map((distance) => m.chooseMethod({ pitch: 1e-5, wavelength: 532e-9, distance }));"
    expected = [choose_method(grid, z).method for z in distances]
    assert set(expected) == {"angular_spectrum", "fresnel"}
    assert javascript("diffraction", lines, distances) == expected


def test_critical_distance_is_that_of_the_padded_grid(javascript: JavaScript) -> None:
    grid = Grid((2 * SIZE, 2 * SIZE), 1e-5, 532e-9)
    shown = javascript(
        "diffraction", "answer = m.criticalDistance(given);", {"pitch": 1e-5, "wavelength": 532e-9}
    )
    assert shown == pytest.approx(grid.critical_distance, rel=1e-12)


# Fourier mask -----------------------------------------------------------------------------------------

FILTER = "answer = m.filter(Float64Array.from(given.object), Float32Array.from(given.mask));"


def test_filter_equals_four_f(javascript: JavaScript) -> None:
    rng = np.random.default_rng(1)
    object_ = torch.from_numpy(rng.random((SIZE, SIZE)))
    mask = torch.polar(*torch.from_numpy(rng.random((2, SIZE, SIZE)) * [[[1.0]], [[6.0]]])).to(
        torch.complex64
    )
    given = {"object": object_.ravel().tolist(), "mask": torch.view_as_real(mask).ravel().tolist()}
    answer = javascript("fourier_mask", FILTER, given)

    system = FourF(Grid((SIZE, SIZE), 8e-6, 532e-9), 0.1, mask=ComplexMask(mask.to(torch.complex128)))
    image = system(object_.to(torch.complex128)).abs() ** 2
    assert relative_error(answer["intensity"], image) <= 1e-6
    assert answer["light"] == pytest.approx(float(image.sum() / (object_**2).sum()), rel=1e-6)
    spectrum = torch.fft.fftshift(torch.fft.fft2(object_)).abs() ** 2
    assert relative_error(answer["spectrum"], spectrum) <= 1e-12


def test_without_a_mask_the_image_is_the_flipped_object(javascript: JavaScript) -> None:
    object_ = FourierMask().object.double()
    lines = """
        const { intensity } = m.filter(Float64Array.from(given), m.preset("open", 10));
        answer = [intensity, m.flipped(intensity)];
    """
    image, upright = javascript("fourier_mask", lines, object_.ravel().tolist())
    assert relative_error(image, torch.roll(object_.flip((0, 1)), (1, 1), (0, 1)) ** 2) <= 1e-12
    assert relative_error(upright, object_**2) <= 1e-12


def preset(javascript: JavaScript, name: str, cut: float) -> torch.Tensor:
    mask = javascript("fourier_mask", "answer = m.preset(given[0], given[1]);", [name, cut])
    return torch.view_as_complex(torch.tensor(mask, dtype=torch.float32).reshape(SIZE, SIZE, 2))


def test_preset_masks(javascript: JavaScript) -> None:
    grid = FourierMask().system.grid_fourier
    samples = grid.radius / grid.dx
    low, high, band = (preset(javascript, name, 10) for name in ("low", "high", "band"))
    assert torch.equal(low.abs() > 0, samples <= 10 + 1e-9)
    assert torch.equal(low + high, torch.ones_like(low))
    assert torch.equal(band.abs() > 0, (samples > 5 + 1e-9) & (samples <= 10 + 1e-9))

    half = preset(javascript, "half", 10)
    assert torch.allclose(half.real, torch.where(grid.x < 0, -1.0, 1.0).float().expand(SIZE, SIZE))
    vortex = preset(javascript, "vortex", 10)
    angle = torch.atan2(grid.y[:, None], grid.x)
    assert torch.allclose(vortex, torch.polar(torch.ones_like(angle), angle).to(torch.complex64), atol=1e-6)
    defocus = preset(javascript, "defocus", 10)
    assert torch.allclose(defocus[64, 74], torch.tensor(-1 + 0j), atol=1e-6)
    for mask in (half, vortex, defocus):
        assert torch.allclose(mask.abs(), torch.ones(SIZE, SIZE), atol=1e-6)


# Kernel -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("side", [3, 5, 7])
def test_kernel_pair_and_images_equal_the_library(javascript: JavaScript, side: int) -> None:
    kernel = torch.from_numpy(random(side, side))
    intensity = torch.from_numpy(np.random.default_rng(2).random((SIZE, SIZE)))
    lines = """
        const pair = m.split(given.kernel);
        const plus = m.image(Float64Array.from(given.intensity), pair.positive);
        const minus = m.image(Float64Array.from(given.intensity), pair.negative);
        answer = { pair, plus, minus };
    """
    given = {"kernel": kernel.tolist(), "intensity": intensity.ravel().tolist()}
    answer = javascript("paint_kernel", lines, given)
    pair = signed_kernel_pair(kernel)
    assert relative_error(answer["pair"]["positive"], pair.positive) <= 1e-12
    assert relative_error(answer["pair"]["negative"], pair.negative) <= 1e-12
    assert answer["pair"]["scale"] == pytest.approx(pair.scale.item(), rel=1e-12)
    assert relative_error(answer["plus"], image_incoherent(intensity, pair.positive)) <= 1e-6
    assert relative_error(answer["minus"], image_incoherent(intensity, pair.negative)) <= 1e-6


def test_default_kernel_is_the_same_on_both_sides(javascript: JavaScript) -> None:
    rows = javascript("kernels", "answer = m.kernelPreset('sobel', 7);")
    assert torch.equal(torch.tensor(rows), PaintKernel().kernel)


def test_preset_kernels(javascript: JavaScript) -> None:
    lines = "answer = Object.fromEntries(given.map((name) => [name, m.kernelPreset(name, 5)]));"
    names = ["identity", "sobel", "laplace", "sharpen", "blur"]
    kernels = {name: np.array(rows) for name, rows in javascript("kernels", lines, names).items()}
    totals = {name: pytest.approx(kernel.sum()) for name, kernel in kernels.items()}
    assert totals == {"identity": 1, "sobel": 0, "laplace": 0, "sharpen": 1, "blur": 1}
    for name, kernel in kernels.items():
        assert kernel.shape == (5, 5)
        assert np.allclose(kernel, kernel[::-1]), name  # all are even from top to bottom
    assert (kernels["blur"] > 0).all()
    assert kernels["blur"].argmax() == 12


def test_resizing_a_kernel_keeps_its_middle(javascript: JavaScript) -> None:
    kernel = random(5, 5).tolist()
    smaller, larger = javascript("kernels", "answer = [m.resized(given, 3), m.resized(given, 7)];", kernel)
    assert smaller == np.array(kernel)[1:4, 1:4].tolist()
    assert larger == np.pad(kernel, 2)[1:8, 1:8].tolist()


def test_dark_kernel(javascript: JavaScript) -> None:
    pair = javascript("paint_kernel", "answer = m.split(given);", [[0] * 3] * 3)
    assert pair == {"positive": [[0] * 3] * 3, "negative": [[0] * 3] * 3, "scale": 1}


# Pools ------------------------------------------------------------------------------------------------

POOLS = """
    const values = Float64Array.from(given.object);
    const { pooled, kept } = m.spectralPool(values, given.size);
    answer = { pooled, kept, compared: m.blockPool(values, given.size, given.other) };
"""


@pytest.mark.parametrize("size", [4, 5, 32, 33, 100, 127, 128])
@pytest.mark.parametrize("other", ["sample", "average", "maximum"])
def test_pools_equal_the_library(javascript: JavaScript, size: int, other: str) -> None:
    object_ = torch.rand(SIZE, SIZE, generator=torch.Generator().manual_seed(size))
    widget = PoolImage(size=size, other=other, object=object_)
    given = {"object": object_.ravel().tolist(), "size": size, "other": other}
    answer = javascript("pool_image", POOLS, given)
    assert relative_error(answer["pooled"], widget.pooled) <= 1e-6
    assert relative_error(answer["compared"], widget.compared) <= 1e-6


def test_kept_energy_is_that_of_the_result(javascript: JavaScript) -> None:
    object_ = torch.rand(SIZE, SIZE, generator=torch.Generator().manual_seed(1)).double()
    given = {"object": object_.ravel().tolist(), "size": 31, "other": "sample"}
    answer = javascript("pool_image", POOLS, given)
    power = np.mean(np.square(answer["pooled"])) / object_.square().mean().item()  # Parseval
    assert answer["kept"] == pytest.approx(power, rel=1e-12)
    assert 0.7 < answer["kept"] < 0.9


def test_every_nth_pixel_makes_a_wave_that_was_not_there(javascript: JavaScript) -> None:
    # 30 periods, at 32 samples, look like 2; the spectral pool leaves them out.
    phase = 2 * np.pi * np.arange(SIZE) / SIZE
    object_ = np.tile(0.5 + 0.5 * np.cos(30 * phase), (SIZE, 1))
    given = {"object": object_.ravel().tolist(), "size": 32, "other": "sample"}
    answer = javascript("pool_image", POOLS, given)
    ghost = np.tile(0.5 + 0.5 * np.cos(2 * phase[::4]), (32, 1))
    assert np.allclose(answer["compared"], ghost.ravel())
    assert np.allclose(answer["pooled"], 0.5)


# Merged kernels ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("side", [3, 5, 7])
@pytest.mark.parametrize("room", ["all", "one", "none"])
def test_merged_kernels_equal_the_library(javascript: JavaScript, side: int, room: str) -> None:
    generator = torch.Generator().manual_seed(side)
    kernels = torch.randn(3, side, side, generator=generator)
    widget = MergeKernels(kernels=kernels, room=room, object=torch.rand(32, 32, generator=generator))
    given = {"object": widget.object.ravel().tolist(), "kernels": kernels.tolist(), "room": room}
    lines = "answer = m.compute(Float64Array.from(given.object), given.kernels, given.room);"
    answer = javascript("merge_kernels", lines, given)
    assert relative_error(answer["steps"], widget.steps) <= 1e-10
    assert relative_error(answer["product"], widget.product) <= 1e-10
    apart = np.abs(np.reshape(answer["difference"], (32, 32)))
    scale = widget.steps[-1].abs().max().item()
    rim = {"all": 0, "one": (side - 1) // 2, "none": 3 * (side - 1) // 2}[room]
    inside = apart[rim : 32 - rim, rim : 32 - rim]
    assert inside.max() <= 1e-12 * scale
    assert rim == 0 or apart[rim - 1].max() > 1e-3 * scale  # and the rim is as wide as the page says


def test_merged_kernel_is_the_full_convolution(javascript: JavaScript) -> None:
    kernels = random(3, 5, 5)
    merged = np.array(javascript("merge_kernels", "answer = m.mergeKernels(given);", kernels.tolist()))
    spectra = np.fft.fft2(kernels, s=(13, 13))
    assert np.allclose(merged, np.fft.ifft2(spectra.prod(0)).real)


def test_default_kernels_are_the_same_on_both_sides(javascript: JavaScript) -> None:
    lines = "answer = given.map((name) => m.kernelPreset(name, 5));"
    rows = javascript("kernels", lines, ["blur", "blur", "sobel"])
    assert torch.allclose(torch.tensor(rows), MergeKernels().kernels, rtol=1e-6)
    small = javascript("lib", "answer = m.smallDigit();")
    assert relative_error(small, MergeKernels().object) <= 1e-7


# Temperature ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("temperature", [0.5, 1.0, 4.0, 20.0, 50.0])
@pytest.mark.parametrize("size", [1.0, 30.0])
def test_losses_equal_the_library(javascript: JavaScript, temperature: float, size: float) -> None:
    generator = torch.Generator().manual_seed(0)
    teacher, student = size * torch.randn(2, 1, 10, generator=generator, dtype=torch.float64)
    widget = Temperature(teacher=teacher, student=student, labels=[3], temperature=temperature)
    lines = "answer = m.compare(given.teacher[0], given.student[0], 3, given.T);"
    given = {"teacher": teacher.tolist(), "student": student.tolist(), "T": temperature}
    answer = javascript("temperature", lines, given)
    assert relative_error(answer["shares"], widget.shares) <= 1e-9
    assert relative_error(answer["gradient"], widget.gradient) <= 1e-9
    for name, value in {
        "loss": widget.soft_loss,
        "kl": widget.divergence,
        "crossEntropy": widget.cross_entropy,
        "limit": widget.limit,
    }.items():
        assert answer[name] == pytest.approx(value, rel=1e-9), name


def test_loss_and_gradient_approach_their_limits(javascript: JavaScript) -> None:
    lines = "answer = given.map((T) => m.compare([3, 0.5, -1], [2, 1, 0.1], 0, T));"
    hot = javascript("temperature", lines, [100, 1000, 10000])
    loss = [abs(one["loss"] / one["limit"] - 1) for one in hot]
    gradient = [np.abs(np.subtract(one["gradient"], one["gradientLimit"])).max() for one in hot]
    for errors in (loss, gradient):  # ten times hotter, ten times nearer
        assert errors[1] < 0.11 * errors[0]
        assert errors[2] < 0.2 * errors[1] < 1e-3


# Kernels of networks ----------------------------------------------------------------------------------


@pytest.mark.parametrize("centre", [True, False])
def test_alignment_equals_the_library(javascript: JavaScript, centre: bool) -> None:
    widget = examples.kernels()
    widget.centre = centre
    lines = """
        const n = given.labels.length;
        const taken = (K) => (given.centre ? m.centred(K, n) : K);
        const target = taken(m.labelKernel(given.labels));
        answer = given.kernels.map((K) => m.alignment(taken(Float64Array.from(K.flat())), target));
    """
    given = {"labels": widget.labels, "kernels": widget.kernels.tolist(), "centre": centre}
    assert relative_error(javascript("kernel_heat_map", lines, given), widget.alignment) <= 1e-6


def test_examples_are_ordered_by_class_and_keep_their_order(javascript: JavaScript) -> None:
    lines = "answer = ['class', 'given'].map((order) => m.ordered(given, order));"
    by_class, given = javascript("kernel_heat_map", lines, [10, 2, 10, 0, 2])
    assert by_class == [3, 1, 4, 0, 2]
    assert given == [0, 1, 2, 3, 4]


@pytest.mark.parametrize("threshold", [0.0, 0.25, 0.5, 0.9, 1.0])
def test_overlap_equals_the_library(javascript: JavaScript, threshold: float) -> None:
    widget = examples.masks()
    widget.threshold = threshold
    lines = """
        const overlap = (p, i) => m.iou(p.flat(), given.masks[i].flat(), given.threshold);
        answer = given.probabilities.map((model) => model.map(overlap));
    """
    given = {
        "probabilities": widget.probabilities.tolist(),
        "masks": widget.masks.tolist(),
        "threshold": threshold,
    }
    scores = javascript("mask_overlay", lines, given)
    assert torch.equal(torch.tensor(scores, dtype=torch.float64), widget.scores)


def test_verdicts(javascript: JavaScript) -> None:
    cases = [[0.7, 1], [0.7, 0], [0.2, 1], [0.2, 0], [0.5, 1]]
    lines = "answer = given.map(([p, truth]) => m.verdict(p, truth, 0.5));"
    assert javascript("mask_overlay", lines, cases) == ["hit", "false", "missed", None, "hit"]
    lines = "answer = [m.iou([0.1, 0.2], [0, 0], 0.5), m.iou([0.9, 0.2], [0, 0], 0.5)];"
    assert javascript("mask_overlay", lines) == [1, 0]


# Built lenses -----------------------------------------------------------------------------------------

OPTICS = ("noise", "levels", "shift", "defocus", "diameter", "focal_length", "wavelength")
ERRORS: list[dict[str, Any]] = [
    {},
    {"noise": 0.7},
    {"levels": 2},
    {"levels": 5, "wavelength": 633e-9},
    {"shift": 3.7e-5},
    {"defocus": -2e-3, "diameter": 1e-3},
    {"noise": 1.9, "levels": 3, "shift": -2e-5, "defocus": 1e-3, "focal_length": 0.02},
    # 63 cells of 0.1 mm and a focal length at which many phases lie half way between two levels.
    {"levels": 2, "diameter": 6.3e-3, "wavelength": 5e-7, "focal_length": 64 * 1e-8 / 5e-7},
]


@pytest.mark.parametrize("error", ERRORS, ids=str)
def test_built_lens_equals_the_library(javascript: JavaScript, error: dict[str, Any]) -> None:
    widget = BuiltPSF(**error)
    bench = {name: getattr(widget, name) for name in OPTICS}
    lines = "answer = m.build(given.bench, Float64Array.from(given.screen));"
    answer = javascript("built_psf", lines, {"bench": bench, "screen": widget.screen.ravel().tolist()})
    assert relative_error(answer["psf"], widget.psf) <= 1e-6
    pupil = torch.tensor([answer["pupil"][part] for part in ("re", "im")], dtype=torch.float64)
    assert (torch.complex(*pupil) - widget.pupil.ravel()).abs().max() <= 1e-9
    assert answer["strehl"] == pytest.approx(widget.strehl, rel=1e-6)
    assert answer["atPlace"] == pytest.approx(widget.at_place, rel=1e-6)
    assert answer["peak"] == pytest.approx(BuiltPSF(diameter=widget.diameter).psf.max().item(), rel=1e-3)


@pytest.mark.parametrize("family", ["noise", "levels", "shift", "defocus"])
def test_accuracies_are_those_of_the_table(javascript: JavaScript, family: str) -> None:
    widget = examples.lens()
    row = widget.table[family]
    sizes = row["sizes"]
    between = [(a + b) / 2 for a, b in pairwise(sizes)]
    lines = "answer = given.sizes.map((size) => m.read(given.family, given.row, size));"
    given = {"family": family, "row": row, "sizes": [*sizes, *between, sizes[0] - 1, sizes[-1] + 1]}
    answers = javascript("built_psf", lines, given)
    assert answers[-2:] == [None, None]
    for i, answer in enumerate(answers[:-2]):
        assert answer["how"] == ("measured" if i < len(sizes) else "interpolated")
        setattr(widget, family, int(given["sizes"][i]) if family == "levels" else given["sizes"][i])
        mean, std = widget.accuracy(family)
        assert answer["mean"] == pytest.approx(mean, rel=1e-12)
        assert answer["std"] == (None if np.isnan(std) else pytest.approx(std, rel=1e-12))


def test_sliders_reach_no_error_and_the_end_of_the_curve(javascript: JavaScript) -> None:
    table = {"noise": {"sizes": [0.5, 3]}, "levels": {"sizes": [3, 16]}, "shift": {"sizes": [-1e-5, 2e-5]}}
    optics = {"diameter": 6.3e-4, "focal_length": 0.025, "wavelength": 532e-9}
    lines = "answer = given.names.map((name) => m.ends(name, given.bench));"
    given = {"names": ["noise", "levels", "shift", "defocus"], "bench": {"table": table, **optics}}
    noise, levels, shift, defocus = javascript("built_psf", lines, given)
    assert (noise, levels, shift) == ([0, 3], [3, 256], [-1e-5, 2e-5])
    # Without a curve, as far as the first zero on the axis: one wave at the rim.
    assert BuiltPSF(defocus=defocus[1]).strehl < 1e-3


# A device ---------------------------------------------------------------------------------------------

FREE = Cost((), *9 * [0.0])
LENGTHS = ("side", "kernel_size", "gap", "pixel")


@pytest.mark.parametrize(
    "lengths",
    [
        (3e-3, 0.3e-3, 0.05e-3, 5e-6),  # 8 x 8
        (1e-3, 0.1e-3, 0.0, 5e-6),  # exactly ten, and twenty pixels
        (1e-3, 0.3e-3, 0.05e-3, 3.5e-6),  # 3 x 3: pairs both ways, one site alone
        (1e-3, 1e-3, 0.5e-3, 2e-6),  # one site
        (10e-3, 0.1e-3, 0.01e-3, 20e-6),  # many, and pictures too coarse
        (4.7e-3, 0.23e-3, 0.11e-3, 7.5e-6),
    ],
)
@pytest.mark.parametrize(("mac", "parallel"), [(30.85e-12, True), (30.85e-12, False), (1e-13, True)])
def test_designs_equal_the_library(
    javascript: JavaScript, lengths: tuple[float, ...], mac: float, parallel: bool
) -> None:
    widget = DeviceDesign(mac=mac, parallel=parallel, **dict(zip(LENGTHS, lengths, strict=True)))
    names = (*LENGTHS, "mac", "parallel", "counts", "camera", "sizes")
    answer = javascript("device_design", "answer = m.design(given, given);", widget.get_state(names))
    plan = kernel_layout(widget.side, widget.side, widget.kernel_size, widget.gap)
    assert relative_error(answer["rectangles"], plan.rectangles) <= 1e-12
    assert answer["pairs"] == plan.pairs.tolist()
    found = [answer[name] for name in ("kernels", "resolution", "crossover")]
    assert found == [widget.kernels, widget.resolution, widget.crossover]
    if not widget.kernels:
        assert answer["energies"] == answer["splits"] == []
        return
    for size in (28, 42, 266, 756):
        place = widget.sizes.index(size)
        shown = [energies[place] for energies in answer["energies"]]
        assert shown == pytest.approx([cost.energy for cost in widget.costs(size)], rel=1e-9)
    parts = [[c.capture + c.conversion, c.computing] for c in widget.costs()] if widget.resolution else []
    assert np.allclose(answer["splits"], parts, rtol=1e-9, atol=0)


@pytest.mark.parametrize(
    "cheap",
    [[], range(9), range(4, 9), [8], [0, 1], [2, 3, 7, 8]],
)
def test_crossover_is_the_bisection_of_the_library(javascript: JavaScript, cheap: Any) -> None:
    sizes = list(range(10, 100, 10))
    candidate = [1 if i in cheap else 3 for i in range(9)]
    costs = {n: replace(FREE, computing=float(v)) for n, v in zip(sizes, candidate, strict=True)}
    expected = crossover(costs.__getitem__, lambda n: replace(FREE, computing=2.0), sizes)
    lines = "answer = m.crossover(given[0], given[1].map(() => 2), given[1]);"
    assert javascript("device_design", lines, [candidate, sizes]) == expected


def test_sliders_of_a_device_end_where_python_does(javascript: JavaScript) -> None:
    limits = javascript("device_design", "answer = m.LIMITS;")
    assert set(limits) == {*LENGTHS, "mac"}
    for name, ends in limits.items():
        trait = DeviceDesign.class_traits()[name]
        assert ends == [trait.low, trait.high]
