"""The exercises of this book: whole, in the form that graders expect, and the same in both folders."""

import re
from pathlib import Path

import nbformat
import pytest
from nbgrader.nbgraderformat import MetadataValidator

from onnlab.checks._check import find
from onnlab.course.release import release

ROOT = Path(__file__).parents[2]
SOURCES = sorted((ROOT / "exercises" / "source").glob("*.ipynb"))
CHAPTERS = {path.name[:4]: path for path in sorted((ROOT / "book").glob("ch*.ipynb"))}
POINTS = {"easy": 1, "medium": 2, "hard": 3}
TASK = re.compile(
    r"```\{exercise\} (?P<title>.+ \((?P<level>easy|medium|hard), \d+ min\))\n:label: (?P<label>ex-\S+)\n\n"
    r"Practises \{ref\}`(?P<heading>[^`<]+) <(?P<section>sec-\S+)>`"
)

each = pytest.mark.parametrize("path", SOURCES, ids=lambda path: path.stem)


def cells(path: Path) -> dict[str, nbformat.NotebookNode]:
    return {cell.metadata["nbgrader"]["grade_id"]: cell for cell in nbformat.read(path, 4).cells}


def tasks(path: Path) -> list[str]:
    return [name.removesuffix("-task") for name in cells(path) if name.endswith("-task")]


def text(path: Path) -> str:
    return "\n".join(cell.source for cell in nbformat.read(path, 4).cells if cell.cell_type == "markdown")


def test_every_chapter_has_exercises() -> None:
    assert [path.stem for path in SOURCES] == list(CHAPTERS)


@each
def test_the_student_form_is_made_from_the_source(path: Path) -> None:
    """When this fails: ``make exercises``."""
    student = nbformat.read(path.parents[1] / path.name, 4)
    assert student == release(nbformat.read(path, 4))


def test_no_student_form_is_left_without_its_source() -> None:
    assert [path.name for path in sorted((ROOT / "exercises").glob("*.ipynb"))] == [p.name for p in SOURCES]


@each
def test_an_exercise_has_a_task_an_answer_a_check_and_an_analysis(path: Path) -> None:
    found = cells(path)
    assert 4 <= len(tasks(path)) <= 7
    for name in tasks(path):
        task = TASK.match(found[f"{name}-task"].source)
        assert "**Hand in**" in found[f"{name}-task"].source
        assert found[f"{name}-answer"].metadata["tags"] == ["hide-input"]
        assert found[name].source.startswith(f'check("{name}", ')
        assert found[name].metadata["nbgrader"]["points"] == POINTS[task["level"]] == find(name).points
        assert found[f"{name}-why"].source.startswith(f"```{{solution}} {task['label']}\n:class: dropdown\n")


@each
def test_nbgrader_takes_it(path: Path) -> None:
    """nbgrader grades every written answer: one that is not to have points has ``grade: true, points: 0``."""
    MetadataValidator().validate_nb(nbformat.read(path, 4))


@each
def test_there_is_something_to_tweak_to_implement_and_to_explore(path: Path) -> None:
    levels = [TASK.match(cells(path)[f"{name}-task"].source)["level"] for name in tasks(path)]
    assert set(levels) == set(POINTS)
    whys = [cell for name, cell in cells(path).items() if name.endswith("-why")]
    assert any(cell.metadata["nbgrader"]["points"] > 0 for cell in whys)


@each
def test_an_exercise_practises_a_section_of_its_chapter_which_ends_in_it(path: Path) -> None:
    chapter = text(CHAPTERS[path.stem])
    for name in tasks(path):
        task = TASK.match(cells(path)[f"{name}-task"].source)
        # With titles, because JupyterLab does not look them up.
        assert f"({task['section']})=\n## {task['heading']}\n" in chapter
        assert f"- {{ref}}`{task['title']} <{task['label']}>`" in chapter[chapter.index("## Exercises") :]


def test_no_text_points_to_a_figure_that_an_unattempted_exercise_lacks() -> None:
    figures = {
        cell.metadata["mystnb"]["figure"]["name"]
        for path in SOURCES
        for cell in cells(path).values()
        if "figure" in cell.metadata.get("mystnb", {})
    }
    assert len(figures) >= len(SOURCES)
    for path in (*SOURCES, *CHAPTERS.values()):
        assert not figures & set(re.findall(r"\{numref\}`(?:[^`<]+<)?([\w-]+)>?`", text(path))), path.name
