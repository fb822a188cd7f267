"""Running: only what is missing, teachers first, failures written down."""

import json
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import dask
import psutil
import pytest
from joblib import parallel_config

from onnlab import cli
from onnlab.experiments import (
    EXPERIMENTS,
    Experiment,
    LineError,
    Run,
    append,
    plan,
    read,
    run,
    runner,
    tables_of,
)
from onnlab.experiments.cluster import ClusterError, on_cluster
from onnlab.experiments.lines import FIELDS
from onnlab.experiments.report import missing
from onnlab.experiments.runs import execution, training
from onnlab.experiments.runs.training import Workspace
from tests.clusters import two_workers
from tests.experiments.helpers import KD, LINEAR, RESCUED, TEACHER, TINY, few_images, lines_of

ROOT = Path(__file__).parents[2]
FILE = "tiny.jsonl"


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder with all runs of the tiny experiment, two seeds."""
    folder = tmp_path_factory.mktemp("results")
    run(TINY, folder, seeds=2, report=lambda text: None)
    return folder


def copied(finished: Path, folder: Path, keep: list[int]) -> Path:
    """Return a folder that holds some of the lines, and no weights."""
    lines = (finished / FILE).read_text().splitlines(keepends=True)
    (folder / FILE).write_text("".join(lines[number] for number in keep))
    return folder


def values(lines: list[dict]) -> dict[str, tuple]:
    names = ("row", "seed", "settings", "test_accuracy", "validation_loss", "epoch", "data_sha256")
    return {line["key"]: tuple(line[name] for name in names) for line in lines}


def test_each_row_gets_the_same_budget_and_a_student_the_teacher_of_its_seed(finished: Path) -> None:
    lines = read(finished / FILE)
    for row in TINY.rows:
        mine = [line for line in lines if line["row"] == row.name]
        seeds = [(line["seed"], line["settings"]["learning_rate"]) for line in mine]
        chosen = tables_of(TINY, lines)[row].trial.learning_rate
        assert sorted(seeds) == [*((0, rate) for rate in row.learning_rates), (1, chosen)]
        best = max(mine[:2], key=lambda line: (line["validation_accuracy"], -line["validation_loss"]))
        assert best["settings"]["learning_rate"] == chosen
    taught = [line["settings"] for line in lines if line["row"] == "KD"]
    (rate,) = {settings["teacher"]["learning_rate"] for settings in taught}
    assert rate == tables_of(TINY, lines)[TEACHER].trial.learning_rate
    assert all(settings["teacher"]["seed"] == settings["seed"] for settings in taught)


def test_a_second_call_makes_nothing(finished: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    before = (finished / FILE).read_bytes()
    monkeypatch.setattr(runner, "execute", lambda one, workspace: pytest.fail("made again"))
    lines = run(TINY, finished, seeds=2, report=lambda text: None)
    assert (finished / FILE).read_bytes() == before
    assert values(lines) == values(read(finished / FILE))


@pytest.mark.parametrize("missing", [2, 8])
def test_only_the_missing_run_is_made_and_comes_out_the_same(
    missing: int, finished: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = []
    monkeypatch.setattr(
        runner, "execute", lambda one, workspace: made.append(one.key) or execution.execute(one, workspace)
    )
    everything = read(finished / FILE)
    folder = copied(finished, tmp_path, [i for i in range(9) if i != missing])
    run(TINY, folder, seeds=2, report=lambda text: None)
    # Number 8 is a student: its teacher's weights are not there, and are made again without a line.
    assert made == [everything[missing]["key"]]
    assert values(read(folder / FILE)) == values(everything)


def test_more_seeds_go_on_from_fewer(finished: Path, tmp_path: Path) -> None:
    experiment = replace(TINY, rows=(LINEAR,))
    assert {line["seed"] for line in run(experiment, tmp_path, seeds=1, report=lambda text: None)} == {0}
    said: list[str] = []
    lines = run(experiment, tmp_path, seeds=2, report=said.append)
    assert len(said) == 1 and said[0].startswith("[1/1] linear (mnist-mini, 60 labels")
    known = values(read(finished / FILE))
    assert len(lines) == 3 and all(known[key] == value for key, value in values(lines).items())


@pytest.mark.slow
def test_runs_side_by_side_give_the_same_numbers(finished: Path, tmp_path: Path) -> None:
    lines = run(TINY, tmp_path, seeds=2, jobs=2, report=lambda text: None)
    assert values(lines) == values(read(finished / FILE))


def test_a_failed_run_is_written_down_and_the_others_go_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def breaks(row, shape, classes):
        if row.front == "linear":
            raise RuntimeError("the light is off")
        return build(row, shape, classes)

    build = training.build
    monkeypatch.setattr(training, "build", breaks)
    experiment = Experiment("tiny", "book", (LINEAR, TEACHER, KD))
    said: list[str] = []
    run(experiment, tmp_path, seeds=1, report=said.append)
    lines = read(tmp_path / FILE)
    errors = {(line["row"], line["error"] is not None) for line in lines}
    assert errors == {("linear", True), ("teacher", False), ("KD", True)} and len(lines) == 6
    error = next(line["error"] for line in lines if line["error"])
    assert error.endswith("RuntimeError: the light is off")
    assert re.search(r"test_runner\.py:\d+ in breaks", error)
    assert str(ROOT) not in error and "test_accuracy" not in lines[0]
    assert any("failed, RuntimeError: the light is off" in text for text in said)
    assert list(tables_of(experiment, lines)) == [TEACHER]

    monkeypatch.setattr(training, "build", build)  # what failed is tried again, and only that
    lines = run(experiment, tmp_path, seeds=1, report=lambda text: None)
    assert all(line["error"] is None for line in lines) and len(read(tmp_path / FILE)) == 6
    assert len((tmp_path / FILE).read_text().splitlines()) == 10


def test_what_another_experiment_has_made_is_taken_over(
    finished: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    theirs, mine = tmp_path / "ntkd.jsonl", Experiment("sclc", "book", (TEACHER, LINEAR))
    theirs.write_bytes((finished / FILE).read_bytes())
    assert [one.missing for one in plan(mine, tmp_path, seeds=2)] == [0, 0]
    with monkeypatch.context() as patch:
        patch.setattr(runner, "execute", lambda one, workspace: pytest.fail("made again"))
        lines = run(mine, tmp_path, seeds=2, report=lambda text: None)
    known = values(read(theirs))
    assert len(lines) == 6 and all(known[key] == value for key, value in values(lines).items())
    written = read(tmp_path / "sclc.jsonl")
    assert written == lines and {(x["experiment"], x["scale"]) for x in lines} == {("sclc", "book")}

    (tmp_path / "sclc.jsonl").unlink()
    first = {name: value for name, value in read(theirs)[0].items() if name in FIELDS}
    theirs.write_text(json.dumps({**first, "error": "RuntimeError: the light is off"}) + "\n")
    assert [one.missing for one in plan(mine, tmp_path, seeds=2)] == [3, 3]  # a run that failed is none


def test_students_of_a_teacher_that_failed_are_left_out(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    build = training.build

    def breaks(row, shape, classes):
        if row.front == "nonlinear":
            raise RuntimeError("no teacher today")
        return build(row, shape, classes)

    monkeypatch.setattr(training, "build", breaks)
    said: list[str] = []
    lines = run(TINY, tmp_path, seeds=1, report=said.append)
    assert {(line["row"], line["error"] is None) for line in lines} == {("teacher", False), ("linear", True)}
    assert said[-1] == "KD (mnist-mini) left out: what it builds on failed"


def test_a_device_is_built_of_the_student_of_its_seed_and_goes_on_where_it_stopped(tmp_path: Path) -> None:
    quiet = {"seeds": 2, "report": lambda text: None}
    with few_images():
        lines = run(RESCUED, tmp_path, **quiet)
    assert [line["error"] for line in lines] == [None] * (4 * 3 + 2)  # as built there is nothing to choose
    rows = {row.name: one for row, one in tables_of(RESCUED, lines).items()}
    assert {name: (row.n, row.trials) for name, row in rows.items()} == {
        "teacher": (2, 2), "as designed": (2, 2), "as built": (2, 1), "labels": (2, 2), "KD": (2, 2),
    }  # fmt: skip
    for line in lines:
        student = line["settings"].get("student")
        assert (student is not None) == (line["row"] in ("as built", "labels", "KD"))
        if student is not None:
            assert student["seed"] == student["teacher"]["seed"] == line["seed"]
            assert student["learning_rate"] == rows["as designed"].trial.learning_rate

    file = tmp_path / "rescued.jsonl"
    text = file.read_text().splitlines(keepends=True)
    gone = [number for number, one in enumerate(text) if '"row": "KD"' in one][-1]
    file.write_text("".join(text[:gone] + text[gone + 1 :]))
    for weights in (tmp_path / "weights").iterdir():
        weights.unlink()  # teacher and student are made again, without lines
    with few_images():
        assert values(run(RESCUED, tmp_path, **quiet)) == values(lines)


LONG = replace(TINY, rows=tuple(replace(LINEAR, epochs=n, learning_rates=(1e-3,)) for n in (1, 60)))
KILLED = """
from onnlab.experiments import run
from tests.experiments.test_runner import LONG
run(LONG, {folder!r}, seeds=1)
"""


@pytest.mark.slow
@pytest.mark.skipif(os.name == "nt", reason="there is no SIGKILL on Windows")
def test_a_kill_leaves_whole_lines_and_the_next_call_goes_on(tmp_path: Path) -> None:
    process = subprocess.Popen([sys.executable, "-c", KILLED.format(folder=str(tmp_path))], cwd=ROOT)
    try:
        patience = time.monotonic() + 60
        while not (list(tmp_path.glob("weights/*.state")) and (tmp_path / FILE).exists()):
            assert process.poll() is None and time.monotonic() < patience
            time.sleep(0.01)
    finally:
        process.send_signal(signal.SIGKILL)
        process.wait()
    (first,) = read(tmp_path / FILE)
    said: list[str] = []
    lines = run(LONG, tmp_path, seeds=1, report=said.append)
    assert len(said) == 1 and said[0].startswith("[1/1] ")
    assert lines[0] == first and lines[1]["settings"]["epochs"] == 60
    assert lines == read(tmp_path / FILE) and not list(tmp_path.glob("weights/*.state"))


DEADLY = replace(LINEAR, name="deadly", labels=61, learning_rates=(1e-3,))
HARMLESS = [replace(DEADLY, name="harmless", labels=labels) for labels in (62, 63, 64)]
MIXED = Experiment("tiny", "book", (DEADLY, *HARMLESS))


def killed_by_deadly(one: Run, workspace: Workspace) -> dict:
    """Make a run, or run out of memory, as the system ends that."""
    if one.row.name == "deadly":
        os.kill(os.getpid(), signal.SIGKILL)
    return execution.execute(one, workspace)


@pytest.mark.slow
@pytest.mark.skipif(os.name == "nt", reason="there is no SIGKILL on Windows")
@pytest.mark.parametrize("jobs", [1, 2])
def test_a_run_that_kills_its_process_has_failed_and_the_others_go_on(
    jobs: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(runner, "execute", killed_by_deadly)
    said: list[str] = []
    with few_images():
        lines = run(MIXED, tmp_path, seeds=1, jobs=jobs, report=said.append)
    assert [line["error"] for line in lines][1:] == [None] * 3
    assert re.match("WorkerDied: .*SIGKILL", lines[0]["error"])
    assert {line["key"]: line for line in lines} == {line["key"]: line for line in read(tmp_path / FILE)}
    assert sum("deadly" in text and "failed, WorkerDied" in text for text in said) == 1


@pytest.mark.slow
@pytest.mark.skipif(os.name == "nt", reason="there is no SIGKILL on Windows")
def test_a_run_that_kills_workers_of_a_cluster_has_failed_and_the_others_go_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(runner, "execute", killed_by_deadly)
    with (
        dask.config.set({"distributed.scheduler.allowed-failures": 0}),
        two_workers() as client,
        on_cluster(client.scheduler.address),
    ):
        lines = run(MIXED, tmp_path, seeds=1, report=lambda text: None)
    assert len(lines) == 4 and lines[0]["error"].startswith("KilledWorker: ")
    # A run that waited at the worker that died may be suspected, too; the next call tries both again.
    assert sum(line["error"] is None for line in lines) >= 2


SLOW = replace(TINY, rows=(replace(LINEAR, epochs=2000, learning_rates=(1e-3, 2e-3)),))
STOPPED = """
import sys
from onnlab import cli
from onnlab.experiments import EXPERIMENTS
from tests.experiments.test_runner import SLOW
EXPERIMENTS["sclc"] = lambda scale: SLOW
sys.exit(cli.main(["reproduce", "sclc", "--jobs", "2", "--out", {folder!r}]))
"""


@pytest.mark.slow
@pytest.mark.skipif(os.name == "nt", reason="Windows has no such signals")
@pytest.mark.parametrize(("sent", "status"), [(signal.SIGTERM, 130), (signal.SIGKILL, -signal.SIGKILL)])
def test_no_worker_outlives_the_command(sent: signal.Signals, status: int, tmp_path: Path) -> None:
    script = STOPPED.format(folder=str(tmp_path))
    command = subprocess.Popen([sys.executable, "-c", script], cwd=ROOT, stderr=subprocess.PIPE, text=True)
    wait_for(lambda: len(list(tmp_path.glob("weights/*.state"))) == 2 or command.poll() is not None)
    workers = psutil.Process(command.pid).children(recursive=True)
    assert len(workers) >= 2
    command.send_signal(sent)
    _, said = command.communicate()  # which ends when nobody has standard error any more
    assert command.returncode == status
    assert ("interrupted; the same command goes on from here" in said) == (sent == signal.SIGTERM)
    wait_for(lambda: not any(map(psutil.Process.is_running, workers)))


def wait_for(happened: Callable[[], bool]) -> None:
    patience = time.monotonic() + 120
    while not happened():
        assert time.monotonic() < patience
        time.sleep(0.01)


@pytest.mark.slow
@pytest.mark.skipif(os.name == "nt", reason="there is no SIGKILL on Windows")
def test_a_cluster_that_loses_a_worker_gives_each_run_once_and_as_one_process_does(tmp_path: Path) -> None:
    alone = run(LONG, tmp_path / "alone", seeds=1, report=lambda text: None)
    folder, killed = tmp_path / "cluster", []

    def kill_one(sentence: str) -> None:
        """After the first result, end the worker that is in the middle of the long training."""
        while not killed and "test " in sentence:
            if list(folder.glob("weights/*.state")):
                (busy,) = (worker for worker, tasks in client.processing().items() if tasks)
                killed.append(client.run(os.getpid)[busy])
                os.kill(killed[0], signal.SIGKILL)
            time.sleep(0.01)

    with two_workers() as client, on_cluster(client.scheduler.address):
        lines = run(LONG, folder, seeds=1, report=kill_one)
    assert killed and values(lines) == values(alone)
    assert len((folder / FILE).read_text().splitlines()) == 2
    assert not list(folder.glob("weights/*.state"))


@pytest.mark.slow
def test_the_command_hands_out_runs_to_a_cluster(
    finished: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture
) -> None:
    monkeypatch.setitem(EXPERIMENTS, "sclc", lambda scale: replace(TINY, scale=scale))
    monkeypatch.setattr(runner, "execute", _by_a_worker)
    with two_workers() as client:
        arguments = ["reproduce", "sclc", "--seeds", "2", "--out", str(tmp_path), "--dask"]
        assert cli.main([*arguments, client.scheduler.address]) == 0
    lines = read(tmp_path / FILE)
    assert values(lines) == values(read(finished / FILE))
    assert os.getpid() not in {line["versions"].pop("pid") for line in lines}
    assert "linear" in capsys.readouterr().out


@pytest.mark.slow
def test_workers_with_several_threads_are_refused(tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    with two_workers(threads=2) as client:
        address = client.scheduler.address
        assert cli.main(["reproduce", "sclc", "--out", str(tmp_path / "new"), "--dask", address]) == 1
        assert "must have one thread each, got one with 2" in capsys.readouterr().err
        assert not (tmp_path / "new/sclc.jsonl").exists()
        with parallel_config(backend="dask"):  # as if they had come later
            lines = run(replace(TINY, rows=(LINEAR,)), tmp_path, seeds=1, report=lambda text: None)
    assert all("must have one thread each" in line["error"] for line in lines) and len(lines) == 2


def test_results_of_another_copy_of_the_data_are_not_added_to(tmp_path: Path) -> None:
    other = lines_of(LINEAR, [0.9], data_sha256="a" * 64, data_note="every picture recompressed")[0]
    append(tmp_path / FILE, other)
    with (
        few_images(),
        pytest.raises(LineError, match=r"one copy of it, got aaaaaaaa \(every .*\(None\); keep .*--out"),
    ):
        run(TINY, tmp_path, seeds=1, report=lambda text: None)
    assert read(tmp_path / FILE) == [other]
    assert not list((tmp_path / "weights").glob("*.safetensors"))  # it was told before the training


def test_a_training_that_diverges_counts_as_a_trial_and_is_not_tried_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture
) -> None:
    fit = training.fit

    def diverges(*arguments, learning_rate, **settings):
        if learning_rate == 4e-3:
            raise FloatingPointError("the loss is nan\nat step 3")
        return fit(*arguments, learning_rate=learning_rate, **settings)

    monkeypatch.setattr(training, "fit", diverges)
    experiment = replace(TINY, rows=(LINEAR,))
    with few_images():
        lines = run(experiment, tmp_path, seeds=2, report=lambda text: None)
    assert [line["error"] is None for line in lines] == [True, False, True]
    (found,) = tables_of(experiment, lines).values()
    assert (found.trials, found.n) == (2, 2) and missing(experiment, {LINEAR: found}, 2) == []
    monkeypatch.setattr(runner, "execute", lambda one, workspace: pytest.fail("made again"))
    assert run(experiment, tmp_path, seeds=2, report=lambda text: None) == lines
    assert [one.missing for one in plan(experiment, tmp_path, seeds=2)] == [0]
    monkeypatch.setitem(EXPERIMENTS, "tiny", lambda scale: experiment)
    asked = ["reproduce", "tiny", "--seeds", "2", "--out", str(tmp_path)]
    assert cli.main(asked) == 0 and "0 of them to be made" in capsys.readouterr().err


def _by_a_worker(one, workspace):
    line = execution.execute(one, workspace)
    return {**line, "versions": {**line["versions"], "pid": os.getpid()}}


def test_a_cluster_that_is_not_there_is_told_in_a_sentence(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture
) -> None:
    assert cli.main(["reproduce", "sclc", "--dask", "tcp://nowhere:x"]) == 1
    assert "must be that of a Dask scheduler, got 'tcp://nowhere:x'" in capsys.readouterr().err
    monkeypatch.setitem(sys.modules, "distributed", None)
    with pytest.raises(ClusterError, match=r'needs distributed; run pip install "onnlab\[scale\]"'):
        on_cluster("tcp://127.0.0.1:1").__enter__()


@pytest.mark.parametrize("name", ["seeds", "jobs"])
def test_there_is_at_least_one_seed_and_one_job(name: str, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=f"{name} must be at least 1"):
        run(TINY, tmp_path, **{name: 0})


def test_the_command_runs_prints_the_table_and_notes_what_is_special(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture
) -> None:
    monkeypatch.setitem(EXPERIMENTS, "sclc", lambda scale: replace(TINY, scale=scale, rows=(LINEAR,)))
    arguments = ["reproduce", "sclc", "--scale", "full", "--seeds", "2", "--out", str(tmp_path / "new")]
    with parallel_config(backend="sequential"):  # in this process
        assert cli.main([*arguments, "--data-note", "pixels of a copy"]) == 0
    out, err = capsys.readouterr()
    title, _, head, row = out.splitlines()
    assert title == "tiny (full), mnist-mini; pixels of a copy"
    assert head.startswith("Row ") and row.startswith("linear ") and "±" in row
    assert err.startswith("3 runs, 3 of them to be made\n[1/3, about ")
    lines = read(tmp_path / "new" / FILE)
    assert {(line["scale"], line["data_note"]) for line in lines} == {("full", "pixels of a copy")}


def test_the_command_makes_the_rows_of_one_data_set_and_computes_nothing_beside_them(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture
) -> None:
    other = replace(LINEAR, name="elsewhere", data="camvid-cars")
    monkeypatch.setitem(EXPERIMENTS, "sclc", lambda scale: replace(TINY, scale=scale, rows=(other, LINEAR)))
    arguments = ["reproduce", "sclc", "energy", "--seeds", "1", "--out", str(tmp_path), "--data"]
    with few_images(), parallel_config(backend="sequential"):  # in this process
        assert cli.main([*arguments, "mnist-mini"]) == 0
    assert [line["row"] for line in read(tmp_path / FILE)] == ["linear", "linear"]
    out = capsys.readouterr().out
    assert out.startswith("tiny (chapter), mnist-mini") and "elsewhere" not in out and "MACs" not in out


def test_the_command_counts_over_all_experiments_and_prints_the_tables_and_gains_of_each(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture
) -> None:
    def breaks(row, shape, classes):
        if row == broken:
            raise RuntimeError("the light is off")
        return build(row, shape, classes)

    build, broken = training.build, replace(LINEAR, name="broken", epochs=3)
    monkeypatch.setattr(training, "build", breaks)
    others = (LINEAR, broken)
    monkeypatch.setitem(EXPERIMENTS, "sclc", lambda scale: replace(TINY, name="sclc", scale=scale))
    monkeypatch.setitem(EXPERIMENTS, "ntkd", lambda scale: Experiment("ntkd", scale, others))
    with few_images(), parallel_config(backend="sequential"):  # in this process
        assert cli.main(["reproduce", "sclc", "ntkd", "--seeds", "1", "--out", str(tmp_path)]) == 1
    out, err = capsys.readouterr()
    # Both have the linear student, whose two trials are made once.
    assert re.findall(r"^\[(\d+/\d+)", err, flags=re.M) == [f"{n}/8" for n in range(1, 9)]
    assert err.splitlines()[-1].startswith(f"2 runs failed; their lines in {tmp_path} hold the tracebacks")
    first, second = out.split("ntkd (chapter), mnist-mini")
    assert first.startswith("sclc (chapter), mnist-mini")
    assert re.search("^linear ", second, flags=re.M) and "broken" not in second
    gains = first.split("Gains, paired over the seeds:")[1].strip().splitlines()
    assert gains[0].startswith("Row ") and [line.split()[:2] for line in gains[1:]] == [["KD", "linear"]]
