"""
The bias of noise and contraction
=================================

With unlimited rows, what would the best auto-encoder say? Not quite the
:ref:`score <two-scores>`: noise blurs the
density, and contraction does something similar. `skrae.datasets` computes the best
reconstruction of a known density, so the bias can be seen, and removed.
"""

# %%
# The best denoiser and the best contractive auto-encoder
# -------------------------------------------------------
# Both are computed on a grid, without any network. sigma^2 and lambda play the same part, so they
# are compared at equal sigma = sqrt(lambda).
import matplotlib.pyplot as plt
import numpy as np

from skrae.datasets import (
    SexticWell,
    contractive_optimum,
    correct_denoising,
    denoising_optimum,
    invert_contraction,
)

plt.rcParams.update({"axes.spines.top": False, "axes.spines.right": False})

density = SexticWell()
grid = np.linspace(-2.2, 2.2, 2201)
truth = density.gradient(grid[:, None])[:, 0]
weight = np.exp(density.log_density(grid[:, None]))
levels = [0.3, 0.1, 0.03]


def error(estimate):
    """Root mean squared error under p, relative to the score."""
    known = np.isfinite(estimate)
    squares = np.where(known, (np.where(known, estimate, 0) - truth) ** 2, 0)
    return np.sqrt(np.average(squares, weights=weight) / np.average(truth**2, weights=weight))


scores = {}
print("relative error of the score   denoising           contractive")
print("sigma = sqrt(lambda)          plain    corrected  plain    corrected")
for level in levels:
    r = denoising_optimum(density, level, grid)
    s = contractive_optimum(density, level**2, grid)
    scores[level] = [
        (r - grid) / level**2,
        correct_denoising(r, level, grid),
        (s - grid) / level**2,
        invert_contraction(s, level**2, grid),
    ]
    print(f"{level:<26}", *(f"{error(estimate):10.4f}" for estimate in scores[level]))

# %%
# Above the plain estimates, (r - x) / sigma^2 and (r - x) / lambda: the larger the noise, the
# flatter. Below after the correction: for contraction it is exact at any lambda; for denoising it
# is exact to one order more, and cannot bring back what large noise has blurred away.
titles = [
    "denoising, plain",
    "contractive, plain",
    "denoising, corrected",
    "contractive, corrected",
]
figure, panels = plt.subplots(
    2, 2, figsize=(10, 6.4), sharex=True, sharey=True, layout="constrained"
)
for panel, title, which in zip(panels.flat, titles, [0, 2, 1, 3], strict=True):
    panel.plot(grid, truth, color="black", linewidth=3, alpha=0.35, label="true score")
    for level, color in zip(levels, ["#440154", "#31688e", "#d1602f"], strict=True):
        panel.plot(grid, scores[level][which], color=color, linewidth=1.2, label=f"{level}")
    panel.set(title=title, xlim=(-1.5, 1.5), ylim=(-14, 14))
panels[0, 0].legend(frameon=False, title="sigma = sqrt(lambda)")
for panel in panels[1]:
    panel.set_xlabel("x")
plt.show()
