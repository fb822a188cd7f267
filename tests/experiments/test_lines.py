"""The file of results: what may stand in it, and that it is never half-written."""

import json
import os
import re
from pathlib import Path

import pytest

from onnlab import cli
from onnlab.experiments import EXPERIMENTS, LineError, append, check_line, read
from tests.experiments.helpers import made_up

ROOT = Path(__file__).parents[2]
RESULTS = [ROOT / f"results/{name}.jsonl" for name in EXPERIMENTS]


def test_what_is_appended_is_read(tmp_path: Path) -> None:
    path = tmp_path / "e.jsonl"
    assert read(path) == []
    lines = [made_up(seed, 0.9) for seed in range(3)]
    for line in lines:
        append(path, line)
    assert read(path) == lines
    assert [json.loads(text) for text in path.read_text().splitlines()] == lines


def test_the_later_line_of_a_run_counts(tmp_path: Path) -> None:
    path = tmp_path / "e.jsonl"
    for test in (0.1, 0.2):
        append(path, made_up(0, test))
    assert [line["test_accuracy"] for line in read(path)] == [0.2]


@pytest.mark.parametrize("more", [{}, {"joules": None}, {"joules": 12.5}])
def test_joules_may_be_told_unknown_or_not_yet_measured(more: dict[str, object], tmp_path: Path) -> None:
    append(tmp_path / "e.jsonl", made_up(0, 0.9, **more))
    assert read(tmp_path / "e.jsonl") == [made_up(0, 0.9, **more)]


def without(line: dict, name: str) -> dict:
    return {key: value for key, value in line.items() if key != name}


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ([], "JSON object"),
        (without(made_up(0, 0.9), "commit"), r"missing \['commit'\]"),
        (without(made_up(0, 0.9), "test_accuracy"), r"missing \['test_accuracy'\]"),
        (made_up(0, 0.9, accuracy=0.9), r"unknown \['accuracy'\]"),
        (made_up(0, 1.5), "test_accuracy must be from 0 to 1"),
        (made_up(0, float("nan")), "test_accuracy must be finite"),
        (made_up(0, "0.9"), "test_accuracy must be float"),
        (made_up(0, 0.9, seconds=True), "seconds must be float"),
        (made_up(0, 0.9, joules="3"), "joules must be float or NoneType"),
        (made_up(0, 0.9, joules=-1.0), "joules must not be negative"),
        (made_up(0, 0.9, seconds=-1.0), "seconds must not be negative"),
        (made_up(0, 0.9, data_sha256="0a"), "data_sha256 must be 64 hexadecimal digits, got '0a'"),
        ({**made_up(1, 0.9), "seed": 2}, "seed must be that of the settings"),
        (made_up(0, 0.9, rate=0.1) | {"key": made_up(0, 0.9)["key"]}, "key must be that of settings"),
        (made_up(0, 0.9, version=2), "key must be that of settings and version"),
        (made_up(0, 0.9, error="ValueError"), "unknown"),
    ],
)
def test_a_broken_line_is_refused(line: object, said: str, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=said):
        check_line(line)
    if isinstance(line, dict):
        with pytest.raises(ValueError, match=said):
            append(tmp_path / "e.jsonl", line)
        assert not (tmp_path / "e.jsonl").exists()


@pytest.mark.parametrize("text", [b'{"key": "a"}', b'{"key": ', b"", b"3", b'{"key": "\xff"}'])
def test_a_broken_line_in_a_file_is_named(text: bytes, tmp_path: Path) -> None:
    path = tmp_path / "e.jsonl"
    path.write_bytes(json.dumps(made_up(0, 0.9)).encode() + b"\n" + text + b"\n")
    with pytest.raises(LineError, match=r"e\.jsonl, line 2: .*mend or remove"):
        read(path)


@pytest.mark.parametrize(
    "command", [["trace", "sclc"], ["reproduce", "sclc"], ["reproduce", "sclc", "--dry-run"]]
)
def test_a_broken_line_is_told_by_the_command_in_one_line(
    command: list[str], tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    (tmp_path / "sclc.jsonl").write_text("{\n")
    assert cli.main([*command, "--out", str(tmp_path)]) == 1
    (said,) = capsys.readouterr().err.splitlines()
    assert said.startswith(f"onnlab: {tmp_path / 'sclc.jsonl'}, line 1: ") and said.endswith(
        "remove that line"
    )


def test_a_kill_while_a_line_is_written_leaves_the_file_as_it_was(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "e.jsonl"
    append(path, made_up(0, 0.9))
    before = path.read_bytes()

    def killed(file: int) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", killed)  # everything is written, but not under its name
        with pytest.raises(KeyboardInterrupt):
            append(path, made_up(1, 0.8))
    assert path.read_bytes() == before
    append(path, made_up(1, 0.8))
    assert [line["seed"] for line in read(path)] == [0, 1]


@pytest.mark.parametrize("path", RESULTS, ids=lambda path: path.name)
def test_the_committed_results_are_whole_and_of_one_of_the_experiments(path: Path) -> None:
    lines = read(path)
    assert lines and {line["experiment"] for line in lines} == {path.stem} <= set(EXPERIMENTS)
    for line in lines:
        # A commit that ends in "+changes" could not be checked out to make the line again.
        assert re.fullmatch("[0-9a-f]{40}", line["commit"] or "") and line["error"] is None, line["key"]
