"""``{runtimes}``: seconds and memory per notebook and the slowest cells, from the run that tests them."""

import json
from pathlib import Path
from typing import Any

from docutils import nodes
from docutils.statemachine import StringList
from sphinx.application import Sphinx
from sphinx.util.docutils import SphinxDirective

RECORD = ".timings/runtimes.json"
SLOWEST = 10
UNMEASURED = (
    "This copy of the book was built without timing its cells, so there are no seconds to show. "
    "Run `make timings` and then `make site`: the first measures every cell, the second writes the table."
)


def setup(app: Sphinx) -> None:
    app.add_directive("runtimes", Runtimes)


def markdown(record: dict[str, Any], link: dict[str, str]) -> str:
    """Two tables: seconds and memory per notebook, and the slowest cells of the book.

    ``record`` is ``{"machine": str, "chapters": {path: [row, ...]}}``, the path without suffix, with a row
    for each code cell: ``{"cell": int, "seconds": float, "megabytes": int, "first": str}``. ``megabytes`` is
    what the kernel holds after the cell, and ``first`` its first line. ``link`` gives the Markdown link of a
    path.
    """
    cells = [
        (one["seconds"], link.get(name, name), one["cell"], one["first"])
        for name, timed in record["chapters"].items()
        for one in timed
    ]
    lines = [f"Measured on {record['machine']}.", ""]
    lines += ["| Chapter | Code cells | Seconds | Longest cell (s) | Memory (MB) |", "|:--|--:|--:|--:|--:|"]
    for name, timed in record["chapters"].items():
        seconds = [one["seconds"] for one in timed]
        longest = max(seconds, default=0.0)
        memory = max((one["megabytes"] for one in timed), default=0)
        lines.append(
            f"| {link.get(name, name)} | {len(timed)} | {sum(seconds):.1f} | {longest:.1f} | {memory} |"
        )
    ranked = sorted(cells, reverse=True)[:SLOWEST]
    lines += ["", f"The {len(ranked)} slowest cells, with the line that each begins with:", ""]
    lines += ["| Chapter | Code cell | First line | Seconds |", "|:--|--:|:--|--:|"]
    for taken, chapter, number, first in ranked:
        lines.append(f"| {chapter} | {number} | {_code(first)} | {taken:.2f} |")
    return "\n".join(lines)


def _code(line: str) -> str:
    """A line of code inside a Markdown table, where a bar would begin the next column."""
    return "`" + line.replace("`", "'").replace("|", r"\|") + "`" if line else ""


class Runtimes(SphinxDirective):
    """Show the record of the last timed run, or say that there is none."""

    def run(self) -> list[nodes.Node]:
        path = Path(self.env.srcdir) / RECORD
        self.env.note_dependency(str(path))
        text = UNMEASURED
        if path.is_file():
            record = json.loads(path.read_text(encoding="utf-8"))
            record["chapters"] = {k: v for k, v in record["chapters"].items() if k in self.env.found_docs}
            text = markdown(record, {name: f"[](/{name}.ipynb)" for name in record["chapters"]})
        part = nodes.container()
        self.state.nested_parse(StringList(text.splitlines(), source=str(path)), 0, part)
        return part.children
