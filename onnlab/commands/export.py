"""``onnlab export``: files for the bench and the clean room."""

import argparse
import re
from functools import partial
from pathlib import Path

import numpy as np

from onnlab.commands.common import CommandError
from onnlab.experiments.devices import in_light
from onnlab.hardware import (
    PhaseCurve,
    double_phase,
    export_layout,
    export_slm,
    export_student,
    load_metasurface,
    load_student,
    onto_panel,
)
from onnlab.networks import (
    FourFConvolution,
    HybridClassifier,
    HybridSegmenter,
    OpticalLayer,
    PSFConvolution,
)
from onnlab.optics import Grid, fourier_grid


def add_export(command: argparse.ArgumentParser) -> None:
    """Give ``export`` its kinds of files."""
    kinds = command.add_subparsers(required=True, metavar="WHAT")
    add_slm(kinds.add_parser("slm", help="pictures for an SLM from a student"))
    add_layout(kinds.add_parser("layout", help="GDSII or OASIS from a metasurface"))
    add_student(kinds.add_parser("student", help="show a student, or give it other optics"))


def add_slm(command: argparse.ArgumentParser) -> None:
    """Give ``export slm`` its arguments."""
    command.description = (
        "Write a picture for each kernel of a student with 4f optics: its complex mask as a phase in which "
        "neighbouring pixels take turns (double phase)."
    )
    command.add_argument("student", type=Path, help="file of export_student")
    command.add_argument("folder", type=Path, help="where the pictures go")
    command.add_argument("--panel", type=panel_size, required=True, metavar="ROWSxCOLUMNS", help="its pixels")
    command.add_argument("--pixel", type=float, required=True, help="pitch of the panel in metres")
    command.add_argument("--bits", type=int, default=8, help="of a grey level: 8 (unless given) or 16")
    command.add_argument(
        "--curve", type=Path, help="calibration: lines LEVEL,PHASE in radians; linear unless given"
    )
    command.set_defaults(run=export, export=slm)


def add_layout(command: argparse.ArgumentParser) -> None:
    """Give ``export layout`` its arguments."""
    command.add_argument("metasurface", type=Path, help="file of export_metasurface")
    command.add_argument("out", type=Path, help="the layout, ending in .gds or .oas")
    command.add_argument("--classes", type=int, help="only so many widths; without it, all")
    command.add_argument(
        "--database-unit", type=float, default=1e-9, help="step of coordinates in metres (1e-9)"
    )
    command.set_defaults(run=export, export=layout)


def add_student(command: argparse.ArgumentParser) -> None:
    """Give ``export student`` its arguments."""
    command.description = (
        "Check a student's file and show its stages. With --optics and --out, write the same student with "
        "kernels made of light: what was trained as numbers becomes a bench."
    )
    command.add_argument("student", type=Path, help="file of export_student")
    command.add_argument("--optics", choices=("4f", "psf"), help="what its kernels are to be made of")
    command.add_argument("--out", type=Path, help="the new file, ending in .safetensors by custom")
    for name, what in (
        ("pitch", "of the image's samples"),
        ("wavelength", "of the light"),
        ("focal-length", ""),
    ):
        command.add_argument(f"--{name}", type=float, help=f"{what} in metres, for 4f".strip())
    command.set_defaults(run=export, export=student)


def panel_size(text: str) -> tuple[int, int]:
    """Read ``1080x1920`` as rows and columns."""
    sizes = re.fullmatch(r"(\d+)x(\d+)", text)
    if sizes is None:
        raise argparse.ArgumentTypeError(f"must be ROWSxCOLUMNS, such as 1080x1920, got {text!r}")
    return int(sizes[1]), int(sizes[2])


def export(options: argparse.Namespace) -> None:
    """Run an export; what the library refuses becomes one line."""
    for name in ("student", "metasurface"):
        path = getattr(options, name, None)
        if path is not None and path.is_dir():
            raise CommandError(f"{path} must be a file of export_{name}, and is a folder; name a file in it")
    try:
        options.export(options)
    except (ValueError, TypeError, OSError, ImportError) as error:
        raise CommandError(str(error)) from error


def slm(options: argparse.Namespace) -> None:
    """Write a picture for each kernel, and print their files."""
    model, _ = load_student(options.student)
    curve = None
    if options.curve is not None:
        levels, phases = np.loadtxt(options.curve, delimiter=",", ndmin=2, unpack=True)
        if (levels % 1).any():
            raise ValueError(
                f"{options.curve} must hold whole levels before the comma, got {levels.tolist()}"
            )
        curve = PhaseCurve(tuple(map(int, levels)), tuple(map(float, phases)))
    options.folder.mkdir(parents=True, exist_ok=True)
    for name, layer in layers(model).items():
        if not isinstance(layer, FourFConvolution):
            raise ValueError(
                f"student must have 4f optics, got {type(layer).__name__}; give it some first: onnlab export "
                "student FILE --optics 4f --pitch P --wavelength L --focal-length F --out NEW"
            )
        grid = fourier_grid(layer.grid, layer.focal_length)
        panel = Grid(options.panel, options.pixel, grid.wavelength)
        for number, mask in enumerate(layer.masks().transmission.detach()):
            path = options.folder / f"{name}-{number:02}.png"
            phase = double_phase(onto_panel(mask, grid, panel))
            export_slm(phase, path, options.bits, grid=panel, curve=curve)
            print(path)


def layout(options: argparse.Namespace) -> None:
    """Write a layout, and print its file, how many pillars it has, and by how much widths were rounded."""
    metasurface, _ = load_metasurface(options.metasurface)
    written = export_layout(
        metasurface, options.out, classes=options.classes, database_unit=options.database_unit
    )
    pillars = written.widths[written.widths > 0]
    off = (written.widths - metasurface.widths).abs().max().item()
    print(
        f"{options.out}: {len(pillars)} pillars of {len(pillars.unique())} widths, rounded by "
        f"{off * 1e9:.3g} nm at most, {options.out.stat().st_size} bytes"
    )


def student(options: argparse.Namespace) -> None:
    """Show the stages of a student, and write it with other optics if these are given."""
    model, recipe = load_student(options.student)
    if (options.optics is None) != (options.out is None):
        raise ValueError(
            "--optics and --out must come together: what the kernels are made of, and the new file"
        )
    if options.optics is not None:
        for name, layer in layers(model).items():
            # A coarse front end sees larger samples of the same image.
            coarser = model.optics.image_size[0] // layer.image_size[0]
            setattr(model, name, made_of_light(layer, options, coarser))
        export_student(model, options.out, recipe)
    print(model.describe())


def layers(model: HybridClassifier | HybridSegmenter) -> dict[str, OpticalLayer]:
    """Return the optical layers of a student by name."""
    found = {"optics": model.optics, "coarse": getattr(model, "coarse", None)}
    return {name: layer for name, layer in found.items() if layer is not None}


def made_of_light(layer: OpticalLayer, options: argparse.Namespace, coarser: int) -> OpticalLayer:
    """Return an optical layer with the very kernels and the sensor of another."""
    if options.optics == "psf":
        return in_light(layer, PSFConvolution)
    bench = {name: getattr(options, name) for name in ("pitch", "wavelength", "focal_length")}
    missing = [f"--{name.replace('_', '-')}" for name, value in bench.items() if value is None]
    if missing:
        raise ValueError(f"--optics 4f must come with {', '.join(missing)}; give lengths in metres")
    bench["pitch"] *= coarser
    return in_light(layer, partial(FourFConvolution, **bench))
