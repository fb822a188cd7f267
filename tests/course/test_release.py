"""What students get: the task and the check, locked, and a stub where the solution stood."""

import subprocess
import sys
from copy import deepcopy
from pathlib import Path

import nbformat
import pytest
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook, new_output

from onnlab.course.release import SourceError, release, release_folder

ANSWER = '''def f(x):
    """Double it."""
    ### BEGIN SOLUTION
    y = x + x
    return y
    ### END SOLUTION
'''.rstrip()


def marked(cell, grade_id, *, grade=False, solution=False, **more):
    cell.metadata["nbgrader"] = {
        "grade_id": grade_id, "grade": grade, "solution": solution, "locked": not solution,
        "schema_version": 3, "task": False, "cell_type": cell.cell_type, **more,
    }  # fmt: skip
    return cell


def source(answer=ANSWER):
    check = new_code_cell("f(2)", outputs=[new_output("stream", text="secret")], execution_count=3)
    written = marked(new_code_cell(answer), "f-answer", solution=True)
    written.metadata["tags"] = ["hide-input"]
    return new_notebook(
        cells=[
            marked(new_markdown_cell("Double it."), "f-task"),
            written,
            marked(check, "f", grade=True, points=2),
            marked(new_markdown_cell("Because."), "f-why", solution=True),
        ]
    )


def test_the_solution_leaves_and_everything_around_it_stays() -> None:
    task, answer, check, why = release(source()).cells
    assert task.source == "Double it."
    assert (
        answer.source
        == 'def f(x):\n    """Double it."""\n    # YOUR CODE HERE\n    raise NotImplementedError()'
    )
    assert check.source == "f(2)" and check.outputs == [] and check.execution_count is None
    assert why.source == "YOUR ANSWER HERE"


def test_a_stub_is_code_that_says_that_it_is_one() -> None:
    names: dict[str, object] = {}
    exec(release(source()).cells[1].source, names)
    with pytest.raises(NotImplementedError):
        names["f"](2)  # type: ignore[operator]


def test_two_regions_of_one_cell_leave_both() -> None:
    text = release(source(ANSWER + "\n\n\n" + ANSWER.replace("f(x)", "g(x)"))).cells[1].source
    assert text.count("raise NotImplementedError()") == 2
    assert "y = x" not in text and "def g(x):" in text


def test_tasks_and_checks_are_locked_and_answers_are_not() -> None:
    task, answer, check, why = release(source()).cells
    assert all(cell.metadata["deletable"] is False for cell in (task, answer, check, why))
    assert task.metadata["editable"] is check.metadata["editable"] is False
    assert "editable" not in answer.metadata and "editable" not in why.metadata


def test_the_source_is_left_as_it_is() -> None:
    notebook = source()
    before = deepcopy(notebook)
    release(notebook)
    assert notebook == before


def test_what_only_the_page_needs_is_gone() -> None:
    assert "tags" not in release(source()).cells[1].metadata


def spoil(place, **marks):
    notebook = source()
    notebook.cells[place].metadata["nbgrader"].update(marks)
    return notebook


def unmarked():
    notebook = source()
    del notebook.cells[0].metadata["nbgrader"]
    return notebook


def without_points():
    notebook = source()
    del notebook.cells[2].metadata["nbgrader"]["points"]
    return notebook


@pytest.mark.parametrize(
    ("notebook", "words"),
    [
        (unmarked(), "cell 1 ('Double it.') must be marked for nbgrader"),
        (spoil(3, grade_id="f"), "'f' is there twice"),
        (spoil(2, locked=False), "locked or else hold a solution"),
        (without_points(), "must have points"),
        (source(ANSWER.replace("    ### END SOLUTION", "")), "come in pairs"),
        (source(ANSWER.replace("    ### BEGIN SOLUTION", "")), "come in pairs"),
        (source("def f(x):\n    return 2 * x"), "add them"),
        (spoil(1, solution=False, locked=True), "must be marked as one"),
    ],
)
def test_a_source_that_would_leak_or_break_is_refused(notebook, words) -> None:
    with pytest.raises(SourceError) as error:
        release(notebook)
    assert words in str(error.value)


def test_a_folder_is_released_and_its_faults_name_the_file(tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    nbformat.write(source(), tmp_path / "in" / "ch77.ipynb")
    (written,) = release_folder(tmp_path / "in", tmp_path / "out" / "new")
    assert "y = x" not in written.read_text()
    nbformat.write(unmarked(), tmp_path / "in" / "ch78.ipynb")
    with pytest.raises(SourceError, match=r"ch78.ipynb: cell 1"):
        release_folder(tmp_path / "in", tmp_path / "out")
    with pytest.raises(SourceError, match="found none; try exercises/source"):
        release_folder(tmp_path / "nowhere", tmp_path)


def test_solutions_are_not_overwritten(tmp_path: Path) -> None:
    nbformat.write(source(), tmp_path / "ch77.ipynb")
    before = (tmp_path / "ch77.ipynb").read_text()
    with pytest.raises(SourceError, match="must be another folder"):
        release_folder(tmp_path, tmp_path / "new" / "..")
    assert (tmp_path / "ch77.ipynb").read_text() == before


def test_nothing_is_written_if_one_is_no_source(tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    nbformat.write(source(), tmp_path / "in" / "ch77.ipynb")
    nbformat.write(unmarked(), tmp_path / "in" / "ch78.ipynb")
    with pytest.raises(SourceError, match=r"ch78.ipynb: cell 1"):
        release_folder(tmp_path / "in", tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_the_command_says_what_is_wrong(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "onnlab", "release", str(tmp_path), str(tmp_path / "out")]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert "found none; try exercises/source" in done.stderr
