"""``onnlab export``: from files of the library to files for the bench and the clean room."""

import pytest
import torch

from onnlab import cli
from onnlab.hardware import (
    MetaAtoms,
    Metasurface,
    double_phase,
    export_metasurface,
    export_student,
    load_student,
    onto_panel,
    read_layout,
    read_slm,
)
from onnlab.networks import FourFConvolution, HybridClassifier, HybridSegmenter, IdealConvolution
from onnlab.optics import Camera, Grid, fourier_grid

LIGHT = ["--optics", "4f", "--pitch", "8e-6", "--wavelength", "532e-9", "--focal-length", "0.02"]


@pytest.fixture
def ideal(tmp_path):
    """The file of a student whose kernels are numbers, and the student."""
    torch.manual_seed(0)
    model = HybridClassifier(IdealConvolution(1, 3, 5, 12, "rectified"), pool=2)
    export_student(model, tmp_path / "ideal.safetensors", {"seed": 4})
    return tmp_path / "ideal.safetensors", model


def test_a_student_from_numbers_to_pictures(ideal, tmp_path, capsys):
    """Trained as numbers, made of light, and sent to the panel: the very masks of its kernels."""
    bench, folder, curve = tmp_path / "bench.safetensors", tmp_path / "new" / "masks", tmp_path / "curve.csv"
    assert cli.main(["export", "student", str(ideal[0]), *LIGHT, "--out", str(bench)]) == 0
    assert "4f masks" in capsys.readouterr().out
    model, recipe = load_student(bench)
    x = torch.rand(2, 1, 12, 12)
    torch.testing.assert_close(model(x), ideal[1](x), rtol=1e-4, atol=1e-5)
    assert recipe == {"seed": 4}

    curve.write_text("0,0.1\n200,3.0\n1023,6.5\n")
    arguments = ["--panel", "400x300", "--pixel", "8e-6", "--bits", "16", "--curve", str(curve)]
    assert cli.main(["export", "slm", str(bench), str(folder), *arguments]) == 0
    files = sorted(folder.iterdir())
    assert capsys.readouterr().out == "".join(f"{file}\n" for file in files) and len(files) == 3
    optics = FourFConvolution(
        1, 3, 5, 12, pitch=8e-6, wavelength=532e-9, focal_length=0.02, weight=ideal[1].optics.weight
    )
    panel = Grid((400, 300), 8e-6, 532e-9)
    masks = onto_panel(optics.masks().transmission.detach(), fourier_grid(optics.grid, 0.02), panel)
    for file, mask in zip(files, masks, strict=True):
        picture = read_slm(file)
        assert picture.grid == panel and picture.curve.levels == (0, 200, 1023)
        away = torch.exp(1j * picture.phase) - torch.exp(1j * double_phase(mask).double())
        assert away.abs().max() < 2.9 / 200 / 2 + 1e-5


def test_a_student_with_two_front_ends(tmp_path, capsys):
    coarse = IdealConvolution(1, 2, 3, 4)
    model = HybridSegmenter(IdealConvolution(1, 7, 3, 16), groups=(1, 2, 4), coarse=coarse)
    export_student(model, tmp_path / "a")
    cli.main(["export", "student", str(tmp_path / "a"), *LIGHT, "--out", str(tmp_path / "b")])
    built, _ = load_student(tmp_path / "b")
    assert built.optics.grid.pitch == (8e-6, 8e-6) and built.coarse.grid.pitch == pytest.approx(
        (32e-6, 32e-6)
    )
    cli.main(["export", "slm", str(tmp_path / "b"), str(tmp_path), "--panel", "200x200", "--pixel", "8e-6"])
    names = sorted(file.name for file in tmp_path.glob("*.png"))
    assert names == ["coarse-00.png", "coarse-01.png", *(f"optics-0{k}.png" for k in range(7))]


def test_a_student_is_shown(ideal, capsys):
    assert cli.main(["export", "student", str(ideal[0])]) == 0
    assert capsys.readouterr() == (f"{ideal[1].describe()}\n", "")


def test_the_sensor_goes_along(tmp_path):
    sensor = Camera(photons=50, read_noise=3)
    optics = FourFConvolution(
        1, 2, 3, 8, pitch=1e-6, wavelength=1e-6, focal_length=1.0, sensor=sensor
    ).requires_grad_(False)
    export_student(HybridClassifier(optics), tmp_path / "a")
    assert (
        cli.main(["export", "student", str(tmp_path / "a"), "--optics", "psf", "--out", str(tmp_path / "b")])
        == 0
    )
    built = load_student(tmp_path / "b")[0].optics
    assert str(built.sensor) == str(sensor) and "PSF" in built.realisation and not built.weight.requires_grad


@pytest.mark.parametrize("suffix", ["gds", "oas"])
def test_a_layout(tmp_path, capsys, suffix):
    atoms, saved, out = MetaAtoms.silicon_nitride(), tmp_path / "a", tmp_path / f"a.{suffix}"
    widths = atoms.nearest(torch.linspace(0, 6, 30, dtype=torch.float64).reshape(5, 6), 532e-9)
    export_metasurface(Metasurface(widths, atoms), saved)
    assert cli.main(["export", "layout", str(saved), str(out)]) == 0
    assert (read_layout(out).widths - widths).abs().max() < 0.51e-9
    printed = capsys.readouterr().out
    assert printed.startswith(f"{out}: 30 pillars of {len(widths.unique())} widths")
    assert f"{out.stat().st_size} bytes" in printed
    assert cli.main(["export", "layout", str(saved), str(out), "--classes", "4"]) == 0
    assert "30 pillars of 4 widths" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (
            ["slm", "ideal.safetensors", "out", "--panel", "9x9", "--pixel", "8e-6"],
            "student must have 4f optics",
        ),
        (["slm", "nowhere", "out", "--panel", "9x9", "--pixel", "8e-6"], "nowhere"),
        (["slm", "bench", "out", "--panel", "9x9", "--pixel", "8e-6"], "panel must be as large as the mask"),
        (
            ["slm", "bench", "out", "--panel", "400x400", "--pixel", "8e-6", "--bits", "9"],
            "bits must be 8 or 16",
        ),
        (["slm", "bench", "out", "--panel", "9x9", "--pixel", "8e-6", "--curve", "half.csv"], "whole levels"),
        (["student", "ideal.safetensors", "--optics", "4f"], "--out must come together"),
        (
            ["student", "ideal.safetensors", "--optics", "4f", "--out", "x", "--pitch", "1e-6"],
            "with --wavelength",
        ),
        (["layout", "ideal.safetensors", "a.gds"], "must be a file of export_metasurface"),
        (["student", "half.csv"], "must be a safetensors file"),
        (["student", "folder"], "folder must be a file of export_student, and is a folder"),
        (["slm", "folder", "out", "--panel", "9x9", "--pixel", "8e-6"], "folder must be a file of"),
        (["layout", "folder", "a.gds"], "folder must be a file of export_metasurface"),
        (["student", "ideal.safetensors", *LIGHT, "--out", "folder"], "folder"),
    ],
)
def test_an_export_that_fails_is_one_line_on_standard_error(ideal, monkeypatch, capsys, arguments, said):
    monkeypatch.chdir(ideal[0].parent)
    cli.main(["export", "student", "ideal.safetensors", *LIGHT, "--out", "bench"])
    ideal[0].with_name("half.csv").write_text("0.5,0\n2,1\n")
    ideal[0].with_name("folder").mkdir()
    capsys.readouterr()
    assert cli.main(["export", *arguments]) == 1
    out, err = capsys.readouterr()
    assert out == "" and err.startswith("onnlab: ") and err.count("\n") == 1 and said in err
