"""
Sparse codes of digits
======================

A code of more units than pixels, of which each image uses few: what the units stand for, beside PCA
and beside dictionary learning.
"""

# %%
# Four codes
# ----------
# With as many units as there are, or more, an auto-encoder could copy a row; a weight on the
# activity of the code is what makes it choose. `sparsity="l1"` asks for a small sum of rectified
# units, `"kl"` for sigmoid units that are active in a given mean share of the rows. An empty
# `hidden_layer_sizes` makes the decoder linear: its rows are the atoms that an image is a sum of,
# and all have one norm, since otherwise a small code with large atoms would be called sparse.
#
# A unit counts as active above a tenth of the largest activity in its image. The probe is a
# logistic regression on the codes of other images, the accuracy that of images not seen.
import warnings

import matplotlib.pyplot as plt
import numpy as np
from sklearn.datasets import load_digits
from sklearn.decomposition import PCA, MiniBatchDictionaryLearning
from sklearn.exceptions import ConvergenceWarning
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import train_test_split
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from skrae import AutoEncoder
from skrae.metrics import hoyer_sparseness
from skrae.plotting import AtomDisplay

X, y = load_digits(return_X_y=True)
X = X / 16
train, test, y_train, y_test = train_test_split(X, y, test_size=0.3, random_state=0, stratify=y)
n_units, max_iter = 100, 2000
# sphinx_gallery_start_ignore
import os  # noqa: E402

if os.environ.get("SKRAE_QUICK") == "1":  # a short run, to see the script at work
    n_units, max_iter = 64, 1000
# sphinx_gallery_end_ignore
one_layer = {"hidden_layer_sizes": (), "max_iter": max_iter, "random_state": 0}
models = {
    "L1, relu": AutoEncoder(n_units, code_activation="relu", sparsity_weight=0.1, **one_layer),
    "KL, sigmoid": AutoEncoder(
        n_units, code_activation="sigmoid", sparsity="kl", sparsity_weight=0.3, **one_layer
    ),
    "dictionary learning": MiniBatchDictionaryLearning(
        n_units,
        alpha=0.1,
        batch_size=64,
        fit_algorithm="cd",
        transform_algorithm="lasso_cd",
        transform_alpha=0.1,
        random_state=0,
    ),
    "PCA": PCA(40, random_state=0),
}
mean = train.mean(axis=0)


def centred(name, rows):
    """Rows as a model takes them: dictionary learning has no mean of its own."""
    return rows - mean if name == "dictionary learning" else rows


def decoded(name, codes):
    """Images of codes."""
    if name == "dictionary learning":
        return codes @ models[name].components_ + mean
    return models[name].inverse_transform(codes)


def probe(codes, test_codes):
    """Accuracy of a logistic regression on codes."""
    classifier = make_pipeline(StandardScaler(), LogisticRegression(max_iter=2000))
    return classifier.fit(codes, y_train).score(test_codes, y_test)


variance = ((test - mean) ** 2).sum()
print("                        R^2   active share   Hoyer   probe")
# Coordinate descent within dictionary learning tells of codes that it has not found to all digits.
warnings.simplefilter("ignore", ConvergenceWarning)
for name, model in models.items():
    model.fit(centred(name, train))
    codes, test_codes = (model.transform(centred(name, rows)) for rows in (train, test))
    r2 = 1 - ((test - decoded(name, test_codes)) ** 2).sum() / variance
    sizes = np.abs(test_codes)
    active = (sizes > 0.1 * sizes.max(axis=1, keepdims=True)).mean()
    hoyer = hoyer_sparseness(test_codes)
    accuracy = probe(codes, test_codes)
    print(f"{name:22s} {r2:.3f}        {active:.3f}     {hoyer:.3f}   {accuracy:.3f}")
print(f"{'pixels':22s}                              {probe(train, test):.3f}")

# %%
# Atoms
# -----
# The 25 atoms of each that move the images most. On eight by eight pixels a stroke is two or three
# pixels wide, so that what is seen is modest: atoms of sparse codes have a few strong spots and
# edges, the first components of PCA are spread over the image and its last ones are ripples. Do not
# read more into them: a single atom is hardly more localised than a component of PCA.
figure, panels = plt.subplots(2, 2, figsize=(9, 8), layout="constrained")
for panel, (name, model) in zip(panels.flat, models.items(), strict=True):
    rows = centred(name, train)
    AtomDisplay.from_estimator(model, rows, image_shape=(8, 8), n_atoms=25, ax=panel)
    panel.set_title(name)
plt.show()
