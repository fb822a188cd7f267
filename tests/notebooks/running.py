"""Run a small notebook as ``make chapters`` runs a chapter, for the tests of the plugins."""

import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import nbformat

ROOT = Path(__file__).parents[2]
PLUGINS = ("budget", "points", "executed")


def write_notebook(path: Path, cells: Sequence[str]) -> None:
    """Write a notebook of these code cells."""
    notebook = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(source) for source in cells])
    nbformat.write(notebook, path)


def run_notebook(folder: Path, cells: Sequence[str], *options: str) -> subprocess.CompletedProcess[str]:
    """Write the cells to ``folder/chapter.ipynb`` and run them."""
    write_notebook(folder / "chapter.ipynb", cells)
    command = [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", "--color=no", "-W", "default"]
    command += [part for name in PLUGINS for part in ("-p", f"tests.notebooks.{name}")]
    command += ["--nbval-lax", "--nbval-current-env", "--nbval-cell-timeout=30", *options]
    command += ["--rootdir", str(ROOT), "-c", str(ROOT / "pyproject.toml"), str(folder)]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
