"""``onnlab data``: what it prints, and where."""

from onnlab import cli
from onnlab.data.sources import SOURCES


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
