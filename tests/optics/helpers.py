"""Measures shared by the optics tests."""

import torch
from torch import Tensor


def relative_error(actual: Tensor, expected: Tensor) -> float:
    """Largest deviation relative to the largest expected value, in double precision."""
    actual, expected = actual.detach().to(torch.complex128), expected.to(torch.complex128)
    return float((actual - expected).abs().max() / expected.abs().max())


def random_field(shape: tuple[int, ...], dtype: torch.dtype = torch.complex128, seed: int = 0) -> Tensor:
    """Complex Gaussian noise."""
    return torch.randn(shape, dtype=dtype, generator=torch.Generator().manual_seed(seed))


def inner(a: Tensor, b: Tensor) -> complex:
    """Inner product <a, b> in double precision."""
    return complex((a.to(torch.complex128).conj() * b.to(torch.complex128)).sum())
