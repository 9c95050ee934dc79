"""
Auto-encoder and PCA on digits
==============================

Images of digits, 64 pixels each, through a code of a few numbers and back: how much of them is
left, and what the code looks like.
"""

# %%
# Held-out error
# --------------
# `AutoEncoder` starts from PCA and keeps what its networks add only where rows that it holds out
# gain by it. Pixels are divided by 16; they are in one unit already, so columns are centred and
# not scaled (`scaling="auto"`). Mean squared errors of images that were not fitted, and their
# ratio:
import matplotlib.pyplot as plt
from sklearn.datasets import load_digits
from sklearn.decomposition import PCA
from sklearn.model_selection import train_test_split

from skrae import AutoEncoder
from skrae.plotting import CodeDisplay

X, y = load_digits(return_X_y=True)
X = X / 16
train, test, y_train, y_test = train_test_split(X, y, test_size=0.3, random_state=0, stratify=y)
sizes, options = (2, 4, 8, 16), {"random_state": 0}
# sphinx_gallery_start_ignore
import os  # noqa: E402

if os.environ.get("SKRAE_QUICK") == "1":  # a short run, to see the script at work
    sizes = (2, 8)
    options = {"random_state": 0, "max_iter": 1000, "batch_size": 64, "hidden_layer_sizes": 128}
# sphinx_gallery_end_ignore


def error(model, rows):
    """Mean squared error of rows that were encoded and decoded again."""
    return ((model.inverse_transform(model.transform(rows)) - rows) ** 2).mean()


pca = {k: PCA(k, random_state=0).fit(train) for k in sizes}
coders = {k: AutoEncoder(k, **options).fit(train) for k in sizes}
print("  k      PCA   auto-encoder   ratio   steps")
for k in sizes:
    linear, found = error(pca[k], test), error(coders[k], test)
    print(
        f"{k:3d}   {linear:.4f}         {found:.4f}    {found / linear:.2f}   {coders[k].n_iter_}"
    )

# %%
# Two numbers an image
# --------------------
# Images that were not fitted (top), from two components of PCA (middle) and from a code of two
# numbers (bottom). A plane through the images holds blurred means of several digits; the curved
# sheet of the auto-encoder passes through many of them.
rows = [(y_test == digit).argmax() for digit in range(10)]
lines = {
    "image": test[rows],
    "PCA": pca[2].inverse_transform(pca[2].transform(test[rows])),
    "auto-encoder": coders[2].reconstruct(test[rows]),
}
figure, panels = plt.subplots(3, 10, figsize=(9, 3), layout="constrained")
for line, (name, images) in zip(panels, lines.items(), strict=True):
    for panel, image in zip(line, images, strict=True):
        panel.imshow(image.reshape(8, 8), cmap="gray_r", vmin=0, vmax=1, interpolation="nearest")
        panel.set(xticks=[], yticks=[])
        panel.spines[:].set_color("0.8")
    line[0].set_ylabel(name, rotation=0, ha="right", va="center", labelpad=8)

# %%
# The codes of the same images, which were learned without labels. The digits are farther apart than
# in the plane of PCA, but in a code of two numbers some still share a place.
figure, panels = plt.subplots(1, 2, figsize=(11, 4.4), layout="constrained")
for panel, model in zip(panels, (pca[2], coders[2]), strict=True):
    CodeDisplay.from_estimator(model, test, y=y_test, ax=panel, s=14)
    panel.set_title(type(model).__name__)
panels[0].get_legend().remove()
plt.show()
