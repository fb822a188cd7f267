"""Checks of training: of the arguments before it starts, and of the numbers while it runs."""

from pathlib import Path

import torch
from torch import Tensor, nn

from onnlab.data import VOID, Dataset
from onnlab.distill.objectives import Batch


def model_and_data(model: object, data: object) -> None:
    """Raise unless these are a network with something to learn, and a data set."""
    if not isinstance(model, nn.Module):
        raise TypeError(f"model must be a torch.nn.Module, got {type(model).__name__}; pass an instance")
    if not any(parameter.requires_grad for parameter in model.parameters()):
        raise ValueError("model must have a parameter that requires a gradient, got none; unfreeze a layer")
    if not isinstance(data, Dataset):
        raise TypeError(
            f"data must be an onnlab.data.Dataset, got {type(data).__name__}; use load('mnist-mini'), or "
            "Dataset(name, train, validation, test, classes, credit) for images of your own"
        )


def folder_exists(checkpoint: Path) -> None:
    """Raise unless a checkpoint can be written there: found out now and not after an epoch."""
    if not checkpoint.parent.is_dir():
        raise ValueError(
            f"checkpoint must be a file in a folder that exists, got {checkpoint}; make it first"
        )


def one_number(loss: object) -> None:
    """Raise unless an objective returned one number that has a gradient."""
    if not isinstance(loss, Tensor) or loss.ndim != 0 or not loss.requires_grad:
        if isinstance(loss, Tensor):
            got = f"shape {tuple(loss.shape)} {'with' if loss.requires_grad else 'without'} a gradient"
        else:
            got = type(loss).__name__
        raise TypeError(
            f"objective must return one number with a gradient, a tensor of shape (), got {got}; end it with "
            ".mean(), compute it from batch.logits, and use neither .item() nor .detach()"
        )


GENTLER = "lower the learning rate, or give a clip"


def diagnose(batch: Batch, loss: Tensor, step: int, epoch: int) -> str:
    """Tell what was the first to be NaN or infinite in a step, and what to do about it."""
    if (batch.targets == VOID).all():
        return f"step {step} (epoch {epoch}): all targets of the batch are void; leave such images out"
    named = list(batch.model.named_parameters())
    suspects = [
        ("the input", batch.images, "look at the images and at augment"),
        *((f"the weight {name}", value, f"the step before went too far: {GENTLER}") for name, value in named),
        ("the output of the model", batch.logits, f"a layer overflows: {GENTLER}"),
        ("the loss", loss, "the objective divides by zero or takes log(0): compute it in log space"),
        *(
            (f"the gradient of {name}", value.grad, f"{GENTLER}, or look for sqrt(0), log(0) and x / 0")
            for name, value in named
            if value.grad is not None
        ),
    ]
    for name, value, remedy in suspects:
        if not torch.isfinite(value).all():
            return f"step {step} (epoch {epoch}): {name} is not finite; {remedy}"
    return f"step {step} (epoch {epoch}): the norm of the gradient is not finite; {GENTLER}"


def diagnose_validation(model: nn.Module, step: int, epoch: int) -> str:
    """Tell the same where the steps of an epoch were finite, and the validation after them is not."""
    for name, value in model.state_dict().items():
        if not torch.isfinite(value).all():
            return f"step {step} (epoch {epoch}) made {name} infinite or NaN; {GENTLER}"
    return f"after step {step} (epoch {epoch}) the validation loss is not finite; look at those images"
