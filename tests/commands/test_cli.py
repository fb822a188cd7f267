"""The command line as a whole: how it begins, and how it ends."""

import os
import signal
import subprocess
import sys
from importlib.metadata import entry_points

import pytest

from onnlab import cli
from onnlab.commands import data
from onnlab.commands.common import ended_as_by_ctrl_c


def test_an_interruption_is_no_traceback(folder, monkeypatch, capsys):
    def interrupted(name):
        raise KeyboardInterrupt

    monkeypatch.setattr(data, "fetch", interrupted)
    assert cli.main(["data", "fetch", "mnist"]) == 130
    assert "the same command goes on" in capsys.readouterr().err


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
