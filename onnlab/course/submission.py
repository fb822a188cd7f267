"""What students handed in: found, read as if it were meant to do harm, and put into a fresh form."""

import ast
import json
import re
from copy import deepcopy
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from nbformat import NotebookNode

LARGEST = 50_000_000
"""Bytes of a notebook that is read; pictures are in it."""
WATCHED = (
    *("onnlab.checks", "sys.modules", "get_ipython", "IPython", "displayhook", "builtins", "globals"),
    *("importlib", "__import__", "setattr", "ctypes", "inspect", "gc.", "_getframe", "setprofile"),
    *("os._exit", "os.kill"),
)
"""Words that an honest answer hardly needs, and a forged one does."""


class SubmissionError(ValueError):
    """What was handed in cannot be read as a notebook; the text says why."""


@dataclass(frozen=True)
class Merged:
    """A fresh form with the answers of a student.

    Attributes
    ----------
    notebook : NotebookNode
        To be run.
    attempted : frozenset of str
        The ``grade_id`` of each answer that differs from the form.
    remarks : tuple of str
        What was not as it had been handed out, for the lecturer.
    """

    notebook: NotebookNode
    attempted: frozenset[str]
    remarks: tuple[str, ...]


@dataclass(frozen=True)
class Found:
    """The folder of a student.

    Attributes
    ----------
    student : str
        Its name.
    notebooks : dict
        The file of each exercise notebook that is there, by its name.
    remarks : tuple of str
        What else is there.
    """

    student: str
    notebooks: dict[str, Path]
    remarks: tuple[str, ...] = field(default=())


def find_submissions(folder: Path, names: set[str]) -> list[Found]:
    """Return what each student handed in of the notebooks ``names``, such as ``ch02``.

    A student is a folder. The notebooks lie in it, or one folder deeper, as nbgrader collects them.

    Raises
    ------
    ValueError
        If there is no folder of a student.
    """
    if not folder.is_dir():
        raise ValueError(
            f"{folder} must be the folder of the submissions, and is none; give one folder a student"
        )
    students = sorted(one for one in folder.iterdir() if one.is_dir() and not one.name.startswith("."))
    if not students:
        raise ValueError(
            f"{folder} must hold a folder for each student with the notebooks in it, found none; as in "
            f"{folder / 'ada' / min(names)}.ipynb"
        )
    return [_find(student, names) for student in students]


def _find(student: Path, names: set[str]) -> Found:
    notebooks: dict[str, Path] = {}
    remarks = []
    for path in [*sorted(student.glob("*.ipynb")), *sorted(student.glob("[!.]*/*.ipynb"))]:
        within = path.relative_to(student).as_posix()
        if path.stem not in names:
            remarks.append(f"{within} has the name of no exercise notebook ({', '.join(sorted(names))})")
        elif path.stem in notebooks:
            remarks.append(f"{within} is not the first of its name and was left aside")
        else:
            notebooks[path.stem] = path
    if not notebooks:
        remarks.append("no notebook was found")
    return Found(student.name, notebooks, tuple(remarks))


def read_cells(path: Path) -> list[dict[str, Any]]:
    """Return the cells of a notebook that have a ``grade_id``: ``id``, ``name``, ``kind`` and ``source``.

    Nothing is expected of the file: what is no cell is passed over.

    Raises
    ------
    SubmissionError
        If the file is no notebook, or none of the student's own.
    """
    if path.is_symlink() or path.parent.is_symlink() or not path.is_file():
        raise SubmissionError("it is a link or no file at all: ask for the notebook itself")
    if path.stat().st_size > LARGEST:
        raise SubmissionError(f"it has more than {LARGEST / 1e6:g} MB: ask for it without outputs")
    try:
        content = json.loads(path.read_bytes().decode("utf-8"))
    except (ValueError, RecursionError) as error:
        raise SubmissionError(f"it is no notebook that can be read ({error}): ask for it again") from error
    cells = content.get("cells") if isinstance(content, dict) else None
    if not isinstance(cells, list):
        raise SubmissionError("it has no cells: ask for it again, in the present format of notebooks")
    return [read for cell in cells if (read := _read_cell(cell)) is not None]


def _read_cell(cell: Any) -> dict[str, Any] | None:
    try:
        name, kind, source = cell["metadata"]["nbgrader"]["grade_id"], cell["cell_type"], cell["source"]
    except (KeyError, TypeError, IndexError):
        return None
    parts = source if isinstance(source, list) else [source]
    if not isinstance(name, str) or not all(isinstance(part, str) for part in parts):
        return None
    text = (
        "".join(parts).encode("utf-8", "replace").decode("utf-8")
    )  # half of a surrogate pair cannot be written
    return {"id": cell.get("id"), "name": name, "kind": kind, "source": text}


def merge(form: NotebookNode, cells: list[dict[str, Any]]) -> Merged:
    """Put a student's answers into a fresh student form, which is left as it is.

    Only answers count, the cells that the form gives to the student. Of several with one name, it is the one
    with the ``id`` of the form, otherwise the first.
    """
    notebook = deepcopy(form)
    attempted = set()
    remarks = []
    for cell in notebook.cells:
        marks = cell.metadata.nbgrader
        name = marks.grade_id
        there = [one for one in cells if one["name"] == name and one["kind"] == cell.cell_type]
        if len(there) > 1:
            remarks.append(f"{name} is there {len(there)} times: one of them counts")
        if not there:
            remarks.append(f"{name} is missing: that of the form was taken")
            continue
        chosen = next((one for one in there if one["id"] == cell.get("id")), there[0])
        if chosen["source"].strip() == cell.source.strip():
            continue
        if not marks.solution:
            remarks.append(f"{name} was edited: that of the form was taken")
            continue
        cell.source = chosen["source"]
        attempted.add(name)
        if cell.cell_type == "code" and (words := suspicious(cell.source, imported(form))):
            remarks.append(f"{name} asks to be read: it has {', '.join(words)}")
    return Merged(notebook, frozenset(attempted), tuple(remarks))


def suspicious(source: str, modules: set[str]) -> list[str]:
    """Return what in an answer could be meant to forge points, for a person to read.

    These are a few words, and attributes of imported modules that are assigned to, as in
    ``torch.allclose = ...``.
    """
    words = [word for word in WATCHED if re.search(rf"(?<!\w){re.escape(word)}", source)]
    try:
        tree = ast.parse(source)
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return words
    modules = modules | _imports(tree)
    for node in ast.walk(tree):
        if isinstance(node, ast.Attribute) and isinstance(node.ctx, ast.Store):
            head: ast.expr = node
            while isinstance(head, ast.Attribute):
                head = head.value
            if isinstance(head, ast.Name) and head.id in modules:
                words.append(f"{ast.unparse(node)} = ...")
    return words


def imported(form: NotebookNode) -> set[str]:
    """Return the names that the locked code of a form imports."""
    trees = [ast.parse(one.source) for one in form.cells if one.cell_type == "code" and not _is_answer(one)]
    return set().union(*map(_imports, trees))


def _is_answer(cell: NotebookNode) -> bool:
    return bool(cell.metadata.nbgrader.solution)


def _imports(tree: ast.AST) -> set[str]:
    return {
        alias.asname or alias.name.partition(".")[0]
        for node in ast.walk(tree)
        if isinstance(node, (ast.Import, ast.ImportFrom))
        for alias in node.names
    }
