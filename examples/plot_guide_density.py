"""
Calibration: from a score to a density
======================================

Denoising teaches a network the :ref:`score <two-scores>` where corrupted rows fall. Between two
clusters there are none, so nothing says how high one stands against the other. Calibration against
a base density does.
"""

# %%
# Two clusters far apart
# ----------------------
# Three rows in four belong to the left cluster. The same network is fitted by denoising alone, the
# criterion of the paper (`calibration_weight=0`), and with calibration, from two random starts
# each. The base density is one broad Gaussian, so that all that is known of the clusters is
# learned.
import matplotlib.pyplot as plt
import numpy as np

from skrae import RegularizedAutoEncoderScore
from skrae.datasets import MixtureOfGaussians

colors = {0.0: "#31688e", 4.0: "#d1602f"}
names = {0.0: "denoising alone", 4.0: "calibrated"}
plt.rcParams.update({"axes.spines.top": False, "axes.spines.right": False})

density = MixtureOfGaussians([0.75, 0.25], [[-2.0], [2.0]], [[0.09]])
rows, test = density.sample(1000, random_state=0), density.sample(5000, random_state=1)
x = np.linspace(-3.4, 3.4, 801)[:, None]
left_half = x[:, 0] < 0

models = []
print(f"held-out log density of the truth: {density.log_density(test).mean():.2f}")
for weight, name in names.items():
    for seed in (0, 1):
        model = RegularizedAutoEncoderScore(
            noise_level=0.05,
            noise_covariance="isotropic",
            base_density="gaussian",
            calibration_weight=weight,
            hidden_layer_sizes=(64, 64),
            random_state=seed,
        ).fit(rows)
        models.append((model, weight, seed))
        share = np.trapezoid(np.exp(model.score_samples(x))[left_half], x[left_half, 0])
        print(f"{name}: {model.score(test):.2f}, share of the left cluster {share:.2f}")

# %%
# Left: where most rows are (ticks) the scores follow the truth. Right: their integrals. Between and
# beside the clusters denoising alone has no say; what the network does there, another thing from
# another start, sets their shares and may add density of its own.
figure, (left, right) = plt.subplots(1, 2, figsize=(11, 3.8), layout="constrained")
left.plot(x, density.gradient(x), color="black", linewidth=3, alpha=0.3)
right.fill_between(x[:, 0], np.exp(density.log_density(x)), color="0.85", label="truth")
for model, weight, seed in models:
    style = {"color": colors[weight], "linestyle": "--" if seed else "-"}
    left.plot(x, model.log_density_gradient(x), **style)
    label = None if seed else names[weight]
    right.plot(x, np.exp(model.score_samples(x)), label=label, **style)
left.plot(rows[::5], np.full(200, -19), "|", color="0.4", markersize=6)
left.set(title="score", xlabel="x", ylim=(-20, 20))
right.set(title="density", xlabel="x")
right.legend(frameon=False)
plt.show()
