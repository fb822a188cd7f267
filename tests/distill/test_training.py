"""The training loop: it learns, repeats itself, chooses by validation, and stops at a NaN."""

import copy
import itertools
from functools import partial

import pytest
import torch
from torch import nn

from onnlab.data import Dataset, Split, load
from onnlab.distill import (
    CrossEntropy,
    Scores,
    _progress,
    constant,
    cosine,
    evaluate,
    fit,
    mixup,
    random_flip,
)
from onnlab.viz import show_history
from tests.distill.helpers import same_weights, toy_data, toy_model, toy_split

DEVICES = ["cpu", *["cuda"] * torch.cuda.is_available()]
quiet = partial(fit, progress=False)


def test_learns_digits_in_seconds():
    digits = load("mnist-mini")
    data = Dataset("digits", digits.train.subset(3000, 0), digits.validation, digits.test, digits.classes, "")
    torch.manual_seed(0)
    model = nn.Sequential(
        *(nn.Conv2d(1, 16, 5, stride=2), nn.ReLU(), nn.Conv2d(16, 32, 5, stride=2), nn.ReLU()),
        *(nn.Flatten(), nn.Linear(512, 10)),
    )
    history = quiet(model, data, epochs=4, seed=0, batch_size=32, learning_rate=3e-3)
    assert evaluate(model, digits.test).accuracy > 0.9
    assert history["training_loss"].diff().max() < 0
    assert history["seconds"].sum() < 30


def test_same_seed_same_weights_whatever_was_drawn_before():
    one, other, third = (toy_model(0) for _ in range(3))
    augment = partial(mixup, classes=3)
    quiet(one, toy_data(), epochs=3, seed=1, augment=augment)
    torch.manual_seed(77)
    quiet(other, toy_data(), epochs=3, seed=1, augment=augment)
    quiet(third, toy_data(), epochs=3, seed=2, augment=augment)
    assert same_weights(one, other)
    assert not same_weights(one, third)


def test_a_network_in_eval_mode_is_trained_in_training_mode_and_left_in_eval_mode():
    one, other = toy_model().train(), toy_model().eval()
    for model in (one, other):
        quiet(model, toy_data(), epochs=2, seed=1)
        assert not any(layer.training for layer in model.modules())
    assert same_weights(one, other)


def test_the_randomness_of_the_caller_is_given_back():
    torch.manual_seed(5)
    expected = torch.rand(3)
    model = toy_model()
    torch.manual_seed(5)
    quiet(model, toy_data(), epochs=1, seed=0)
    assert torch.equal(torch.rand(3), expected)


def test_one_step_of_gradient_descent_by_hand():
    data = toy_data(train=12)
    model = nn.Sequential(nn.Flatten(), nn.Linear(36, 3)).double()
    data = Dataset("", *(Split(s.pixels.double(), s.labels) for s in (data.train,) * 3), data.classes, "")
    x, y = data.train.images.flatten(1), torch.eye(3, dtype=torch.float64)[data.train.labels]
    weight, bias = (p.detach().clone() for p in model.parameters())
    error = (torch.softmax(x @ weight.T + bias, dim=1) - y) / 12
    quiet(model, data, epochs=1, seed=0, optimiser=torch.optim.SGD, learning_rate=0.5, keep="last")
    torch.testing.assert_close(model[1].weight.detach(), weight - 0.5 * error.T @ x)
    torch.testing.assert_close(model[1].bias.detach(), bias - 0.5 * error.sum(0))


def test_every_image_once_an_epoch_in_batches_of_nearly_equal_size():
    data, batches = toy_data(train=100), []

    def spy(images, targets, generator):
        batches.append(images)
        return images, targets

    quiet(toy_model(), data, epochs=2, seed=0, batch_size=33, augment=spy)
    assert [len(images) for images in batches] == [25] * 8
    for epoch in (torch.cat(batches[:4]), torch.cat(batches[4:])):
        which = (epoch[:, None] == data.train.images[None]).flatten(2).all(2).int().argmax(1)
        assert sorted(which.tolist()) == list(range(100)) != which.tolist()
    assert not torch.equal(batches[0], batches[4])


@pytest.mark.parametrize("schedule", [cosine, constant])
def test_schedule_sets_the_rate_of_each_step(schedule):
    rates = []

    class Spy(torch.optim.SGD):
        def step(self, closure=None):
            rates.append(self.param_groups[0]["lr"])
            return super().step(closure)

    quiet(toy_model(), toy_data(), epochs=2, seed=0, batch_size=30, optimiser=Spy, schedule=schedule)
    assert rates == pytest.approx([1e-3 * schedule(step / 6) for step in range(6)])
    assert cosine(0) == 1 and cosine(0.5) == pytest.approx(0.5) and cosine(1) == pytest.approx(0)


def test_channels_last_changes_the_layout_and_not_the_training():
    toy = toy_data()
    colour = Split(toy.train.pixels.double().repeat(1, 3, 1, 1), toy.train.labels)
    data = Dataset("", colour, colour, colour, toy.classes, "")
    layouts, weights = [], []

    def note(layer, inputs, output):
        layouts.append([t.is_contiguous(memory_format=torch.channels_last) for t in (*inputs, output)])

    for channels_last in (False, True):
        torch.manual_seed(0)
        model = nn.Sequential(nn.Conv2d(3, 4, 3), nn.Flatten(), nn.Linear(64, 3)).double()
        model[0].register_forward_hook(note)
        quiet(model, data, epochs=1, seed=0, channels_last=channels_last)
        weights.append(torch.cat([p.detach().flatten() for p in model.parameters()]))
    steps = len(data.train) // 64 + 1
    assert layouts[:steps] == [[False, False]] * steps
    assert layouts[len(layouts) // 2 :][:steps] == [[True, True]] * steps
    torch.testing.assert_close(*weights, rtol=1e-9, atol=1e-12)


def test_clip_bounds_the_step():
    model, start = toy_model(), toy_model()
    descent = partial(quiet, epochs=1, seed=0, batch_size=90, optimiser=torch.optim.SGD, keep="last")
    descent(model, toy_data(), learning_rate=1.0, clip=0.01)
    moves = [(a - b).norm() for a, b in zip(model.parameters(), start.parameters(), strict=True)]
    assert torch.stack(moves).norm().item() == pytest.approx(0.01, rel=1e-3)


class Sealed(Dataset):
    """A data set whose test split may not be touched."""

    def __getattribute__(self, name):
        if name in ("test", "sizes"):
            raise AssertionError("the test split was read")
        return super().__getattribute__(name)


def test_the_test_split_is_never_read(tmp_path):
    data = toy_data()
    sealed = Sealed("toy", data.train, data.validation, data.test, data.classes, data.credit)
    with pytest.raises(AssertionError):
        _ = sealed.test
    quiet(toy_model(), sealed, epochs=2, seed=0, checkpoint=tmp_path / "run")


def test_the_best_epoch_on_validation_is_kept():
    # From half way on the loss is raised instead of lowered: the last epochs are worse than those before.
    spoil = {"epochs": 6, "seed": 0, "learning_rate": 0.01, "schedule": lambda p: 1.0 if p < 0.5 else -10.0}
    data, best, last = toy_data(), toy_model(), toy_model()
    history = quiet(best, data, **spoil)
    assert history.kept == history.best.epoch <= 3
    kept = evaluate(best, data.validation)
    assert kept == Scores(history.best.validation_accuracy, history.best.validation_loss, 60)
    assert history["validation_accuracy"].max() == kept.accuracy > history["validation_accuracy"][-1]
    assert quiet(last, data, keep="last", **spoil).kept == 6
    assert evaluate(last, data.validation).accuracy == history["validation_accuracy"][-1]


def test_the_choice_follows_validation_and_not_training():
    # Validation labels are shifted by one class: the better a network learns, the worse it is rated.
    data = toy_data()
    wrong = Split(data.validation.pixels, (data.validation.labels + 1) % 3)
    data = Dataset("toy", data.train, wrong, data.test, data.classes, "")
    history = quiet(toy_model(), data, epochs=12, seed=0, learning_rate=0.01)
    assert history["training_loss"][-1] < history["training_loss"][0]
    assert history.kept < 12


def test_evaluate_is_exact_and_leaves_no_trace():
    model, split = toy_model().train(), toy_split(50, seed=9)
    model[1].eval()
    before, modes = copy.deepcopy(model), [layer.training for layer in model.modules()]
    scores = evaluate(model, split, batch_size=7)
    logits = copy.deepcopy(model).eval()(split.images)
    assert scores.n == 50
    assert scores.accuracy == pytest.approx((logits.argmax(1) == split.labels).float().mean().item())
    assert scores.loss == pytest.approx(nn.functional.cross_entropy(logits, split.labels).item(), rel=1e-5)
    assert same_weights(model, before) and [layer.training for layer in model.modules()] == modes


def test_a_network_that_works_in_place_does_not_reach_the_images():
    split = toy_split(6, seed=0)
    split.pixels.sub_(0.5)
    before = split.pixels.clone()
    evaluate(nn.Sequential(nn.ReLU(inplace=True), nn.Flatten(), nn.Linear(36, 3)), split)
    assert torch.equal(split.pixels, before)


def test_evaluate_restores_the_mode_after_an_error():
    model = toy_model(classes=2).train()
    with pytest.raises(ValueError, match="targets must be from 0 to 1"):
        evaluate(model, toy_split(6, seed=0))
    assert all(layer.training for layer in model.modules())


def test_bytes_and_labels_of_pixels():
    generator = torch.Generator().manual_seed(0)
    pixels = torch.randint(0, 256, (40, 1, 6, 6), generator=generator, dtype=torch.uint8)
    split = Split(pixels, (pixels[:, 0] > 127).long())
    data = Dataset("bright", split, split, split, ("dark", "bright"), "")
    model = nn.Conv2d(1, 2, 1)
    quiet(model, data, epochs=40, seed=0, batch_size=8, learning_rate=0.05, augment=random_flip)
    assert evaluate(model, split).accuracy > 0.95


def test_complex_weights_learn():
    class Phase(nn.Module):
        """The intensity of a field behind a mask in its Fourier plane."""

        def __init__(self):
            super().__init__()
            self.mask = nn.Parameter(torch.ones(6, 6, dtype=torch.complex64))
            self.head = nn.Linear(36, 3)

        def forward(self, images):
            field = torch.fft.ifft2(torch.fft.fft2(images[:, 0]) * self.mask)
            return self.head((field.abs() ** 2).flatten(1))

    model = Phase()
    history = quiet(model, toy_data(), epochs=5, seed=0, clip=1.0)
    assert history["training_loss"][-1] < history["training_loss"][0]
    assert model.mask.is_complex() and (model.mask != 1).all()


def test_frozen_weights_stay():
    model, start = toy_model(), toy_model()
    model[0].requires_grad_(False)
    quiet(model, toy_data(), epochs=1, seed=0, optimiser=partial(torch.optim.SGD, weight_decay=0.1))
    assert torch.equal(model[0].weight, start[0].weight)
    assert not torch.equal(model[5].weight, start[5].weight)


@pytest.mark.parametrize("device", DEVICES)
def test_autocast_computes_in_bfloat16_and_learns(device, tmp_path):
    seen = set()

    def spy(batch):
        seen.add((batch.logits.dtype, batch.logits.device.type))
        return CrossEntropy()(batch)

    model, settings = toy_model(), {"device": device, "autocast": True, "checkpoint": tmp_path / "run"}
    history = quiet(model, toy_data(), spy, epochs=30, seed=0, learning_rate=0.01, **settings)
    assert seen == {(torch.bfloat16, device)}
    assert all(parameter.dtype == torch.float32 for parameter in model.parameters())
    assert history.best.validation_accuracy > 0.7
    resumed = toy_model(1)
    assert quiet(resumed, toy_data(), spy, epochs=30, seed=0, learning_rate=0.01, **settings) == history
    assert same_weights(resumed, model)


# --- numbers that are not finite ----------------------------------------------------------------------------


def from_step(step, spoil):
    """Objective: cross entropy, spoilt from a step on (counted from 1)."""
    count = iter(range(1, 1000))
    return lambda batch: spoil(batch, CrossEntropy()(batch)) if next(count) >= step else CrossEntropy()(batch)


def test_a_nan_in_the_loss_is_named():
    objective = from_step(5, lambda batch, loss: loss + (batch.logits.sum() * 0 - 1).log())
    with pytest.raises(FloatingPointError, match=r"step 5 \(epoch 2\): the loss is not finite"):
        quiet(toy_model(), toy_data(), objective, epochs=3, seed=0, batch_size=30)


def test_a_nan_in_the_gradient_is_named():
    objective = from_step(2, lambda batch, loss: loss + (batch.model[5].bias * 0).square().sum().sqrt())
    with pytest.raises(FloatingPointError, match=r"step 2 \(epoch 1\): the gradient of 5.bias is not finite"):
        quiet(toy_model(), toy_data(), objective, epochs=3, seed=0, batch_size=30)


def test_a_nan_in_the_input_is_named():
    data = toy_data()
    data.train.pixels[17, 0, 2, 2] = torch.nan
    with pytest.raises(FloatingPointError, match=r"\(epoch 1\): the input is not finite; look at the images"):
        quiet(toy_model(), data, epochs=1, seed=0, batch_size=30)


def test_an_overflow_in_the_model_is_named():
    model = toy_model()
    model.append(nn.Threshold(-1e9, torch.inf)).append(nn.Hardtanh(-torch.inf, torch.inf))
    model[6] = nn.Softplus(beta=1e-45)
    with pytest.raises(
        FloatingPointError, match=r"step 1 \(epoch 1\): the output of the model is not finite"
    ):
        quiet(model, toy_data(), epochs=1, seed=0)


def test_a_step_that_went_too_far_is_named():
    rate = {"optimiser": torch.optim.SGD, "learning_rate": 1e37, "schedule": constant, "epochs": 1}

    def steep(batch):
        return 1e4 * CrossEntropy()(batch)

    with pytest.raises(FloatingPointError, match=r"step 2 \(epoch 1\): the weight 0.weight is not finite"):
        quiet(toy_model(), toy_data(), steep, seed=0, batch_size=45, **rate)
    with pytest.raises(FloatingPointError, match=r"step 1 \(epoch 1\) made 0.weight infinite or NaN"):
        quiet(toy_model(), toy_data(), steep, seed=0, batch_size=90, **rate)


# --- the table, the line, the errors ------------------------------------------------------------------------


def test_history_is_a_table_to_print_and_draw():
    history = quiet(toy_model(), toy_data(), epochs=3, seed=0)
    assert history["epoch"].tolist() == [1, 2, 3] and len(history) == 3
    lines = str(history).splitlines()
    assert (
        len(lines) == 4 and [line.endswith("<- kept") for line in lines[1:]].index(True) == history.kept - 1
    )
    assert f"{history.rows[1].validation_accuracy:.2%}" in lines[2]
    axes = show_history(history.losses).axes[0]
    drawn = {line.get_label(): line.get_ydata().tolist() for line in axes.lines}
    assert drawn["training"] == history["training_loss"].tolist()
    assert history.recipe["objective"] == "CrossEntropy(label_smoothing=0.0)"
    assert history.recipe["optimiser"] == "Adam" and history.recipe["schedule"] == "cosine"
    with pytest.raises(KeyError, match="column must be one of epoch, training_loss"):
        history["accuracy"]


def test_a_training_among_others_tells_its_name_once_a_minute(capsys, monkeypatch):
    seconds = itertools.count(0, 25)
    monkeypatch.setattr(_progress.time, "monotonic", lambda: next(seconds))
    progress = _progress.Progress(epochs=2, steps=10, wanted="teacher, seed 3")
    with progress:
        for step in range(6):  # at 25 s, 50 s, 75 s: said; the next is due 60 s after 100 s
            progress.step(0, step, 0.5)
    said = capsys.readouterr().err.splitlines()
    assert said == [f"teacher, seed 3: epoch 1/2  {n}0%  loss 0.5000" for n in (3, 6)]


def test_progress_is_one_line_on_standard_error(capsys):
    fit(toy_model(), toy_data(), epochs=2, seed=0)
    out, err = capsys.readouterr()
    assert out == "" and err.count("\n") == 1 and err.endswith("\n")
    assert "epoch 2/2 100%" in err and "validation" in err
    quiet(toy_model(), toy_data(), epochs=2, seed=0)
    assert capsys.readouterr() == ("", "")


@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        ({"model": "lenet"}, TypeError, "model must be a torch.nn.Module, got str"),
        ({"model": nn.Flatten()}, ValueError, "model must have a parameter that requires a gradient"),
        ({"data": toy_split(4, 0)}, TypeError, "data must be an onnlab.data.Dataset, got Split"),
        ({"epochs": 0}, ValueError, "epochs must be at least 1, got 0"),
        ({"epochs": 1.5}, TypeError, "epochs must be a whole number, got 1.5"),
        ({"seed": -1}, ValueError, "seed must be from 0 to 4294967295, got -1"),
        ({"batch_size": 0}, ValueError, "batch_size must be at least 1"),
        ({"learning_rate": 0.0}, ValueError, r"learning_rate must be positive \(step size\), got 0.0"),
        ({"learning_rate": "fast"}, TypeError, "learning_rate must be one real number"),
        ({"clip": -1.0}, ValueError, "clip must be positive"),
        ({"keep": "first"}, ValueError, "keep must be 'best' or 'last', got 'first'"),
        ({"checkpoint": "no/such/folder/run.pt"}, ValueError, "checkpoint must be a file in a folder that"),
        (
            {"objective": lambda batch: batch.logits},
            TypeError,
            r"objective must return one number .*\(64, 3\)",
        ),
        ({"objective": lambda batch: 0.5}, TypeError, "objective must return one number .* got float"),
        (
            {"objective": lambda batch: batch.logits.mean().detach()},
            TypeError,
            r"got shape \(\) without a gradient",
        ),
        ({"model": toy_model(classes=2)}, ValueError, "targets must be from 0 to 1, the classes of the net"),
    ],
)
def test_errors_name_the_argument(change, error, message):
    arguments = {"model": toy_model(), "data": toy_data(train=64), "epochs": 1, "seed": 0, **change}
    with pytest.raises(error, match=message):
        quiet(**arguments)
