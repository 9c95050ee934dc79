"""
Imputing a missing entry: draws and their mean
==============================================

A missing entry has a distribution given the rest of its row, and not always one with a middle.
The mean of the draws is the best single guess; the draws themselves are the answer.
"""

# %%
# Rows on two interleaved moons, the second column missing. Depending on the first, one value is
# plausible, or two.
import matplotlib.pyplot as plt
import numpy as np

from skrae import RAESampler, RegularizedAutoEncoderScore
from skrae.datasets import Moons

blue, orange = "#31688e", "#d1602f"
plt.rcParams.update({"axes.spines.top": False, "axes.spines.right": False})

rows = Moons().sample(1500, random_state=0)
model = RegularizedAutoEncoderScore(max_components=16, max_iter=100, random_state=0).fit(rows)
known = np.array([-0.9, 0.0, 0.5, 1.0, 1.9])
holes = np.column_stack([known, np.full(5, np.nan)])
sampler = RAESampler(model, random_state=0)
draws = sampler.sample_conditional(holes, 400)
guess = draws.mean(axis=1)
print("known first column:", known)
print("mean of the second:", guess[:, 1].round(2))

# %%
# Dots are draws of the missing entry, crosses their mean. Where the moons overlap, the mean is a
# row that does not exist: there, use the draws.
figure, panel = plt.subplots(figsize=(8, 4.4), layout="constrained")
panel.scatter(*rows.T, s=6, color="0.8", linewidths=0, label="rows of the table")
jitter = 0.02 * np.random.default_rng(0).standard_normal(draws.shape[:2])
panel.scatter(
    (draws[..., 0] + jitter).ravel(), draws[..., 1].ravel(), s=5, color=blue, label="draws"
)
panel.scatter(*guess.T, s=90, color=orange, marker="x", linewidths=2.5, label="their mean")
panel.legend(frameon=False, loc="upper right")
panel.set(xlabel="first column, known", ylabel="second column, missing", aspect="equal")
plt.show()
