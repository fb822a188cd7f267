"""The environments for a course are built from the files of the repository, and carry no solutions.

No image is built here: the test holds what can be held without an engine.
"""

import re
import shutil
import subprocess
import tomllib
from pathlib import Path

import pytest
from packaging.specifiers import SpecifierSet

ROOT = Path(__file__).parents[2]
CONTAINER = (ROOT / "Containerfile").read_text(encoding="utf-8")
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
BINDER = (ROOT / "binder/requirements.txt").read_text(encoding="utf-8").splitlines()


def copied() -> list[Path]:
    lines = re.findall(r"^COPY(?: --\S+)* (.+) \S+$", CONTAINER, re.MULTILINE)
    return [path for line in lines for pattern in line.split() for path in ROOT.glob(pattern)]


def test_everything_that_is_copied_exists_and_nothing_of_it_is_a_solution() -> None:
    for line in re.findall(r"^COPY(?: --\S+)* (.+) \S+$", CONTAINER, re.MULTILINE):
        for pattern in line.split():
            assert list(ROOT.glob(pattern)), pattern
    files = [file for path in copied() for file in ([path] if path.is_file() else path.rglob("*.ipynb"))]
    notebooks = [file for file in files if file.suffix == ".ipynb"]
    assert len(notebooks) >= 14
    assert not [file.name for file in notebooks if "BEGIN SOLUTION" in file.read_text(encoding="utf-8")]


@pytest.mark.parametrize(
    "python",
    [re.search(r"python:(\S+)-slim", CONTAINER)[1], (ROOT / "binder/runtime.txt").read_text()[7:].strip()],
)
def test_their_python_is_one_that_the_package_allows(python: str) -> None:
    assert python + ".0" in SpecifierSet(PROJECT["requires-python"])


def test_both_install_the_same_with_the_same_pins() -> None:
    (pinned, wanted) = re.search(r'pip install --constraint (\S+) "(\S+)" myst-nb', CONTAINER).groups()
    lines = [line for line in BINDER if not line.startswith("#")]
    assert lines == [f"-c ../{pinned}", wanted, "myst-nb"]
    assert set(re.findall(r"\w+", wanted)) <= set(PROJECT["optional-dependencies"])


@pytest.mark.skipif(shutil.which("make") is None, reason="the switch is one of make's")
def test_a_site_without_solutions_is_built_from_the_exercises_of_students() -> None:
    command = ["make", "--dry-run", "-o", "venv", "site", "SOLUTIONS=no"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
    (edit,) = re.findall(r"^sed '(.*)' _toc.yml", done.stdout, re.MULTILINE)
    contents = subprocess.run(
        ["sed", edit, ROOT / "_toc.yml"], capture_output=True, text=True, check=True
    ).stdout
    assert contents.count("file: exercises/ch") == len(list((ROOT / "exercises").glob("*.ipynb")))
    assert "source" not in contents
