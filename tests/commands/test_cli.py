"""The command line as a whole: how it begins, and how it ends."""

import os
import signal
import subprocess
import sys
from importlib.metadata import entry_points

import pytest

from onnlab import cli
from onnlab.commands import data, experiments
from onnlab.commands.common import ended_as_by_ctrl_c


def test_an_interruption_is_no_traceback(folder, monkeypatch, capsys):
    def interrupted(name):
        raise KeyboardInterrupt

    monkeypatch.setattr(data, "fetch", interrupted)
    assert cli.main(["data", "fetch", "mnist"]) == 130
    assert "the same command goes on" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "goes_on"),
    [(["speed"], False), (["estimates"], False), (["estimates", "--out", "x"], True)],
)
def test_an_interruption_promises_no_more_than_is_true(tmp_path, monkeypatch, capsys, arguments, goes_on):
    def interrupted(*_, **__):
        raise KeyboardInterrupt

    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(experiments, "measure_speeds", interrupted)
    monkeypatch.setattr(experiments, "compare_estimates", interrupted)
    assert cli.main(arguments) == 130
    assert ("goes on from here" in capsys.readouterr().err) == goes_on


def never(*_, **__):
    raise AssertionError("nothing should be measured")


@pytest.mark.parametrize("command", ["speed", "estimates"])
def test_a_folder_in_the_place_of_a_file_is_told_before_anything_is_measured(
    tmp_path, monkeypatch, capsys, command
):
    monkeypatch.setattr(experiments, "measure_speeds", never)
    monkeypatch.setattr(experiments, "compare_estimates", never)
    assert cli.main([command, "--out", str(tmp_path)]) == 1
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith(f"onnlab: --out must be a file, and {tmp_path} is a folder")


@pytest.mark.parametrize("more", [[], ["--dry-run"]])
def test_results_that_are_no_folder_are_one_line(tmp_path, capsys, more):
    file, inside = tmp_path / "file", tmp_path / "sclc.jsonl"
    file.write_text("")
    inside.mkdir()
    for out, said in ((file, "--out must be a folder"), (tmp_path, f"{inside}: ")):
        assert cli.main(["reproduce", "sclc", "--out", str(out), *more]) == 1
        (line,) = capsys.readouterr().err.splitlines()
        assert line.startswith(f"onnlab: {said}")


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ([], "COMMAND"),
        (["data"], "ACTION"),
        (["data", "fetch"], "NAME"),
        (["data", "fetch", "emnist"], "'cifar10'"),
        (["export"], "WHAT"),
        (["export", "slm", "a", "b", "--pixel", "8e-6"], "--panel"),
        (
            ["export", "slm", "a", "b", "--pixel", "8e-6", "--panel", "1080"],
            "--panel: must be ROWSxCOLUMNS, such as 1080x1920, got '1080'",
        ),
        (["export", "layout", "a"], "out"),
        (["grade"], "submissions"),
    ],
)
def test_a_command_that_is_not_complete_says_what_is_missing(arguments, said, capsys):
    with pytest.raises(SystemExit) as end:
        cli.main(arguments)
    assert end.value.code == 2 and said in capsys.readouterr().err


@pytest.mark.parametrize("came", ["0", "-2", "2.5", "many"])
@pytest.mark.parametrize(
    ("command", "option"),
    [
        (["reproduce"], "--seeds"),
        (["reproduce"], "--jobs"),
        (["estimates"], "--jobs"),
        (["speed"], "--rounds"),
        (["grade", "in"], "--jobs"),
    ],
)
def test_a_number_of_things_is_at_least_one(command, option, came, capsys):
    with pytest.raises(SystemExit) as end:
        cli.main([*command, f"{option}={came}"])
    last = capsys.readouterr().err.splitlines()[-1]
    assert end.value.code == 2
    assert last.endswith(f"argument {option}: must be a whole number from 1 on, got {came!r}")


def test_the_command_and_the_module_are_the_same(folder):
    (command,) = entry_points(group="console_scripts", name="onnlab")
    assert command.load() is cli.main
    done = subprocess.run([sys.executable, "-m", "onnlab", "data", "path"], capture_output=True, text=True)
    assert (done.returncode, done.stdout) == (0, f"{folder}\n"), done.stderr


@pytest.mark.parametrize(("device", "said"), [("cuda:99", "PyTorch finds"), ("cpu:x", "must be cpu or cuda")])
@pytest.mark.parametrize("more", [[], ["--rehearse"]])
def test_a_device_that_is_not_there_is_told_before_anything_is_made(device, said, more, tmp_path, capsys):
    assert cli.main(["reproduce", "sclc", "--device", device, "--out", str(tmp_path / "new"), *more]) == 1
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("onnlab: --device must be") and said in line and repr(device) in line
    assert not (tmp_path / "new").exists()


@pytest.mark.skipif(not hasattr(signal, "SIGALRM"), reason="Windows has no such signals")
def test_sigterm_interrupts_a_block_and_means_afterwards_what_it_did():
    before = signal.getsignal(signal.SIGTERM)
    with pytest.raises(KeyboardInterrupt), ended_as_by_ctrl_c():
        os.kill(os.getpid(), signal.SIGTERM)
        signal.pause()
    assert signal.getsignal(signal.SIGTERM) is before
