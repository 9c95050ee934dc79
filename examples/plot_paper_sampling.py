"""
The paper's sampling experiment
===============================

A curve in ten dimensions, 10 000 rows along it, and the Markov chain of Alain & Bengio (2014): what
noise does to the curve, and what correction, less noise, scaling and a base density do about it.
"""

# %%
# A curve in ten dimensions
# -------------------------
# The law is a mixture of 25 long, thin Gaussians along a closed curve (the paper has one like it;
# this curve is ours). Its density is known, so that everything below is measured, not believed.
import warnings

import matplotlib.pyplot as plt
import numpy as np
from scipy.spatial.distance import cdist, pdist
from scipy.stats import chi2
from sklearn.mixture import GaussianMixture

from skrae import RAESampler, RegularizedAutoEncoderScore
from skrae.datasets import GaussianCurve, MixtureOfGaussians

n_rows, n_compared = 10_000, 4000
n_chains, n_draws, thin = 400, 25, 10
width, max_components, max_iter, default_iter, n_default = 128, 32, 400, 300, 130
# sphinx_gallery_start_ignore
import os  # noqa: E402

if os.environ.get("SKRAE_QUICK") == "1":  # a short run, to see the script at work
    n_rows, n_compared = 1000, 500
    n_chains, n_draws, thin = 50, 20, 1
    width, max_components, max_iter, default_iter, n_default = 32, 8, 20, 20, 20
# sphinx_gallery_end_ignore

density = GaussianCurve(thickness=0.05, elongation=5.0)
rows = density.sample(n_rows, random_state=0)
print("standard deviations of the columns:", rows.std(axis=0).round(2))
print("thickness of the curve:             0.05")


# %%
# How draws are compared
# ----------------------
# Three questions. Which share of the draws lies off the curve, beyond the radius of every Gaussian
# that holds 99.9 % of its mass? How far are the draws from fresh rows by the sliced Wasserstein
# distance, the mean transport distance between projections on random directions? And by the energy
# distance, which compares the distances between the two samples with those within them? Even two
# fresh samples are apart: that floor is the first line of the table at the end.
def share_off_curve(X):
    return np.mean(squared_radii(X) > chi2.ppf(0.999, df=10))


def squared_radii(X):
    """Squared Mahalanobis distance of each row from the nearest of the Gaussians."""
    precisions = np.linalg.inv(density.covariances)
    steps = X[:, None] - density.means
    return np.einsum("nki,kij,nkj->nk", steps, precisions, steps, optimize=True).min(axis=1)


def sliced_wasserstein(X, Y):
    directions = np.random.default_rng(0).standard_normal((X.shape[1], 500))
    directions /= np.linalg.norm(directions, axis=0)
    return np.abs(np.sort(X @ directions, axis=0) - np.sort(Y @ directions, axis=0)).mean()


def energy_distance(X, Y):
    within = [pdist(Z).mean() for Z in (X, Y)]
    return np.sqrt(max(0.0, 2.0 * cdist(X, Y).mean() - sum(within)))


fresh = [density.sample(n_compared, random_state=seed) for seed in (101, 102, 103)]


def distances(X):
    """Sliced Wasserstein and energy distance, each the mean over three fresh samples."""
    X = X[np.linspace(0, len(X) - 1, n_compared).astype(int)]
    measures = sliced_wasserstein, energy_distance
    return [np.mean([measure(X, Y) for Y in fresh]) for measure in measures]


# %%
# What noise does, before any network
# -----------------------------------
# An auto-encoder trained on rows with noise of standard deviation sigma learns, at best, the
# density of the *noisy* rows: p convolved with N(0, sigma^2 I). For a mixture of Gaussians that is
# the same mixture with sigma^2 added to each variance. No network has a part in this table: it is
# the most that any denoiser with this noise can do.
def with_noise(sigma):
    """The density of rows with isotropic noise: what a perfect denoiser learns."""
    covariances = density.covariances + sigma**2 * np.eye(10)
    return MixtureOfGaussians(density.weights, density.means, covariances)


print("draws off the curve, of the law itself and of a perfect denoiser's density")
for sigma in (0.0, 0.01, 0.02, 0.05, 0.1):
    blurred = with_noise(sigma).sample(20_000, random_state=1)
    print(f"sigma = {sigma:<5g} {share_off_curve(blurred):7.1%}")


# %%
# A sigma of 0.1, as large as the steps of the paper's chain, is twice the thickness of this curve.
# Across the curve the noisy rows are wider than the rows by a factor of sqrt(1 + 4), and in nine
# directions at once little stays inside.
#
# The paper's auto-encoder and its chain
# --------------------------------------
# `decoder="free"` is the auto-encoder of the paper, with a decoder of its own, and
# `calibration_weight=0` its criterion: denoising alone. Its :ref:`score <two-scores>` is (r(x) - x)
# / sigma^2. skrae never offers that as a density, for nothing holds it up far from the rows; the
# chain of the paper takes it as it is, and so do we, in a class of two methods. The chain is a
# random walk from rows (`init`) with steps of standard deviation 0.1, not tuned (`n_warmup=0`). It
# needs log p(y) - log p(x), which `log_ratio="path"` takes from the score, as a line integral from
# x to y. A ball as `base_density` is there for the unit of the steps alone, its radius: a random
# walk makes no use of its draws.
starts = density.sample(n_chains, random_state=7)
ball = GaussianMixture(1, covariance_type="spherical").fit(rows)
radius = np.sqrt(ball.covariances_[0])


class PaperScore:
    """(r(x) - x) / sigma^2, in the metric in which the noise is isotropic."""

    def __init__(self, model):
        self.model = model
        self.precision = model.whitening_ @ model.whitening_.T / model.noise_level_**2

    def log_density_gradient(self, X):
        return (self.model.reconstruct(X) - X) @ self.precision

    def score_samples(self, X):
        return np.zeros(len(X))  # any finite number: `log_ratio="path"` looks at the score


class CorrectedScore(PaperScore):
    """The same without the bias of first order, as the option `bias_correction` gives it."""

    def log_density_gradient(self, X):
        return self.model.log_density_gradient(X)


def fit(**options):
    """A fit to the rows with the auto-encoder and the criterion of the paper."""
    model = RegularizedAutoEncoderScore(
        decoder="free",
        hidden_layer_sizes=(width,),
        calibration_weight=0.0,
        max_components=max_components,
        max_mixtures=1,
        max_iter=max_iter,
        random_state=0,
        **options,
    )
    return model.fit(rows)


def random_walk(score, step, **options):
    """Chains of random-walk moves from rows, by the score alone."""
    options = {"step_size": step / radius, "thin": thin, "n_warmup": 0, **options}
    options |= {"proposal": "random_walk", "log_ratio": "path", "base_density": ball}
    sampler = RAESampler(score, n_chains=n_chains, init=starts, random_state=0, **options)
    with warnings.catch_warnings():
        # That these chains do not mix, and where a score is left uncorrected, the table tells.
        warnings.simplefilter("ignore", UserWarning)
        return sampler.sample_chains(n_draws)


table = {"perfect denoiser, sigma 0.1": with_noise(0.1).sample(n_compared, random_state=100)}
paper = fit(noise_level=0.1, scaling=None, bias_correction=True)  # which r does not use
table["the paper: raw, sigma 0.1, step 0.1"] = random_walk(PaperScore(paper), 0.1)

# %%
# What mends it
# -------------
# Four changes, one at a time; steps are 0.04 from here on, as the thickness asks for.
#
# 1. *Correct the bias.* To first order in sigma^2 the score of the noisy density can be turned
#    into that of the density (`bias_correction=True`).
# 2. *Less noise*: sigma = 0.02, well below the thickness. What is learned is nearly the law, but
#    the score is a small difference r(x) - x divided by 0.0004, and so are the network's errors.
# 3. *Whiten*: sigma = 0.1 in units of the principal axes, so that narrow columns get less noise.
# 4. *The defaults of skrae*: noise of the local width, a base density, held-out rows for
#    validation; by the same random walk, and by the default sampler.
table["1. bias correction"] = random_walk(CorrectedScore(paper), 0.04)
small = fit(noise_level=0.02, scaling=None)
table["2. raw, sigma 0.02"] = random_walk(PaperScore(small), 0.04)
whitened = fit(noise_level=0.1, scaling="whiten")
table["3. whitened, sigma 0.1"] = random_walk(PaperScore(whitened), 0.04)
default = RegularizedAutoEncoderScore(max_iter=default_iter, random_state=0).fit(rows)
table["4. the defaults, random walk"] = random_walk(default, 0.04)
sampler = RAESampler(default, random_state=0)
table["4. the defaults, default sampler"] = sampler.sample_chains(n_default)


def last_draws(draws):
    """Rows: the second half of each chain, when all have had time to leave their starts."""
    if isinstance(draws, np.ndarray):
        return draws
    return draws.draws[:, draws.draws.shape[1] // 2 :].reshape(-1, 10)


print(f"{'':36s} off curve  sliced W  energy  accepted    ESS  R-hat")
others = [density.sample(n_compared, random_state=200 + seed) for seed in range(5)]
floor = np.mean([[share_off_curve(X), *distances(X)] for X in others], axis=0)
results = {"fresh rows": floor}
print("{:36s} {:9.1%} {:9.4f} {:7.4f}".format("fresh rows", *floor))
for name, draws in table.items():
    X = last_draws(draws)
    results[name] = share_off_curve(X), *distances(X)
    line = "{:9.1%} {:9.4f} {:7.4f}".format(*results[name])
    if draws is not X:
        line += f" {draws.acceptance_rate.mean():9.2f} {draws.ess().min():6.0f}"
        line += f" {draws.rhat().max():6.2f}"
    print(f"{name:36s} {line}")
print(f"the network of the defaults adds {default.network_gain_:.2f} nats per row to their base")


# %%
# The correction by itself
# ------------------------
# Is it the formula that falls short, or the network it is applied to? A perfect denoiser answers:
# its score D = grad log p_sigma is known, and the corrected score g solves
#
#     (I + sigma^2 dD/dx) g = D - sigma^2 / 2 Lap D.
def corrected_perfect_score(X, sigma, step=1e-3):
    """g for the perfect denoiser, its derivatives by central differences."""
    score = with_noise(sigma).gradient
    slopes, laplacian = [], 0.0
    for shift in step * np.eye(10):
        above, below = score(X + shift), score(X - shift)
        slopes.append((above - below) / (2.0 * step))
        laplacian = laplacian + (above + below - 2.0 * score(X)) / step**2
    matrix = np.eye(10) + sigma**2 * np.stack(slopes, axis=2)
    return np.linalg.solve(matrix, (score(X) - sigma**2 / 2 * laplacian)[:, :, None])[:, :, 0]


def score_error(scores):
    """Mean squared error beside the mean square of the true score."""
    return np.sum((scores - truth) ** 2) / np.sum(truth**2)


places = fresh[0][:500]
truth = density.gradient(places)
with warnings.catch_warnings():
    warnings.simplefilter("ignore", UserWarning)  # of rows that keep their score
    of_network = CorrectedScore(paper).log_density_gradient(places)
print("relative squared error of the score at rows, sigma 0.1   plain  corrected")
plain = score_error(with_noise(0.1).gradient(places))
print(f"perfect denoiser {plain:45.3f} {score_error(corrected_perfect_score(places, 0.1)):10.3f}")
plain = score_error(PaperScore(paper).log_density_gradient(places))
print(f"network          {plain:45.3f} {score_error(of_network):10.3f}")

# %%
# What the numbers say
# --------------------
# - The chain of the paper goes where its score leads, to the noisy density: as far off the curve as
#   a perfect denoiser, and a little farther for errors of the network. Pairs of columns show a
#   curve that is somewhat thick; in ten columns at once few draws lie inside.
# - The correction of the bias is nearly exact for a perfect denoiser, even at twice the thickness,
#   for across the curve the law is Gaussian. But it divides by dr/dx, which is 1/5 there, and so
#   magnifies what the network gets wrong of its slopes: only a part of the gain is left.
# - Less noise helps most, and so does whitening, which is less noise in the narrow columns.
# - No random walk has gone round the curve: R-hat is far above 1.01. That its draws are spread over
#   the curve is owed to the rows they started from, and that they are farther from fresh rows than
#   fresh rows are, to their being few: even the walk on the defaults, which stays on the curve,
#   is. Only the independence proposal makes draws that do not depend on the starts, and it takes a
#   base density.
# - With the defaults the network has nothing to add, as the line below the table says: the law is
#   a mixture of Gaussians, and so is the base density.

# %%
# Blue draws lie on the curve, orange ones beyond the 99.9 % radius of all its Gaussians.
plt.rcParams.update({"font.size": 10, "axes.spines.top": False, "axes.spines.right": False})
shown = {
    "fresh rows": "fresh rows",
    "the paper's chain": "the paper: raw, sigma 0.1, step 0.1",
    "sigma 0.02": "2. raw, sigma 0.02",
    "whitened": "3. whitened, sigma 0.1",
    "the defaults": "4. the defaults, default sampler",
}
pairs = (0, 1), (0, 2), (0, 4)
figure, panels = plt.subplots(
    3, 5, figsize=(13, 6.4), sharex=True, sharey="row", height_ratios=(3, 2, 2)
)
figure.set_layout_engine("constrained")
for column, (title, name) in zip(panels.T, shown.items(), strict=True):
    X = others[0] if name == "fresh rows" else last_draws(table[name])
    X = X[np.linspace(0, len(X) - 1, min(len(X), 2000)).astype(int)]
    colors = np.where(squared_radii(X) > chi2.ppf(0.999, df=10), "#d1602f", "#31688e")
    column[0].set_title(f"{title}\n{results[name][0]:.1%} off the curve")
    for panel, (i, j) in zip(column, pairs, strict=True):
        panel.scatter(X[:, i], X[:, j], s=4, c=colors, linewidths=0, alpha=0.6, rasterized=True)
        panel.set(xlim=(-1.5, 1.5), aspect="equal")
for panel, (_, j) in zip(panels[:, 0], pairs, strict=True):
    panel.set_ylabel(f"column {j + 1}")
    panel.set_ylim(*((-1.5, 1.5) if j == 1 else (-1.0, 1.0)))
for panel in panels[-1]:
    panel.set_xlabel("column 1")

# %%
# The distances of all settings, in units of what chance alone puts between two fresh samples.
figure, ax = plt.subplots(figsize=(8, 3.4), layout="constrained")
place = np.arange(len(table))[::-1]
for measure, label, color in ((1, "sliced Wasserstein", "#31688e"), (2, "energy", "#d1602f")):
    ratios = [results[name][measure] / floor[measure] for name in table]
    ax.plot(ratios, place, "o", color=color, label=label)
ax.axvline(1.0, color="0.5", linewidth=1, linestyle=":")
ax.set(xscale="log", xlabel="distance from fresh rows, as a multiple of that of other fresh rows")
ax.set_xticks([1, 2, 5, 10], ["1", "2", "5", "10"])
ax.xaxis.minorticks_off()
ax.set_yticks(place, table)
ax.grid(axis="y", color="0.92")
ax.tick_params(axis="y", length=0)
ax.legend(frameon=False, loc="lower right", bbox_to_anchor=(1.0, 1.0), ncols=2)
plt.show()
