"""
How far, and how sure? The law of a number given a row
======================================================

A regression gives one number for a row. A density of rows and targets gives the law of the target:
its quantiles, its mean, how likely a value is, draws. On scikit-learn's diabetes patients it is
told what it does not know: with fewer measurements the law becomes wider, by itself.
"""

# %%
# One density for all questions
# -----------------------------
# Ten measurements of 442 patients, and the progression of the disease a year later. Blood values
# are in units of their own, sex is a category of two values.
import matplotlib.pyplot as plt
import numpy as np
from sklearn.datasets import load_diabetes
from sklearn.model_selection import train_test_split

from skrae import DensityRegressor, RegularizedAutoEncoderScore
from skrae.plotting import ConditionalDisplay, DensityDisplay

options = {"random_state": 0}
# sphinx_gallery_start_ignore
import os  # noqa: E402

if os.environ.get("SKRAE_QUICK") == "1":  # a short run, to see the script at work
    options |= {"max_components": 4, "max_mixtures": 1, "max_iter": 10}
plt.rcParams.update({"axes.spines.top": False, "axes.spines.right": False})
# sphinx_gallery_end_ignore
X, y = load_diabetes(return_X_y=True, as_frame=True, scaled=False)
train, test, y_train, y_test = train_test_split(X, y, random_state=0)

model = DensityRegressor(RegularizedAutoEncoderScore(**options)).fit(train, y_train)
print(f"log density of unseen targets {model.score(test, y_test):.2f} nats a patient")

# %%
# Along one column
# ----------------
# The law of the progression given the body mass index alone: all other measurements are integrated
# out, as a density can. Half of the patients are to lie in the darker band, nine in ten in both.
fig, axes = plt.subplots(1, 2, figsize=(9, 3.6), layout="constrained", sharey=True)
ConditionalDisplay.from_estimator(model, train, y_train, feature="bmi", ax=axes[0])
ConditionalDisplay.from_estimator(model, train, y_train, feature="s5", ax=axes[1])
axes[0].set_title("given the body mass index alone", fontsize=9)
axes[1].set_title("given the triglycerides (s5) alone", fontsize=9)

# %%
# Do the laws hold?
# -----------------
# Of each unseen patient P(Y <= y | x) is a number between 0 and 1, and all of them are spread
# evenly where the laws hold. A law that is too narrow puts too many at both ends.
u = model.predict_cdf(test, y_test)
low, high = model.predict_quantiles(test, [0.05, 0.95]).T
inside = np.mean((y_test >= low) & (y_test <= high))
print(f"between the quantiles at 5 % and 95 %: {inside:.0%} of {len(test)} patients")

fig, (left, right) = plt.subplots(1, 2, figsize=(9, 3.4), layout="constrained")
left.hist(u, np.linspace(0, 1, 11), color="#31688e", rwidth=0.9)
left.axhline(len(test) / 10, color="0.3", linewidth=1, linestyle="--")
left.set(xlabel="P(Y <= y | x) of unseen patients", ylabel="patients")

# %%
# What is not known
# -----------------
# A patient whose blood was not taken has holes. No value is made up for them: they are integrated
# out, and the law widens to what the rest can tell.
patient = test.iloc[[7]]
unknown = patient.copy()
unknown[[f"s{k}" for k in range(1, 7)]] = np.nan
progress = np.linspace(0.0, 400.0, 200)
for row, label, color in ((patient, "all measured", "#31688e"), (unknown, "no blood", "#d1602f")):
    law = model.conditional(row.loc[row.index.repeat(200)])
    right.plot(progress, np.exp(law.score_samples(progress)), color=color, label=label)
    print(
        f"{label}: mean {model.predict(row)[0]:.0f}, quantiles",
        model.predict_quantiles(row).round().tolist()[0],
    )
right.axvline(y_test.iloc[7], color="0.3", linewidth=1, linestyle="--", label="what came")
right.set(xlabel="progression", ylabel="density", ylim=(0, None))
right.legend(frameon=False, fontsize=8)
plt.show()

# %%
# Any column given any others
# ---------------------------
# The density behind the regressor answers for every column: which cholesterol goes with this
# patient's other values, and how the columns are spread in pairs.
density = model.density_
law = density.conditional("s1", patient.assign(y=y_test.iloc[7]))
print(
    f"total cholesterol: {patient['s1'].iloc[0]:.0f}, expected {law.mean()[0]:.0f},"
    f" middle 90 % {law.quantile([0.05, 0.95])[0].round().tolist()}"
)
rows = train.assign(y=y_train)
display = DensityDisplay.from_estimator(density, rows, features=["bmi", "bp", "s5", "y"])
plt.show()
