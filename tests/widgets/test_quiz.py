"""Questions: what is refused, what they know of answers, and whether those of each chapter are well made."""

import json
import re
from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any

import nbformat
import pytest
import traitlets

from onnlab.widgets import Choice, NumberQuestion, Question, Quiz, Trap, read_questions
from onnlab.widgets.questions import MARKUP
from onnlab.widgets.quiz import QUIZZES
from tests.widgets import examples

ROOT = Path(__file__).parents[2]
FILES = sorted(QUIZZES.glob("*.toml"))

YES, NO = Choice("yes", right=True), Choice("no", "It is.")


def question(**changes: Any) -> Question:
    given = {"name": "true", "text": "Is it?", "explanation": "It is.", "choices": [YES, NO]}
    return Question(**given | changes)


def number(**changes: Any) -> NumberQuestion:
    given = {"name": "two", "text": "1 + 1?", "explanation": "Count.", "answer": 2.0, "tolerance": 0.1}
    return NumberQuestion(**given | {"hint": "Use your fingers."} | changes)


# What is refused --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("make", "complaint"),
    [
        (lambda: Choice(" ", right=True), "text of a choice must be a text, got ' '"),
        (lambda: Choice("no"), "feedback of the wrong choice 'no' must be a text"),
        (lambda: Choice("yes", "Well done.", right=True), "must be empty; make it the explanation"),
        (lambda: Trap(float("nan"), "Not a number."), "value of a trap must be a finite number, got nan"),
        (lambda: Trap(1.0, ""), "feedback of the trap 1.0 must be a text"),
        (lambda: question(name="Two Lenses"), "must be like 'two-lenses', got 'Two Lenses'"),
        (lambda: question(text=""), "text of question 'true' must be a text"),
        (lambda: question(explanation=None), "explanation of question 'true' must be a text, got None"),
        (lambda: question(section="sec-two"), "must be the title of section 'sec-two', got none"),
        (lambda: question(choices=[YES]), "question 'true' must have 2 to 6 different choices, got ['yes']"),
        (lambda: question(choices=[YES, NO, NO]), "2 to 6 different choices"),
        (lambda: question(choices=[YES, *(replace(NO, text=str(i)) for i in range(6))]), "2 to 6 different"),
        (lambda: question(choices=[NO, replace(NO, text="never")]), "exactly one right choice, got 0"),
        (lambda: question(choices=[YES, replace(YES, text="of course")]), "exactly one right choice, got 2"),
        (lambda: number(answer="2"), "answer of question 'two' must be a finite number, got '2'"),
        (lambda: number(tolerance=0), "tolerance of question 'two' must be positive, got 0"),
        (lambda: number(hint=""), "hint of question 'two' must be a text"),
        (lambda: number(traps=[Trap(2.15, "Nearly.")]), "two tolerances apart, got 2.0 and 2.15"),
        (lambda: number(traps=[Trap(4, "2 × 2."), Trap(4.1, "The same.")]), "two tolerances apart, got 4"),
        (lambda: Quiz(), "give either a chapter"),
        (lambda: Quiz("ch02", questions=[question()]), "give either a chapter"),
        (lambda: Quiz("ch00"), "chapter must be one of ch01"),
        (lambda: Quiz(questions=[]), "questions must be questions with different names, got none"),
        (lambda: Quiz(questions=[question(), question()]), "different names, got twice true"),
    ],
)  # fmt: skip
def test_refused(make: Callable[[], object], complaint: str) -> None:
    with pytest.raises(ValueError, match=re.escape(complaint)):
        make()


@pytest.mark.parametrize("text", ["`open", "a * b", "x^{2", "f_{", "$x$", "\\lambda", "*a **b*"])
def test_markup_must_be_closed(text: str) -> None:
    with pytest.raises(ValueError, match="must have no single"):
        Choice(text, right=True)


GOOD = """
[sections]
sec-two = "Two lenses"

[[questions]]
name = "true"
section = "sec-two"
text = "Is it?"
explanation = "It is."
choices = [{ text = "yes", right = true }, { text = "no", feedback = "It is." }]

[[questions]]
name = "two"
section = "sec-two"
kind = "number"
text = "1 + 1?"
answer = 2
tolerance = 0.1
hint = "Use your fingers."
explanation = "Count."
traps = [{ value = 1, feedback = "That is one of them." }]
"""


def test_read_questions(tmp_path: Path) -> None:
    (tmp_path / "own.toml").write_text(GOOD, encoding="utf-8")
    where = {"section": "sec-two", "heading": "Two lenses"}
    one, two = read_questions(tmp_path / "own.toml")
    assert one == question(**where)
    assert two == number(**where, traps=(Trap(1, "That is one of them."),))


@pytest.mark.parametrize(
    ("old", "new", "complaint"),
    [
        ("[sections]", "[sections", "own.toml must be TOML: "),
        ("[[questions]]", "[[question]]", "own.toml must have a table [sections] and at least one"),
        ('"sec-two"', '"sec-one"', "own.toml, question 1 ('true'): section must be a label of the table"),
        ("right =", "wright =", "question 1 ('true'): unknown key 'wright'; the keys are text, "),
        ("explanation", "# explanation", "question 1 ('true'): missing explanation; the keys are name, "),
        ('kind = "number"', 'kind = "guess"', "kind must be one of one, number, got 'guess'"),
        ("answer = 2", "answer = 1.1", "question 2 ('two'): answer and traps of question 'two'"),
        ('name = "two"', 'name = "true"', "own.toml must be questions with different names, got twice true"),
        ("traps = [{ value = 1", "traps = [{ value = 'one'", "value of a trap must be a finite number"),
    ],
)  # fmt: skip
def test_errors_name_file_and_question(tmp_path: Path, old: str, new: str, complaint: str) -> None:
    assert old in GOOD
    (tmp_path / "own.toml").write_text(GOOD.replace(old, new), encoding="utf-8")
    with pytest.raises(ValueError, match=re.escape(complaint)):
        read_questions(tmp_path / "own.toml")


# Answers ----------------------------------------------------------------------------------------------


def test_score_counts_first_answers() -> None:
    quiz = examples.quiz()
    assert (quiz.answers, quiz.score) == ({}, 0)
    quiz.answers = {"flip": [1]}
    assert quiz.score == 1
    quiz.set_state({"answers": {"flip": [0, 1], "area": [12.56]}})  # as the browser does
    assert quiz.score == 1
    quiz.answers = {"flip": [1], "area": [12.59]}
    assert quiz.score == 2
    quiz.answers = {"area": [12.5901]}
    assert quiz.score == 0


@pytest.mark.parametrize(
    "answers",
    [{"none": [1]}, {"flip": []}, {"flip": 1}, {"flip": [3]}, {"flip": [True]}, {"area": ["12"]}],
)
def test_answers_must_fit(answers: dict) -> None:
    with pytest.raises(ValueError, match=r"answers? (must|to)"):
        examples.quiz().answers = answers


def test_the_order_is_mixed_and_hangs_on_the_texts_alone() -> None:
    choices = [Choice(str(i), "No.") for i in range(5)] + [Choice("5", right=True)]
    asked = [question(name=f"q{i}", choices=choices) for i in range(60)]
    assert {tuple(sorted(one.order)) for one in asked} == {tuple(range(6))}
    assert {one.order.index(5) for one in asked} == set(range(6))
    turned = question(name="q0", choices=choices[::-1])
    assert [turned.choices[i] for i in turned.order] == [asked[0].choices[i] for i in asked[0].order]


# The browser says the same ----------------------------------------------------------------------------


def test_judging_in_the_browser(javascript: Callable[..., Any]) -> None:
    quiz = examples.quiz()
    flip, area = quiz.questions
    asked = [[0, i] for i in range(3)] + [[1, value] for value in (12.59, 12.55, 12.5901, 6.27, -1.5, 100)]
    lines = "answer = given.asked.map(([q, answer]) => m.judge(given.questions[q], answer));"
    given = {"questions": [one.state() for one in quiz.questions], "asked": asked}
    found = javascript("quiz", lines, given)
    for (place, answer), said in zip(asked, found, strict=True):
        assert said["right"] == quiz.questions[place].is_right(answer)
    assert [said["words"] for said in found] == [
        flip.choices[0].feedback, flip.explanation, flip.choices[2].feedback,
        area.explanation, area.explanation, area.hint,
        area.traps[0].feedback, area.traps[1].feedback, area.hint,
    ]  # fmt: skip


def test_standing(javascript: Callable[..., Any]) -> None:
    tries = [[], [1], [0], [0, 2, 1], [1, 0]]
    lines = "answer = given.tries.map((tries) => m.standing(given.question, tries));"
    given = {"question": examples.quiz().questions[0].state(), "tries": tries}
    assert javascript("quiz", lines, given) == ["open", "first", "wrong", "later", "first"]


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("1.5", 1.5), (" 1,5 ", 1.5), ("0,125", 0.125), ("−2", -2), ("2e-3", 0.002), ("2e−3", 0.002),
        ("1/4", 0.25), (" 3 / −4 ", -0.75), ("1/0", None), ("1/2/3", None), ("1/", None), ("/2", None),
        ("10 000", 10_000), ("1 234 567,5", 1_234_567.5), ("10\u202f000", 10_000), ("1 5", None),
        ("12,000", None), ("90.6 %", 90.6), ("90.6%", 90.6), ("%", None), ("", None), ("x", None),
        ("1 m", None),
    ],
)  # fmt: skip
def test_typed_numbers(javascript: Callable[..., Any], text: str, value: float | None) -> None:
    assert javascript("quiz", 'answer = m.typed(given, "%");', text) == value  # JSON has null for NaN


@pytest.mark.parametrize(
    "text",
    ["plain", "*f*_{c} = 10^{-3}", "`a * b`, then *c d*!", "*e*^{*i*α} < 1", "2 + 2", "see `x_{1}`"],
)
def test_markup_is_cut_alike(javascript: Callable[..., Any], text: str) -> None:
    found = javascript("quiz", "answer = m.pieces(given);", text)
    marked = [part for part in found if part[0]]
    kinds = ["code", "em", "sup", "sub"]
    assert marked == [[kinds[m.lastindex - 1], m[m.lastindex]] for m in MARKUP.finditer(text) if m.lastindex]
    assert "".join(part for kind, part in found if kind is None) == MARKUP.sub("", text)


# The chapters -----------------------------------------------------------------------------------------


@cache
def headings(chapter: str) -> dict[str, str]:
    """Titles of the sections of a chapter by their labels."""
    (path,) = (ROOT / "book").glob(f"{chapter}_*.ipynb")
    cells = nbformat.read(path, as_version=4).cells
    text = "\n\n".join(cell.source for cell in cells if cell.cell_type == "markdown")
    return dict(re.findall(r"^\((sec-[a-z0-9-]+)\)=\n## (.+)$", text, re.MULTILINE))


def test_every_chapter_has_questions() -> None:
    chapters = {path.name[:4] for path in (ROOT / "book").glob("ch??_*.ipynb")}
    assert {path.stem for path in FILES} == chapters


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_questions_of_a_chapter(path: Path) -> None:
    questions = read_questions(path)
    assert 6 <= len(questions) <= 10
    known = headings(path.stem)
    for one in questions:
        assert known.get(one.section) == one.heading, f"{one.name}: no such heading in the chapter"
    used = re.findall(r"^(sec-[a-z0-9-]+) = ", path.read_text(encoding="utf-8"), re.MULTILINE)
    assert set(used) == {one.section for one in questions}, "a section without a question"
    texts = [one.text for one in questions] + [one.explanation for one in questions]
    assert len(set(texts)) == len(texts)
    for one in questions:
        if isinstance(one, Question):
            said = [choice.feedback for choice in one.choices]
            assert len(set(said)) == len(said), f"{one.name}: each wrong choice needs its own feedback"


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_the_right_choice_does_not_show(path: Path) -> None:
    asked = [one for one in read_questions(path) if isinstance(one, Question)]
    places, longest = [], 0
    for one in asked:
        right = next(i for i, choice in enumerate(one.choices) if choice.right)
        places.append(one.order.index(right))
        lengths = [len(choice.text) for choice in one.choices]
        longest += lengths[right] > max(lengths[:right] + lengths[right + 1 :])
    place, times = Counter(places).most_common(1)[0]
    assert times <= max(2, 0.6 * len(asked)), f"{times} right choices are at place {place}: reword some"
    assert longest <= len(asked) / 2, f"{longest} right choices are the longest: shorten some"


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_a_chapter_asks_its_questions(path: Path) -> None:
    (chapter,) = (ROOT / "book").glob(f"{path.stem}_*.ipynb")
    cells = nbformat.read(chapter, as_version=4).cells
    (place,) = (i for i, cell in enumerate(cells) if cell.source == f'Quiz("{path.stem}")')
    assert re.search(r"^## Check yourself$", cells[place - 1].source, re.MULTILINE)


def test_questions_cross_to_the_browser_as_json() -> None:
    quiz = Quiz("ch02")
    state = quiz.get_state(["questions", "answers"])
    assert json.loads(json.dumps(state)) == state | {"questions": json.loads(json.dumps(state["questions"]))}
    assert [one["name"] for one in state["questions"]] == [one.name for one in quiz.questions]
    with pytest.raises(traitlets.TraitError):
        quiz.answers = 3
