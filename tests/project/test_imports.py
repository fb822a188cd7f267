"""Imports run one way, and the library runs where there is no Jupyter."""

import ast
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parents[2] / "onnlab"
TEACHING = ("optics", "networks", "distill", "hardware", "experiments")  # each may import those before it
SURFACES = ("widgets", "checks", "course", "commands", "cli")  # import the others and are imported by none
OPENS = {"cli": {"commands"}, "commands": {"course"}}  # but the command line is made of commands
# __main__.py is the command line under another name.
MODULES = sorted(path for path in PACKAGE.rglob("*.py") if path.name != "__main__.py")


def imported_parts(source: str, package: str) -> set[str]:
    """Sub-packages of onnlab that a module in ``package`` (such as ``onnlab.optics``) imports anywhere."""
    names = set()
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            parents = package.split(".")
            above = ".".join(parents[: len(parents) - node.level + 1]) if node.level else ""
            base = ".".join(filter(None, [above, node.module]))
            names |= {f"{base}.{alias.name}" for alias in node.names}
    return {name.split(".")[1] for name in names if name.startswith("onnlab.")}


def forbidden(source: str, package: str) -> set[str]:
    """Of those, the ones that point against the direction of the house."""
    part = package.split(".")[1] if "." in package else ""
    parts = imported_parts(source, package) - {part}
    wrong = parts & set(SURFACES) - OPENS.get(part, set())
    if part in TEACHING:
        wrong |= parts & set(TEACHING[TEACHING.index(part) :])
    return wrong


@pytest.mark.parametrize("path", MODULES, ids=lambda path: str(path.relative_to(PACKAGE)))
def test_imports_run_one_way(path: Path) -> None:
    place = path.with_suffix("") if path.name == "cli.py" else path.parent
    package = ".".join(place.relative_to(PACKAGE.parent).parts)
    assert not forbidden(path.read_text(encoding="utf-8"), package)


@pytest.mark.parametrize(
    ("source", "package"),
    [
        ("from onnlab.networks import LeNet", "onnlab.optics"),
        ("from ..hardware import cost", "onnlab.distill"),
        ("from .. import widgets", "onnlab.viz"),
        ("def f():\n    import onnlab.widgets.paint", "onnlab.optics"),
        ("from .widgets import paint", "onnlab"),
        ("from onnlab.course import grade", "onnlab.experiments"),
        ("from onnlab.checks import check", "onnlab.course"),
        ("from onnlab.checks import check", "onnlab.commands"),
        ("from onnlab.cli import main", "onnlab.commands"),
    ],
)
def test_a_wrong_direction_is_found(source: str, package: str) -> None:
    assert forbidden(source, package)


@pytest.mark.parametrize(
    ("source", "package"),
    [
        ("from onnlab.optics import Grid", "onnlab.networks"),
        ("from .grid import Grid", "onnlab.optics"),
        ("from ..optics import Grid", "onnlab.widgets"),
        ("import torch", "onnlab.data"),
        ("from onnlab.commands.course import add_grade", "onnlab.cli"),
        ("from onnlab.course.grading import grade", "onnlab.commands"),
        ("from onnlab.optics import Grid", "onnlab.checks"),
    ],
)
def test_a_right_direction_is_left_alone(source: str, package: str) -> None:
    assert not forbidden(source, package)


def run_python(code: str) -> None:
    done = subprocess.run([sys.executable, "-c", textwrap.dedent(code)], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def test_importing_the_package_loads_nothing_heavy() -> None:
    run_python(
        """
        import sys
        import onnlab
        heavy = {"torch", "numpy", "matplotlib"} & set(sys.modules)
        assert not heavy, heavy
        """
    )


def test_everything_but_the_widgets_works_without_jupyter() -> None:
    parts = sorted({path.parent.name for path in PACKAGE.glob("*/__init__.py")} - set(SURFACES))
    assert {"optics", "data"} <= set(parts)
    run_python(
        f"""
        import importlib, importlib.abc, sys

        JUPYTER = {{"IPython", "ipywidgets", "anywidget", "traitlets", "jupyterlab"}}

        class NoJupyter(importlib.abc.MetaPathFinder):
            def find_spec(self, name, path=None, target=None):
                if name.partition(".")[0] in JUPYTER:
                    raise ModuleNotFoundError(name)

        sys.meta_path.insert(0, NoJupyter())
        for part in {parts!r}:
            importlib.import_module("onnlab." + part)
        """
    )


def test_the_command_line_works_without_jupyter_and_says_what_is_missing(tmp_path: Path) -> None:
    run_python(
        f"""
        import contextlib, importlib.abc, io, sys

        class NoJupyter(importlib.abc.MetaPathFinder):
            def find_spec(self, name, path=None, target=None):
                if name.partition(".")[0] in {{"nbformat", "nbclient", "psutil", "IPython"}}:
                    raise ModuleNotFoundError(f"No module named {{name!r}}", name=name)

        sys.meta_path.insert(0, NoJupyter())
        from onnlab.cli import main
        assert main(["data", "path"]) == 0
        for command in (["grade", {str(tmp_path)!r}], ["release", {str(tmp_path)!r}, {str(tmp_path)!r}]):
            said = io.StringIO()
            with contextlib.redirect_stderr(said):
                assert main(command) == 1
            assert 'needs nbformat; install it with pip install "onnlab[lab]"' in said.getvalue()
        """
    )
