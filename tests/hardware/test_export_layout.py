"""Layouts: what gdstk reads from the file stands where the metasurface has it."""

import math
import sys

import gdstk
import pytest
import torch
from torch import nn

from onnlab.hardware import MetaAtoms, Metasurface, export_layout, read_layout
from onnlab.hardware.export_layout import LABEL_LAYER

PERIOD = 293e-9
SUFFIXES = ["gds", "oas"]
READ = {"gds": gdstk.read_gds, "oas": gdstk.read_oas}


def atoms(shape="square", period=PERIOD):
    widths = torch.linspace(0.2, 0.95, 16, dtype=torch.float64) * period
    transmission = torch.exp(1j * torch.linspace(0, 6, 16, dtype=torch.float64))[:, None]
    return MetaAtoms(widths, transmission, (532e-9,), period, 700e-9, shape)


def metasurface(ny=9, nx=14, shape="square", holes=True, period=PERIOD, dtype=torch.float64):
    generator = torch.Generator().manual_seed(0)
    widths = (0.2 + 0.75 * torch.rand(ny, nx, dtype=torch.float64, generator=generator)) * period
    if holes:
        widths[torch.rand(ny, nx, generator=generator) < 0.2] = 0
    return Metasurface(widths.to(dtype), atoms(shape, period))


def rectangles(path):
    """All pillars as gdstk flattens them: (left, bottom, right, top) in nanometres."""
    library = READ[path.suffix[1:]](path)
    (top,) = library.top_level()
    corners = [polygon.bounding_box() for polygon in top.get_polygons()]
    return sorted(tuple(round(1e3 * x, 6) for point in box for x in point) for box in corners)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("shape", ["square", "circle"])
@pytest.mark.parametrize("suffix", SUFFIXES)
def test_the_widths_come_back_to_half_a_database_unit(tmp_path, suffix, shape, dtype):
    path, surface = tmp_path / f"a.{suffix}", metasurface(shape=shape, dtype=dtype)
    written = export_layout(surface, path)
    read = read_layout(path)
    assert torch.equal(read.widths, written.widths)
    assert (read.period, read.shape, read.database_unit) == (PERIOD, shape, 1e-9)
    assert (read.widths - surface.widths).abs().max() <= 0.5e-9 * (1 + 1e-6)
    assert torch.equal(read.widths == 0, surface.widths == 0)


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_every_pillar_stands_on_its_place(tmp_path, suffix):
    path, surface = tmp_path / f"a.{suffix}", metasurface()
    export_layout(surface, path)
    expected = []
    for i in range(9):
        for j in range(14):
            width = round(surface.widths[i, j].item() * 1e9)
            if width:
                left, bottom = (j - 7) * 293 - width // 2, (i - 4) * 293 - width // 2
                expected.append((left, bottom, left + width, bottom + width))
    assert rectangles(path) == sorted(expected)


def test_the_places_of_a_period_between_two_units_do_not_drift(tmp_path):
    period = 292.4e-9
    export_layout(metasurface(1, 201, holes=False, period=period), tmp_path / "a.oas")
    centres = sorted((left + right) / 2 for left, _, right, _ in rectangles(tmp_path / "a.oas"))
    for j, centre in enumerate(centres):
        assert abs(centre - (j - 100) * 292.4) <= 1
    read = read_layout(tmp_path / "a.oas")
    assert read.period == period and read.widths.shape == (1, 201)


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_circles_are_round(tmp_path, suffix):
    path = tmp_path / f"a.{suffix}"
    export_layout(metasurface(shape="circle"), path)
    for cell in READ[suffix](path).cells:
        for polygon in cell.polygons:
            (left, bottom), (right, top) = polygon.bounding_box()
            assert right - left == pytest.approx(top - bottom, abs=1e-9)
            radius, middle = (right - left) / 2, ((left + right) / 2, (bottom + top) / 2)
            assert all(abs(math.dist(point, middle) - radius) < 1e-3 for point in polygon.points)
            assert polygon.area() == pytest.approx(math.pi * radius**2, rel=0.01)


def test_one_cell_for_each_width(tmp_path):
    surface = metasurface()
    export_layout(surface, tmp_path / "a.oas", layer=7)
    (top,) = gdstk.read_oas(tmp_path / "a.oas").top_level()
    widths = {round(width * 1e9) for width in surface.widths.flatten().tolist() if width}
    assert {reference.cell_name for reference in top.references} == {f"W{width}" for width in widths}
    assert len(top.references) == len(widths) and not top.polygons
    assert {(p.layer, p.datatype) for p in top.get_polygons()} == {(7, 0)}
    assert [label.layer for label in top.labels] == [LABEL_LAYER]


@pytest.mark.parametrize("suffix", SUFFIXES)
@pytest.mark.parametrize("classes", [2, 5, 1000])
def test_classes_are_the_nearest_of_equal_steps(tmp_path, suffix, classes):
    surface = metasurface()
    export_layout(surface, tmp_path / f"a.{suffix}", classes=classes)
    read, pillars = read_layout(tmp_path / f"a.{suffix}"), surface.widths[surface.widths > 0]
    levels = torch.linspace(pillars.min(), pillars.max(), classes, dtype=torch.float64)
    step = (levels[1] - levels[0]).item()
    assert len(read.widths[read.widths > 0].unique()) <= classes
    assert (read.widths - surface.widths).abs().max() <= step / 2 + 1.1e-9
    nearest = (read.widths[read.widths > 0][:, None] - levels).abs().amin(1)
    assert nearest.max() <= 1.1e-9
    assert torch.equal(read.widths == 0, surface.widths == 0)


def test_another_database_unit(tmp_path):
    surface = metasurface()
    for suffix in SUFFIXES:
        export_layout(surface, tmp_path / f"a.{suffix}", database_unit=1e-10)
        read = read_layout(tmp_path / f"a.{suffix}")
        assert (read.widths - surface.widths).abs().max() <= 0.5e-10 * (1 + 1e-6)
        assert read.database_unit == 1e-10


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_the_same_metasurface_gives_the_same_bytes(tmp_path, suffix, monkeypatch):
    paths = [tmp_path / f"{name}.{suffix}" for name in "ab"]
    export_layout(metasurface(), paths[0])
    monkeypatch.setattr("time.time", lambda: 2e9)
    export_layout(metasurface(), paths[1])
    assert paths[0].read_bytes() == paths[1].read_bytes()


def test_a_large_layout(tmp_path):
    surface = metasurface(120, 130)
    sizes = []
    for suffix in SUFFIXES:
        path = tmp_path / f"a.{suffix}"
        written = export_layout(surface, path)
        assert torch.equal(read_layout(path).widths, written.widths)
        sizes.append(path.stat().st_size)
    assert sizes[1] < sizes[0] / 5  # OASIS lists the places of a cell, GDSII names the cell at each


def test_a_single_pillar(tmp_path):
    widths = torch.zeros(3, 4, dtype=torch.float64)
    widths[2, 0] = 100e-9
    for suffix in SUFFIXES:
        export_layout(Metasurface(widths, atoms()), tmp_path / f"a.{suffix}", classes=3)
        torch.testing.assert_close(read_layout(tmp_path / f"a.{suffix}").widths, widths, rtol=0, atol=1e-15)


def with_widths(value):
    surface = Metasurface(nn.Parameter(torch.full((3, 3), 1e-7, dtype=torch.float64)), atoms())
    with torch.no_grad():
        surface.widths[1, 1] = value  # as a step of training may
    return surface


@pytest.mark.parametrize(
    ("surface", "options", "error", "said"),
    [
        (torch.ones(3, 3), {}, TypeError, "metasurface must be a Metasurface, got Tensor"),
        (with_widths(math.nan), {}, ValueError, "widths must be finite"),
        (with_widths(-1e-7), {}, ValueError, "widths must be >= 0"),
        (with_widths(3e-7), {}, ValueError, "widths must not exceed the period of 2.93e-07 m, got 3e-07 m"),
        (with_widths(1e-10), {}, ValueError, "for a pillar that would vanish"),
        (with_widths(1e-7), {"database_unit": 0}, ValueError, "database_unit must be positive"),
        (with_widths(1e-7), {"classes": 1}, ValueError, "classes must be at least 2"),
        (with_widths(1e-7), {"layer": 255}, ValueError, "layer must be from 0 to 254"),
        (Metasurface(torch.zeros(3, 3), atoms()), {}, ValueError, "at least one pillar"),
    ],
)
def test_what_cannot_be_exported_leaves_no_file(tmp_path, surface, options, error, said):
    with pytest.raises(error, match=said):
        export_layout(surface, tmp_path / "a.gds", **options)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("name", ["a.dxf", "a", "a.gds.zip"])
def test_other_suffixes(tmp_path, name):
    with pytest.raises(ValueError, match=r"path must end in \.gds \(GDSII\) or \.oas \(OASIS\)"):
        export_layout(metasurface(), tmp_path / name)
    with pytest.raises(ValueError, match=r"path must end in \.gds"):
        read_layout(tmp_path / name)


def test_without_gdstk_the_extra_is_named(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "gdstk", None)
    for call in (
        lambda: export_layout(metasurface(), tmp_path / "a.gds"),
        lambda: read_layout(tmp_path / "a.gds"),
    ):
        with pytest.raises(ImportError, match=r'pip install "onnlab\[fab\]"'):
            call()


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_files_that_are_none_of_ours(tmp_path, suffix):
    path = tmp_path / f"a.{suffix}"
    with pytest.raises(FileNotFoundError, match="export_layout writes it"):
        read_layout(path)
    export_layout(metasurface(), path)
    content = path.read_bytes()
    foreign = gdstk.Library()
    foreign.new_cell("TOP").add(gdstk.rectangle((0, 0), (1, 1)))
    {"gds": foreign.write_gds, "oas": foreign.write_oas}[suffix](tmp_path / f"b.{suffix}")
    for other in (b"garbage" * 20, content[: len(content) // 2], (tmp_path / f"b.{suffix}").read_bytes()):
        path.write_bytes(other)
        with pytest.raises(ValueError, match="must be a complete layout of export_layout"):
            read_layout(path)


@pytest.mark.parametrize("shift", [(0.002, 0.0), (0.0, 0.293), (1000.0, 0.0)])
def test_a_pillar_that_was_moved_is_found(tmp_path, shift):
    path = tmp_path / "a.gds"
    export_layout(metasurface(holes=False), path)
    library = gdstk.read_gds(path)
    reference = library.top_level()[0].references[5]
    reference.origin = tuple(a + b for a, b in zip(reference.origin, shift, strict=True))
    library.write_gds(path)
    with pytest.raises(ValueError, match="must have its pillars on a lattice"):
        read_layout(path)
