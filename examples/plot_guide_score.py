"""
The score function
==================

The score of a density is the slope of its logarithm: on the line a number that says which way is
uphill and how steeply, in the plane an arrow at every point. It is another
thing than scikit-learn's `score`: see :ref:`two things called score <two-scores>`.
"""

# %%
# On the line
# -----------
# Where the density rises the score is positive, where it falls negative, and it is zero at each
# mode and at each valley between two. `SexticWell` is the density of the experiments of Alain &
# Bengio (2014); `skrae.datasets` knows its score exactly.
import matplotlib.pyplot as plt
import numpy as np

from skrae.datasets import MixtureOfGaussians, SexticWell

blue, orange = "#31688e", "#d1602f"
plt.rcParams.update({"axes.spines.top": False, "axes.spines.right": False})

density = SexticWell()
x = np.linspace(-1.55, 1.6, 800)[:, None]
score = density.gradient(x)[:, 0]
turns = x[:-1, 0][score[:-1] * score[1:] < 0]
print("the score is zero near", *(f"{abs(turn):.2f}" for turn in turns))

figure, (above, below) = plt.subplots(2, 1, figsize=(8, 5), sharex=True, layout="constrained")
above.fill_between(x[:, 0], np.exp(density.log_density(x)), color=blue, alpha=0.25, linewidth=0)
above.plot(x, np.exp(density.log_density(x)), color=blue)
places = np.linspace(-1.5, 1.5, 31)[:, None]
steps = np.clip(density.gradient(places)[:, 0] / 40, -0.09, 0.09)
above.quiver(
    *(places[:, 0], np.full(31, -0.12), steps, np.zeros(31)),
    **{"angles": "xy", "scale_units": "xy", "scale": 1, "color": orange, "width": 0.004},
)
above.set(ylabel="density p(x)", ylim=(-0.22, None))
below.axhline(0, color="0.7", linewidth=0.8)
below.plot(x, score, color=orange)
below.set(ylabel="score, d log p(x) / dx", xlabel="x", ylim=(-16, 16))
for turn in turns:
    for panel in (above, below):
        panel.axvline(turn, color="0.7", linewidth=0.8, linestyle=":")

# %%
# In the plane
# ------------
# Two clusters. The arrows point towards the nearer one; they are long where the density falls
# steeply and vanish on top. Nothing about them changes if the density is multiplied by a constant.
density = MixtureOfGaussians(
    [0.6, 0.4], [[-1.2, 0.0], [1.4, 0.6]], [[[0.5, 0.3], [0.3, 0.5]], [[0.3, -0.1], [-0.1, 0.6]]]
)
axes = np.linspace(-3.4, 3.4, 200), np.linspace(-2.6, 2.8, 160)
fine = np.stack(np.meshgrid(*axes), axis=-1)
log_density = density.log_density(fine.reshape(-1, 2)).reshape(fine.shape[:2])
coarse = np.stack(np.meshgrid(axes[0][4::8], axes[1][4::8]), axis=-1).reshape(-1, 2)
coarse = coarse[density.log_density(coarse) > log_density.max() - 7]

figure, panel = plt.subplots(figsize=(6.4, 4.8), layout="constrained")
levels = log_density.max() + np.arange(-7, 0.5, 0.5)
panel.contourf(*axes, log_density, levels, cmap="Blues")
panel.quiver(*coarse.T, *density.gradient(coarse).T, color=orange, width=0.0035, scale=110)
panel.set(
    aspect="equal", xlabel="first column", ylabel="second column", title="log p and its score"
)
plt.show()

# %%
# Ripples
# -------
# Two thousand rows of the density above. A sum of Gaussians is close to it and its slope is not:
# each component leaves a ripple that the likelihood hardly sees. Averaged with an energy of radial
# units, fitted by score matching, the ripples go. ``select=None`` leaves the mixtures alone.
from skrae import RegularizedAutoEncoderScore  # noqa: E402

density = SexticWell()
rows, fresh = density.sample(2000, random_state=0), density.sample(10_000, random_state=1)
truth = density.gradient(fresh)
figure, panels = plt.subplots(1, 2, figsize=(9, 3.4), sharey=True, layout="constrained")
titles = {None: "mixtures alone", "likelihood": "averaged with radial units (default)"}
for panel, (select, title) in zip(panels, titles.items(), strict=True):
    model = RegularizedAutoEncoderScore(select=select, random_state=0).fit(rows)
    divergence = np.sum((model.log_density_gradient(fresh) - truth) ** 2) / np.sum(truth**2)
    print(
        f"{title}: relative Fisher divergence {divergence:.3f},"
        f" mean log density {model.score(fresh):.4f}"
    )
    panel.plot(x[:, 0], density.gradient(x)[:, 0], color="0.8", linewidth=5, label="score of p")
    panel.plot(x[:, 0], model.log_density_gradient(x)[:, 0], color=orange, label="learned")
    panel.set(xlabel="x", ylim=(-16, 16))
    panel.set_title(title, fontsize=11)
    panel.legend(frameon=False, fontsize=9)
panels[0].set_ylabel("d log p / dx")
plt.show()
