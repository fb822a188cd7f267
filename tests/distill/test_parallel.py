"""Two processes that train one network take the steps of one process."""

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from onnlab.distill import is_first, process_group
from onnlab.distill.parallel import agreed, processes, shared
from tests.distill.helpers import toy_model
from tests.distill.several_processes import CASES, train

ROOT = Path(__file__).parents[2]
TORCHRUN = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2", "-m"]


def torchrun(test: Callable[..., None]) -> Callable[..., None]:
    """Mark a test that starts processes, which nobody has tried on Windows."""
    return pytest.mark.slow(
        pytest.mark.skipif(os.name == "nt", reason="torchrun was not tried on Windows")(test)
    )


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder with what the two processes found, and what they said."""
    place = tmp_path_factory.mktemp("two")
    done = subprocess.run(
        [*TORCHRUN, "tests.distill.several_processes", str(place)], cwd=ROOT, capture_output=True
    )
    assert done.returncode == 0, done.stderr.decode()
    (place / "said.txt").write_bytes(done.stderr)
    return place


@pytest.fixture(scope="module")
def found(folder: Path) -> dict[str, Any]:
    return torch.load(folder / "first.pt")


@torchrun
@pytest.mark.parametrize("name", CASES)
def test_a_training_by_two_is_that_by_one(name: str, found: dict[str, Any]) -> None:
    assert found["processes"] == 2
    alone, together = train(name), found[name]
    tolerance = 1e-6 if name == "float32" else 1e-10
    torch.testing.assert_close(together["rows"], alone["rows"], rtol=tolerance, atol=0)
    assert together["loss"] == pytest.approx(alone["loss"], rel=tolerance)
    assert together["weights"].keys() == alone["weights"].keys()
    for key, value in alone["weights"].items():
        difference = torch.linalg.vector_norm((together["weights"][key] - value).double())
        assert difference <= tolerance * torch.linalg.vector_norm(value.double()), key


@torchrun
def test_both_have_the_same_and_the_first_alone_writes_and_tells(folder: Path, found: dict[str, Any]) -> None:
    assert torch.load(folder / "second.pt")  # all that it found was equal, digit by digit
    assert (folder / "0.state").exists() and not (folder / "1.state").exists()
    lines = (folder / "said.txt").read_bytes().split(b"\n")  # each of a training is written over and over
    assert sum(line.startswith(b"\repoch 1/2") for line in lines) == len(CASES) + 1


@torchrun
def test_each_draws_its_own_dropout(found: dict[str, Any]) -> None:
    dropped = found["dropped"]
    assert dropped.shape == (15, 3) and 0.2 < dropped.double().mean() < 0.8
    assert not torch.equal(dropped[:7], dropped[7:14])


@torchrun
def test_waiting_for_one_that_has_gone_is_an_error(folder: Path) -> None:
    assert (folder / "alone.txt").read_text()


def test_a_single_process_trains_the_network_itself() -> None:
    model = toy_model()
    with process_group("cuda:1"):  # not even looked at
        assert processes() == 1 and is_first() and shared(model) is model and agreed(model) is model


def test_a_numbered_device_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TORCHELASTIC_RUN_ID", "none")
    with pytest.raises(
        ValueError, match="device must be 'cuda', and each process takes its own, got 'cuda:1'"
    ):
        process_group("cuda:1").__enter__()
