"""Layouts of a million pillars: ``make bench`` prints ratios of times, with the size of each file.

The first entry is the plain way with gdstk: a reference for each pillar, one after the other, as GDSII.
"""

import gdstk
import pytest
import torch

from onnlab.hardware import MetaAtoms, Metasurface, export_layout, read_layout

SIDE = 1000


@pytest.fixture(scope="module")
def surface():
    """Pillars of 173 widths on whole nanometres, in no order."""
    atoms = MetaAtoms.silicon_nitride()
    index = torch.randint(len(atoms.widths), (SIDE, SIDE), generator=torch.Generator().manual_seed(0))
    return Metasurface(atoms.widths[index], atoms)


def one_by_one(surface, path):
    library = gdstk.Library(unit=1e-6, precision=1e-9)
    top, cells, period = library.new_cell("TOP"), {}, surface.atoms.period * 1e6
    for i, row in enumerate((surface.widths * 1e9).round().int().tolist()):
        for j, width in enumerate(row):
            if width not in cells:
                cells[width] = library.new_cell(str(width))
                half = width / 2000
                cells[width].add(gdstk.rectangle((-half, -half), (half, half)))
            top.add(gdstk.Reference(cells[width], (j * period, i * period)))
    library.write_gds(path)


WAYS = {
    "one by one, .gds": (one_by_one, "gds"),
    "export_layout, .gds": (export_layout, "gds"),
    "export_layout, .oas": (export_layout, "oas"),
}


@pytest.mark.parametrize("way", WAYS)
def test_write(benchmark, surface, tmp_path, way):
    write, suffix = WAYS[way]
    path = tmp_path / f"a.{suffix}"
    benchmark.group, benchmark.name = "write a million pillars", way
    benchmark.pedantic(write, (surface, path), rounds=3)
    benchmark.extra_info["megabytes"] = round(path.stat().st_size / 1e6, 2)


@pytest.mark.parametrize("suffix", ["gds", "oas"])
def test_read(benchmark, surface, tmp_path, suffix):
    path = tmp_path / f"a.{suffix}"
    export_layout(surface, path)
    benchmark.group, benchmark.name = "read a million pillars back", f".{suffix}"
    read = benchmark.pedantic(read_layout, (path,), rounds=3)
    assert torch.equal((read.widths * 1e9).round(), (surface.widths * 1e9).round())
