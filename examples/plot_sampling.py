"""
New rows, chains and missing values
===================================

Learn the density of ten measurements of 569 cell nuclei, draw new ones, check the chains behind
them, and fill gaps in rows with draws that know how uncertain they are.
"""

# %%
# New rows
# --------
# `RAESampler` draws from any fitted object with `score_samples`; here from the density that skrae
# learned. `sample` returns rows that are independent enough to use.
import matplotlib.pyplot as plt
import numpy as np
from sklearn.datasets import load_breast_cancer
from sklearn.impute import KNNImputer
from sklearn.model_selection import train_test_split
from sklearn.preprocessing import StandardScaler

from skrae import RAESampler, RegularizedAutoEncoderScore
from skrae.plotting import PairDisplay, TraceDisplay

data = load_breast_cancer()
names = list(data.feature_names[:10])
train, test = train_test_split(data.data[:, :10], test_size=0.25, random_state=0)

model = RegularizedAutoEncoderScore(random_state=0).fit(train)
sampler = RAESampler(model, random_state=0)
new_rows = sampler.sample(2000)
print("medians of radius, texture and perimeter in the new rows and in the table:")
print(np.round(np.median(new_rows, axis=0)[:3], 1), np.round(np.median(train, axis=0)[:3], 1))

# %%
# The chains
# ----------
# `sample_chains` keeps the draws in order, with diagnostics: R-hat near 1 says that all chains
# explored the same distribution, ESS how many independent draws they are worth.
chains = sampler.sample_chains(500)
print(f"R-hat {chains.rhat().max():.3f}, effective sample size {chains.ess().min():.0f}")
shown = ["mean radius", "mean texture", "mean smoothness", "mean concavity"]
PairDisplay.from_chains(chains, X=train, features=shown, feature_names=names)
plt.show()

# %%
# Some of the chains over their draws, from the lowest to the highest: all wander over one range.
TraceDisplay.from_chains(chains, features=shown[:2], feature_names=names)
plt.show()

# %%
# Missing values
# --------------
# A fifth of the entries of the held-out rows is taken away. `sample_conditional` draws each gap
# given the rest of its row: the mean of the draws is the best guess, their spread its error.
missing = np.random.default_rng(0).random(test.shape) < 0.2
holes = np.where(missing, np.nan, test)

draws = sampler.sample_conditional(holes, 400)
low, middle, high = np.percentile(draws, [5, 50, 95], axis=1)
scaler = StandardScaler().fit(train)
neighbours = KNNImputer().fit(scaler.transform(train)).transform(scaler.transform(holes))
neighbours = scaler.inverse_transform(neighbours)
scale = np.broadcast_to(scaler.scale_, test.shape)[missing]


def relative_error(filled):
    """Root mean squared error of the gaps, in standard deviations of their columns."""
    return np.sqrt(np.mean(((filled - test)[missing] / scale) ** 2))


covered = np.mean((low <= test)[missing] & (test <= high)[missing])
print(f"error of the gaps: {relative_error(draws.mean(axis=1)):.3f} standard deviations")
print(f"KNNImputer:        {relative_error(neighbours):.3f}")
print(f"90 % intervals hold {covered:.0%} of the true values")

# %%
# For each gap of four columns the median of its draws, the range from their 5 to their 95 %
# quantile, and the true value.
figure, axes = plt.subplots(2, 2, figsize=(9, 6.4), layout="constrained")
for ax, name in zip(axes.flat, shown, strict=True):
    j = names.index(name)
    rows = np.flatnonzero(missing[:, j])
    rows = rows[np.argsort(test[rows, j])]
    spread = [middle[rows, j] - low[rows, j], high[rows, j] - middle[rows, j]]
    place = np.arange(len(rows))
    ax.errorbar(place, middle[rows, j], spread, fmt="o", ms=4, capsize=2, label="median, 5 to 95 %")
    ax.scatter(place, test[rows, j], color="black", marker="x", zorder=3, label="true value")
    ax.set(title=name, xlabel="gap, by true value")
axes[0, 0].legend()
plt.show()
