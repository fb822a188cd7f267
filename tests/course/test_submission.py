"""Reading what may be anything, and putting answers, and nothing else, into a fresh form."""

import json
from copy import deepcopy

import pytest

from onnlab.course.submission import (
    SubmissionError,
    find_submissions,
    imported,
    merge,
    read_cells,
    suspicious,
)
from tests.course.cases import GOOD, answered, code, form, hand_in

NAMES = {"ch90", "ch91"}


def cells_of(notebook, tmp_path):
    path = tmp_path / "ch90.ipynb"
    path.write_text(json.dumps(notebook), encoding="utf-8")
    return read_cells(path)


def sources(notebook):
    return {cell.metadata.nbgrader.grade_id: cell.source for cell in notebook.cells}


def test_both_layouts_are_found(tmp_path):
    hand_in(tmp_path, "ada", form())
    hand_in(tmp_path, "bob", form(), "week 3/ch90.ipynb")
    hand_in(tmp_path, "bob", form(), "week 4/ch91.ipynb")
    hand_in(tmp_path, "cy", "", "ch90.ipynb.txt")
    hand_in(tmp_path, ".git", form())
    ada, bob, cy = find_submissions(tmp_path, NAMES)
    assert ada.notebooks == {"ch90": tmp_path / "ada/ch90.ipynb"} and not ada.remarks
    assert bob.notebooks.keys() == NAMES and not bob.remarks
    assert not cy.notebooks and cy.remarks == ("no notebook was found",)


def test_other_names_and_second_copies_are_named(tmp_path):
    hand_in(tmp_path, "ada", form())
    hand_in(tmp_path, "ada", form(), "later/ch90.ipynb")
    hand_in(tmp_path, "ada", form(), "ch90 (1).ipynb")
    hand_in(tmp_path, "ada", form(), ".ipynb_checkpoints/ch90.ipynb")
    (ada,) = find_submissions(tmp_path, NAMES)
    assert ada.notebooks == {"ch90": tmp_path / "ada/ch90.ipynb"}
    assert len(ada.remarks) == 2
    assert "ch90 (1).ipynb has the name of no exercise notebook (ch90, ch91)" in ada.remarks[0]
    assert "later/ch90.ipynb is not the first" in ada.remarks[1]


def test_a_folder_that_holds_nothing_is_told(tmp_path):
    with pytest.raises(ValueError, match="must hold a folder for each student.*ada"):
        find_submissions(tmp_path, NAMES)
    with pytest.raises(ValueError, match="must be the folder of the submissions"):
        find_submissions(tmp_path / "nowhere", NAMES)


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b'{"cells": [', "no notebook that can be read"),
        (b"\xff\xfe\x00", "no notebook that can be read"),
        (b"[" * 200_000, "no notebook that can be read"),
        (b"[]", "no cells"),
        (b'{"worksheets": []}', "no cells"),
    ],
    ids=["half", "bytes", "deep", "list", "old"],
)
def test_what_is_no_notebook_is_told(tmp_path, content, said):
    path = tmp_path / "ch90.ipynb"
    path.write_bytes(content)
    with pytest.raises(SubmissionError, match=said):
        read_cells(path)


def test_a_link_is_not_followed(tmp_path):
    hand_in(tmp_path, "ada", answered(GOOD))
    link = tmp_path / "bob"
    link.mkdir()
    (link / "ch90.ipynb").symlink_to(tmp_path / "ada/ch90.ipynb")
    with pytest.raises(SubmissionError, match="link"):
        read_cells(link / "ch90.ipynb")
    (tmp_path / "cy").mkdir()
    (tmp_path / "cy/week").symlink_to(tmp_path / "ada")
    with pytest.raises(SubmissionError, match="link"):
        read_cells(tmp_path / "cy/week/ch90.ipynb")


def test_a_file_that_is_too_large_is_not_read(tmp_path, monkeypatch):
    monkeypatch.setattr("onnlab.course.submission.LARGEST", 10)
    with pytest.raises(SubmissionError, match="more than 1e-05 MB"):
        cells_of(form(), tmp_path)


def test_strange_cells_are_passed_over(tmp_path):
    good = answered(GOOD)
    strange = [None, 3, [], {}, {"metadata": None}, {"metadata": {"nbgrader": []}, "cell_type": "code"}]
    strange += [{"metadata": {"nbgrader": {"grade_id": 7}}, "cell_type": "code", "source": "1"}]
    strange += [{"metadata": {"nbgrader": {"grade_id": "x"}}, "cell_type": "code", "source": [1]}]
    content = {"cells": [*strange, *good.cells]}
    assert [one["name"] for one in cells_of(content, tmp_path)] == list(sources(good))


def test_lines_and_half_characters_are_read(tmp_path):
    lines = json.loads(json.dumps(answered(GOOD)))
    lines["cells"][3]["source"] = ["def double(x):\n", '    return "\ud800"']
    read = {one["name"]: one["source"] for one in cells_of(lines, tmp_path)}
    assert read["ch90-double-answer"] == 'def double(x):\n    return "?"'


def test_answers_come_into_a_form_that_stays_as_it_is(tmp_path):
    fresh = form()
    before = deepcopy(fresh)
    merged = merge(fresh, cells_of(answered(GOOD), tmp_path))
    assert fresh == before
    assert sources(merged.notebook) == {**sources(fresh), **GOOD}
    assert merged.attempted == set(GOOD) and not merged.remarks


def test_nothing_attempted(tmp_path):
    merged = merge(form(), cells_of(form(), tmp_path))
    assert merged.notebook == form() and not merged.attempted and not merged.remarks


def test_an_edited_check_is_that_of_the_form_again(tmp_path):
    forged = answered({**GOOD, "ch90-square": "2.0", "ch90-setup": "def check(*_): return 2.0"})
    merged = merge(form(), cells_of(forged, tmp_path))
    assert sources(merged.notebook)["ch90-square"] == sources(form())["ch90-square"]
    assert sources(merged.notebook)["ch90-setup"] == sources(form())["ch90-setup"]
    assert [one.partition(":")[0] for one in merged.remarks] == [
        "ch90-setup was edited",
        "ch90-square was edited",
    ]


def test_points_and_marks_are_those_of_the_form(tmp_path):
    forged = answered(GOOD)
    for cell in forged.cells:
        cell.metadata.nbgrader.update(points=100, grade=True, solution=True, locked=False)
    merged = merge(form(), cells_of(forged, tmp_path))
    assert [cell.metadata for cell in merged.notebook.cells] == [cell.metadata for cell in form().cells]


@pytest.mark.parametrize("place", [0, 10], ids=["in front", "behind"])
def test_a_second_cell_of_a_name_counts_for_nothing(tmp_path, place):
    forged = answered(GOOD)
    for name in ("ch90-square", "ch90-square-answer"):
        forged.cells.insert(place, code(name, "2.0"))
        forged.cells[place].id = f"{name}-copy"
    merged = merge(form(), cells_of(forged, tmp_path))
    assert sources(merged.notebook) == {**sources(form()), **GOOD}
    assert any("ch90-square-answer is there 2 times" in one for one in merged.remarks)


def test_without_ids_the_first_counts(tmp_path):
    old = json.loads(json.dumps(answered(GOOD)))
    old["cells"].append({**old["cells"][3], "source": "def double(x): return 0"})
    for cell in old["cells"]:
        cell.pop("id")
    assert sources(merge(form(), cells_of(old, tmp_path)).notebook) == {**sources(form()), **GOOD}


def test_added_and_deleted_cells_change_nothing_but_the_answer_that_is_gone(tmp_path):
    torn = answered(GOOD)
    torn.cells = [cell for cell in torn.cells if cell.id not in ("ch90-double-answer", "ch90-square")]
    torn.cells.insert(1, code("mine", "import os; os._exit(0)"))
    merged = merge(form(), cells_of(torn, tmp_path))
    wanted = {**GOOD, "ch90-double-answer": sources(form())["ch90-double-answer"]}
    assert sources(merged.notebook) == {**sources(form()), **wanted}
    assert any("ch90-double-answer is missing" in one for one in merged.remarks)


def test_an_answer_of_another_kind_is_no_answer(tmp_path):
    turned = json.loads(json.dumps(answered(GOOD)))
    turned["cells"][3]["cell_type"] = "raw"
    merged = merge(form(), cells_of(turned, tmp_path))
    assert "ch90-double-answer" not in merged.attempted


@pytest.mark.parametrize(
    ("answer", "named"),
    [
        ("import onnlab.checks\nonnlab.checks.check = print", ["onnlab.checks", "onnlab.checks.check = ..."]),
        ("torch.allclose = lambda *_: True", ["torch.allclose = ..."]),
        ("import numpy as np\nnp.linalg.norm = abs", ["np.linalg.norm = ..."]),
        ("get_ipython().run_line_magic('x', '')", ["get_ipython"]),
        ("def f(:  # sys.modules", ["sys.modules"]),
    ],
)
def test_what_looks_forged_is_named(answer, named):
    assert suspicious(answer, {"torch"}) == named


@pytest.mark.parametrize(
    "answer",
    [
        "class Net:\n    def __init__(self):\n        self.weight = 0",
        "def f(u):\n    u.requires_grad = True\n    mygc = 1\n    return torch.allclose(u, u)",
    ],
)
def test_what_is_honest_is_left_alone(answer):
    assert suspicious(answer, {"torch"}) == []


def test_the_imports_of_a_form_are_known():
    fresh = form()
    fresh.cells[1].source = "import numpy as np\nimport torch.nn\nfrom onnlab import optics"
    assert imported(fresh) == {"np", "torch", "optics"}
