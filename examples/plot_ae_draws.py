"""
New digits from codes
=====================

An auto-encoder becomes a generator once the density of its codes is known: draw a code, decode it.
A large entropy makes that density normal; a mixture takes the codes as they are. The way between
two images leads through codes too.
"""

# %%
# Four generators
# ---------------
# - The entropic auto-encoder (Ghose, Rashwan & Poupart 2020) spreads its codes as a normal law
#   does (`entropy_weight=1`) and draws them from one (``code_density="normal"``).
# - By default `AutoEncoder` asks nothing of its codes, and fits a mixture of Gaussians to them.
# - PCA and `GaussianMixture` do the same with a plane, the number of components by BIC.
# - `RegularizedAutoEncoderScore` has no code. It learns the density of all pixels and draws from
#   it. Pixels are counts from 0 to 16, to which uniform noise is added first, as in
#   :ref:`sphx_glr_auto_examples_plot_digits.py`.
import matplotlib.pyplot as plt
import numpy as np
from scipy.stats import chi2, wasserstein_distance
from sklearn.datasets import load_digits
from sklearn.decomposition import PCA
from sklearn.mixture import GaussianMixture
from sklearn.model_selection import train_test_split
from sklearn.neighbors import NearestNeighbors

from skrae import AutoEncoder, RegularizedAutoEncoderScore
from skrae.metrics import knn_entropy

X, y = load_digits(return_X_y=True)
X = X / 16
train, test, y_train, y_test = train_test_split(X, y, test_size=0.3, random_state=0, stratify=y)
rng = np.random.default_rng(0)
options = {"random_state": 0}
density_options = {"max_components": 16, "max_mixtures": 1, "max_iter": 300, "noise_level": 0.25}
# sphinx_gallery_start_ignore
import os  # noqa: E402

if os.environ.get("SKRAE_QUICK") == "1":  # a short run, to see the script at work
    options = {"random_state": 0, "max_iter": 200, "batch_size": 64, "hidden_layer_sizes": 64}
    density_options |= {"max_components": 2, "max_iter": 20}
    train, y_train = train[:200], y_train[:200]
# sphinx_gallery_end_ignore
n = len(train)
entropic = AutoEncoder(10, entropy_weight=1.0, code_density="normal", **options).fit(train)
plain = AutoEncoder(10, **options).fit(train)
pca = PCA(10, random_state=0).fit(train)
mixtures = (GaussianMixture(size, random_state=0) for size in (1, 2, 4, 8, 16))
codes = pca.transform(train)
mixture = min((m.fit(codes) for m in mixtures), key=lambda m: m.bic(codes))
density = RegularizedAutoEncoderScore(scaling="standardize", random_state=0, **density_options)
density.fit(16 * train + rng.uniform(size=train.shape))

# %%
# How far draws are from images
# -----------------------------
# Images and draws are projected on random directions; the mean of their distances along them is
# the sliced Wasserstein distance from images that were not fitted. Here 1 is the distance of the
# training images, as many as there are draws. Codes are decoded alone, with the noise that
# `sample` adds (for PCA of the residual variance of each pixel), and rounded to 17 levels of grey.
directions = rng.standard_normal((64, 500))
directions /= np.linalg.norm(directions, axis=0)


def distance(rows):
    """Mean distance from held-out images along random directions."""
    pairs = zip((rows @ directions).T, (test @ directions).T, strict=True)
    return np.mean([wasserstein_distance(*pair) for pair in pairs])


def as_images(rows):
    """The nearest images of 17 levels of grey."""
    return np.clip(np.round(16 * rows), 0, 16) / 16


def new_codes(mixture):
    """Codes in random order, which scikit-learn's mixtures draw component by component."""
    return rng.permutation(mixture.sample(n)[0])


plane = pca.inverse_transform(new_codes(mixture))
spread = (train - pca.inverse_transform(codes)).std(axis=0)
decoded, drawn = {"PCA, mixture": plane}, {}
for name, model in {"entropic": entropic, "mixture": plain}.items():
    decoded[name] = model.inverse_transform(new_codes(model.code_density_))
    drawn[name] = model.sample(n, random_state=0)
drawn["PCA, mixture"] = plane + spread * rng.standard_normal(plane.shape)
drawn["density"] = (density.sample(n, random_state=0) - 0.5) / 16

one = distance(train)
print("draws           decoded alone   as drawn   rounded")
for name, rows in drawn.items():
    alone = f"{distance(decoded[name]) / one:.2f}" if name in decoded else "-"
    print(
        f"{name:15s}{alone:>14s}{distance(rows) / one:11.2f}{distance(as_images(rows)) / one:10.2f}"
    )

# %%
# The mixture takes the codes as they are and comes nearest. Normal draws of the entropic code are
# farther off than those of PCA with its mixture, once both have noise: most of what a plane lacks
# is variance. The density of all pixels has no code to lead it; on another split its wide tail drew
# a few rows far off, which rounding brings back. Round draws with noise for a picture alone: a
# pixel that is mostly white is then pushed up and never down, and images become too dark.
shown = {"images": test, "entropic": drawn["entropic"], "mixture": drawn["mixture"]}
shown |= {"without noise": decoded["mixture"], "density": as_images(drawn["density"])}
shown["PCA, mixture"] = drawn["PCA, mixture"]


def show(panel, image):
    """An image, dark where the pen was."""
    panel.imshow(image.reshape(8, 8), cmap="gray_r", vmin=0, vmax=1, interpolation="nearest")
    panel.set(xticks=[], yticks=[])
    panel.spines[:].set_color("0.8")


figure, panels = plt.subplots(len(shown), 14, figsize=(9.6, 4.3), layout="constrained")
for line, (name, rows) in zip(panels, shown.items(), strict=True):
    for panel, image in zip(line, rows, strict=False):
        show(panel, image)
    line[0].set_ylabel(name, rotation=0, ha="right", va="center", labelpad=8)

# %%
# Why the noise
# -------------
# What is decoded is the mean of the images that share a code. Rows vary about it, and draws without
# that part vary too little. `sample` adds to each pixel the variance that decoded draws lack,
# `noise_variance_`, at most that of the residuals:
print("variance, all pixels   images   decoded   noise   residuals")
for name, model in {"entropic": entropic, "mixture": plain}.items():
    parts = decoded[name].var(axis=0), model.noise_variance_, model.residual_variance_
    told = "".join(f"{part.sum():9.2f}" for part in parts)
    print(f"{name:20s}{train.var(axis=0).sum():9.2f}{told}")

# %%
# Without noise images look cleaner and vary too little. For pictures decode codes of
# `code_density_`; for rows that vary as those of the table do take `sample`.
#
# What entropy does to a code
# ---------------------------
# Of all laws with unit deviations the normal one has the largest entropy. A code of as much is
# spread as normal draws are, with no holes that would be drawn from. It costs reconstruction. Codes
# of two numbers show it; circles hold 50, 90 and 99 % of normal draws.
weights = (0, 1, 10)
coders = [
    AutoEncoder(2, entropy_weight=w, code_density="normal", **options).fit(train) for w in weights
]
angle = np.linspace(0, 2 * np.pi, 200)
figure, panels = plt.subplots(1, 3, figsize=(11, 4), sharex=True, sharey=True, layout="constrained")
for panel, weight, model in zip(panels, weights, coders, strict=True):
    u = model.transform(train)
    u = (u - u.mean(axis=0)) / u.std(axis=0)
    dots = panel.scatter(*u.T, c=y_train, cmap="tab10", s=5, vmin=-0.5, vmax=9.5)
    for share in (0.5, 0.9, 0.99):
        radius = np.sqrt(chi2.ppf(share, 2))
        panel.plot(radius * np.cos(angle), radius * np.sin(angle), color="0.3", linewidth=0.8)
    panel.set_title(f"entropy_weight={weight}\n$R^2$ of held-out images {model.score(test):.2f}")
    panel.set(aspect="equal", xlabel="unit 0")
panels[0].set_ylabel("unit 1")
figure.colorbar(dots, ax=panels[2], label="digit", ticks=range(10), shrink=0.75)

# %%
# The same for the codes of ten numbers above, of held-out images: their entropy in nats, that of as
# many normal draws by the same estimate, and R^2.
normal = knn_entropy(rng.standard_normal((len(test), 10)))
print("code         entropy   of normal draws   R^2")
for name, model in {"plain": plain, "entropic": entropic}.items():
    u = model.transform(test)
    entropy = knn_entropy((u - u.mean(axis=0)) / u.std(axis=0))
    print(f"{name:10s}{entropy:10.2f}{normal:18.2f}{model.score(test):6.2f}")

# %%
# A plain code has holes, and a normal density draws from them. With the weight 1 fewer are left, at
# hardly any cost. The weight 10 spreads a code of two numbers all over the circles, digits mixed,
# and gives up a third of R^2 for that. A mixture asks for nothing of the kind.
#
# From one image to another
# -------------------------
# Between two images: a cross-fade of their pixels, and what is decoded between their codes. The
# ends of the latter are reconstructions.
pairs = [(1, 0), (2, 4), (3, 6)]
steps = np.linspace(0, 1, 9)[:, None]
figure = plt.figure(figsize=(7.6, 8), layout="constrained")
for part, pair in zip(figure.subfigures(3, hspace=0.04), pairs, strict=True):
    ends = test[[(y_test == digit).argmax() for digit in pair]]
    strips = {"pixels": (1 - steps) * ends[0] + steps * ends[1]}
    for name, model in {"codes": plain, "entropic": entropic}.items():
        first, last = model.transform(ends)
        strips[name] = model.inverse_transform((1 - steps) * first + steps * last)
    for line, (name, images) in zip(part.subplots(3, 9), strips.items(), strict=True):
        for panel, image in zip(line, images, strict=True):
            show(panel, image)
        line[0].set_ylabel(name, rotation=0, ha="right", va="center", labelpad=8)

# %%
# Do they look like digits half-way? The distance of the middle from the nearest training image, a
# mean over pairs of different digits:
search = NearestNeighbors(n_neighbors=1).fit(train)
first, last = rng.integers(len(test), size=(2, 2000))
differ = y_test[first] != y_test[last]
first, last = first[differ], last[differ]
middles = {"pixels": (test[first] + test[last]) / 2}
for name, model in {"codes": plain, "entropic": entropic}.items():
    found = model.transform(test)
    middles[name] = model.inverse_transform((found[first] + found[last]) / 2)
print(f"held-out images {search.kneighbors(test)[0].mean():.2f}")
for name, rows in middles.items():
    print(f"middle, {name:8s}{search.kneighbors(rows)[0].mean():.2f}")

# %%
# Codes may lead by other digits, as from 1 to 0 by an 8, where pixels overlay the two; an entropic
# code is the better way, since it was spread over what lies between. No way stays among images
# throughout.
plt.show()
