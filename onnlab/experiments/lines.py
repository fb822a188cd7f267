"""The files of results and rehearsals: one line of JSON each, checked, and complete at any moment."""

import json
import math
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

from onnlab.distill.checkpoint import append_line
from onnlab.experiments.settings import key_of

Line = dict[str, Any]
Found = TypeVar("Found")


class LineError(ValueError):
    """Lines of results or rehearsals are broken, or do not compare; the text says where, and what to do."""


FIELDS: dict[str, tuple[type, ...]] = {
    "key": (str,),
    "experiment": (str,),
    "scale": (str,),
    "row": (str,),
    "seed": (int,),
    "version": (int,),
    "settings": (dict,),
    "commit": (str, type(None)),
    "versions": (dict,),
    "device": (str,),
    "data_note": (str, type(None)),
    "error": (str, type(None)),
}
"""What every line holds. ``error`` is null, or the traceback of a run that failed."""

RESULTS: dict[str, tuple[type, ...]] = {
    "test_accuracy": (float,),
    "validation_accuracy": (float,),
    "validation_loss": (float,),
    "epoch": (int,),
    "parameters": (int,),
    "seconds": (float,),
    "data_sha256": (str,),
}
"""What a line holds as well if the run did not fail."""

LATER: dict[str, tuple[type, ...]] = {"joules": (float, type(None))}
"""What it may hold: lines that are older do not. ``joules`` is null where the machine does not tell, and for
a training that was interrupted, made by several processes, or had to train its teacher along."""

PIXELS: dict[str, tuple[type, ...]] = {"test_miou": (float,), "validation_miou": (float,)}
"""What it holds, too, if each pixel has a label: then these decide and are shown, not the accuracies."""

REHEARSALS = "rehearsals.jsonl"
"""Name of the file of rehearsals, beside those of results."""

REHEARSED: dict[str, tuple[type, ...]] = {
    **{
        name: FIELDS[name] for name in ("experiment", "scale", "row", "commit", "versions", "device", "error")
    },
    "group": (str,),
}
"""What every line of a rehearsal holds. ``group`` is that of :func:`onnlab.experiments.tables.group`: all
settings but those that are tuned, by which a row is recognised."""

EXTRAPOLATED: dict[str, tuple[type, ...]] = {"seconds": (float,), "parts": (dict,)}
"""What it holds as well if the row runs: seconds of a whole run, and what they are made of."""


def check_line(line: object) -> None:
    """Raise unless this is a line as ``FIELDS`` and ``RESULTS`` say.

    Raises
    ------
    ValueError
        If a field is missing, unknown, of the wrong type or out of range. The message names it.
    """
    fields = _fields(line)
    failed = fields.get("error") is not None
    pixels = PIXELS if fields.keys() & PIXELS.keys() else {}
    later = {name: types for name, types in LATER.items() if name in fields}
    _check_fields(fields, FIELDS if failed else {**FIELDS, **RESULTS, **later, **pixels})
    for name in () if failed else ("test_accuracy", "validation_accuracy", *pixels):
        if not 0 <= fields[name] <= 1:
            raise ValueError(f"{name} must be from 0 to 1, got {fields[name]}")
    for name in () if failed else ("seconds", "joules"):
        if (fields.get(name) or 0) < 0:
            raise ValueError(f"{name} must not be negative, got {fields[name]}")
    if not failed and not re.fullmatch("[0-9a-f]{64}", fields["data_sha256"]):
        raise ValueError(f"data_sha256 must be 64 hexadecimal digits, got {fields['data_sha256']!r}")
    if fields["settings"].get("seed") != fields["seed"]:
        raise ValueError(f"seed must be that of the settings, got {fields['seed']}")
    key = key_of(fields["settings"], fields["version"])
    if fields["key"] != key:
        raise ValueError(f"key must be that of settings and version, {key!r}, got {fields['key']!r}")


def is_settled(line: Line) -> bool:
    """Whether a run need not be made again: it has results, or its training diverged, as it would again."""
    return line["error"] is None or re.search("^FloatingPointError:", line["error"], re.MULTILINE) is not None


class Copy(NamedTuple):
    """Which pictures a result is about: the name of the data set, their SHA-256, and what is unusual."""

    data: str
    sha256: str
    note: str | None


def copies(lines: Iterable[Line]) -> set[Copy]:
    """Return the copies of data sets that lines are about. Those of failed runs are left out."""
    return {
        Copy(line["settings"]["data"], line["data_sha256"], line["data_note"])
        for line in lines
        if line["error"] is None
    }


def check_copies(found: Iterable[Copy]) -> None:
    """Raise unless there is one copy of each data set.

    Raises
    ------
    LineError
        If there are two: results of different pictures neither average nor compare.
    """
    first: dict[str, Copy] = {}
    for one in sorted(found, key=str):
        other = first.setdefault(one.data, one)
        if other.sha256 != one.sha256:
            notes = " and ".join(f"{copy.sha256[:8]} ({copy.note})" for copy in (other, one))
            raise LineError(
                f"lines about {one.data} must be of one copy of it, got {notes}; "
                "keep the results of each copy in a folder of its own (--out)"
            )


def check_rehearsal(line: object) -> None:
    """Raise unless this is a line as ``REHEARSED`` and ``EXTRAPOLATED`` say.

    Raises
    ------
    ValueError
        If a field is missing, unknown, of the wrong type or out of range. The message names it.
    """
    fields = _fields(line)
    failed = fields.get("error") is not None
    _check_fields(fields, REHEARSED if failed else {**REHEARSED, **EXTRAPOLATED})
    if not failed and fields["seconds"] < 0:
        raise ValueError(f"seconds must not be negative, got {fields['seconds']}")


def _fields(line: object) -> Mapping[str, Any]:
    if not isinstance(line, Mapping):
        raise ValueError(f"a line must be a JSON object, got {type(line).__name__}")
    return line


def _check_fields(line: Mapping[str, Any], expected: Mapping[str, tuple[type, ...]]) -> None:
    """Raise unless a line holds these fields, no others, and finite numbers."""
    if line.keys() != expected.keys():
        missing, unknown = sorted(expected.keys() - line.keys()), sorted(line.keys() - expected.keys())
        raise ValueError(f"a line must hold the fields of the schema; missing {missing}, unknown {unknown}")
    for name, types in expected.items():
        value = line[name]
        if isinstance(value, bool) or not isinstance(value, types):
            wanted = " or ".join(kind.__name__ for kind in types)
            raise ValueError(f"{name} must be {wanted}, got {value!r}")
        if isinstance(value, float) and not math.isfinite(value):
            raise ValueError(f"{name} must be finite, got {value}")


def score(line: Line, split: str) -> float:
    """Return the accuracy on ``"validation"`` or ``"test"``, or the mIoU where each pixel has a label."""
    value = line.get(f"{split}_miou", line[f"{split}_accuracy"])
    assert isinstance(value, float)
    return value


def read(path: Path) -> list[Line]:
    """Return the lines of a file, none if there is no file. Of two lines with one key the later one counts.

    Raises
    ------
    LineError
        If a line is not as it has to be. The message names its number.
    """
    return _read(path, check_line, "key")


def read_rehearsals(path: Path) -> list[Line]:
    """Return the lines of a file of rehearsals. Of two lines of one row on one device the later one counts.

    Raises
    ------
    LineError
        As :func:`read`.
    """
    return _read(path, check_rehearsal, "group", "device")


def _read(path: Path, check: Callable[[object], None], *keys: str) -> list[Line]:
    def checked(line: Line) -> Line:
        check(line)
        return line

    lines = objects(path, checked, "mend or remove that line")
    return list({tuple(line[key] for key in keys): line for line in lines}.values())


def objects(path: Path, made_of: Callable[[Any], Found], remedy: str) -> Iterator[Found]:
    """Yield what each line of a file holds, nothing if there is no file.

    Parameters
    ----------
    path : Path
        Of the file, with a JSON value in each line.
    made_of : callable
        Makes of that value what is yielded. Raises ValueError or TypeError if the line is broken.
    remedy : str
        What to do then.

    Raises
    ------
    LineError
        If a line is broken. The message names its number.
    """
    for number, text in enumerate(path.read_bytes().splitlines() if path.exists() else (), start=1):
        try:
            yield made_of(json.loads(text))
        except (ValueError, TypeError) as error:
            raise LineError(f"{path}, line {number}: {error}; {remedy}") from error


def append(path: Path, line: Line) -> None:
    """Add a line to a file. Whenever the process is killed, the line is there as a whole or not at all.

    Raises
    ------
    ValueError
        If the line is not as :func:`check_line` wants it.
    """
    check_line(line)
    append_line(path, json.dumps(line, allow_nan=False))


def append_rehearsal(path: Path, line: Line) -> None:
    """Add a line to a file of rehearsals, as :func:`append` does to one of results.

    Raises
    ------
    ValueError
        If the line is not as :func:`check_rehearsal` wants it.
    """
    check_rehearsal(line)
    append_line(path, json.dumps(line, allow_nan=False))
