import copy

import pytest
import torch
from scipy.signal import correlate2d
from torch import nn

from onnlab.networks import (
    FourFConvolution,
    IdealConvolution,
    OpticalLayer,
    PSFConvolution,
    SpectralConv2d,
    SpectralPool2d,
    SpectralStack,
    merge,
)
from onnlab.optics import Camera

BENCH = {"pitch": 8e-6, "wavelength": 532e-9, "focal_length": 0.1}
SIZES = [(1, (3, 3), (9, 12)), (3, (4, 5), (8, 11)), (2, (1, 2), (5, 5)), (3, (7, 7), (28, 28))]


def noise(*shape, seed=0):
    return torch.randn(*shape, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))


def layers(weight, image_size, camera, **settings):
    """The layer in all the forms that the camera allows, with the same kernels."""
    count, channels, *size = weight.shape
    arguments = (channels, count, tuple(size), image_size, camera)
    made = [
        IdealConvolution(*arguments, weight=weight),
        FourFConvolution(*arguments, weight=weight, **BENCH, **settings),
    ]
    return made + ([] if camera == "square-law" else [PSFConvolution(*arguments, weight=weight, **settings)])


@pytest.mark.parametrize("camera", ["linear", "rectified", "square-law"])
@pytest.mark.parametrize(("channels", "size", "image_size"), SIZES)
def test_all_forms_are_a_correlation_with_zeros_outside(channels, size, image_size, camera):
    weight, x = noise(4, channels, *size), noise(2, channels, *image_size, seed=1).abs()
    signed = torch.stack([torch.stack([correlation(images, w) for w in weight]) for images in x])
    expected = {"linear": signed, "rectified": signed.clamp(min=0), "square-law": signed**2}[camera]
    for layer in layers(weight, image_size, camera):
        torch.testing.assert_close(layer(x), expected, rtol=1e-12, atol=1e-12)
        assert layer.output_size == image_size


def correlation(images, kernels):
    """Sum over the channels, as large as the images, with the origin of an even kernel where torch has it."""
    pairs = zip(images.numpy(), kernels.numpy(), strict=True)
    full = torch.from_numpy(sum(correlate2d(image, kernel) for image, kernel in pairs))
    # SciPy begins with the kernel's last sample on the first pixel.
    first = [k // 2 for k in kernels.shape[1:]]
    rows, columns = (slice(f, f + n) for f, n in zip(first, images.shape[1:], strict=True))
    return full[rows, columns]


@pytest.mark.parametrize("camera", ["linear", "square-law"])
def test_all_forms_pass_the_same_gradients(camera):
    weight, x = noise(3, 2, 3, 4), noise(2, 2, 6, 7, seed=1).abs()
    gradients = []
    for layer in layers(nn.Parameter(weight), (6, 7), camera):
        inputs = x.clone().requires_grad_()
        (layer(inputs) * noise(2, 3, 6, 7, seed=2)).sum().backward()
        gradients.append((layer.weight.grad.clone(), inputs.grad))
        layer.weight.grad = None
    for of_weight, of_image in gradients[1:]:
        torch.testing.assert_close(of_weight, gradients[0][0], rtol=1e-11, atol=1e-11)
        torch.testing.assert_close(of_image, gradients[0][1], rtol=1e-11, atol=1e-11)


@pytest.mark.parametrize("camera", ["rectified", "square-law"])
def test_images_of_another_dtype_are_named_in_all_forms(camera):
    x = noise(2, 1, 6, 6).abs()
    for layer in layers(noise(2, 1, 3, 3).float(), 6, camera):
        with pytest.raises(TypeError, match="x must be torch.float32 .* got torch.float64; use x.to"):
            layer(x)
        assert layer.double()(x).dtype == torch.float64


@pytest.mark.parametrize("camera", ["linear", "rectified", "square-law"])
def test_in_float32_the_forms_agree_to_its_rounding(camera):
    weight, x = noise(8, 3, 7, 7).float() / 7, noise(4, 3, 32, 32, seed=1).abs().clamp(max=1).float()
    exact = IdealConvolution(3, 8, 7, 32, camera, weight=weight.double())(x.double())
    for layer in layers(weight, 32, camera):
        assert layer(x).dtype == torch.float32
        torch.testing.assert_close(layer(x).double(), exact, rtol=1e-5, atol=1e-5 * exact.abs().max().item())


def test_a_parameter_stays_that_object_and_is_shared():
    weight = nn.Parameter(noise(4, 1, 3, 3))
    forms = layers(weight, (6, 6), "rectified")
    assert all(layer.weight is weight and list(layer.parameters()) == [weight] for layer in forms)
    assert {tuple(layer.state_dict()) for layer in forms} == {("convolution.weight",)}


def test_a_plain_tensor_is_copied_and_not_trained():
    weight = noise(4, 1, 3, 3)
    for layer in layers(weight, (6, 6), "linear"):
        assert not layer.weight.requires_grad and layer.weight.data_ptr() != weight.data_ptr()
        assert torch.equal(layer.weight, weight)


def test_drawn_kernels_are_those_of_a_digital_layer():
    torch.manual_seed(0)
    expected = nn.Conv2d(3, 16, 7, bias=False).weight
    torch.manual_seed(0)
    assert torch.equal(IdealConvolution(3, 16, 7, 32).weight, expected)


def test_a_colour_without_a_kernel_leaves_the_others_bright():
    """The noise is that of the same kernels without that colour, and the dark one can still learn."""
    weight = nn.Parameter(0.02 * noise(3, 3, 3, 3))
    weight.data[0, 0], weight.data[1] = 0, 0
    layer = PSFConvolution(3, 3, 3, 8, weight=weight)
    alone = PSFConvolution(2, 1, 3, 8, weight=weight.detach()[:1, 1:])
    pair, expected = layer.pair(), alone.pair()
    torch.testing.assert_close(pair.scale[0], expected.scale[0])
    torch.testing.assert_close(pair.positive[:1, 1:], expected.positive)
    assert pair.scale[1] == 1 and not pair.positive[1].any()
    x = noise(2, 3, 8, 8, seed=1).abs()
    torch.testing.assert_close(layer(x), IdealConvolution(3, 3, 3, 8, weight=weight)(x))
    (slopes,) = torch.autograd.grad(layer(x).square().sum() + layer(x).sum(), weight)
    (exact,) = torch.autograd.grad(
        (y := IdealConvolution(3, 3, 3, 8, weight=weight)(x)).square().sum() + y.sum(), weight
    )
    torch.testing.assert_close(slopes, exact)


def test_the_psfs_are_passive_and_of_one_scale_for_all_colours():
    weight = noise(5, 3, 3, 3)
    pair = PSFConvolution(3, 5, 3, 8, weight=weight).pair()
    for psf in (pair.positive, pair.negative):
        assert psf.min() >= 0 and psf.sum((-2, -1)).max() <= 1 + 1e-12
    # As bright as possible: in each pair there is a PSF that passes all light of one colour.
    brightest = torch.stack([pair.positive, pair.negative]).sum((-2, -1)).amax((0, 2))
    torch.testing.assert_close(brightest, torch.ones(5).double())
    rebuilt = pair.scale[:, None] * (pair.positive - pair.negative)
    torch.testing.assert_close(rebuilt, weight.flip(-2, -1))


def test_the_masks_are_passive_and_fit_the_bench():
    layer = FourFConvolution(3, 5, 3, 8, weight=noise(5, 3, 3, 3), **BENCH)
    transmission = layer.masks().transmission
    assert transmission.shape == (5, *layer.grid.shape)
    assert transmission.abs().max() == pytest.approx(1)
    assert layer.grid.shape == (10, 30) and layer.grid.pitch == (8e-6, 8e-6)


def test_noise_of_two_subtracted_pictures():
    """Poisson: the variance of ``s (n+ - n-) / p`` is ``s^2 (I+ + I-) / p``; with a beam near r^2."""
    weight, photons = noise(2, 1, 3, 3), 4000.0
    x = torch.full((4000, 1, 5, 5), 0.7, dtype=torch.float64)
    sensor = Camera(photons=photons)
    arguments = (1, 2, 3, 5, "linear")
    psf = PSFConvolution(*arguments, weight=weight, sensor=sensor)
    beam = FourFConvolution(*arguments, weight=weight, sensor=sensor, reference=3.0, **BENCH)
    centre = (slice(None), slice(None), 2, 2)
    mean = 0.7 * weight.sum((1, 2, 3))
    pair, scale = psf.pair(), beam.masks().scale
    expected = {
        psf: pair.scale.flatten() ** 2 * 0.7 * (pair.positive + pair.negative).sum((1, 2, 3)) / photons,
        beam: (scale / 12) ** 2 * 2 * (9 + (mean / scale) ** 2) / photons,
    }
    for layer, variance in expected.items():
        readings = layer(x, torch.Generator().manual_seed(0))[centre]
        torch.testing.assert_close(readings.var(0), variance, rtol=0.1, atol=0)
        torch.testing.assert_close(
            readings.mean(0), mean, rtol=0, atol=4 * (variance.max() / 4000).sqrt().item()
        )
        torch.testing.assert_close(layer(x[:1])[centre][0], mean, rtol=1e-9, atol=1e-9)  # noise off


def test_same_generator_same_noise():
    layer = PSFConvolution(1, 2, 3, 6, weight=noise(2, 1, 3, 3), sensor=Camera(photons=50))
    x = noise(3, 1, 6, 6).abs()
    one, same, other = (layer(x, torch.Generator().manual_seed(seed)) for seed in (1, 1, 2))
    assert torch.equal(one, same) and not torch.equal(one, other)


def test_a_full_well_cuts_off_the_light():
    weight, x = torch.ones(1, 1, 1, 1).double(), torch.tensor([0.2, 0.6]).double().reshape(1, 1, 1, 2)
    sensor = Camera(photons=1000, full_well=400, shot_noise=False)
    layer = PSFConvolution(1, 1, 1, (1, 2), weight=weight, sensor=sensor)
    torch.testing.assert_close(layer(x), torch.tensor([0.2, 0.4]).double().reshape(1, 1, 1, 2))
    assert layer.nonlinearities == ("full well",)


@pytest.mark.parametrize("camera", ["linear", "rectified"])
def test_binning_averages_before_the_nonlinearity(camera):
    weight, x = noise(2, 1, 3, 3), noise(2, 1, 8, 6).abs()
    signed = nn.functional.avg_pool2d(nn.functional.conv2d(x, weight, padding=1), 2)
    sensor = Camera(photons=100, binning=2, shot_noise=False)
    layer = PSFConvolution(1, 2, 3, (8, 6), camera, weight=weight, sensor=sensor)
    assert layer.output_size == (4, 3)
    torch.testing.assert_close(layer(x), signed if camera == "linear" else signed.clamp(min=0))


@pytest.mark.parametrize(
    ("camera", "sensor", "steps"),
    [
        ("linear", None, 0),
        ("rectified", None, 1),
        ("square-law", None, 1),
        ("linear", Camera(photons=10), 0),
        ("square-law", Camera(full_well=100, bits=8), 3),
    ],
)
def test_nonlinear_steps_are_counted(camera, sensor, steps):
    layer = FourFConvolution(1, 2, 3, 8, camera, sensor=sensor, **BENCH)
    assert len(layer.nonlinearities) == steps


def test_a_linear_camera_is_linear_and_the_others_are_not():
    a, b = noise(2, 1, 1, 6, 6).abs()
    for camera in ("linear", "rectified", "square-law"):
        for layer in layers(noise(3, 1, 3, 3), 6, camera):
            additive = torch.allclose(layer(2 * a + b), 2 * layer(a) + layer(b))
            assert additive == (not layer.nonlinearities)


def test_a_copy_is_independent():
    layer = FourFConvolution(1, 2, 3, 8, "linear", weight=nn.Parameter(noise(2, 1, 3, 3)), **BENCH)
    twin, x = copy.deepcopy(layer), noise(1, 1, 8, 8)
    before = layer(x)
    with torch.no_grad():
        twin.weight.mul_(2)
    assert torch.equal(layer(x), before)
    torch.testing.assert_close(twin(x), 2 * before)


def test_per_sample_gradients_by_torch_func():
    """Tangent kernels take them so: the layers must not read values that vmap hides."""
    x = noise(3, 1, 6, 6).abs()
    for layer in layers(nn.Parameter(noise(2, 1, 3, 3)), 6, "linear"):

        def output(weight, image, layer=layer):
            call = {"convolution.weight": weight}
            return torch.func.functional_call(layer, call, (image[None],)).square().sum()

        jacobian = torch.func.vmap(torch.func.grad(output), (None, 0))(layer.weight.detach(), x)
        for image, expected in zip(x, jacobian, strict=True):
            layer.zero_grad()
            layer(image[None]).square().sum().backward()
            torch.testing.assert_close(layer.weight.grad, expected)


def test_kernels_whose_values_cannot_be_read():
    """Those that vmap hides, and those of a layer on the meta device, which has shapes alone."""
    x, kernels = noise(1, 1, 6, 6).abs(), noise(4, 2, 1, 3, 3, seed=1)
    for layer in layers(nn.Parameter(kernels[0]), 6, "linear"):

        def output(weight, layer=layer):
            return torch.func.functional_call(layer, {"convolution.weight": weight}, (x,))

        expected = torch.stack([output(weight) for weight in kernels])
        torch.testing.assert_close(torch.func.vmap(output)(kernels), expected)
        assert layer.to("meta")(x.to("meta")).shape == (1, 2, 6, 6)


@pytest.mark.parametrize(
    ("make", "error", "message"),
    [
        (
            lambda: IdealConvolution(1, 8, 7, 6),
            ValueError,
            r"kernel_size must not .*\(7, 7\) for \(6, 6\)",
        ),
        (lambda: IdealConvolution(1, 0, 3, 6), ValueError, "kernels must be at least 1"),
        (lambda: IdealConvolution(1, 8, 3, 6, "relu"), ValueError, "camera must be one of 'linear'"),
        (lambda: PSFConvolution(1, 8, 3, 6, "square-law"), ValueError, "use FourFConvolution"),
        (lambda: PSFConvolution(1, 8, 3, 6, sensor="good"), TypeError, "sensor must be .*Camera, got str"),
        (lambda: PSFConvolution(1, 8, 3, 6, sensor=Camera(binning=4)), ValueError, "multiple of binning=4"),
        (lambda: IdealConvolution(1, 8, 3, 6, weight=torch.ones(8, 3, 3)), ValueError, r"\(8, 1, 3, 3\)"),
        (lambda: IdealConvolution(1, 8, 3, 6, weight=torch.ones(8, 1, 3, 3).int()), TypeError, "float"),
        (lambda: FourFConvolution(1, 8, 3, 6, **{**BENCH, "pitch": 0.0}), ValueError, "pitch"),
        (
            lambda: FourFConvolution(1, 8, 3, 6, reference=0, **BENCH),
            ValueError,
            "reference must be",
        ),
        (lambda: OpticalLayer(1, 8, 3, 6), TypeError, "abstract"),
        (lambda: PSFConvolution(1, 8, 3, 6)(torch.ones(2, 1, 5, 6)), ValueError, r"\(batch, 1, 6, 6\)"),
        (lambda: PSFConvolution(1, 8, 3, 6)(-torch.ones(2, 1, 6, 6)), ValueError, "light is never negative"),
    ],
)
def test_errors(make, error, message):
    with pytest.raises(error, match=message):
        make()


@pytest.mark.parametrize(
    "layer",
    [
        SpectralConv2d(2, 3, 5, 8, backend="fft"),
        SpectralConv2d(2, 3, 5, 8, "circular", free=True),
        SpectralConv2d(2, 3, 5, 8, 2, stride=2, backend="fft"),
        SpectralPool2d(8, 4),
        SpectralStack(SpectralConv2d(2, 3, 5, 8), SpectralPool2d(8, 4)),
        merge(SpectralStack(SpectralConv2d(2, 3, 5, 8), SpectralPool2d(8, 4))),
        PSFConvolution(2, 3, 5, 8, sensor=Camera(photons=10)),
        FourFConvolution(2, 3, 5, 8, "square-law", **BENCH, sensor=Camera(photons=10)),
    ],
    ids=lambda layer: type(layer).__name__,
)
def test_no_images_make_no_readings(layer):
    """A batch without images is one like any other: of the shape of the others, with gradients of zero."""
    x = torch.zeros(0, 2, 8, 8, requires_grad=True)
    generator = torch.Generator().manual_seed(0)
    before = generator.get_state()
    settings = (generator,) if isinstance(layer, OpticalLayer) else ()
    y = layer(x, *settings)
    assert y.shape == (0, *layer(torch.zeros(2, 2, 8, 8)).shape[1:]) and y.dtype == x.dtype
    assert torch.equal(generator.get_state(), before)
    y.sum().backward()
    assert x.grad.shape == x.shape
    assert all(not p.grad.any() for p in layer.parameters())
