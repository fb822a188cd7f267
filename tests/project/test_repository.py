"""What is committed: no path of a machine, no outputs in notebooks, every chapter in the contents."""

import json
import re
import subprocess
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).parents[2]
NOTEBOOKS = [
    path for folder in ("book", "exercises/source") for path in sorted((ROOT / folder).glob("*.ipynb"))
]
MACHINE_PATH = re.compile(r"(?<![\w.:/~-])/(?:work|root|farm|tmp|home|Users)/\w")


def tracked_files() -> list[Path]:
    listed = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, text=True, check=True)
    return [ROOT / name for name in listed.stdout.split("\0") if name and (ROOT / name).is_file()]


def test_no_path_of_a_machine_is_committed() -> None:
    found = []
    for path in tracked_files():
        content = path.read_bytes()
        if b"\0" not in content[:8000]:
            found += [f"{path.relative_to(ROOT)}: {hit}" for hit in MACHINE_PATH.findall(content.decode())]
    assert not found


def test_a_path_of_a_machine_would_be_found() -> None:
    for folder in ("work", "home", "tmp"):
        assert MACHINE_PATH.search(f'open("/{folder}/me/data.npz")')
    assert not MACHINE_PATH.search("see https://example.org/home/page and the at-home/work/life balance")


def test_tracked_files_are_small() -> None:
    large = {path.name: path.stat().st_size for path in tracked_files() if path.stat().st_size > 3_000_000}
    assert not large


def test_there_are_chapters() -> None:
    assert NOTEBOOKS


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_a_chapter_is_stripped_and_opens_and_runs_without_a_question(path: Path) -> None:
    notebook = json.loads(path.read_text(encoding="utf-8"))
    assert notebook["metadata"]["kernelspec"]["name"] == "python3"  # or JupyterLab asks for a kernel
    code = [cell for cell in notebook["cells"] if cell["cell_type"] == "code"]
    assert all(cell["outputs"] == [] and cell["execution_count"] is None for cell in code)
    assert "torch.set_num_threads(1)" in "".join(code[0]["source"])


def test_every_notebook_is_in_the_table_of_contents() -> None:
    toc = yaml.safe_load((ROOT / "_toc.yml").read_text())
    chapters = [chapter for part in toc["parts"] for chapter in part["chapters"]]
    files = {entry["file"] for chapter in chapters for entry in (chapter, *chapter.get("sections", ()))}
    assert {path.relative_to(ROOT).with_suffix("").as_posix() for path in NOTEBOOKS} <= files
