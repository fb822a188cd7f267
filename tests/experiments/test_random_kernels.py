"""Random kernels: drawn by the seed, frozen, read once; and what their number can matter at all."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from sklearn.linear_model import Ridge
from torch import Tensor, nn
from torch.nn.functional import one_hot

from onnlab.data import load
from onnlab.distill import evaluate, fit
from onnlab.experiments import (
    SCALES,
    Row,
    Run,
    Trial,
    check_line,
    random_kernels,
    read,
    reported,
    tables_of,
)
from onnlab.experiments.catalogue.random_kernels import RATES
from onnlab.experiments.frozen import is_frozen, seen_by_back_end
from onnlab.experiments.papers import DIGITS, RANDOM_OBJECTS
from onnlab.experiments.parts import RANDOM_CAMERAS, SOLVED
from onnlab.experiments.report import comparisons, part
from onnlab.experiments.runs.execution import execute
from onnlab.experiments.runs.images import dataset
from onnlab.experiments.runs.training import Workspace, build, trained
from onnlab.hardware import KernelClassifier
from onnlab.hardware.estimate import RIDGES
from onnlab.networks import HybridClassifier
from tests.experiments.helpers import few_images

SHAPE = (1, 28, 28)
ROW = Row(
    name="rectified, 8 random", network="Random-8 rectified", data="mnist-mini", labels=100, epochs=2,
    learning_rates=(1e-2,),
)  # fmt: skip


def drawn(network: str, seed: int, shape: tuple[int, int, int] = SHAPE) -> HybridClassifier:
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        model = build(replace(ROW, network=network), shape, 10)
    assert isinstance(model, HybridClassifier)
    return model


def readings(network: str, x: Tensor) -> Tensor:
    """What the read-out gets of each image from one region of the pool, ``(images, kernels)``."""
    model = drawn(network, 0, shape=(1, 8, 8)).double()
    with torch.no_grad():
        return model.pool(model.optics(x))[:, :, 0, 0]


@pytest.mark.parametrize("scale", SCALES)
def test_kernels_are_frozen_where_a_row_says_random_and_each_row_has_as_many_trials(scale: str) -> None:
    experiment = random_kernels(scale)
    for row in experiment.rows:
        network = row.network
        if network in SOLVED:
            assert (row.epochs, row.trials) == (0, (Trial(None),))
            continue
        assert len(row.trials) == (1 if scale == "chapter" else 5 if row.data == "cifar10" else 3)
        model = drawn(network, 0)
        assert is_frozen(model) == ("random" in row.name) == network.startswith("Random")
        counted = int(row.name.split(", ")[1].split()[0])
        camera, hidden = row.name.split(", ")[0], "hidden" in row.name
        assert (len(model.optics.weight), model.optics.camera) == (counted, camera)
        assert model.nonlinearities == (camera == "rectified") + hidden
    names = {(row.name, other.name) for row, other in experiment.pairs}
    assert ("rectified, 8 random", "linear, 8 trained, hidden layer") in names
    assert all((row.data, row.labels) == (other.data, other.labels) for row, other in experiment.pairs)


def test_the_seed_draws_the_kernels_alike_for_both_cameras_and_for_training() -> None:
    first = drawn("Random-8 linear", 3).optics.weight
    for network in ("Random-8 linear", "Random-8 rectified", "Trained-8 linear", "Trained-8 rectified"):
        assert torch.equal(drawn(network, 3).optics.weight, first)
        assert not torch.equal(drawn(network, 4).optics.weight, first)
    many = drawn("Random-1000 linear", 0).optics.weight
    assert many.var().item() == pytest.approx(1 / 49, rel=0.03)  # standard error 0.6 %


def test_behind_a_linear_camera_64_kernels_say_all_that_1000_say() -> None:
    x = torch.randn(120, 1, 8, 8, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    few, many = (readings(f"Random-{count} linear", x) for count in (64, 1000))
    rank = torch.linalg.matrix_rank
    assert rank(few) == rank(many) == rank(torch.cat([few, many], 1)) == 49
    assert rank(readings("Random-8 linear", x)) == 8
    few, many = (readings(f"Random-{count} rectified", x) for count in (64, 1000))
    assert rank(few) == 64 and rank(torch.cat([few, many], 1)) == 120  # as many as images


@pytest.mark.parametrize("camera", RANDOM_CAMERAS)
def test_a_read_out_learns_from_readings_what_it_learns_from_images(camera: str, tmp_path: Path) -> None:
    run = Run(replace(ROW, network=f"Random-8 {camera}"), Trial(1e-2), 5)
    found, history = trained(run, Workspace(tmp_path))
    model = drawn(run.row.network, 5)
    light = model.optics.weight.clone()
    data = load("mnist-mini")
    data = replace(data, train=data.train.subset(100, 5))
    expected = fit(model, data, epochs=2, seed=5, learning_rate=1e-2, progress=False)
    assert history is not None
    assert history.best.validation_loss == pytest.approx(expected.best.validation_loss, rel=1e-4)
    for name, value in found.state_dict().items():
        torch.testing.assert_close(value, model.state_dict()[name], atol=1e-4, rtol=1e-3)
    assert torch.equal(found.optics.weight, light)


def test_light_is_needed_once_for_each_image(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    shown: list[int] = []
    convolve = nn.Conv2d.forward

    def watched(self: nn.Conv2d, x: Tensor) -> Tensor:
        shown.append(len(x))
        return convolve(self, x)

    monkeypatch.setattr(nn.Conv2d, "forward", watched)
    with few_images():
        row = replace(ROW, labels=None, epochs=3)
        trained(Run(row, Trial(1e-2), 0), Workspace(tmp_path))
        assert sum(shown) == 100 + 50  # to train and to validate
        shown.clear()
        trained(Run(replace(row, augment="shift"), Trial(1e-2), 0), Workspace(tmp_path))
        assert sum(shown) == 3 * (100 + 50)  # new images in every epoch


def test_labels_and_test_images_stay_what_they_are() -> None:
    with few_images():
        data = dataset("mnist-mini")[0]
        seen = seen_by_back_end(drawn("Random-8 linear", 0), data)
    assert seen.train.pixels.shape == (100, 8, 7, 7)
    assert torch.equal(seen.validation.labels, data.validation.labels)
    assert seen.test is data.test


def test_the_limit_becomes_a_line_without_epochs(tmp_path: Path) -> None:
    row = replace(
        ROW, name="limit", network="Solved-infinite rectified", labels=20, epochs=0, learning_rates=(),
    )  # fmt: skip
    run = Run(row, Trial(None), 2)
    with few_images():
        line = execute(run, Workspace(tmp_path))
        check_line({**line, "experiment": "e", "scale": "book", "row": "limit"})
        assert (line["epoch"], line["parameters"]) == (0, 0) and line["seconds"] > 0
        data = dataset("mnist-mini")[0]
        model = build(row, SHAPE, 10)
        assert isinstance(model, KernelClassifier)
        model.learn(replace(data, train=data.train.subset(20, 2)), RIDGES)
        assert line["test_accuracy"] == evaluate(model, data.test).accuracy > 0.2
        assert line["validation_accuracy"] == evaluate(model, data.validation).accuracy


@pytest.mark.parametrize("camera", RANDOM_CAMERAS)
def test_a_regression_on_random_kernels_is_ridge_regression_on_their_maps(camera: str) -> None:
    row = replace(ROW, network=f"Solved-8 {camera}", epochs=0, learning_rates=())
    with torch.random.fork_rng():
        torch.manual_seed(4)
        model = build(row, SHAPE, 10)
    assert isinstance(model, KernelClassifier)
    with few_images():
        data = dataset("mnist-mini")[0]
    ridge = model.learn(data, (0.01,))
    light = drawn(f"Random-8 {camera}", 4)  # the same kernels as those of the row that is trained
    with torch.no_grad():
        x, new = (light.pool(light.optics(s.images)).flatten(1).double() for s in (data.train, data.test))
    unit = (x - x.mean(0)).square().sum().item() / len(x)
    expected = Ridge(alpha=ridge * unit).fit(x, one_hot(data.train.labels, 10).double()).predict(new)
    np.testing.assert_allclose(model(data.test.images).numpy(), expected, atol=1e-3)


@pytest.mark.parametrize("change", [{"epochs": 2, "learning_rates": (1e-2,)}, {"teacher": ROW}])
def test_what_is_solved_cannot_be_trained(change: dict) -> None:
    limit = replace(ROW, network="Solved-infinite linear", epochs=0, learning_rates=())
    if "teacher" in change:
        change = {**change, "temperatures": (4.0,), "alpha": 0.9}
    with pytest.raises(ValueError, match="must have 0 epochs, no teacher and no student"):
        replace(limit, **change)


def test_what_the_appendix_says_of_them() -> None:
    experiment = random_kernels("book")
    found = tables_of(experiment, read(Path(__file__).parents[2] / "results/random-kernels.jsonl"))
    gains = {(row.name, other.name): one for row, other, one in comparisons(experiment, found)}
    assert len(gains) == len(experiment.pairs) and all(one.n >= 3 for one in gains.values())
    eight, baseline = "rectified, 8 random", "linear, 8 trained, hidden layer"
    for pair in (("linear, 64 random", "linear, 8 random"), ("linear, 8 trained", "linear, 8 random")):
        assert not gains[pair].clear  # without a bend, neither number nor training buys anything
    assert gains[eight, "linear, 8 random"].low > 0.04  # a bend in the camera
    assert gains[baseline, "linear, 8 trained"].low > 0.03  # or in the back end
    for pair in ((eight, baseline), ("rectified, 8 trained", eight), ("rectified, 64 random", eight)):
        assert gains[pair].low > 0
    assert gains[eight, baseline].high < 0.02
    assert gains["rectified, 64 random, regression", "rectified, 8 random, regression"].low > 0
    for camera in RANDOM_CAMERAS:  # beyond 64
        limit, thousand = f"{camera}, infinitely many", f"{camera}, 1000 random, regression"
        assert not gains[thousand, f"{camera}, 64 random, regression"].clear
        assert not gains[limit, thousand].clear
    rows = {row.name: one for row, one in found.items()}
    assert rows[eight].trial.learning_rate == max(RATES[8])
    assert 100 * rows[baseline].mean > reported("table 3", DIGITS, "no transfer").score


def test_what_the_appendix_says_of_them_on_all_of_mnist() -> None:
    experiment = part(random_kernels("full"), "mnist")
    found = tables_of(experiment, read(Path(__file__).parents[2] / "results/random-kernels.jsonl"))
    gains = {(row.name, other.name): one for row, other, one in comparisons(experiment, found)}
    eight, baseline = "rectified, 8 random", "linear, 8 trained, hidden layer"
    random = next(row for row in experiment.rows if row.name == "linear, 8 random")
    assert random.ends(found[random].trial) == ("learning_rate",)
    for row in ("linear, 64 random", "linear, 8 trained"):  # a third of a point without a bend
        one = gains[row, "linear, 8 random"]
        assert one.low > 0 and 0.25 < 100 * one.mean < 0.4
    for pair in ((eight, "linear, 8 random"), (baseline, "linear, 8 trained")):
        assert gains[pair].low > 0.045 and gains[pair].high < 0.065
    assert not gains[eight, baseline].clear
    for row in ("rectified, 64 random", "rectified, 8 trained"):  # about a point behind one
        one = gains[row, eight]
        assert one.low > 0 and 0.8 < 100 * one.mean < 1.1
    beyond = [one for (_, fewer), one in gains.items() if " 64 " in fewer or " 1000 " in fewer]
    assert len(beyond) == 7 and not any(one.clear for one in beyond)


def test_what_the_appendix_says_of_them_on_all_of_cifar10() -> None:
    experiment = part(random_kernels("full"), "cifar10")
    found = tables_of(experiment, read(Path(__file__).parents[2] / "results/random-kernels.jsonl"))
    gains = {(row.name, other.name): one for row, other, one in comparisons(experiment, found)}
    assert all(one.n == 3 for one in gains.values())
    eight, baseline = "rectified, 8 random", "linear, 8 trained, hidden layer"
    for row in ("linear, 64 random", "linear, 8 trained"):
        assert not gains[row, "linear, 8 random"].clear
    camera, back_end = gains[eight, "linear, 8 random"], gains[baseline, "linear, 8 trained"]
    assert camera.low > 0 and 0.07 < camera.mean < 0.08
    assert back_end.low > 0 and 0.105 < back_end.mean < 0.115
    assert gains[eight, baseline].high < 0
    for row in ("rectified, 64 random", "rectified, 8 trained"):
        assert gains[row, eight].low > 0 and 0.075 < gains[row, eight].mean < 0.105
    rows = {row.name: one for row, one in found.items()}
    assert 100 * rows["rectified, 64 random"].mean > reported("table 5", RANDOM_OBJECTS, "1000 kernels").score
    assert gains["rectified, 64 random, regression", "rectified, 8 random, regression"].low > 0
    beyond = [one for (_, fewer), one in gains.items() if " 64 " in fewer or " 1000 " in fewer]
    assert len(beyond) == 6 and not any(one.clear for one in beyond)
