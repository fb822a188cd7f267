"""What a student reads and what a grader gets, whatever the answer does."""

import importlib
import math
import pkgutil
import sys
import warnings
from collections.abc import Callable
from fractions import Fraction
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import torch

import onnlab.checks
from onnlab.checks import attempt, check
from onnlab.checks._check import Check, Wrong, alone, find, number, same, several, tensor
from onnlab.hardware import double_phase
from tests.checks.cases import Case, answers_like, not_written, nothing

CHAPTERS = [module.name for module in pkgutil.iter_modules(onnlab.checks.__path__) if module.name[0] != "_"]
BOOK = sorted(path.name[:4] for path in (Path(__file__).parents[2] / "book").glob("ch*.ipynb"))
WORTH = (1, 2, 3)


def exercises(chapter: str) -> list[str]:
    module = importlib.import_module(f"onnlab.checks.{chapter}")
    names = [name for name, value in vars(module).items() if isinstance(value, Check)]
    return [f"{chapter}-{name.replace('_', '-')}" for name in names]


def cases(chapter: str) -> list[Case]:
    return importlib.import_module(f"tests.checks.test_{chapter}").CASES


EVERY = [(chapter, name) for chapter in CHAPTERS for name in exercises(chapter)]


def test_every_chapter_has_checks() -> None:
    assert CHAPTERS == BOOK


@pytest.mark.parametrize(("chapter", "name"), EVERY)
def test_a_check_is_tested_with_right_and_wrong_answers(chapter: str, name: str) -> None:
    mine = [case for case in cases(chapter) if case.exercise == name]
    assert sum(case.words is None for case in mine) >= 2
    assert sum(case.words is not None for case in mine) >= 2
    assert find(name).points in WORTH


@pytest.mark.parametrize("chapter", CHAPTERS)
def test_no_case_is_for_an_exercise_that_is_gone(chapter: str) -> None:
    assert {case.exercise for case in cases(chapter)} == set(exercises(chapter))


def test_there_are_at_least_120_mutants() -> None:
    assert sum(case.words is not None for chapter in CHAPTERS for case in cases(chapter)) >= 120


@pytest.mark.parametrize(("chapter", "name"), EVERY)
def test_a_stub_is_not_attempted(chapter: str, name: str, capsys: pytest.CaptureFixture[str]) -> None:
    one = next(case for case in cases(chapter) if case.exercise == name)
    assert check(name, *answers_like(one, not_written)) == 0
    assert capsys.readouterr().out.startswith("Not attempted yet")


@pytest.mark.parametrize(("chapter", "name"), EVERY)
def test_a_forgotten_return_is_no_answer(chapter: str, name: str, capsys: pytest.CaptureFixture[str]) -> None:
    one = next(case for case in cases(chapter) if case.exercise == name)
    assert check(name, *answers_like(one, nothing)) == 0
    said = capsys.readouterr().out
    assert said.startswith("Not yet: ") and "Hint: " in said
    assert "your code stops" not in said  # it does not: the check has to see that nothing came


def test_points_are_a_float_that_graders_read() -> None:
    points = check("ch02-spots", lambda d, wavelength, f: wavelength * f / d)
    assert repr(points) == "1.0"


def test_an_exception_is_told_and_does_not_leave(capsys: pytest.CaptureFixture[str]) -> None:
    assert check("ch02-spots", lambda d, wavelength, f: wavelength / 0) == 0
    assert "ZeroDivisionError: float division by zero" in capsys.readouterr().out


def test_a_warning_of_an_answer_does_not_reach_the_cell(capsys: pytest.CaptureFixture[str]) -> None:
    def loud(d: float, wavelength: float, f: float) -> float:
        warnings.warn("under-sampled", stacklevel=1)
        print("epoch 1", file=sys.stderr)
        return wavelength * f / d

    assert check("ch02-spots", loud) == 1
    assert capsys.readouterr().err == ""


def test_a_verdict_does_not_hang_on_what_was_drawn_before() -> None:
    def drawn(d: float, wavelength: float, f: float) -> float:
        seen.append(torch.rand(()).item())
        return wavelength * f / d

    seen: list[float] = []
    for seed in (1, 2):
        torch.manual_seed(seed)
        check("ch02-spots", drawn)
        assert torch.rand(()) == torch.rand((), generator=torch.Generator().manual_seed(seed))
    half = len(seen) // 2
    assert seen[:half] == seen[half:]


def test_an_operation_that_torch_lacks_is_not_a_stub(capsys: pytest.CaptureFixture[str]) -> None:
    def lacking(*_: float) -> None:
        raise NotImplementedError("not implemented for 'Half'")

    assert check("ch02-spots", lacking) == 0
    assert "not implemented for 'Half'" in capsys.readouterr().out


def test_a_function_with_other_arguments_is_told(capsys: pytest.CaptureFixture[str]) -> None:
    assert check("ch02-spots", lambda d: d) == 0
    assert "TypeError" in capsys.readouterr().out


@pytest.mark.parametrize("name", ["ch02-nothing", "ch99-knife", "knife", "", "ch02-seeded", "os-path"])
def test_an_unknown_exercise_raises(name: str) -> None:
    with pytest.raises(ValueError, match="name must be that of an exercise"):
        check(name, None)


def test_attempt_returns_what_is_there_and_survives_what_is_not(capsys: pytest.CaptureFixture[str]) -> None:
    assert attempt(pow, 2, 3) == 8
    assert attempt(not_written, 1) is None
    assert "Nothing to see yet" in capsys.readouterr().out
    with pytest.raises(ZeroDivisionError):
        attempt(lambda: 1 / 0)


@pytest.mark.parametrize(
    ("answer", "words"),
    [
        (None, "end the function with a return"),
        ([1.0, 2.0], "of type list"),
        (torch.zeros(3), "shape (3,), and not (2,)"),
        (torch.tensor([1.0, torch.nan]), "NaN or infinite"),
    ],
)
def test_what_is_no_tensor_is_told(answer: object, words: str) -> None:
    with pytest.raises(Wrong) as wrong:
        tensor(answer, (2,))
    assert words in f"{wrong.value.what} {wrong.value.hint}"


@pytest.mark.parametrize(
    ("answer", "words"),
    [
        (None, "return"),
        ("3", "of type str"),
        (True, "of type bool"),
        (2j, "of type complex"),
        (np.bool_(True), "of type bool"),
        (np.array([1.0, 2.0]), "of type ndarray"),
        (np.float32(np.inf), "inf"),
        (torch.nan, "nan"),
    ],
)
def test_what_is_no_number_is_told(answer: object, words: str) -> None:
    with pytest.raises(Wrong) as wrong:
        number(answer)
    assert words in f"{wrong.value.what} {wrong.value.hint}"


@pytest.mark.parametrize(
    "answer",
    [
        *(2, 2.0, torch.tensor(2.0), torch.tensor([2]), Fraction(2)),
        *(np.int64(2), np.float32(2), np.float64(2), np.longdouble(2), np.array(2), np.array([2.0])),
    ],
)
def test_numbers_come_in_many_forms(answer: object) -> None:
    assert number(answer) == 2.0


@pytest.mark.parametrize("answer", [(1, 2), [1, 2], torch.tensor([1, 2]), np.array([1.0, 2.0])])
def test_two_numbers_come_in_many_forms(answer: object) -> None:
    assert [number(one) for one in several(answer, 2, "no pair", "return two")] == [1, 2]


@pytest.mark.parametrize("answer", [1.0, torch.tensor(1.0), np.ones(3), "12", {1: 2, 3: 4}])
def test_what_are_not_two_numbers_is_told(answer: object) -> None:
    with pytest.raises(Wrong, match="no pair"):
        several(answer, 2, "no pair", "return two")


def test_infinity_comes_in_many_forms() -> None:
    def reach(infinity: object) -> Callable[[float, float], object]:
        return lambda p, w: infinity if p >= w else 1 / (2 * math.pi * (p**-2 - w**-2) ** 0.5)

    for infinity in (math.inf, np.float32(np.inf), np.array(np.inf), torch.tensor(math.inf)):
        assert check("ch01-evanescent", reach(infinity)) == 2
    assert check("ch01-evanescent", reach(None)) == 0


def test_the_precision_of_a_notebook_does_not_reach_a_check() -> None:
    torch.set_default_dtype(torch.float64)
    try:
        case = next(one for one in cases("ch03") if one.exercise == "ch03-lamp" and one.words is None)
        assert check("ch03-lamp", *case.answers) == find("ch03-lamp").points
        assert torch.get_default_dtype() == torch.float64
    finally:
        torch.set_default_dtype(torch.float32)


def test_what_is_to_be_written_is_not_called() -> None:
    def hidden(mask: torch.Tensor) -> torch.Tensor:
        try:
            return partial(double_phase)(mask)
        except Exception:
            return mask

    mask = torch.ones(4, 4) + 0j
    assert torch.equal(alone(lambda x: x + 1, "double_phase")(mask), mask + 1)
    for names in (("double_phase",), ()):
        with pytest.raises(Wrong, match="your code calls double_phase"):
            alone(hidden, *names)(mask)
    assert sys.getprofile() is None


def test_the_hint_of_the_mistake_that_fits_is_told() -> None:
    with pytest.raises(Wrong) as wrong:
        same(4.0, 2.0, "it is 4", "think", mistakes=[(1.0, "root"), (4.0, "square")])
    assert wrong.value.hint == "square"
    with pytest.raises(Wrong) as wrong:
        same(5.0, 2.0, "it is 5", "think", mistakes=[(1.0, "root")])
    assert wrong.value.hint == "think"
    same(2.00001, 2.0, "it is 2", "think", mistakes=[(2.00001, "never")])
