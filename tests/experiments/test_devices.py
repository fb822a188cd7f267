"""Devices of experiments: drawn by a number, and made of the very kernels of the student."""

import copy
from dataclasses import replace

import pytest
import torch

from onnlab.experiments.devices import PROCESSES, CleanRoom, device, in_light
from onnlab.hardware import PSFBench, fabricate
from onnlab.networks import HybridClassifier, HybridSegmenter, IdealConvolution, LeNet

PERFECT = CleanRoom(kernels=0.0, misplacement=0.0, spread=0.0, dimmest=1.0, stray=0.0)


def student() -> HybridClassifier:
    torch.manual_seed(0)
    return HybridClassifier(IdealConvolution(1, 3, 5, 12, "rectified"), hidden=(4,))


def readings(model: HybridClassifier, seed: int = 0) -> torch.Tensor:
    with torch.no_grad():
        return model.optics(torch.rand(2, 1, 12, 12, generator=torch.Generator().manual_seed(seed)))


def test_light_reads_what_the_ideal_convolution_computes() -> None:
    model = student()
    twin = copy.deepcopy(model)
    twin.optics = in_light(model.optics)
    torch.testing.assert_close(readings(twin), readings(model), atol=1e-5, rtol=1e-5)
    assert twin.optics.weight is model.optics.weight and twin.optics.camera == "rectified"


def test_a_process_without_errors_builds_the_design() -> None:
    model = student()
    twin = copy.deepcopy(model)
    twin.optics = in_light(model.optics)
    built = fabricate(twin, PERFECT, torch.Generator().manual_seed(1), PSFBench(5e-6))
    torch.testing.assert_close(readings(built), readings(model), atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("what", ["kernels", "misplacement", "spread", "dimmest", "stray"])
def test_every_measure_of_the_process_has_its_effect(what: str) -> None:
    twin = student()
    twin.optics = in_light(twin.optics)
    worse = {"kernels": 0.4, "misplacement": 6e-6, "spread": 3e-6, "dimmest": 0.5, "stray": 0.1}
    errors = replace(PERFECT, **{what: worse[what]})
    built = fabricate(twin, errors, torch.Generator().manual_seed(1), PSFBench(5e-6))
    assert (readings(built) - readings(twin)).abs().max() > 1e-3


def test_the_number_draws_the_device_and_the_student_stays() -> None:
    model = student()
    before = copy.deepcopy(model.state_dict())
    one, again, other = (device(model, "clean room", number) for number in (1, 1, 2))
    assert torch.equal(readings(one), readings(again))
    assert not torch.allclose(readings(one), readings(other), atol=1e-3)
    assert 0.5 <= one.optics.brightness <= 1 and one.optics.brightness != other.optics.brightness
    assert not any(parameter.requires_grad for parameter in one.optics.parameters())
    after = model.state_dict()
    assert all(torch.equal(after[name], value) for name, value in before.items())
    assert isinstance(model.optics, IdealConvolution)


def test_a_segmenter_is_built_too_and_a_network_without_light_is_not() -> None:
    torch.manual_seed(0)
    segmenter = HybridSegmenter(IdealConvolution(1, 4, 3, 8), 2, groups=(2, 2))
    with torch.no_grad():
        assert device(segmenter, "clean room", 0)(torch.rand(1, 1, 8, 8)).shape == (1, 2, 8, 8)
    with pytest.raises(TypeError, match="student must be a HybridClassifier or HybridSegmenter, got LeNet"):
        device(LeNet(), "clean room", 0)
    assert list(PROCESSES) == ["clean room"]
