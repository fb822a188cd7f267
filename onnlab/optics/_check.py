"""Argument checks of the optics modules: a message names argument, expectation, value and remedy."""

import math
import operator
from collections.abc import Collection, Iterable
from decimal import ROUND_CEILING, ROUND_FLOOR, Context
from typing import TYPE_CHECKING

import torch
from torch import Tensor

if TYPE_CHECKING:
    from onnlab.optics.grid import Grid

COMPLEX_DTYPES = (torch.complex64, torch.complex128)
REAL_DTYPES = (torch.float32, torch.float64)


class SamplingWarning(UserWarning):
    """The grid is too coarse or too small for the result; the text names a pitch or size that will do."""


def positive_length(name: str, value: object, unit: str = "metres") -> float:
    """Return ``value`` as a float; raise unless it is a finite number above zero."""
    number = finite_number(name, value, unit)
    if number <= 0:
        raise ValueError(f"{name} must be positive{_in(unit)}, got {number!r}; give a size above zero")
    return number


def not_negative(name: str, value: object, unit: str = "") -> float:
    """Return ``value`` as a float; raise unless it is a finite number, zero or above."""
    number = finite_number(name, value, unit)
    if number < 0:
        raise ValueError(f"{name} must not be negative{_in(unit)}, got {number!r}; give 0 to leave it out")
    return number


def share(name: str, value: object) -> float:
    """Return ``value`` as a float; raise unless it is a number from 0 to 1."""
    number = finite_number(name, value, "share")
    if not 0 <= number <= 1:
        raise ValueError(f"{name} must be from 0 to 1, got {number!r}; give a share, not per cent")
    return number


def efficiency(name: str, value: object) -> float:
    """Return ``value`` as a float; raise unless it is a number above 0 and up to 1."""
    number = positive_length(name, value, "share")
    if number > 1:
        raise ValueError(f"{name} must be at most 1, got {number!r}; give a share, not per cent")
    return number


def finite_number(name: str, value: object, unit: str = "") -> float:
    """Return ``value`` as a float; raise unless it is one finite real number."""
    if isinstance(value, Tensor) and value.ndim == 0:
        value = value.item()
    several = getattr(value, "ndim", 0) > 0
    if several or isinstance(value, (bool, complex, str)) or not hasattr(value, "__float__"):
        raise TypeError(f"{name} must be one real number{_in(unit)}, got {value!r}; pass a float")
    number = float(value)
    if not math.isfinite(number):
        raise ValueError(f"{name} must be finite{_in(unit)}, got {number!r}; check how it was computed")
    return number


def _in(unit: str) -> str:
    return f" ({unit})" if unit else ""


def whole_number(name: str, value: object, least: int = 1, most: float = math.inf) -> int:
    """Return ``value`` as an int; raise unless it is a whole number from ``least`` to ``most``."""
    try:
        number = operator.index(value)  # type: ignore[arg-type]
    except TypeError:
        number = None
    if number is None or isinstance(value, bool):
        raise TypeError(f"{name} must be a whole number, got {value!r}; pass an int")
    if not least <= number <= most:
        limit = f"at least {least}" if most == math.inf else f"from {least} to {most}"
        raise ValueError(f"{name} must be {limit}, got {number}; choose a number in that range")
    return number


def whole_numbers(name: str, values: object) -> tuple[int, ...]:
    """Return ``values`` as a tuple of ints; raise unless they are a sequence of whole numbers from 1 on."""
    found = items(values)
    if found is None:
        raise TypeError(f"{name} must be a sequence of whole numbers, got {values!r}; pass a tuple of ints")
    return tuple(whole_number(name, value) for value in found)


def two_sizes(name: str, value: object, least: int = 1) -> tuple[int, int]:
    """Return one whole number as two, and two as they are; raise unless each is at least ``least``."""
    rows, columns = _one_or_two(name, value, "whole number", "rows and columns")
    return whole_number(name, rows, least), whole_number(name, columns, least)


def two_lengths(name: str, value: object, what: str) -> tuple[float, float]:
    """Return one positive length as two, and two as they are; ``what`` says what the two are of."""
    first, second = _one_or_two(name, value, "length in metres", what)
    return positive_length(name, first), positive_length(name, second)


def _one_or_two(name: str, value: object, kind: str, what: str) -> tuple:
    found = items(value)
    pair = (value, value) if found is None else found
    if len(pair) != 2:
        raise TypeError(
            f"{name} must be one {kind}, or two for {what}, got {value!r}; pass one if both are equal"
        )
    return pair


def items(values: object) -> tuple | None:
    """Return what a sequence, an array or a tensor holds; None for one number or a text."""
    if isinstance(values, str) or not isinstance(values, Iterable) or getattr(values, "ndim", 1) == 0:
        return None
    return tuple(values)


def complex_field(u: object, grid: "Grid", name: str = "u") -> Tensor:
    """Return ``u`` if it is a finite complex field ``(..., ny, nx)`` on ``grid``; raise otherwise."""
    if not isinstance(u, Tensor):
        raise TypeError(f"{name} must be a torch.Tensor, got {type(u).__name__}; use torch.as_tensor({name})")
    if u.dtype not in COMPLEX_DTYPES:
        raise TypeError(
            f"{name} must be complex64 or complex128, got {u.dtype}; use {name}.to(torch.complex64) "
            "if its values are amplitudes, or its square root if they are intensities"
        )
    on_grid(u, grid, name)
    finite_values(u, name)
    return u


def on_grid(values: Tensor, grid: "Grid", name: str) -> None:
    """Raise unless the last two dimensions of ``values`` are those of ``grid``."""
    if values.ndim < 2 or tuple(values.shape[-2:]) != grid.shape:
        raise ValueError(
            f"{name} must have shape (..., {grid.ny}, {grid.nx}) to match its grid, "
            f"got {tuple(values.shape)}; "
            "make it on that grid, or pass the grid that it was made on"
        )


def real_plane(values: object, name: str) -> Tensor:
    """Return ``values`` if it is a finite real tensor ``(..., ny, nx)``; raise otherwise."""
    if not isinstance(values, Tensor):
        raise TypeError(
            f"{name} must be a torch.Tensor, got {type(values).__name__}; use torch.as_tensor({name})"
        )
    if values.dtype not in REAL_DTYPES:
        raise TypeError(
            f"{name} must be float32 or float64, got {values.dtype}; use {name}.to(torch.float32)"
        )
    if values.ndim < 2:
        raise ValueError(
            f"{name} must have shape (..., ny, nx), got {tuple(values.shape)}; add the missing axes"
        )
    finite_values(values, name)
    return values


def finite_values(values: Tensor, name: str) -> None:
    """Raise if ``values`` holds a NaN or an infinity."""
    # One sum is far cheaper than a test of each sample: a NaN or an infinity survives it. The sum of large
    # numbers, though, may be beyond their type.
    values = values.detach()
    if is_true(~torch.isfinite(values.sum())) and is_true(~torch.isfinite(values).all()):
        raise ValueError(
            f"{name} must be finite, got NaN or infinity; find the step that made it "
            "with torch.autograd.set_detect_anomaly(True)"
        )


def intensity(values: object, name: str) -> Tensor:
    """Return ``values`` if it is a finite, real, non-negative tensor ``(..., ny, nx)``; raise otherwise."""
    not_complex(values, name, f"use {name}.abs() ** 2 if it is a field")
    plane = real_plane(values, name)
    if is_true((plane < 0).any()):
        raise ValueError(
            f"{name} must be >= 0, got {plane.detach().min().item():.3g}: light is never negative; "
            "use abs() ** 2 of a field, signed_kernel_pair for a kernel"
        )
    return plane


def not_complex(values: object, name: str, remedy: str) -> None:
    """Raise if ``values`` is a complex tensor; ``remedy`` says what to do instead."""
    if isinstance(values, Tensor) and values.is_complex():
        raise TypeError(f"{name} must be real, got {values.dtype}; {remedy}")


def is_true(condition: Tensor) -> bool:
    """Tell whether a condition holds; False where no value can be read: in ``vmap``, on the meta device."""
    try:
        return bool(condition)
    except RuntimeError:
        return False


def at_least(value: float) -> str:
    """Text of ``value`` to three digits, rounded up, so that a remedy does when taken literally."""
    return _three_digits(value, ROUND_CEILING)


def at_most(value: float) -> str:
    """Text of ``value`` to three digits, rounded down."""
    return _three_digits(value, ROUND_FLOOR)


def _three_digits(value: float, rounding: str) -> str:
    # From the shortest text that is this float: 0.0015 stays what it is.
    return f"{float(Context(prec=3, rounding=rounding).create_decimal(repr(float(value)))):.3g}"


def one_of(name: str, value: str, choices: Collection[str]) -> None:
    """Raise unless ``value`` is one of ``choices``."""
    if value not in choices:
        raise ValueError(f"{name} must be one of {', '.join(map(repr, choices))}, got {value!r}")
