"""From a run to its line: who made it, on what, in how many seconds, and with which scores or which error."""

import math
import platform
import subprocess
import time
import traceback
from functools import cache
from pathlib import Path
from typing import Any

import torch
from torch import nn

import onnlab
from onnlab.data import Dataset
from onnlab.data.sources import SOURCES
from onnlab.distill import History
from onnlab.distill.parallel import meet, processes
from onnlab.experiments.energy import Meter
from onnlab.experiments.lines import Copy, Line, LineError, check_copies
from onnlab.experiments.runs.images import dataset
from onnlab.experiments.runs.scoring import scores
from onnlab.experiments.runs.training import Workspace, alone_with, end, is_made, trained, under_way_file
from onnlab.experiments.settings import VERSION, Run


def execute(run: Run, workspace: Workspace) -> Line:
    """Return what belongs into the line of a run, without the names of experiment, scale and row.

    A run that fails is a result, too: its traceback becomes the ``error``. Only an interruption gets through,
    and what no run could mend.

    Raises
    ------
    LineError
        If the data are another copy than that of the lines at hand. Nothing is trained.
    """
    device = workspace.device
    try:
        device = device_name(workspace.device)
        workspace.folder.mkdir(parents=True, exist_ok=True)  # on another machine it may be missing
        torch.set_num_threads(1)  # the runs share the processor, and results depend on the number of threads
        return {**_head(run, workspace, device), **_results(run, workspace)}
    except LineError:
        raise
    except Exception as error:
        meet()  # raises, and ends all, where the others did not fail alike
        return {**_head(run, workspace, device), "error": traceback_of(error)}


def failed(run: Run, workspace: Workspace, error: Exception) -> Line:
    """Return what :func:`execute` would, of a run whose process or machine failed instead."""
    return {**_head(run, workspace, workspace.device), "error": traceback_of(error)}


def _head(run: Run, workspace: Workspace, device: str) -> Line:
    return {
        "key": run.key,
        "seed": run.seed,
        "version": VERSION,
        "settings": run.settings,
        **machinery(device),
        "data_note": workspace.data_note,
        "error": None,
    }


def machinery(device: str) -> dict[str, Any]:
    """Return what a line says of the code and the machine, whose device has this name."""
    versions = {
        "onnlab": onnlab.__version__,
        "python": platform.python_version(),
        "torch": torch.__version__,
    }
    return {"commit": commit(), "versions": versions, "device": device}


@cache  # of the code that was imported, whatever is checked out while it runs
def commit() -> str | None:
    """Return the commit of the checkout that this package belongs to, None if there is none.

    It ends in ``+changes`` if a module on which results depend differs from what is committed. A package
    that was installed into the folder of another project belongs to none.
    """
    package = Path(onnlab.__file__).parent
    names = ("data", "optics", "networks", "distill", "hardware", "experiments")
    parts = [str(package / name) for name in names]

    def git(*arguments: str) -> str:
        done = subprocess.run(["git", *arguments], cwd=package, capture_output=True, text=True, check=True)
        return done.stdout.strip()

    try:
        git("ls-files", "--error-unmatch", "__init__.py")
        changed = git("status", "--porcelain", "--", *parts)
        return git("rev-parse", "HEAD") + ("+changes" if changed else "")
    except (OSError, subprocess.CalledProcessError):
        return None


def _results(run: Run, workspace: Workspace) -> dict[str, Any]:
    data, digest = dataset(run.row.data)
    check_copies({*workspace.copies, Copy(run.row.data, digest, workspace.data_note or _note(data))})
    with alone_with(run, workspace):
        model, history, spent = _metered(run, workspace)
        found = scores(run, model, history, data, workspace.device)
        end(run, workspace)
    if not math.isfinite(found["validation_loss"]):
        loss = found["validation_loss"]
        raise FloatingPointError(f"validation_loss must be finite, got {loss}; it diverged")
    return {
        **found,
        "epoch": 0 if history is None else history.kept,
        "parameters": sum(parameter.numel() for parameter in model.parameters()),
        **spent,
        "data_sha256": digest,
        "data_note": workspace.data_note or _note(data),
    }


def _metered(run: Run, workspace: Workspace) -> tuple[nn.Module, History | None, dict[str, float | None]]:
    """Train the network of a run; return it with its history, and the seconds and joules that it took."""
    before = [is_made(other, workspace) for other in (run.teacher, run.student) if other is not None]
    # Each of several processes meters its own GPU or machine: none of them knows the whole.
    alone = processes() == 1 and all(before)
    at_once_and_alone = alone and not under_way_file(run, workspace).exists()
    start = time.perf_counter()
    with Meter(workspace.device) as meter:
        model, history = trained(run, workspace)
    elapsed = time.perf_counter() - start
    seconds = 0.0 if history is None else float(history["seconds"].sum())
    if not (run.teacher or run.student):  # what is no epoch counts, too: readings taken once, closed forms
        seconds = max(seconds, elapsed)
    joules = meter.joules if at_once_and_alone else None
    return model, history, {"seconds": round(seconds, 2), "joules": joules}


def _note(data: Dataset) -> str | None:
    """What the credit adds to that of the published file: it tells if the pixels are not those of it."""
    source = SOURCES.get(data.name.partition(":")[0])
    if source is None:
        return None
    return data.credit.removeprefix(source.credit).removeprefix("; ") or None


def device_name(device: str) -> str:
    """Return the name of a GPU, or ``cpu``, and how many work together."""
    name = torch.cuda.get_device_name(device) if torch.device(device).type == "cuda" else device
    return name if processes() == 1 else f"{processes()} x {name}"


def traceback_of(error: Exception) -> str:
    """The traceback with the names of files only: where they lie on this computer is nobody's business."""
    frames = traceback.extract_tb(error.__traceback__)
    lines = [f"{Path(frame.filename).name}:{frame.lineno} in {frame.name}: {frame.line}" for frame in frames]
    return "\n".join([*lines, f"{type(error).__name__}: {error}"])
