"""Devices of experiments: drawn by a number, and made of the very kernels of the student."""

import copy
import math
from dataclasses import replace

import pytest
import torch

from onnlab.experiments.devices import PROCESSES, CleanRoom, Laboratory, device, in_light
from onnlab.hardware import OpticalError, fabricate
from onnlab.networks import FourFConvolution, HybridClassifier, HybridSegmenter, IdealConvolution, LeNet
from onnlab.optics import Camera

PERFECT: dict[str, OpticalError] = {
    "clean room": CleanRoom(kernels=0.0, misplacement=0.0, spread=0.0, dimmest=1.0, stray=0.0),
    "4f laboratory": Laboratory(
        levels=2**24, roughness=0.0, misplacement=0.0, spread=0.0, defocus=0.0, dimmest=1.0, stray=0.0
    ),
}
WORSE = [
    *(("clean room", what) for what in ("kernels", "misplacement", "spread", "dimmest", "stray")),
    *(
        ("4f laboratory", what)
        for what in ("levels", "roughness", "misplacement", "spread", "defocus", "dimmest", "stray")
    ),
]


def student() -> HybridClassifier:
    torch.manual_seed(0)
    return HybridClassifier(IdealConvolution(1, 3, 5, 12, "rectified"), hidden=(4,))


def readings(model: HybridClassifier, seed: int = 0) -> torch.Tensor:
    with torch.no_grad():
        return model.optics(torch.rand(2, 1, 12, 12, generator=torch.Generator().manual_seed(seed)))


def built(model: HybridClassifier, process: str, errors: OpticalError) -> HybridClassifier:
    """A device with other errors than those of the process, in its light."""
    made = PROCESSES[process]
    twin = copy.deepcopy(model)
    twin.optics = in_light(model.optics, made.optics)
    return fabricate(twin, errors, torch.Generator().manual_seed(1), made.bench)


@pytest.mark.parametrize("process", PROCESSES)
def test_light_reads_what_the_ideal_convolution_computes(process: str) -> None:
    model = student()
    twin = copy.deepcopy(model)
    twin.optics = in_light(model.optics, PROCESSES[process].optics)
    torch.testing.assert_close(readings(twin), readings(model), atol=1e-5, rtol=1e-5)
    assert twin.optics.weight is model.optics.weight and twin.optics.camera == "rectified"


@pytest.mark.parametrize("process", PROCESSES)
def test_a_process_without_errors_builds_the_design(process: str) -> None:
    model = student()
    twin = built(model, process, PERFECT[process])
    torch.testing.assert_close(readings(twin), readings(model), atol=1e-5, rtol=1e-5)
    x = torch.rand(20, 1, 12, 12, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        torch.testing.assert_close(twin(x), model(x), atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize(("process", "what"), WORSE)
def test_every_measure_of_a_process_has_its_effect(process: str, what: str) -> None:
    (errors, _camera) = PROCESSES[process].errors
    worse = replace(PERFECT[process], **{what: getattr(errors, what)})
    model = student()
    assert (readings(built(model, process, worse)) - readings(model)).abs().max() > 1e-3


def masks_with(**errors: float) -> tuple[FourFConvolution, torch.Tensor]:
    """The design, and the masks ``(kernels, ny, nx)`` that some errors of the laboratory make of it."""
    model = student().double()
    layer = in_light(model.optics, PROCESSES["4f laboratory"].optics)
    device = built(model, "4f laboratory", replace(PERFECT["4f laboratory"], **errors)).optics
    assert isinstance(layer, FourFConvolution) and isinstance(device, FourFConvolution)
    return layer, device.masks().transmission[0, 0].detach()


def drawn() -> tuple[list[float], float]:
    """Numbers of the device that :func:`built` makes: misplacement along x and y, and defocus, in sigmas."""
    generator = torch.Generator().manual_seed(1)
    return torch.randn(2, generator=generator).tolist(), torch.randn((), generator=generator).item()


def impulse_response(masks: torch.Tensor) -> torch.Tensor:
    return torch.fft.fftshift(torch.fft.ifft2(torch.fft.ifftshift(masks, (-2, -1))), (-2, -1))


def test_a_misplaced_mask_puts_a_phase_on_its_kernel() -> None:
    """Shift theorem: a mask moved by d turns what its kernel sends to x by 2 pi x d / (lambda f)."""
    layer, got = masks_with(misplacement=2e-4)
    grid, ((dx, dy), _) = layer.grid, drawn()
    turn = 2 * math.pi * 2e-4 * (grid.y[:, None] * dy + grid.x * dx) / (grid.wavelength * layer.focal_length)
    expected = impulse_response(layer.masks().transmission.detach()) * torch.exp(1j * turn)
    torch.testing.assert_close(impulse_response(got), expected, atol=1e-6, rtol=1e-6)
    assert turn.abs().max() > 0.5


def test_a_camera_out_of_place_turns_each_frequency_as_fresnel_says() -> None:
    layer, got = masks_with(defocus=1e-3)
    grid, (_, z) = layer.grid, drawn()
    turn = -math.pi * grid.wavelength * 1e-3 * z * (grid.fy[:, None].square() + grid.fx.square())
    expected = layer.masks().transmission.detach() * torch.exp(1j * turn)
    torch.testing.assert_close(got, expected, atol=1e-6, rtol=1e-6)
    assert turn.abs().max() > 0.5


def test_a_rough_mask_leaves_as_much_light_as_marechal_says() -> None:
    layer, got = masks_with(roughness=0.6, grain=0.0)
    design = layer.masks().transmission.detach()
    torch.testing.assert_close(got.abs(), design.abs(), atol=1e-6, rtol=1e-6)
    assert (got / design).mean().abs().item() == pytest.approx(math.exp(-(0.6**2) / 2), abs=0.04)


@pytest.mark.parametrize("process", PROCESSES)
def test_the_number_draws_the_device_and_the_student_stays(process: str) -> None:
    model = student()
    before = copy.deepcopy(model.state_dict())
    one, again, other = (device(model, process, number) for number in (1, 1, 2))
    assert torch.equal(readings(one), readings(again))
    assert not torch.allclose(readings(one), readings(other), atol=1e-3)
    assert 0.5 <= one.optics.brightness <= 1 and one.optics.brightness != other.optics.brightness
    assert not any(parameter.requires_grad for parameter in one.optics.parameters())
    after = model.state_dict()
    assert all(torch.equal(after[name], value) for name, value in before.items())
    assert isinstance(model.optics, IdealConvolution)


@pytest.mark.parametrize("process", PROCESSES)
def test_a_segmenter_is_built_too_and_a_network_without_light_is_not(process: str) -> None:
    torch.manual_seed(0)
    segmenter = HybridSegmenter(IdealConvolution(1, 4, 3, 8), 2, groups=(2, 2))
    with torch.no_grad():
        assert device(segmenter, process, 0)(torch.rand(1, 1, 8, 8)).shape == (1, 2, 8, 8)
    with pytest.raises(TypeError, match="student must be a HybridClassifier or HybridSegmenter, got LeNet"):
        device(LeNet(), process, 0)
    with pytest.raises(ValueError, match="process must be one of 'clean room', .*, got 'garage'"):
        device(segmenter, "garage", 0)


def test_all_processes_have_the_same_camera() -> None:
    cameras = [made.errors[-1].sensor for made in PROCESSES.values()]
    assert all(isinstance(camera, Camera) and camera.photons == 200 for camera in cameras)
