"""
Dice, and other densities of largest entropy
============================================

What is to be believed of a quantity of which only a few means are known? Of all densities with
these means, the one of largest entropy says nothing that they do not say.
"""

# %%
# A die
# -----
# A fair die shows 3.5 on average. Of one that shows 4.5 nothing else is known: Jaynes' answer is
# that the weights of its faces are exp(theta k) / Z, with the theta that gives the mean. The
# further the mean is from 3.5, the less entropy is left.
import matplotlib.pyplot as plt
import numpy as np
from scipy.stats import truncnorm

from skrae import MaximumEntropyDensity

faces = np.arange(1, 7)
figure, panels = plt.subplots(1, 2, figsize=(8.5, 3), layout="constrained")
print("mean   multiplier   entropy   weights of the faces")
for mean in (3.5, 4.5, 5.5):
    die = MaximumEntropyDensity("mean", targets=[mean], support=faces).fit()
    weights = np.exp(die.score_samples(faces[:, None]))
    panels[0].plot(faces, weights, "o-", label=f"mean {mean}")
    listed = " ".join(f"{weight:.3f}" for weight in weights)
    print(f"{mean:4.1f}   {die.multipliers_[0]:10.3f}   {die.entropy_:7.3f}   {listed}")
panels[0].set(xlabel="face", ylabel="weight", title="A die of given mean", ylim=0)
panels[0].legend()

tossed = die.sample(10, random_state=1)[:, 0].astype(int)
print(f"ten tosses of the last: {tossed.tolist()}")

# %%
# A mean and a variance
# ---------------------
# On the whole line the density of largest entropy with a mean and a variance is the normal one, on
# an interval the truncated normal density. Here the rows are draws of one between 0 and 5 and say
# the means themselves; the fit finds the density that they come from, as well as a few hundred rows
# can tell. With the mean alone on the half-line it would be exponential, which is another belief:
# which moments are asked for is the model.
low, high, middle, spread = 0.0, 5.0, 1.0, 1.5
law = truncnorm((low - middle) / spread, (high - middle) / spread, middle, spread)
X = law.rvs((400, 1), random_state=0)
grid = np.linspace(low, high, 300)[:, None]
models = {
    "mean and variance, on (0, 5)": MaximumEntropyDensity(("mean", "variance"), support=(0, 5)),
    "mean, on (0, inf)": MaximumEntropyDensity("mean", support=(0, np.inf)),
    "mean and variance, on the line": MaximumEntropyDensity(("mean", "variance")),
}
panels[1].hist(X[:, 0], 25, density=True, color="0.85")
panels[1].plot(grid, law.pdf(grid), color="black", lw=1, label="the law of the rows")
print("\nmoments and support              log-likelihood   entropy   method")
for name, model in models.items():
    model.fit(X)
    panels[1].plot(grid, np.exp(model.score_samples(grid)), label=name)
    print(f"{name:32s} {model.score(X):14.3f}   {model.entropy_:7.3f}   {model.method_}")
panels[1].set(xlabel="x", title="400 rows, and three beliefs about them", ylim=(0, 0.85))
panels[1].legend(fontsize="small")
plt.show()

# %%
# The mean log-likelihood of the rows is minus the entropy, to the last digit: a density of this
# form has no other mean of log p than what its moments fix. Each further moment that is met lowers
# the entropy, and so raises the likelihood.
