"""TOML files of questions. Needs no Jupyter."""

import tomllib
from collections.abc import Callable, Mapping
from dataclasses import MISSING, fields
from pathlib import Path
from typing import Any

from onnlab.widgets.questions import Choice, NumberQuestion, Question, Trap, check_names

KINDS: dict[str, Callable[..., Question | NumberQuestion]] = {"one": Question, "number": NumberQuestion}


def _made(make: Any, table: Mapping[str, Any], **more: Any) -> Any:
    """Make a dataclass from a table of TOML, with an error that names its keys."""
    needed = {one.name: one.default is MISSING for one in fields(make) if one.name not in more}
    for key in table:
        if key not in needed:
            raise ValueError(f"unknown key {key!r}; the keys are {', '.join(needed)}")
    missing = [key for key in needed if needed[key] and key not in table]
    if missing:
        raise ValueError(f"missing {', '.join(missing)}; the keys are {', '.join(needed)}")
    return make(**table, **more)


def _question(table: Mapping[str, Any], sections: Mapping[str, str]) -> Question | NumberQuestion:
    entries = dict(table)
    kind, section = entries.pop("kind", "one"), entries.get("section", "")
    if kind not in KINDS:
        raise ValueError(f"kind must be one of {', '.join(KINDS)}, got {kind!r}")
    if section not in sections:
        raise ValueError(f"section must be a label of the table [sections], got {section!r}; add it there")
    for key, part in (("choices", Choice), ("traps", Trap)):
        if key in entries:
            entries[key] = [_made(part, one) for one in entries[key]]
    return _made(KINDS[kind], entries, heading=sections[section])


def read_questions(path: str | Path) -> tuple[Question | NumberQuestion, ...]:
    """Read the questions of a TOML file, in their order.

    The table ``[sections]`` gives the title of each section by its label. Then each ``[[questions]]`` has
    the parameters of :class:`Question`, or with ``kind = "number"`` those of :class:`NumberQuestion`. Its
    ``[[questions.choices]]`` and ``[[questions.traps]]`` have those of :class:`Choice` and :class:`Trap`.

    Raises
    ------
    ValueError
        If the file is no TOML, or a question is not well; the file and the question are named.
    """
    path = Path(path)
    try:
        table = tomllib.loads(path.read_text(encoding="utf-8"))
    except tomllib.TOMLDecodeError as error:
        raise ValueError(f"{path.name} must be TOML: {error}") from error
    extra = set(table) - {"sections", "questions"}
    if extra or not table.get("questions"):
        raise ValueError(
            f"{path.name} must have a table [sections] and at least one [[questions]], got {sorted(table)}"
        )
    questions = []
    for place, one in enumerate(table["questions"], 1):
        try:
            questions.append(_question(one, table.get("sections", {})))
        except (TypeError, ValueError) as error:
            raise ValueError(f"{path.name}, question {place} ({one.get('name')!r}): {error}") from error
    return check_names(questions, path.name)
