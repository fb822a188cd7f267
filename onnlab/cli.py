"""The command line: ``onnlab data``, ``reproduce``, ``trace``, ``estimates``, ``export`` and so on."""

import argparse
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path

import numpy as np

from onnlab.course.commands import CourseError, add_grade, add_release
from onnlab.data import DataError, data_folder, fetch
from onnlab.data.cache import FOLDER, MADE, SHIPPED, local_path
from onnlab.data.carvana import CREDIT as CARVANA
from onnlab.data.scenes import CREDIT as SCENES
from onnlab.data.sources import SOURCES
from onnlab.distill import is_first, process_group
from onnlab.experiments import (
    BUDGETS,
    DEVICES,
    EXPERIMENTS,
    SCALES,
    ClusterError,
    Progress,
    compare_estimates,
    format_estimates,
    format_plan,
    on_cluster,
    plan,
    read,
    run,
)
from onnlab.experiments.consumption import COMPUTED
from onnlab.experiments.devices import in_light
from onnlab.experiments.report import plain_tables
from onnlab.experiments.trace import format_trace
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


class TraceError(Exception):
    """There is no such row; the text says which there are."""


class ExportError(Exception):
    """What was asked for cannot be exported; the text says why, and what to do."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command, ``sys.argv`` if none is given, and return its exit status."""
    options = parser().parse_args(arguments)
    try:
        status: int | None = options.run(options)
    except (DataError, ExportError, CourseError, ClusterError, TraceError) as error:
        print(f"onnlab: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("onnlab: interrupted; the same command goes on from here", file=sys.stderr)
        return 130
    return status or 0


def parser() -> argparse.ArgumentParser:
    """Return the parser of all commands; each sets ``run``, which takes the parsed options.

    It returns an exit status, or nothing where all went well.
    """
    top = argparse.ArgumentParser(prog="onnlab", description="Optical neural networks, by command.")
    commands = top.add_subparsers(required=True, metavar="COMMAND")

    data = commands.add_parser("data", help="the data sets and where they are kept")
    actions = data.add_subparsers(required=True, metavar="ACTION")
    listing = actions.add_parser("list", help="show the data sets, and which are on this computer")
    listing.set_defaults(run=list_data)
    fetching = actions.add_parser("fetch", help="download a data set, once, and print its file")
    names = (SHIPPED, *SOURCES)
    fetching.add_argument("name", choices=names, metavar="NAME", help=" | ".join(names))
    fetching.set_defaults(run=lambda options: print(fetch(options.name)))
    path = actions.add_parser("path", help="print the folder of the data sets (ONNLAB_DATA, or the default)")
    path.set_defaults(run=lambda options: print(data_folder()))

    shown = argparse.ArgumentDefaultsHelpFormatter
    running = commands.add_parser(
        "reproduce", help="make the missing runs of experiments and print their tables", formatter_class=shown
    )
    running.add_argument(
        "names", nargs="*", type=experiment_name, default=(*EXPERIMENTS, *COMPUTED), metavar="NAME",
        help=f"{' | '.join((*EXPERIMENTS, *COMPUTED))}; all of them if none is named",
    )  # fmt: skip
    running.add_argument("--scale", choices=SCALES, default=SCALES[0], help="minutes, hours, or days")
    running.add_argument("--seeds", type=int, default=5, help="repetitions of each row")
    running.add_argument("--out", type=Path, default=Path("results"), help="folder of the results")
    running.add_argument("--dry-run", action="store_true", help="only list what is missing, with its hours")
    add_workers(running, "runs")
    running.add_argument("--device", default="cpu", help="cpu or cuda")
    running.add_argument("--data-note", help="what is special about your copy of the data, for every line")
    running.set_defaults(run=reproduce)

    tracing = commands.add_parser("trace", help="the runs behind a row of a table", formatter_class=shown)
    tracing.add_argument("name", choices=tuple(EXPERIMENTS), metavar="NAME", help=" | ".join(EXPERIMENTS))
    tracing.add_argument("row", nargs="?", help="as the table calls it; all rows without it")
    tracing.add_argument("--scale", choices=SCALES, default=SCALES[0], help="of the table")
    tracing.add_argument("--data", help="of the table; all data sets without it")
    tracing.add_argument("--out", type=Path, default=Path("results"), help="folder of the results")
    tracing.set_defaults(run=show_runs)

    estimates = commands.add_parser(
        "estimates", help="accuracy before and after training, device by device", formatter_class=shown
    )
    estimates.add_argument("--scale", choices=tuple(BUDGETS), default="chapter", help="a minute, or hours")
    estimates.add_argument("--out", type=Path, help="a file .jsonl to keep and continue the results in")
    add_workers(estimates, "devices")
    estimates.set_defaults(run=run_estimates)

    exporting = commands.add_parser("export", help="files for the bench and the clean room")
    kinds = exporting.add_subparsers(required=True, metavar="WHAT")
    add_slm(kinds.add_parser("slm", help="pictures for an SLM from a student"))
    add_layout(kinds.add_parser("layout", help="GDSII or OASIS from a metasurface"))
    add_student(kinds.add_parser("student", help="show a student, or give it other optics"))

    add_release(commands.add_parser("release", help="exercises for students from notebooks with solutions"))
    add_grade(commands.add_parser("grade", help="points for what students handed in", formatter_class=shown))
    return top


def add_workers(command: argparse.ArgumentParser, what: str) -> None:
    """Give a command the choice between processes of this computer and a cluster."""
    choice = command.add_mutually_exclusive_group()
    choice.add_argument("--jobs", type=int, default=1, help=f"{what} at a time, of one thread each")
    choice.add_argument("--dask", metavar="tcp://HOST:PORT", help="let the workers of a Dask cluster do it")


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
    rows, columns = text.split("x")
    return int(rows), int(columns)


@contextmanager
def workers(options: argparse.Namespace) -> Iterator[int | None]:
    """Give the jobs that were asked for; None on a cluster, which decides for itself."""
    if options.dask is None:
        yield options.jobs
    else:
        with on_cluster(options.dask):
            yield None


def tell(text: str) -> None:
    """Print progress where it does not mix with the tables."""
    if is_first():
        print(text, file=sys.stderr, flush=True)


def experiment_name(text: str) -> str:
    """Return the name of an experiment, or of what is computed at once."""
    names = (*EXPERIMENTS, *COMPUTED)
    if text not in names:
        raise argparse.ArgumentTypeError(f"{text!r} must be one of {', '.join(names)}")
    return text


def reproduce(options: argparse.Namespace) -> int:
    """Make the runs of experiments that are missing, and print their tables; or tell what is missing.

    The exit status is 1 if runs failed.
    """
    names = dict.fromkeys(options.names)
    experiments = [EXPERIMENTS[name](options.scale) for name in names if name in EXPERIMENTS]
    plans = [plan(experiment, options.out, seeds=options.seeds) for experiment in experiments]
    planned = [one for rows in plans for one in rows]
    if options.dry_run:
        print(format_plan(planned))
        return 0
    with process_group(options.device), workers(options) as jobs:
        progress = Progress(planned)
        tell(f"{sum(one.runs for one in planned)} runs, {progress.runs} of them to be made")
        texts, failed = [], 0
        for experiment in experiments:
            lines = run(
                experiment,
                options.out,
                seeds=options.seeds,
                jobs=jobs,
                device=options.device,
                data_note=options.data_note,
                progress=progress,
                report=tell,
            )
            texts.append(plain_tables(experiment, lines))
            failed += sum(line["error"] is not None for line in lines)
        texts += [COMPUTED[name](options.scale) for name in names if name in COMPUTED]
        if is_first():
            print("\n\n".join(texts))
        if failed:
            tell(
                f"{failed} runs failed; their lines in {options.out} hold the tracebacks, "
                "and the same command tries them again"
            )
    return 1 if failed else 0


def show_runs(options: argparse.Namespace) -> None:
    """Print the runs of each row that was asked for."""
    experiment = EXPERIMENTS[options.name](options.scale)
    rows = [row for row in experiment.rows if options.data in (None, row.data)]
    asked = [row for row in rows if options.row in (None, row.name)]
    if not asked:
        known = ", ".join(dict.fromkeys(f"{row.name!r} ({row.data})" for row in experiment.rows))
        raise TraceError(f"ROW and --data must be those of a row of this table, which has {known}")
    lines = read(options.out / f"{experiment.name}.jsonl")
    print("\n\n".join(format_trace(experiment, row, lines) for row in asked))


def run_estimates(options: argparse.Namespace) -> None:
    """Estimate and train devices, and print how well the two agree."""
    with process_group(), workers(options) as jobs:
        lines = compare_estimates(DEVICES, BUDGETS[options.scale], out=options.out, jobs=jobs, report=tell)
    print(format_estimates(lines))


def list_data(options: argparse.Namespace) -> None:
    """Print a line for each data set: name, size, where it is."""
    rows = [
        (SHIPPED, 11_000, "1, 28, 28", "in the package", f"Part of {SOURCES['mnist'].credit}"),
        (MADE, 1_500, "1, 64, 64", "made on the spot", SCENES),
    ]
    for name, source in SOURCES.items():
        size = "" if source.megabytes is None else f" ({source.megabytes:.0f} MB)"
        here = "yes" if local_path(name).is_file() else f"no{size}"
        rows.append((name, source.size, ", ".join(map(str, source.shape)), here, source.credit))
    yours = "yes" if (data_folder() / FOLDER).is_dir() else "bring your own"
    rows.append((FOLDER, 5_088, "3, any size", yours, CARVANA))
    print(f"{'name':15}{'images':>8}  {'channels, ny, nx':18}{'here':18}credit")
    for name, images, shape, here, credit in rows:
        print(f"{name:15}{images:8}  {shape:18}{here:18}{credit}")


def export(options: argparse.Namespace) -> None:
    """Run an export; what the library refuses becomes one line."""
    try:
        options.export(options)
    except (ValueError, TypeError, OSError, ImportError) as error:
        raise ExportError(str(error)) from error


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
