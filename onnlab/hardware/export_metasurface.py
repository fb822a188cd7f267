"""Metasurfaces as files that hold their pillars and the library these are from: safetensors, no code."""

import os
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn

from onnlab.distill import save_checkpoint
from onnlab.distill.checkpoint import read_checkpoint
from onnlab.hardware.atoms import MetaAtoms
from onnlab.hardware.metasurface import Metasurface

NUMBERS = ("wavelengths", "period", "height", "shape")


def export_metasurface(
    metasurface: Metasurface, path: str | os.PathLike[str], recipe: Mapping[str, Any] | None = None
) -> str:
    """Write the pillars of a metasurface, its aperture and its library as one safetensors file.

    Parameters
    ----------
    metasurface : Metasurface
        What to write.
    path : path
        The file, ending in ``.safetensors`` by custom. An older one is replaced.
    recipe : mapping, optional
        How it was designed, in what JSON can hold.

    Returns
    -------
    str
        SHA-256 of all tensors.

    Raises
    ------
    TypeError
        If ``metasurface`` is none, or JSON cannot hold the recipe.
    """
    check_metasurface(metasurface)
    tensors = nn.Module()
    for name, value in {
        "widths": metasurface.widths.detach(),
        "aperture": metasurface.aperture,
        "table": metasurface.atoms.widths,
        # Pairs of real numbers: safetensors has no complex128.
        "transmission": torch.view_as_real(metasurface.atoms.transmission.resolve_conj()),
    }.items():
        tensors.register_buffer(name, value)
    library = {name: getattr(metasurface.atoms, name) for name in NUMBERS}
    return save_checkpoint(path, tensors, {"library": library, "design": dict(recipe or {})})


def load_metasurface(path: str | os.PathLike[str]) -> tuple[Metasurface, dict[str, Any]]:
    """Read a file of :func:`export_metasurface`.

    Parameters
    ----------
    path : path
        The file.

    Returns
    -------
    Metasurface
        With its library; its widths are a plain tensor.
    dict
        The recipe that it was saved with.

    Raises
    ------
    FileNotFoundError
        If there is no such file.
    ValueError
        If the file is damaged, or was not written by :func:`export_metasurface`.
    """
    about, tensors = read_checkpoint(path)
    if "library" not in about["recipe"]:
        raise ValueError(
            f"{path} must be a file of export_metasurface, got a {about['model']}; use load_student"
        )
    library = about["recipe"]["library"]
    transmission: Tensor = torch.view_as_complex(tensors["transmission"])
    atoms = MetaAtoms(
        tensors["table"], transmission, **{**library, "wavelengths": tuple(library["wavelengths"])}
    )
    return Metasurface(tensors["widths"], atoms, tensors.get("aperture")), about["recipe"]["design"]


def check_metasurface(metasurface: object) -> None:
    """Raise unless this is a metasurface."""
    if not isinstance(metasurface, Metasurface):
        raise TypeError(
            f"metasurface must be a Metasurface, got {type(metasurface).__name__}; "
            "make one with onnlab.hardware.Metasurface(widths, atoms)"
        )
