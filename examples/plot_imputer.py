"""
Holes filled by a density
=========================

`DensityImputer` before a classifier, beside scikit-learn's imputers; and several completed tables
instead of one, which say how sure each value is.
"""

# %%
# Entries taken away
# ------------------
# Ten measures of cell nuclei (Street, Wolberg & Mangasarian 1993) in 569 rows. A quarter of all
# entries is removed at random. Imputers are fitted to training rows with these holes.
import matplotlib.pyplot as plt
import numpy as np
from sklearn.datasets import load_breast_cancer
from sklearn.experimental import enable_iterative_imputer  # noqa: F401
from sklearn.impute import IterativeImputer, KNNImputer, SimpleImputer
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import train_test_split
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from skrae import DensityImputer, RegularizedAutoEncoderScore

X, y = load_breast_cancer(return_X_y=True)
X = StandardScaler().fit_transform(X[:, :10])
missing = np.random.default_rng(0).random(X.shape) < 0.25
holed = np.where(missing, np.nan, X)
density, n_tables = RegularizedAutoEncoderScore(), 100
# sphinx_gallery_start_ignore
import os  # noqa: E402

if os.environ.get("SKRAE_QUICK") == "1":  # a short run, to see the script at work
    density = RegularizedAutoEncoderScore(max_mixtures=1, max_components=2, max_iter=10)
    n_tables = 20
plt.rcParams.update({"axes.spines.top": False, "axes.spines.right": False})
# sphinx_gallery_end_ignore
parts = train_test_split(holed, X, missing, y, test_size=0.3, random_state=0)
holed_train, holed_test, _, true, _, hidden, y_train, y_test = parts

# %%
# One value for each hole
# -----------------------
# The mean given what is observed of the row, of all of its holes at once. Error over the holes of
# test rows, in standard deviations, and accuracy of a classifier of completed rows:
imputers = {
    "SimpleImputer": SimpleImputer(),
    "KNNImputer": KNNImputer(),
    "IterativeImputer": IterativeImputer(max_iter=30, tol=0.02, random_state=0),
    "DensityImputer": DensityImputer(density, random_state=0),
}
errors = {}
for name, imputer in imputers.items():
    model = make_pipeline(imputer, LogisticRegression(max_iter=1000)).fit(holed_train, y_train)
    filled = model[0].transform(holed_test)
    errors[name] = np.sqrt(np.mean((filled - true)[hidden] ** 2))
    print(f"{name:17} RMSE {errors[name]:.2f}   accuracy {model.score(holed_test, y_test):.3f}")

# %%
# Several values for each hole
# ----------------------------
# `sample` completes the table many times: what is fitted to each differs by as much as is unknown.
# The quantiles of the draws are prediction intervals. Those of nominal 90 % hold:
tables = imputers["DensityImputer"].sample(holed_test, n_tables)
draws = np.array([table[hidden] for table in tables])
low, high = np.quantile(draws, [0.05, 0.95], axis=0, method="weibull")
print(f"{np.mean((low <= true[hidden]) & (true[hidden] <= high)):.0%}")

# %%
# Where the rest of a row says much of the missing entry, as the area does of a radius, the interval
# is short.
figure, (left, right) = plt.subplots(
    1, 2, figsize=(9, 3.6), width_ratios=[1, 1.4], layout="constrained"
)
colors = ["#b9bec4", "#b9bec4", "#b9bec4", "#2a8c82"]
left.barh(list(errors), list(errors.values()), color=colors)
for place, value in enumerate(errors.values()):
    left.annotate(f"{value:.2f}", (value, place), (4, 0), textcoords="offset points", va="center")
left.set(title="RMSE of what was filled in", xlim=(0, 1.15 * max(errors.values())), xticks=[])
left.invert_yaxis()
left.spines["bottom"].set_visible(False)
chosen = np.random.default_rng(1).choice(hidden.sum(), min(120, hidden.sum()), replace=False)
order = chosen[np.argsort(true[hidden][chosen])]
place = np.arange(len(order))
right.vlines(place, low[order], high[order], color="#2a8c82", alpha=0.45, lw=2)
right.plot(place, draws.mean(axis=0)[order], "_", color="#1d625b", ms=5, label="mean of the draws")
right.plot(place, true[hidden][order], ".", color="#d1602f", ms=5, label="the value removed")
right.set(title="5 to 95 % of the draws, 120 holes", ylabel="standard deviations", xticks=[])
right.set_ylim(-4, 6)
right.legend(frameon=False, loc="upper left")
plt.show()
