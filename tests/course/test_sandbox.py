"""What a program in the sandbox can see and do, and what ends it."""

import json
import os
import socket
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest

from onnlab.course import sandbox
from onnlab.course.sandbox import Limits, Outcome, SandboxError, check_sandbox, run

HERE = Path(__file__)


def python(code: str, folder: Path, **options) -> Outcome:
    limits = Limits(**{"seconds": 20.0, "memory": 1e9, **options.pop("limits", {})})
    place = folder / "program"
    place.mkdir()
    return run([sys.executable, "-c", code], place, limits, **options)


def test_it_has_a_folder_and_a_bare_environment(tmp_path, monkeypatch):
    monkeypatch.setenv("SECRET", "1234")
    code = "import json, os; print(json.dumps([os.getcwd(), os.path.expanduser('~'), list(os.environ)]))"
    done = python(
        code + "; open('here', 'w').write('yes'); open('/dev/shm/too', 'w'); import onnlab", tmp_path
    )
    assert (done.status, done.stopped) == (0, ""), done.complaint
    where, home, names = json.loads(done.printed)
    assert where == home == sandbox.INSIDE
    assert "SECRET" not in names
    assert (tmp_path / "program/here").read_text() == "yes"


def test_it_sees_neither_its_neighbours_nor_the_checkout(tmp_path):
    secret = tmp_path / "solution.txt"
    secret.write_text("42")
    places = [secret, HERE, Path.home() / ".bashrc", HERE.parents[2] / "exercises"]
    done = python(f"import os; print([os.path.exists(one) for one in {list(map(str, places))}])", tmp_path)
    assert done.printed.strip() == str([False] * 4), done.complaint


def test_what_is_hidden_is_hidden_even_in_a_folder_of_the_system(tmp_path):
    place = Path(os.__file__).parent  # the standard library, which it sees
    code = f"import os; print(len(os.listdir({str(place / 'wsgiref')!r})))"
    seen, hidden = tmp_path / "seen", tmp_path / "hidden"
    for folder in (seen, hidden):
        folder.mkdir()
    assert int(python(code, seen).printed) > 0
    assert int(python(code, hidden, hidden=[place / "wsgiref"]).printed) == 0


@pytest.mark.parametrize("place", ["/", "/etc", "/usr", "/dev", sys.prefix, str(HERE.parents[2] / "onnlab")])
def test_it_writes_nowhere_else(tmp_path, place):
    done = python(f"open({place!r} + '/onnlab-was-here', 'w')", tmp_path)
    assert done.status == 1
    assert "OSError" in done.complaint or "PermissionError" in done.complaint
    assert not (Path(place) / "onnlab-was-here").exists()


def test_it_has_no_network(tmp_path):
    # A server on this very machine cannot be reached either.
    code = "import socket\nfor place in (('192.0.2.1', 80), ('127.0.0.1', {port})):\n"
    code += "    try: socket.create_connection(place, 2)\n    except OSError as error: print(error)"
    with socket.create_server(("127.0.0.1", 0)) as server:
        done = python(code.format(port=server.getsockname()[1]), tmp_path)
    assert "unreachable" in done.printed and "refused" in done.printed, done


def test_it_is_nobody_special(tmp_path):
    done = python("import os; os.setuid(0) if os.getuid() else print('root')\nprint(os.getuid())", tmp_path)
    if os.geteuid() == 0:  # root has become somebody else, and does not come back
        assert "PermissionError" in done.complaint
    else:
        assert "Operation not permitted" in done.complaint or "Invalid argument" in done.complaint


LOOP = "while True: pass"
STUBBORN = "import signal, time\nfor n in (1, 2, 15): signal.signal(n, signal.SIG_IGN)\ntime.sleep(60)"
FORK_BOMB = "import os\nwhile True:\n    try: os.fork()\n    except OSError: pass"
SHARED_MEMORY = """
import mmap, time
shared = mmap.mmap(-1, 3 * 10**8)
for place in range(0, len(shared), 4096): shared[place] = 1
time.sleep(60)"""
FILES = "import time\nfor n in range(20): open(str(n), 'wb').write(bytes(10**6))\ntime.sleep(60)"


@pytest.mark.parametrize(
    ("code", "limits", "said"),
    [
        (LOOP, {"seconds": 0.5}, "ran for more than 0.5 s"),
        (STUBBORN, {"seconds": 0.5}, "ran for more than 0.5 s"),
        (FORK_BOMB, {"processes": 20}, "started more than 20 processes"),
        (SHARED_MEMORY, {"memory": 2e8}, "used more than 0.2 GB"),
        (FILES, {"disk": 1e7}, "wrote more than 0.01 GB"),
    ],
    ids=["loop", "stubborn", "fork bomb", "shared memory", "files"],
)
def test_a_limit_ends_it(tmp_path, monkeypatch, code, limits, said):
    monkeypatch.setattr(sandbox, "THREADS", 60)  # the kernel's own count, which keeps the bomb small
    before = time.monotonic()
    done = python(code, tmp_path, limits=limits)
    assert said in done.stopped and done.status != 0
    assert time.monotonic() - before < 15  # long before the 20 s and 60 s above


@pytest.mark.parametrize("protected", [True, False])
def test_the_kernel_refuses_memory_at_once(tmp_path, protected):
    done = python("bytearray(2 * 10**9)", tmp_path, protected=protected)
    assert "MemoryError" in done.complaint and not done.stopped


def test_endless_words_end(tmp_path):
    done = python("while True: print('x' * 1000)", tmp_path, limits={"disk": 1e7})
    assert "File too large" in done.complaint or "wrote more than 0.01 GB" in done.stopped
    assert len(done.printed) <= 1e7


@pytest.mark.parametrize("protected", [True, False])
def test_nothing_is_left_running(tmp_path, protected):
    # A child in a session of its own, as a kernel is, and a grandchild of that.
    mark = f"onnlab{os.getpid()}{protected}"
    sleep = f"import time; time.sleep(300)  # {mark}"
    child = (
        f"import subprocess, sys, time; subprocess.Popen([sys.executable, '-c', {sleep!r}]); time.sleep(300)"
    )
    code = "import subprocess, sys, time\n"
    code += f"subprocess.Popen([sys.executable, '-c', {child!r}], start_new_session=True)\ntime.sleep(300)"
    done = python(code, tmp_path, limits={"seconds": 1.5}, protected=protected)
    assert done.stopped
    deadline = time.monotonic() + 10
    while time.monotonic() < deadline and (
        left := [one for one in psutil.process_iter() if mark in words(one)]
    ):
        time.sleep(0.1)
    assert not left


def words(process: psutil.Process) -> str:
    try:
        return " ".join(process.cmdline()) if process.status() != psutil.STATUS_ZOMBIE else ""
    except psutil.Error:
        return ""


def test_without_walls_it_has_a_folder_and_a_home(tmp_path):
    done = python("import os; print(os.getcwd() == os.path.expanduser('~'))", tmp_path, protected=False)
    assert done.printed.strip() == "True", done.complaint


def test_without_bubblewrap_it_is_said_what_to_do(monkeypatch):
    monkeypatch.setenv("PATH", "")
    with pytest.raises(SandboxError, match="apt-get install bubblewrap.*--unprotected"):
        check_sandbox()


def test_a_system_that_allows_no_namespaces_is_told(tmp_path, monkeypatch):
    fake = tmp_path / "bwrap"
    fake.write_text("#!/bin/sh\necho 'No permissions to create new namespace' >&2\nexit 1\n")
    fake.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(SandboxError, match="No permissions to create new namespace.*--unprotected"):
        check_sandbox()


def test_this_computer_has_a_sandbox():
    check_sandbox()


def test_as_root_and_as_somebody_else_the_walls_differ_in_who_runs(monkeypatch):
    monkeypatch.setattr(sandbox, "_is_root", lambda: False)
    walls = sandbox._walls(None, ())
    assert "--unshare-all" in walls and "CAP_SETUID" not in walls
    done = subprocess.run([*walls, "true"], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("name", ["seconds", "memory", "disk", "processes"])
def test_a_limit_must_be_above_0(name):
    with pytest.raises(ValueError, match=f"{name} must be above 0, got 0"):
        Limits(**{name: 0})
