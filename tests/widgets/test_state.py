"""State in Python: what the traits hold, how it crosses to the browser and back, and what they refuse."""

from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from onnlab.distill.segmentation import scores_of
from onnlab.hardware import Constants, Defocus, PhaseQuantisation, YieldCurve
from onnlab.hardware.benches import Masks
from onnlab.networks import LeNet, PSFConvolution, SpectralStack, UNet, merge
from onnlab.optics import ComplexMask, FourF, fourier_grid, image_incoherent, propagate
from onnlab.widgets import (
    BuiltPSF,
    DeviceDesign,
    Diffraction,
    FourierMask,
    KernelHeatMap,
    MaskOverlay,
    MergeKernels,
    PaintKernel,
    PoolImage,
    Temperature,
)
from tests.widgets import examples

SIZE = 128


def random_mask(seed: int = 0) -> Tensor:
    return torch.polar(*torch.rand(2, SIZE, SIZE, generator=torch.Generator().manual_seed(seed)))


def from_browser(widget: Any, **state: Any) -> None:
    """Deliver state as the kernel does: binary values arrive as memoryviews."""
    widget.set_state({name: memoryview(v) if isinstance(v, bytes) else v for name, v in state.items()})


def bytes_of(values: Tensor) -> bytes:
    plain = torch.view_as_real(values) if values.is_complex() else values
    return plain.numpy().astype("<f4").tobytes()


# Tensors ----------------------------------------------------------------------------------------------


def test_a_painted_mask_is_a_tensor() -> None:
    widget, mask = FourierMask(), random_mask()
    seen = []
    widget.observe(lambda change: seen.append(change["new"]), "mask")
    from_browser(widget, mask=bytes_of(mask))
    assert widget.mask.dtype == torch.complex64
    assert torch.equal(widget.mask, mask)
    assert len(seen) == 1 and torch.equal(seen[0], mask)


def test_a_mask_from_python_crosses_as_bytes() -> None:
    widget, mask = FourierMask(), random_mask()
    widget.mask = mask
    assert widget.get_state("mask")["mask"] == bytes_of(mask)
    other = FourierMask()
    from_browser(other, mask=widget.get_state("mask")["mask"])
    assert torch.equal(other.mask, mask)


def test_defaults_cross_as_no_bytes_and_back() -> None:
    widget = FourierMask()
    assert widget.get_state(["mask", "object"]) == {"mask": b"", "object": b""}
    assert torch.equal(widget.mask, torch.ones(SIZE, SIZE, dtype=torch.complex64))
    widget.mask, widget.object = random_mask(), torch.zeros(SIZE, SIZE)
    from_browser(widget, mask=b"", object=b"")
    assert torch.equal(widget.mask, FourierMask().mask)
    assert torch.equal(widget.object, FourierMask().object)


@pytest.mark.parametrize(
    "given",
    [
        np.full((SIZE, SIZE), 0.5),
        np.full((SIZE, SIZE), 0.5, dtype=np.complex128),
        torch.full((SIZE, SIZE), 0.5, dtype=torch.float64, requires_grad=True),
        torch.full((SIZE, SIZE), 0.5 + 0j).conj(),
        torch.full((SIZE, SIZE), True) * 0.5,
    ],
)
def test_what_a_mask_accepts(given: Any) -> None:
    widget = FourierMask(mask=given)
    assert widget.mask.dtype == torch.complex64
    assert not widget.mask.requires_grad
    assert torch.equal(widget.mask, torch.full((SIZE, SIZE), 0.5 + 0j))
    assert len(widget.get_state("mask")["mask"]) == 8 * SIZE * SIZE


def test_a_mask_is_a_copy() -> None:
    mask = random_mask()
    widget = FourierMask(mask=mask)
    mask.zero_()
    assert torch.equal(widget.mask, random_mask())
    first, second = FourierMask(), FourierMask()
    first.mask.zero_()
    assert torch.equal(second.mask, torch.ones(SIZE, SIZE, dtype=torch.complex64))


@pytest.mark.parametrize(
    ("name", "value", "error", "words"),
    [
        ("mask", torch.ones(64, 64), ValueError, r"mask must have shape \(128, 128\), got \(64, 64\)"),
        ("mask", 2 * torch.ones(SIZE, SIZE), ValueError, r"passive.*got 2.*divide by mask.abs\(\).max"),
        ("mask", torch.full((SIZE, SIZE), torch.nan), ValueError, "mask must be finite"),
        ("mask", "a mask", TypeError, "mask must be a tensor, an array or rows of numbers, got 'a mask'"),
        ("object", torch.ones(SIZE, SIZE) * 1j, TypeError, r"object must be real.*object.abs\(\)"),
        ("object", -torch.ones(SIZE, SIZE), ValueError, "between 0 and 1, got -1 to -1"),
        ("object", torch.ones(1, SIZE, SIZE), ValueError, r"got \(1, 128, 128\)"),
    ],
)
def test_what_samples_refuse(name: str, value: Any, error: type[Exception], words: str) -> None:
    widget = FourierMask()
    with pytest.raises(error, match=words):
        setattr(widget, name, value)
    with pytest.raises(error, match=words):
        FourierMask(**{name: value})
    assert torch.equal(widget.mask, FourierMask().mask)


def test_image_of_a_mask() -> None:
    widget = FourierMask(mask=random_mask(), object=torch.rand(SIZE, SIZE))
    field = FourF(widget.grid, 0.1, mask=ComplexMask(widget.mask))(widget.object.to(torch.complex64))
    assert torch.equal(widget.image, field.abs() ** 2)
    assert widget.system.grid_fourier.dx == pytest.approx(532e-9 * 0.1 / (SIZE * 8e-6))


# Kernels ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("side", [3, 5, 7])
def test_kernels_cross_as_rows(side: int) -> None:
    rows = torch.arange(side * side).reshape(side, side).float() / 4 - 3
    widget = PaintKernel()
    from_browser(widget, kernel=rows.tolist())
    assert torch.equal(widget.kernel, rows)
    assert widget.get_state("kernel")["kernel"] == rows.tolist()
    assert torch.equal(PaintKernel(kernel=rows.tolist()).kernel, rows)
    assert torch.equal(PaintKernel(kernel=rows.double().numpy()).kernel, rows)


@pytest.mark.parametrize(
    ("value", "error", "words"),
    [
        (torch.ones(4, 4), ValueError, r"3 x 3, 5 x 5 or 7 x 7, got \(4, 4\)"),
        (torch.ones(3, 5), ValueError, r"got \(3, 5\)"),
        (torch.ones(1, 3, 3), ValueError, r"got \(1, 3, 3\)"),
        ([[1, 2], [3]], TypeError, "rows of numbers"),
        (torch.ones(3, 3) * 1j, TypeError, "must be real"),
        (torch.full((3, 3), torch.inf), ValueError, "finite"),
    ],
)
def test_what_a_kernel_refuses(value: Any, error: type[Exception], words: str) -> None:
    with pytest.raises(error, match=words):
        PaintKernel(kernel=value)


def test_difference_is_the_convolution() -> None:
    kernel = torch.randn(5, 5, generator=torch.Generator().manual_seed(3))
    widget = PaintKernel(kernel=kernel, object=torch.rand(SIZE, SIZE))
    convolved = torch.nn.functional.conv2d(
        widget.object[None, None], kernel.flip(0, 1)[None, None], padding=2
    )
    assert (widget.difference - convolved[0, 0]).abs().max() <= 1e-5
    positive, negative = widget.images
    assert torch.equal(positive, image_incoherent(widget.object, widget.pair.positive))
    assert (positive >= 0).all() and (negative >= 0).all()


# Numbers ----------------------------------------------------------------------------------------------


def test_diffraction_follows_the_browser() -> None:
    widget = Diffraction()
    from_browser(widget, shape="slits", distance=0.1, radius=3e-4)
    assert (widget.shape, widget.distance, widget.radius) == ("slits", 0.1, 3e-4)
    expected = propagate(widget.aperture.to(torch.complex128), widget.grid, 0.1)
    assert torch.equal(widget.intensity, expected.abs() ** 2)


@pytest.mark.parametrize("shape", ["circle", "square", "slits", "ring"])
def test_open_areas(shape: str) -> None:
    a = 2.35e-4
    area = {
        "circle": torch.pi * a**2,
        "square": 4 * a**2,
        "slits": 1.6 * a**2,
        "ring": 0.64 * torch.pi * a**2,
    }
    widget = Diffraction(shape=shape, radius=a)
    assert float(widget.aperture.sum()) * widget.pitch**2 == pytest.approx(area[shape], rel=1e-3)


@pytest.mark.parametrize("value", [0.0, -0.1, float("nan"), float("inf")])
@pytest.mark.parametrize("name", ["radius", "distance", "wavelength", "pitch"])
def test_lengths_are_positive(name: str, value: float) -> None:
    with pytest.raises(ValueError, match=f"{name} must be a positive length in metres"):
        Diffraction(**{name: value})


@pytest.mark.parametrize("name", ["pitch", "wavelength", "focal_length"])
def test_lengths_of_the_4f_system_are_positive(name: str) -> None:
    with pytest.raises(ValueError, match=f"{name} must be a positive length in metres"):
        FourierMask(**{name: -1.0})


# Pools and merged kernels -----------------------------------------------------------------------------


def test_pools_follow_the_browser() -> None:
    widget = PoolImage()
    from_browser(widget, size=48, other="maximum", object=bytes_of(torch.ones(SIZE, SIZE)))
    assert widget.pooled.shape == widget.compared.shape == (48, 48)
    for result in (widget.pooled, widget.compared):  # both keep the brightness of a white page
        assert torch.allclose(result, torch.ones(48, 48), atol=1e-5)


@pytest.mark.parametrize("size", [3, 0, -5, 129])
def test_a_pool_shrinks(size: int) -> None:
    with pytest.raises(ValueError, match=f"size must be 4 to 128 samples, got {size}"):
        PoolImage(size=size)


def test_three_kernels_cross_as_rows() -> None:
    kernels = torch.randn(3, 7, 7, generator=torch.Generator().manual_seed(0))
    widget = MergeKernels()
    from_browser(widget, kernels=kernels.tolist())
    assert torch.equal(widget.kernels, kernels)
    assert widget.get_state("kernels")["kernels"] == kernels.tolist()


@pytest.mark.parametrize("value", [torch.ones(2, 5, 5), torch.ones(5, 5), torch.ones(3, 4, 4)])
def test_what_three_kernels_refuse(value: Tensor) -> None:
    with pytest.raises(ValueError, match="kernels must be 3 kernels of 3 x 3, 5 x 5 or 7 x 7, got"):
        MergeKernels(kernels=value)


def test_layers_and_product() -> None:
    generator = torch.Generator().manual_seed(0)
    widget = MergeKernels(kernels=torch.randn(3, 5, 5, generator=generator), object=torch.rand(32, 32))
    image = torch.nn.functional.pad(widget.object.double(), (6, 6, 6, 6))[None, None]
    for step, kernel in zip(widget.steps, widget.kernels, strict=True):  # room for all: nothing is cropped
        image = torch.nn.functional.conv2d(image, kernel.double()[None, None], padding=2)
        assert torch.allclose(step, image[0, 0, 6:-6, 6:-6])
    assert torch.allclose(widget.product, widget.steps[-1])
    merged = merge(SpectralStack(*widget.layers))
    assert torch.equal(widget.product, merged(widget.object.double()[None, None])[0, 0])
    widget.room = "one"
    assert widget.difference[2:-2, 2:-2].abs().max() < 1e-12 < 1e-3 < widget.difference.abs().max()


# Answers ----------------------------------------------------------------------------------------------


def test_worked_example_of_the_chapter() -> None:
    widget = Temperature()
    assert widget.divergence == pytest.approx(0.0253, abs=5e-5)
    assert widget.soft_loss == pytest.approx(0.405, abs=5e-4)
    assert widget.cross_entropy == pytest.approx(0.417, abs=5e-4)
    # Logits less their means are 2.1667, -0.3333, -1.8333 and 0.9667, -0.0333, -0.9333.
    assert widget.limit == pytest.approx((1.2**2 + 0.3**2 + 0.9**2) / 6, rel=1e-6)
    difference = widget.shares[1] - widget.shares[0]
    assert torch.allclose(widget.gradient, 4 * difference)


def test_answers_cross_both_ways() -> None:
    widget, other = examples.answers(), examples.answers()
    state = widget.get_state(["teacher", "images", "labels"])
    assert state["teacher"] == widget.teacher.tolist()
    assert state["images"]["shape"] == [3, 28, 28]
    other.images = torch.zeros(3, 28, 28)
    from_browser(other, images={"shape": [3, 28, 28], "data": memoryview(state["images"]["data"])}, shown=2)
    assert torch.equal(other.images, widget.images)
    from_browser(other, student=torch.zeros(3, 10).tolist(), temperature=2.0)
    assert torch.allclose(other.shares[1], torch.full((10,), 0.1, dtype=torch.float64))
    assert torch.allclose(other.shares[0], torch.softmax(widget.teacher[2] / 2, 0))


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"student": torch.zeros(3, 9)}, r"student must have the shape \(3, 10\) of teacher, got \(3, 9\)"),
        ({"teacher": torch.zeros(10)}, r"teacher must have shape \(examples, classes\).*got \(10,\)"),
        ({"student": torch.full((3, 10), torch.nan)}, "student must be finite"),
        ({"labels": [0, 1]}, "labels must be 3 classes from 0 to 9"),
        ({"labels": [0, 1, 10]}, "labels must be 3 classes from 0 to 9"),
        ({"images": torch.zeros(2, 28, 28)}, "images must be 3, one for each answer, got 2"),
        ({"images": torch.zeros(3, 1, 28, 28)}, r"images must have 3 axes, got \(3, 1, 28, 28\)"),
        ({"images": 2 * torch.ones(3, 28, 28)}, "images must lie between 0 and 1"),
        ({"shown": 3}, "shown must be from 0 to 2, got 3"),
        ({"temperature": 0.0}, "temperature must be positive"),
        ({"temperature": float("nan")}, "temperature must be finite"),
    ],
)
def test_what_answers_refuse(change: dict[str, Any], words: str) -> None:
    widget = examples.answers()
    given = {name: getattr(widget, name) for name in ("teacher", "student", "labels", "images")}
    with pytest.raises(ValueError, match=words):
        Temperature(**given | change)
    for name, value in change.items():
        with pytest.raises(ValueError, match=words):
            setattr(widget, name, value)


# Kernels and masks ------------------------------------------------------------------------------------


def test_kernels_as_they_are_shown() -> None:
    widget = examples.kernels()
    from_browser(widget, shown=2, centre=False)
    K = widget.kernels[2]
    places = [i for c in range(3) for i in range(18) if i % 3 == c]
    assert torch.equal(widget.kernel, K[places][:, places])
    from_browser(widget, order="given")
    assert torch.equal(widget.kernel, K)
    widget.centre = True
    assert widget.kernel.sum(0).abs().max() < 1e-4 * K.abs().max()


def test_eigenvalues_are_those_of_the_kernels() -> None:
    widget = examples.kernels()
    plain, centred = widget.spectra.double()
    assert torch.allclose(plain.sum(-1), widget.kernels.double().diagonal(dim1=1, dim2=2).sum(-1), rtol=1e-5)
    assert torch.allclose(plain[3], torch.linalg.svdvals(widget.kernels[3].double()), rtol=1e-4, atol=1e-3)
    assert (centred[:, -1].abs() < 1e-4 * centred[:, 0]).all()  # the constant direction is gone
    assert (centred[3, 1] / centred[3, 2] > 5) and (
        centred[0, 1] / centred[0, 2] < 2
    )  # two for three classes


def test_alignment_grows_as_the_kernel_learns() -> None:
    widget = examples.kernels()
    assert (widget.alignment.diff() > 0).all()
    classes = torch.tensor(widget.labels)
    perfect = KernelHeatMap((classes[:, None] == classes).float()[None], classes)
    assert perfect.alignment.item() == pytest.approx(1)
    assert perfect.steps == [0]


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"kernels": torch.eye(4)}, r"kernels must have shape \(snapshots, n, n\), got \(4, 4\)"),
        ({"kernels": torch.ones(2, 3, 4)}, r"got \(2, 3, 4\)"),
        ({"labels": [0, 1]}, "labels must be 4, one for each row of the kernels, got 2"),
        ({"steps": [0]}, "steps must be 2 ascending numbers"),
        ({"steps": [1, 1]}, "steps must be 2 ascending numbers"),
        ({"shown": 2}, "shown must be from 0 to 1, got 2"),
    ],
)
def test_what_a_heat_map_refuses(change: dict[str, Any], words: str) -> None:
    with pytest.raises(ValueError, match=words):
        KernelHeatMap(**{"kernels": torch.eye(4).repeat(2, 1, 1), "labels": range(4)} | change)


def test_scores_by_hand() -> None:
    mask = torch.tensor([[[1, 1, 0, 0]], [[0, 0, 0, 0]]])
    answers = {"a": [[[0.9, 0.4, 0.6, 0.1]], [[0.1, 0.1, 0.1, 0.1]]], "b": mask.double()}
    widget = MaskOverlay(torch.zeros(2, 3, 1, 4), mask.bool(), answers)
    assert widget.images.shape == (2, 1, 4)
    assert widget.scores.tolist() == [[pytest.approx(1 / 3), 1], [1, 1]]
    from_browser(widget, threshold=0.05)
    assert widget.scores.tolist() == [[0.5, 0], [1, 1]]


def test_scores_are_those_of_the_confusion_matrix() -> None:
    widget = examples.masks()
    widget.threshold = 0.4
    for model, probabilities in enumerate(widget.probabilities.double()):
        for image, (p, mask) in enumerate(zip(probabilities, widget.masks, strict=True)):
            pairs = 2 * mask.long() + (p >= 0.4).long()
            matrix = pairs.flatten().bincount(minlength=4).reshape(2, 2)
            assert widget.scores[model, image].item() == scores_of(matrix, 1).iou_of[1]


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"images": torch.zeros(8, 8)}, r"images must have shape \(n, ny, nx\).*got \(8, 8\)"),
        ({"images": 255 * torch.ones(2, 8, 8)}, "images must lie between 0 and 1, got 255 to 255"),
        ({"masks": torch.zeros(2, 8, 9)}, r"masks must have the shape \(2, 8, 8\) of the images"),
        ({"probabilities": {}}, "probabilities must be of one to three models, got 0"),
        ({"probabilities": {"student": torch.zeros(2, 2, 8, 8)}}, "student must have the shape"),
        ({"probabilities": {"student": torch.zeros(2, 8, 8) - 1}}, "probabilities must lie between 0 and 1"),
        ({"threshold": 1.5}, "threshold must be from 0 to 1"),
        ({"shown": -1}, "shown must be from 0 to 1, got -1"),
    ],
)
def test_what_an_overlay_refuses(change: dict[str, Any], words: str) -> None:
    given = {"images": torch.zeros(2, 8, 8), "masks": torch.zeros(2, 8, 8)}
    with pytest.raises(ValueError, match=words):
        MaskOverlay(**given | {"probabilities": {"student": torch.zeros(2, 8, 8)}} | change)


# Built lenses -----------------------------------------------------------------------------------------


def test_a_perfect_lens_makes_an_airy_spot() -> None:
    widget = BuiltPSF(levels=2**20)
    assert widget.strehl == pytest.approx(1, rel=1e-9)
    spot = widget.psf
    assert spot.sum().item() == pytest.approx(1)
    pitch = fourier_grid(widget.grid, widget.focal_length).dx
    peak = widget.aperture.sum().square() / widget.aperture.square().sum() / SIZE**2
    assert spot.argmax() == 64 * SIZE + 64 and spot.max() == pytest.approx(peak)
    x = torch.pi * widget.diameter * torch.arange(1, 12).double() * pitch
    x = x / (widget.wavelength * widget.focal_length)
    airy = (2 * torch.special.bessel_j1(x) / x).square()
    assert (spot[64, 65:76] / peak - airy).abs().max() < 1e-3


@pytest.mark.parametrize("sigma", [0.2, 0.7])
def test_marechal(sigma: float) -> None:
    # The screen has variance 1 over the lens exactly; what is left is how well it is a Gaussian.
    assert BuiltPSF(noise=sigma).strehl == pytest.approx(np.exp(-(sigma**2)), rel=0.05 * sigma)


@pytest.mark.parametrize("levels", [2, 3, 4, 8])
def test_light_that_levels_leave(levels: int) -> None:
    left = np.sinc(1 / levels) ** 2
    assert BuiltPSF(levels=levels).strehl == pytest.approx(left, abs=0.02)


def test_errors_are_those_of_the_hardware() -> None:
    """The same lens as a mask of a 4f system, with errors of :mod:`onnlab.hardware`."""
    widget = BuiltPSF(levels=5, defocus=1e-3)
    pupil, focal_length = widget.grid, widget.focal_length
    image = fourier_grid(pupil, focal_length)
    assert fourier_grid(image, focal_length).dx == pytest.approx(pupil.dx)
    lens = torch.polar(torch.ones(SIZE, SIZE).double(), torch.pi * -(pupil.radius**2) / 532e-9 / focal_length)
    masks = Masks(1.0, 0.0, None, lens[None, None], torch.ones(()), image, focal_length, (-64, -64))
    for error in (PhaseQuantisation(5), Defocus(1e-3)):
        masks = error.on_masks(masks, torch.Generator())
    built = widget.aperture * masks.transmission[0, 0] * lens.conj()
    assert (widget.pupil - built).abs().max() < 1e-6
    assert widget.strehl == pytest.approx(widget.at_place, rel=1e-12)


def test_a_shift_moves_the_spot_and_costs_no_strehl() -> None:
    widget, still = BuiltPSF(noise=0.5), BuiltPSF(noise=0.5)
    widget.shift = 3 * fourier_grid(widget.grid, widget.focal_length).dx
    assert torch.allclose(widget.psf, still.psf.roll(3, 1), atol=1e-12)
    assert widget.strehl == pytest.approx(still.strehl, rel=1e-12)
    assert widget.at_place < 0.2 * still.at_place
    shown, perfect = widget.psf[64, 64], BuiltPSF().psf[64, 64]
    assert widget.at_place == pytest.approx((shown / perfect).item(), rel=1e-3)


def test_a_screen_gets_mean_0_and_variance_1_over_the_lens() -> None:
    given = 5 + 3 * torch.rand(64, 64, generator=torch.Generator().manual_seed(0))
    share = BuiltPSF().aperture[32:96, 32:96]
    share = share / share.sum()
    for screen in (BuiltPSF().screen, BuiltPSF(screen=given).screen):
        assert screen.dtype == torch.float32
        assert (share * screen).sum().item() == pytest.approx(0, abs=1e-6)
        assert (share * screen.square()).sum().item() == pytest.approx(1, abs=1e-6)
    whole, other = BuiltPSF(screen=given, noise=1.0), BuiltPSF(noise=0.3)
    state = whole.get_state("screen")["screen"]
    from_browser(other, screen={"shape": [64, 64], "data": memoryview(state["data"])}, noise=1.0)
    assert torch.allclose(other.psf, whole.psf, atol=1e-9)


def test_accuracies_of_a_built_lens_by_hand() -> None:
    noise = YieldCurve((0.0, 1.0), torch.tensor([[1.0, 0.8], [0.5, 0.3]], dtype=torch.float64))
    levels = YieldCurve((2, 8), torch.tensor([[0.25], [0.75]], dtype=torch.float64))
    widget = BuiltPSF({"levels": levels, "noise": noise}, noise=0.25, levels=4)
    assert widget.shown == "levels"
    spread = np.sqrt(0.02)
    assert widget.accuracy("noise") == (pytest.approx(0.775), pytest.approx(spread))
    mean, std = widget.accuracy("levels")  # half way in doublings
    assert mean == pytest.approx(0.5) and np.isnan(std)
    from_browser(widget, noise=1.1, shown="noise")
    assert np.isnan(widget.accuracy("noise")).all() and np.isnan(widget.accuracy("shift")).all()
    assert widget.table["levels"] == {"sizes": [2.0, 8.0], "mean": [0.25, 0.75], "std": None}


GOOD = YieldCurve((0.0, 1.0), torch.ones(2, 3, dtype=torch.float64))


@pytest.mark.parametrize(
    ("change", "error", "words"),
    [
        ({"curves": {"tilt": GOOD}}, ValueError, "curves must be named noise, levels.*got 'tilt'"),
        ({"curves": {"noise": [0.9]}}, TypeError, "curves must be of YieldCurve, got list for noise"),
        ({"curves": {"levels": GOOD}}, ValueError, "sizes of levels .* ascend, from 2 levels"),
        ({"curves": {"noise": YieldCurve((1, 0), GOOD.accuracy)}}, ValueError, "sizes of noise .* ascend"),
        ({"curves": {"noise": YieldCurve((1,), GOOD.accuracy[:1])}}, ValueError, "two at least"),
        (
            {"curves": {"noise": GOOD}, "shown": "shift"},
            ValueError,
            "shown must be one of .*noise, got 'shift'",
        ),
        ({"noise": -0.1}, ValueError, "noise must not be negative"),
        ({"levels": 1}, ValueError, "levels must be"),
        ({"shift": np.inf}, ValueError, "shift must be finite"),
        ({"defocus": np.nan}, ValueError, "defocus must be finite"),
        ({"diameter": 0.0}, ValueError, "diameter must be a positive length"),
        ({"screen": torch.ones(64, 64)}, ValueError, "screen must vary"),
        ({"screen": torch.randn(63, 64)}, ValueError, r"screen must have shape \(64, 64\), got \(63, 64\)"),
    ],
)
def test_what_a_built_lens_refuses(change: dict[str, Any], error: type[Exception], words: str) -> None:
    with pytest.raises(error, match=words):
        BuiltPSF(**change)


# A device ---------------------------------------------------------------------------------------------


def small(**options: Any) -> DeviceDesign:
    """A layer of light alone, against one of electronics that always has four kernels."""

    def light(kernels: int, size: int) -> torch.nn.Module:
        return PSFConvolution(1, kernels, 5, size)

    def electronics(kernels: int, size: int) -> torch.nn.Module:
        return torch.nn.Conv2d(1, 4, 5, padding=2, bias=False)

    return DeviceDesign(light, electronics, channels=1, **options)


def test_device_by_hand() -> None:
    widget = small(constants=Constants(read=1e-9, conversion_step=0.0, mac=1e-12), sizes=range(20, 101, 2))
    # Three sites and two gaps fill the side to the last micrometre.
    from_browser(widget, side=1e-3, kernel_size=0.3e-3, gap=0.05e-3, pixel=5e-6)
    assert (widget.layout.shape, widget.kernels, widget.resolution) == ((3, 3), 4, 70)
    hybrid, digital = widget.costs()
    assert hybrid.energy == pytest.approx(8 * 70**2 * 1e-9)  # two pictures of each kernel
    # One picture, and 4 x 25 MACs a pixel.
    assert digital.energy == pytest.approx(70**2 * 1e-9 + 100 * 70**2 * 1e-12)
    assert widget.crossover is None
    from_browser(widget, mac=1e-10)  # 1 + 10 nJ a pixel against 8
    assert widget.crossover == 20
    from_browser(widget, pixel=20e-6)  # room for 17 pixels, and 20 are the least
    assert widget.resolution == 0
    with pytest.raises(ValueError, match="got 4 pairs and pictures of 0 pixels"):
        widget.costs()
    from_browser(widget, pixel=2e-6)  # room for 175
    assert widget.resolution == 100


def test_a_fixed_energy_of_exposures_makes_a_crossing() -> None:
    constants = Constants(read=1e-9, conversion_step=0.0, mac=1e-10, frame=1e-6)
    widget = small(constants=constants, sizes=range(20, 101, 2), side=1e-3)  # 3 x 3 sites
    assert [cost.capture - cost.read * 1e-9 for cost in widget.costs(20)] == pytest.approx([1e-6, 1e-6])
    from_browser(widget, parallel=False)
    assert [cost.capture - cost.read * 1e-9 for cost in widget.costs(20)] == pytest.approx([8e-6, 1e-6])
    # Seven exposures more, against 11 - 8 nJ a pixel.
    assert widget.crossover == 50 > (7e-6 / 3e-9) ** 0.5 > 48


def test_networks_of_the_chapter() -> None:
    hybrid, digital = (widget := DeviceDesign()).costs()
    assert hybrid.read == 2 * 32 * 70**2 and digital.read == 3 * 70**2
    assert hybrid.optical_macs == 147 * 32 * 70**2 == digital.macs - hybrid.macs
    assert widget.crossover == 28  # in colour the products cost more than two readings, whatever the size


def test_one_site_is_no_kernel() -> None:
    widget = small(side=1e-3, kernel_size=1e-3, pixel=10e-6)
    assert (widget.layout.count, widget.kernels, widget.resolution, widget.crossover) == (1, 0, 98, None)
    with pytest.raises(ValueError, match="the chip must hold a pair and a picture, got 0 pairs"):
        widget.costs()


def test_the_constants_price_what_was_counted() -> None:
    given = Constants(mac=2e-12, read=3e-9, conversion_step=1e-13, bits=10, frame=1e-3)
    widget = DeviceDesign(constants=given)
    assert widget.mac == 2e-12
    assert widget.camera == {"frame": 1e-3, "reading": pytest.approx(3e-9 + 1024e-13)}
    assert DeviceDesign(constants=given, mac=5e-12).mac == 5e-12


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"side": 0.011}, "side must be from 0.001 to 0.01 metres, got 0.011"),
        ({"side": 3.0}, "side must be from 0.001 to 0.01 metres, got 3.0; give it in SI units"),
        ({"kernel_size": 0.99e-4}, "kernel_size must be from 0.0001 to 0.001 metres"),
        ({"gap": -1e-6}, "gap must be from 0 to 0.0005 metres"),
        ({"pixel": float("nan")}, "pixel must be from 2e-06 to 2e-05 metres, got nan"),
        ({"mac": 30.85}, "mac must be from 1e-13 to 1e-10 joules"),
    ],
)
def test_what_a_device_refuses(change: dict[str, float], words: str) -> None:
    widget = small()
    with pytest.raises(ValueError, match=words):
        small(**change)
    for name, value in change.items():
        with pytest.raises(ValueError, match=words):
            setattr(widget, name, value)


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ({"sizes": range(16, 40, 8)}, "sizes must be a range of at least five sizes"),
        ({"sizes": range(80, 16, -8)}, "sizes must be a range of at least five sizes"),
        ({"digital": lambda kernels, n: LeNet()}, "input_shape must be one that the model takes"),
        # Wider with each size, and more kernels than were asked for.
        ({"digital": lambda kernels, n: UNet(3, 2, n, 2)}, "digital must take .* where"),
        ({"hybrid": lambda kernels, n: PSFConvolution(3, kernels**2, 3, n)}, "and 88200 readings where"),
    ],
)
def test_networks_that_the_page_could_not_count(given: dict[str, Any], words: str) -> None:
    with pytest.raises(ValueError, match=words):
        DeviceDesign(**given)
