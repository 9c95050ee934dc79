"""
Denoising and inpainting digits
===============================

An auto-encoder that was fitted to corrupted rows gives the clean ones back. Against noise it does
better than PCA; missing pixels are filled as well, or better, by the mean of near neighbours.
"""

# %%
# Removing noise
# --------------
# With `noise_level` the encoder sees rows with fresh noise at every step, and the decoder is asked
# for the clean ones. Pixels are in one unit and not scaled, so that the noise level is in theirs, 0
# to 1. The rank of PCA is the one of least error on other noisy images.
import matplotlib.pyplot as plt
import numpy as np
from sklearn.datasets import load_digits
from sklearn.decomposition import PCA
from sklearn.impute import KNNImputer
from sklearn.model_selection import train_test_split

from skrae import AutoEncoder

rng = np.random.default_rng(0)
X = load_digits().data / 16
train, test = train_test_split(X, test_size=0.3, random_state=0)
fitted, validation = train_test_split(train, test_size=0.2, random_state=1)
levels, options = (0.1, 0.25), {"random_state": 0}
# sphinx_gallery_start_ignore
import os  # noqa: E402

if os.environ.get("SKRAE_QUICK") == "1":  # a short run, to see the script at work
    levels = (0.25,)
    options = {"random_state": 0, "max_iter": 1000, "batch_size": 64, "hidden_layer_sizes": 128}
# sphinx_gallery_end_ignore


def rmse(guess, truth):
    """Root mean squared error of pixels."""
    return np.sqrt(np.mean((guess - truth) ** 2))


def by_pca(rank, rows, noisy):
    """Noisy rows on the first components of other rows."""
    pca = PCA(rank, random_state=0).fit(rows)
    return pca.inverse_transform(pca.transform(noisy))


print("noise    as it is     PCA (rank)   auto-encoder")
for level in levels:
    noisy, noisy_validation = (
        rows + level * rng.standard_normal(rows.shape) for rows in (test, validation)
    )
    errors = {k: rmse(by_pca(k, fitted, noisy_validation), validation) for k in range(2, 41, 2)}
    rank = min(errors, key=errors.get)
    linear = by_pca(rank, train, noisy)
    denoiser = AutoEncoder(32, noise_level=level, **options).fit(train)
    clean = denoiser.reconstruct(noisy)
    print(
        f"{level:5.2f}      {rmse(noisy, test):.3f}     {rmse(linear, test):.3f}  ({rank:2d})"
        f"          {rmse(clean, test):.3f}"
    )

# %%
# Missing pixels
# --------------
# `noise="masking"` sets pixels to their mean while it learns, which is what `impute` reads a
# missing one as. A share of 0.3 of the pixels is missing at random, or a block of 4 x 4.
inpainter = AutoEncoder(32, noise="masking", noise_level=0.3, **options).fit(train)
scattered = np.where(rng.random(test.shape) < 0.3, np.nan, test)
corners = rng.integers(0, 5, (len(test), 2, 1))
blocks = (np.arange(8) >= corners) & (np.arange(8) < corners + 4)  # rows and columns of the block
torn = np.where((blocks[:, 0, :, None] & blocks[:, 1, None, :]).reshape(test.shape), np.nan, test)
neighbours = KNNImputer(n_neighbors=5).fit(train)

print("error of the missing pixels    column means   KNNImputer   auto-encoder")
filled = {}
for name, rows in (("at random", scattered), ("a block", torn)):
    missing = np.isnan(rows)
    filled[name] = neighbours.transform(rows), inpainter.impute(rows)
    guesses = np.broadcast_to(train.mean(axis=0), test.shape), *filled[name]
    errors = [rmse(guess[missing], test[missing]) for guess in guesses]
    print(f"{name:30s}        {errors[0]:.3f}        {errors[1]:.3f}          {errors[2]:.3f}")

# %%
# For missing entries `sklearn.impute.KNNImputer` is as good as the auto-encoder, or better, and
# has nothing to tune: take it where one guess will do, and `RAESampler.impute` where the
# uncertainty of the guess is wanted. What `AutoEncoder.impute` has for it is that it comes with
# the code, and that a row costs the same however many rows were fitted.
lines = {
    "image": test,
    "noisy": noisy,
    "PCA": linear,
    "auto-encoder": clean,
    "block missing": torn,
    "KNNImputer": filled["a block"][0],
    "auto-encoder ": filled["a block"][1],
}
figure, panels = plt.subplots(len(lines), 10, figsize=(8.5, 6), layout="constrained")
for line, (name, images) in zip(panels, lines.items(), strict=True):
    for panel, image in zip(line, images, strict=False):
        panel.imshow(image.reshape(8, 8), cmap="gray_r", vmin=0, vmax=1, interpolation="nearest")
        panel.set(xticks=[], yticks=[], facecolor="#dce6f0")  # seen where pixels are missing
        panel.spines[:].set_color("0.8")
    line[0].set_ylabel(name, rotation=0, ha="right", va="center", labelpad=8)
plt.show()
