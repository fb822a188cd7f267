"""Many candidates: score them all, several at a time, and keep those that nothing beats."""

import hashlib
import json
import traceback
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch
from joblib import Parallel, delayed

from onnlab.distill.checkpoint import append_line
from onnlab.hardware.device import Device

Score = Callable[[Device], Mapping[str, Any]]
Result = dict[str, Any]


def sweep(
    devices: Iterable[Device],
    score: Score,
    *,
    settings: Mapping[str, Any] | None = None,
    out: str | Path | None = None,
    jobs: int | None = None,
    report: Callable[[str], None] = print,
) -> list[Result]:
    """Score candidates, each in a process with one thread; return one result for each, in their order.

    A result is a line of JSON: ``key``, ``device``, ``settings``, ``score``, and ``error``, which is null or
    the sentence with which the score failed; then ``score`` is null, and the others go on.

    With ``out``, each line is in that file as soon as its device is done. Call again with the same
    arguments, and only what is missing or failed is computed. What the score depends on besides the device
    belongs in ``settings``: lines of other settings in the file are left alone.

    Parameters
    ----------
    devices : iterable of Device
        The candidates; one that comes twice is scored once.
    score : callable
        From a :class:`Device` to a mapping of names to what JSON can hold. Processes need to import it: a
        function of a module, or a ``functools.partial`` of one; joblib also takes functions of a notebook.
    settings : mapping, optional
        What JSON can hold; by its contents a result is recognised.
    out : path, optional
        A file ``*.jsonl`` in a folder that exists.
    jobs : int, optional
        Devices at a time. Left out, it is what ``joblib.parallel_config`` says, and 1 otherwise.
    report : callable
        Is told a sentence for each device.

    Returns
    -------
    list of dict
        The lines.

    Raises
    ------
    ValueError
        If ``jobs`` is below 1, the file holds a line that is none, or a score is not what JSON can hold.

    Notes
    -----
    On a cluster, let joblib hand out the work (``pip install "onnlab[scale]"``)::

        with distributed.Client("tcp://HOST:PORT"), joblib.parallel_config(backend="dask"):
            sweep(devices, score, out="sweep.jsonl")

    The lines are still written here, and only here. What a worker had in hand when it died, another one does.
    Workers need onnlab and the module of the score, and there have to be two: for one, joblib works here.
    """
    if jobs is not None and jobs < 1:
        raise ValueError(
            f"jobs must be at least 1, got {jobs}; leave it out to follow joblib.parallel_config"
        )
    wanted = {_key(device, settings or {}): device for device in devices}
    path = None if out is None else Path(out)
    known = _read(path)
    missing = {
        key: device for key, device in wanted.items() if known.get(key, {"error": ""})["error"] is not None
    }
    report(f"{len(wanted)} devices, {len(missing)} of them to be scored")
    tasks = (delayed(_scored)(key, device, score) for key, device in missing.items())
    done = Parallel(n_jobs=jobs, return_as="generator_unordered")(tasks)
    for number, (key, found, error) in enumerate(done, 1):
        line = {
            "key": key, "device": asdict(wanted[key]), "settings": dict(settings or {}),
            "score": found, "error": error,
        }  # fmt: skip
        known[key] = json.loads(_text(line))
        if path is not None:
            append_line(path, _text(line))
        report(f"{number} of {len(missing)}: {wanted[key]}: {error or found}")
    return [known[key] for key in wanted]


def pareto(points: Sequence[Sequence[float]]) -> list[int]:
    """Return which points are beaten by none, in their order: the Pareto front.

    One point beats another if it is smaller or equal in every number, and smaller in one. Turn the sign of
    what is to be large: ``pareto([(energy, -accuracy), ...])``. Of equal points, all stay.

    Raises
    ------
    ValueError
        If the points have different lengths, or one holds a NaN.
    """
    if len({len(point) for point in points}) > 1:
        raise ValueError("points must all have equally many numbers; fill the gaps or leave them out")
    if any(value != value for point in points for value in point):
        raise ValueError("points must not hold NaN, which is neither larger nor smaller; leave them out")
    front: list[int] = []
    # Whatever beats a point comes before it in the order of dictionaries, and the front beats all others.
    for index in sorted(range(len(points)), key=lambda i: tuple(points[i])):
        if not any(_beats(points[other], points[index]) for other in front):
            front.append(index)
    return sorted(front)


def _beats(one: Sequence[float], other: Sequence[float]) -> bool:
    return all(a <= b for a, b in zip(one, other, strict=True)) and tuple(one) != tuple(other)


def _scored(key: str, device: Device, score: Score) -> tuple[str, Mapping[str, Any] | None, str | None]:
    threads = torch.get_num_threads()
    torch.set_num_threads(1)  # the processes share the processor
    try:
        return key, dict(score(device)), None
    except Exception as error:
        place = traceback.extract_tb(error.__traceback__)[-1]
        return key, None, f"{type(error).__name__}: {error} ({Path(place.filename).name}:{place.lineno})"
    finally:
        torch.set_num_threads(threads)


def _key(device: Device, settings: Mapping[str, Any]) -> str:
    text = _text({"device": asdict(device), "settings": dict(settings)})
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def _text(content: Mapping[str, Any]) -> str:
    try:
        return json.dumps(content, sort_keys=True, allow_nan=False)
    except (TypeError, ValueError) as error:
        raise ValueError(
            f"score and settings must hold texts, finite numbers, lists and dicts only ({error}); use float()"
        ) from error


def _read(path: Path | None) -> dict[str, Result]:
    """Lines by key; of two with one key the later one counts."""
    found: dict[str, Result] = {}
    if path is None or not path.exists():
        return found
    for number, text in enumerate(path.read_text(encoding="utf-8").splitlines(), start=1):
        try:
            line = json.loads(text)
            found[line["key"]] = {
                name: line[name] for name in ("key", "device", "settings", "score", "error")
            }
        except (ValueError, KeyError, TypeError) as error:
            raise ValueError(
                f"{path.name}, line {number} is no result of a sweep; mend or remove it"
            ) from error
    return found
