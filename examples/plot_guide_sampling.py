"""
Local moves and the independence proposal
=========================================

A chain that only takes small steps stays in the mode where it began, and looks healthy. Chains
that now and then propose a draw of a base density visit every mode, in its share.
"""

# %%
# Two modes with nothing between
# ------------------------------
# Any object with `score_samples` can be sampled; here a density that is known, so that the right
# answer is known too: seven rows in ten belong to the right-hand mode.
import textwrap
import warnings

import matplotlib.pyplot as plt
import numpy as np

from skrae import RAESampler
from skrae.datasets import MixtureOfGaussians

blue, orange = "#31688e", "#d1602f"
plt.rcParams.update({"axes.spines.top": False, "axes.spines.right": False})

density = MixtureOfGaussians([0.3, 0.7], [[-5.0, 0.0], [5.0, 0.0]], np.eye(2))


class Target:
    """The two methods that the sampler asks for."""

    def score_samples(self, X):
        return density.log_density(X)

    def log_density_gradient(self, X):
        return density.gradient(X)


# %%
# The same 16 starts for both, half of them in each mode. The independence proposal draws from
# `base_density`, which may be rows: here a rough sample, whose shares of the modes are wrong on
# purpose. Two chains of each run are drawn, the one with the lowest and the one with the highest
# mean.
starts = np.repeat(density.means, 8, axis=0)
rough = MixtureOfGaussians([0.5, 0.5], density.means, 2 * np.eye(2)).sample(500, random_state=0)
options = {"n_chains": 16, "init": starts, "random_state": 0}
samplers = {
    "local moves alone": RAESampler(Target(), proposal="langevin", base_density=None, **options),
    "local moves and independence proposals": RAESampler(Target(), base_density=rough, **options),
}

figure, panels = plt.subplots(2, 1, figsize=(9, 4.6), sharex=True, layout="constrained")
for panel, (name, sampler) in zip(panels, samplers.items(), strict=True):
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        chains = sampler.sample_chains(400)
    share = np.mean(chains.draws[..., 0] > 0)
    print(f"{name}: R-hat {chains.rhat()[0]:.3f}, {share:.0%} of the draws on the right")
    for warning in caught:
        message = f"{warning.category.__name__}: {warning.message}"
        print(textwrap.fill(message, 90, initial_indent="    ", subsequent_indent="    "))
    order = chains.draws[..., 0].mean(axis=1).argsort()
    for chain, color in zip(order[[0, -1]], (blue, orange), strict=True):
        panel.plot(chains.draws[chain, :, 0], color=color, linewidth=0.8)
    panel.set(title=name, ylabel="first column")
panels[-1].set_xlabel("draw")
plt.show()
