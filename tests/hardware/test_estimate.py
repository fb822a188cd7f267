"""Estimates: against scikit-learn, invariances, and the limit of many kernels."""

from functools import cache

import numpy as np
import pytest
import torch
from scipy import stats
from sklearn.linear_model import LinearRegression, Ridge
from torch import Generator, Tensor

from onnlab.data import Dataset, load
from onnlab.hardware import Device, Estimate, build, estimate_accuracy, kernel_ridge
from onnlab.hardware.estimate import RIDGES, _gram, _infinite, _interval, _maps, _noise_level, _tangent


@cache
def small() -> Dataset:
    data = load("mnist-mini")
    parts = (data.train.subset(600, 0), data.validation.subset(200, 0), data.test.subset(300, 0))
    return Dataset("small", *parts, data.classes, data.credit)


def few(train: int, validation: int) -> Dataset:
    data = small()
    parts = (data.train.subset(train, 0), data.validation.subset(validation, 0), data.test)
    return Dataset("few", *parts, data.classes, data.credit)


def quick(device: Device, **options: object) -> Estimate:
    return estimate_accuracy(small(), device, **{"n_train": 200, "draws": 2, **options})


def test_the_test_split_as_scikit_learn_would_do_it() -> None:
    """Ridge regression on pooled maps, the ridge chosen on validation, one draw."""
    device, data = Device(3, 5, "rectified"), small()
    found = estimate_accuracy(data, device, n_train=600, split="test", draws=1)
    seed = torch.randint(2**31, (5,), generator=Generator().manual_seed(0))[0].item()
    model = build(device, data, seed)
    train = data.train.subset(600, 0)
    with torch.no_grad():
        x, valid, test = (
            model.pool(model.optics(s.images)).flatten(1).double().numpy()
            for s in (train, data.validation, data.test)
        )
    y = np.eye(10)[train.labels]
    unit = np.square(x - x.mean(0)).sum() / 600
    fits = [Ridge(alpha=r * unit, solver="svd").fit(x, y) for r in RIDGES]
    right = [(f.predict(valid).argmax(1) == data.validation.labels.numpy()).mean() for f in fits]
    chosen = RIDGES.index(found.ridges[0])
    assert right[chosen] == pytest.approx(max(right), abs=1e-12)
    expected = (fits[chosen].predict(test).argmax(1) == data.test.labels.numpy()).mean()
    assert found.mean == pytest.approx(expected, abs=0.004)  # one image in 300, at a tie in rounding


def test_labels_that_say_nothing_are_guessed() -> None:
    data = small()
    shuffled = torch.randperm(600, generator=Generator().manual_seed(1))
    train = type(data.train)(data.train.pixels, data.train.labels[shuffled])
    noise = Dataset("noise", train, data.validation, data.test, data.classes, "")
    found = estimate_accuracy(noise, Device(4, 5), n_train=300, draws=2)
    assert found.mean < 0.25 < quick(Device(4, 5)).mean


def test_strictly_linear_devices_cannot_tell_how_many_kernels_they_have() -> None:
    """More kernels than pixels in a window: the maps span all that they can."""
    few, many = (quick(Device(n, 3, pool=4), n_train=400).mean for n in (12, 60))
    assert few == pytest.approx(many, abs=0.02)
    rectified = [quick(Device(n, 3, "rectified", pool=4), n_train=400).mean for n in (1, 60)]
    assert rectified[1] > rectified[0] + 0.1


def test_the_interval_and_the_draws() -> None:
    found = quick(Device(1, 3, "rectified"), draws=3)
    assert found.low < min(found.draws) <= found.mean <= max(found.draws) < found.high
    assert found.mean == pytest.approx(sum(found.draws) / 3)
    assert len(set(found.draws)) > 1
    assert (found.images, len(found.ridges)) == (200, 3)
    assert found.infinite is None and found.infinite_error is None


@pytest.mark.parametrize("draws", [(0.9,), (0.9, 0.9)])
def test_without_scatter_the_interval_is_that_of_two_counts(draws: tuple[float, ...]) -> None:
    """The accuracy was counted on some images, and will be counted on others: twice the variance of one."""
    low, high = _interval(draws, 1000, 0)
    reach = 1.96 * (2 * 0.9 * 0.1 / 1000) ** 0.5
    assert (low, high) == (pytest.approx(0.9 - reach, abs=3e-3), pytest.approx(0.9 + reach, abs=3e-3))


def test_the_interval_of_many_images_is_that_of_scipy() -> None:
    """Where counting is exact, kernels alone scatter: Student's interval for one more draw."""
    draws = (0.5, 0.52, 0.47, 0.49)
    scale = np.std(draws, ddof=1) * (1 + 1 / 4) ** 0.5
    assert _interval(draws, 10**7, 0) == pytest.approx(
        stats.t(3, np.mean(draws), scale).interval(0.95), abs=5e-3
    )


@pytest.mark.parametrize("scatter", [0.0, 0.02])
@pytest.mark.parametrize("n", [2, 4])
def test_the_interval_holds_a_measurement_on_other_images(scatter: float, n: int) -> None:
    """Draws of kernels share their images: an image that is hard for one is hard for most."""
    random, hits = np.random.default_rng(0), []
    normal = stats.norm.ppf

    def measured(kernels: int) -> np.ndarray:
        kernel = normal(np.clip(0.93 + scatter * random.standard_normal((kernels, 1)), 0, 0.995))
        image, chance = random.standard_normal(500), random.standard_normal((kernels, 500))
        return (0.8 * image + 0.6 * chance < kernel).mean(1)

    for trial in range(200):
        low, high = _interval(tuple(measured(n)), 500, trial)
        hits.append(low <= measured(1).item() <= high)
    assert np.mean(hits) > 0.92


@pytest.mark.parametrize("method", ["features", "tangent"])
def test_the_same_seed_gives_the_same_estimate(method: str) -> None:
    device = Device(2, 3, "rectified", noise=0.5, hidden=(4,))
    options = {"method": method, "n_train": 60}
    before = torch.get_rng_state()
    one, two, other = (quick(device, seed=seed, **options) for seed in (0, 0, 1))
    assert torch.equal(torch.get_rng_state(), before)
    assert one.draws == two.draws != other.draws


def jacobian(device: Device, data: Dataset, images: Tensor, part: str) -> Tensor:
    """Gradients of the outputs ``(n, classes, p)`` by autograd, one image and class at a time."""
    model = build(device, data, 3)
    parameters = list(getattr(model, part).parameters())
    rows = []
    for image in images:
        outputs = model(image[None])[0]
        found = [torch.autograd.grad(one, parameters, retain_graph=True) for one in outputs]
        rows.append(torch.stack([torch.cat([g.flatten() for g in by]) for by in found]))
    return torch.stack(rows)


@pytest.mark.parametrize("camera", ["linear", "rectified", "square-law"])
@pytest.mark.parametrize("size", [3, 4])
def test_the_tangent_kernel_of_a_linear_read_out_is_exact(camera: str, size: int) -> None:
    data = few(10, 14)
    device, images = Device(2, size, camera), torch.cat([data.train.images, data.validation.images])
    kernel, shared = _tangent(device, data, images, 3)
    assert shared is not None
    torch.testing.assert_close(shared, jacobian(device, data, images, "optics"), rtol=1e-4, atol=1e-6)
    back = jacobian(device, data, images, "back_end")
    found = torch.einsum("icp,jdp->ijcd", back, back[:10])
    torch.testing.assert_close(found, kernel[..., None, None] * torch.eye(10), rtol=1e-4, atol=1e-5)


def test_the_tangent_kernel_of_hidden_layers_is_the_mean_over_the_classes() -> None:
    data = few(10, 14)
    device, images = (
        Device(2, 3, "rectified", hidden=(5,)),
        torch.cat([data.train.images, data.validation.images]),
    )
    back = jacobian(device, data, images, "back_end")
    expected = torch.einsum("icp,jcp->ij", back, back[:10]) / 10
    torch.testing.assert_close(_tangent(device, data, images, 3)[0], expected, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(("camera", "tolerance"), [("linear", 0.05), ("square-law", 0.15)])
def test_noise_of_new_images_is_averaged_out_but_for_their_own_length(camera: str, tolerance: float) -> None:
    """Over many kernels: the closed form of what noise adds to the kernel of an image with itself."""
    data, count = few(4, 1), 5000  # the fourth power of a Gaussian spreads widely: three deviations
    images = data.train.images.repeat(2, 1, 1, 1)
    device, clean = Device(count, 3, camera, noise=1.0), Device(count, 3, camera)
    noisy, quiet = (_maps(d, data, images, 0) for d in (device, clean))
    assert torch.equal(noisy[:4], quiet[:4])
    added = (noisy.square().sum(1) - quiet.square().sum(1))[4:].mean().item() / count
    # Kernels of variance 1/3d give readings of a third of the power, and their squares of a ninth.
    expected = _noise_level(device, images) / (3 if camera == "linear" else 9)
    assert added == pytest.approx(expected, rel=tolerance)
    cross = ((noisy[4:] - quiet[4:]) @ quiet[:4].T).mean().item() / count
    assert abs(cross) < 0.03 * expected


def test_training_on_much_noise_is_a_ridge() -> None:
    """Least squares over 200 noisy copies of each image, and ridge regression on clean ones."""
    generator, n, variance = Generator().manual_seed(0), 30, 0.09
    x, new = (torch.randn(m, 5, generator=generator, dtype=torch.float64) for m in (n, 8))
    y = torch.randn(n, 2, generator=generator, dtype=torch.float64)
    copies = x.repeat(200, 1)
    copies += variance**0.5 * torch.randn(copies.shape, generator=generator, dtype=torch.float64)
    fitted = LinearRegression().fit(copies.numpy(), y.repeat(200, 1).numpy()).predict(new.numpy())
    unit = (x - x.mean(0)).square().sum().item() / n
    found = kernel_ridge(x @ x.T, y, new @ x.T, (n * variance / unit,))[0].numpy()
    plain = LinearRegression().fit(x.numpy(), y.numpy()).predict(new.numpy())
    assert np.abs(found - fitted).max() < 0.2 * np.abs(plain - fitted).max()


def test_noise_costs_accuracy() -> None:
    clean, noisy = (quick(Device(4, 5, pool=2, noise=noise)).mean for noise in (0.0, 6.0))
    assert noisy < clean - 0.1


@pytest.mark.slow
@pytest.mark.parametrize("camera", ["linear", "square-law", "rectified"])
def test_many_kernels_reach_the_infinite_value(camera: str) -> None:
    found = quick(Device(400, 3, camera, pool=4), infinite=True, n_train=200, draws=2)
    assert found.infinite is not None and found.infinite_error is not None
    assert found.mean == pytest.approx(found.infinite, abs=0.02 + 2 * found.infinite_error)
    assert (found.infinite_error == 0) == (camera != "rectified")


@pytest.mark.slow
def test_the_closed_form_and_many_kernels_agree(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("onnlab.hardware.estimate.MOST_PIXELS", 0)
    data, device = few(200, 200), Device(1, 3, "square-law", noise=0.5)
    images = torch.cat([data.train.images, data.validation.images])
    by_kernels, error = _infinite(device, data, images, "validation", [0, 1, 2, 3])
    monkeypatch.setattr("onnlab.hardware.estimate.MOST_PIXELS", 9)
    closed, none = _infinite(device, data, images, "validation", [0, 1, 2, 3])
    assert none == 0 < error < 0.03
    assert by_kernels == pytest.approx(closed, abs=0.01 + 2 * error)


def test_blocks_of_columns_add_up() -> None:
    x = torch.randn(7, 9, generator=Generator().manual_seed(0))
    gram, own = _gram(x.split(4, dim=1), 3)
    torch.testing.assert_close(gram.float(), x @ x[:3].T)
    torch.testing.assert_close(own.float(), x.square().sum(1))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"method": "guess"}, "method must be one of"),
        ({"split": "train"}, "split must be one of"),
        ({"draws": 0}, "draws must be at least 1"),
        ({"n_train": 10_000}, "n must be from 1 to 600"),
    ],
)
def test_wrong_arguments(options: dict, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        quick(Device(1, 3), **options)


def test_labels_of_pixels_are_refused() -> None:
    with pytest.raises(ValueError, match="data must have one label for each image"):
        estimate_accuracy(load("scenes"), Device(1, 3))
