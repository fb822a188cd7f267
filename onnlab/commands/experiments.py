"""``onnlab reproduce``, ``trace``, ``estimates``, ``speed``: experiments, and what is behind their tables."""

import argparse
import re
import sys
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path

import torch

from onnlab.commands.common import CommandError, check_file, check_folder, count, ended_as_by_ctrl_c
from onnlab.distill import is_first, process_group
from onnlab.distill.parallel import is_torchrun, processes
from onnlab.experiments import (
    BUDGETS,
    DEVICES,
    EXPERIMENTS,
    SCALES,
    ClusterError,
    Experiment,
    Planned,
    Progress,
    compare_estimates,
    format_estimates,
    format_plan,
    measure_speeds,
    on_cluster,
    plan,
    read,
    rehearse,
    run,
    speed_tables,
    write_speeds,
)
from onnlab.experiments.consumption import COMPUTED
from onnlab.experiments.lines import is_settled
from onnlab.experiments.report import part, plain_tables
from onnlab.experiments.runs.execution import device_name
from onnlab.experiments.trace import format_trace


def add_reproduce(command: argparse.ArgumentParser) -> None:
    """Give ``reproduce`` its arguments."""
    command.add_argument(
        "names", nargs="*", type=experiment_name, default=(*EXPERIMENTS, *COMPUTED), metavar="NAME",
        help=f"{' | '.join((*EXPERIMENTS, *COMPUTED))}; all of them if none is named",
    )  # fmt: skip
    command.add_argument("--scale", choices=SCALES, default=SCALES[0], help="minutes, hours, or days")
    command.add_argument("--data", help="only rows about this data set, such as mnist; all without it")
    command.add_argument("--seeds", type=count, default=5, help="repetitions of each row")
    command.add_argument("--out", type=Path, default=Path("results"), help="folder of the results")
    only = command.add_mutually_exclusive_group()
    only.add_argument("--dry-run", action="store_true", help="only list what is missing, with its hours")
    only.add_argument("--rehearse", action="store_true", help="only try a few batches of rows never run")
    add_workers(command, "runs")
    command.add_argument("--device", default="cpu", help="cpu or cuda")
    command.add_argument("--data-note", help="what is special about your copy of the data, for every line")
    command.set_defaults(run=reproduce, resumes=lambda options: True)


def add_trace(command: argparse.ArgumentParser) -> None:
    """Give ``trace`` its arguments."""
    command.add_argument("name", choices=tuple(EXPERIMENTS), metavar="NAME", help=" | ".join(EXPERIMENTS))
    command.add_argument("row", nargs="?", help="as the table calls it; all rows without it")
    command.add_argument("--scale", choices=SCALES, default=SCALES[0], help="of the table")
    command.add_argument("--data", help="of the table; all data sets without it")
    command.add_argument("--out", type=Path, default=Path("results"), help="folder of the results")
    command.set_defaults(run=show_runs)


def add_estimates(command: argparse.ArgumentParser) -> None:
    """Give ``estimates`` its arguments."""
    command.add_argument("--scale", choices=tuple(BUDGETS), default="chapter", help="a minute, or hours")
    command.add_argument("--out", type=Path, help="a file .jsonl to keep and continue the results in")
    add_workers(command, "devices")
    command.set_defaults(run=run_estimates, resumes=lambda options: options.out is not None)


def add_speed(command: argparse.ArgumentParser) -> None:
    """Give ``speed`` its arguments."""
    command.add_argument("--rounds", type=count, default=7, help="how often each method takes its turn")
    command.add_argument("--out", type=Path, help="a file .jsonl to write in place of the one before")
    command.add_argument("--device", default="cpu", help="cpu or cuda")
    command.set_defaults(run=show_speeds)


def add_workers(command: argparse.ArgumentParser, what: str) -> None:
    """Give a command the choice between processes of this computer and a cluster."""
    choice = command.add_mutually_exclusive_group()
    choice.add_argument("--jobs", type=count, default=1, help=f"{what} at a time, of one thread each")
    choice.add_argument("--dask", metavar="tcp://HOST:PORT", help="let the workers of a Dask cluster do it")


@contextmanager
def workers(options: argparse.Namespace) -> Iterator[int | None]:
    """Give the jobs that were asked for; None on a cluster, which decides for itself."""
    with ExitStack() as stack:
        if processes() == 1:  # torchrun ends its processes by itself
            stack.enter_context(ended_as_by_ctrl_c())
        if options.dask is not None:
            stack.enter_context(on_cluster(options.dask))
        yield options.jobs if options.dask is None else None


def tell(text: str) -> None:
    """Print progress where it does not mix with the tables."""
    if is_first():
        print(text, file=sys.stderr, flush=True)


def check_device(name: str, elsewhere: bool = False) -> None:
    """Raise unless the device is there. Those of a cluster are its workers', who tell by failed runs."""
    wanted = re.fullmatch(r"cpu|cuda(:(?P<number>\d+))?", name)
    if wanted is None:
        raise CommandError(f"--device must be cpu or cuda, got {name!r}")
    there = torch.cuda.device_count()
    if name != "cpu" and not elsewhere and int(wanted["number"] or 0) >= there:
        raise CommandError(
            f"--device must be there, but PyTorch finds {there} GPUs and {name!r} was asked for; "
            "leave it out to compute on the CPU"
        )


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
    check_device(options.device, elsewhere=options.dask is not None)
    check_folder(options.out, "--out", write=False)  # complete results are shown from anywhere
    experiments = asked_for(options)
    if options.rehearse:
        return show_rehearsals(experiments, options)
    planned = planned_for(experiments, options)
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
            failed += sum(not is_settled(line) for line in lines)
        if options.data is None:  # what is computed is about networks
            texts += [COMPUTED[name](options.scale) for name in COMPUTED if name in options.names]
        if is_first():
            print("\n\n".join(texts))
        if failed:
            tell(
                f"{failed} runs failed; their lines in {options.out} hold the tracebacks, "
                "and the same command tries them again"
            )
    return 1 if failed else 0


def asked_for(options: argparse.Namespace) -> list[Experiment]:
    """Return the experiments that were named, or those parts of them that are about one data set."""
    names = dict.fromkeys(name for name in options.names if name in EXPERIMENTS)
    whole = [EXPERIMENTS[name](options.scale) for name in names]
    if options.data is None:
        return whole
    known = dict.fromkeys(row.data for one in whole for row in one.rows)
    if options.data not in known:
        raise CommandError(
            f"--data must be a data set of these tables, which have {', '.join(known) or 'none'}, "
            f"got {options.data!r}"
        )
    return [part(one, options.data) for one in whole if any(row.data == options.data for row in one.rows)]


def planned_for(experiments: Sequence[Experiment], options: argparse.Namespace) -> list[Planned]:
    """Return what each row still needs, with the seconds of runs on the device that was asked for."""
    name = None if options.dask is not None else device_name(options.device)  # a cluster's may be any
    return [one for each in experiments for one in plan(each, options.out, seeds=options.seeds, device=name)]


def show_rehearsals(experiments: Sequence[Experiment], options: argparse.Namespace) -> int:
    """Rehearse rows that were never run, and print the plan that this makes; 1 if some do not run."""
    if options.dask is not None or options.jobs != 1 or is_torchrun():
        raise ClusterError(
            "--rehearse takes the time of one row after the other: leave out --jobs, --dask and torchrun"
        )
    rehearse(experiments, options.out, device=options.device, report=tell)
    planned = planned_for(experiments, options)
    print(format_plan(planned))
    return 1 if any(one.broken for one in planned) else 0


def show_runs(options: argparse.Namespace) -> None:
    """Print the runs of each row that was asked for."""
    experiment = EXPERIMENTS[options.name](options.scale)
    rows = [row for row in experiment.rows if options.data in (None, row.data)]
    asked = [row for row in rows if options.row in (None, row.name)]
    if not asked:
        known = ", ".join(dict.fromkeys(f"{row.name!r} ({row.data})" for row in experiment.rows))
        got = " on ".join(repr(one) for one in (options.row, options.data) if one is not None)
        others = " or ".join(f"--scale {scale}" for scale in SCALES if scale != options.scale)
        raise CommandError(
            f"ROW and --data must be those of a row of this table, got {got}; at the scale {options.scale} "
            f"it has {known}. {others} has other rows"
        )
    path = options.out / f"{experiment.name}.jsonl"
    if not path.is_file():
        raise CommandError(
            f"--out must be a folder with results of {experiment.name}, and there is no {path}; "
            f"`onnlab reproduce {experiment.name} --scale {options.scale} --out {options.out}` makes them"
        )
    lines = read(path)
    print("\n\n".join(format_trace(experiment, row, lines) for row in asked))


def run_estimates(options: argparse.Namespace) -> None:
    """Estimate and train devices, and print how well the two agree."""
    if options.out is not None:
        check_file(options.out, "--out")
    with process_group(), workers(options) as jobs:
        lines = compare_estimates(DEVICES, BUDGETS[options.scale], out=options.out, jobs=jobs, report=tell)
    print(format_estimates(lines))


def show_speeds(options: argparse.Namespace) -> None:
    """Measure how fast each method learns, keep it if there is a file, and print it."""
    check_device(options.device)
    if options.out is not None:
        check_file(options.out, "--out")
        options.out.parent.mkdir(parents=True, exist_ok=True)
    speeds = measure_speeds(rounds=options.rounds, device=options.device, report=tell)
    if options.out is not None:
        write_speeds(options.out, speeds)
    print(speed_tables(speeds))
