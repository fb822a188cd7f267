"""Pictures for an SLM: what is read back is what was quantised."""

import json
import math

import numpy as np
import pytest
import torch
from PIL import Image
from torch import nn

from onnlab.hardware import PhaseCurve, export_slm, read_slm
from onnlab.optics import AmplitudeMask, ComplexMask, Grid, PhaseMask

GRID = Grid((30, 41), (8e-6, 9e-6), 532e-9)
CURVE = PhaseCurve((10, 90, 250), (0.1, 2.5, 6.5))


def random_phase(dtype=torch.float64, seed=0):
    return 40 * torch.randn(GRID.shape, dtype=dtype, generator=torch.Generator().manual_seed(seed))


def turned_by(one, other):
    """Angle from one phase to another, modulo a cycle."""
    return torch.remainder(one - other + math.pi, 2 * math.pi) - math.pi


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("bits", [8, 16])
def test_the_phase_comes_back_to_half_a_level(tmp_path, bits, dtype):
    phase = random_phase(dtype)
    shown = export_slm(phase, tmp_path / "a.png", bits, grid=GRID)
    read = read_slm(tmp_path / "a.png")
    assert turned_by(read.phase, phase.double()).abs().max() <= math.pi / 2**bits * (1 + 1e-9)
    assert torch.equal(read.phase, shown.phase) and torch.equal(read.levels, shown.levels)
    assert (read.grid, read.bits, read.curve) == (GRID, bits, PhaseCurve.linear(bits))
    # Exporting what is shown changes nothing.
    again = export_slm(read.phase, tmp_path / "b.png", bits, grid=GRID)
    assert torch.equal(again.phase, read.phase)


def test_the_levels_of_a_panel_with_a_known_response(tmp_path):
    """Whole levels of an ideal panel, and 2 pi is 0 again."""
    phase = (
        2 * math.pi / 256 * torch.tensor([[0.0, 1, 255, 256], [-1, 257, 128.4, 127.6]], dtype=torch.float64)
    )
    export_slm(phase, tmp_path / "a.png", grid=Grid((2, 4), 8e-6, 532e-9))
    assert np.array(Image.open(tmp_path / "a.png")).tolist() == [[0, 1, 255, 0], [255, 1, 128, 128]]


@pytest.mark.parametrize("bits", [8, 16])
def test_a_measured_curve_chooses_the_levels(tmp_path, bits):
    phase = random_phase()
    shown = export_slm(phase, tmp_path / "a.png", bits, grid=GRID, curve=CURVE)
    read = read_slm(tmp_path / "a.png")
    assert torch.equal(read.phase, shown.phase) and read.curve == CURVE
    assert turned_by(read.phase, phase).abs().max() <= 2.4 / 80 / 2 + 1e-9  # half of its steepest step
    levels = np.array(Image.open(tmp_path / "a.png"))
    assert levels.dtype == f"uint{bits}" and levels.min() >= 10 and levels.max() <= 250
    expected = np.interp(levels.astype(float), [10, 90, 250], [0.1, 2.5, 6.5])
    np.testing.assert_allclose(read.phase.numpy(), expected, rtol=0, atol=1e-12)


def test_a_panel_of_ten_bits(tmp_path):
    curve = PhaseCurve((0, 1023), (0.0, 2 * math.pi * 1023 / 1024))
    export_slm(random_phase(), tmp_path / "a.png", 16, grid=GRID, curve=curve)
    assert np.array(Image.open(tmp_path / "a.png")).max() == 1023
    with pytest.raises(
        ValueError, match="bits must hold the levels of the curve, up to 1023, got 8; use bits=16"
    ):
        export_slm(random_phase(), tmp_path / "b.png", 8, grid=GRID, curve=curve)
    assert not (tmp_path / "b.png").exists()


@pytest.mark.parametrize("panel", [(60, 80), (31, 41), (30, 42)])
def test_the_mask_lies_in_the_middle_of_the_panel(tmp_path, panel):
    phase = random_phase()
    export_slm(phase, tmp_path / "a.png", grid=GRID, panel=panel, curve=CURVE)
    read, levels = read_slm(tmp_path / "a.png"), np.array(Image.open(tmp_path / "a.png"))
    assert levels.shape == panel == tuple(read.levels.shape) and read.phase.shape == GRID.shape
    assert turned_by(read.phase, phase).abs().max() < 0.0151
    # The origins meet, and round the mask the panel is as flat as the curve allows.
    origin = read.levels[panel[0] // 2, panel[1] // 2]
    assert CURVE.to_phase(origin) == read.phase[15, 20]
    away = turned_by(CURVE.to_phase(read.levels), torch.tensor(0.0)).abs()
    assert (away < 0.0151).sum() >= panel[0] * panel[1] - 30 * 41


@pytest.mark.parametrize(("phases", "flat"), [((1.0, 4.0), 0), ((3.0, 6.0), 255)])
def test_a_panel_without_the_phase_0_shows_the_masks_that_it_can(tmp_path, phases, flat):
    """No pixel of the mask asks for 0. Round it, the end of the curve that is nearer to 0 is as flat."""
    phase = torch.linspace(*phases, GRID.ny * GRID.nx, dtype=torch.float64).reshape(GRID.shape)
    for panel in (None, (60, 80)):
        shown = export_slm(
            phase, tmp_path / "a.png", grid=GRID, panel=panel, curve=PhaseCurve((0, 255), phases)
        )
        assert (shown.phase - phase).abs().max() <= 3 / 255 / 2 + 1e-9
    assert shown.levels[0].eq(flat).all() and shown.levels[:, -1].eq(flat).all()


def test_masks_and_trained_phases_are_taken(tmp_path):
    phase = nn.Parameter(random_phase(torch.float32))
    for name, mask in (("a", PhaseMask(phase)), ("b", phase), ("c", phase.detach())):
        export_slm(mask, tmp_path / f"{name}.png", grid=GRID)
    files = [(tmp_path / f"{name}.png").read_bytes() for name in "abc"]
    assert files[0] == files[1] == files[2]  # and the same mask gives the same bytes


def test_the_metadata_are_one_json_text(tmp_path):
    export_slm(random_phase(), tmp_path / "a.png", 8, grid=GRID, panel=(40, 50), curve=CURVE)
    with Image.open(tmp_path / "a.png") as picture:
        about = json.loads(picture.text["onnlab"])
    assert about["grid"] == {"shape": [30, 41], "pitch": [8e-6, 9e-6], "wavelength": 532e-9}
    assert about["curve"] == {"levels": [10, 90, 250], "phases": [0.1, 2.5, 6.5]}
    assert about["bits"] == 8 and about["panel"] == [40, 50]


@pytest.mark.parametrize(
    ("changed", "error", "said"),
    [
        ({"path": "a.bmp"}, ValueError, r"path must end in \.png, got 'a\.bmp'"),
        ({"bits": 4}, ValueError, "bits must be 8 or 16, got 4"),
        ({"mask": random_phase() * math.nan}, ValueError, "mask must be finite"),
        ({"mask": random_phase()[None]}, ValueError, "got a stack"),
        ({"mask": random_phase().T}, ValueError, "mask must have shape"),
        ({"mask": random_phase().int()}, TypeError, "mask must be float32 or float64"),
        ({"mask": torch.exp(1j * random_phase())}, TypeError, "double_phase"),
        ({"mask": ComplexMask(torch.exp(1j * random_phase()))}, TypeError, "got ComplexMask; .*double_phase"),
        ({"mask": AmplitudeMask(random_phase())}, TypeError, "got AmplitudeMask"),
        ({"panel": (29, 100)}, ValueError, "mask must fit the panel of 29 x 100 pixels, got 30 x 41"),
        ({"panel": (100, 40)}, ValueError, "mask must fit the panel"),
        ({"curve": PhaseCurve((0, 255), (0.0, 4.0))}, ValueError, "that the panel can show"),
    ],
)
def test_what_cannot_be_exported_leaves_no_file(tmp_path, changed, error, said):
    arguments = {"mask": random_phase(), "path": "a.png", "grid": GRID, **changed}
    arguments["path"] = tmp_path / arguments["path"]
    with pytest.raises(error, match=said):
        export_slm(**arguments)
    assert not list(tmp_path.iterdir())


def test_files_that_are_none_of_ours(tmp_path):
    path = tmp_path / "a.png"
    with pytest.raises(FileNotFoundError):
        read_slm(path)
    for picture in (Image.new("L", (4, 4)), Image.new("RGB", (4, 4))):
        picture.save(path)
        with pytest.raises(ValueError, match="without its metadata"):
            read_slm(path)
    Image.new("L", (4, 4)).save(tmp_path / "a.bmp")
    with pytest.raises(ValueError, match="without its metadata"):
        read_slm(tmp_path / "a.bmp")
    path.write_bytes(b"no picture")
    with pytest.raises(ValueError, match="must be a complete PNG"):
        read_slm(path)


def test_a_damaged_file_is_found(tmp_path):
    path = tmp_path / "a.png"
    export_slm(random_phase(), path, grid=GRID)
    content = path.read_bytes()
    path.write_bytes(content[: len(content) // 2])
    with pytest.raises(ValueError, match="must be a complete PNG"):
        read_slm(path)


def test_a_picture_that_was_scaled_is_found(tmp_path):
    from PIL.PngImagePlugin import PngInfo

    path = tmp_path / "a.png"
    export_slm(random_phase(), path, grid=GRID)
    info = PngInfo()
    with Image.open(path) as picture:
        info.add_text("onnlab", picture.text["onnlab"])
        picture.resize((20, 15)).save(tmp_path / "b.png", pnginfo=info)
    with pytest.raises(ValueError, match="it was scaled or cropped"):
        read_slm(tmp_path / "b.png")
