"""The command line: one parser for all commands, which lie in :mod:`onnlab.commands`."""

import argparse
import sys
from collections.abc import Sequence

from onnlab.commands.common import CommandError
from onnlab.commands.course import add_grade, add_release
from onnlab.commands.data import add_data
from onnlab.commands.experiments import add_estimates, add_reproduce, add_speed, add_trace
from onnlab.commands.export import add_export
from onnlab.data import DataError
from onnlab.experiments import ClusterError, LineError


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command, ``sys.argv`` if none is given, and return its exit status."""
    options = parser().parse_args(arguments)
    try:
        status: int | None = options.run(options)
    except (DataError, CommandError, ClusterError, LineError) as error:
        print(f"onnlab: {error}", file=sys.stderr)
        return 1
    except OSError as error:
        what = f"{error.filename}: {error.strerror}" if error.filename else error
        print(f"onnlab: {what}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        resumes = getattr(options, "resumes", lambda options: False)(options)
        rest = "goes on from here" if resumes else "starts anew"
        print(f"onnlab: interrupted; the same command {rest}", file=sys.stderr)
        return 130
    return status or 0


def parser() -> argparse.ArgumentParser:
    """Return the parser of all commands; each sets ``run``, which takes the parsed options.

    It returns an exit status, or nothing where all went well. A command that keeps what it has done also sets
    ``resumes``, which tells for the options whether the same command goes on after an interruption.
    """
    top = argparse.ArgumentParser(prog="onnlab", description="Optical neural networks, by command.")
    commands = top.add_subparsers(required=True, metavar="COMMAND")
    shown = argparse.ArgumentDefaultsHelpFormatter
    add_data(commands.add_parser("data", help="the data sets and where they are kept"))
    add_reproduce(
        commands.add_parser(
            "reproduce",
            help="make the missing runs of experiments and print their tables",
            formatter_class=shown,
        )
    )
    add_trace(commands.add_parser("trace", help="the runs behind a row of a table", formatter_class=shown))
    add_estimates(
        commands.add_parser(
            "estimates", help="accuracy before and after training, device by device", formatter_class=shown
        )
    )
    add_speed(
        commands.add_parser("speed", help="images a second of each method of training", formatter_class=shown)
    )
    add_export(commands.add_parser("export", help="files for the bench and the clean room"))
    add_release(commands.add_parser("release", help="exercises for students from notebooks with solutions"))
    add_grade(commands.add_parser("grade", help="points for what students handed in", formatter_class=shown))
    return top
