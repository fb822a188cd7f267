"""Answers to exercises, right and wrong ones, and what a check has to say of them."""

from collections.abc import Callable
from dataclasses import dataclass

import pytest

from onnlab.checks import check
from onnlab.checks._check import find


@dataclass(frozen=True)
class Case:
    """Answers that are right, or wrong with the words that the verdict has to contain."""

    exercise: str
    answers: tuple[object, ...]
    words: str | None = None

    def __str__(self) -> str:
        return f"{self.exercise}: {self.words or 'right'}"


def right(exercise: str, *answers: object) -> Case:
    """Answers that pass."""
    return Case(exercise, answers)


def wrong(exercise: str, words: str, *answers: object) -> Case:
    """A mutant: answers that must not pass, and words of the hint that fits the mistake."""
    return Case(exercise, answers, words)


def judge(case: Case, capsys: pytest.CaptureFixture[str]) -> None:
    """Check the answers of a case and assert the verdict."""
    points = check(case.exercise, *case.answers)
    said = capsys.readouterr().out
    if case.words is None:
        assert points == find(case.exercise).points, said
    else:
        assert points == 0
        assert case.words in said


def not_written(*_: object, **__: object) -> None:
    """Stand for an answer that is a stub."""
    raise NotImplementedError


def nothing(*_: object, **__: object) -> None:
    """Stand for an answer that forgot its return."""


def answers_like(case: Case, stand_in: Callable[..., None]) -> tuple[object, ...]:
    """The answers of a case, each function replaced by another one."""
    return tuple(stand_in if callable(answer) else answer for answer in case.answers)
