"""Grade what students handed in: each notebook in a sandbox of its own, several at a time.

A notebook is not run as it came. Its answers go into a student form that is made anew from the source, so
that edited checks, added cells and deleted ones count for nothing. What an answer does, it does to its own
notebook: an error costs the points of its exercise, a crash or a broken limit those that were not yet earned.

What is not protected: an answer and its check share one process, as in nbgrader. The checks are read anew
from their files before each of them, and a score counts only if it is a number that the exercise can give.
Still, an answer that changes PyTorch, or how IPython shows a number, can forge the points of its own
notebook. What looks like that is named in the report, beside the answer; but words can be hidden.
"""

import json
import math
import sys
import tempfile
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor, as_completed
from dataclasses import dataclass, replace
from itertools import takewhile
from pathlib import Path
from typing import Any

import nbformat
from nbformat import NotebookNode

from onnlab.course.release import TEXT_STUB, read_form
from onnlab.course.sandbox import Limits, check_sandbox, run
from onnlab.course.submission import Found, Merged, SubmissionError, find_submissions, merge, read_cells


@dataclass(frozen=True)
class Item:
    """Something that has points: a check, or a text to be read.

    Attributes
    ----------
    name : str
        The ``grade_id`` of the graded cell.
    points : float
        What it can give.
    score : float or None
        What it gave; None for a text that is still to be read.
    by_hand : bool
        Whether it is a text. One that can give no points belongs to the check of its exercise.
    reason : str
        Why points are missing, empty if none are or the check has said it.
    printed : str
        What the check printed.
    answers : tuple of (str, str)
        Code and text of the student for it, each ``"code"`` or ``"markdown"`` and the source.
    """

    name: str
    points: float
    score: float | None
    by_hand: bool = False
    reason: str = ""
    printed: str = ""
    answers: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True)
class Graded:
    """One notebook of one student.

    Attributes
    ----------
    notebook : str
        Its name, such as ``ch02``.
    items : tuple of Item
        In the order of the notebook.
    reason : str
        What kept it from being run to its end, empty if nothing did.
    remarks : tuple of str
        What the lecturer should know.
    begun : bool
        False if it ended before the first answer, so that its scores say nothing about the student.
    """

    notebook: str
    items: tuple[Item, ...]
    reason: str = ""
    remarks: tuple[str, ...] = ()
    begun: bool = True

    @property
    def score(self) -> float:
        """Points so far, without texts that are still to be read."""
        return math.fsum(item.score or 0.0 for item in self.items)


@dataclass(frozen=True)
class Student:
    """All notebooks of a student.

    Attributes
    ----------
    name : str
        That of the folder.
    notebooks : tuple of Graded
        Those that were handed in.
    remarks : tuple of str
        What the lecturer should know.
    """

    name: str
    notebooks: tuple[Graded, ...]
    remarks: tuple[str, ...] = ()

    @property
    def score(self) -> float:
        """Points so far, without texts that are still to be read."""
        return math.fsum(one.score for one in self.notebooks)


def _read_forms(sources: str | Path) -> dict[str, NotebookNode]:
    """Return the student form of each notebook with solutions in a folder, by name.

    Raises
    ------
    ValueError
        If there is none, or one is no source of exercises.
    """
    paths = sorted(Path(sources).glob("*.ipynb"))
    if not paths:
        raise ValueError(f"{sources} must be a folder of notebooks with solutions, found none; give --source")
    return {path.stem: read_form(path) for path in paths}


def grade(
    submissions: str | Path,
    sources: str | Path,
    *,
    jobs: int = 1,
    limits: Limits | None = None,
    cell_seconds: float = 60.0,
    protected: bool = True,
    report: Callable[[str], None] = print,
    finished: Callable[[Student], None] = lambda student: None,
) -> list[Student]:
    """Grade a folder of submissions: a folder for each student, with notebooks named as their sources.

    Parameters
    ----------
    submissions : path
        ``STUDENT/ch02.ipynb`` or, as nbgrader collects them, ``STUDENT/ASSIGNMENT/ch02.ipynb``.
    sources : path
        The notebooks with solutions.
    jobs : int
        Notebooks at a time.
    limits : Limits, optional
        Of each notebook.
    cell_seconds : float
        After which a cell is interrupted.
    protected : bool
        False: without a sandbox; see :func:`onnlab.course.sandbox.run` for what that means.
    report : callable
        Is told a sentence for each notebook.
    finished : callable
        Gets each student whose notebooks are all done, in the order in which they come.

    Returns
    -------
    list of Student
        In the order of their names.

    Raises
    ------
    ValueError
        If a folder holds nothing of what it should, or ``jobs`` or ``cell_seconds`` is too small.
    SandboxError
        If there is to be a sandbox and this computer has none.
    """
    for name, value, least in (("jobs", jobs, 1), ("cell_seconds", cell_seconds, 0.1)):
        if not value >= least:
            raise ValueError(f"{name} must be at least {least}, got {value}")
    forms = _read_forms(sources)
    found = find_submissions(Path(submissions), set(forms))
    hidden = (Path(submissions), Path(sources))
    if protected:
        check_sandbox(hidden)
    limits = limits or Limits()

    def one(path: Path, form: NotebookNode) -> Graded:
        return _grade(path, form, limits, cell_seconds, hidden, protected)

    done: dict[tuple[str, str], Graded] = {}
    with ThreadPoolExecutor(jobs) as pool:
        tasks = {
            pool.submit(one, path, forms[name]): (student, name)
            for student in found
            for name, path in student.notebooks.items()
        }
        try:
            for task in as_completed(tasks):
                student, name = tasks[task]
                key = student.student, name
                done[key] = task.result()
                report(f"{len(done)} of {len(tasks)}: {'/'.join(key)}: {_sentence(done[key])}")
                if all((student.student, other) in done for other in student.notebooks):
                    finished(_student(student, forms, done))
        except BaseException:
            pool.shutdown(wait=False, cancel_futures=True)
            raise
    return [_student(one, forms, done) for one in found]


def _student(found: Found, forms: dict[str, NotebookNode], done: dict[tuple[str, str], Graded]) -> Student:
    graded = tuple(done[found.student, name] for name in forms if name in found.notebooks)
    return Student(found.student, graded, found.remarks)


def _sentence(graded: Graded) -> str:
    said = f"{graded.score:g} of {math.fsum(item.points for item in graded.items):g} points"
    unread = sum(item.score is None for item in graded.items)
    said += f", {unread} to be read" if unread else ""
    return f"{said}; {graded.reason}" if graded.reason else said


def _grade(
    path: Path,
    form: NotebookNode,
    limits: Limits,
    cell_seconds: float,
    hidden: tuple[Path, ...],
    protected: bool,
) -> Graded:
    """Grade one notebook, whatever it is."""
    try:
        cells = read_cells(path)
    except (SubmissionError, OSError) as error:
        reason = f"{path.name} was not run: {error}"
        lost = tuple(replace(item, score=0.0, reason=reason) for item in _items(merge(form, []), {}))
        return Graded(path.stem, lost, reason)
    merged = merge(form, cells)
    with tempfile.TemporaryDirectory(prefix="onnlab-", ignore_cleanup_errors=True) as above:
        folder = Path(above) / "notebook"
        folder.mkdir()
        (folder / path.name).write_text(nbformat.writes(merged.notebook), encoding="utf-8")
        command = [sys.executable, "-m", "onnlab.course.runner", path.name, str(cell_seconds)]
        outcome = run(command, folder, limits, hidden=hidden, protected=protected)
    lines = list(_lines(outcome.printed))
    ran = {line["name"]: line for line in lines if "name" in line}
    died = next((line["died"] for line in lines if "died" in line), None)
    if outcome.stopped:
        reason = f"the notebook was stopped: {outcome.stopped}"
    elif died is not None:
        reason = f"Python ended at {died}: the cell left it, or had no more memory"
    elif outcome.status:
        reason = f"the notebook could not be run: {outcome.complaint.strip().rpartition(chr(10))[2]}"
    else:
        reason = ""
    setup = {name: ran.get(name, {"error": reason})["error"] for name in _before_answers(form)}
    failed = next((name for name, error in setup.items() if error), None)
    if failed and not reason:
        reason = f"the notebook could not be run: {failed} stops with {setup[failed]}"
    return Graded(path.stem, _items(merged, ran, reason), reason, merged.remarks, begun=failed is None)


def _before_answers(form: NotebookNode) -> list[str]:
    """Return the names of the code cells in front of the first answer: if one fails, no student did it."""
    cells = takewhile(lambda cell: not cell.metadata.nbgrader.solution, form.cells)
    return [cell.metadata.nbgrader.grade_id for cell in cells if cell.cell_type == "code"]


def _lines(printed: str) -> Iterator[dict[str, Any]]:
    for line in printed.splitlines():
        try:
            yield json.loads(line)
        except ValueError:  # the last line of a process that was ended
            return


def _items(merged: Merged, ran: dict[str, dict[str, Any]], stopped: str = "") -> tuple[Item, ...]:
    """Return what has points in a notebook, with the score that its cell gave."""
    cells = merged.notebook.cells
    graded = [cell for cell in cells if _has_points(cell)]
    names = [cell.metadata.nbgrader.grade_id for cell in graded]
    answers: dict[str, list[NotebookNode]] = {name: [] for name in names}
    for cell in cells:
        marks = cell.metadata.nbgrader
        if marks.solution:  # it belongs to the longest name that begins its own
            own = [name for name in names if f"{marks.grade_id}-".startswith(f"{name}-")]
            if own:
                answers[max(own, key=len)].append(cell)
    return tuple(
        _item(cell, answers[cell.metadata.nbgrader.grade_id], merged.attempted, ran, stopped)
        for cell in graded
    )


def _item(
    graded: NotebookNode,
    answers: list[NotebookNode],
    attempted: frozenset[str],
    ran: dict[str, dict[str, Any]],
    stopped: str,
) -> Item:
    marks = graded.metadata.nbgrader
    texts = tuple((cell.cell_type, cell.source) for cell in answers if cell.source.strip() != TEXT_STUB)
    item = Item(marks.grade_id, float(marks.points), 0.0, bool(marks.solution), answers=texts)
    if item.by_hand:
        return replace(item, score=None) if item.name in attempted else replace(item, reason="not attempted")
    line = ran.get(item.name)
    if line is None:
        return replace(item, reason=stopped)
    score, reason = score_of(line["results"], line["error"], item.points)
    if score < item.points:
        lines = [ran.get(cell.metadata.nbgrader.grade_id, {}) for cell in answers]
        reason = "; ".join(filter(None, [*(one.get("error", "") for one in lines), reason]))
    return replace(item, score=score, reason=reason, printed=line["printed"])


def _has_points(cell: NotebookNode) -> bool:
    """Tell whether a cell can give points: a written answer that cannot is graded, too, with 0 points."""
    marks = cell.metadata.nbgrader
    return bool(marks.grade and marks.points > 0)


def score_of(results: list[str], error: str, points: float) -> tuple[float, str]:
    """Return the score of a graded cell, between 0 and ``points``, and what is wrong with it if something is.

    Parameters
    ----------
    results : list of str
        What the cell showed: one number if all is well.
    error : str
        The exception that ended it, empty if none did.
    points : float
        What it can give.
    """
    if error:
        return 0.0, error
    if len(results) != 1:
        return 0.0, f"the check showed {len(results)} values, and one number was expected"
    try:
        score = float(results[0])
    except ValueError:
        score = math.nan
    if not 0 <= score <= points:
        return 0.0, f"the check showed {results[0][:40]!r}, and a number from 0 to {points:g} was expected"
    return score, ""
