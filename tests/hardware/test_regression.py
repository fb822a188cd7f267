"""Kernel regression and wide limits, against scikit-learn, quadrature and many random kernels."""

import math
from itertools import pairwise

import numpy as np
import pytest
import torch
from scipy.integrate import quad
from sklearn.kernel_ridge import KernelRidge
from sklearn.linear_model import Ridge
from sklearn.preprocessing import KernelCenterer
from torch import Generator, Tensor, nn
from torch.nn.functional import avg_pool2d, conv2d

from onnlab.distill import ntk
from onnlab.hardware import kernel_ridge, wide_back_end, wide_camera
from onnlab.hardware.regression import best_ridge, solve_ridge, wide_features

CAMERAS = {"linear": lambda a: a, "rectified": torch.relu, "square-law": torch.square}


def random(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(shape, generator=Generator().manual_seed(seed), dtype=torch.float64)


@pytest.mark.parametrize("features", [5, 60])
def test_a_linear_kernel_is_ridge_regression_with_an_intercept(features: int) -> None:
    x, new, y = random(30, features), random(8, features, seed=1), random(30, 3, seed=2)
    centred = (x - x.mean(0)) @ (x - x.mean(0)).T
    unit = torch.linalg.eigvalsh(centred).mean().item()
    found = kernel_ridge(x @ x.T, y, new @ x.T, (1e-3, 0.5))
    for ridge, one in zip((1e-3, 0.5), found, strict=True):
        expected = Ridge(alpha=ridge * unit, solver="svd").fit(x.numpy(), y.numpy()).predict(new.numpy())
        np.testing.assert_allclose(one.numpy(), expected, rtol=1e-8, atol=1e-10)


def test_a_kernel_that_is_not_linear() -> None:
    x, new, y = random(25, 4), random(6, 4, seed=1), random(25, 2, seed=2)
    kernel, cross = torch.exp(-torch.cdist(x, x)), torch.exp(-torch.cdist(new, x))
    centre = KernelCenterer().fit(kernel.numpy())
    k, c = centre.transform(kernel.numpy()), centre.transform(cross.numpy())
    alpha = 0.1 * np.trace(k) / 25
    mean = y.mean(0).numpy()
    expected = mean + KernelRidge(alpha=alpha, kernel="precomputed").fit(k, y.numpy() - mean).predict(c)
    np.testing.assert_allclose(kernel_ridge(kernel, y, cross, (0.1,))[0].numpy(), expected, rtol=1e-9)


def test_the_scale_and_an_offset_of_a_kernel_change_nothing() -> None:
    x, new, y = random(20, 5), random(6, 5, seed=1), random(20, 2, seed=2)
    found = kernel_ridge(x @ x.T, y, new @ x.T, (0.1,))
    torch.testing.assert_close(kernel_ridge(7 * (x @ x.T) + 3, y, 7 * (new @ x.T) + 3, (0.1,)), found)


def test_the_best_ridge_gets_most_labels_right_and_among_equals_the_least_error() -> None:
    labels = torch.tensor([0, 1])
    wrong, sure, unsure = ([[0.0, 1.0], [0.0, 1.0]], [[0.9, 0.1], [0.1, 0.9]], [[0.6, 0.4], [0.4, 0.6]])
    assert best_ridge(torch.tensor([wrong, unsure, sure]), labels) == 2
    assert best_ridge(torch.tensor([unsure, wrong]), labels) == 0


def test_dark_patches_add_nothing() -> None:
    x, x2 = random(3, 1, 8, 8), random(2, 1, 8, 8, seed=1)
    x[:, :, :, 3:] = 0
    x2[1] = 0
    # One kernel is relu at one pixel: only pixels of one sign and both lit meet.
    found = wide_camera(x, x2, 1, 1, "rectified")
    expected = torch.stack(
        [(a.relu() * b.relu() + (-a).relu() * (-b).relu()).sum((1, 2, 3)) / 2 for a in x for b in [x2]]
    ).reshape(3, 2)
    torch.testing.assert_close(found, expected, atol=1e-7, rtol=1e-7)


def test_more_patches_than_are_compared_at_a_time() -> None:
    """By relu(a) - relu(-a) = a, where some images are dark, and others in part."""
    x, x2 = random(90, 1, 4, 4), random(140, 1, 4, 4, seed=1)
    x[30:50], x[60:, :, :2], x2[::3, :, :, 1:] = 0, 0, 0
    both = 2 * (wide_camera(x, x2, 1, 2, "rectified") - wide_camera(-x, x2, 1, 2, "rectified"))
    torch.testing.assert_close(both, wide_camera(x, x2, 1, 2, "linear"))
    assert wide_camera(x, torch.zeros(3, 1, 4, 4), 3, 2, "rectified").abs().max() == 0


def test_a_kernel_of_nothing_predicts_the_mean() -> None:
    y = random(4, 2)
    found = kernel_ridge(torch.ones(4, 4), y, torch.ones(3, 4), (0.1,))
    torch.testing.assert_close(found[0], y.mean(0).expand(3, 2))


@pytest.mark.parametrize("p", [3, 90])
def test_shared_parameters_as_one_large_kernel(p: int) -> None:
    """The kernel of all pairs of images and classes, made and solved as it stands."""
    n, m, classes, ridge = 12, 5, 3, 0.2
    x, new, y = random(n, 6), random(m, 6, seed=1), random(n, classes, seed=2)
    one, other = random(n, classes, p, seed=3), random(m, classes, p, seed=4)
    found = kernel_ridge(x @ x.T, y, new @ x.T, (ridge,), shared=(one, other))[0]

    centre = x.mean(0)
    j, j_new = ((part - one.mean(0)).flatten(0, 1) for part in (one, other))
    large, cross = (
        torch.kron((left - centre) @ (x - centre).T, torch.eye(classes, dtype=x.dtype)) + by @ j.T
        for left, by in ((x, j), (new, j_new))
    )
    model = KernelRidge(alpha=ridge * large.trace().item() / (n * classes), kernel="precomputed")
    fitted = model.fit(large.numpy(), (y - y.mean(0)).flatten().numpy()).predict(cross.numpy())
    expected = y.mean(0) + torch.from_numpy(fitted).unflatten(0, (m, classes))
    torch.testing.assert_close(found, expected, rtol=1e-8, atol=1e-10)


def test_shared_parameters_that_do_not_fit() -> None:
    with pytest.raises(ValueError, match=r"shared must be \(4, 1, p\) and \(2, 1, p\)"):
        gradients = torch.ones(4, 1, 3), torch.ones(2, 1, 4)
        kernel_ridge(torch.eye(4), torch.ones(4, 1), torch.ones(2, 4), (1.0,), shared=gradients)


@pytest.mark.parametrize(
    ("kernel", "cross", "ridges", "message"),
    [
        (torch.eye(3), torch.ones(2, 4), (1.0,), r"kernel must be \(4, 4\) for 4 targets, got \(3, 3\)"),
        (torch.eye(4), torch.ones(4, 2), (1.0,), r"cross must be \(m, 4\) for 4 targets, got \(4, 2\)"),
        (torch.eye(4), torch.ones(2, 4), (0.0,), "ridges must be above zero"),
        (torch.eye(4), torch.ones(2, 4), (), "ridges must be above zero"),
    ],
)
def test_wrong_shapes_and_ridges(
    kernel: Tensor, cross: Tensor, ridges: tuple[float, ...], message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        kernel_ridge(kernel, torch.ones(4, 1), cross, ridges)


def test_two_flat_patches_against_quadrature() -> None:
    """One pixel images: E relu(w u) relu(w v) over one Gaussian number w, by adaptive integration."""
    u, v = 1.3, 0.4
    gauss = quad(lambda w: w * u * w * v * math.exp(-w * w / 2) / math.sqrt(2 * math.pi), 0, np.inf)[0]
    square = quad(lambda w: w**4 * math.exp(-w * w / 2) / math.sqrt(2 * math.pi), -np.inf, np.inf)[0]
    x, x2 = (torch.full((1, 1, 1, 1), value, dtype=torch.float64) for value in (u, v))
    assert wide_camera(x, x2, 1, 1, "rectified").item() == pytest.approx(gauss, rel=1e-6)
    assert wide_camera(x, x2, 1, 1, "square-law").item() == pytest.approx(u * u * v * v * square, rel=1e-9)
    assert wide_camera(x, -x2, 1, 1, "rectified").item() == pytest.approx(0, abs=1e-6)


@pytest.mark.parametrize("camera", CAMERAS)
@pytest.mark.parametrize(("size", "channels"), [(3, 1), (4, 2)])
def test_many_random_kernels_come_near(camera: str, size: int, channels: int) -> None:
    x, x2, count = random(4, channels, 6, 4), random(3, channels, 6, 4, seed=1), 100_000
    weight = random(count, channels, size, size, seed=2) / (channels * size**2) ** 0.5

    def maps(images: Tensor) -> Tensor:
        y = conv2d(images, weight, padding=size // 2)[..., -6:, -4:]
        return avg_pool2d(CAMERAS[camera](y), 2).flatten(1)

    expected = maps(x) @ maps(x2).T / count
    found = wide_camera(x, x2, size, 2, camera)
    assert (found - expected).norm() < 0.02 * expected.norm()


def test_the_features_of_closed_forms_have_these_inner_products() -> None:
    x = random(5, 1, 6, 6)
    for camera in ("linear", "square-law"):
        blocks = list(wide_features(x, 3, 3, camera))
        assert len(blocks) == 4
        torch.testing.assert_close(sum(b @ b.T for b in blocks), wide_camera(x, x, 3, 3, camera))


def test_pixels_of_a_square_law_camera_see_no_sign() -> None:
    x, x2 = random(3, 1, 4, 4), random(2, 1, 4, 4, seed=1)
    torch.testing.assert_close(
        wide_camera(-x, x2, 3, 2, "square-law"), wide_camera(x, x2, 3, 2, "square-law")
    )
    # relu(a) - relu(-a) = a: four rectified kernels make a linear one
    both = 2 * (wide_camera(x, x2, 3, 2, "rectified") - wide_camera(-x, x2, 3, 2, "rectified"))
    torch.testing.assert_close(both, wide_camera(x, x2, 3, 2, "linear"))


def test_a_pool_that_does_not_fit() -> None:
    with pytest.raises(ValueError, match=r"pool must divide images of \(6, 6\)"):
        wide_camera(random(1, 1, 6, 6), random(1, 1, 6, 6), 3, 4, "linear")


@pytest.mark.parametrize("depth", [1, 2])
def test_the_tangent_kernel_of_wide_layers(depth: int) -> None:
    """He-initialised layers of many ReLUs, each weight scaled by the root of its fan-in."""
    width, x = 4000, random(5, 6)
    sizes = [6, *[width] * depth, 1]
    layers: list[nn.Module] = []
    with torch.random.fork_rng():
        torch.manual_seed(0)
        for into, out in pairwise(sizes):
            layer = nn.Linear(into, out, bias=False, dtype=torch.float64)
            nn.init.normal_(layer.weight)
            layers += [_Scaled(layer, (1 if into == 6 else 2) ** 0.5 / into**0.5), nn.ReLU()]
    with torch.no_grad():
        found = ntk(nn.Sequential(*layers[:-1]), x)
    gram = x @ x.T / 6
    expected = wide_back_end(gram, gram.diagonal(), gram.diagonal(), depth)
    assert (found - expected).norm() < 0.05 * expected.norm()


class _Scaled(nn.Module):
    def __init__(self, layer: nn.Linear, scale: float) -> None:
        super().__init__()
        self.layer, self.scale = layer, scale

    def forward(self, x: Tensor) -> Tensor:
        return self.scale * self.layer(x)


def test_no_hidden_layer_leaves_the_kernel_as_it_is() -> None:
    kernel = random(3, 4)
    assert wide_back_end(kernel, torch.ones(3), torch.ones(4), 0) is kernel


def test_a_solution_is_found_where_the_kernel_lives() -> None:
    """Whatever the default device: with another one, a matrix made there would not fit the kernel's."""
    kernel, targets = torch.eye(4, dtype=torch.float64), torch.eye(4, 2, dtype=torch.float64)
    shared = torch.randn(4, 2, 3, dtype=torch.float64, generator=Generator().manual_seed(0))
    (expected,) = solve_ridge(kernel, targets, (0.1,), shared=shared)
    with torch.device("meta"):
        (found,) = solve_ridge(kernel, targets, (0.1,), shared=shared)
    assert torch.equal(found.weights, expected.weights) and torch.equal(found.step, expected.step)
