"""What the figures accept: tensors on any device and arrays, turned into finite NumPy arrays."""

import numpy as np
import torch
from numpy.typing import ArrayLike
from torch import Tensor

from onnlab.optics import Grid


def as_array(values: Tensor | ArrayLike, name: str) -> np.ndarray:
    """Return ``values`` as a finite array of float64 or complex128; raise otherwise."""
    if isinstance(values, Tensor):
        values = values.detach().cpu()
        wide = torch.complex128 if values.is_complex() else torch.float64
        values = values.to(wide).resolve_conj().resolve_neg().numpy()
    array = np.asarray(values)
    if array.dtype.kind not in "biufc":
        raise TypeError(f"{name} must hold numbers, got {type(values).__name__} of {array.dtype}")
    array = array.astype(np.complex128 if array.dtype.kind == "c" else np.float64)
    if not np.isfinite(array).all():
        raise ValueError(f"{name} must be finite, got NaN or infinity; find the step that made it")
    return array


def as_plane(values: Tensor | ArrayLike, name: str, grid: Grid | None = None) -> np.ndarray:
    """Return ``values`` as one ``(ny, nx)`` array, on ``grid`` if there is one; raise otherwise."""
    array = as_array(values, name)
    if array.ndim < 2 or array.size == 0 or array.size != array.shape[-2] * array.shape[-1]:
        raise ValueError(
            f"{name} must be one plane (ny, nx), got {array.shape}; choose one of a batch, as in {name}[0]"
        )
    array = array.reshape(array.shape[-2], array.shape[-1])
    if grid is not None:
        if not isinstance(grid, Grid):
            raise TypeError(f"grid must be an onnlab.optics.Grid, got {type(grid).__name__}")
        if array.shape != grid.shape:
            raise ValueError(
                f"{name} must have the shape {grid.shape} of its grid, got {array.shape}; "
                "pass the grid that it was made on"
            )
    return array


def as_intensity(values: Tensor | ArrayLike, name: str, grid: Grid | None = None) -> np.ndarray:
    """Return ``values`` as one real plane without negative values; raise otherwise."""
    array = as_plane(values, name, grid)
    if array.dtype.kind == "c":
        raise TypeError(
            f"{name} must be real, got complex numbers; use {name}.abs() ** 2, or show_field for the field"
        )
    # Rounding in a Fourier transform leaves tiny negative values where there is no light.
    if array.min() < -1e-5 * np.abs(array).max():
        raise ValueError(
            f"{name} must not be negative, got a minimum of {array.min():.3g}; "
            "use show_kernel for signed values"
        )
    return np.maximum(array, 0.0)
