"""
Which noise, how much contraction?
==================================

A denoising auto-encoder has a noise level sigma, a contractive one a weight lambda. Both say how
finely the density is resolved, and held-out rows can choose them: here on a table of red wines,
by the log-likelihood and by Hyvarinen's score. A mean energy cannot.
"""

# %%
# A table of wines
# ----------------
# 1599 red wines, 11 measurements (Cortez et al., 2009). The file is looked for in the folder that
# SKRAE_DATA names, or else in a folder shared/data here or farther up. Where it is not at hand, the
# smaller table of wines in scikit-learn takes its place; what is said below is said of the larger.
# Measurements are rounded, and a density could gain without limit by peaks on the values that
# repeat: uniform noise of one step undoes that.
import os
import warnings
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
from sklearn.datasets import load_wine
from sklearn.exceptions import ConvergenceWarning
from sklearn.model_selection import GridSearchCV, ShuffleSplit, train_test_split

from skrae import RegularizedAutoEncoderScore
from skrae.metrics import hyvarinen_scorer

quick = os.environ.get("SKRAE_QUICK") == "1"
here = Path(__file__ if "__file__" in globals() else "here").resolve()
folders = [folder / "shared" / "data" for folder in here.parents]
if "SKRAE_DATA" in os.environ:
    folders = [Path(os.environ["SKRAE_DATA"])]
files = [folder / "redwine.csv.gz" for folder in folders]
file = next((file for file in files if file.is_file()), None)
if file:
    table, source = np.loadtxt(file, delimiter=";", skiprows=1)[:, :-1], f"red wine, {file.name}"
else:
    table, source = load_wine().data, "sklearn.datasets.load_wine, as no redwine.csv.gz is at hand"
print(f"table: {source}, {table.shape[0]} rows, {table.shape[1]} columns")

steps = np.array([np.median(np.diff(np.unique(column))) for column in table.T])
table = table + steps * (np.random.default_rng(0).random(table.shape) - 0.5)
table = (table - table.mean(axis=0)) / table.std(axis=0)

# %%
# The search
# ----------
# `score` is the log-likelihood, so `GridSearchCV` needs no scorer for it; `hyvarinen_scorer` asks
# for the gradient of the log density and its Laplacian alone. The third entry leaves out what is
# hard to compute, log Z. `calibration_weight=0` is the criterion of Alain and Bengio alone, and
# with a single Gaussian as base the network has everything to learn. Uncalibrated, log Z is hard to
# compute and fits warn of it; we keep its standard error in a column instead.


def log_likelihood(model, rows, y=None):
    """Mean log density of the rows, nats per row."""
    return model.score(rows)


def unnormalised(model, rows, y=None):
    """The same without the normaliser."""
    return model.score(rows) + model.log_normalizer_


def doubt(model, rows, y=None):
    """Standard error of log Z."""
    return model.log_normalizer_stderr_


plain = RegularizedAutoEncoderScore(
    calibration_weight=0,
    noise_covariance="isotropic",
    base_density="gaussian",
    hidden_layer_sizes=(64, 64),
    max_iter=40 if quick else 100,
    random_state=0,
)
sigmas = [0.1, 0.4] if quick else [0.03, 0.06, 0.12, 0.25, 0.5]
lambdas = [0, 0.03] if quick else [0, 0.01, 0.03, 0.1]
search = GridSearchCV(
    plain,
    {"noise_level": sigmas, "contraction_weight": lambdas},
    scoring={
        "log-likelihood": log_likelihood,
        "Hyvarinen": hyvarinen_scorer,
        "unnormalised": unnormalised,
        "error of log Z": doubt,
    },
    refit=False,
    cv=ShuffleSplit(1 if quick else 2, test_size=0.25, random_state=0),
    error_score="raise",
)
with warnings.catch_warnings():
    warnings.simplefilter("ignore", ConvergenceWarning)
    search.fit(table)

# The grid runs through its names in alphabetic order, the last one fastest.
shape = len(lambdas), len(sigmas)
surfaces = {name: search.cv_results_[f"mean_test_{name}"].reshape(shape) for name in search.scoring}
best = {
    name: np.unravel_index(surface.argmax(), shape)
    for name, surface in surfaces.items()
    if name != "error of log Z"
}
print("held out, greater is better")
print("sigma  lambda   tau  ", *(f"{name:>15}" for name in surfaces))
for j, sigma in enumerate(sigmas):
    for i, weight in enumerate(lambdas):
        cells = (f"{surface[i, j]:15.2f}" for surface in surfaces.values())
        print(f"{sigma:5.2f} {weight:7.2f} {sigma**2 + weight:7.4f}", *cells)
for name, (i, j) in best.items():
    print(
        f"{name:14} is best at sigma {sigmas[j]}, lambda {lambdas[i]}:"
        f" log-likelihood {surfaces['log-likelihood'][i, j]:.2f}"
    )

# %%
# What the surfaces say
# ---------------------
# sigma and lambda do the same work: to first order r(x) - x = (sigma^2 + lambda) grad log p, and
# the good cells lie where the sum tau = sigma^2 + lambda is neither large nor tiny. A large tau
# blurs the density; a tiny one divides the little that r moves by almost nothing, and noise of
# training is what remains. The log-likelihood and Hyvarinen's score see both ends. The first needs
# log Z; the second does not, as it looks at slopes and curvatures alone.
#
# The mean of the unnormalised log density looks at heights alone, and a height without its zero is
# no measure: from cell to cell log Z moves by more than the log-likelihood does. Here it prefers
# a cell where no network was better than the base density, and the model is a single Gaussian.
#
# The mean energy of a tied auto-encoder makes the same point more plainly. Its log density,
#
# .. math:: \log p(z) = \frac{1}{\tau} \Bigl( \sum_k \log(1 + e^{w_k z + b_k})
#           - \tfrac{1}{2} |z - c|^2 \Bigr) - \log Z,
#
# is known in closed form up to log Z. Over held-out rows the mean of the bracket is positive, and
# hardly ever smaller for a smaller sigma, so that divided by tau it grows about as 1 / tau or
# faster. Of the list of sigmas it picks the smallest; for the gradient decoder at lambda = 0 both
# scores above prefer one in the middle.


def mean_potential(model, rows):
    """Mean over rows of the log density of r without log Z, in working space."""
    z = (rows - model.location_) @ model.whitening_
    weight, (bias, centre) = model.coefs_[0], model.intercepts_[:2]
    energy = 0.5 * ((z - centre) ** 2).sum(axis=1) - np.logaddexp(0, z @ weight + bias).sum(axis=1)
    return -np.mean(energy) / (model.noise_level_**2 + model.contraction_weight)


train, test = train_test_split(table, test_size=0.25, random_state=0)
tied = RegularizedAutoEncoderScore(
    decoder="tied", calibration_weight=0, base_density="gaussian", max_iter=100, random_state=0
)
potentials = []
print("\ntied auto-encoder\nsigma   mean of log p + log Z")
for sigma in sigmas:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        tied.set_params(noise_level=sigma).fit(train)
    potentials.append(mean_potential(tied, test))
    print(f"{sigma:5.2f} {potentials[-1]:15.0f}")

# %%
# The picture
# -----------
# Above: the two scores that can choose, the best cell of each framed. Below: along sigma, at the
# lambda of the best likelihood, what the choice by an unnormalised mean would be.
plt.rcParams.update({"axes.spines.top": False, "axes.spines.right": False})
figure, panels = plt.subplots(2, 2, figsize=(10, 7), layout="constrained")
for panel, name in zip(panels[0], ("log-likelihood", "Hyvarinen"), strict=True):
    surface, (i, j) = surfaces[name], best[name]
    image = panel.imshow(surface, origin="lower", aspect="auto", cmap="viridis")
    panel.add_patch(
        plt.Rectangle((j - 0.5, i - 0.5), 1, 1, fill=False, edgecolor="crimson", linewidth=3)
    )
    middle = (surface.min() + surface.max()) / 2
    for (row, column), number in np.ndenumerate(surface):
        shade = "black" if number > middle else "white"
        panel.text(column, row, f"{number:.1f}", ha="center", va="center", color=shade)
    panel.set_xticks(range(len(sigmas)), sigmas)
    panel.set_yticks(range(len(lambdas)), lambdas)
    panel.set(xlabel="sigma", ylabel="lambda")
    panel.spines[:].set_visible(False)
    figure.colorbar(image, ax=panel, pad=0.02).outline.set_visible(False)
panels[0, 0].set_title("held-out log-likelihood (nats a row)")
panels[0, 1].set_title("minus Hyvarinen's score")

left, right = panels[1]
row = best["log-likelihood"][0]
for name, color, label in (
    ("log-likelihood", "#31688e", "log-likelihood"),
    ("unnormalised", "#d1602f", "without log Z"),
):
    line = surfaces[name][row]
    left.semilogx(sigmas, line, "o-", color=color, label=label)
    left.plot(sigmas[line.argmax()], line.max(), "o", ms=14, mfc="none", mew=2, color="crimson")
left.set(xlabel="sigma", ylabel="nats a row", title=f"gradient decoder, lambda = {lambdas[row]}")
left.legend(frameon=False)
right.loglog(sigmas, potentials, "o-", color="#d1602f", label="without log Z")
right.plot(
    sigmas[np.argmax(potentials)], max(potentials), "o", ms=14, mfc="none", mew=2, color="crimson"
)
right.set(xlabel="sigma", ylabel="nats a row", title="tied decoder, lambda = 0")
right.legend(frameon=False)
for panel in (left, right):
    panel.set_xticks(sigmas, sigmas)
    panel.minorticks_off()
picture = Path(os.environ.get("SKRAE_OUTPUT", ".")) / "sigma_lambda.png"
figure.savefig(picture, dpi=110)
print(f"picture: {picture}")
