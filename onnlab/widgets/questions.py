"""Questions of a self-test, and what makes them well. Needs no Jupyter.

Texts are plain Unicode with a little markup: code between backquotes, ``*emphasis*``, ``10^{-3}``, ``f_{c}``.
"""

import hashlib
import math
import re
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from itertools import pairwise
from typing import Any

FEWEST, MOST = 2, 6  # choices of a question
# The same pattern stands in static/quiz.js.
MARKUP = re.compile(r"`([^`]+)`|\*(?!\s)([^*]+)(?<!\s)\*|\^\{([^{}]+)\}|_\{([^{}]+)\}")
NAME = re.compile(r"[a-z0-9]+(-[a-z0-9]+)*")


def _check_text(what: str, text: str) -> None:
    if not isinstance(text, str) or not text.strip():
        raise ValueError(f"{what} must be a text, got {text!r}; write one")
    bare = MARKUP.sub("", text)
    for mark in ("`", "*", "^{", "_{", "$", "\\"):
        if mark in bare:
            raise ValueError(
                f"{what} must have no single {mark} in it, got {text!r}; close the markup, or write the "
                "formula in Unicode (∗ for a convolution, × for a product)"
            )


def _check_number(what: str, value: float) -> None:
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not math.isfinite(value):
        raise ValueError(f"{what} must be a finite number, got {value!r}; give one in its unit")


@dataclass(frozen=True)
class Choice:
    """One answer to choose from.

    Parameters
    ----------
    text : str
        The answer.
    feedback : str
        Why this very answer is wrong. The right one has none: its question has an explanation.
    right : bool
        Whether it is the right one.

    Raises
    ------
    ValueError
        If a text is missing, or holds markup that is not closed.
    """

    text: str
    feedback: str = ""
    right: bool = False

    def __post_init__(self) -> None:
        _check_text("text of a choice", self.text)
        if not self.right:
            _check_text(f"feedback of the wrong choice {self.text!r}", self.feedback)
        elif self.feedback:
            raise ValueError(
                f"feedback of the right choice {self.text!r} must be empty; make it the explanation"
            )


@dataclass(frozen=True)
class Trap:
    """A number that a known mistake leads to, and the words that name the mistake.

    Raises
    ------
    ValueError
        If the value is no finite number, or the feedback is missing.
    """

    value: float
    feedback: str

    def __post_init__(self) -> None:
        _check_number("value of a trap", self.value)
        _check_text(f"feedback of the trap {self.value!r}", self.feedback)


@dataclass(frozen=True, kw_only=True)
class _Asked:
    """What every question has."""

    name: str
    text: str
    explanation: str
    section: str = ""
    heading: str = ""

    def _check(self) -> None:
        if not isinstance(self.name, str) or not NAME.fullmatch(self.name):
            raise ValueError(f"name of a question must be like 'two-lenses', got {self.name!r}; rename it")
        _check_text(f"text of question {self.name!r}", self.text)
        _check_text(f"explanation of question {self.name!r}", self.explanation)
        if self.section and not self.heading:
            raise ValueError(
                f"heading of question {self.name!r} must be the title of section {self.section!r}, got none; "
                "readers are sent there"
            )


@dataclass(frozen=True, kw_only=True)
class Question(_Asked):
    """A question with one right answer among a few.

    Parameters
    ----------
    name : str
        Lower-case words joined by hyphens; the key of its answers.
    text, explanation : str
        The question, and why the right answer is right.
    choices : sequence of Choice
        Two to six, exactly one of them right. They are shown in an order that depends on their texts alone.
    section, heading : str
        Label and title of the section to read again after a wrong answer; may be left out.

    Raises
    ------
    ValueError
        If a text is missing, or the choices are too few, too many, alike, or not one of them is right.
    """

    choices: Sequence[Choice]

    def __post_init__(self) -> None:
        self._check()
        object.__setattr__(self, "choices", tuple(self.choices))
        texts = [choice.text for choice in self.choices]
        if not FEWEST <= len(texts) <= MOST or len(set(texts)) < len(texts):
            raise ValueError(
                f"question {self.name!r} must have {FEWEST} to {MOST} different choices, got {texts}; "
                "add, drop or reword some"
            )
        right = sum(choice.right for choice in self.choices)
        if right != 1:
            raise ValueError(
                f"question {self.name!r} must have exactly one right choice, got {right}; mark one `right`"
            )

    @property
    def order(self) -> list[int]:
        """Indices of the choices as they are shown: mixed, and the same in every place and every run."""
        key = [hashlib.sha256(f"{self.name}: {one.text}".encode()).digest() for one in self.choices]
        return sorted(range(len(key)), key=key.__getitem__)

    def is_right(self, answer: int) -> bool:
        """Whether ``answer``, an index into the choices, is the right one."""
        return self.choices[answer].right

    def check_answer(self, answer: Any) -> None:
        """Raise ValueError if ``answer`` is no index of a choice."""
        last = len(self.choices) - 1
        if isinstance(answer, bool) or not isinstance(answer, int) or not 0 <= answer <= last:
            raise ValueError(f"answer to {self.name!r} must be a choice from 0 to {last}, got {answer!r}")

    def state(self) -> dict[str, Any]:
        """Return the question in JSON types, as the browser gets it."""
        return asdict(self) | {"kind": "one", "order": self.order}


@dataclass(frozen=True, kw_only=True)
class NumberQuestion(_Asked):
    """A question whose answer is a number.

    Parameters
    ----------
    name, text, explanation, section, heading : str
        As those of :class:`Question`.
    answer, tolerance : float
        The number, and how far an answer may be from it; both in ``unit``.
    hint : str
        What is said to any other number.
    unit : str
        Unit behind the field; empty for a pure number.
    traps : sequence of Trap
        Numbers that known mistakes lead to. They are met with the same tolerance.

    Raises
    ------
    ValueError
        If a text is missing, a number is not finite, the tolerance is not positive, or a trap is too close to
        the answer or to another one.
    """

    answer: float
    tolerance: float
    hint: str
    unit: str = ""
    traps: Sequence[Trap] = ()

    def __post_init__(self) -> None:
        self._check()
        object.__setattr__(self, "traps", tuple(self.traps))
        _check_number(f"answer of question {self.name!r}", self.answer)
        _check_number(f"tolerance of question {self.name!r}", self.tolerance)
        _check_text(f"hint of question {self.name!r}", self.hint)
        if self.unit:
            _check_text(f"unit of question {self.name!r}", self.unit)
        if self.tolerance <= 0:
            raise ValueError(
                f"tolerance of question {self.name!r} must be positive, got {self.tolerance!r}; "
                "allow for rounding"
            )
        values = sorted([self.answer, *(trap.value for trap in self.traps)])
        for low, high in pairwise(values):
            if high - low <= 2 * self.tolerance:
                raise ValueError(
                    f"answer and traps of question {self.name!r} must be two tolerances apart, got {low!r} "
                    f"and {high!r}; narrow the tolerance, or change the numbers"
                )

    def is_right(self, answer: float) -> bool:
        """Whether ``answer`` is the number, within the tolerance."""
        return abs(answer - self.answer) <= self.tolerance * (1 + 1e-9)

    def check_answer(self, answer: Any) -> None:
        """Raise ValueError if ``answer`` is no finite number."""
        _check_number(f"answer to {self.name!r}", answer)

    def state(self) -> dict[str, Any]:
        """Return the question in JSON types, as the browser gets it."""
        return asdict(self) | {"kind": "number"}


def check_names(
    questions: Sequence[Question | NumberQuestion], place: str = "questions"
) -> tuple[Question | NumberQuestion, ...]:
    """Return the questions as a tuple; raise ValueError if two have one name, or there are none."""
    names = [question.name for question in questions]
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice or not names:
        got = f"twice {', '.join(twice)}" if twice else "none"
        raise ValueError(f"{place} must be questions with different names, got {got}; rename or add one")
    return tuple(questions)
