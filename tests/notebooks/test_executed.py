"""The site may show the run that tested a notebook: only if it passed, and only as its code is now."""

import os
import subprocess
import sys
from pathlib import Path

import nbformat
import pytest
from jupyter_cache import get_cache
from nbclient import NotebookClient

from tests.notebooks.running import ROOT, run_notebook, write_notebook

CELLS = [
    "import sys\nprint('seen')\nprint('hidden', file=sys.stderr)",
    "x = 6 * 7",
    "from IPython.display import HTML, display\ndisplay(HTML('<b>shown</b>'))\nx",
    "%matplotlib inline\nimport matplotlib.pyplot as plt\nplt.figure(figsize=(1, 1))\nplt.show()",
]


def kept(folder: Path, notebook: nbformat.NotebookNode) -> nbformat.NotebookNode:
    """The notebook with what its cells put out; a ``KeyError`` if it is not in the folder."""
    _, executed = get_cache(folder).merge_match_into_notebook(notebook)
    return executed


@pytest.mark.slow
def test_outputs_are_those_of_another_client(tmp_path: Path) -> None:
    done = run_notebook(tmp_path, CELLS, "--executed", str(tmp_path / "kept"))
    assert done.returncode == 0, done.stdout
    notebook = nbformat.read(tmp_path / "chapter.ipynb", as_version=4)
    ours = kept(tmp_path / "kept", notebook)
    theirs = NotebookClient(nbformat.from_dict(notebook), timeout=60).execute()
    for mine, other in zip(ours.cells, theirs.cells, strict=True):
        assert mine.execution_count == other.execution_count
        assert mine.outputs == other.outputs
    assert ours.metadata.language_info == theirs.metadata.language_info
    assert [len(cell.outputs) for cell in ours.cells] == [2, 0, 2, 1]


@pytest.mark.slow
def test_a_notebook_that_fails_is_not_kept_nor_is_an_older_run(tmp_path: Path) -> None:
    folder = tmp_path / "kept"
    assert run_notebook(tmp_path, ["print(1)"], "--executed", str(folder)).returncode == 0
    passed = nbformat.read(tmp_path / "chapter.ipynb", as_version=4)
    assert kept(folder, passed).cells[0].outputs[0].text == "1\n"
    assert run_notebook(tmp_path, ["print(2)", "assert False"], "--executed", str(folder)).returncode == 1
    for notebook in (passed, nbformat.read(tmp_path / "chapter.ipynb", as_version=4)):
        with pytest.raises(KeyError):
            kept(folder, notebook)


def test_without_the_option_nothing_is_kept(tmp_path: Path) -> None:
    assert run_notebook(tmp_path, ["print(1)"]).returncode == 0
    assert [one.name for one in tmp_path.iterdir()] == ["chapter.ipynb"]


def build(source: Path, executed: str, who: str) -> str:
    """The page of ``chapter.ipynb`` as Sphinx builds it from nothing with the extension of the book."""
    settings = ["-C", "-E", "-D", "extensions=myst_nb,onnlab_book.executed", "-D", "root_doc=chapter"]
    environment = {**os.environ, "PYTHONPATH": str(ROOT / "book" / "_ext"), "WHO": who}
    environment |= {"ONNLAB_EXECUTED": executed}
    command = [sys.executable, "-m", "sphinx", *settings, str(source), str(source / "html")]
    subprocess.run(command, env=environment, check=True, capture_output=True)
    return (source / "html" / "chapter.html").read_text(encoding="utf-8")


@pytest.mark.slow
def test_a_page_shows_the_run_that_tested_it_as_long_as_its_code_is_the_same(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    says = "import os\nprint('run by the ' + os.environ['WHO'])"
    monkeypatch.setenv("WHO", "test")
    assert run_notebook(tmp_path, [says], "--executed", str(tmp_path / "kept")).returncode == 0
    assert "run by the test" in build(tmp_path, "kept", "build")
    assert "run by the build" in build(tmp_path, "", "build")
    write_notebook(tmp_path / "chapter.ipynb", [says + "  # changed"])
    assert "run by the build" in build(tmp_path, "kept", "build")
