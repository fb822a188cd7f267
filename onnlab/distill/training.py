"""Training and testing: one loop in plain PyTorch, the same for every network and objective."""

import math
import os
import re
import time
from collections.abc import Callable
from pathlib import Path
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Generator, Tensor, nn

from onnlab.data import VOID, Dataset, Split
from onnlab.data._digest import digest
from onnlab.distill import _check as check
from onnlab.distill._progress import Progress
from onnlab.distill.augment import Augmentation
from onnlab.distill.checkpoint import read_state, write_state
from onnlab.distill.history import Epoch, History, Scores, best_of
from onnlab.distill.kd import checked_logits
from onnlab.distill.objectives import Batch, CrossEntropy, inference
from onnlab.distill.parallel import average_gradients, is_first, rank, same_start, shared
from onnlab.optics._check import positive_length, whole_number


def cosine(progress: float) -> float:
    r"""Fall from 1 to 0 as :math:`(1 + \cos \pi p) / 2`, over the progress :math:`p` from 0 to 1."""
    return (1 + math.cos(math.pi * progress)) / 2


def constant(progress: float) -> float:
    """Stay at 1."""
    return 1.0


def fit(
    model: nn.Module,
    data: Dataset,
    objective: Callable[[Batch], Tensor] = CrossEntropy(),  # noqa: B008  # frozen
    *,
    epochs: int,
    seed: int,
    batch_size: int = 64,
    learning_rate: float = 1e-3,
    optimiser: Callable[..., torch.optim.Optimizer] = torch.optim.Adam,
    schedule: Callable[[float], float] = cosine,
    augment: Augmentation | None = None,
    clip: float | None = None,
    keep: Literal["best", "last"] = "best",
    checkpoint: str | os.PathLike[str] | None = None,
    device: str | torch.device = "cpu",
    autocast: bool = False,
    channels_last: bool = False,
    fixed_batches: bool = False,
    progress: bool | str = True,
) -> History:
    """Train a network on ``data.train``; choose the best epoch on ``data.validation``; leave ``data.test``.

    The network is trained in place, moved to the device, and left in eval mode. All randomness (order,
    augmentation, dropout) follows from the seed and the epoch; the weights that you start from are yours to
    seed. On one computer, with the same number of threads, the same seed gives the same weights, bit by bit.
    Several processes can train one network together: see :func:`process_group`.

    Parameters
    ----------
    model : Module
        From images ``(n, channels, ny, nx)`` to logits ``(n, classes)`` or ``(n, classes, ny, nx)``.
    data : Dataset
        See :func:`onnlab.data.load`.
    objective : callable
        What to lower: :class:`CrossEntropy`, :class:`KD`, a sum of them, or a function from a
        :class:`Batch` to one number.
    epochs : int
        Passes over the training images.
    seed : int
        From 0; of the order, augmentation and dropout.
    batch_size : int
        Largest number of images in a step. An epoch is cut into batches that are equal to within one image.
    learning_rate : float
        Step size at the start.
    optimiser : callable
        Called as ``optimiser(parameters, lr=learning_rate)``: a class of :mod:`torch.optim`, or
        ``partial(torch.optim.SGD, momentum=0.9)``. It gets the parameters that require a gradient.
    schedule : callable
        From the share of steps done, in [0, 1), to a factor of the learning rate.
    augment : callable, optional
        From ``(images, targets, generator)`` to images and targets, such as :func:`random_shift`.
    clip : float, optional
        Largest norm of the gradient; a longer one is shortened to it.
    keep : {"best", "last"}
        Weights to end with: those of :attr:`History.best`, or those of the last epoch.
    checkpoint : path, optional
        File to which the run is saved after each epoch. Call again with the same arguments, and a run that
        was killed goes on, to the result that it would have had. Other settings or images are refused; of the
        networks only class and size are compared.
    device : str or device
        For example ``"cuda"``. All images are moved there, as bytes.
    autocast : bool
        Compute in bfloat16 where PyTorch holds it to be safe; weights stay in float32. Meant for GPUs: on a
        processor that has instructions for it, the larger CNNs gain and small networks lose.
    channels_last : bool
        Keep the channels of a pixel beside each other in memory. Convolutions between many channels take up
        to half the time, one convolution with a pool behind it takes longer; a network that calls ``view``
        on its feature maps has to call ``reshape`` instead.
    fixed_batches : bool
        Cut the training images into batches once, by the seed, and change only the order of these: for
        objectives such as :class:`NTKD` that remember what they computed for a batch.
    progress : bool or str
        Show a line on standard error, which is written over. A text is the name of this training among
        others: it stands in front of a line that comes once a minute.

    Returns
    -------
    History
        One row for each epoch.

    Raises
    ------
    TypeError, ValueError
        If an argument is of the wrong type or out of range, or the checkpoint is of another run.
    FloatingPointError
        If images, logits, loss or gradient stop being finite. The message names the step and which was first.
    """
    check.model_and_data(model, data)
    whole_number("epochs", epochs, 1)
    whole_number("seed", seed, 0, 2**32 - 1)
    whole_number("batch_size", batch_size, 1)
    learning_rate = positive_length("learning_rate", learning_rate, "step size")
    clip = None if clip is None else positive_length("clip", clip, "norm of the gradient")
    if keep not in ("best", "last"):
        raise ValueError(f"keep must be 'best' or 'last', got {keep!r}")
    file = Path(checkpoint) if checkpoint is not None else None
    if file:
        check.folder_exists(file)
    parameters = [parameter for parameter in model.parameters() if parameter.requires_grad]
    recipe = {
        "model": type(model).__name__,
        "parameters": sum(parameter.numel() for parameter in parameters),
        "data": data.name,
        "images": len(data.train),
        "objective": described(objective),
        "epochs": epochs,
        "seed": seed,
        "batch_size": batch_size,
        "learning_rate": learning_rate,
        "optimiser": described(optimiser),
        "schedule": described(schedule),
        "augment": described(augment),
        "clip": clip,
        "keep": keep,
        "autocast": autocast,
        "channels_last": channels_last,
    }
    if fixed_batches:  # left out where it is not used, so that recipes written before it stay what they are
        recipe["fixed_batches"] = True

    device = torch.device(device)
    train, validation = _moved(data.train, device), _moved(data.validation, device)
    layout = torch.channels_last if channels_last else torch.contiguous_format
    model.to(device)  # before the optimiser, which makes its own tensors beside the weights
    if channels_last:
        model.to(memory_format=layout)  # type: ignore[call-overload]  # missing in its annotations
    same_start(model)
    everyone = shared(model)  # the model itself, unless several processes train it: see process_group
    optimizer = optimiser(parameters, lr=learning_rate)
    steps = math.ceil(len(train) / batch_size)
    # Logits of pixels are as large as images: no more of them at once than in a step.
    at_once = batch_size if validation.labels.ndim == 3 else 500
    # The randomness of an epoch depends on nothing that was drawn before it, so that a run can go on there.
    seeds = torch.randint(2**31, (epochs, 2), generator=Generator().manual_seed(seed)).tolist()
    first = torch.randperm(len(train), generator=Generator().manual_seed(seeds[0][0]))
    rows: list[Epoch] = []
    best: dict[str, Tensor] = {}
    # Another part of a data set has the same name and may have as many images.
    run = {**recipe, "pixels": digest(data.train, data.validation)} if file else recipe
    if file and (state := read_state(file, run)):
        model.load_state_dict(state["model"])
        optimizer.load_state_dict(state["optimiser"])
        rows, best = [Epoch(*row) for row in state["rows"]], state["best"]

    gpus = range(torch.cuda.device_count())
    with torch.random.fork_rng(gpus), Progress(epochs, steps, progress if is_first() else False) as line:
        for epoch in range(len(rows), epochs):
            start, total = time.perf_counter(), 0.0
            generator = Generator().manual_seed(seeds[epoch][0])
            torch.manual_seed(seeds[epoch][1] + rank())  # dropout has no generator of its own
            model.train()
            if fixed_batches:
                order = torch.randperm(steps, generator=generator).tolist()
                batches = [first.tensor_split(steps)[number] for number in order]
            else:
                batches = list(torch.randperm(len(train), generator=generator).tensor_split(steps))
            for step, indices in enumerate(batches):
                images, targets = train[indices.to(device)]
                if augment:
                    images, targets = augment(images, targets, generator)
                images = images.contiguous(memory_format=layout)
                done = (epoch + step / steps) / epochs
                for group in optimizer.param_groups:
                    group["lr"] = learning_rate * schedule(done)
                with torch.autocast(device.type, torch.bfloat16, enabled=autocast):
                    batch = Batch(model, images, targets, everyone(images), done)
                    loss = objective(batch)
                check.one_number(loss)
                optimizer.zero_grad()
                loss.backward()
                average_gradients(parameters)
                norm = nn.utils.get_total_norm([p.grad for p in parameters if p.grad is not None])
                value = loss.item()
                if not math.isfinite(value + norm.item()):
                    raise FloatingPointError(check.diagnose(batch, loss, epoch * steps + step + 1, epoch + 1))
                if clip:
                    nn.utils.clip_grads_with_norm_(parameters, clip, norm)
                optimizer.step()
                total += value * len(indices)
                line.step(epoch, step, value)
            scores = evaluate(everyone, validation, batch_size=at_once, autocast=autocast)
            if not math.isfinite(scores.loss):
                raise FloatingPointError(check.diagnose_validation(model, (epoch + 1) * steps, epoch + 1))
            seconds = time.perf_counter() - start
            rows.append(Epoch(epoch + 1, total / len(train), scores.loss, scores.accuracy, seconds))
            if keep == "best" and best_of(rows) is rows[-1]:
                best = {name: tensor.clone() for name, tensor in model.state_dict().items()}
            if file and is_first():
                state = {"model": model.state_dict(), "optimiser": optimizer.state_dict(), "best": best}
                write_state(file, run, {**state, "rows": [tuple(row) for row in rows]})
            line.epoch(rows[-1])

    if keep == "best":
        model.load_state_dict(best)
    model.eval()
    return History(tuple(rows), best_of(rows).epoch if keep == "best" else epochs, recipe)


def evaluate(model: nn.Module, split: Split, *, batch_size: int = 500, autocast: bool = False) -> Scores:
    """Measure a network on a split, in eval mode and without gradients; afterwards it is as it was.

    Parameters
    ----------
    model : Module
        From images ``(n, channels, ny, nx)`` to logits ``(n, classes)`` or ``(n, classes, ny, nx)``.
    split : Split
        For example ``data.test``, once, at the end.
    batch_size : int
        Images at a time. It changes the memory that is needed, not the result.
    autocast : bool
        Compute in bfloat16 where PyTorch holds it to be safe.

    Returns
    -------
    Scores
        Accuracy, cross entropy and number of images. With labels of pixels, both are means over the pixels
        that are not void; :func:`segmentation_scores` tells more.

    Raises
    ------
    TypeError, ValueError
        If the output of the model does not fit the labels, there is no label, or the batch size is below 1.
    """
    whole_number("batch_size", batch_size, 1)
    device = next(model.parameters(), torch.empty(0)).device
    right, loss, count = 0, 0.0, 0
    with inference(model), torch.autocast(device.type, torch.bfloat16, enabled=autocast):
        for start in range(0, len(split), batch_size):
            images, labels = split[start : start + batch_size]
            labels = labels.to(device)
            logits = checked_logits(model(images.to(device)), labels)
            right += int((logits.argmax(dim=1) == labels).sum())
            loss += F.cross_entropy(logits, labels, reduction="sum").item()
            count += int((labels != VOID).sum())
    if count == 0:
        raise ValueError("split must hold a label, got void pixels only; look at how its labels were made")
    return Scores(right / count, loss / count, len(split))


def _moved(split: Split, device: torch.device) -> Split:
    """Put a split on a device, as bytes if it is bytes."""
    return Split(split.pixels.to(device), split.labels.to(device))


def described(setting: object) -> str:
    """Text for a function, class or object that is the same in every process: no addresses in memory."""
    return getattr(setting, "__qualname__", None) or re.sub(r" at 0x[0-9a-f]+", "", repr(setting))
