"""Run a program that nobody has read: within limits, without a network, and seeing next to nothing.

Bubblewrap (``bwrap``) makes the walls out of namespaces of Linux: the program sees the system's own folders,
Python and this package, all of them read-only, and one folder that it may write to. Home folders, the
submissions of others and the solutions are not there for it. The limits are held from outside, by looking at
the processes several times a second, and by the kernel for each process.

What remains: the program reads whatever lies in the system's folders. A fault of the kernel would let it out;
so would one of bubblewrap. Between two looks it can have more than its share for a moment.
"""

import json
import os
import shutil
import signal
import subprocess
import sys
import sysconfig
import tempfile
import time
from collections.abc import Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import IO

import psutil

import onnlab

PACKAGE = Path(onnlab.__file__).parent
SYSTEM = ("/usr", "/bin", "/sbin", "/lib", "/lib32", "/lib64", "/etc", "/opt", "/nix")
INSIDE = "/grading"
"""What the folder of the program is called within the walls; also its home."""
LOOK = 0.1
"""Seconds between two looks at the processes."""
NOBODY = 65534
"""The user that a program of root's runs as."""
ROOT_WALLS = (
    *(f"--unshare-{what}" for what in ("ipc", "pid", "net", "uts", "cgroup-try")),
    *("--cap-add", "CAP_SETUID", "--cap-add", "CAP_SETGID"),
)
MOST_TEXT = 50_000_000
"""Bytes of output that are read."""
SMALLEST = 4096
"""Bytes that a file counts for at least: a disk fills with empty ones, too."""
THREADS = 512
"""Threads that a sandbox may have, where the kernel counts them; its processes are counted from outside."""


class SandboxError(RuntimeError):
    """There is no sandbox on this computer; the text says what to do."""


@dataclass(frozen=True)
class Limits:
    """What a program may have.

    Attributes
    ----------
    seconds : float
        Until all of its processes end, by the clock.
    memory : float
        Bytes, of all its processes together.
    disk : float
        Bytes that it may leave in its folder.
    processes : int
        At a time.
    """

    seconds: float = 300.0
    memory: float = 4e9
    disk: float = 1e9
    processes: int = 64

    def __post_init__(self) -> None:
        for name in ("seconds", "memory", "disk", "processes"):
            if not getattr(self, name) > 0:
                raise ValueError(f"{name} must be above 0, got {getattr(self, name)}")


@dataclass(frozen=True)
class Outcome:
    """How a program ended.

    Attributes
    ----------
    printed : str
        Its standard output.
    complaint : str
        Its standard error.
    stopped : str
        Which limit it broke, in words; empty if it ended by itself.
    status : int
        Its exit status.
    """

    printed: str
    complaint: str
    stopped: str
    status: int


def check_sandbox(hidden: Iterable[Path] = ()) -> None:
    """Make a sandbox and leave it.

    Parameters
    ----------
    hidden : paths
        Folders that the programs in it must not see.

    Raises
    ------
    SandboxError
        If there is no bubblewrap, the system allows it no namespaces, or Python lies in what is hidden.
    """
    hidden = tuple(hidden)
    way_out = (
        "to run what students wrote without walls around it, with limits of time, memory and processes only, "
        "add --unprotected"
    )
    if shutil.which("bwrap") is None:
        raise SandboxError(
            f"bubblewrap was not found, and nothing is run unprotected unless you say so: install it (Debian "
            f"and Ubuntu: apt-get install bubblewrap; it is for Linux only); {way_out}"
        )
    for folder in hidden:
        inside = [one for one in _python_folders() if Path(one).resolve().is_relative_to(folder.resolve())]
        if inside:
            raise SandboxError(
                f"{folder} must hold nothing that Python needs, for it is hidden from what students wrote, "
                f"and {inside[0]} lies in it: give submissions and solutions folders of their own; {way_out}"
            )
    done = subprocess.run(
        [*_walls(None, hidden), *_limited(Limits(), True), "true"], capture_output=True, text=True
    )
    if done.returncode:
        raise SandboxError(
            f"bubblewrap could not make a sandbox ({done.stderr.strip()}): the system has to allow users "
            f"namespaces, and a container has to be started with that permission; {way_out}"
        )


def run(
    command: list[str], folder: Path, limits: Limits, *, hidden: Iterable[Path] = (), protected: bool = True
) -> Outcome:
    """Run a command in a folder of its own; at a limit, end it with everything that it started.

    Parameters
    ----------
    command : list of str
        The program and its arguments.
    folder : path
        Where it runs, the only place that it may write to; also its home.
    limits : Limits
        What it may have.
    hidden : paths
        Folders that it must not see, should they lie in one of the system's.
    protected : bool
        False: without walls. It can then read and write what you can, use the network, and hide a process
        from the limits if it tries to.
    """
    for name in ("tmp", "shm"):
        (folder / name).mkdir()
    if protected and _is_root():
        for place in (folder, *folder.rglob("*")):
            os.chown(place, NOBODY, -1)
        folder.chmod(0o770)  # bubblewrap enters it by the group of root
    walls = _walls(folder, hidden) if protected else []
    # Files and not pipes: nobody has to read along, and a process that got away cannot keep them open.
    with tempfile.TemporaryFile() as out, tempfile.TemporaryFile() as err:
        program = subprocess.Popen(
            [*walls, *_limited(limits, protected), *command],
            cwd=folder,
            env=_environment(folder, protected),
            stdin=subprocess.DEVNULL,
            stdout=out,
            stderr=err,
            start_new_session=True,
        )
        try:
            stopped = _watch(program, folder, (out, err), limits)
        finally:
            _end(program, protected)
        printed, complaint = (_beginning(file).decode("utf-8", "replace") for file in (out, err))
    return Outcome(printed, complaint, stopped, program.returncode)


def _limited(limits: Limits, protected: bool) -> list[str]:
    """Return what goes in front of a command to have the kernel hold limits for it, where the kernel can."""
    if os.name == "nt":
        return []
    wanted = {"RLIMIT_DATA": int(limits.memory), "RLIMIT_FSIZE": int(limits.disk), "RLIMIT_CORE": 0}
    if protected:  # outside, the kernel would count all that the user runs
        wanted["RLIMIT_NPROC"] = THREADS
        if _is_root():
            wanted["user"] = NOBODY
    return [sys.executable, "-I", "-S", str(PACKAGE / "course" / "_entry.py"), json.dumps(wanted)]


def _is_root() -> bool:
    return os.name != "nt" and os.geteuid() == 0


def _walls(folder: Path | None, hidden: Iterable[Path]) -> list[str]:
    """Return the bubblewrap command in front of a program that has ``folder`` to itself."""
    walls = ["bwrap", "--die-with-parent", "--new-session", "--cap-drop", "ALL"]
    # The kernel counts no processes of root, not even in a namespace of users: root becomes somebody else.
    walls += [*ROOT_WALLS] if _is_root() else ["--unshare-all"]
    for place in SYSTEM:
        walls += ["--ro-bind-try", place, place]
    for place in _python_folders():
        # Made one by one, for bubblewrap would close what lies above a folder to all but its owner.
        for above in reversed(Path(place).parents[:-1]):
            walls += ["--dir", str(above)]
        walls += ["--ro-bind", place, place]
    for secret in map(str, (one.resolve() for one in hidden)):
        walls += ["--tmpfs", secret, "--remount-ro", secret]
    walls += ["--dev", "/dev", "--proc", "/proc"]
    if folder is not None:  # all that can be written lies in it, so that its size can be looked at
        walls += ["--bind", str(folder), INSIDE, "--bind", str(folder / "tmp"), "/tmp"]
        walls += ["--bind", str(folder / "shm"), "/dev/shm", "--chdir", INSIDE]
    return [*walls, "--remount-ro", "/dev", "--remount-ro", "/", "--"]


def _python_folders() -> list[str]:
    """Folders that a Python like this one needs, the outermost first."""
    places = {sys.prefix, sys.base_prefix, sys.exec_prefix, sysconfig.get_path("stdlib")}
    places |= {one for one in sys.path if Path(one).name in ("site-packages", "dist-packages")}
    places |= {str(PACKAGE), str(Path(sys.executable).resolve().parent)}
    return sorted((str(Path(place).absolute()) for place in places if Path(place).is_dir()), key=len)


def _environment(folder: Path, protected: bool) -> dict[str, str]:
    """Return what a program learns of its surroundings: as little as will do."""
    named = {name: os.environ[name] for name in ("SYSTEMROOT", "LD_LIBRARY_PATH") if name in os.environ}
    home, temporary = (INSIDE, "/tmp") if protected else (str(folder), str(folder / "tmp"))
    return named | {
        "PATH": os.pathsep.join([str(Path(sys.executable).parent), os.defpath]),
        "HOME": home,
        "USERPROFILE": home,
        "TMPDIR": temporary,
        "TEMP": temporary,
        "LANG": "C.UTF-8",
        "PYTHONPATH": str(PACKAGE.parent),
        "PYTHONDONTWRITEBYTECODE": "1",
        "PYTHONNOUSERSITE": "1",
        "OMP_NUM_THREADS": "1",
        "OMP_WAIT_POLICY": "PASSIVE",
    }


def _watch(
    program: subprocess.Popen[bytes], folder: Path, files: tuple[IO[bytes], ...], limits: Limits
) -> str:
    """Wait for the end of a program; return at once, and say why, when it breaks a limit."""
    deadline = time.monotonic() + limits.seconds
    while True:
        try:
            program.wait(timeout=LOOK)
            return ""
        except subprocess.TimeoutExpired:
            pass
        family = _family(program.pid)
        if len(family) > limits.processes:
            return f"it started more than {limits.processes} processes"
        if sum(map(_resident, family)) > limits.memory:
            return f"it used more than {limits.memory / 1e9:g} GB of memory"
        written = sum(os.fstat(file.fileno()).st_size for file in files)
        if written + sum(_sizes(folder)) > limits.disk:
            return f"it wrote more than {limits.disk / 1e9:g} GB"
        if time.monotonic() > deadline:
            return f"it ran for more than {limits.seconds:g} s"


def _family(number: int) -> list[psutil.Process]:
    """Return a process and all that descend from it."""
    try:
        head = psutil.Process(number)
        return [head, *head.children(recursive=True)]
    except psutil.Error:
        return []


def _resident(process: psutil.Process) -> int:
    try:
        return process.memory_info().rss
    except psutil.Error:  # it has just ended
        return 0


def _sizes(folder: Path) -> Iterator[int]:
    for parent, _, names in os.walk(folder):
        for name in names:
            try:
                yield max(os.lstat(os.path.join(parent, name)).st_size, SMALLEST)
            except OSError:
                continue


def _end(program: subprocess.Popen[bytes], protected: bool) -> None:
    """End a program and all that it has started."""
    if not protected:  # behind walls everything dies with the first process, whatever it does
        family = _family(program.pid)
        groups = {group for process in family if (group := _group(process)) not in (None, _group(None))}
        for (
            group
        ) in groups:  # a group dies at one stroke, while single processes could have children meanwhile
            with suppress(OSError):
                os.killpg(group, signal.SIGKILL)
        for process in family:
            with suppress(psutil.Error):
                process.kill()
    program.kill()
    program.wait()


def _group(process: psutil.Process | None) -> int | None:
    """Return the group of a process, of this one if none is given; None where there are no groups."""
    try:
        return os.getpgid(process.pid if process else 0)
    except (AttributeError, OSError):  # Windows; or it has just ended
        return None


def _beginning(file: IO[bytes]) -> bytes:
    file.seek(0)
    return file.read(MOST_TEXT)
