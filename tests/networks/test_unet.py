import copy

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from onnlab.networks import LeNet, LinearUNet, SpectralStack, UNet, linear_unet, merge


def noise(*shape, seed=0):
    return torch.randn(*shape, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))


def teacher(**settings):
    """A U-Net whose BatchNorm has statistics that do something."""
    torch.manual_seed(0)
    model = UNet(**{"channels": 2, "classes": 3, "width": 4, "levels": 3, **settings}).double()
    model.train()
    for seed in range(3):
        model(noise(4, 2, 24, 16, seed=seed))
    return model.eval()


def linear_encoding(model, x):
    """Maps of the encoder without its ReLUs and with average pools: plain PyTorch, level by level."""
    maps = []
    for level in model.encoder:
        for layer in level:
            if isinstance(layer, nn.MaxPool2d):
                x = F.avg_pool2d(x, 2)
            elif not isinstance(layer, nn.ReLU):
                x = layer(x)
        maps.append(x)
    return maps


@pytest.mark.parametrize(("levels", "size"), [(2, (6, 4)), (4, (8, 24)), (3, (64, 64))])
def test_every_pixel_gets_its_logits(levels, size):
    model = UNet(3, 5, width=4, levels=levels)
    assert model(torch.zeros(2, 3, *size)).shape == (2, 5, *size)


def test_weights_of_the_original():
    """Counted from figure 1 of the paper: pairs of convolutions, up-convolutions, and one of 1 x 1."""
    with torch.device("meta"):
        model = UNet(1, 2, width=64, levels=5)
    down = [(1, 64), (64, 64), (64, 128), (128, 128), (128, 256), (256, 256), (256, 512), (512, 512)]
    bottom = [(512, 1024), (1024, 1024)]
    up = [(1024, 512), (512, 512), (512, 256), (256, 256), (256, 128), (128, 128), (128, 64), (64, 64)]
    growing = [(1024, 512), (512, 256), (256, 128), (128, 64)]
    expected = 9 * sum(a * b for a, b in down + bottom + up) + 4 * sum(a * b for a, b in growing) + 64 * 2
    assert sum(p.numel() for p in model.parameters() if p.ndim == 4) == expected


def test_a_pixel_sees_as_far_as_the_levels_reach():
    """Skips keep the finest detail, the coarsest level sees far: both show in the gradient of one answer."""
    model = teacher(levels=4)
    x = noise(1, 2, 64, 64).requires_grad_()
    model(x)[0, 0, 32, 32].backward()
    rows = x.grad.abs().sum((0, 1, 3)).nonzero().squeeze()
    assert rows.min() < 16 and rows.max() > 47


@pytest.mark.parametrize(
    ("size", "remedy"), [((30, 32), "32 x 32"), ((32, 36), "32 x 40"), ((7, 7), "8 x 8")]
)
def test_a_size_that_the_pools_cannot_halve(size, remedy):
    with pytest.raises(
        ValueError, match=f"multiples of 8, for 4 levels, got {size[0]} x {size[1]}.*{remedy}"
    ):
        UNet(1, 2, 4)(torch.zeros(1, 1, *size))


def test_a_linear_encoder_is_the_encoder_without_its_activations():
    model, x = teacher(), noise(2, 2, 24, 16, seed=5)
    student = linear_unet(model, (2, 24, 16), pool="average", borders="crop").eval()
    expected = model.decoder(linear_encoding(model, x))
    torch.testing.assert_close(student(x), expected, rtol=0, atol=1e-11)


def test_all_maps_of_a_linear_encoder_are_affine_and_those_of_the_teacher_are_not():
    model = teacher()
    a, b = noise(2, 1, 2, 24, 16)

    def maps(network, x):
        found = []
        for level in network.encoder:
            x = level(x)
            found.append(x)
        return found

    for network, expected in ((linear_unet(model, (2, 24, 16)).eval(), True), (model, False)):
        dark, of_a, of_b, both = (maps(network, x) for x in (torch.zeros_like(a), a, b, 2 * a - 3 * b))
        for z, u, v, w in zip(dark, of_a, of_b, both, strict=True):
            assert torch.allclose(w - z, 2 * (u - z) - 3 * (v - z), atol=1e-10) == expected


def test_the_decoder_stays_as_it_is_and_is_a_copy():
    model = teacher()
    student = linear_unet(model, (2, 24, 16))
    for name, value in model.decoder.state_dict().items():
        copied = student.decoder.state_dict()[name]
        assert torch.equal(copied, value) and copied.data_ptr() != value.data_ptr()
    before = copy.deepcopy(model.state_dict())
    student.train()(noise(2, 2, 24, 16))
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())


def test_without_copies_all_weights_are_fresh():
    model = teacher()
    student = linear_unet(model, (2, 24, 16), copy_weights=False)
    old = {value.sum().item() for value in model.parameters() if value.ndim == 4}
    assert not old & {value.sum().item() for value in student.parameters() if value.ndim == 4}


def test_a_level_merges_into_one_filter():
    student = linear_unet(teacher(), (2, 24, 16)).eval()
    x = noise(2, 2, 24, 16)
    (stack,) = student.encoder[0]
    assert isinstance(stack, SpectralStack)
    torch.testing.assert_close(merge(stack)(x), stack(x), rtol=0, atol=1e-12)


def test_the_table_names_every_layer_of_the_encoder():
    model = teacher()
    student = linear_unet(model, (2, 24, 16))
    assert isinstance(student, LinearUNet)
    assert [row.name for row in student.table] == [
        f"{level}.{layer}" for level, part in enumerate(model.encoder) for layer in range(len(part))
    ]
    text = student.describe()
    assert text.count("dropped") == 6 and text.count("SpectralPool2d") == 2 and text.count("folded") == 6


def test_the_student_can_be_trained():
    student = linear_unet(teacher(), (2, 24, 16))
    student(noise(2, 2, 24, 16)).square().mean().backward()
    assert all(p.grad is not None and torch.isfinite(p.grad).all() for p in student.parameters())


def test_errors():
    with pytest.raises(TypeError, match="model must be a UNet, got LeNet; use linear_counterpart"):
        linear_unet(LeNet(), (1, 28, 28))
    with pytest.raises(ValueError, match="levels must be at least 2"):
        UNet(levels=1)
