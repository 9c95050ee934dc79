"""
Choosing the noise level and the contraction weight
===================================================

A denoising auto-encoder has a noise level sigma, a contractive one a weight lambda. Both say how
finely the density is resolved, and held-out rows can choose them: by the log-likelihood, or by
Hyvarinen's score. The log density without its normaliser cannot.
"""

# %%
# Rows of a known density
# -----------------------
# Two moons, whose density is known: the choice can be compared with the truth.
import matplotlib.pyplot as plt
import numpy as np
from sklearn.model_selection import GridSearchCV, ShuffleSplit

from skrae import RegularizedAutoEncoderScore
from skrae.datasets import Moons
from skrae.metrics import hyvarinen_scorer

density = Moons()
rows = density.sample(2000, random_state=0)

# %%
# The search
# ----------
# `score` is the mean log density (see :ref:`two things called score <two-scores>`), so
# `GridSearchCV` needs no scorer for it; `hyvarinen_scorer` asks for the gradient of the log density
# and its Laplacian alone. The third entry leaves out what is hard to compute, log Z.
#
# By default neither option has to be searched: a fit goes through a schedule of noise levels and
# keeps the best. Here the model is that of Alain & Bengio (2014): isotropic noise, denoising and
# contraction alone (``calibration_weight=0``), and a single Gaussian as base density, so that the
# network has everything to learn.


def log_likelihood(model, rows, y=None):
    """Mean log density of the rows, nats per row."""
    return model.score(rows)


def unnormalised(model, rows, y=None):
    """The same without the normaliser."""
    return model.score(rows) + model.log_normalizer_


sigmas, lambdas = [0.03, 0.06, 0.12, 0.25, 0.5], [0, 0.01, 0.03, 0.1]
n_splits, max_iter = 1, 200
# sphinx_gallery_start_ignore
import os  # noqa: E402

if os.environ.get("SKRAE_QUICK") == "1":
    sigmas, lambdas, n_splits, max_iter = [0.03, 0.12, 0.5], [0, 0.01, 0.1], 1, 100
# sphinx_gallery_end_ignore
model = RegularizedAutoEncoderScore(
    calibration_weight=0,
    noise_covariance="isotropic",
    base_density="gaussian",
    hidden_layer_sizes=(64, 64),
    max_iter=max_iter,
    random_state=0,
)
search = GridSearchCV(
    model,
    {"noise_level": sigmas, "contraction_weight": lambdas},
    scoring={
        "log-likelihood": log_likelihood,
        "Hyvarinen": hyvarinen_scorer,
        "unnormalised": unnormalised,
    },
    refit=False,
    cv=ShuffleSplit(n_splits, test_size=0.25, random_state=0),
).fit(rows)

# %%
# Every line is a pair of sigma and lambda, with its means over the splits.

# The grid runs through its names in alphabetic order, the last one fastest.
shape = len(lambdas), len(sigmas)
surfaces = {name: search.cv_results_[f"mean_test_{name}"].reshape(shape) for name in search.scoring}
print("held out, greater is better")
print("sigma  lambda   tau  ", *(f"{name:>15}" for name in surfaces))
for j, sigma in enumerate(sigmas):
    for i, weight in enumerate(lambdas):
        cells = (f"{surface[i, j]:15.2f}" for surface in surfaces.values())
        print(f"{sigma:5.2f} {weight:7.2f} {sigma**2 + weight:7.4f}", *cells)
print(f"log-likelihood of the true density: {density.log_density(rows).mean():.2f}")

chosen = {name: np.unravel_index(surface.argmax(), shape) for name, surface in surfaces.items()}
for name, (i, j) in chosen.items():
    print(
        f"{name:14} chooses sigma {sigmas[j]}, lambda {lambdas[i]}:"
        f" log-likelihood {surfaces['log-likelihood'][i, j]:.2f}"
    )

# %%
# What the surfaces say
# ---------------------
# sigma and lambda do the same work: to first order r(x) - x = (sigma^2 + lambda) grad log p, and
# cells of nearly the same sum tau = sigma^2 + lambda have nearly the same log-likelihood. A large
# tau blurs the density, which costs likelihood; with the smallest ones, by which the little that r
# moves is divided, nothing is gained any more. The log-likelihood and Hyvarinen's score agree on
# that. The first needs log Z; the second does not, as it looks at slopes and curvatures alone.
#
# The mean of the unnormalised log density looks at heights alone, and a height without its zero is
# no measure: from cell to cell log Z moves by more than the log-likelihood does.
titles = {
    "log-likelihood": "log-likelihood, nats per row",
    "Hyvarinen": "minus Hyvarinen's score",
    "unnormalised": "without log Z, nats per row",
}
figure, panels = plt.subplots(1, 3, figsize=(12, 3.8), layout="constrained")
for panel, (name, title) in zip(panels, titles.items(), strict=True):
    surface, (i, j) = surfaces[name], chosen[name]
    panel.imshow(surface, origin="lower", aspect="auto", cmap="viridis")
    frame = {"fill": False, "edgecolor": "crimson", "linewidth": 3}
    panel.add_patch(plt.Rectangle((j - 0.5, i - 0.5), 1, 1, **frame))
    middle = (surface.min() + surface.max()) / 2
    for (row, column), number in np.ndenumerate(surface):
        shade = "black" if number > middle else "white"
        panel.text(column, row, f"{number:.3g}", ha="center", va="center", color=shade)
    panel.set_xticks(range(len(sigmas)), sigmas)
    panel.set_yticks(range(len(lambdas)), lambdas)
    panel.set(xlabel="sigma", ylabel="lambda", title=title)
    panel.spines[:].set_visible(False)
plt.show()
