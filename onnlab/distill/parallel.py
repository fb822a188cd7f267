"""One training on several devices: each process computes a share of every batch; all take the same step."""

import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from datetime import timedelta
from typing import Any, TypeVar

import torch
import torch.distributed as dist
import torch.nn.functional as F
from torch import Tensor, nn
from torch.autograd import Function
from torch.overrides import TorchFunctionMode

Value = TypeVar("Value")


@contextmanager
def process_group(device: str = "cpu") -> Iterator[None]:
    """Join the processes that ``torchrun`` has started; without ``torchrun``, do nothing.

    Inside, :func:`fit` trains one network with all of them. Each process makes the same calls with the same
    arguments. The weights of the first process are the ones to start from, and it alone writes the checkpoint
    and shows progress.

    Parameters
    ----------
    device : str
        ``"cpu"``, or ``"cuda"`` for a GPU each: then ``"cuda"`` means that GPU, for :func:`fit` too.

    Raises
    ------
    ValueError
        If the device has a number, for then it would be the same one for all processes.

    Notes
    -----
    A step is that of a single process, up to rounding. Every process draws and augments the whole batch, and
    computes the logits of its share. The logits are put together, so that each objective sees the whole batch
    and need not be a mean over it. BatchNorm takes its statistics over all shares. What a network draws
    from PyTorch's own generator, as dropout does, is drawn by each process for itself. Otherwise the network
    must treat each image on its own.

    The kernels of :class:`NTKD` couple all images of a batch: each process computes them whole. That is
    right, but saves no time.

    Examples
    --------
    In ``train.py``, started by ``torchrun --nproc-per-node 2 train.py``::

        with process_group("cuda"):
            fit(model, data, epochs=20, seed=0, device="cuda", checkpoint="run.state")
            if is_first():
                save_checkpoint("model.safetensors", model, {})
    """
    if not is_torchrun():
        yield
        return
    chosen = torch.device(device)
    if chosen.index is not None:
        raise ValueError(f"device must be {chosen.type!r}, and each process takes its own, got {device!r}")
    if chosen.type == "cuda":
        torch.cuda.set_device(int(os.environ["LOCAL_RANK"]))
    dist.init_process_group("nccl" if chosen.type == "cuda" else "gloo")
    yield
    dist.destroy_process_group()  # not after an error: the others may wait for what never comes


def is_torchrun() -> bool:
    """Tell whether ``torchrun`` has started this process, whether or not it is in :func:`process_group`."""
    return dist.is_available() and dist.is_torchelastic_launched()


def processes() -> int:
    """Return how many processes work together: 1 outside of :func:`process_group`."""
    return dist.get_world_size() if dist.is_available() and dist.is_initialized() else 1


def rank() -> int:
    """Return the number of this process, from 0."""
    return dist.get_rank() if processes() > 1 else 0


def is_first() -> bool:
    """Tell whether this process is the one that writes files, as a single process always is."""
    return rank() == 0


def agreed(value: Value) -> Value:
    """Return the value that the first process has, in all of them."""
    if processes() == 1:
        return value
    values = [value]
    dist.broadcast_object_list(values, src=0)
    return values[0]


def meet(seconds: float = 60) -> None:
    """Wait until all processes have come here.

    Raises
    ------
    RuntimeError
        If one does not come in time.
    """
    if processes() > 1:
        group = dist.new_group(timeout=timedelta(seconds=seconds), backend="gloo")
        dist.monitored_barrier(group)
        dist.destroy_process_group(group)


@torch.no_grad()
def same_start(model: nn.Module) -> None:
    """Give all processes the weights and buffers of the first one."""
    if processes() > 1:
        for value in (*model.parameters(), *model.buffers()):  # not its state, which may leave buffers out
            sent = value.detach().contiguous()
            dist.broadcast(sent, src=0)
            value.copy_(sent)


def shared(model: nn.Module) -> nn.Module:
    """Return the network, of which each process computes a share of the images; alone, the network itself."""
    return model if processes() == 1 else _Shared(model)


def average_gradients(parameters: Iterable[nn.Parameter]) -> None:
    r"""Replace each gradient by its mean over all processes.

    Every process has the whole loss :math:`L`, and :class:`_AddUp` gives derivatives of the sum of all these
    losses. With :math:`N` processes that is :math:`N L`: the mean of what they find for their copies of a
    weight is the derivative of :math:`L`. So it is where each has computed the whole.
    """
    everything = list(parameters) if processes() > 1 else []
    for dtype in dict.fromkeys(value.dtype for value in everything):  # one message for all of a kind
        mine = [value for value in everything if value.dtype == dtype]
        # A share of the images may leave a weight without a gradient that the others give one: which have it
        # is part of the message, and a weight stays without only if all leave it.
        there = mine[0].new_tensor([value.grad is not None for value in mine])
        found = [torch.zeros_like(value) if value.grad is None else value.grad for value in mine]
        total = torch.cat([there, *(gradient.flatten() for gradient in found)])
        dist.all_reduce(total)
        counts, *parts = total.split([len(mine), *(gradient.numel() for gradient in found)])
        for value, gradient, part, count in zip(mine, found, parts, counts.tolist(), strict=True):
            value.grad = gradient.copy_(part.view(gradient.shape) / processes()) if count else None


class _Shared(nn.Module):
    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.model = model

    def forward(self, x: Tensor) -> Tensor:
        count = processes()
        if len(x) < count:  # not one image for each: all compute all of them
            return self.model(x)
        start, stop = (len(x) * number // count for number in (rank(), rank() + 1))
        with _WholeBatchNorm():
            mine = self.model(x[start:stop])
        return _AddUp.apply(_placed(mine, start, len(x)))


def _placed(mine: Tensor, start: int, rows: int) -> Tensor:
    """Put the rows of this process where they belong, with zeros for those of the others."""
    whole = mine.new_zeros(rows, *mine.shape[1:])
    whole[start : start + len(mine)] = mine
    return whole


class _AddUp(Function):
    """The sum of a tensor over all processes, and of its gradients on the way back."""

    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        total = x.clone(memory_format=torch.contiguous_format)
        dist.all_reduce(total)
        return total

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> Tensor:
        return _AddUp.forward(ctx, gradient)


class _WholeBatchNorm(TorchFunctionMode):
    """Lets BatchNorm see all shares of a batch. PyTorch's own layer for that, SyncBatchNorm, needs GPUs."""

    def __torch_function__(
        self, func: Callable[..., Any], types: Any, args: Sequence[Any] = (), kwargs: Any = None
    ) -> Any:
        return (_batch_norm if func is F.batch_norm else func)(*args, **(kwargs or {}))


def _batch_norm(
    x: Tensor,
    running_mean: Tensor | None,
    running_var: Tensor | None,
    weight: Tensor | None = None,
    bias: Tensor | None = None,
    training: bool = False,
    momentum: float = 0.1,
    eps: float = 1e-5,
) -> Tensor:
    """Do what ``F.batch_norm`` does, with mean and variance over the shares of all processes."""
    if not training:
        return F.batch_norm(x, running_mean, running_var, weight, bias, False, momentum, eps)
    values = x.to(torch.promote_types(x.dtype, torch.float32))
    axes, shape = (0, *range(2, x.ndim)), (-1, *[1] * (x.ndim - 2))
    size, own = x.numel() / x.shape[1], values.mean(axes)
    spread = (values - own.view(shape)).square().mean(axes)
    mine = torch.cat([own.new_tensor([size]), own, spread])[None]
    shares: Tensor = _AddUp.apply(_placed(mine, rank(), processes()))  # a row for each process
    sizes, means, variances = shares.split([1, len(own), len(own)], dim=1)
    count = sizes.sum()
    mean = (sizes * means).sum(0) / count
    variance = (sizes * (variances + (means - mean).square())).sum(0) / count
    if running_mean is not None and running_var is not None:
        with torch.no_grad():
            running_mean.lerp_(mean.to(running_mean), momentum)
            running_var.lerp_((variance * count / (count - 1)).to(running_var), momentum)
    scale = (variance + eps).rsqrt() if weight is None else (variance + eps).rsqrt() * weight
    y = (values - mean.view(shape)) * scale.view(shape)
    return (y if bias is None else y + bias.view(shape)).to(x.dtype)
