"""How an answer is checked and how its verdict is told."""

import io
import math
import sys
import warnings
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, redirect_stderr
from importlib import import_module
from numbers import Real
from types import FrameType
from typing import Any, NoReturn

import numpy as np
import torch
from torch import Generator, Tensor


class Wrong(Exception):
    """An answer lacks a property: ``what`` was seen, and a ``hint`` that does not give the answer away."""

    def __init__(self, what: str, hint: str) -> None:
        super().__init__(what, hint)
        self.what = what
        self.hint = hint


class Check:
    """A test of an answer and the points that it is worth. It raises :class:`Wrong`, or else all is right."""

    def __init__(self, test: Callable[..., None], points: int) -> None:
        self.test = test
        self.points = points


def worth(points: int) -> Callable[[Callable[..., None]], Check]:
    """Make a function the check of an exercise: easy exercises are worth 1 point, medium 2, hard 3."""
    return lambda test: Check(test, points)


def find(name: str) -> Check:
    """Return the check of an exercise, such as ``ch02-knife``.

    Raises
    ------
    ValueError
        If there is none of that name.
    """
    chapter, _, exercise = name.partition("-")
    try:
        found = getattr(import_module(f"onnlab.checks.{chapter}"), exercise.replace("-", "_"), None)
    except ModuleNotFoundError:
        found = None
    if not isinstance(found, Check):
        raise ValueError(f"name must be that of an exercise such as 'ch02-knife', got {name!r}")
    return found


def check(name: str, *answers: Any) -> float:
    """Check an answer: print what is right or wrong, with a hint, and return the points.

    A mistake in the answer never raises, so that a notebook runs from top to bottom whatever is in it. The
    points are the result of the cell, where graders read them.

    Parameters
    ----------
    name : str
        The exercise, such as ``"ch02-knife"``.
    *answers
        What the exercise asks for, mostly one function.

    Returns
    -------
    float
        All points of the exercise, or 0.

    Raises
    ------
    ValueError
        If there is no such exercise.

    Examples
    --------
    >>> check("ch02-knife", knife_edge)
    Passed: 2 of 2 points.
    2.0
    """
    task = find(name)
    try:
        with _apart():
            task.test(*answers)
    except Wrong as wrong:
        print(f"Not yet: {wrong.what}\nHint: {wrong.hint}")
    except NotImplementedError as error:
        if error.args:
            _tell(error)
        else:
            print("Not attempted yet: write your answer in the cell above, run it, and then this cell.")
    except Exception as error:
        _tell(error)
    else:
        print(f"Passed: {task.points} of {task.points} points.")
        return float(task.points)
    return 0.0


@contextmanager
def _apart() -> Iterator[None]:
    """Keep a check apart from its notebook: the same answer gets the same verdict, whatever was drawn before.

    Warnings and progress bars stay out of the cell, where nbgrader takes them for errors.
    """
    dtype = torch.get_default_dtype()
    with torch.random.fork_rng(devices=[]), warnings.catch_warnings(), redirect_stderr(io.StringIO()):
        torch.manual_seed(0)
        warnings.simplefilter("ignore")
        torch.set_default_dtype(torch.float32)
        try:
            yield
        finally:
            torch.set_default_dtype(dtype)


def alone(answer: Callable[..., Any], *names: str) -> Callable[..., Any]:
    """Return an answer that is wrong if it calls library functions of these names, or of any without names.

    It is watched while it runs, for it may have the function by another name or hand the work on.
    """
    called: list[str] = []

    def look(frame: FrameType, event: str, _: Any) -> None:
        module, name = frame.f_globals.get("__name__", ""), frame.f_code.co_name
        library = module.partition(".")[0] in (("onnlab", "scipy") if names else ("onnlab",))
        if event == "call" and library and (name in names or not names):
            called.append(f"{name} of {module}")

    def watched(*arguments: Any, **options: Any) -> Any:
        before = sys.getprofile()
        sys.setprofile(look)
        try:
            result = answer(*arguments, **options)
        finally:
            sys.setprofile(before)
        if called:
            raise Wrong(f"your code calls {called[0]}", "the task asks you to write this without it.")
        return result

    return watched


def attempt(function: Callable[..., Any], *arguments: Any) -> Any:
    """Call a function that a student writes and return its result, or say that it is not written yet."""
    try:
        return function(*arguments)
    except NotImplementedError as error:
        if error.args:
            raise
        print("Nothing to see yet: write your answer above.")
        return None


def _tell(error: Exception) -> None:
    text = f"{type(error).__name__}: {error}".rstrip(": ")
    print(
        f"Not yet: your code stops with {text}\nHint: call your function yourself in a new cell to see where."
    )


def seeded(seed: int) -> Generator:
    """Return a random generator with this seed."""
    return torch.Generator().manual_seed(seed)


def noise(*shape: int, seed: int, dtype: torch.dtype = torch.float64) -> Tensor:
    """Return random numbers of mean 0 and variance 1, the same for a seed."""
    return torch.randn(*shape, dtype=dtype, generator=seeded(seed))


def expect(condition: bool | Tensor, what: str, hint: str) -> None:
    """Raise :class:`Wrong` unless the condition holds."""
    if not condition:
        raise Wrong(what, hint)


def tensor(answer: Any, shape: Iterable[int], what: str = "the result") -> Tensor:
    """Return an answer that is a finite tensor of this shape, or tell what it is."""
    wanted = tuple(shape)
    if not isinstance(answer, Tensor):
        _not_a(answer, f"a torch tensor of shape {wanted}", what)
    if tuple(answer.shape) != wanted:
        raise Wrong(
            f"{what} has the shape {tuple(answer.shape)}, and not {wanted}",
            "write the shape of each step beside its line; the docstring says which one comes out.",
        )
    if not torch.isfinite(answer).all():
        raise Wrong(f"{what} holds NaN or infinite values", "look for 0 / 0, log(0) and roots of negatives.")
    return answer.detach()


def several(answer: Any, count: int, what: str, hint: str) -> tuple[Any, ...]:
    """Return the parts of an answer that has this many, or raise :class:`Wrong`."""
    if isinstance(answer, (Tensor, np.ndarray)) and answer.ndim:
        answer = list(answer)
    if not isinstance(answer, (tuple, list)) or len(answer) != count:
        raise Wrong(what, hint)
    return tuple(answer)


def number(answer: Any, what: str = "the result") -> float:
    """Return an answer that is one finite real number, or tell what it is."""
    answer = only(answer)
    if isinstance(answer, bool) or not isinstance(answer, Real):
        _not_a(answer, "one real number", what)
    if not math.isfinite(answer):
        raise Wrong(f"{what} is {answer}", "look for a division by zero.")
    return float(answer)


def verdict(answer: Any, what: str = "the verdict") -> bool:
    """Return an answer that is True or False, or tell what it is."""
    told = only(answer)
    if not isinstance(told, bool):
        raise Wrong(f"{what} is {answer!r}", "return True or False.")
    return told


def only(answer: Any) -> Any:
    """Return the one entry of a tensor or of something of NumPy as a number of Python, all else as it is."""
    if isinstance(answer, (Tensor, np.ndarray, np.generic)) and math.prod(answer.shape) == 1:
        return answer.item()
    return answer


def gaussian(drawn: Tensor, off: float) -> bool:
    """Tell whether the fourth moment of many numbers is that of a Gaussian, to ``off``."""
    drawn = drawn.double() - drawn.double().mean()
    return bool((drawn.pow(4).mean() / drawn.square().mean().square() - 3).abs() < off)


def _not_a(answer: Any, wanted: str, what: str) -> NoReturn:
    if answer is None:
        raise Wrong(f"{what} is None, and not {wanted}", "end the function with a return.")
    got = type(answer).__name__
    raise Wrong(f"{what} is of type {got}, and not {wanted}", "read what the docstring says of the result.")


def alike(got: Tensor | float, wanted: Tensor | float, rtol: float) -> bool:
    """Tell whether two results agree to ``rtol`` of the largest value."""
    got, wanted = torch.as_tensor(got), torch.as_tensor(wanted)
    wide = torch.promote_types(got.dtype, wanted.dtype)
    got, wanted = got.to(wide), wanted.to(wide)
    return got.shape == wanted.shape and bool((got - wanted).abs().max() <= rtol * wanted.abs().max())


def same(
    got: Tensor | float,
    wanted: Tensor | float,
    what: str,
    hint: str,
    *,
    mistakes: Iterable[tuple[Tensor | float, str]] = (),
    rtol: float = 1e-4,
) -> None:
    """Raise :class:`Wrong` unless two results agree to ``rtol`` of the largest value.

    ``mistakes`` pairs the result that a typical mistake gives with its hint. The first that fits is told.
    """
    if alike(got, wanted, rtol):
        return
    for mistaken, better in mistakes:
        if alike(got, mistaken, rtol):
            raise Wrong(what, better)
    raise Wrong(what, hint)
