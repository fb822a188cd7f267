"""A small course: one notebook with solutions that needs no torch, and submissions made from it."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import nbformat
from nbformat import NotebookNode
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook

from onnlab.course.release import release

SETUP = '''
def check(name, function):
    """As in onnlab.checks: says what is wrong, never raises, and returns points."""
    points, argument, wanted = {"ch90-double": (1, 3, 6), "ch90-square": (2, 3, 9)}[name]
    try:
        answer = function(argument)
    except NotImplementedError:
        print("Not attempted yet.")
        return 0.0
    except Exception as error:
        print(f"Not yet: {type(error).__name__}: {error}")
        return 0.0
    print("Passed." if answer == wanted else f"Not yet: got {answer}")
    return float(points) if answer == wanted else 0.0


def helper(x):
    return None
'''
ANSWER = '''def {name}(x):
    """{doc}"""
    ### BEGIN SOLUTION
    return {value}
    ### END SOLUTION
'''
GOOD = {
    "ch90-double-answer": "def double(x):\n    return x + x",
    "ch90-square-answer": "def square(x):\n    return x * x",
    "ch90-square-why": "Because *area* is what it is.",
}


def marks(name: str, kind: str, points: float | None = None, answer: bool = False) -> dict[str, Any]:
    known = {"grade": points is not None, "solution": answer, "locked": not answer, "task": False}
    worth = {} if points is None else {"points": points}
    return {"nbgrader": {"grade_id": name, "cell_type": kind, "schema_version": 3, **known, **worth}}


def code(name: str, source: str, **kind: Any) -> NotebookNode:
    return new_code_cell(source, id=name, metadata=marks(name, "code", **kind))


def text(name: str, source: str, **kind: Any) -> NotebookNode:
    return new_markdown_cell(source, id=name, metadata=marks(name, "markdown", **kind))


def source() -> NotebookNode:
    """Two exercises: one of 1 point, and one of 2 points with a text of 1 point to be read."""
    double = ANSWER.format(name="double", doc="Twice x.", value="2 * x")
    square = ANSWER.format(name="square", doc="x times x.", value="x**2")
    kernel = {"kernelspec": {"name": "python3", "display_name": "Python 3", "language": "python"}}
    return new_notebook(
        metadata=kernel,
        cells=[
            text("ch90-title", "# Exercises"),
            code("ch90-setup", SETUP.strip()),
            text("ch90-double-task", "Double a number."),
            code("ch90-double-answer", double.strip(), answer=True),
            code("ch90-double", 'check("ch90-double", double)', points=1),
            text("ch90-double-why", "It is a sum.", answer=True, points=0),
            text("ch90-square-task", "Square a number."),
            code("ch90-square-answer", square.strip(), answer=True),
            code("ch90-square", 'check("ch90-square", square)', points=2),
            text("ch90-square-why", "It is an area.", answer=True, points=1),
        ],
    )


def form() -> NotebookNode:
    return release(source())


def answered(answers: Mapping[str, str]) -> NotebookNode:
    """The student form with sources replaced by name, of whatever cell."""
    notebook = form()
    for cell in notebook.cells:
        cell.source = answers.get(cell.metadata.nbgrader.grade_id, cell.source)
    return notebook


def hand_in(folder: Path, student: str, notebook: NotebookNode | str, within: str = "ch90.ipynb") -> None:
    path = folder / student / within
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(notebook if isinstance(notebook, str) else json.dumps(notebook), encoding="utf-8")


def write_source(folder: Path) -> Path:
    folder.mkdir(parents=True)
    nbformat.write(source(), folder / "ch90.ipynb")
    return folder
