"""The command line: what it prints, where, and how it ends."""

import subprocess
import sys
from importlib.metadata import entry_points

import pytest

from onnlab import cli
from onnlab.data.sources import SOURCES


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.setenv("ONNLAB_DATA", str(tmp_path))
    return tmp_path


def test_list_says_what_there_is_and_what_is_here(folder, capsys):
    (folder / "fashion-mnist.npz").touch()
    assert cli.main(["data", "list"]) == 0
    lines = {line.split()[0]: line for line in capsys.readouterr().out.splitlines()[1:]}
    assert list(lines) == ["mnist-mini", "scenes", *SOURCES, "carvana"]
    assert "in the package" in lines["mnist-mini"] and " 11000 " in lines["mnist-mini"]
    assert "made on the spot" in lines["scenes"] and " 1500 " in lines["scenes"]
    assert " yes " in lines["fashion-mnist"]
    assert (
        " no (170 MB) " in lines["cifar10"]
        and " 60000 " in lines["cifar10"]
        and "3, 32, 32" in lines["cifar10"]
    )
    assert " no  " in lines["camvid"] and "bring your own" in lines["carvana"]
    (folder / "carvana").mkdir()
    cli.main(["data", "list"])
    assert " yes " in capsys.readouterr().out.splitlines()[-1]
    assert all(source.credit in lines[name] for name, source in SOURCES.items())


def test_path_prints_the_folder_and_nothing_else(folder, capsys):
    assert cli.main(["data", "path"]) == 0
    assert capsys.readouterr() == (f"{folder}\n", "")


def test_fetch_prints_the_file(folder, capsys):
    (folder / "mnist.npz").touch()
    assert cli.main(["data", "fetch", "mnist"]) == 0
    assert capsys.readouterr() == (f"{folder / 'mnist.npz'}\n", "")


def test_a_data_set_that_cannot_be_fetched_is_one_line_on_standard_error(tmp_path, monkeypatch, capsys):
    (tmp_path / "file").touch()
    monkeypatch.setenv("ONNLAB_DATA", str(tmp_path / "file"))
    assert cli.main(["data", "fetch", "mnist"]) == 1
    out, err = capsys.readouterr()
    assert out == "" and err.startswith("onnlab: ") and err.count("\n") == 1 and "ONNLAB_DATA" in err


def test_an_interruption_is_no_traceback(folder, monkeypatch, capsys):
    def interrupted(name):
        raise KeyboardInterrupt

    monkeypatch.setattr(cli, "fetch", interrupted)
    assert cli.main(["data", "fetch", "mnist"]) == 130
    assert "the same command goes on" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ([], "COMMAND"),
        (["data"], "ACTION"),
        (["data", "fetch"], "NAME"),
        (["data", "fetch", "emnist"], "'cifar10'"),
    ],
)
def test_a_command_that_is_not_complete_says_what_is_missing(arguments, said, capsys):
    with pytest.raises(SystemExit) as end:
        cli.main(arguments)
    assert end.value.code == 2 and said in capsys.readouterr().err


def test_the_command_and_the_module_are_the_same(folder):
    (command,) = entry_points(group="console_scripts", name="onnlab")
    assert command.load() is cli.main
    done = subprocess.run([sys.executable, "-m", "onnlab", "data", "path"], capture_output=True, text=True)
    assert (done.returncode, done.stdout) == (0, f"{folder}\n"), done.stderr
