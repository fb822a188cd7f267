"""Make .venv with the versions that constraints.txt pins: python bootstrap.py

Only the standard library is used, and no syntax that an old Python cannot read: a Python that is too old says
so in one sentence. A second call finds the stamp of the first and returns at once; an interrupted
installation carries no stamp and is made again.
"""

import hashlib
import os
import shutil
import subprocess
import sys

OLDEST = (3, 11)
if sys.version_info < OLDEST:
    sys.exit(
        "onnlab needs Python %d.%d or newer and this is Python %d.%d: install a newer one and name it, "
        "as in `make lab PYTHON=python3.12` or `python3.12 bootstrap.py`."
        % (OLDEST + tuple(sys.version_info[:2]))
    )

ROOT = os.path.dirname(os.path.abspath(__file__))
VENV = os.path.join(ROOT, ".venv")
PYTHON = os.path.join(VENV, *(("Scripts", "python.exe") if os.name == "nt" else ("bin", "python")))
STAMP = os.path.join(VENV, "onnlab.stamp")
EXTRAS = ".[lab,book,test]"
INSTALLING = "installing"
GIGABYTE = 1e9
NEEDED = 3 * GIGABYTE

DISK_FULL = "Too little disk space: free %d GB on the disk of this folder and run the same command again." % (
    NEEDED / GIGABYTE
)
NO_NETWORK = (
    "The package index could not be reached: connect to the network (behind a proxy, set HTTPS_PROXY) "
    "and run the same command again; after that no network is needed."
)
NO_BUILD = (
    "A pinned package has no build for Python %d.%d on this system: use Python 3.11, 3.12 or 3.13, "
    "as in `make lab PYTHON=python3.12`." % sys.version_info[:2]
)
# What pip says, most telling first: without a network it also reports that no version was found.
CAUSES = (
    (("No space left on device", "not enough space on the disk", "Disk quota exceeded"), DISK_FULL),
    (
        ("NewConnectionError", "NameResolutionError", "ConnectTimeoutError", "ReadTimeoutError", "ProxyError")
        + ("Connection refused", "Network is unreachable", "ProtocolError", "SSLError", "Read timed out"),
        NO_NETWORK,
    ),
    (("No matching distribution found", "Could not find a version"), NO_BUILD),
)


def read(path):
    """Text of a file, empty if there is none."""
    try:
        with open(path, encoding="utf-8") as file:
            return file.read()
    except OSError:
        return ""


def write(path, text):
    """Write a file in one step: nobody ever sees half of it."""
    with open(path + ".part", "w", encoding="utf-8") as file:
        file.write(text)
    os.replace(path + ".part", path)


def fingerprint():
    """Hash of everything that decides what the environment holds; its scripts contain their own path."""
    parts = ["%d.%d" % sys.version_info[:2], ROOT, EXTRAS]
    parts += [read(os.path.join(ROOT, name)) for name in ("pyproject.toml", "constraints.txt")]
    return hashlib.sha256("\0".join(parts).encode()).hexdigest()


def venv_is_ours():
    """Whether the environment was made here, by this minor version of Python, and not left half-installed."""
    config = read(os.path.join(VENV, "pyvenv.cfg"))
    return (
        os.path.exists(PYTHON)
        and "version = %d.%d." % sys.version_info[:2] in config
        and VENV in config
        and read(STAMP) != INSTALLING
    )


def remedy(message):
    """One sentence that says what to do about what pip has printed."""
    for signs, sentence in CAUSES:
        if any(sign in message for sign in signs):
            return sentence
    return (
        message[-3000:]
        + "\nThe installation failed: mend what is named above and run the same command again."
    )


def make_venv():
    """Create an empty environment, in the place of one that cannot be used."""
    try:
        import ensurepip  # noqa: F401  (Debian ships it in a package of its own)
    except ImportError:
        sys.exit(
            "This Python cannot make environments: install its venv module (Debian and Ubuntu: "
            "apt-get install python3-venv) and run the same command again."
        )
    shutil.rmtree(VENV, ignore_errors=True)
    os.makedirs(VENV, exist_ok=True)
    write(STAMP, INSTALLING)
    made = subprocess.run([sys.executable, "-m", "venv", VENV], stderr=subprocess.PIPE, text=True)
    if made.returncode:
        sys.exit(remedy(made.stderr))


def install():
    """Install the package and its extras; errors are held back and told in one sentence."""
    quiet = [] if sys.stdout.isatty() else ["--quiet"]
    pip = ["pip", "install", "--disable-pip-version-check"] + quiet
    pip += ["--constraint", "constraints.txt", "--editable", EXTRAS]
    # Otherwise JupyterLab greets with a question about news, and asks the network for them; and it shows
    # every reader the menus for teachers that come with nbgrader.
    quieten = ["jupyterlab.labextensions", "disable", "--level=sys_prefix"]
    quieten += ["@jupyterlab/apputils-extension:announcements", "@jupyter/nbgrader"]
    for module in (pip, quieten):
        done = subprocess.run([PYTHON, "-m"] + module, cwd=ROOT, stderr=subprocess.PIPE, text=True)
        if done.returncode:
            write(STAMP, "")  # pip undoes what it could not finish, so the next try may build on this one
            sys.exit(remedy(done.stderr))


def main():
    wanted = fingerprint()
    if read(STAMP) == wanted and os.path.exists(PYTHON):
        return
    if shutil.disk_usage(ROOT).free < NEEDED:
        sys.exit(DISK_FULL)
    print("Setting up .venv: a few minutes, only this time.")
    sys.stdout.flush()
    try:
        if not venv_is_ours():
            make_venv()
        write(STAMP, INSTALLING)
        install()
        write(STAMP, wanted)
    except KeyboardInterrupt:
        sys.exit("Interrupted: run the same command again to finish the installation.")
    except OSError as error:
        sys.exit(remedy(str(error)))


if __name__ == "__main__":
    main()
