"""Checks of chapter 10: floor plans, pillars, kernels on a sensor, estimates, and what an image costs."""

import math
from collections.abc import Callable
from dataclasses import replace

import torch
from torch import Tensor, nn
from torch.nn.functional import avg_pool2d, conv2d, max_pool2d

from onnlab.checks._check import alone, expect, number, same, seeded, tensor, worth
from onnlab.hardware import Constants, MetaAtoms, cost
from onnlab.networks import HybridClassifier, PSFConvolution


def _places(room: int, side: int, gap: float) -> int:
    """Sites along an edge, put down one after the other."""
    count, edge = 0, 0.0
    while edge + side <= room + 1e-3:
        count, edge = count + 1, edge + side + gap
    return count


@worth(1)
def chip(
    signed_kernels: Callable[[int, int, int, int], int], widest_gap: Callable[[int, int, int], float]
) -> None:
    """Put the sites down one by one, on chips that end exactly at a site and on others."""
    for height, width, side, gap in (
        (1000, 1000, 100, 50),
        (1000, 1450, 200, 100),
        (730, 2210, 90, 40),
        (500, 1700, 130, 0),
        (300, 910, 200, 70),
    ):
        rows, columns = _places(height, side, gap), _places(width, side, gap)
        seen = rows * columns // 2
        got = number(signed_kernels(height, width, side, gap), "the number of kernels")
        case = f"{height} x {width} µm with sites of {side} and gaps of {gap} µm hold {seen} signed kernels"
        gapless = [room // (side + gap) for room in (height, width)]
        same(
            got,
            seen,
            f"{case}, and not {got:.4g}",
            "put sites down on paper, one by one, until one would stick out.",
            mistakes=[
                (rows * columns, "these are sites; light is never negative."),
                (rows * columns / 2, "half a kernel is none: which way to round?"),
                (rows * columns / 2 + 0.5, "the last site has no partner: which way to round?"),
                (math.prod(gapless) // 2, "the last site of a row needs no gap behind it."),
                (math.prod(gapless), "the last site of a row needs no gap behind it, and these are sites."),
                (
                    (height + gap) * (width + gap) // (side + gap) ** 2 // 2,
                    "areas do not fit, sites do: round rows and columns each on its own.",
                ),
                (
                    height * width // side**2 // 2,
                    "areas do not fit, sites do; and where are the gaps?",
                ),
                (rows * (columns // 2), "a kernel may have its two sites in different rows."),
                ((rows // 2) * columns, "a kernel may have its two sites in different columns."),
            ],
            rtol=1e-9,
        )
    for room, side, count in ((1000, 300, 3), (1000, 100, 7), (870, 130, 2), (640, 80, 8), (1000, 200, 4)):
        widest = number(widest_gap(room, side, count), "the gap")
        case = f"{count} sites of {side} µm on {room} µm"
        expect(
            widest == 0 or abs(widest - (room - count * side) / count) > 1e-6,
            f"{case}: the gap could be wider than {widest:.4g} µm",
            "how many gaps lie between them? Count the fingers of a hand, and what is between.",
        )
        expect(
            widest >= 0 and _places(room, side, widest) >= count,
            f"{case}: with a gap of {widest:.4g} µm they do not fit",
            "sites and the gaps between them share the room.",
        )
        expect(
            _places(room, side, widest + 0.01) < count,
            f"{case}: the gap could be wider than {widest:.4g} µm",
            "the last site ends at the edge of the chip.",
        )


def _pillars(coverage: tuple[float, ...], start: float, bend: float, count: int = 500) -> MetaAtoms:
    """A table whose phases span these turns, the steps growing or shrinking."""
    share = torch.linspace(0, 1, count, dtype=torch.float64)
    turns = start + share[:, None] ** bend * torch.tensor(coverage, dtype=torch.float64)
    transmission = torch.polar(torch.full_like(turns, 0.8), 2 * math.pi * turns)
    colours = tuple(700e-9 - 90e-9 * i for i in range(len(coverage)))
    return MetaAtoms((60 + 180 * share) * 1e-9, transmission, colours, 300e-9, 800e-9, "square")


@worth(2)
def red(worst_phase: Callable[[MetaAtoms, float], float]) -> None:
    """Want many phases of random tables, and look for the one that is served worst."""
    wanted = torch.linspace(0, 1, 2001, dtype=torch.float64)
    for coverage, start, bend, count in (
        ((0.62, 0.85, 1.04), 0.3, 1.0, 500),
        ((0.9, 0.4, 1.3), 0.75, 1.2, 500),
        ((1.6, 0.77, 0.55), 0.0, 0.9, 500),
        ((1.2, 0.8, 0.97), 0.4, 1.0, 12),
    ):
        atoms = _pillars(coverage, start, bend, count)
        for column, wavelength in enumerate(atoms.wavelengths):
            have = atoms.transmission[:, column].angle() / (2 * math.pi)
            off = (wanted[:, None] - have).remainder(1)
            nearest = torch.minimum(off, 1 - off).amin(1)
            worst, others = nearest.max().item(), [c for c in coverage if c != coverage[column]]
            got = number(worst_phase(atoms, wavelength), "the worst phase")
            case = f"pillars that cover {coverage[column]:.2f} turns leave a phase {worst:.3f} turns off"
            if abs(got - worst) < 0.004:
                continue
            expect(got >= 0, f"{case}, and not {got:.4g}", "a distance has no sign; can a turn be too much?")
            expect(
                worst > 0.01,
                f"{case}, and not {got:.4g}",
                "these pillars cover more than a turn: phases count modulo one turn.",
            )
            same(
                got,
                worst,
                f"{case}, and not {got:.4g}",
                "between which two phases is the largest hole, and who serves its middle? "
                "Mind the hole over the end of the turn.",
                mistakes=[
                    (2 * math.pi * worst, "these are radians: one turn has 2 pi of them."),
                    (360 * worst, "these are degrees: one turn has 360 of them."),
                    (2 * worst, "a wanted phase may take the nearer of the two ends."),
                    (nearest.mean().item(), "this is the mean over all phases: the worst one is wanted."),
                    (
                        max(0, 1 - coverage[column]) / 2,
                        "only the pillars of the table can be had: there are holes between them, too.",
                    ),
                    *((max(0, 1 - c) / 2, "this is another colour of the table.") for c in others),
                ],
                rtol=0.004 / worst,
            )


def _fitted(halves: Tensor, kernel: Tensor) -> Tensor:
    """The projection of a kernel on the span of halves, by an orthonormal basis."""
    basis = torch.linalg.qr(halves.flatten(1).T).Q
    return (basis @ (basis.T @ kernel.flatten())).reshape(kernel.shape)


@worth(2)
def seen(kernel_seen: Callable[[Tensor, Tensor], Tensor]) -> None:
    """Compare with a projection, for PSFs that overlap."""
    for (ny, nx), p, seed in (((5, 7), 3, 0), ((6, 5), 2, 1), ((7, 7), 4, 2)):
        noise = seeded(seed)
        psfs = torch.rand(2, ny * p, nx * p, generator=noise) ** 2
        psfs = psfs / psfs.sum((-2, -1), keepdim=True) * torch.tensor([0.4, 0.7])[:, None, None]
        halves = psfs.reshape(2, ny, p, nx, p).sum((2, 4))
        gains = 1 + 4 * torch.rand(2, generator=noise)
        kernel = gains[0] * halves[0] - gains[1] * halves[1]
        kernel = kernel + 0.3 * kernel.std() * torch.randn(ny, nx, generator=noise)
        got = tensor(kernel_seen(psfs.clone(), kernel.clone()), (ny, nx)).float()
        wanted = _fitted(halves, kernel)
        parts = [_fitted(h[None], k) for h, k in zip(halves, (kernel, -kernel), strict=True)]
        parts += [_fitted(h[None], k.clamp(min=0)) for h, k in zip(halves, (kernel, -kernel), strict=True)]
        normed = [
            h / h.norm() * k.clamp(min=0).norm() for h, k in zip(halves, (kernel, -kernel), strict=True)
        ]
        samples = _fitted(psfs[:, ::p, ::p], kernel)
        middles = _fitted(psfs[:, p // 2 :: p, p // 2 :: p], kernel)
        difference = halves[0] - halves[1]
        overlap = "the halves overlap, so one gain changes what is best for the other."
        pixel = "one sample of each pixel is not its sum."
        same(
            got,
            wanted,
            f"a kernel of {ny} x {nx} pixels comes to {(wanted - kernel).norm():.4g} at best, and yours is "
            f"{(got - kernel).norm():.4g} away, or it cannot be drawn with these PSFs",
            "first samples to pixels, then two unknowns and least squares.",
            mistakes=[
                (kernel, "this is the kernel wanted; these PSFs cannot draw it exactly."),
                (parts[0] - parts[1], overlap),
                (parts[2] - parts[3], overlap),
                (normed[0] - normed[1], "equal norms are not the least squares: ask for both gains at once."),
                (difference, "the gains are missing: who knows how bright the halves are?"),
                (_fitted(difference[None], kernel), "each of the two pictures has a gain of its own."),
                (_fitted(halves.sum(0, keepdim=True), kernel), "electronics takes the difference."),
                (samples, pixel),
                (middles, pixel),
                (
                    _fitted(psfs[:, :ny, :nx], kernel),
                    "this is a corner of the window: a pixel is a block of samples.",
                ),
                (_fitted(halves[:1], kernel), "this is the positive half alone."),
                (_fitted(halves[1:], kernel), "this is the negative half alone."),
                (
                    _mirrored(halves, kernel),
                    "there is a sign too much or too few: electronics takes the difference.",
                ),
                (_with_offset(halves, kernel), "there are two gains and no offset."),
            ],
            rtol=2e-3,
        )


def _mirrored(halves: Tensor, kernel: Tensor) -> Tensor:
    """Gains found for the difference, and then added up."""
    g = torch.linalg.lstsq(torch.stack([halves[0], -halves[1]]).flatten(1).T, kernel.flatten()[:, None])
    return (halves * g.solution.reshape(2, 1, 1)).sum(0)


def _with_offset(halves: Tensor, kernel: Tensor) -> Tensor:
    return _fitted(torch.cat([halves, torch.ones_like(halves[:1])]), kernel)


@worth(2)
def ridge(centred_ridge: Callable[[Tensor, Tensor, Tensor, float], Tensor]) -> None:
    """Compare with a regression on features, with a bias that costs nothing."""
    centred_ridge = alone(centred_ridge, "kernel_ridge")
    for n, d, m, classes, strength, seed in (
        (12, 5, 7, 3, 0.3, 0),
        (8, 20, 5, 2, 1.7, 1),
        (15, 4, 1, 4, 0.05, 2),
    ):
        features = torch.randn(n + m, d, dtype=torch.float64, generator=seeded(seed)) + 1.5
        features[n:] += 0.5
        y = torch.randn(n, classes, dtype=torch.float64, generator=seeded(seed + 10)) + 2
        X, new = features[:n], features[n:]

        def primal(
            scale: float = 1.0,
            *,
            unit: float | None = None,
            middle: Tensor | None = None,
            middle_new: Tensor | None = None,
            lift: Tensor | None = None,
            X: Tensor = X,
            new: Tensor = new,
            y: Tensor = y,
            strength: float = strength,
        ) -> Tensor:
            """Least squares with a ridge on features; other means and units are mistakes."""
            middle = X.mean(0) if middle is None else middle
            middle_new = middle if middle_new is None else middle_new
            lift = y.mean(0) if lift is None else lift
            known = X - middle
            unit = float(known.square().sum()) / len(X) if unit is None else unit
            root = math.sqrt(scale * strength * unit)
            rows = torch.cat([known, root * torch.eye(X.shape[1], dtype=X.dtype)])
            values = torch.cat([y - lift, y.new_zeros(X.shape[1], y.shape[1])])
            return lift + (new - middle_new) @ torch.linalg.lstsq(rows, values).solution

        none, no_lift = torch.zeros(d, dtype=torch.float64), torch.zeros(classes, dtype=torch.float64)
        raw_unit = float(X.square().sum()) / n
        mean_entry = float((X @ X.T).mean())
        wanted = primal()
        got = tensor(centred_ridge((X @ X.T).clone(), y.clone(), (new @ X.T).clone(), strength), (m, classes))
        lost = "the mean of the targets is taken off, and not put back."
        new_mean = "new images lose the mean of the training images, not their own."
        raw = "the features are not centred: multiply the inner product of two differences out."
        eigenvalues = "the mean of the eigenvalues is their sum over their number."
        same(
            got,
            wanted,
            f"for {n} training images the answers are not those of a ridge on centred features",
            "check on paper with two features: centre K in rows and columns, K_new likewise, then the ridge.",
            mistakes=[
                (wanted - y.mean(0), lost),
                (primal(unit=1.0), "the ridge is in mean eigenvalues of the centred kernel."),
                (primal(n), eigenvalues),
                (primal(n / d), eigenvalues),
                (primal(1 / n), eigenvalues),
                (primal(unit=raw_unit), "the mean eigenvalue is that of the kernel after centring."),
                (
                    primal(unit=mean_entry),
                    "this is the mean of the entries; the eigenvalues sum to the trace.",
                ),
                (primal(middle_new=new.mean(0)), new_mean),
                (primal(middle_new=none), "K_new is not centred."),
                (primal(middle=none), raw),
                (primal(middle=none, lift=no_lift), raw),
                (primal(middle=none, lift=no_lift, unit=1.0), raw),
                (primal(lift=no_lift), "a bias also takes the mean of the targets."),
                (
                    primal(middle=features.mean(0)),
                    "only training images make the mean: each answer must not hang on the others.",
                ),
            ],
            rtol=1e-6,
        )


@worth(2)
def rank(rank_correlation: Callable[[Tensor, Tensor], float]) -> None:
    """Compare with the correlation of wins minus losses, with ties and without."""
    rank_correlation = alone(rank_correlation, "spearmanr", "spearman")
    for n, levels, seed in ((9, 1000, 0), (12, 6, 1), (20, 8, 2), (11, 4, 3)):
        drawn = torch.randn(2, n, dtype=torch.float64, generator=seeded(seed))
        guess, truth = drawn[0], (drawn[0] + drawn[1]).exp()
        if levels < 1000:
            guess, truth = ((v - v.min()) / (v.max() - v.min()) for v in (guess, truth.log()))
            guess, truth = ((levels * v).round() / levels for v in (guess, truth))
        pair = torch.stack([guess, truth])
        duels = (pair[:, :, None] - pair[:, None]).sign()
        wanted = torch.corrcoef(duels.sum(2))[0, 1].item()
        kendall = duels.prod(0).sum() / duels.square().sum((1, 2)).prod().sqrt()
        got = number(rank_correlation(guess.clone(), truth.clone()), "the rank correlation")
        ties = "equal values share the mean of their ranks."
        once = "argsort says which value comes first, and not which rank a value has."
        orders = torch.stack([guess, truth]).argsort(dim=1, stable=True)
        # Ties as they come, ties at their lowest and at their highest rank.
        broken = [orders.argsort(dim=1)]
        broken += [(pair[:, :, None] > pair[:, None]).sum(2), (pair[:, :, None] >= pair[:, None]).sum(2)]
        broken.append(torch.stack([v.unique(return_inverse=True)[1] for v in pair]))
        shared = ((broken[1] + broken[2]) / 2).double()
        shortcut = 1 - 6 * (shared[0] - shared[1]).square().sum() / (n * (n**2 - 1))
        cases = [torch.corrcoef(ranks.double())[0, 1] for ranks in broken] if levels < 1000 else []
        cases += [_by_squares(ranks) for ranks in broken] if levels < 1000 else []
        same(
            got,
            wanted,
            f"for {n} devices{' with ties' * (levels < 1000)} it is {wanted:.4f}, and not {got:.4f}",
            "ranks first, 1 to n; then the usual correlation of the two rows of ranks.",
            mistakes=[
                (torch.corrcoef(pair)[0, 1], "this is the correlation of the values, not of their ranks."),
                (-wanted, "the sign is wrong: rank both from the same end."),
                (torch.corrcoef(orders.double())[0, 1], once),
                (_by_squares(orders), once),
                (kendall, "this is Kendall's, over pairs."),
                (wanted**2, "this is its square."),
                *((case, ties) for case in cases),
                (shortcut, "the formula with the squared differences of ranks holds without ties only."),
                (torch.cov(shared)[0, 1], "a covariance has no limits: divide by the two spreads."),
            ],
            rtol=1e-5,
        )


def _by_squares(ranks: Tensor) -> Tensor:
    n = ranks.shape[1]
    return 1 - 6 * (ranks[0] - ranks[1]).double().square().sum() / (n * (n**2 - 1))


@worth(2)
def ceiling(one_matrix: Callable[[Tensor, int, Tensor], Tensor]) -> None:
    """Let random images pass through the device and through the matrix."""
    images = torch.randn(20, 1, 28, 28, generator=seeded(9))
    for n, k, pool, classes in ((3, 5, 4, 10), (1, 7, 7, 4), (2, 3, 2, 6)):
        kernels = torch.randn(n, 1, k, k, generator=seeded(n)) / k
        readout = torch.randn(classes, n * (28 // pool) ** 2, generator=seeded(k))
        answer = one_matrix(kernels.clone(), pool, readout.clone())
        matrix = tensor(answer, (classes, 784), "the matrix").float()
        maps = conv2d(images, kernels, padding=k // 2)
        wanted = avg_pool2d(maps, pool).flatten(1) @ readout.T
        turned = conv2d(images, kernels.flip((-2, -1)), padding=k // 2)
        exchanged = conv2d(images.transpose(2, 3), kernels, padding=k // 2)
        pixels = torch.eye(784).reshape(784, 1, 28, 28)
        bent = conv2d(pixels, kernels, padding=k // 2)
        pooled = avg_pool2d(maps, pool)
        same(
            images.flatten(1) @ matrix.T,
            wanted,
            f"with {n} kernels of {k} x {k} and a pool of {pool} x {pool} the matrix answers otherwise than "
            "the device",
            "what does the device answer to a picture with one bright pixel? Where does that belong?",
            mistakes=[
                (
                    avg_pool2d(turned, pool).flatten(1) @ readout.T,
                    "the kernels are upside down: as conv2d does.",
                ),
                (wanted * pool**2, "the pool takes means, not sums."),
                (
                    maps[..., ::pool, ::pool].flatten(1) @ readout.T,
                    "the pool takes means, and not one pixel of each block.",
                ),
                (
                    images.flatten(1) @ (readout @ avg_pool2d(bent.relu(), pool).flatten(1).T).T,
                    "no rectifier: this camera is linear.",
                ),
                (
                    images.flatten(1) @ (readout @ max_pool2d(bent, pool).flatten(1).T).T,
                    "a maximum is not linear, so no matrix holds it.",
                ),
                (
                    pooled.permute(0, 2, 3, 1).flatten(1) @ readout.T,
                    "the order of flatten: kernels first, then rows, then columns.",
                ),
                (
                    pooled.transpose(2, 3).flatten(1) @ readout.T,
                    "rows and columns of the maps are exchanged.",
                ),
                (
                    avg_pool2d(exchanged, pool).flatten(1) @ readout.T,
                    "rows and columns of the pixels are exchanged.",
                ),
            ],
            rtol=1e-4,
        )


def _price(n: int, k: int, c: int, constants: Constants, *, camera: bool = True) -> float:
    """The price of a reading where two costs cross: they are straight lines of that price."""
    convolution = nn.Conv2d(c, n, k, padding=k // 2)
    head = (nn.AvgPool2d(2), nn.Flatten(), nn.Linear(36 * n, 64), nn.ReLU(), nn.Linear(64, 10))
    light, twin = HybridClassifier(PSFConvolution(c, n, k, 12), pool=2), nn.Sequential(convolution, *head)

    def difference(read: float) -> float:
        priced = replace(constants, read=read)
        electronics = cost(twin, (c, 12, 12), priced)
        capture = 0 if camera else electronics.capture + electronics.conversion
        return cost(light, (c, 12, 12), priced).energy - electronics.energy + capture

    zero, one = difference(0.0), difference(1e-9)
    return -zero / (one - zero) * 1e-9


@worth(3)
def reading(break_even: Callable[[int, int, int, Constants], float]) -> None:
    """Compare with the costs of a hybrid and its twin, layer by layer, which cross at some price."""
    usual = Constants()
    for n, k, c, constants in (
        (16, 7, 3, usual),
        (1, 7, 1, usual),
        (5, 5, 2, replace(usual, mac=4.6e-12, bits=12, conversion_step=40e-15)),
        (8, 3, 1, replace(usual, mac=1e-12, bits=10, conversion_step=200e-15)),
        (3, 9, 3, replace(usual, mac=80e-12, bits=6)),
    ):
        wanted = _price(n, k, c, constants)
        got = number(break_even(n, k, c, constants), "the price")
        converted = wanted + 2**constants.bits * constants.conversion_step
        case = f"{n} kernels of {k} x {k} and {c} colours break even at {wanted * 1e9:.4g} nJ a reading, "
        case += f"and not at {got * 1e9:.4g}"
        step = constants.conversion_step
        twin = "the twin has a camera, too, and it reads as well."
        unconverted = "each reading is converted, and that has its price, too."
        steps = "a converter of b bits takes a step for each of its 2 to the b levels."
        same(
            got,
            wanted,
            case,
            "write down, for one pixel, what each of the two reads and multiplies.",
            mistakes=[
                (_price(n, k, c, constants, camera=False), twin),
                (_price(n, k, c, constants, camera=False) + converted - wanted, f"{twin} And {unconverted}"),
                (converted, unconverted),
                (2 * converted - wanted, "the conversion comes on top of the reading: which sign has it?"),
                (converted - constants.bits * step, steps),
                (converted - step, steps),
                (converted / c - (converted - wanted), "a kernel multiplies in each of its colours."),
                (converted / k - (converted - wanted), "a kernel of k x k has how many weights?"),
                (converted / n - (converted - wanted), "the products of one kernel against all readings?"),
                (
                    converted * (2 * n - c) / (2 * n + c) - (converted - wanted),
                    "the readings of the twin stand on the other side of the balance.",
                ),
                (
                    converted * (2 * n - c) / (2 * n - 1) - (converted - wanted),
                    "the twin reads each of its colours.",
                ),
                (
                    converted * (2 * n - c) / (n - c if n > c else -1) - (converted - wanted),
                    "a signed kernel takes two pictures.",
                ),
                (
                    converted * (2 * n - c) / n - (converted - wanted),
                    "a signed kernel takes two pictures, and the twin has a camera, too.",
                ),
                (1e9 * wanted, "the digits are right and the power of ten is not: joules are wanted."),
                (max(wanted, 0.0), "a price below zero is an answer: it says that light never pays."),
            ],
            rtol=1e-6,
        )
