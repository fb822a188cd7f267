"""Fetching: checked, converted once, never half-written, whatever goes wrong on the way."""

import json
import re
import subprocess
import sys
import time
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import platformdirs
import pytest

from onnlab.data import DataError, available, data_folder, fetch
from onnlab.data.sources import SOURCES
from tests.data.server import CIFAR_NAME, IDX_NAMES

FETCH = """
import dataclasses, json, sys
from onnlab.data import fetch
from onnlab.data.sources import SOURCES
name, files, mirrors = json.loads(sys.argv[1])
SOURCES[name] = dataclasses.replace(SOURCES[name], files=files, mirrors=tuple(mirrors))
print(fetch(name))
"""


def in_a_process(name, source, said):
    """Fetch in another process; what it says goes to the file ``said``."""
    arguments = json.dumps([name, source.files, source.mirrors])
    with said.open("w") as file:
        return subprocess.Popen(
            [sys.executable, "-c", FETCH, arguments], stdout=file, stderr=subprocess.STDOUT
        )


def wait_until(true, seconds=60):
    deadline = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < deadline
        time.sleep(0.02)


def names_in(folder):
    """Everything below a folder but the lock, whose file may stay."""
    files = [path for path in folder.rglob("*") if path.is_file() and path.name != ".lock"]
    return sorted(path.relative_to(folder).as_posix() for path in files)


def assert_holds(path, arrays):
    with np.load(path) as written:
        assert {*arrays, "sha256"} == {*written}
        for key, values in arrays.items():
            assert written[key].dtype == np.uint8
            assert np.array_equal(written[key], values)


@contextmanager
def at_most(size):
    """No file may grow beyond ``size`` bytes: writing fails as on a full disk."""
    resource = pytest.importorskip("resource", reason="needs limits on the size of files")
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


def test_files_are_downloaded_and_converted_once(cache, server, from_mirrors, grey):
    source = from_mirrors("mnist", "good")
    assert fetch("mnist") == cache / "mnist.npz"
    assert_holds(cache / "mnist.npz", grey)
    assert server.asked == [f"/good/{name}" for name in IDX_NAMES.values()]
    with np.load(cache / "mnist.npz") as written:
        assert written["sha256"].tolist() == list(source.files.values())
    fetch("mnist")
    assert len(server.asked) == 4
    assert names_in(cache) == sorted(["mnist.npz", *(f"downloads/mnist/{n}" for n in IDX_NAMES.values())])


def test_the_colours_and_batches_of_cifar_keep_their_order(cache, from_mirrors, coloured):
    from_mirrors("cifar10", "good")
    assert_holds(fetch("cifar10"), coloured)


def test_sets_with_files_of_the_same_name_are_kept_apart(cache, from_mirrors):
    from_mirrors("mnist", "good")
    from_mirrors("fashion-mnist", "good")
    assert fetch("mnist").name == "mnist.npz"
    assert fetch("fashion-mnist").name == "fashion-mnist.npz"
    assert {path.name for path in (cache / "downloads").iterdir()} == {"mnist", "fashion-mnist"}


def test_files_put_there_by_hand_spare_the_download(cache, server, from_mirrors, coloured):
    from_mirrors("cifar10", "good")
    folder = cache / "downloads" / "cifar10"
    folder.mkdir(parents=True)
    (folder / CIFAR_NAME).write_bytes(server.files[CIFAR_NAME])
    assert_holds(fetch("cifar10"), coloured)
    assert server.asked == []


def test_an_npz_that_is_there_is_not_touched(cache, server, from_mirrors):
    from_mirrors("mnist", "good")
    cache.mkdir()
    (cache / "mnist.npz").write_bytes(b"whatever")
    assert fetch("mnist").read_bytes() == b"whatever"
    assert server.asked == []
    assert names_in(cache) == ["mnist.npz"]


def test_the_shipped_set_needs_no_folder(cache):
    assert fetch("mnist-mini").is_file()
    assert not cache.exists()


@pytest.mark.parametrize("fault", ["missing", "altered", "cut", "cut-unannounced"])
def test_the_next_mirror_is_tried(cache, server, from_mirrors, coloured, fault):
    from_mirrors("cifar10", fault, "good")
    assert_holds(fetch("cifar10"), coloured)
    assert server.asked == [f"/{fault}/{CIFAR_NAME}", f"/good/{CIFAR_NAME}"]


@pytest.mark.parametrize(
    ("fault", "reason"),
    [
        ("missing", "answered with HTTP 404"),
        ("altered", "hash differs"),
        ("cut", "broke off in the middle"),
        ("cut-unannounced", "hash differs"),
    ],
)
def test_a_failed_download_says_why_and_leaves_nothing(cache, server, from_mirrors, fault, reason):
    from_mirrors("cifar10", fault)
    with pytest.raises(DataError) as raised:
        fetch("cifar10")
    assert f"(127.0.0.1:{server.mirror().split(':')[2].split('/')[0]}: " in str(raised.value)
    assert reason in str(raised.value)
    assert names_in(cache) == []


def test_without_a_network_one_sentence_names_the_addresses_and_the_folder(cache, server, from_mirrors):
    from_mirrors("mnist", "good")
    folder = cache / "downloads" / "mnist"
    folder.mkdir(parents=True)
    (folder / IDX_NAMES["x_train"]).write_bytes(server.files[IDX_NAMES["x_train"]])
    server.close()
    with pytest.raises(DataError) as raised:
        fetch("mnist")
    message = str(raised.value)
    assert "no connection" in message and "connect to the network" in message
    for key, name in IDX_NAMES.items():
        assert (server.mirror() + name in message) == (key != "x_train")  # that one is there already
    assert message.endswith(f"into {folder}")
    assert "\n" not in message and ". " not in message
    assert folder.is_dir()


def test_a_wrong_file_put_there_by_hand_is_named(cache, server, from_mirrors):
    from_mirrors("cifar10", "good")
    folder = cache / "downloads" / "cifar10"
    folder.mkdir(parents=True)
    (folder / CIFAR_NAME).write_bytes(b"not it")
    server.close()
    with pytest.raises(DataError, match="the file that is there already is not the published one"):
        fetch("cifar10")
    assert (folder / CIFAR_NAME).read_bytes() == b"not it"


def test_a_second_try_goes_on_from_what_is_complete(cache, server, from_mirrors, grey):
    from_mirrors("mnist", "good")
    label_file = IDX_NAMES["y_train"]
    content, server.files[label_file] = server.files[label_file], b"something else"
    with pytest.raises(DataError, match=label_file):
        fetch("mnist")
    assert names_in(cache) == [f"downloads/mnist/{IDX_NAMES['x_train']}"]
    server.files[label_file] = content
    server.asked.clear()
    assert_holds(fetch("mnist"), grey)
    assert f"/good/{IDX_NAMES['x_train']}" not in server.asked and len(server.asked) == 3


@pytest.mark.parametrize("during", ["download", "conversion"])
def test_a_full_disk_leaves_nothing_half_written(cache, server, from_mirrors, coloured, during):
    from_mirrors("cifar10", "good")
    archive = len(server.files[CIFAR_NAME])
    assert 1.5 * archive < sum(values.nbytes for values in coloured.values())
    limit, kept = (archive // 2, []) if during == "download" else (archive * 5 // 4, [CIFAR_NAME])
    with (
        at_most(limit),
        pytest.raises(DataError, match="cannot hold the data set 'cifar10'.*free disk space"),
    ):
        fetch("cifar10")
    assert names_in(cache) == [f"downloads/cifar10/{name}" for name in kept]
    assert_holds(fetch("cifar10"), coloured)


def test_a_folder_that_cannot_be_made(tmp_path, monkeypatch, from_mirrors):
    from_mirrors("mnist", "good")
    (tmp_path / "file").touch()
    monkeypatch.setenv("ONNLAB_DATA", str(tmp_path / "file"))
    with pytest.raises(DataError, match="let ONNLAB_DATA name a folder that you can write to"):
        fetch("mnist")


def test_of_two_processes_one_downloads_and_one_waits(tmp_path, cache, server, from_mirrors, coloured):
    source = from_mirrors("cifar10", "slow")
    said = [tmp_path / "one", tmp_path / "other"]
    processes = [in_a_process("cifar10", source, file) for file in said]
    try:
        wait_until(lambda: any("waiting for it" in file.read_text() for file in said))
        assert server.half_sent.wait(60)
        assert not (cache / "cifar10.npz").exists()
        server.go_on.set()
        assert [process.wait(60) for process in processes] == [0, 0]
    finally:
        for process in processes:
            process.kill()
    assert all(file.read_text().endswith(f"{cache / 'cifar10.npz'}\n") for file in said)
    assert_holds(cache / "cifar10.npz", coloured)
    assert len(server.asked) == 1


def test_a_killed_process_leaves_no_npz_and_no_lock(tmp_path, cache, server, from_mirrors, coloured):
    process = in_a_process("cifar10", from_mirrors("cifar10", "slow"), tmp_path / "said")
    assert server.half_sent.wait(60)
    process.kill()
    process.wait(60)
    (left_over,) = names_in(cache)
    assert left_over.startswith("downloads/cifar10/tmp")
    server.go_on.set()
    assert_holds(fetch("cifar10"), coloured)
    assert names_in(cache) == ["cifar10.npz", f"downloads/cifar10/{CIFAR_NAME}"]


def test_a_killed_conversion_is_made_again(cache, from_mirrors, coloured):
    from_mirrors("cifar10", "good")
    cache.mkdir()
    (cache / "cifar10.npz.part").write_bytes(b"half of it")
    assert_holds(fetch("cifar10"), coloured)
    assert not (cache / "cifar10.npz.part").exists()


def test_the_bar_grows_on_standard_error(cache, from_mirrors, capsys):
    from_mirrors("cifar10", "good")
    fetch("cifar10")
    out, err = capsys.readouterr()
    assert out == ""
    steps = [line for line in err.splitlines() if line.startswith(CIFAR_NAME)]
    assert len(steps) > 2
    filled = [step.count("#") for step in steps]
    assert filled == sorted(filled) and filled[-1] == 30
    assert steps[-1].endswith("0.2 of 0.2 MB")


def test_the_folder_is_the_one_that_is_named_or_the_cache_of_the_platform(monkeypatch):
    monkeypatch.setenv("ONNLAB_DATA", "~/somewhere")
    assert data_folder() == Path.home() / "somewhere"
    for unset in (lambda: monkeypatch.setenv("ONNLAB_DATA", ""), lambda: monkeypatch.delenv("ONNLAB_DATA")):
        unset()
        assert data_folder() == platformdirs.user_cache_path("onnlab")


def test_an_unknown_name():
    with pytest.raises(ValueError, match="name must be one of 'mnist-mini', 'mnist', .* got 'emnist'"):
        fetch("emnist")


def test_what_is_registered_can_be_checked_and_reached():
    assert available() == ("mnist-mini", "scenes", *SOURCES, "carvana")
    for name, source in SOURCES.items():
        known = "md5:[0-9a-f]{32}" if name == "camvid" else "[0-9a-f]{64}"
        assert all(re.fullmatch(known, published) for published in source.files.values())
        assert all(re.fullmatch("https?://.+/", mirror) for mirror in source.mirrors)
        assert source.mirrors[0].startswith("https:") and source.credit
        assert len(set(source.classes)) == (11 if name == "camvid" else 10)
