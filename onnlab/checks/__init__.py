"""Checks of the exercises: ``check("ch02-knife", knife_edge)`` says what is right and what is missing.

One module holds the checks of one chapter. They ask for properties on random inputs - linearity, energy, the
shift theorem, an adjoint, units, a gradient - or compare with an independent computation; they do not hold
the answers. ``onnlab.checks.ch02.knife`` is the check ``ch02-knife``.
"""

from onnlab.checks._check import attempt, check

__all__ = ["attempt", "check"]
