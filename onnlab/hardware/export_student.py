"""Trained students as files that hold all that is needed to build them again: safetensors, no code."""

import inspect
import os
from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import nn

from onnlab.distill import load_checkpoint, save_checkpoint
from onnlab.distill.checkpoint import read_about
from onnlab.networks import (
    FourFConvolution,
    HybridClassifier,
    HybridSegmenter,
    IdealConvolution,
    OpticalLayer,
    PSFConvolution,
)
from onnlab.optics import Camera

Description = dict[str, Any]

OPTICS: Mapping[str, type[OpticalLayer]] = {
    kind.__name__: kind for kind in (IdealConvolution, PSFConvolution, FourFConvolution)
}
REMEDY = "write its weights with save_checkpoint, whose recipe tells you how to build it again"


def export_student(
    model: nn.Module, path: str | os.PathLike[str], recipe: Mapping[str, Any] | None = None
) -> str:
    """Write a trained student with its architecture: optics, sensor, back end and weights in one file.

    It is a file of :func:`~onnlab.distill.save_checkpoint`, whose recipe holds the architecture as JSON.

    Parameters
    ----------
    model : HybridClassifier or HybridSegmenter
        With one of the optical layers of ``onnlab.networks``. All weights are of one type.
    path : path
        The file, ending in ``.safetensors`` by custom. An older one is replaced.
    recipe : mapping, optional
        How it was trained, in what JSON can hold: ``fit(...).recipe`` is a start.

    Returns
    -------
    str
        SHA-256 of the weights.

    Raises
    ------
    TypeError
        If the model or a part of it is of another class (a subclass or a built twin included), if its
        weights differ in type, or if JSON cannot hold the recipe.
    """
    student = _described(model)
    if repr(_built(student)) != repr(model):
        raise TypeError(f"model must be as its class makes it, but a layer of it was replaced; {REMEDY}")
    return save_checkpoint(path, model, {"student": student, "training": dict(recipe or {})})


def load_student(path: str | os.PathLike[str]) -> tuple[HybridClassifier | HybridSegmenter, dict[str, Any]]:
    """Build a student again from a file of :func:`export_student`.

    Parameters
    ----------
    path : path
        The file.

    Returns
    -------
    HybridClassifier or HybridSegmenter
        The student in eval mode, with the weights, their type, and what was frozen, as they were.
    dict
        The recipe that it was saved with.

    Raises
    ------
    FileNotFoundError
        If there is no such file.
    ValueError
        If the file is damaged, or was not written by :func:`export_student`.
    """
    recipe = read_about(path)["recipe"]
    if "student" not in recipe:
        raise ValueError(
            f"{path} must be a file of export_student, got one without an architecture; build the network "
            "as its recipe says and read the weights with load_checkpoint"
        )
    student = recipe["student"]
    try:
        model = _built(student)
    except KeyError as error:
        raise ValueError(
            f"{path} must hold parts that this version of onnlab has, got {error}; read it with the "
            "version that wrote it"
        ) from error
    load_checkpoint(path, model)
    for name, parameter in model.named_parameters():
        parameter.requires_grad_(name not in student["frozen"])
    return model, recipe["training"]


def _described(model: nn.Module) -> Description:
    """Everything but the weights, as texts, numbers, lists and dicts."""
    if type(model) is HybridClassifier:
        parts = _classifier(model)
    elif type(model) is HybridSegmenter:
        parts = _segmenter(model)
    else:
        raise TypeError(
            f"model must be a HybridClassifier or HybridSegmenter, got {type(model).__name__}; {REMEDY}"
        )
    types = {str(parameter.dtype) for parameter in model.parameters()}
    if len(types) > 1:
        raise TypeError(
            f"model must have weights of one type, got {', '.join(sorted(types))}; use model.float()"
        )
    return {
        "class": type(model).__name__,
        "dtype": types.pop().removeprefix("torch."),
        "frozen": [name for name, parameter in model.named_parameters() if not parameter.requires_grad],
        **parts,
    }


def _classifier(model: HybridClassifier) -> Description:
    *hidden, classes = (layer.out_features for layer in model.back_end if isinstance(layer, nn.Linear))
    return {
        "optics": _optics(model.optics), "classes": classes, "pool": model.pool.kernel_size, "hidden": hidden
    }  # fmt: skip


def _segmenter(model: HybridSegmenter) -> Description:
    return {
        "optics": _optics(model.optics),
        "coarse": None if model.coarse is None else _optics(model.coarse),
        "classes": model.back_end.logits.out_channels,
        "groups": model.groups,
        "depth": sum(isinstance(layer, nn.Conv2d) for layer in model.back_end.blocks[0].modules()),
    }


def _optics(layer: OpticalLayer) -> Description:
    if type(layer) not in OPTICS.values():
        raise TypeError(
            f"optics must be one of {', '.join(OPTICS)}, got {type(layer).__name__}; "
            f"export the student before it is built, or {REMEDY}"
        )
    if layer.sensor is not None and type(layer.sensor) is not Camera:
        raise TypeError(f"sensor must be a Camera, got {type(layer.sensor).__name__}; {REMEDY}")
    kernels, channels, *size = layer.weight.shape
    bench = {}
    if isinstance(layer, FourFConvolution):
        bench = {
            "pitch": list(layer.grid.pitch),
            "wavelength": layer.grid.wavelength,
            "focal_length": layer.focal_length,
            "reference": layer.reference,
        }
    return {
        "class": type(layer).__name__,
        "sensor": layer.sensor
        and {name: getattr(layer.sensor, name) for name in inspect.signature(Camera).parameters},
        "arguments": {
            "channels": channels,
            "kernels": kernels,
            "kernel_size": size,
            "image_size": list(layer.image_size),
            "camera": layer.camera,
            **bench,
        },
    }


def _built(student: Description) -> HybridClassifier | HybridSegmenter:
    """Build the student that was described, with weights that mean nothing yet."""
    with torch.random.fork_rng(devices=[]):  # drawing them leaves no trace
        return BUILD[student["class"]](student).to(getattr(torch, student["dtype"]))


def _classifier_of(student: Description) -> HybridClassifier:
    names = ("classes", "pool", "hidden")
    return HybridClassifier(_layer(student["optics"]), **{name: student[name] for name in names})


def _segmenter_of(student: Description) -> HybridSegmenter:
    coarse = None if student["coarse"] is None else _layer(student["coarse"])
    names = ("classes", "groups", "depth")
    return HybridSegmenter(
        _layer(student["optics"]), coarse=coarse, **{name: student[name] for name in names}
    )


BUILD: Mapping[str, Callable[[Description], HybridClassifier | HybridSegmenter]] = {
    "HybridClassifier": _classifier_of,
    "HybridSegmenter": _segmenter_of,
}


def _layer(optics: Description) -> OpticalLayer:
    sensor: Description = {} if optics["sensor"] is None else {"sensor": Camera(**optics["sensor"])}
    return OPTICS[optics["class"]](**optics["arguments"], **sensor)
