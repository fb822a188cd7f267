"""Files of finished networks: exact, reproducible, safe, and never half-written."""

import copy
import json
import os
from concurrent.futures import ThreadPoolExecutor

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import save_file
from torch import nn

from onnlab.distill import load_checkpoint, save_checkpoint
from onnlab.distill.checkpoint import append_line, write_whole
from tests.distill.helpers import same_weights, toy_model

RECIPE = {"data": "toy", "seed": 3, "accuracy": 0.875, "widths": [4, 8], "schedule": None}


class Optical(nn.Module):
    """With complex weights, a buffer that counts, and one weight used twice."""

    def __init__(self, seed: int = 0, size: int = 5) -> None:
        super().__init__()
        generator = torch.Generator().manual_seed(seed)
        self.mask = nn.Parameter(torch.randn(size, size, dtype=torch.complex64, generator=generator).T)
        self.head = nn.Linear(4, 4)
        self.tied = nn.Linear(4, 4)
        self.tied.weight = self.head.weight
        self.register_buffer("steps", torch.tensor(seed))


def test_what_was_saved_is_loaded(tmp_path):
    saved, loaded = Optical(7), Optical(8)
    digest = save_checkpoint(tmp_path / "a.safetensors", saved, RECIPE)
    about = load_checkpoint(tmp_path / "a.safetensors", loaded)
    assert same_weights(loaded, saved)
    assert loaded.mask.dtype == torch.complex64 and loaded.tied.weight is loaded.head.weight
    assert about["recipe"] == RECIPE and about["model"] == "Optical" and about["sha256"] == digest
    assert set(about["versions"]) == {"onnlab", "torch"}
    assert not any(layer.training for layer in loaded.modules())


def test_metadata_is_one_json_text(tmp_path):
    save_checkpoint(tmp_path / "a.safetensors", toy_model(), RECIPE)
    with safe_open(tmp_path / "a.safetensors", framework="pt") as file:
        assert json.loads(file.metadata()["onnlab"])["recipe"] == RECIPE
        assert len(file.metadata()) == 1


def test_same_network_same_bytes_and_hash(tmp_path):
    one, other = tmp_path / "one", tmp_path / "other"
    model = toy_model()
    assert save_checkpoint(one, model, RECIPE) == save_checkpoint(other, copy.deepcopy(model), RECIPE)
    assert one.read_bytes() == other.read_bytes()
    changed = copy.deepcopy(model)
    with torch.no_grad():
        changed[0].bias[0] += 1e-6
    assert save_checkpoint(other, changed, RECIPE) != save_checkpoint(one, model, RECIPE)


def test_a_damaged_file_is_found(tmp_path):
    path, model = tmp_path / "a.safetensors", toy_model()
    save_checkpoint(path, model, RECIPE)
    content = bytearray(path.read_bytes())
    content[-3] ^= 1
    path.write_bytes(content)
    with pytest.raises(ValueError, match="is damaged: its weights do not have their SHA-256"):
        load_checkpoint(path, model)
    path.write_bytes(content[:-10])
    with pytest.raises(ValueError, match="must be a safetensors file"):
        load_checkpoint(path, model)


def test_files_of_others_and_missing_files(tmp_path):
    save_file({"weight": torch.ones(2)}, tmp_path / "bare")
    with pytest.raises(ValueError, match="must be a file of save_checkpoint"):
        load_checkpoint(tmp_path / "bare", toy_model())
    with pytest.raises(FileNotFoundError):
        load_checkpoint(tmp_path / "nowhere", toy_model())


def test_another_structure_is_named_and_nothing_is_loaded(tmp_path):
    save_checkpoint(tmp_path / "a", Optical(size=5), RECIPE)
    model = Optical(1, size=6)
    before = copy.deepcopy(model)
    with pytest.raises(
        ValueError, match=r"1 tensors differ: mask is complex \(6, 6\) in the model and complex \(5, 5\)"
    ):
        load_checkpoint(tmp_path / "a", model)
    assert same_weights(model, before)
    with pytest.raises(ValueError, match="0.bias is .*in the model and missing in the file"):
        load_checkpoint(tmp_path / "a", toy_model())


def test_complex_weights_are_another_structure(tmp_path):
    save_checkpoint(tmp_path / "a", nn.Linear(2, 2, dtype=torch.complex64), RECIPE)
    with pytest.raises(ValueError, match=r"bias is \(2,\) in the model and complex \(2,\) in the file"):
        load_checkpoint(tmp_path / "a", nn.Linear(2, 2))


def test_what_cannot_be_stored(tmp_path):
    with pytest.raises(TypeError, match="0.weight of the model .* got torch.complex128; .* p.data.to"):
        save_checkpoint(tmp_path / "a", nn.Sequential(nn.Linear(2, 2, dtype=torch.complex128)), {})
    for recipe in ({"model": toy_model()}, {"loss": float("nan")}):
        with pytest.raises(TypeError, match="recipe must hold texts, finite numbers, lists and dicts only"):
            save_checkpoint(tmp_path / "a", toy_model(), recipe)
    assert not list(tmp_path.iterdir())


def test_a_full_disk_keeps_the_old_file(tmp_path, monkeypatch):
    path = tmp_path / "a"
    save_checkpoint(path, toy_model(1), RECIPE)
    old = path.read_bytes()

    def full(descriptor):
        raise OSError("no space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="no space left"):
        save_checkpoint(path, toy_model(2), RECIPE)
    assert path.read_bytes() == old and list(tmp_path.iterdir()) == [path]


def test_writers_of_one_file_do_not_disturb_each_other(tmp_path):
    file, contents = tmp_path / "a", [bytes([number]) * 100_000 for number in range(2)]

    def write(content):
        for _ in range(60):
            write_whole(file, content)
            assert file.read_bytes() in contents

    with ThreadPoolExecutor(2) as pool:
        list(pool.map(write, contents))  # raises what a writer has raised
    assert list(tmp_path.iterdir()) == [file]


def test_a_line_is_added_and_what_a_killed_writer_left_goes(tmp_path):
    (tmp_path / "a.jsonl").write_bytes(b"1\n")
    (tmp_path / "a.jsonl.killed.part").write_bytes(b"1\n2")
    (tmp_path / "b.jsonl.other.part").write_bytes(b"3\n")
    append_line(tmp_path / "a.jsonl", "4")
    assert (tmp_path / "a.jsonl").read_bytes() == b"1\n4\n"
    assert {file.name for file in tmp_path.glob("*.part")} == {"b.jsonl.other.part"}
