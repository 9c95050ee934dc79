"""
Quickstart: the density of a table
==================================

Fit raw measurements of 569 cell nuclei, compare the held-out likelihood with the two density
estimators of scikit-learn, then look at the density, its gradient and new rows.
"""

# %%
# A table in raw units
# --------------------
# The 30 columns span five orders of magnitude; nothing is scaled by hand.
import matplotlib.pyplot as plt
import numpy as np
from sklearn.datasets import load_breast_cancer
from sklearn.mixture import GaussianMixture
from sklearn.model_selection import GridSearchCV, train_test_split
from sklearn.neighbors import KernelDensity
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from skrae import RegularizedAutoEncoderScore

data = load_breast_cancer()
table = data.data
print(f"{table.shape[0]} rows, {table.shape[1]} columns")

# %%
# Held-out likelihood beside its peers
# ------------------------------------
# skrae runs with its defaults. The peers need scaled columns and a search for their options.
n_splits, max_iter = 3, 300
bandwidths = np.geomspace(0.1, 2.0, 13)
sizes, ridges = [1, 2, 3, 4, 6, 8], [1e-6, 1e-4, 1e-3, 1e-2, 1e-1]
# sphinx_gallery_start_ignore
import os  # noqa: E402

if os.environ.get("SKRAE_QUICK") == "1":  # a short run, to see the script at work
    n_splits, max_iter = 1, 30
    bandwidths, sizes, ridges = bandwidths[::2], [1, 2], [1e-4, 1e-3]
# sphinx_gallery_end_ignore
searches = {
    "KernelDensity": GridSearchCV(
        make_pipeline(StandardScaler(), KernelDensity()),
        {"kerneldensity__bandwidth": bandwidths},
    ),
    "GaussianMixture": GridSearchCV(
        make_pipeline(StandardScaler(), GaussianMixture(random_state=0)),
        {
            "gaussianmixture__n_components": sizes,
            "gaussianmixture__reg_covar": ridges,
        },
    ),
}


def peer_log_likelihood(search, train, test):
    """Mean log density of the test rows, in nats per row and the units of the table."""
    scaler, peer = search.fit(train).best_estimator_
    # A pipeline's score is the log density of the *scaled* rows: the log-determinant is missing.
    # The mean of score_samples, because KernelDensity.score is a sum over rows.
    return np.mean(peer.score_samples(scaler.transform(test))) - np.log(scaler.scale_).sum()


models = ["skrae", "its base alone", *searches]
print("mean log-likelihood of the held-out 20 %, nats per row")
print("split", *(name.rjust(15) for name in models))
results = []
for split in range(n_splits):
    train, test = train_test_split(table, test_size=0.2, random_state=split)
    model = RegularizedAutoEncoderScore(max_iter=max_iter, random_state=0).fit(train)
    ours = [model.score(test), model.base_log_density(test).mean()]
    peers = [peer_log_likelihood(search, train, test) for search in searches.values()]
    results.append([*ours, *peers])
    print(f"{split:5d}", *(f"{value:15.2f}" for value in results[-1]))
print(" mean", *(f"{value:15.2f}" for value in np.mean(results, axis=0)))

# %%
# Two columns, to look at
# -----------------------
# The same defaults on two columns whose units differ by a factor of 200. One fit answers for the
# density, its gradient (the :ref:`score <two-scores>`) and new rows. With two columns the network
# has little to add: the density drawn is nearly that of its base, a mixture of Gaussians.
names = list(data.feature_names)
points = table[:, [names.index("mean radius"), names.index("mean fractal dimension")]]
model = RegularizedAutoEncoderScore(max_iter=max_iter, random_state=0).fit(points)
samples = model.sample(len(points), random_state=0)

low, high = points.min(axis=0), points.max(axis=0)
low, high = low - 0.1 * (high - low), high + 0.1 * (high - low)


def grid(n_columns, n_rows):
    """Points of a regular grid over the picture, shape (n_rows, n_columns, 2)."""
    axes = (np.linspace(low[j], high[j], n) for j, n in enumerate((n_columns, n_rows)))
    return np.stack(np.meshgrid(*axes), axis=-1)


fine, coarse = grid(240, 240), grid(20, 16).reshape(-1, 2)
log_density = model.score_samples(fine.reshape(-1, 2)).reshape(fine.shape[:2])
top = log_density.max()
levels = top + np.arange(-8.0, 0.5, 0.5)

# The score is in nats per unit of each column; times the variance it is the direction of steepest
# ascent as the eye sees it, on axes scaled to the spread of the data.
coarse = coarse[model.score_samples(coarse) > levels[0]]
arrows = model.log_density_gradient(coarse) * points.std(axis=0)
arrows /= np.maximum(1.0, np.linalg.norm(arrows, axis=1, keepdims=True) / 4.0)  # length capped
arrows *= points.std(axis=0)

# %%
# Left: log density and score. Then the rows of the table, and as many new ones.
plt.rcParams.update({"font.size": 11, "axes.spines.top": False, "axes.spines.right": False})
figure, panels = plt.subplots(1, 3, figsize=(12.5, 4.2), sharex=True, sharey=True)
figure.set_layout_engine("constrained", wspace=0.03)
surface = *np.moveaxis(fine, -1, 0), log_density - top
filled = panels[0].contourf(*surface, levels - top, cmap="viridis")
panels[0].quiver(*coarse.T, *arrows.T, angles="xy", color="white", width=0.0042, pivot="mid")
panels[0].set_title("log density and score (arrows)")
bar = figure.colorbar(filled, ax=panels[0], pad=0.01, aspect=30, ticks=[-8, -6, -4, -2, 0])
bar.set_label("nats below the maximum")
bar.outline.set_visible(False)

for panel, rows, what, color in (
    (panels[1], points, "rows of the table", "#31688e"),
    (panels[2], samples, "new rows", "#d1602f"),
):
    panel.contour(*surface, levels[::4] - top, colors="0.8", linewidths=0.8, linestyles="solid")
    panel.scatter(*rows.T, s=9, color=color, linewidths=0, alpha=0.75)
    panel.set_title(f"{len(rows)} {what}")
panels[0].set(xlim=(low[0], high[0]), ylim=(low[1], high[1]))
panels[0].set_ylabel("mean fractal dimension − 1")
for panel in panels:
    panel.set_xlabel("mean radius (image units)")
# sphinx_gallery_start_ignore
folder = os.environ.get("SKRAE_OUTPUT", ".")
figure.savefig(os.path.join(folder, "quickstart.png"), dpi=100)
# sphinx_gallery_end_ignore
