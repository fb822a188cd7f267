"""The explorable at the end of each chapter: questions that answer back."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import traitlets

from onnlab.widgets._explorable import Explorable
from onnlab.widgets.question_file import read_questions
from onnlab.widgets.questions import NumberQuestion, Question, check_names

QUIZZES = Path(__file__).with_name("quizzes")


class Quiz(Explorable):
    """Ask questions one by one, and say to each wrong answer why it is wrong.

    A question may be tried again until it is right. What counts in the end is the first answer. Answers are
    kept here and nowhere else: a page that is opened anew has forgotten them.

    Parameters
    ----------
    chapter : str, optional
        Name of a chapter, as in ``Quiz("ch02")``.
    questions : sequence of Question and NumberQuestion, optional
        Questions of your own, instead of a chapter; :func:`read_questions` has them from a file.

    Raises
    ------
    ValueError
        If there is no such chapter, both or neither are given, or two questions have one name.

    Examples
    --------
    >>> quiz = Quiz("ch02")
    >>> quiz  # in JupyterLab: answer some questions, then
    >>> quiz.score
    """

    module = "quiz"

    questions = traitlets.Tuple().tag(
        sync=True,
        to_json=lambda questions, widget: [question.state() for question in questions],
        from_json=lambda data, widget: widget.questions,  # the browser has no questions of its own
    )
    answers = traitlets.Dict({}).tag(sync=True)
    """For each question that was tried, by its name, all answers in turn: indices of choices, or numbers."""

    def __init__(
        self,
        chapter: str | None = None,
        *,
        questions: Sequence[Question | NumberQuestion] | None = None,
        **state: Any,
    ) -> None:
        if (chapter is None) == (questions is None):
            raise ValueError("give either a chapter, as in Quiz('ch02'), or questions=[...], not both")
        if questions is None:
            known = sorted(path.stem for path in QUIZZES.glob("*.toml"))
            if chapter not in known:
                raise ValueError(
                    f"chapter must be one of {', '.join(known)}, got {chapter!r}; or give questions=[...]"
                )
            questions = read_questions(QUIZZES / f"{chapter}.toml")
        super().__init__(questions=check_names(questions), **state)

    @traitlets.validate("answers")
    def _check_answers(self, proposal: dict) -> dict:
        answers = proposal["value"]
        known = {question.name: question for question in self.questions}
        for name, tries in answers.items():
            if name not in known or not isinstance(tries, (list, tuple)) or not tries:
                raise ValueError(
                    f"answers must hold a list of tries for names among {', '.join(known)}, "
                    f"got {name!r}: {tries!r}"
                )
            for answer in tries:
                known[name].check_answer(answer)
        return answers

    @property
    def score(self) -> int:
        """Number of questions that were right at the first try."""
        first = {name: tries[0] for name, tries in self.answers.items()}
        return sum(one.name in first and one.is_right(first[one.name]) for one in self.questions)
