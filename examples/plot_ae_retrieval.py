"""
Retrieval by codes
==================

Looking for the images most like a given one among short codes instead of all pixels.
"""

# %%
# A search among codes
# --------------------
# There is no class for it: `NearestNeighbors` on what `transform` returns is a search engine.
# `neighbor_recall` says how many of the ten nearest by pixels are found among the ten nearest by
# codes; the precision says how many of those show the digit that was asked for. The images that ask
# are not among those fitted or searched.
import matplotlib.pyplot as plt
import numpy as np
from sklearn.datasets import load_digits
from sklearn.decomposition import PCA
from sklearn.model_selection import train_test_split
from sklearn.neighbors import NearestNeighbors

from skrae import AutoEncoder
from skrae.metrics import neighbor_recall

X, y = load_digits(return_X_y=True)
X = X / 16
train, test, y_train, y_test = train_test_split(X, y, test_size=0.3, random_state=0, stratify=y)
sizes, options = (5, 10), {"random_state": 0}
# sphinx_gallery_start_ignore
import os  # noqa: E402

if os.environ.get("SKRAE_QUICK") == "1":  # a short run, to see the script at work
    sizes = (5,)
    options = {"random_state": 0, "max_iter": 1000, "batch_size": 64, "hidden_layer_sizes": 128}
# sphinx_gallery_end_ignore


def found(codes, asked, n_neighbors=10):
    """Numbers of the nearest codes of each that is asked for."""
    search = NearestNeighbors(n_neighbors=n_neighbors).fit(codes)
    return search.kneighbors(asked, return_distance=False)


def report(name, codes, asked):
    """Print how many of the ten nearest by pixels are found, and how many show the same digit."""
    recall = neighbor_recall(test, asked, reference=(train, codes))
    precision = np.mean(y_train[found(codes, asked)] == y_test[:, None])
    print(f"{name:36s}{codes.shape[1]:4d}       {recall:.3f}          {precision:.3f}")


print("codes                             numbers   recall@10   precision@10")
report("pixels", train, test)
for k in sizes:
    models = {
        "PCA": PCA(k, random_state=0),
        "auto-encoder": AutoEncoder(k, **options),
        "auto-encoder, distance_weight=1": AutoEncoder(k, distance_weight=1.0, **options),
    }
    for name, model in models.items():
        codes = model.fit_transform(train)
        report(name, codes, model.transform(test))

# %%
# Ten numbers find most of what 64 pixels do, and those of an auto-encoder more than those of PCA.
# With a `distance_weight` codes are as far apart as the rows are. That is a loss of all pairs, most
# of them far apart, and no large gain for the nearest ten. Let `neighbor_recall`, or
# `trustworthiness_scorer` in a search, choose the weight.
#
# What is found
# -------------
# Images that ask (left), and their nearest ten by pixels and by the last code of the table; a frame
# marks another digit.
asked = [(y_test == digit).argmax() for digit in (1, 3, 5, 8, 9)]
ways = {"pixels": (train, test[asked]), "codes": (codes, model.transform(test[asked]))}
figure, panels = plt.subplots(2 * len(asked), 11, figsize=(8, 7.5), layout="constrained")
for line in range(2 * len(asked)):
    row, way = divmod(line, 2)
    name = list(ways)[way]
    nearest = found(*ways[name])[row]
    images = [test[asked[row]], *train[nearest]]
    same = [True, *(y_train[nearest] == y_test[asked[row]])]
    for panel, image, right in zip(panels[line], images, same, strict=True):
        panel.imshow(image.reshape(8, 8), cmap="gray_r", vmin=0, vmax=1, interpolation="nearest")
        panel.set(xticks=[], yticks=[])
        panel.spines[:].set(color="0.8" if right else "#d1602f", linewidth=1 if right else 2.5)
    panels[line, 0].set_ylabel(name, rotation=0, ha="right", va="center", labelpad=8)
plt.show()
