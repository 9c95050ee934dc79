"""
Features without a decoder
==========================

An auto-encoder keeps what it needs to draw a row again. An encoder learned by information keeps
what tells a row from others, seen by half of its entries, and has no decoder at all.
"""

# %%
# What a classifier reads from codes
# ----------------------------------
# `InfoMaxEncoder` sees two views of each image, in which random halves of the pixels are hidden,
# and learns codes by which one view finds the other among a batch. `information_weight` adds this
# to the reconstruction of an `AutoEncoder`. Labels have no part in either. A logistic regression
# reads them from the codes; its accuracy on images that were not fitted, a mean over three splits
# with the least and the largest, says how plainly a code of 16 numbers tells digits apart.
import matplotlib.pyplot as plt
import numpy as np
from sklearn.datasets import load_breast_cancer, load_digits
from sklearn.decomposition import PCA
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import train_test_split
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer, StandardScaler

from skrae import AutoEncoder, InfoMaxEncoder

X, y = load_digits(return_X_y=True)
X = X / 16
seeds, temperatures, options = (0, 1, 2), (0.1, 0.2, 0.5, 1.0), {"max_iter": 1000}
# sphinx_gallery_start_ignore
import os  # noqa: E402

if os.environ.get("SKRAE_QUICK") == "1":  # a short run, to see the script at work
    seeds, options = (0,), {"max_iter": 200, "batch_size": 64, "hidden_layer_sizes": 64}
# sphinx_gallery_end_ignore


def split(X, y, seed):
    """Rows and labels that are fitted, and that are not."""
    return train_test_split(X, y, test_size=0.3, random_state=seed, stratify=y)


def accuracy(model, train, test, y_train, y_test):
    """Accuracy of a logistic regression on codes of rows that were not fitted."""
    probe = make_pipeline(StandardScaler(), LogisticRegression(max_iter=1000))
    return probe.fit(model.transform(train), y_train).score(model.transform(test), y_test)


def encoders(n_components, seed):
    """Ways to 16 numbers, and all pixels."""
    settings = {"random_state": seed, **options}
    no_draws = {"code_density": None, **settings}
    return {
        "all pixels": FunctionTransformer(),
        "PCA": PCA(n_components, random_state=seed),
        "AutoEncoder": AutoEncoder(n_components, **no_draws),
        "and information": AutoEncoder(n_components, information_weight=1.0, **no_draws),
        "InfoMaxEncoder": InfoMaxEncoder(n_components, **settings),
    }


def report(X, y, n_components):
    """Print mean accuracies with the least and the largest; return the first encoders."""
    found, first = {}, {}
    for seed in seeds:
        parts = split(X, y, seed)
        for name, model in encoders(n_components, seed).items():
            model.fit(parts[0])
            first.setdefault(name, model)
            found.setdefault(name, []).append(accuracy(model, *parts))
    for name, values in found.items():
        print(f"{name:17s}{np.mean(values):.3f}   {min(values):.3f} to {max(values):.3f}")
    return first


fitted = report(X, y, 16)

# %%
# Sixteen numbers learned by information are read nearly as well as all 64 pixels, with or without a
# reconstruction; those of a reconstruction alone no better than those of PCA. Splits differ by a
# percent, too: compare on several.
#
# More nats are not better features
# ---------------------------------
# `score` is the bound InfoNCE in nats: how much the code of one view tells of that of the other. It
# is at most the log of the number of rows among which a view is to find its partner, and at most 2
# over the temperature, since cosines are between -1 and 1. On the first split:
train, test, y_train, y_test = split(X, y, seeds[0])
nats, probes = [], []
print("temperature    nats   at most   accuracy")
for temperature in temperatures:
    model = fitted["InfoMaxEncoder"]
    if temperature != model.temperature:
        model = InfoMaxEncoder(16, temperature=temperature, random_state=seeds[0], **options)
        model.fit(train)
    n = model.batch_size
    nats.append(model.score(test[:n]))
    most = min(np.log(n), 2 / temperature)
    probes.append(accuracy(model, train, test, y_train, y_test))
    print(f"{temperature:11}{nats[-1]:8.2f}{most:10.2f}{probes[-1]:11.3f}")

# %%
# The lower the temperature, the more the nearest of the other rows count, and the better a code
# tells every image from every other. It becomes a hash: what images of one digit share is in the
# way. At a high one all rows count nearly alike. So choose a temperature by what the codes are for,
# not by `score`, whose nats at different temperatures have different ceilings anyway.
figure, panels = plt.subplots(1, 2, figsize=(9.2, 3.6), layout="constrained")
between = np.geomspace(temperatures[0], temperatures[-1], 100)
ceiling = np.minimum(np.log(n), 2 / between)
panels[0].plot(between, ceiling, color="0.4", linestyle="--", label="ceiling")
panels[0].plot(temperatures, nats, marker="o", color="#33658a", label="bound")
panels[0].set(ylabel="information of two views (nats)", ylim=(0, 6))
panels[0].legend(frameon=False)
panels[1].plot(temperatures, probes, marker="o", color="#d1602f")
panels[1].set(ylabel="accuracy of a classifier on the codes")
for panel in panels:
    panel.set(xscale="log", xlabel="temperature")
    panel.set_xticks(temperatures, [str(temperature) for temperature in temperatures])
    panel.minorticks_off()

# %%
# Where it does not help
# ----------------------
# Thirty measurements of cell nuclei, many of which repeat one another. A code need not keep what
# few columns tell alone to tell rows apart by half of each. From eight numbers of that kind a
# classifier reads no more than from PCA, and information takes from an auto-encoder what it had.
X, y = load_breast_cancer(return_X_y=True)
report(X, y, 8)
plt.show()
