"""What the package says of itself: its bounds, its pins, its commands, its licences."""

import re
import tomllib
from pathlib import Path

import pytest
import yaml
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).parents[2]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
LIBRARY = [Requirement(text) for text in PROJECT["dependencies"]]
EXTRAS = [Requirement(text) for extra in PROJECT["optional-dependencies"].values() for text in extra]
PINS = [
    Requirement(line)
    for line in (ROOT / "constraints.txt").read_text().splitlines()
    if not line.startswith("#")
]
MAKEFILE = (ROOT / "Makefile").read_text()


def test_the_library_has_lower_bounds_only() -> None:
    names = {requirement.name for requirement in LIBRARY}
    assert names == {"torch", "numpy", "matplotlib", "pillow", "pooch", "filelock", "safetensors", "joblib"}
    for requirement in LIBRARY:
        assert [bound.operator for bound in requirement.specifier] == [">="], requirement


def test_every_pin_is_exact_and_of_no_single_platform() -> None:
    for pin in PINS:
        (bound,) = pin.specifier
        assert bound.operator == "==" and "+" not in bound.version and pin.url is None, pin


def test_the_pins_hold_every_requirement_within_its_bounds() -> None:
    pinned = {canonicalize_name(pin.name): next(iter(pin.specifier)).version for pin in PINS}
    assert "onnlab" not in pinned
    for requirement in LIBRARY + EXTRAS:
        if requirement.name != "onnlab":
            assert requirement.specifier.contains(pinned[canonicalize_name(requirement.name)]), requirement


def test_pins_are_named_once() -> None:
    names = [canonicalize_name(pin.name) for pin in PINS]
    assert len(names) == len(set(names))


@pytest.mark.parametrize("name", ["README.md", "CONTRIBUTING.md", "bootstrap.py", "Makefile", ".ci/run"])
def test_every_make_command_that_is_written_down_exists(name: str) -> None:
    targets = {target for line in re.findall(r"^([a-z][a-z -]*):", MAKEFILE, re.M) for target in line.split()}
    # In running text a command is between backticks; in a script or a code block it begins a line.
    named = re.findall(r"(?:^|`|# )make ([a-z][a-z-]*)", (ROOT / name).read_text(), re.M)
    assert named and set(named) <= targets


def test_the_workflow_only_calls_make() -> None:
    jobs = yaml.safe_load((ROOT / ".github/workflows/book.yml").read_text())["jobs"]
    commands = [step["run"] for job in jobs.values() for step in job["steps"] if "run" in step]
    assert "bash .ci/run" in commands
    for command in commands:
        assert re.match(r"bash \.ci/run$|make [a-z-]+$|gh release upload ", command), command


def test_the_versions_agree() -> None:
    version = re.search(r'__version__ = "(.+)"', (ROOT / "onnlab/__init__.py").read_text())
    citation = yaml.safe_load((ROOT / "CITATION.cff").read_text())
    assert version is not None and citation["version"] == version[1]
    assert f"## {version[1]}" in (ROOT / "CHANGELOG.md").read_text()


def test_the_citation_names_both_articles() -> None:
    citation = yaml.safe_load((ROOT / "CITATION.cff").read_text())
    assert {"cff-version", "message", "title", "authors"} <= citation.keys()
    identifiers = {item["value"] for work in citation["references"] for item in work["identifiers"]}
    assert identifiers == {"arXiv:2102.13323", "arXiv:2508.08421"}


@pytest.mark.parametrize("pattern", PROJECT["license-files"])
def test_the_licence_files_exist(pattern: str) -> None:
    assert list(ROOT.glob(pattern))
