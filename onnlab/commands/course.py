"""The commands of a course: ``onnlab release SOURCE OUT`` and ``onnlab grade SUBMISSIONS``.

Nothing of Jupyter is imported before one of them runs, so that the command line is complete without it.
"""

import argparse
import sys
from collections.abc import Callable
from pathlib import Path

from onnlab.commands.common import CommandError, check_folder, count


def add_release(command: argparse.ArgumentParser) -> None:
    """Give ``release`` its arguments."""
    command.add_argument("source", type=Path, help="folder of the notebooks with solutions")
    command.add_argument("out", type=Path, help="folder for those without")
    command.set_defaults(run=lambda options: _run(_release, options))


def add_grade(command: argparse.ArgumentParser) -> None:
    """Give ``grade`` its arguments."""
    command.description = (
        "Run what students handed in, STUDENT/chNN.ipynb or STUDENT/ASSIGNMENT/chNN.ipynb, each notebook in "
        "a sandbox without a network; write scores.csv and a page for each student."
    )
    command.add_argument("submissions", type=Path, help="folder with a folder for each student")
    command.add_argument(
        "--source", type=Path, default=Path("exercises/source"), help="folder of the notebooks with solutions"
    )
    command.add_argument("--out", type=Path, default=Path("report"), help="folder of the report")
    command.add_argument("--jobs", type=count, default=1, help="notebooks at a time")
    command.add_argument("--seconds", type=float, default=300.0, help="for a notebook")
    command.add_argument("--cell-seconds", type=float, default=60.0, help="for a cell")
    command.add_argument("--memory", type=float, default=4.0, help="for a notebook, in GB")
    command.add_argument(
        "--unprotected",
        action="store_true",
        help="without a sandbox: what students wrote can then do on this computer whatever you can",
    )
    command.set_defaults(run=lambda options: _run(_grade, options))


def _run(command: Callable[[argparse.Namespace], None], options: argparse.Namespace) -> None:
    """Run a command; what the library refuses becomes one line."""
    try:
        command(options)
    except ModuleNotFoundError as error:
        raise CommandError(f'this needs {error.name}; install it with pip install "onnlab[lab]"') from error
    except (ValueError, OSError, RuntimeError) as error:
        raise CommandError(str(error)) from error


def _release(options: argparse.Namespace) -> None:
    from onnlab.course.release import release_folder

    for path in release_folder(options.source, options.out):
        print(path)


def _grade(options: argparse.Namespace) -> None:
    from onnlab.course.grading import Student, grade
    from onnlab.course.report import write_page, write_report
    from onnlab.course.sandbox import Limits

    check_folder(options.out, "--out")
    done: list[Student] = []

    def finished(student: Student) -> None:
        done.append(student)
        write_page(student, options.out)  # what is done is kept, whatever becomes of the rest

    try:
        students = grade(
            options.submissions,
            options.source,
            jobs=options.jobs,
            limits=Limits(seconds=options.seconds, memory=options.memory * 1e9),
            cell_seconds=options.cell_seconds,
            protected=not options.unprotected,
            finished=finished,
        )
    except KeyboardInterrupt:
        if done:
            table = write_report(sorted(done, key=lambda one: one.name), options.out)[0]
            print(f"{table} has the {len(done)} students who were done", file=sys.stderr)
        raise
    print(write_report(students, options.out)[0])
    failed = [f"{one.name}/{two.notebook}" for one in students for two in one.notebooks if not two.begun]
    if failed:
        raise CommandError(
            f"{len(failed)} notebooks ended before their first answer, which no student did, and their "
            f"points say nothing: {failed[0]}{' and others' * (len(failed) > 1)}; its page has the reason"
        )
