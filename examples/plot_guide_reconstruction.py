"""
Denoising: what the reconstruction does
=======================================

A denoising auto-encoder is shown corrupted rows and asked for the clean ones. The best answer it
can give is a step up the density: that is how an auto-encoder comes to hold a
:ref:`score <two-scores>`.
"""

# %%
# Corrupt, then reconstruct
# -------------------------
# The noise is isotropic here, as in the paper, and `scaling=None` leaves the two columns as they
# are, so that sigma has their unit. The base density is a single Gaussian, so that the picture
# shows what the network has learned.
import matplotlib.pyplot as plt
import numpy as np

from skrae import RegularizedAutoEncoderScore
from skrae.datasets import Moons

blue, orange = "#31688e", "#d1602f"
plt.rcParams.update({"axes.spines.top": False, "axes.spines.right": False})

sigma = 0.2
density = Moons()
rows = density.sample(1000, random_state=0)
model = RegularizedAutoEncoderScore(
    noise_level=sigma,
    noise_covariance="isotropic",
    scaling=None,
    base_density="gaussian",
    random_state=0,
).fit(rows)

clean = density.sample(150, random_state=1)
corrupted = clean + sigma * np.random.default_rng(0).standard_normal(clean.shape)
moved = model.reconstruct(corrupted)


def error(guess):
    """Root mean squared distance from the clean rows."""
    return np.sqrt(np.mean(np.sum((guess - clean) ** 2, axis=1)))


print(f"distance from the clean rows: corrupted {error(corrupted):.3f}, r {error(moved):.3f}")

# %%
# Left: every corrupted row (dot) and where r moves it (tip of the arrow). Right: r applied again
# and again to points of a grid. They climb, and stop at the nearest place where the score is zero.
figure, (left, right) = plt.subplots(1, 2, figsize=(11, 4.2), layout="constrained")
for panel in (left, right):
    panel.scatter(*rows.T, s=5, color="0.8", linewidths=0)
    panel.set(aspect="equal", xlim=(-1.9, 2.9), ylim=(-1.4, 1.9))
left.scatter(*corrupted.T, s=10, color=blue)
left.quiver(
    *corrupted.T,
    *(moved - corrupted).T,
    **{"angles": "xy", "scale_units": "xy", "scale": 1, "color": orange, "width": 0.003},
)
left.set_title("one step, from dot to tip")

steps = [np.stack(np.meshgrid(np.linspace(-1.8, 2.8, 14), np.linspace(-1.3, 1.8, 10)), -1)]
steps[0] = steps[0].reshape(-1, 2)
for _ in range(30):
    steps.append(model.reconstruct(steps[-1]))
for path in np.stack(steps, axis=1):
    right.plot(*path.T, color=orange, linewidth=0.9)
right.scatter(*steps[0].T, s=8, color=blue, zorder=3)
right.set_title("thirty steps from a grid")
plt.show()

# %%
# The step is the score
# ---------------------
# With isotropic noise and no scaling, (r(x) - x) / sigma^2 is the gradient of `score_samples`, to
# the last digit that float32 weights allow.
step = (moved - corrupted) / (sigma**2 + model.contraction_weight)
print("largest difference:", np.abs(step - model.log_density_gradient(corrupted)).max())
