"""
Do auto-encoders preserve distance?
===================================

Not by default; by a loss they do; and never all distances at once. A rolled-up sheet shows the
three answers, since its distances along the sheet are known exactly.
"""

# %%
# A sheet and its exact distances
# -------------------------------
# Rows of the Swiss roll are (t cos t, height, t sin t), so that along the spiral the length from
# its centre is s(t) = (t sqrt(1 + t^2) + asinh t) / 2. Unrolled, the row lies at (s(t), height):
# distances between those points are the distances along the sheet. All numbers below are of rows
# that no map was fitted to, against those it was fitted to.
import matplotlib.pyplot as plt
import numpy as np
from sklearn.datasets import make_swiss_roll
from sklearn.decomposition import PCA
from sklearn.manifold import Isomap

from skrae import AutoEncoder
from skrae.metrics import continuity, shepard_correlation, stress, trustworthiness
from skrae.plotting import CodeDisplay, ShepardDisplay

n_train, n_test, options = 1500, 1000, {}
# sphinx_gallery_start_ignore
import os  # noqa: E402

if os.environ.get("SKRAE_QUICK") == "1":  # a short run, to see the script at work
    n_train, n_test = 800, 300
    options = {"hidden_layer_sizes": (64, 32), "max_iter": 1000, "batch_size": 64}
# sphinx_gallery_end_ignore


def roll(n, seed):
    """Rows on the roll, and their places on the sheet."""
    rows, t = make_swiss_roll(n, random_state=seed)
    length = (t * np.sqrt(1 + t**2) + np.arcsinh(t)) / 2
    return rows, np.column_stack([length, rows[:, 1]])


train, sheet = roll(n_train, 0)
test, test_sheet = roll(n_test, 1)
models = {
    "auto-encoder": AutoEncoder(random_state=0, **options),
    "Euclidean distances": AutoEncoder(distance_weight=10.0, random_state=0, **options),
    "geodesic distances": AutoEncoder(
        distance="geodesic", distance_weight=10.0, random_state=0, **options
    ),
    "PCA": PCA(2),
    "Isomap": Isomap(n_neighbors=10, n_components=2),
}
print("                       neighbours on the sheet          distances on the sheet   in space")
print("                       trustworthiness   continuity     correlation     stress     stress")
for name, model in models.items():
    model.fit(train)
    codes, test_codes = model.transform(train), model.transform(test)
    by_sheet, by_space = {"reference": (sheet, codes)}, {"reference": (train, codes)}
    print(
        f"{name:22s} {trustworthiness(test_sheet, test_codes, **by_sheet):15.4f}"
        f"{continuity(test_sheet, test_codes, **by_sheet):13.4f}"
        f"{shepard_correlation(test_sheet, test_codes, **by_sheet):16.4f}"
        f"{stress(test_sheet, test_codes, **by_sheet):11.3f}"
        f"{stress(test, test_codes, **by_space):11.3f}"
    )

# %%
# - *By default no.* A plain auto-encoder is asked for the row back, and any code that tells the
#   rows apart will do: distances between codes follow neither those along the sheet nor those in
#   space.
# - *By a loss, yes.* With `distance="geodesic"` the loss compares with shortest paths along the
#   rows, and the encoder unrolls new rows too; Isomap does the same without a decoder. What
#   stress is left is that of paths, which zigzag from row to row and are a little longer than the
#   sheet.
# - *Not all of them.* With `distance="euclidean"` distances in space are kept, as well as two
#   dimensions can. What is near in space stays near, across two layers of the roll as well, so it
#   cannot unroll it. No map into fewer dimensions keeps all distances; the weight says which.
#
# Codes of rows that were not fitted, coloured by the length along the spiral.
shown = ("auto-encoder", "Euclidean distances", "geodesic distances", "PCA")
figure, panels = plt.subplots(2, 2, figsize=(10, 7), layout="constrained")
for panel, name in zip(panels.flat, shown, strict=True):
    CodeDisplay.from_estimator(models[name], test, y=test_sheet[:, 0], ax=panel, alpha=1.0)
    panel.set(title=name, aspect="equal")

# %%
# Distances along the sheet against those between codes: on the diagonal both are equal.
figure, panels = plt.subplots(1, 3, figsize=(13, 4), layout="constrained")
for panel, name in zip(panels, shown[:3], strict=True):
    ShepardDisplay.from_codes(test_sheet, models[name].transform(test), random_state=0, ax=panel)
    panel.set_xlabel("distance along the sheet", fontsize=8)
    panel.set_ylabel(f"distance between codes: {name}", fontsize=8)
plt.show()
