"""
Isotropic and local noise
=========================

Most tables have narrow and wide places. Noise of one size is too much for the one or too little
for the other; local noise takes its size and direction from the part of the density that a row
belongs to.
"""

# %%
# A narrow cluster beside a wide one
# ----------------------------------
# What a denoiser learns is the density of the corrupted rows. For a mixture of Gaussians it is a
# mixture again, so that the loss can be had without any fit: isotropic noise adds sigma^2 to the
# variances of every component, local noise widens each in proportion.
import matplotlib.pyplot as plt
import numpy as np

from skrae.datasets import MixtureOfGaussians

blue, orange = "#31688e", "#d1602f"
plt.rcParams.update({"axes.spines.top": False, "axes.spines.right": False})

weights, means = [0.4, 0.6], [[-2.0, 0.0], [1.5, 0.0]]
covariances = np.array([[[0.03, 0.028], [0.028, 0.03]], [[1.0, -0.5], [-0.5, 1.0]]])
density = MixtureOfGaussians(weights, means, covariances)


def corruption(kind, sigma):
    """Covariances of the noise at the rows of each component."""
    return sigma**2 * (np.stack([np.eye(2)] * 2) if kind == "isotropic" else covariances)


test = density.sample(20_000, random_state=1)
print("nats lost to the noise   " + "".join(f"sigma={sigma:<6}" for sigma in (0.1, 0.25, 0.5)))
for kind in ("isotropic", "local"):
    lost = []
    for sigma in (0.1, 0.25, 0.5):
        blurred = MixtureOfGaussians(weights, means, covariances + corruption(kind, sigma))
        lost.append(np.mean(density.log_density(test) - blurred.log_density(test)))
    print(kind.ljust(24), "".join(f"{value:<12.3f}" for value in lost))

# %%
# Rows (grey), the same rows corrupted with sigma = 0.25 (dots), and the density of corrupted rows
# (lines). Isotropic noise has drowned the narrow cluster and hardly touched the wide one.
sigma = 0.25
rng = np.random.default_rng(0)
labels = rng.choice(2, size=500, p=weights)
factors = np.linalg.cholesky(covariances)
rows = np.array(means)[labels] + np.einsum(
    "nij,nj->ni", factors[labels], rng.standard_normal((500, 2))
)
axes = np.linspace(-3.4, 4.6, 200), np.linspace(-3, 3, 150)
fine = np.stack(np.meshgrid(*axes), axis=-1).reshape(-1, 2)

figure, panels = plt.subplots(1, 2, figsize=(10, 4), sharex=True, sharey=True, layout="constrained")
for panel, kind in zip(panels, ("isotropic", "local"), strict=True):
    noise = corruption(kind, sigma)
    steps = np.linalg.cholesky(noise)[labels] @ rng.standard_normal((500, 2, 1))
    panel.scatter(*rows.T, s=8, color="0.75", linewidths=0)
    panel.scatter(*(rows + steps[..., 0]).T, s=6, color=orange, linewidths=0)
    blurred = MixtureOfGaussians(weights, means, covariances + noise)
    heights = blurred.log_density(fine).reshape(150, 200)
    levels = heights.max() - np.array([6, 4.5, 3, 1.5, 0.5])
    panel.contour(*axes, heights, levels, colors=blue, linewidths=0.9, linestyles="solid")
    panel.set(title=f"{kind} noise", aspect="equal", xlabel="first column")
panels[0].set_ylabel("second column")
plt.show()
