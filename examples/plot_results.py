"""
The benchmarks in pictures
==========================

The tables of :doc:`/results`, drawn from the records that the benchmarks leave: held-out
likelihoods, errors of the score, and outliers among the rows. To be run at the top of a clone: the
records are in its folder `docs/benchmarks`.
"""

# %%
# One record is one model on one split of one table.
import json
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np

folders = Path("docs/benchmarks"), Path("../docs/benchmarks")
records = next(folder for folder in folders if folder.is_dir())
plt.rcParams.update({"axes.spines.top": False, "axes.spines.right": False})
names = {
    "skrae": "skrae",
    "gmm": "Gaussian mixture",
    "kde": "kernel density",
    "flow": "spline flow",
    "maf": "masked autoregressive flow",
    "kef": "kernel exponential family",
    "denoiser": "denoising network",
    "iforest": "isolation forest",
    "ocsvm": "one-class SVM",
    "knn": "5th neighbour",
    "lof": "local outlier factor",
}
colors = dict(zip(names, plt.colormaps["tab20"].colors[::2] * 2, strict=False)) | {"skrae": "black"}


def read(benchmark, value, **chosen):
    """Values by set and model: {set: {model: {seed: value}}}."""
    found = {}
    for record in json.loads((records / f"{benchmark}.json").read_text(encoding="utf-8")):
        if record.get(value) is not None and all(record[k] == v for k, v in chosen.items()):
            name = record["set"].replace("wine", " wine").removesuffix("_casp")
            models = found.setdefault(name, {})
            models.setdefault(record["model"], {})[record["seed"]] = record[value]
    return found


def dots(ax, values, models):
    """A line for each set, a dot for each model, skrae on top."""
    for model in [*(m for m in models if m != "skrae"), "skrae"]:
        here = [
            (line, values[name][model]) for line, name in enumerate(values) if model in values[name]
        ]
        place, x = np.array(here).T
        style = {"color": colors[model], "label": names[model], "linestyle": "none"}
        ax.plot(x, -place, "D" if model == "skrae" else "o", **style)
    ax.set_yticks(-np.arange(len(values)), values)
    ax.grid(axis="y", color="0.92")
    ax.tick_params(axis="y", length=0)
    ax.legend(frameon=False, loc="lower left", bbox_to_anchor=(0, 1), ncols=3)


# %%
# Held-out log-likelihood
# -----------------------
# How many nats a row each peer is behind skrae, on the same rows: the mean over the splits on which
# both were run. The axis is linear up to one nat and logarithmic from there.
likelihoods = read("density", "mean")
behind = {
    name: {
        model: np.mean([models["skrae"][seed] - value for seed, value in runs.items()])
        for model, runs in models.items()
        if model != "skrae"
    }
    for name, models in likelihoods.items()
}
for name, models in behind.items():
    print(f"{name:14}", *(f"{model} {value:8.2f}  " for model, value in models.items()))
figure, ax = plt.subplots(figsize=(8, 3.6), layout="constrained")
for model in ("gmm", "kde", "flow", "maf"):
    here = [(i, behind[name][model]) for i, name in enumerate(behind) if model in behind[name]]
    place, x = np.array(here).T
    ax.plot(x, -place, "o", color=colors[model], label=names[model])
ax.axvline(0, color="black", linewidth=1, label="skrae")
ax.set_yticks(-np.arange(len(behind)), behind)
ax.set_xscale("symlog", linthresh=1)
ax.set_xticks([-1, 0, 1, 10, 100, 1000], ["-1", "0", "1", "10", "100", "1000"])
ax.minorticks_off()
ax.set_xlabel("nats per row behind skrae; left of 0: ahead")
ax.grid(axis="y", color="0.92")
ax.legend(frameon=False, loc="lower left", bbox_to_anchor=(0, 1), ncols=3)
plt.show()

# %%
# The score
# ---------
# On 4000 rows of known densities: the relative Fisher divergence of the
# :ref:`score <two-scores>`, 0 for the true score and 1 for one that is zero everywhere. Means of
# the draws; kernel exponential family and denoising network give no density.
divergence = {
    name: {model: np.mean(list(runs.values())) for model, runs in models.items()}
    for name, models in read("score", "fisher", n=4000).items()
}
figure, ax = plt.subplots(figsize=(8, 5.4), layout="constrained")
dots(ax, divergence, ["gmm", "kde", "flow", "kef", "denoiser", "skrae"])
ax.set(xscale="log", xlabel="relative Fisher divergence, smaller is better")
plt.show()

# %%
# Outliers among the rows
# -----------------------
# ROC-AUC of the log density of the rows that were fitted, outliers among them, beside detectors
# made for the purpose. Means of the trials. A density that fits closely also learns the clusters
# that outliers form: on `cardio` and `pendigits` an isolation forest is far better.
auc = {
    name: {model: np.mean(list(runs.values())) for model, runs in models.items() if model in names}
    for name, models in read("outliers", "auc").items()
}
shown = [model for model in names if any(model in models for models in auc.values())]
figure, ax = plt.subplots(figsize=(8, 3.6), layout="constrained")
dots(ax, auc, shown)
ax.set_xlabel("ROC-AUC, greater is better")
plt.show()
