"""What a lecturer opens after grading: one table of scores, and one page for each student.

Everything on a page that comes from a student is text and nothing else: it is escaped, and the page forbids
the browser every script, every picture and every address.
"""

import csv
import math
from collections.abc import Iterable
from html import escape
from pathlib import Path

from onnlab.course.grading import Graded, Item, Student

STYLE = """
:root { color-scheme: light dark; --ink: #1f2933; --paper: #fdfdfb; --quiet: #4a5866; --box: #f2f5f7;
  --line: #d5dce3; --good: #0a66a8; --missing: #a33c00; }
@media (prefers-color-scheme: dark) { :root { --ink: #d3dbe3; --paper: #13171c; --quiet: #a6b3c0;
  --box: #1e252d; --line: #36414d; --good: #7cc0f2; --missing: #f0a568; } }
body { margin: 0 auto; max-width: 52rem; padding: 1rem 1.25rem 4rem; color: var(--ink);
  background: var(--paper); font: 1rem/1.5 system-ui, sans-serif; }
h2 { margin-top: 3rem; border-top: 1px solid var(--line); padding-top: 1rem; }
h3 { margin: 2rem 0 0.5rem; }
table { border-collapse: collapse; width: 100%; }
th, td { border-bottom: 1px solid var(--line); padding: 0.3rem 0.6rem; text-align: left; }
td:nth-child(n + 2), th:nth-child(n + 2) { text-align: right; }
pre { background: var(--box); border: 1px solid var(--line); border-radius: 4px; padding: 0.75rem;
  overflow-x: auto; font-size: 0.875rem; }
pre.text { white-space: pre-wrap; font-family: inherit; font-size: 1rem; }
.good { color: var(--good); } .missing { color: var(--missing); } .quiet { color: var(--quiet); }
input { font: inherit; width: 5rem; color: inherit; background: var(--box); border: 1px solid var(--quiet); }
@media print { h3, pre { break-inside: avoid; } }
"""


def write_report(students: Iterable[Student], out: str | Path) -> list[Path]:
    """Write ``scores.csv`` and ``NAME.html`` for each student; return the files.

    Parameters
    ----------
    students : iterable of Student
        What :func:`onnlab.course.grade` returns.
    out : path
        A folder, made if it is not there.
    """
    folder = Path(out)
    folder.mkdir(parents=True, exist_ok=True)
    students = list(students)
    table = folder / "scores.csv"
    # With the mark in front, a spreadsheet takes the file for what it is: UTF-8.
    with table.open("w", encoding="utf-8-sig", errors="replace", newline="") as file:
        csv.writer(file).writerows(scores(students))
    return [table, *(write_page(student, folder) for student in students)]


def write_page(student: Student, out: str | Path) -> Path:
    """Write ``NAME.html`` for a student to a folder, which is made if it is not there; return the file."""
    folder = Path(out)
    folder.mkdir(parents=True, exist_ok=True)
    file = folder / f"{student.name}.html"
    file.write_text(page(student), encoding="utf-8", errors="replace")
    return file


def scores(students: Iterable[Student]) -> list[list[str | float]]:
    """Return a table with a line for each student: name, points of each exercise, total, and what to look at.

    The columns are those of the notebooks that anybody handed in. The first line has the names and the second
    one what there is to reach. A cell is empty where a text waits to be read, and 0 where nothing was handed
    in.
    """
    students = list(students)
    handed_in = [graded for student in students for graded in student.notebooks]
    columns = {
        item.name: item.points
        for graded in sorted(handed_in, key=lambda graded: graded.notebook)
        for item in graded.items
    }
    rows: list[list[str | float]] = [
        ["student", *columns, "total", "to be read", "remarks"],
        ["points", *columns.values(), math.fsum(columns.values()), "", ""],
    ]
    for student in students:
        items = {item.name: item for graded in student.notebooks for item in graded.items}
        points = [_cell(items[name]) if name in items else 0.0 for name in columns]
        unread = ", ".join(item.name for item in items.values() if item.score is None)
        rows.append(
            [_plain(student.name), *points, student.score, unread, _plain("; ".join(_remarks(student)))]
        )
    return rows


def _cell(item: Item) -> str | float:
    return "" if item.score is None else item.score


def _remarks(student: Student) -> list[str]:
    remarks = list(student.remarks)
    for graded in student.notebooks:
        remarks += [f"{graded.notebook}: {one}" for one in (graded.reason, *graded.remarks) if one]
    return remarks


def _plain(text: str) -> str:
    """Return text that no spreadsheet takes for a formula."""
    return f"'{text}" if text.startswith(("=", "+", "-", "@", "\t", "\r")) else text


def page(student: Student) -> str:
    """Return the page of a student as HTML."""
    name = escape(student.name)
    remarks = "".join(f"<li>{escape(one)}</li>" for one in student.remarks)
    rows = "".join(_row(graded) for graded in student.notebooks)
    body = "".join(_section(graded) for graded in student.notebooks)
    return f"""<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta http-equiv="Content-Security-Policy" content="default-src 'none'; style-src 'unsafe-inline'">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>{name}: exercises</title>
<style>{STYLE}</style>
</head>
<body>
<main>
<h1>{name}</h1>
{f"<ul>{remarks}</ul>" if remarks else ""}
<table>
<caption class="quiet">Points by the checks. What is to be read is not in them.</caption>
<thead><tr><th scope="col">Notebook</th><th scope="col">Points</th><th scope="col">Of</th>
<th scope="col">To be read</th></tr></thead>
<tbody>
{rows}<tr><th scope="row">All</th><td>{student.score:g}</td><td>{_most(student.notebooks):g}</td>
<td>{sum(map(_unread, student.notebooks))}</td></tr>
</tbody>
</table>
{body}</main>
</body>
</html>
"""


def _row(graded: Graded) -> str:
    name = escape(graded.notebook)
    return (
        f'<tr><th scope="row"><a href="#{name}">{name}</a></th><td>{graded.score:g}</td>'
        f"<td>{_most([graded]):g}</td><td>{_unread(graded)}</td></tr>\n"
    )


def _most(notebooks: Iterable[Graded]) -> float:
    return math.fsum(item.points for graded in notebooks for item in graded.items)


def _unread(graded: Graded) -> int:
    return sum(item.score is None for item in graded.items)


def _section(graded: Graded) -> str:
    name = escape(graded.notebook)
    remarks = "".join(
        f'<li class="missing">{escape(one)}</li>' for one in (graded.reason, *graded.remarks) if one
    )
    items = "".join(map(_exercise, graded.items))
    return f'<h2 id="{name}">{name}</h2>\n{f"<ul>{remarks}</ul>" if remarks else ""}\n{items}'


def _exercise(item: Item) -> str:
    name, points = escape(item.name), f"{item.points:g}"
    if item.score is None:
        place = f'<input type="number" min="0" max="{points}" step="0.5">'
        verdict = f"<label>Points by hand: {place}</label> of {points}"
    else:
        kind = "good" if item.score == item.points else "missing"
        verdict = f'<span class="{kind}">{item.score:g} of {points} points</span>'
    parts = [f"<h3>{name}</h3>\n<p>{verdict}</p>\n"]
    if item.reason:
        parts.append(f'<p class="missing">{escape(item.reason)}</p>\n')
    for kind, source in item.answers:
        what, look = ("answer", "code") if kind == "code" else ("text", "text")
        parts.append(_block(source, f"{what} of {item.name}", look))
    if item.printed.strip():
        parts.append(
            f'<p class="quiet">The check says:</p>\n{_block(item.printed, f"check of {item.name}", "code")}'
        )
    return "".join(parts)


def _block(text: str, label: str, look: str) -> str:
    # What scrolls has to be reached by the keyboard, and then it needs a name.
    return (
        f'<pre class="{look}" role="region" tabindex="0" aria-label="{escape(label)}">{escape(text)}</pre>\n'
    )
