"""Files of networks: finished ones to share (safetensors), and training runs to go on with."""

import glob
import hashlib
import io
import json
import os
import pickle
from collections.abc import Mapping
from pathlib import Path
from typing import Any
from uuid import uuid4

import torch
from filelock import FileLock
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor, nn

import onnlab
from onnlab.data._digest import raw

NUMBERS = (torch.float64, torch.float32, torch.float16, torch.bfloat16, torch.complex64)
COUNTS = (torch.int64, torch.int32, torch.int16, torch.int8, torch.uint8, torch.bool)


def save_checkpoint(path: str | os.PathLike[str], model: nn.Module, recipe: Mapping[str, Any]) -> str:
    """Write the weights and buffers of a network, with how they were made, as one safetensors file.

    The file holds no code, so that it is safe to load from anyone. The same network and recipe give the
    same bytes. It is written under another name until it is complete.

    Parameters
    ----------
    path : path
        The file, ending in ``.safetensors`` by custom. An older one is replaced.
    model : Module
        The network. Complex weights must be complex64.
    recipe : mapping
        How to make it again, in what JSON can hold: data, settings, seed, accuracy.
        ``fit(...).recipe`` is a start.

    Returns
    -------
    str
        SHA-256 of names, types, shapes and values of the tensors: equal for equal weights.

    Raises
    ------
    TypeError
        If a tensor is of a type that safetensors cannot hold, or the recipe of one that JSON cannot.
    """
    tensors = {
        name: _storable(name, value).detach().cpu().clone(memory_format=torch.contiguous_format)
        for name, value in model.state_dict().items()
    }
    digest = _digest(tensors)
    about = {
        "model": type(model).__name__,
        "recipe": recipe,
        "sha256": digest,
        "versions": {"onnlab": onnlab.__version__, "torch": torch.__version__.partition("+")[0]},
    }
    try:
        text = json.dumps(about, sort_keys=True, allow_nan=False)
    except (TypeError, ValueError) as error:
        raise TypeError(f"recipe must hold texts, finite numbers, lists and dicts only ({error})") from error
    # One entry: the order of several is not fixed, and the bytes of the file would differ from run to run.
    write_whole(Path(path), save(tensors, {"onnlab": text}))
    return digest


def load_checkpoint(path: str | os.PathLike[str], model: nn.Module) -> dict[str, Any]:
    """Read a file of :func:`save_checkpoint` into a network of the same structure.

    The network stays on its device and is put in eval mode.

    Parameters
    ----------
    path : path
        The file.
    model : Module
        The network; its weights are overwritten, unless an error is raised.

    Returns
    -------
    dict
        ``"recipe"``, ``"model"`` (name of the class), ``"sha256"`` and ``"versions"``, as they were saved.

    Raises
    ------
    FileNotFoundError
        If there is no such file.
    ValueError
        If the file is damaged, was not written by :func:`save_checkpoint`, or holds another structure.
    """
    about, tensors = read_checkpoint(path)
    own = {name: _form(value) for name, value in model.state_dict().items()}
    saved = {name: _form(value) for name, value in tensors.items()}
    if own != saved:
        differing = sorted(name for name in own.keys() | saved.keys() if own.get(name) != saved.get(name))
        name = differing[0]
        raise ValueError(
            f"model must have the structure of the {about['model']} in {path}, but {len(differing)} tensors "
            f"differ: {name} is {own.get(name, 'missing')} in the model and {saved.get(name, 'missing')} in "
            f"the file; build the model as its recipe says: {about['recipe']}"
        )
    model.load_state_dict(tensors)
    model.eval()
    return about


def read_checkpoint(path: str | os.PathLike[str]) -> tuple[dict[str, Any], dict[str, Tensor]]:
    """Return what a file of :func:`save_checkpoint` says of itself, and its tensors by name."""
    about = read_about(path)
    with safe_open(path, framework="pt") as file:
        tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118  # no mapping
    if _digest(tensors) != about["sha256"]:
        raise ValueError(f"{path} is damaged: its weights do not have their SHA-256; fetch or make it again")
    return about, tensors


def read_about(path: str | os.PathLike[str]) -> dict[str, Any]:
    """Return what a file of :func:`save_checkpoint` says of itself; its tensors are left alone."""
    try:
        with safe_open(path, framework="pt") as file:
            about: dict[str, Any] = json.loads((file.metadata() or {})["onnlab"])
    except KeyError as error:
        raise ValueError(
            f"{path} must be a file of save_checkpoint, got safetensors without its recipe; "
            "load it with safetensors.torch.load_file"
        ) from error
    except SafetensorError as error:
        raise ValueError(f"{path} must be a safetensors file ({error}); fetch or make it again") from error
    return about


def write_state(path: Path, recipe: Mapping[str, Any], state: Mapping[str, Any]) -> None:
    """Write the state of a training run: tensors and plain types, complete or not at all."""
    buffer = io.BytesIO()
    torch.save({"recipe": dict(recipe), **state}, buffer)
    write_whole(path, buffer.getvalue())


def read_state(path: Path, recipe: Mapping[str, Any]) -> dict[str, Any] | None:
    """Read the state of a training run, None if there is no file yet; raise if it is another run's."""
    if not path.exists():
        return None
    try:
        # On the CPU, where Adam wants its count of steps; the rest is moved when it is loaded.
        state = torch.load(path, map_location="cpu", weights_only=True)
        before = state["recipe"]
    except (RuntimeError, EOFError, KeyError, TypeError, pickle.UnpicklingError) as error:
        raise ValueError(
            f"checkpoint must be a file that fit has written, {path} is not; delete it or name another"
        ) from error
    changed = [
        f"{name} was {before.get(name)!r} and is {recipe.get(name)!r}"
        for name in {**before, **recipe}
        if before.get(name) != recipe.get(name)
    ]
    if changed:
        raise ValueError(
            f"checkpoint {path} is of another run ({'; '.join(changed)}); go on with the settings of that "
            "run, or delete the file or name another to start afresh"
        )
    return state


def _storable(name: str, value: object) -> Tensor:
    if not isinstance(value, Tensor) or value.dtype not in NUMBERS + COUNTS:
        got = value.dtype if isinstance(value, Tensor) else type(value).__name__
        raise TypeError(
            f"{name} of the model must be a tensor of a type that safetensors can hold, got {got}; "
            "give a complex128 parameter p the data p.data.to(torch.complex64)"
        )
    return value


def _form(value: Tensor) -> str:
    """What two networks of the same structure have in common: shape, and whether numbers are complex."""
    return f"{'complex ' * value.is_complex()}{tuple(value.shape)}"


def _digest(tensors: Mapping[str, Tensor]) -> str:
    digest = hashlib.sha256()
    for name, value in sorted(tensors.items()):
        digest.update(f"{name} {value.dtype} {tuple(value.shape)};".encode())
        digest.update(raw(value))
    return digest.hexdigest()


def append_line(path: Path, text: str) -> None:
    """Add a line to a file. Whenever the process is killed, the line is there as a whole or not at all."""
    with FileLock(path.with_name(f".{path.name}.lock")):
        remove_parts(path)
        before = path.read_bytes() if path.exists() else b""
        write_whole(path, before + text.encode() + b"\n")


def write_whole(path: Path, content: bytes) -> None:
    """Write a file that is complete at any moment: the old content, then the new.

    Of several processes that write it at a time, the one that is done last counts: each has a name of its own
    for what is not complete.
    """
    part = path.with_name(f"{path.name}.{uuid4().hex}.part")
    try:
        with part.open("xb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        part.replace(path)
    finally:
        part.unlink(missing_ok=True)


def remove_parts(path: Path) -> None:
    """Remove what was left of a file by writers that were killed. Nobody may be writing it meanwhile."""
    for part in path.parent.glob(f"{glob.escape(path.name)}.*.part"):
        part.unlink(missing_ok=True)
