"""Files of students: what is built from them answers, and learns, as the student did."""

import copy
import json

import pytest
import torch
from safetensors import safe_open
from torch import nn

from onnlab.distill import save_checkpoint
from onnlab.hardware import export_student, load_student
from onnlab.networks import (
    FourFConvolution,
    HybridClassifier,
    HybridSegmenter,
    IdealConvolution,
    LeNet,
    PSFConvolution,
)
from onnlab.optics import Camera

BENCH = {"pitch": (8e-6, 9e-6), "wavelength": 532e-9, "focal_length": 0.1, "reference": 2.5}
NOISY = {
    "photons": 300.0, "quantum_efficiency": 0.7, "dark_current": 3.0, "exposure_time": 0.5, "read_noise": 2.0,
    "full_well": 9000.0, "bits": 10,
}  # fmt: skip


def ideal():
    return HybridClassifier(
        IdealConvolution(3, 4, (5, 4), (12, 16), "square-law"), 7, pool=2, hidden=(20, 12)
    )


def psf():
    sensor = Camera(**NOISY, binning=2)
    return HybridClassifier(PSFConvolution(1, 4, 3, 16, "rectified", sensor=sensor), pool=1, hidden=())


def bench():
    return HybridClassifier(FourFConvolution(2, 3, 5, (8, 12), sensor=Camera(shot_noise=False), **BENCH))


def segmenter():
    return HybridSegmenter(IdealConvolution(3, 7, 3, 16), 5, groups=(1, 2, 4), depth=2)


def segmenter_with_two_fronts():
    coarse = PSFConvolution(3, 2, 3, 4, "rectified", sensor=Camera(**NOISY))
    return HybridSegmenter(FourFConvolution(3, 7, 3, 16, **BENCH), 3, groups=(1, 2, 4), coarse=coarse)


STUDENTS = [ideal, psf, bench, segmenter, segmenter_with_two_fronts]


def images(model, dtype=torch.float32):
    shape = (2, model.optics.channels, *model.optics.image_size)
    return torch.rand(shape, dtype=dtype, generator=torch.Generator().manual_seed(1))


@pytest.mark.parametrize("make", STUDENTS)
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_it_answers_as_before(tmp_path, make, dtype):
    torch.manual_seed(0)
    saved, path = make().to(dtype).eval(), tmp_path / "a.safetensors"
    export_student(saved, path, {"seed": 5})
    before = torch.random.get_rng_state()
    loaded, recipe = load_student(path)
    assert torch.equal(torch.random.get_rng_state(), before)
    assert recipe == {"seed": 5} and not loaded.training and type(loaded) is type(saved)
    x = images(saved, dtype)
    assert torch.equal(loaded(x), saved(x))
    noises = [torch.Generator().manual_seed(2) for _ in range(2)]
    assert torch.equal(loaded(x, noises[0]), saved(x, noises[1]))
    assert loaded.describe() == saved.describe()


@pytest.mark.parametrize("make", STUDENTS)
def test_it_learns_as_before(tmp_path, make):
    """A frozen part stays frozen, and one step of training leads to the same place."""
    torch.manual_seed(0)
    saved = make()
    saved.optics.requires_grad_(False)
    export_student(saved, tmp_path / "a.safetensors")
    loaded, _ = load_student(tmp_path / "a.safetensors")
    assert [p.requires_grad for p in loaded.parameters()] == [p.requires_grad for p in saved.parameters()]
    for model in (saved, loaded.train()):
        optimiser = torch.optim.SGD([p for p in model.parameters() if p.requires_grad], 0.1)
        model(images(model)).square().mean().backward()
        optimiser.step()
    assert all(torch.equal(a, b) for a, b in zip(saved.parameters(), loaded.parameters(), strict=True))


@pytest.mark.parametrize("make", STUDENTS)
def test_the_same_student_gives_the_same_bytes(tmp_path, make):
    torch.manual_seed(0)
    model, paths = make(), [tmp_path / name for name in "abc"]
    export_student(model, paths[0])
    export_student(copy.deepcopy(model), paths[1])
    export_student(load_student(paths[0])[0], paths[2])
    assert paths[0].read_bytes() == paths[1].read_bytes() == paths[2].read_bytes()


def test_the_architecture_is_json(tmp_path):
    export_student(bench(), tmp_path / "a.safetensors")
    with safe_open(tmp_path / "a.safetensors", framework="pt") as file:
        student = json.loads(file.metadata()["onnlab"])["recipe"]["student"]
    assert student["class"] == "HybridClassifier" and student["optics"]["class"] == "FourFConvolution"
    assert student["optics"]["arguments"]["wavelength"] == 532e-9
    assert student["optics"]["sensor"]["shot_noise"] is False


class OtherLayer(IdealConvolution):
    pass


class OtherCamera(Camera):
    pass


def with_another_back_end():
    model = ideal()
    model.back_end[2] = nn.Sigmoid()
    return model


def of_mixed_types():
    model = ideal()
    model.back_end.double()
    return model


@pytest.mark.parametrize(
    ("make", "said"),
    [
        (LeNet, "model must be a HybridClassifier or HybridSegmenter, got LeNet; .*save_checkpoint"),
        (
            lambda: HybridClassifier(OtherLayer(1, 4, 3, 16)),
            "optics must be one of .*, got OtherLayer; export",
        ),
        (
            lambda: HybridClassifier(PSFConvolution(1, 4, 3, 16, sensor=OtherCamera())),
            "sensor must be a Camera, got OtherCamera; .*save_checkpoint",
        ),
        (with_another_back_end, "a layer of it was replaced; .*save_checkpoint"),
        (of_mixed_types, r"weights of one type, got torch\.float32, torch\.float64; use model\.float\(\)"),
    ],
)
def test_students_that_a_file_cannot_tell(tmp_path, make, said):
    with pytest.raises(TypeError, match=said):
        export_student(make(), tmp_path / "a.safetensors")
    assert not list(tmp_path.iterdir())


def test_files_that_are_none_of_ours(tmp_path):
    path = tmp_path / "a.safetensors"
    with pytest.raises(FileNotFoundError):
        load_student(path)
    save_checkpoint(path, LeNet(), {"data": "mnist"})
    with pytest.raises(ValueError, match="must be a file of export_student, .*load_checkpoint"):
        load_student(path)
    export_student(ideal(), path)
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.write_bytes(content)
    with pytest.raises(ValueError, match="is damaged"):
        load_student(path)


@pytest.mark.parametrize("part", ["class", "optics"])
def test_a_part_that_this_version_does_not_have(tmp_path, part):
    path = tmp_path / "a.safetensors"
    export_student(ideal(), path)
    with safe_open(path, framework="pt") as file:
        recipe = json.loads(file.metadata()["onnlab"])["recipe"]
    (recipe["student"] if part == "class" else recipe["student"]["optics"])["class"] = "Newer"
    save_checkpoint(path, ideal(), recipe)
    with pytest.raises(ValueError, match="parts that this version of onnlab has, got 'Newer'"):
        load_student(path)
