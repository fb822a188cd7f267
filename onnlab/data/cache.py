"""The folder of the data sets, and how one gets there: once, checked by its hash, never half-written."""

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import urlsplit
from zipfile import BadZipFile

import numpy as np
import pooch
from filelock import FileLock, Timeout

from onnlab.data.sources import SOURCES, Arrays, Source

SHIPPED = "mnist-mini"
MADE = "scenes"
FOLDER = "carvana"
PATIENCE = 30.0  # seconds without a byte after which the next mirror is tried
CHUNK = 1 << 16  # bytes taken from the network in one go


class DataError(RuntimeError):
    """A data set could not be fetched, written or read. The message says why, and what to do."""


def available() -> tuple[str, ...]:
    """Return the names that :func:`load` knows.

    The first comes with the package, the second is made on the spot, the last is in a folder that you have;
    the others are fetched.
    """
    return (SHIPPED, MADE, *SOURCES, FOLDER)


def data_folder() -> Path:
    """Return the folder of the data sets: what ``ONNLAB_DATA`` names, else the platform's cache folder."""
    named = os.environ.get("ONNLAB_DATA")
    return Path(named or pooch.os_cache("onnlab")).expanduser()


def local_path(name: str) -> Path:
    """Return the file in which a data set is kept, whether it is there already or not.

    Raises
    ------
    ValueError
        If the name is unknown.
    """
    known = (SHIPPED, *SOURCES)
    if name not in known:
        raise ValueError(f"name must be one of {', '.join(map(repr, known))}, got {name!r}")
    if name == SHIPPED:
        return Path(__file__).with_name("mnist_mini.npz")
    return data_folder() / f"{name}.npz"


def fetch(name: str) -> Path:
    """Bring a data set to this computer, once.

    Its files are downloaded to ``downloads/NAME`` in :func:`data_folder`, checked by SHA-256 and converted
    to one ``.npz`` of uint8 arrays ``x_train y_train x_test y_test``. (CamVid is checked by MD5, the only
    hash of its archive that is published, and has ``x_val y_val``, too.) Files that you put there yourself
    are not downloaded again, and a ``NAME.npz`` in the data folder is used as it is. A run that is
    interrupted leaves nothing half-written: the next one goes on from the files that are complete. Where two
    processes fetch at once, one does it and the other waits.

    Parameters
    ----------
    name : str
        A set that has a file, as all of :func:`available` have but ``"scenes"`` and ``"carvana"``.

    Returns
    -------
    pathlib.Path
        The ``.npz``.

    Raises
    ------
    ValueError
        If no data set of this name has a file.
    DataError
        If no mirror could be reached or none holds the published file, or the folder cannot be written.
    """
    path = local_path(name)
    if not path.is_file():
        if name == SHIPPED:
            raise DataError(f"{path} is missing, which comes with onnlab: install it again")
        try:
            downloads = path.parent / "downloads" / name
            downloads.mkdir(parents=True, exist_ok=True)
            with _alone(downloads):
                if not path.is_file():  # nobody else made it while this process waited
                    _convert(SOURCES[name], downloads, path)
        except OSError as error:
            raise DataError(
                f"{path.parent} cannot hold the data set {name!r} ({error.strerror or error}): free disk "
                "space there, or let ONNLAB_DATA name a folder that you can write to, and try again"
            ) from error
    return path


def read_arrays(name: str) -> Arrays:
    """Return what the file of a data set holds; raise :class:`DataError` if it is none."""
    path = fetch(name)
    try:
        with path.open("rb") as file:
            found = np.load(file)
            arrays = dict(found) if isinstance(found, np.lib.npyio.NpzFile) else {}
        if not arrays or not all(isinstance(array, np.ndarray) for array in arrays.values()):
            raise ValueError("it is no archive of arrays")
    except (OSError, EOFError, ValueError, BadZipFile) as error:
        remedy = "install onnlab again" if name == SHIPPED else "delete it and try again"
        raise DataError(f"{path} cannot be read as .npz ({error}): {remedy}") from error
    return arrays


def _convert(source: Source, downloads: Path, path: Path) -> None:
    """Download what is missing and write the ``.npz``, under a name of its own until it is complete."""
    for left_over in downloads.glob("tmp*"):  # by a process that was killed in the middle of a download
        left_over.unlink()
    files = [_download(source, name, downloads) for name in source.files]
    arrays = {**source.read(files), "sha256": np.array(list(source.files.values()))}
    part = path.with_name(f"{path.name}.part")
    try:
        with part.open("wb") as file:
            np.savez(file, **arrays)  # type: ignore[arg-type]  # it takes a name for its own option
            file.flush()
            os.fsync(file.fileno())
        part.replace(path)
    finally:
        part.unlink(missing_ok=True)


def _download(source: Source, name: str, folder: Path) -> Path:
    """Bring one file into a folder, from the first mirror that has it, unless it is there already."""
    from requests import RequestException  # takes longer to import than everything else here

    failures = []
    for mirror in source.mirrors:
        bar = _Bar(name)
        # What is asked for is the file itself, not what a server compresses or unpacks on the way.
        http = pooch.HTTPDownloader(
            progressbar=bar, chunk_size=CHUNK, timeout=PATIENCE, headers={"Accept-Encoding": "identity"}
        )
        try:
            published = source.files[name]
            known = published if ":" in published else f"sha256:{published}"
            return Path(pooch.retrieve(mirror + name, known, fname=name, path=folder, downloader=http))
        except (RequestException, ValueError) as error:
            failures.append(f"{urlsplit(mirror).netloc}: {_reason(error)}")
        finally:
            bar.close()
    if (folder / name).exists():
        failures.append("the file that is there already is not the published one")
    missing = [one for one in source.files if one == name or not (folder / one).exists()]
    raise DataError(
        f"{name} could not be downloaded ({'; '.join(failures)}): connect to the network and try again, or "
        f"put {', '.join(source.mirrors[0] + one for one in missing)} into {folder}"
    )


def _reason(error: Exception) -> str:
    """What went wrong between us and a mirror, in a few words."""
    from requests import exceptions

    match error:
        case exceptions.SSLError():
            return "its certificate is not trusted"
        case exceptions.Timeout():
            return f"no answer in {PATIENCE:.0f} s"
        case exceptions.ConnectionError():
            return "no connection"
        case exceptions.HTTPError() if error.response is not None:
            return f"answered with HTTP {error.response.status_code}"
        case exceptions.ChunkedEncodingError():
            return "broke off in the middle"
        case exceptions.RequestException():
            return str(error)
        case _:
            return "sent something else than the published file (its hash differs)"


@contextmanager
def _alone(folder: Path) -> Iterator[None]:
    """Hold a folder against other processes; a process that dies lets go of it."""
    lock = FileLock(folder / ".lock")
    try:
        lock.acquire(timeout=0)
    except Timeout:
        print(f"Another process is filling {folder}: waiting for it.", file=sys.stderr)
        lock.acquire()
    try:
        yield
    finally:
        lock.release()


class _Bar:
    """A line on standard error that grows with a download; pooch sets ``total`` and calls the methods."""

    width = 30

    def __init__(self, name: str) -> None:
        self.name = name
        self.total = self.done = 0
        self.shown = -1  # characters of the bar, -1 if there is no open line

    def update(self, count: int) -> None:
        self.done = min(self.done + count, self.total)
        filled = self.width * self.done // max(self.total, 1)
        if filled != self.shown:
            self.shown = filled
            bar = "#" * filled + "." * (self.width - filled)
            line = f"\r{self.name} [{bar}] {self.done / 1e6:.1f} of {self.total / 1e6:.1f} MB"
            print(line, end="", file=sys.stderr, flush=True)

    def reset(self) -> None:
        self.done = 0

    def close(self) -> None:
        if self.shown >= 0:
            print(file=sys.stderr)
        self.shown = -1
