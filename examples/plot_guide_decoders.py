"""
The three decoders
==================

The same rows, the same noise, three ways to build r: from the gradient of a density, as a free
encoder and decoder, and with tied weights.
"""

# %%
# Fit and compare
# ---------------
# Isotropic noise and a single Gaussian as base density, so that the three differ in nothing but r.
# The error is that of undoing the noise on new rows.
import matplotlib.pyplot as plt
import numpy as np

from skrae import RegularizedAutoEncoderScore
from skrae.datasets import Moons

orange = "#d1602f"

sigma = 0.2
density = Moons()
rows, test = density.sample(1000, random_state=0), density.sample(2000, random_state=1)
noisy = test + sigma * np.random.default_rng(0).standard_normal(test.shape)

models = {}
print("decoder   log density   denoising error   curl    size of the code")
for decoder in ("gradient", "free", "tied"):
    models[decoder] = model = RegularizedAutoEncoderScore(
        decoder=decoder,
        noise_level=sigma,
        noise_covariance="isotropic",
        base_density="gaussian",
        scaling=None,
        random_state=0,
    ).fit(rows)
    error = np.sqrt(np.mean(np.sum((model.reconstruct(noisy) - test) ** 2, axis=1)))
    code = model.transform(test).shape[1]
    print(f"{decoder:10}{model.score(test):11.2f}{error:18.3f}{model.curl_:10.3f}{code:12d}")
print(f"noisy rows{'':11}{np.sqrt(np.mean(np.sum((noisy - test) ** 2, axis=1))):18.3f}")

# %%
# Contours: the log density of each model. Arrows: r(x) - x.
axes = np.linspace(-1.9, 2.9, 120), np.linspace(-1.4, 1.9, 90)
fine = np.stack(np.meshgrid(*axes), axis=-1)
coarse = np.stack(np.meshgrid(axes[0][4::8], axes[1][4::8]), axis=-1).reshape(-1, 2)
figure, panels = plt.subplots(
    1, 3, figsize=(13, 3.5), sharex=True, sharey=True, layout="constrained"
)
for panel, (decoder, model) in zip(panels, models.items(), strict=True):
    heights = model.score_samples(fine.reshape(-1, 2)).reshape(fine.shape[:2])
    panel.contourf(*axes, heights, heights.max() + np.arange(-8, 0.5, 0.5), cmap="Blues")
    step = model.reconstruct(coarse) - coarse
    panel.quiver(*coarse.T, *step.T, angles="xy", scale_units="xy", scale=2, color=orange)
    panel.set(title=decoder, aspect="equal")
plt.show()

# %%
# Only the free and the tied decoder can turn a code back into a point.
codes = models["free"].transform(test)
decoded = models["free"].inverse_transform(codes)
print(
    "decoding the code gives r:", np.allclose(decoded, models["free"].reconstruct(test), atol=1e-5)
)
