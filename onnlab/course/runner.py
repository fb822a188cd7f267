"""Run one notebook inside the sandbox: ``python -m onnlab.course.runner NOTEBOOK CELL_SECONDS``.

A line of JSON goes to the standard output for each cell as soon as it has run, so that what a notebook has
earned is known even if it never comes to an end. The kernel of the notebook cannot write to that output.
"""

import ast
import json
import os
import re
import sys
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import IO, Any

import nbformat
from nbclient import NotebookClient
from nbclient.exceptions import DeadKernelError
from nbformat import NotebookNode

MOST_TEXT = 20_000
"""Characters of each text that are kept."""
MOST_OUTPUTS = 100
"""Outputs of a cell that are kept."""

FRESH = """(lambda sys: [
    sys.modules.pop(name) for name in list(sys.modules) if f"{name}.".startswith("onnlab.checks.")
])(__import__("sys"))"""
"""Forgets the checks, so that the next import reads them from their files; leaves no name behind."""


@dataclass(frozen=True)
class Ran:
    """What a cell did.

    Attributes
    ----------
    name : str
        The ``grade_id`` of the cell.
    printed : str
        What it wrote to the standard output.
    results : list of str
        The values that it showed, as text.
    error : str
        The name and the message of the exception that ended it, empty if none did.
    """

    name: str
    printed: str
    results: list[str]
    error: str


def run_notebook(notebook: NotebookNode, cell_seconds: float, out: IO[str]) -> None:
    """Run the code cells of a notebook in their order and write a line for each.

    Before a graded cell, the modules of ``onnlab.checks`` are forgotten and what the cell calls is made anew:
    whatever an answer has put in the place of ``check``, the real one is back. All other names stay as the
    answers left them, as they do in the notebook of the student.
    """
    client = _Client(
        notebook,
        timeout_func=lambda cell: cell_seconds,
        interrupt_on_timeout=True,
        error_on_timeout={
            "ename": "TimeoutError",
            "evalue": f"the cell ran for more than {cell_seconds:g} s",
            "traceback": [],
        },
        allow_errors=True,
        kernel_name="python3",
    )
    with client.setup_kernel():
        answered = False
        setup: list[str] = []
        for cell in notebook.cells:
            marks = cell.metadata.nbgrader
            answered |= marks.solution
            if cell.cell_type != "code":
                continue
            try:
                if marks.grade:
                    client.run(nbformat.v4.new_code_cell(anew(setup, cell.source)))
                ran = client.run(cell)
            except DeadKernelError:
                _write(out, {"died": marks.grade_id})
                return
            _write(out, asdict(ran))
            if not answered:
                setup.append(cell.source)


def anew(setup: Iterable[str], graded: str) -> str:
    """Return code that forgets the checks and makes anew what a graded cell calls of the setup.

    Parameters
    ----------
    setup : iterable of str
        The locked code in front of the first answer.
    graded : str
        The code of the graded cell.
    """
    calls = (node.func for node in ast.walk(ast.parse(graded)) if isinstance(node, ast.Call))
    called = {call.id for call in calls if isinstance(call, ast.Name)}
    statements = (one for source in setup for one in ast.parse(source).body)
    return "\n".join([FRESH, *(ast.unparse(one) for one in statements if called & _names(one))])


def _names(statement: ast.stmt) -> set[str]:
    """Return the names that an import or a function gives."""
    if isinstance(statement, (ast.Import, ast.ImportFrom)):
        return {one.asname or one.name for one in statement.names}
    return {statement.name} if isinstance(statement, ast.FunctionDef) else set()


class _Client(NotebookClient):
    """Runs cells one by one, and forgets of their outputs what is more than anybody reads."""

    kept = 0
    failed = ""

    def run(self, cell: NotebookNode) -> Ran:
        self.kept, self.failed = 0, ""
        self.on_cell_executed = self.note
        self.execute_cell(cell, 0)
        kinds: dict[str, list[str]] = {"stdout": [], "execute_result": []}
        for one in cell.outputs:
            kind = one.get("name", one.output_type)
            if kind in kinds:
                kinds[kind].append(one.text if kind == "stdout" else one.data.get("text/plain", ""))
        name = cell.metadata.get("nbgrader", {}).get("grade_id", "")
        results = [_text(one) for one in kinds["execute_result"]]
        return Ran(name, _text("".join(kinds["stdout"])), results, _text(self.failed))

    def note(self, cell: NotebookNode, cell_index: int, execute_reply: dict[str, Any] | None) -> None:
        content = (execute_reply or {}).get("content", {})
        if content.get("status") == "error":
            self.failed = f"{content['ename']}: {content['evalue']}"

    def output(
        self, outs: list[NotebookNode], msg: dict[str, Any], display_id: str | None, cell_index: int
    ) -> NotebookNode | None:
        content = msg["content"]
        if msg["msg_type"] == "stream":
            content["text"] = content["text"][: MOST_TEXT + 1 - self.kept]
            self.kept += len(content["text"])
        if msg["msg_type"] in ("display_data", "update_display_data") or len(outs) > MOST_OUTPUTS:
            return None
        return super().output(outs, msg, display_id, cell_index)


def _text(text: str) -> str:
    """Return text without colours and control characters, and no longer than anybody reads."""
    plain = re.sub(r"\x1b\[[0-9;]*[A-Za-z]|[^\n\t -~\u00a0-\U0010ffff]", "", text)
    return plain if len(plain) <= MOST_TEXT else plain[:MOST_TEXT] + " ... (cut off here)"


def _write(out: IO[str], line: dict[str, Any]) -> None:
    out.write(json.dumps(line) + "\n")
    out.flush()


def main() -> None:
    """Run the notebook that the command line names."""
    path, cell_seconds = sys.argv[1:]
    with os.fdopen(os.dup(1), "w", encoding="utf-8") as out:
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, 1)
        notebook = nbformat.reads(Path(path).read_text(encoding="utf-8"), as_version=4)
        run_notebook(notebook, float(cell_seconds), out)


if __name__ == "__main__":
    main()
