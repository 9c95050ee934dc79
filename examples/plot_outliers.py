"""
Outliers, also in clusters
==========================

Which rows are unlike the others, how sure is that, and which of their columns make them so: a
detector for raw tables, whose training rows may hold outliers, in clusters too.
"""

# %%
# A cluster is no crowd
# ---------------------
# Half a ring of rows, and seventy that have nothing to do with it and lie close together. A density
# of all rows, "clean", gives the cluster a peak, and calls rows at the ends of the ring odd. A
# geometric mean of densities of small subsamples, "mixed", does not: those that hold few of the
# seventy outvote the others. Colours show the share of the rows that are odder, the line is 7 %.
import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from palmerpenguins import load_penguins
from sklearn.ensemble import IsolationForest

from skrae import DensityOutlierDetector
from skrae.plotting import OutlierDisplay

n_grid, n_repeats = 160, 40
# sphinx_gallery_start_ignore
import os  # noqa: E402

if os.environ.get("SKRAE_QUICK") == "1":  # a short run, to see the script at work
    n_grid, n_repeats = 40, 3
plt.rcParams.update({"axes.spines.top": False, "axes.spines.right": False})
# sphinx_gallery_end_ignore
rng = np.random.default_rng(0)


def half_ring(n):
    """Rows along half a circle."""
    angle = rng.uniform(0.0, np.pi, n)
    return 3.0 * np.column_stack([np.cos(angle), np.sin(angle)]) + 0.25 * rng.normal(size=(n, 2))


rows = np.concatenate([half_ring(930), rng.normal([0.0, -2.5], 0.1, size=(70, 2))])
x, y = np.meshgrid(np.linspace(-4.5, 4.5, n_grid), np.linspace(-4.0, 4.5, n_grid))
grid = np.column_stack([x.ravel(), y.ravel()])
detectors = {
    "isolation forest": IsolationForest(random_state=0),
    'training_rows="clean"': DensityOutlierDetector("clean", random_state=0),
    'training_rows="mixed"': DensityOutlierDetector("mixed", random_state=0),
}
figure, panels = plt.subplots(1, 3, figsize=(11, 3.7), sharey=True, layout="constrained")
for panel, (name, detector) in zip(panels, detectors.items(), strict=True):
    scores = detector.fit(rows).score_samples(rows)
    odder = np.searchsorted(np.sort(scores), detector.score_samples(grid)) / len(rows)
    odder = odder.reshape(n_grid, n_grid)
    image = panel.pcolormesh(x, y, odder, cmap="Blues", vmin=0.0, vmax=1.0, rasterized=True)
    panel.contour(x, y, odder, [0.07], colors="#D55E00", linewidths=1.2)
    panel.scatter(*rows[::2].T, s=3, color="0.15", linewidths=0)
    found = np.mean(scores.argsort()[:70] >= 930)
    panel.set(title=f"{name}:\n{found:.0%} of the 70 found", aspect="equal")
figure.colorbar(image, ax=panels, shrink=0.85, label="share of rows that are odder")
plt.show()

# %%
# How many false alarms?
# ----------------------
# p-values of new rows that are like the training rows are uniform: those below 5 % are 5 % of them.
# That holds for any law of the rows and any detector, as training rows that no subsample has drawn
# tell what scores are usual. Outliers among the training rows make alarms rarer, never more
# frequent.
alphas = np.array([0.01, 0.02, 0.05, 0.1, 0.2])
fits = [DensityOutlierDetector(random_state=i).fit(half_ring(3000)) for i in range(n_repeats)]
alarms = [
    [np.mean(detector.p_values(half_ring(2000)) <= alpha) for alpha in alphas] for detector in fits
]
for alpha, share in zip(alphas, np.mean(alarms, axis=0), strict=True):
    print(f"p <= {alpha:.2f} of {share:.1%} of new rows")

# %%
# Which column is it?
# -------------------
# 344 penguins, their species, islands and sex, with some entries missing. We make four mistakes: a
# bill of which length and depth are swapped, a weight in pounds, a digit misread, and a Gentoo on
# the wrong island. The frame goes in as it is.
penguins = load_penguins().drop(columns="year")
penguins.loc[20, ["bill_length_mm", "bill_depth_mm"]] = [18.7, 37.8]
penguins.loc[75, "body_mass_g"] = 9.4
penguins.loc[130, "flipper_length_mm"] = 294.0
penguins.loc[200, "island"] = "Torgersen"
detector = DensityOutlierDetector(random_state=0).fit(penguins)
p = pd.Series(detector.p_values(penguins), penguins.index)
print("smallest p-values:")
print(p.nsmallest(6).round(4).to_string())

# %%
# What each column adds to how odd a row is: red adds, blue takes away, white is what the column
# adds to any penguin, or nothing where the entry is missing. Each row of the picture sums to the
# distance of its score from `baseline_`.
display = OutlierDisplay.from_estimator(detector, penguins, n_rows=10)
display.ax_.set_title("the ten oddest penguins")
plt.show()
contributions = detector.explain(penguins)
gap = contributions.sum(axis=1) - (detector.baseline_ - detector.score_samples(penguins))
print(f"largest gap of the sums: {np.abs(gap).max():.0e}")
