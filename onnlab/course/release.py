"""From the notebooks with solutions to those that students get."""

import re
from collections.abc import Mapping
from copy import deepcopy
from pathlib import Path
from typing import Any

import nbformat
from nbformat import NotebookNode

CODE_STUB = "# YOUR CODE HERE\nraise NotImplementedError()"
TEXT_STUB = "YOUR ANSWER HERE"
BEGIN, END = "### BEGIN SOLUTION", "### END SOLUTION"  # the words are nbgrader's, and so are the stubs
SITE_ONLY = ("tags", "mystnb")  # how the page of the solution shows a cell

_REGION = re.compile(rf"^([ \t]*){BEGIN}\n.*?^[ \t]*{END}$", re.MULTILINE | re.DOTALL)


class SourceError(ValueError):
    """A notebook is not a source of exercises; the text says where, and what to do."""


def release_folder(source: str | Path, out: str | Path) -> list[Path]:
    """Write the student form of every notebook of a folder; return the files.

    Raises
    ------
    SourceError
        If there is no notebook, one is not what :func:`release` expects, or both folders are the same.
    """
    if Path(out).resolve() == Path(source).resolve():
        raise SourceError(f"{out} must be another folder than that of the solutions, which would be lost")
    found = sorted(Path(source).glob("*.ipynb"))
    if not found:
        raise SourceError(f"{source} must be a folder with notebooks, found none; try exercises/source")
    students = {path.name: read_form(path) for path in found}  # all of them, before any is written
    folder = Path(out)
    folder.mkdir(parents=True, exist_ok=True)
    written = [folder / name for name in students]
    for target, student in zip(written, students.values(), strict=True):
        nbformat.write(student, target)
    return written


def read_form(path: Path) -> NotebookNode:
    """Return the student form of a file with solutions.

    Raises
    ------
    SourceError
        If it cannot be read, or is not what :func:`release` expects; the text begins with the file.
    """
    try:
        notebook = nbformat.read(path, as_version=4)
        nbformat.validate(notebook)
        return release(notebook)
    except SourceError as error:
        raise SourceError(f"{path}: {error}") from None
    except Exception as error:  # nbformat fails in many ways
        reason = str(error).partition("\n")[0]
        raise SourceError(
            f"{path}: must be a notebook that can be read ({type(error).__name__}: {reason}); save it anew"
        ) from error


def release(notebook: NotebookNode) -> NotebookNode:
    """Return the student form of a notebook, which is left as it is.

    Solutions become stubs: in code, what stands between ``### BEGIN SOLUTION`` and ``### END SOLUTION``; in
    text, the whole cell. Tasks and checks are locked, and outputs are removed.

    Raises
    ------
    SourceError
        If a cell is not marked for nbgrader, two cells have one name, or a solution has no beginning or end.
    """
    student = deepcopy(notebook)
    names: set[str] = set()
    for place, cell in enumerate(student.cells, start=1):
        where = f"cell {place} ({cell.source.strip().partition(chr(10))[0][:40]!r})"
        marks = exercise_marks(cell, where)
        if marks["grade_id"] in names:
            raise SourceError(f"{where}: grade_id {marks['grade_id']!r} is there twice; rename one")
        names.add(marks["grade_id"])
        if cell.cell_type == "code":
            cell.source = _without_solution(cell.source, bool(marks["solution"]), where)
            cell.outputs, cell.execution_count = [], None
        elif marks["solution"]:
            cell.source = TEXT_STUB
        if marks["solution"]:
            for key in SITE_ONLY:
                cell.metadata.pop(key, None)
        cell.metadata["deletable"] = False
        if marks["locked"]:
            cell.metadata["editable"] = False
    return student


def exercise_marks(cell: NotebookNode, where: str = "cell") -> Mapping[str, Any]:
    """Return what nbgrader knows of a cell: ``grade_id``, ``grade``, ``solution``, ``locked``, ``points``.

    Raises
    ------
    SourceError
        If it knows nothing.
    """
    marks = cell.metadata.get("nbgrader")
    if not marks or not {"grade_id", "grade", "solution", "locked"} <= set(marks):
        raise SourceError(
            f"{where} must be marked for nbgrader, with grade_id, grade, solution and locked; mark it in "
            "the Create Assignment panel of nbgrader, or copy the marks of a cell of its kind"
        )
    if marks["locked"] == bool(marks["solution"]):
        raise SourceError(f"{where} must be locked or else hold a solution; set one of the two")
    if marks["grade"] and "points" not in marks:
        raise SourceError(f"{where} is graded and must have points; add them")
    return marks


def _without_solution(source: str, is_answer: bool, where: str) -> str:
    def stub(region: re.Match[str]) -> str:
        return "\n".join(region[1] + line for line in CODE_STUB.splitlines())

    text, regions = _REGION.subn(stub, source)
    if BEGIN in text or END in text:
        raise SourceError(f"{where}: {BEGIN} and {END} must come in pairs, each on a line of its own")
    if is_answer and not regions:
        raise SourceError(f"{where} is an answer and must have {BEGIN} and {END}; add them")
    if regions and not is_answer:
        raise SourceError(
            f"{where} holds a solution and must be marked as one; students would get a locked stub"
        )
    return text
