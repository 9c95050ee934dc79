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
import os
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
from scipy.ndimage import maximum_filter
from scipy.spatial import KDTree

from skrae import RegularizedAutoEncoderScore
from skrae.datasets import Spiral

quick = os.environ.get("SKRAE_QUICK") == "1"
density = Spiral(thickness=0.02)
points = density.sample(400 if quick else 10_000, random_state=0)
held_out = density.sample(500 if quick else 5000, random_state=1)

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
# calibrated, and the estimator with its defaults.
settings = {"max_iter": 15 if quick else 300, "random_state": 0}
plain = {
    **settings,
    "noise_level": 0.01,
    "noise_covariance": "isotropic",
    "base_density": "gaussian",
    "scaling": None,
}
free = {**plain, "decoder": "free"}
options = {
    "free, denoising alone": {**free, "calibration_weight": 0},
    "free, calibrated": free,
    "gradient, denoising alone": {**plain, "calibration_weight": 0},
    "gradient, calibrated": plain,
    "all defaults": settings,
    "defaults, small base": {**settings, "max_components": 4},
}
models = {
    name: RegularizedAutoEncoderScore(**chosen).fit(points) for name, chosen in options.items()
}

# %%
# Where r leads
# -------------
# r is applied again and again from a grid almost three times as wide as the data. A point has
# arrived when it is on the curve or moves by less than 1e-6 a step; a point still under way after
# 1000 steps counts where it is, and one that has run off farther than 10 has left for good.
# Ends off the data that lie within 0.05 of each other are one attractor.
half_width = 1.6
n_cells = 16 if quick else 36
n_steps = 50 if quick else 1000


def grid(n):
    """Points of a regular grid over the picture, shape (n, n, 2)."""
    line = np.linspace(-half_width, half_width, n)
    return np.stack(np.meshgrid(line, line), axis=-1)


def follow(model):
    """Where repeated reconstruction leads from each point of the grid, and which still move."""
    x = grid(n_cells).reshape(-1, 2)
    moving = np.arange(len(x))
    for _ in range(n_steps):
        moved = model.reconstruct(x[moving])
        step = np.linalg.norm(moved - x[moving], axis=1)
        x[moving] = moved
        distance = tree.query(moved)[0]
        moving = moving[(step > 1e-6) & (distance > off_data / 5) & (distance < 10)]
        if len(moving) == 0:
            break
    return x, moving


def attractors(ends):
    """One point for each group of ends off the data, shape (k, 2)."""
    found = []
    distance = tree.query(ends)[0]
    for end in ends[(distance > off_data) & (distance < 10)]:
        if all(np.linalg.norm(end - other) > 0.05 for other in found):
            found.append(end)
    return np.reshape(found, (-1, 2))


def density_maxima(model):
    """Local maxima of the density off the data, on a grid, and all log densities of the grid."""
    places = grid(100 if quick else 400)
    log_density = model.score_samples(places.reshape(-1, 2)).reshape(places.shape[:2])
    highest = maximum_filter(log_density, 3) == log_density
    found = places[highest]
    return found[is_off(found)], log_density


def ridge_maxima(model):
    """How many local maxima the density has along the curve."""
    x = curve[:: 30 if quick else 5]
    for _ in range(20):
        x = model.reconstruct(x)
    height = np.round(model.score_samples(x), 3)
    return int(np.sum((height[1:-1] > height[:-2]) & (height[1:-1] >= height[2:])))


results = {}
print(" " * 26, "log-likelihood  attractors  grid ending  still   density maxima")
print(" " * 26, " of new rows     off data     off data   moving  off data   on it")
print(f"{'the true density':26} {density.log_density(held_out).mean():11.2f}")
for name, model in models.items():
    ends, moving = follow(model)
    spurious = attractors(ends)
    peaks, log_density = density_maxima(model)
    results[name] = ends, spurious, peaks, log_density
    print(
        f"{name:26} {model.score(held_out):11.2f} {len(spurious):12d}"
        f" {is_off(ends).mean():13.1%} {len(moving):8d} {len(peaks):9d}"
        f" {ridge_maxima(model):7d}"
    )
for name, (_, _, peaks, log_density) in results.items():
    if len(peaks):
        depth = log_density.max() - models[name].score_samples(peaks).max()
        print(f"{name}: the maximum off the data is {depth:.1f} nats below the highest")

# %%
# What the table says
# -------------------
# r learns from points that noise puts near the curve. Farther out it is whatever its units
# extrapolate to, and trained by denoising alone it sends part of the grid to places where no data
# ever were: the spurious maxima of the paper.
#
# Calibration compares the density with the base density q also at draws of q, which lie off the
# data too: mass that the model puts there costs, and most of those places are gone. For the free
# decoder a few remain. Its density is the line integral of (r - x) / tau, bounded by q, and to mend
# the density is not to mend r everywhere. With the gradient decoder the two cannot disagree:
# r(x) - x is tau C(x) grad log p(x), with log p = log q + f and the network f bounded from above.
# Calibrated, it leaves nothing off the data that attracts, and no maximum there; and the
# log-likelihood shows what calibration does for the data themselves.
#
# With all defaults the base is a mixture of many narrow Gaussians, so close to the truth that no
# network improved on it for held-out rows. One component of weight 0.001, a wide Student-t, keeps
# its tails heavy, and its summit falls into the hole of the spiral: a true maximum of that density,
# far below the ridge. With a small base the network has work to do, and removes it.

# %%
# Fields and basins
# -----------------
# Upper row: the arrows are r(x) - x, their length capped; from red cells the iteration ends off the
# data, in the crosses or beyond the picture. Lower row: the log density, its maxima off the data
# as crosses.
shown = list(models)[:5]
figure, panels = plt.subplots(
    2, len(shown), figsize=(3.1 * len(shown), 6.4), sharex=True, sharey=True, layout="constrained"
)
extent = [-half_width, half_width] * 2
arrows_at = grid(26).reshape(-1, 2)
for (above, below), name in zip(panels.T, shown, strict=True):
    ends, spurious, peaks, log_density = results[name]
    basin = is_off(ends).reshape(n_cells, n_cells).astype(float)
    basin[basin == 0] = np.nan
    above.imshow(basin, extent=extent, origin="lower", cmap="Reds", vmin=0, vmax=4)
    above.plot(*curve.T, color="0.75", lw=3)
    arrows = models[name].reconstruct(arrows_at) - arrows_at
    length = np.linalg.norm(arrows, axis=1, keepdims=True)
    arrows *= 0.085 / np.maximum(length, np.median(length) / 4)
    above.quiver(*arrows_at.T, *arrows.T, angles="xy", scale_units="xy", scale=1, width=0.004)
    above.plot(*spurious.T, "x", color="crimson", ms=7, mew=2)
    above.set_title(name, fontsize=11)

    filled = below.imshow(
        log_density - log_density.max(), extent=extent, origin="lower", vmin=-20, vmax=0
    )
    below.plot(*peaks.T, "x", color="crimson", ms=7, mew=2)
    above.set(xticks=[-1, 0, 1], yticks=[-1, 0, 1], xlim=extent[:2], ylim=extent[2:])
bar = figure.colorbar(filled, ax=panels[1], pad=0.01, aspect=30)
bar.set_label("nats below the maximum")
bar.outline.set_visible(False)
file = Path(os.environ.get("SKRAE_OUTPUT", ".")) / "paper_spiral.png"
figure.savefig(file, dpi=110)
print(f"picture: {file}")
