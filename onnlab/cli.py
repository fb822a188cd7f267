"""The command line: ``onnlab data list | fetch NAME | path``, and ``onnlab run NAME``."""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from onnlab.data import DataError, data_folder, fetch
from onnlab.data.cache import FOLDER, MADE, SHIPPED, local_path
from onnlab.data.carvana import CREDIT as CARVANA
from onnlab.data.scenes import CREDIT as SCENES
from onnlab.data.sources import SOURCES
from onnlab.experiments import EXPERIMENTS, SCALES, format_table, run, table


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command, ``sys.argv`` if none is given, and return its exit status."""
    options = parser().parse_args(arguments)
    try:
        options.run(options)
    except DataError as error:
        print(f"onnlab: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("onnlab: interrupted; the same command goes on from here", file=sys.stderr)
        return 130
    return 0


def parser() -> argparse.ArgumentParser:
    """Return the parser of all commands; each sets ``run``, which takes the parsed options."""
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
    running = commands.add_parser("run", help="make the missing runs of an experiment", formatter_class=shown)
    running.add_argument("name", choices=tuple(EXPERIMENTS), metavar="NAME", help=" | ".join(EXPERIMENTS))
    running.add_argument("--scale", choices=SCALES, default=SCALES[0], help="minutes, or hours")
    running.add_argument("--seeds", type=int, default=5, help="repetitions of each row")
    running.add_argument("--out", type=Path, default=Path("results"), help="folder of the results")
    running.add_argument("--jobs", type=int, default=1, help="runs at a time, of one thread each")
    running.add_argument("--device", default="cpu", help="cpu or cuda")
    running.add_argument("--data-note", help="what is special about your copy of the data, for every line")
    running.set_defaults(run=run_experiment)
    return top


def run_experiment(options: argparse.Namespace) -> None:
    """Make the runs of an experiment that are missing, and print its table."""
    lines = run(
        EXPERIMENTS[options.name](options.scale),
        options.out,
        seeds=options.seeds,
        jobs=options.jobs,
        device=options.device,
        data_note=options.data_note,
        report=lambda text: print(text, file=sys.stderr, flush=True),
    )
    print(format_table(table(lines)))


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
