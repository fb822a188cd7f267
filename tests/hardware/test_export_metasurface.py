"""Files of metasurfaces: the pillars and their library come back."""

import pytest
import torch
from torch import nn

from onnlab.distill import save_checkpoint
from onnlab.hardware import MetaAtoms, Metasurface, export_metasurface, load_metasurface

ATOMS = MetaAtoms.silicon_nitride()


def surface(dtype=torch.float64, aperture=False):
    widths = ATOMS.nearest(torch.linspace(0, 6, 20, dtype=dtype).reshape(4, 5), 532e-9)
    return Metasurface(nn.Parameter(widths), ATOMS, torch.ones(4, 5, dtype=dtype) / 2 if aperture else None)


@pytest.mark.parametrize("aperture", [False, True])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_it_comes_back(tmp_path, dtype, aperture):
    saved, path = surface(dtype, aperture), tmp_path / "a.safetensors"
    digest = export_metasurface(saved, path, {"seed": 3})
    loaded, recipe = load_metasurface(path)
    assert torch.equal(loaded.transmission(), saved.transmission())
    assert loaded.widths.dtype == dtype and recipe == {"seed": 3}
    for name in ("wavelengths", "period", "height", "shape"):
        assert getattr(loaded.atoms, name) == getattr(ATOMS, name)
    content = path.read_bytes()
    assert export_metasurface(loaded, path, {"seed": 3}) == digest and path.read_bytes() == content


def test_what_is_none(tmp_path):
    with pytest.raises(TypeError, match="metasurface must be a Metasurface, got Linear"):
        export_metasurface(nn.Linear(2, 2), tmp_path / "a")
    save_checkpoint(tmp_path / "a", nn.Linear(2, 2), {})
    with pytest.raises(ValueError, match="must be a file of export_metasurface, got a Linear"):
        load_metasurface(tmp_path / "a")
    with pytest.raises(FileNotFoundError):
        load_metasurface(tmp_path / "b")
