"""
Digits: a density of images
===========================

Learn the density of 8 x 8 images of handwritten digits, 64 columns, and ask it everything: how
likely an image is, what a noisy one looked like, what new ones look like, and what may stand in
the lower half of one that was torn.
"""

# %%
# From counts to numbers
# ----------------------
# A pixel is an integer from 0 to 16, and a density of integers is infinite at each of them: a
# model could raise its likelihood for ever with ever narrower peaks, and learn nothing. Uniform
# noise spreads each integer over its own unit interval. A density of these rows integrates, over
# the unit cube of an image, to a probability of the image, so that the mean log density is a fair
# measure in nats (Theis, van den Oord & Bethge 2016). The three pixels that are 0 in all images
# become columns like the others, uniform on [0, 1].
import warnings

import matplotlib.pyplot as plt
import numpy as np
from sklearn.datasets import load_digits
from sklearn.decomposition import PCA
from sklearn.exceptions import ConvergenceWarning
from sklearn.impute import KNNImputer
from sklearn.mixture import GaussianMixture
from sklearn.model_selection import train_test_split

from skrae import RAESampler, RegularizedAutoEncoderScore

rng = np.random.default_rng(0)
images = load_digits().data
X = images + rng.uniform(size=images.shape)
train, test = train_test_split(X, test_size=0.2, random_state=0)
max_components, max_iter, denoiser_iter, n_copies = 16, 300, 1000, 4
options = [(k, r) for k in (1, 2, 5, 10, 20, 30) for r in (0.1, 0.3, 1.0)]
n_chains, n_warmup, n_draws = 64, 512, 500
n_torn, n_completions = 100, 100
# sphinx_gallery_start_ignore
import os  # noqa: E402

if os.environ.get("SKRAE_QUICK") == "1":  # a short run, to see the script at work
    train, test, options = train[:500], test[:100], options[:6]
    max_components, max_iter, denoiser_iter, n_copies = 4, 20, 30, 1
    n_chains, n_warmup, n_draws, n_torn, n_completions = 16, 64, 10, 12, 20
# sphinx_gallery_end_ignore
# Rows of the training part that choose the options of the peers.
fitted, validation = train_test_split(train, test_size=0.2, random_state=1)


def rmse(guess, truth):
    """Root mean squared error of pixels, in grey levels."""
    return np.sqrt(np.mean((guess - truth) ** 2))


# %%
# Held-out likelihood
# -------------------
# Each pixel is scaled by its own spread (`scaling="standardize"`) and not mixed with others, for
# the corners hardly vary and the middle does. A few components are enough for 1437 images in 64
# columns; what they leave is the network's to learn. The mixture of scikit-learn has its number of
# components and its ridge chosen on rows it was not fitted to.
model = RegularizedAutoEncoderScore(
    noise_level=0.25,
    scaling="standardize",
    max_components=max_components,
    max_mixtures=1,
    max_iter=max_iter,
    random_state=0,
).fit(train)


def mixture(n_components, ridge):
    return GaussianMixture(n_components, reg_covar=ridge, random_state=0)


best = max(options, key=lambda option: mixture(*option).fit(fitted).score(validation))
peer = mixture(*best).fit(train)

print("mean log-likelihood of held-out images, nats per image")
print(f"skrae                 {model.score(test):8.2f}")
print(f"its base alone        {model.base_log_density(test).mean():8.2f}")
print(f"GaussianMixture({best[0]:2d})   {peer.score(test):8.2f}")

# %%
# The extremes of the held-out images by their log density, and new images. Likely is mostly a plain
# 0, 4 or 6; unlikely is ink where hardly any image has it, as in a long stroke to the edge. The
# chains behind the new images mix slowly in 64 columns, which R-hat tells: some look like no digit.
order = np.argsort(model.score_samples(test))
sampler = RAESampler(model, n_chains=n_chains, n_warmup=n_warmup, random_state=0)
with warnings.catch_warnings():
    # Of R-hat, which is printed: a row of images asks for no more than different chains.
    warnings.simplefilter("ignore", ConvergenceWarning)
    chains = sampler.sample_chains(n_draws)
new = chains.draws[:, -1]
rhat, ess = chains.rhat().max(), chains.ess().min()
print(f"chains of new images: R-hat {rhat:.2f}, effective sample size {ess:.0f}")


def show(panels, rows, label):
    """A row of images, dark where the pen was, on one scale of grey."""
    for panel, row in zip(panels, rows, strict=False):
        panel.imshow(row.reshape(8, 8), cmap="gray_r", vmin=0.0, vmax=17.0, interpolation="nearest")
    panels[0].set_ylabel(label, rotation=0, ha="right", va="center", fontsize=10, labelpad=8)


def gallery(lines):
    """Rows of 12 images with a label each, in one picture; None leaves a gap."""
    heights = [0.35 if line is None else 1.0 for line in lines]
    figure, panels = plt.subplots(
        len(lines), 12, figsize=(9.6, 0.68 * sum(heights) + 0.2), height_ratios=heights
    )
    figure.subplots_adjust(left=0.17, right=0.995, top=0.99, bottom=0.01, wspace=0.08, hspace=0.08)
    for panel in panels.flat:
        panel.set(xticks=[], yticks=[], facecolor="#dce6f0")  # seen where pixels are missing
        panel.spines[:].set_color("0.8")
    for line, row_of_panels in zip(lines, panels, strict=True):
        if line is None:
            for panel in row_of_panels:
                panel.set_axis_off()
        else:
            show(row_of_panels, line[1], line[0])


gallery(
    [
        ("images", test),
        ("new images", new),
        None,
        ("most likely", test[order[::-1]]),
        ("least likely", test[order]),
    ],
)

# %%
# Removing noise
# --------------
# Noise of standard deviation 4, a quarter of the range, is far more than the width of the density
# learned above. The paper's auto-encoder is made for it: `decoder="free"` with
# `calibration_weight=0` learns r(y), the mean of the clean images that may have led to the noisy
# image y, and nothing else. It wants isotropic noise and no scaling; in units of the noise, its
# `noise_level` is 1. Four copies of each image average over the uniform noise. As a density this
# fit is nothing new (its `network_gain_` is 0): noise so coarse blurs every image.
#
# PCA is the usual linear remedy: keep the best few components. Its rank is chosen on noisy images
# of the training part.
noise = 4.0
copies = np.floor(np.tile(train, (n_copies, 1)))
copies += rng.uniform(size=copies.shape)
denoiser = RegularizedAutoEncoderScore(
    noise_level=1.0,
    decoder="free",
    calibration_weight=0.0,
    base_density="gaussian",
    scaling=None,
    max_iter=denoiser_iter,
    random_state=0,
).fit(copies / noise)

noisy = test + noise * rng.standard_normal(test.shape)
clean = noise * denoiser.reconstruct(noisy / noise)


def by_pca(rank, rows, noisy):
    """Noisy rows projected on the first components of other rows."""
    pca = PCA(rank, random_state=0).fit(rows)
    return pca.inverse_transform(pca.transform(noisy))


noisy_validation = validation + noise * rng.standard_normal(validation.shape)
ranks = range(2, 41, 2)
rank = min(ranks, key=lambda k: rmse(by_pca(k, fitted, noisy_validation), validation))
linear = by_pca(rank, train, noisy)
print("error of noisy held-out images, grey levels (of 16)")
print(f"as they are           {rmse(noisy, test):8.2f}")
print(f"reconstruct           {rmse(clean, test):8.2f}")
print(f"PCA of rank {rank:2d}        {rmse(linear, test):8.2f}")

# %%
# The lower half
# --------------
# The lower 32 pixels are taken away. `sample_conditional` draws them given the upper half: each
# draw is a possible image, and the draws differ where the upper half leaves open what follows.
# Their mean is the best guess in squared error, which is what the table compares; a picture of the
# mean is blurred where the draws differ, and rightly so. The mean of the nearest neighbours guesses
# about as well; what it cannot tell is how wrong it may be, as the intervals of the draws do.
torn = test[:n_torn].copy()
torn[:, 32:] = np.nan
with warnings.catch_warnings():
    warnings.simplefilter("ignore", ConvergenceWarning)  # of a few rows that mix slowly
    draws = sampler.sample_conditional(torn, n_completions)
guess = draws.mean(axis=1)
half = np.where(np.arange(64) < 32, validation, np.nan)
sizes = (2, 3, 5, 8, 12, 20)
knn = {k: KNNImputer(n_neighbors=k).fit(fitted).transform(half) for k in sizes}
n_neighbors = min(sizes, key=lambda k: rmse(knn[k][:, 32:], validation[:, 32:]))
neighbours = KNNImputer(n_neighbors=n_neighbors).fit(train).transform(torn)
low, high = np.percentile(draws, [5, 95], axis=1)
inside = np.mean(((low <= test[:n_torn]) & (test[:n_torn] <= high))[:, 32:])
print("error of the lower half, grey levels")
print(f"mean of the draws     {rmse(guess[:, 32:], test[:n_torn, 32:]):8.2f}")
print(f"KNNImputer({n_neighbors:2d})        {rmse(neighbours[:, 32:], test[:n_torn, 32:]):8.2f}")
print(f"90 % intervals of the draws hold {inside:.0%} of the pixels")

gallery(
    [
        ("noisy", noisy),
        ("reconstructed", clean),
        (f"PCA of rank {rank}", linear),
        ("image", test),
        None,
        ("upper half", torn),
        ("a draw", draws[:, 0]),
        ("another draw", draws[:, n_completions // 2]),
        ("mean of draws", guess),
        ("image", test),
    ],
)
plt.show()
