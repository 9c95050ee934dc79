"""
The spiral, and attractors that are not data
============================================

A two-dimensional experiment of Alain and Bengio (2014), repeated: what the vector field
r(x) - x of a regularized auto-encoder learns from 10 000 points of a spiral, where it leads from
places without data, and what calibration against a known density changes there.
"""

# %%
# A curve, and points beside it
# -----------------------------
# The curve is (0.04 t sin t, 0.04 t cos t) for t in [3, 15], the points scatter around it with a
# standard deviation of 0.02. Its density is known, so that we can tell data from no data: a point
# is *off the data* here where it is more than five standard deviations from the curve.
import warnings

import matplotlib.pyplot as plt
import numpy as np
from scipy.ndimage import maximum_filter
from scipy.spatial import KDTree
from sklearn.exceptions import ConvergenceWarning

from skrae import RegularizedAutoEncoderScore
from skrae.datasets import Spiral

n_rows, states, max_iter = 10_000, [0, 1, 2], 300
n_cells, n_steps, n_grid = 32, 1000, 240
# sphinx_gallery_start_ignore
import os  # noqa: E402

if os.environ.get("SKRAE_QUICK") == "1":  # a short run, to see the script at work
    n_rows, states, max_iter = 400, [0], 15
    n_cells, n_steps, n_grid = 16, 50, 100
# sphinx_gallery_end_ignore
density = Spiral(thickness=0.02)
points = density.sample(n_rows, random_state=0)
held_out = density.sample(5000, random_state=1)

t = np.linspace(3, 15, 3000)
curve = 0.04 * t[:, None] * np.column_stack([np.sin(t), np.cos(t)])
tree = KDTree(curve)
off_data = 5 * density.covariances[0, 0, 0] ** 0.5


def is_off(x):
    """Which rows lie off the data, shape (n,)."""
    return tree.query(x)[0] > off_data


# %%
# The models
# ----------
# The paper trains r to undo noise and nothing else: `calibration_weight=0`, noise of 0.01 in the
# units of the picture, no scaling. `decoder="free"` is an ordinary auto-encoder;
# `decoder="gradient"`, the default, makes r(x) - x the gradient of a log density. Then the same two
# calibrated. Each is fitted from three random states, for what r does far from the data is a matter
# of chance. Below them is the estimator with its defaults.
settings = {"max_iter": max_iter}
plain = {
    **settings,
    "noise_level": 0.01,
    "noise_covariance": "isotropic",
    "base_density": "gaussian",
    "scaling": None,
}
options = {
    "free, denoising alone": {**plain, "decoder": "free", "calibration_weight": 0},
    "free, calibrated": {**plain, "decoder": "free"},
    "gradient, denoising alone": {**plain, "calibration_weight": 0},
    "gradient, calibrated": plain,
    "all defaults": settings,
    "defaults, small base": {**settings, "max_components": 4},
}
# Uncalibrated, log Z may be hard to compute, and fits warn of it.
warnings.simplefilter("ignore", ConvergenceWarning)


def fits(name):
    """Fitted models of this kind, one for each random state, or a single one with defaults."""
    chosen = states[:1] if "defaults" in name else states
    return [
        RegularizedAutoEncoderScore(**options[name], random_state=state).fit(points)
        for state in chosen
    ]


models = {name: fits(name) for name in options}

# %%
# Where r leads
# -------------
# From a grid almost three times as wide as the data we follow the arrows r(x) - x to where they
# end. Applying r again and again would do it too, but with so little noise a step is tiny where the
# density is flat: so a point whose arrows agree takes longer and longer steps, up to 0.02, and the
# plain ones of r again where they turn. It has arrived when it is on the curve, or when r moves it
# by less than 1e-7; one that is 100 away has left for good. Ends off the data within 0.05 of each
# other are one attractor.
half_width = 1.6


def grid(n):
    """Points of a regular grid over the picture, shape (n, n, 2)."""
    line = np.linspace(-half_width, half_width, n)
    return np.stack(np.meshgrid(line, line), axis=-1)


def follow(model):
    """Where the arrows lead from each point of the grid."""
    x = grid(n_cells).reshape(-1, 2)
    pace, before = np.ones(len(x)), np.zeros_like(x)
    moving = np.arange(len(x))
    for _ in range(n_steps):
        step = model.reconstruct(x[moving]) - x[moving]
        length = np.linalg.norm(step, axis=1)
        cosine = np.sum(step * before[moving], axis=1) / np.maximum(length, 1e-300)
        faster = np.minimum(1.5 * pace[moving], np.maximum(0.02 / np.maximum(length, 1e-300), 1.0))
        pace[moving] = np.where(cosine > 0.9, faster, np.maximum(pace[moving] / 4, 1.0))
        before[moving] = step / np.maximum(length, 1e-300)[:, None]
        x[moving] += pace[moving, None] * step
        distance = tree.query(x[moving])[0]
        moving = moving[(length > 1e-7) & (distance > off_data / 5) & (distance < 100)]
        if len(moving) == 0:
            break
    return x


def attractors(ends):
    """One point for each group of ends off the data, shape (k, 2)."""
    found = []
    for end in ends[is_off(ends) & (np.abs(ends).max(axis=1) < 50)]:
        if all(np.linalg.norm(end - other) > 0.05 for other in found):
            found.append(end)
    return np.reshape(found, (-1, 2))


def density_maxima(model):
    """Local maxima of the density off the data, on a grid, and all log densities of the grid."""
    places = grid(n_grid)
    log_density = model.score_samples(places.reshape(-1, 2)).reshape(places.shape[:2])
    highest = maximum_filter(log_density, 3) == log_density
    found = places[highest]
    return found[is_off(found)], log_density


results = {}
print("one column for each random state; * no network was kept")
print(" " * 25, "log-likelihood          grid ending      attractors   density maxima")
print(" " * 25, "of new rows             off the data     off data     off data")
print(f"{'the true density':25}{density.log_density(held_out).mean():7.2f}")
for name, fitted in models.items():
    results[name] = []
    for model in fitted:
        ends = follow(model)
        results[name].append((ends, attractors(ends), *density_maxima(model)))
    cells = [
        "".join(
            f"{model.score(held_out):7.2f}{' *'[model.network_gain_ == 0]}" for model in fitted
        ),
        "".join(f"{is_off(ends).mean():6.0%}" for ends, *_ in results[name]),
        "".join(f"{len(spurious):4d}" for _, spurious, *_ in results[name]),
        "".join(f"{len(peaks):4d}" for *_, peaks, _ in results[name]),
    ]
    print(f"{name:25}{cells[0]:24}{cells[1]:18}{cells[2]:13}{cells[3]}")

(default,), (_, _, peaks, log_density) = models["all defaults"], results["all defaults"][0]
wide = default.base_weights_[np.isfinite(default.base_dofs_)].sum()
print(f"share of the Student-t component in the base of the defaults: {wide:.1%}")
if len(peaks):
    depth = log_density.max() - default.score_samples(peaks).max()
    print(f"all defaults: the maximum off the data is {depth:.1f} nats below the highest")

# %%
# What the table says
# -------------------
# The paper's model, the free one trained by denoising alone, knows where the spiral as a whole is,
# and hardly its windings. It saw points near the curve, where noise put them; farther out r is
# whatever its units extrapolate to. From two of three random states there are attractors where no
# data ever were, between the windings and far outside, and up to a fifth of the grid ends in them:
# the paper's spurious maxima. Nor does the line integral of (r - x) / sigma^2 make a density:
# log-likelihoods are about that of a single Gaussian, -0.22. Calibrated, it gains a little, but to
# mend a density is not to mend r everywhere: from one of the states an attractor is left.
#
# For the gradient decoder r(x) - x is tau grad log p(x), log p = log q + f with a bounded network
# f, and all its attractors are maxima of that density. Denoising alone leaves the heights of
# separate regions open, as it sees slopes near the data only; chance decides whether the density
# is good, as from one of the states, or hardly better than the base. Calibration settles it, since
# it compares the density with q also at draws of q, which lie off the data too: mass that the model
# puts there costs. From each of the three states the calibrated gradient decoder has nothing off
# the data that attracts, no maximum there, and a log-likelihood more than a nat above that of the
# Gaussian, close to the truth.
#
# With all defaults the base is a mixture of many narrow Gaussians. Its wide Student-t component,
# which keeps the tails heavy and holds the share of the mass printed above, has a mode of its own
# in the hole of the spiral, a true maximum of that density, eight to nine nats below the top. With
# `max_components=4` the network has more work to do, and there is none.

# %%
# Fields and densities
# --------------------
# Upper row, of the first random state: the arrows are r(x) - x, their length capped; from red cells
# they end off the data, in the crosses or beyond the picture. Middle row: how far r moves a point,
# dark where it takes the point for data. Lower row: the log density, its maxima off the data as
# crosses; where no network was kept, it is the base density and knows nothing of the field above.
shown = list(models)[:5]
figure, panels = plt.subplots(
    3, len(shown), figsize=(3.1 * len(shown), 9.2), sharex=True, sharey=True, layout="constrained"
)
extent = [-half_width, half_width] * 2
fine = grid(160).reshape(-1, 2)
arrows_at = grid(26).reshape(-1, 2)
for (above, middle, below), name in zip(panels.T, shown, strict=True):
    model, (ends, spurious, peaks, log_density) = models[name][0], results[name][0]
    basin = is_off(ends).reshape(n_cells, n_cells).astype(float)
    basin[basin == 0] = np.nan
    above.imshow(basin, extent=extent, origin="lower", cmap="Reds", vmin=0, vmax=4)
    above.plot(*curve.T, color="0.75", lw=3)
    arrows = model.reconstruct(arrows_at) - arrows_at
    length = np.linalg.norm(arrows, axis=1, keepdims=True)
    arrows *= 0.085 / np.maximum(length, np.median(length) / 4)
    above.quiver(*arrows_at.T, *arrows.T, angles="xy", scale_units="xy", scale=1, width=0.004)
    above.plot(*spurious.T, "x", color="crimson", ms=7, mew=2)
    above.set_title(name, fontsize=11)

    moves = np.linalg.norm(model.reconstruct(fine) - fine, axis=1).reshape(160, 160)
    moved = middle.imshow(
        np.log10(moves), extent=extent, origin="lower", vmin=-5, vmax=0, cmap="magma"
    )
    filled = below.imshow(
        log_density - log_density.max(), extent=extent, origin="lower", vmin=-20, vmax=0
    )
    below.plot(*peaks.T, "x", color="crimson", ms=7, mew=2)
    if model.network_gain_ == 0:
        below.set_title("no network was kept", fontsize=10)
    above.set(xticks=[-1, 0, 1], yticks=[-1, 0, 1], xlim=extent[:2], ylim=extent[2:])
for image, row, label in (
    (moved, panels[1], "log10 of |r(x) - x|"),
    (filled, panels[2], "nats below the maximum"),
):
    bar = figure.colorbar(image, ax=row, pad=0.01, aspect=30)
    bar.set_label(label)
    bar.outline.set_visible(False)
plt.show()
