"""The installer, with pip and venv replaced by a stand-in wherever the real ones are not the point."""

import ast
import importlib.util
import os
import resource
import runpy
import shutil
import subprocess
import sys
from collections import namedtuple
from pathlib import Path
from types import ModuleType

import pytest

ROOT = Path(__file__).parents[2]
INSTALL = ["pip", "jupyterlab.labextensions"]


class Machine:
    """Stands in for ``subprocess.run``: makes environments on disk and answers for pip as it is told."""

    def __init__(self, home: Path) -> None:
        self.home = home
        self.steps: list[str] = []
        self.pip_says = ""
        self.pip_raises: BaseException | None = None

    def run(self, command: list[str], **_: object) -> subprocess.CompletedProcess[str]:
        step = command[command.index("-m") + 1]
        self.steps.append(step)
        if step == "venv":
            python = self.home / ".venv" / ("Scripts/python.exe" if os.name == "nt" else "bin/python")
            python.parent.mkdir(parents=True)
            python.touch()
            version = ".".join(map(str, sys.version_info[:3]))
            (self.home / ".venv/pyvenv.cfg").write_text(f"version = {version}\ncommand = {self.home}/.venv\n")
            return subprocess.CompletedProcess(command, 0, stderr="")
        if self.pip_raises is not None:
            raise self.pip_raises
        return subprocess.CompletedProcess(command, 1 if self.pip_says else 0, stderr=self.pip_says)


def load(home: Path) -> ModuleType:
    """``bootstrap.py`` as a module of its own that believes to lie in ``home``."""
    for name in ("bootstrap.py", "pyproject.toml", "constraints.txt"):
        if not (home / name).exists():
            shutil.copy(ROOT / name, home)
    spec = importlib.util.spec_from_file_location("bootstrap", home / "bootstrap.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture
def machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Machine:
    fake = Machine(tmp_path)
    monkeypatch.setattr(subprocess, "run", fake.run)
    return fake


def refusal(bootstrap: ModuleType) -> str:
    """The one sentence with which a call ends."""
    with pytest.raises(SystemExit) as stop:
        bootstrap.main()
    return one_sentence(str(stop.value.code))


def one_sentence(text: str) -> str:
    assert text.endswith(".") and "\n" not in text and ". " not in text, text
    return text


def test_the_second_call_does_nothing(machine: Machine) -> None:
    load(machine.home).main()
    assert machine.steps == ["venv", *INSTALL]
    load(machine.home).main()
    assert machine.steps == ["venv", *INSTALL]


def test_the_second_call_does_next_to_nothing(tmp_path: Path, machine: Machine) -> None:
    load(tmp_path).main()

    def processor_seconds() -> float:  # of processes that have ended; the clock would count the others, too
        spent = resource.getrusage(resource.RUSAGE_CHILDREN)
        return spent.ru_utime + spent.ru_stime

    before = processor_seconds()
    done = subprocess.Popen([sys.executable, tmp_path / "bootstrap.py"], stdout=subprocess.PIPE)
    printed, _ = done.communicate(timeout=60)
    assert processor_seconds() - before < 1
    assert (done.returncode, printed) == (0, b"")


@pytest.mark.parametrize("name", ["pyproject.toml", "constraints.txt"])
def test_a_changed_pin_is_installed_into_the_same_environment(machine: Machine, name: str) -> None:
    load(machine.home).main()
    with (machine.home / name).open("a") as file:
        file.write("# changed\n")
    load(machine.home).main()
    assert machine.steps == ["venv", *INSTALL, *INSTALL]


@pytest.mark.parametrize("interruption", [KeyboardInterrupt(), MemoryError("killed")])
def test_an_interrupted_installation_is_made_again(machine: Machine, interruption: BaseException) -> None:
    machine.pip_raises = interruption
    with pytest.raises((SystemExit, MemoryError)):
        load(machine.home).main()
    leftover = machine.home / ".venv" / "half-written"
    leftover.touch()
    machine.pip_raises = None
    load(machine.home).main()
    assert machine.steps == ["venv", "pip", "venv", *INSTALL]
    assert not leftover.exists()


def test_control_c_is_told_in_a_sentence(machine: Machine) -> None:
    machine.pip_raises = KeyboardInterrupt()
    assert "run the same command again" in refusal(load(machine.home))


def test_an_environment_of_another_python_is_replaced(machine: Machine) -> None:
    load(machine.home).main()
    config = machine.home / ".venv/pyvenv.cfg"
    config.write_text(config.read_text().replace("version = 3.", "version = 2."))
    (machine.home / ".venv/onnlab.stamp").write_text("of the other Python")
    load(machine.home).main()
    assert machine.steps == ["venv", *INSTALL, "venv", *INSTALL]


def test_an_environment_that_was_moved_is_replaced(machine: Machine) -> None:
    load(machine.home).main()
    machine.home = machine.home.rename(machine.home.with_name("moved"))
    load(machine.home).main()
    assert machine.steps == ["venv", *INSTALL, "venv", *INSTALL]


def test_too_little_disk_space(machine: Machine, monkeypatch: pytest.MonkeyPatch) -> None:
    usage = namedtuple("usage", "total used free")
    monkeypatch.setattr(shutil, "disk_usage", lambda _: usage(10**12, 10**12, 10**9))
    assert "free 3 GB" in refusal(load(machine.home))
    assert machine.steps == []


PIP_MESSAGES = {
    "free 3 GB": "ERROR: Could not install packages due to an OSError: [Errno 28] No space left on device",
    "connect to the network": (
        "WARNING: Retrying after 'NewConnectionError(...): [Errno 111] Connection refused'\n"
        "ERROR: Could not find a version that satisfies the requirement hatchling (from versions: none)\n"
        "ERROR: No matching distribution found for hatchling"
    ),
    "use Python 3.11, 3.12 or 3.13": (
        "ERROR: Could not find a version that satisfies the requirement torch==2.13.0 (from versions: none)\n"
        "ERROR: No matching distribution found for torch==2.13.0"
    ),
}


@pytest.mark.parametrize("remedy", PIP_MESSAGES)
def test_what_pip_says_becomes_one_sentence_with_a_remedy(machine: Machine, remedy: str) -> None:
    machine.pip_says = PIP_MESSAGES[remedy]
    assert remedy in refusal(load(machine.home))
    machine.pip_says = ""
    load(machine.home).main()
    assert machine.steps == ["venv", "pip", *INSTALL]  # nothing was broken, so the environment is kept


def test_an_unknown_failure_is_shown_as_it_is(machine: Machine) -> None:
    machine.pip_says = "ERROR: something new"
    with pytest.raises(SystemExit, match=r"something new\n.*run the same command again"):
        load(machine.home).main()


def test_a_python_without_venv(machine: Machine, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "ensurepip", None)
    assert "apt-get install python3-venv" in refusal(load(machine.home))


def test_an_old_python_is_told_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "version_info", (3, 8, 18, "final", 0))
    with pytest.raises(SystemExit) as stop:
        runpy.run_path(str(ROOT / "bootstrap.py"))
    assert "needs Python 3.11 or newer and this is Python 3.8" in one_sentence(str(stop.value.code))


def test_an_old_python_can_read_it() -> None:
    """Python 2.7 has no f-strings, annotations, walrus, keyword-only arguments or ``flush=``."""
    tree = ast.parse((ROOT / "bootstrap.py").read_text(encoding="ascii"), feature_version=(3, 4))
    too_new = (ast.JoinedStr, ast.AnnAssign, ast.NamedExpr, ast.Nonlocal, ast.AsyncFunctionDef, ast.YieldFrom)
    for node in ast.walk(tree):
        assert not isinstance(node, too_new), ast.unparse(node)
        if isinstance(node, ast.FunctionDef):
            arguments = [*node.args.args, *node.args.kwonlyargs]
            assert node.returns is None and not any(a.annotation for a in arguments), node.name
            assert not node.args.kwonlyargs and not node.args.posonlyargs, node.name
        if isinstance(node, ast.Call) and ast.unparse(node.func) == "print":
            assert len(node.args) == 1 and not node.keywords


@pytest.mark.slow
def test_a_real_installation_without_a_network(tmp_path: Path) -> None:
    for name in ("bootstrap.py", "pyproject.toml", "constraints.txt"):
        shutil.copy(ROOT / name, tmp_path)
    nowhere = "http://127.0.0.1:9/simple"
    environment = {key: value for key, value in os.environ.items() if not key.startswith("PIP_")}
    environment |= {"PIP_CONFIG_FILE": os.devnull, "PIP_INDEX_URL": nowhere, "PIP_RETRIES": "1"}
    done = subprocess.run(
        [sys.executable, tmp_path / "bootstrap.py"],
        env=environment,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 1
    assert "could not be reached: connect to the network" in one_sentence(done.stderr.strip())
