"""One run: train or build what its settings say, test it once, and tell what came of it."""

import hashlib
import platform
import subprocess
import time
import traceback
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import torch
from torch import Generator, Tensor, nn

import onnlab
from onnlab.data import Dataset
from onnlab.data.sources import SOURCES
from onnlab.distill import (
    KD,
    NTKD,
    CrossEntropy,
    Dice,
    History,
    Objective,
    evaluate,
    fit,
    load_checkpoint,
    save_checkpoint,
    segmentation_scores,
)
from onnlab.distill.parallel import is_first, meet, processes
from onnlab.experiments.devices import device
from onnlab.experiments.energy import Meter
from onnlab.experiments.frozen import is_frozen, seen_by_back_end
from onnlab.experiments.lines import Line
from onnlab.experiments.parts import AUGMENTATIONS, KERNELS, NETWORKS, TASKS
from onnlab.experiments.settings import VERSION, Row, Run
from onnlab.hardware import KernelClassifier, compensate
from onnlab.hardware.estimate import RIDGES
from onnlab.hardware.fabrication import Exposed
from onnlab.networks import HybridClassifier, HybridSegmenter, linear_counterpart


@dataclass(frozen=True)
class Place:
    """Where runs are made, and what is written down about it.

    Parameters
    ----------
    folder : Path
        For the weights of teachers and students, and for trainings that are under way.
    device : str
        See :func:`onnlab.distill.fit`.
    commit : str, optional
        See :func:`commit`.
    data_note : str, optional
        What is unusual about the copy of the data.
    progress : bool
        Show on standard error how far the training is.
    """

    folder: Path
    device: str = "cpu"
    commit: str | None = None
    data_note: str | None = None
    progress: bool = False


def build(row: Row, image_shape: tuple[int, int, int], classes: int) -> nn.Module:
    """Return the network of a row, with weights by torch's global generator."""
    channels, ny, nx = image_shape
    size = ny if ny == nx else (ny, nx)
    network = NETWORKS[row.network](channels=channels, classes=classes, image_size=size)
    if row.front == "nonlinear":
        return network
    rectified = row.front == "relu-in-pool"
    return linear_counterpart(network, image_shape, relu_in_pool=rectified, copy_weights=False)


def execute(run: Run, place: Place) -> Line:
    """Return what belongs into the line of a run, without the names of experiment, scale and row.

    A run that fails is a result, too: its traceback becomes the ``error``. Only an interruption gets through.
    """
    line: Line = {
        "key": run.key,
        "seed": run.seed,
        "version": VERSION,
        "settings": run.settings,
        "commit": place.commit,
        "versions": {
            "onnlab": onnlab.__version__,
            "python": platform.python_version(),
            "torch": torch.__version__,
        },
        "device": _device_name(place.device),
        "data_note": place.data_note,
        "error": None,
    }
    place.folder.mkdir(parents=True, exist_ok=True)  # on another machine it may be missing
    torch.set_num_threads(1)  # the runs share the processor, and results depend on the number of threads
    try:
        return {**line, **_results(run, place)}
    except Exception as error:
        meet()  # raises, and ends all, where the others did not fail alike
        return {**line, "error": _traceback(error)}


def trained(run: Run, place: Place) -> tuple[nn.Module, History | None]:
    """Train the network of a run, and teacher and student before it if they are not in the folder.

    Of what is built, only the back end is trained. There is no history if it is left as it was built, or if
    the network is solved in closed form.
    """
    row, data = run.row, _images(run)
    under_way = _under_way(run, place)
    settings: dict[str, Any] = {
        "epochs": row.epochs,
        "seed": run.seed,
        "batch_size": row.batch_size,
        "learning_rate": run.trial.learning_rate,
        "augment": AUGMENTATIONS[row.augment],
        "checkpoint": under_way,
        "device": place.device,
        "fixed_batches": _fixed_batches(row),
        "progress": place.progress,
    }
    if run.student is None:
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(run.seed)
            model = build(row, _image_shape(data), len(data.classes))
        if isinstance(model, KernelClassifier):
            model.learn(data, RIDGES)
            return model, None
        learner = model
        # A teacher sees the images themselves, and augmented ones are new each time.
        if is_frozen(model) and run.teacher is None and row.augment == "none":
            data, learner = seen_by_back_end(model.eval(), data, place.device), model.back_end
        settings["channels_last"] = channels_last(model)
        history = fit(learner, data, _objective(run, place), **settings)
        if is_first():
            save_checkpoint(_weights(run, place), model, dict(history.recipe))
        meet()  # the others read that file
    else:
        assert row.process is not None
        model = device(_recalled(run.student, place), row.process, run.seed).to(place.device)
        if row.epochs == 0:
            return model, None
        theirs = _images(run.student)
        fraction = len(data.train) / len(theirs.train)
        settings["channels_last"] = channels_last(model)
        history = compensate(model, theirs, _objective(run, place), fraction, **settings)
    under_way.unlink(missing_ok=True)
    return model, history


def channels_last(model: nn.Module) -> bool:
    """Whether a network learns faster with the channels of a pixel beside each other, as measured on a CPU.

    A single convolution in front of a pool and linear layers does not: gradients come back from these in the
    other layout, and are copied. ``tests/benchmarks/bench_training.py`` prints the ratios.
    """
    return not isinstance(model, HybridClassifier)


def _images(run: Run) -> Dataset:
    """Return the data set with the training images of a run. What is built has a part of its student's."""
    data = dataset(run.row.data)[0] if run.student is None else _images(run.student)
    if run.row.labels is None:
        return data
    few = data.train.subset(run.row.labels, run.seed)
    return Dataset(data.name, few, data.validation, data.test, data.classes, data.credit)


@lru_cache(maxsize=2)
def dataset(name: str) -> tuple[Dataset, str]:
    """Return a data set, and the SHA-256 of all its pixels and labels in their splits."""
    data = TASKS[name]()
    digest = hashlib.sha256()
    for split in (data.train, data.validation, data.test):
        digest.update(split.pixels.numpy().tobytes())
        digest.update(split.labels.numpy().tobytes())
    return data, digest.hexdigest()


def commit() -> str | None:
    """Return the commit of the checkout that this package lies in, None if there is none.

    It ends in ``+changes`` if a module on which results depend differs from what is committed.
    """
    package = Path(onnlab.__file__).parent
    names = ("data", "optics", "networks", "distill", "hardware", "experiments")
    parts = [str(package / name) for name in names]

    def git(*arguments: str) -> str:
        done = subprocess.run(["git", *arguments], cwd=package, capture_output=True, text=True, check=True)
        return done.stdout.strip()

    try:
        changed = git("status", "--porcelain", "--", *parts)
        return git("rev-parse", "HEAD") + ("+changes" if changed else "")
    except (OSError, subprocess.CalledProcessError):
        return None


def _results(run: Run, place: Place) -> dict[str, Any]:
    data, digest = dataset(run.row.data)
    before = [_weights(other, place) for other in (run.teacher, run.student) if other is not None]
    # Each of several processes meters its own GPU or machine: none of them knows the whole.
    alone = processes() == 1 and all(file.exists() for file in before)
    at_once_and_alone = alone and not _under_way(run, place).exists()
    start = time.perf_counter()
    with Meter(place.device) as meter:
        model, history = trained(run, place)
    elapsed = time.perf_counter() - start
    at_once = 16 if _pixels(data) else 500  # logits of pixels are as large as images
    seconds = 0.0 if history is None else float(history["seconds"].sum())
    if not (run.teacher or run.student):  # what is no epoch counts, too: readings taken once, closed forms
        seconds = max(seconds, elapsed)
    if run.student is not None:
        # A built camera has its noise: what counts are the answers to single pictures.
        assert isinstance(model, (HybridClassifier, HybridSegmenter))
        if isinstance(model, HybridClassifier):
            model = _Shown(model, _pictures(run.student, run.row.process, run.seed, place.device))
        else:
            model = Exposed(model, Generator(place.device).manual_seed(run.seed))
    if run.student is None and history is not None:
        loss, accuracy = history.best.validation_loss, history.best.validation_accuracy
    else:
        scores = evaluate(model, data.validation, batch_size=at_once)
        loss, accuracy = scores.loss, scores.accuracy
    note = None
    source = SOURCES.get(data.name.partition(":")[0])
    if source is not None:  # the credit tells if the pixels are not those of the published file
        note = data.credit.removeprefix(source.credit).removeprefix("; ") or None
    miou = {}
    if _pixels(data):
        splits = {"test": data.test, "validation": data.validation}
        miou = {f"{name}_miou": segmentation_scores(model, split).miou for name, split in splits.items()}
    return {
        **miou,
        "test_accuracy": evaluate(model, data.test, batch_size=at_once).accuracy,
        "validation_accuracy": accuracy,
        "validation_loss": loss,
        "epoch": 0 if history is None else history.kept,
        "parameters": sum(parameter.numel() for parameter in model.parameters()),
        "seconds": round(seconds, 2),
        "joules": meter.joules if at_once_and_alone else None,
        "data_sha256": digest,
        "data_note": place.data_note or note,
    }


class _Pictures:
    """What the back ends of one device get to see of each batch: pictures that are taken once."""

    def __init__(self, generator: Generator) -> None:
        self.generator = generator
        self.maps: dict[bytes, Tensor] = {}


@lru_cache(maxsize=1)
def _pictures(student: Run, process: str | None, seed: int, device: str) -> _Pictures:
    """Return the pictures of a device; all runs with that device share them."""
    return _Pictures(Generator(device).manual_seed(seed))


class _Shown(nn.Module):
    """A built classifier that answers to the pictures of its device. Taking them is most of the work."""

    def __init__(self, model: HybridClassifier, pictures: _Pictures) -> None:
        super().__init__()
        self.model, self.pictures = model, pictures

    def forward(self, x: Tensor) -> Tensor:
        key = hashlib.sha256(x.cpu().numpy().tobytes()).digest()
        maps = self.pictures.maps
        if key not in maps:
            maps[key] = self.model.pool(self.model.optics(x, self.pictures.generator))
        return self.model.back_end(maps[key])


def _objective(run: Run, place: Place) -> Objective:
    row, trial = run.row, run.trial
    labels: Objective = CrossEntropy(trial.label_smoothing or 0.0)
    overlap = [Dice()] if _pixels(dataset(row.data)[0]) and row.alpha != 1 else []  # 1: no labels
    labels = sum(overlap, labels)
    if run.teacher is None:
        return labels
    # The layout of its weights is that in which a convolution works, whatever that of the images.
    teacher = _recalled(run.teacher, place)
    teacher.to(memory_format=torch.channels_last)  # type: ignore[call-overload]  # missing in its annotations
    answers: Objective | None = None
    if trial.temperature is not None and row.alpha is not None:
        answers = sum(overlap, KD(teacher, trial.temperature, row.alpha))
    if trial.beta is None or row.kernel is None:
        return answers or labels
    options = {**KERNELS[row.kernel], "remember": _fixed_batches(row)}
    return (answers or labels) + NTKD(teacher, trial.beta, alpha=0.0, **options)


def _pixels(data: Dataset) -> bool:
    """Whether each pixel has a label."""
    return data.train.labels.ndim == 3


def _fixed_batches(row: Row) -> bool:
    """Whether batches come again just as they were, so that the teacher's kernels can be kept."""
    return row.kernel is not None and "projections" not in KERNELS[row.kernel] and row.augment == "none"


def _recalled(run: Run, place: Place) -> nn.Module:
    """Return the network of a run that comes before: from its file, or trained now."""
    if not _weights(run, place).exists():
        trained(run, place)
    # Read back even if just trained: the layout in memory, and so the rounding, is then always the same.
    data = dataset(run.row.data)[0]
    with torch.random.fork_rng(devices=[]):
        model = build(run.row, _image_shape(data), len(data.classes))
    load_checkpoint(_weights(run, place), model)
    return model


def _weights(run: Run, place: Place) -> Path:
    return place.folder / f"{run.key}.safetensors"


def _under_way(run: Run, place: Place) -> Path:
    """The file of a training that goes on after an interruption."""
    return place.folder / f"{run.key}.state"


def _image_shape(data: Dataset) -> tuple[int, int, int]:
    channels, ny, nx = data.train.pixels.shape[1:]
    return channels, ny, nx


def _device_name(device: str) -> str:
    name = torch.cuda.get_device_name(device) if torch.device(device).type == "cuda" else device
    return name if processes() == 1 else f"{processes()} x {name}"


def _traceback(error: Exception) -> str:
    """The traceback with the names of files only: where they lie on this computer is nobody's business."""
    frames = traceback.extract_tb(error.__traceback__)
    lines = [f"{Path(frame.filename).name}:{frame.lineno} in {frame.name}: {frame.line}" for frame in frames]
    return "\n".join([*lines, f"{type(error).__name__}: {error}"])
