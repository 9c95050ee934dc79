"""
Penguins, species and holes included
====================================

A data frame as it comes: three columns of strings, whole numbers, missing entries. One fit to all
of it, and one model for every question: new penguins, what is missing from a row, which species.
"""

# %%
# The table
# ---------
# 344 penguins of the Palmer archipelago (Horst, Hill & Gorman 2020). Nothing is encoded, scaled or
# filled. The report on columns says what the fit made of each: flippers were measured in whole
# millimetres, penguins weighed in steps of 25 grams.
import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.colors import to_rgb
from palmerpenguins import load_penguins
from sklearn.model_selection import train_test_split

from skrae import RAESampler, RegularizedAutoEncoderScore

penguins = load_penguins().drop(columns="year")
options, n = {"random_state": 0}, 80
# sphinx_gallery_start_ignore
import os  # noqa: E402

if os.environ.get("SKRAE_QUICK") == "1":  # a short run, to see the script at work
    options |= {"max_mixtures": 1, "max_components": 4, "max_iter": 20}
    n = 30
plt.rcParams.update({"axes.spines.top": False, "axes.spines.right": False})
# sphinx_gallery_end_ignore
train, test = train_test_split(penguins, test_size=0.25, random_state=0)
model = RegularizedAutoEncoderScore(**options).fit(train)
report = pd.DataFrame(model.columns_)
print(report[["name", "kind", "missing", "n_levels", "step"]].to_string(index=False))

# %%
# New penguins
# ------------
# Draws are a frame of the same columns and dtypes. Gentoo live on Biscoe and Chinstrap on Dream
# alone, as in the table, and male penguins are the larger ones of each species.
draws = model.sample(len(penguins), random_state=0)
for name, table in (("penguins", penguins), ("draws", draws)):
    print(f"{name}, in per cent:")
    shares = pd.crosstab(table["species"], table["island"], normalize="all")
    print((100 * shares).round(1), end="\n\n")

COLORS = {"Adelie": "#d1602f", "Chinstrap": "#7b4fa3", "Gentoo": "#2a8c82"}
MARKERS = {"female": "o", "male": "^"}


def scatter(panel, table, x, y, **kwargs):
    """Penguins by species (colour) and sex (form)."""
    for (species, sex), rows in table.groupby(["species", "sex"]):
        look = {"s": 16, "alpha": 0.6, "linewidths": 0, **kwargs}
        panel.scatter(rows[x], rows[y], color=COLORS[species], marker=MARKERS[sex], **look)


figure, panels = plt.subplots(
    2, 2, figsize=(9.5, 7.6), sharex="col", sharey="col", layout="constrained"
)
for row, (name, table) in zip(panels, (("penguins", penguins), ("draws", draws)), strict=True):
    scatter(row[0], table, "bill_length_mm", "bill_depth_mm")
    scatter(row[1], table, "flipper_length_mm", "body_mass_g")
    row[0].set(title=name, ylabel="bill depth (mm)")
    row[1].set(title=name, ylabel="body mass (g)")
panels[1, 0].set(xlabel="bill length (mm)", xlim=(31, 61), ylim=(12.5, 22.5))
panels[1, 1].set(xlabel="flipper length (mm)", xlim=(168, 236), ylim=(2500, 6500))
for species, color in COLORS.items():
    panels[0, 1].scatter([], [], color=color, s=30, label=species)
for sex, marker in MARKERS.items():
    panels[0, 1].scatter([], [], color="0.5", marker=marker, s=30, label=sex)
panels[0, 1].legend(frameon=False, loc="upper left")
plt.show()

# %%
# Completing a penguin
# --------------------
# Of some penguins the sex is unknown, of two all measurements. `impute` fills each hole with the
# mean of its draws, or the likeliest level, and `sample_conditional` says how sure that is.
sampler = RAESampler(model, random_state=0)
holes = penguins[penguins.isna().any(axis=1)]
filled = sampler.impute(holes, 400)
completions = sampler.sample_conditional(holes, 400)
filled["P(female)"] = (completions[:, :, -1] == "female").mean(axis=1).round(2)
print(filled.drop(columns=["bill_length_mm", "flipper_length_mm"]).to_string(index=False))

# %%
# A penguin of which only the weight is known may be of any species, on the islands where that
# lives, and the draws of what is missing go together: each is a whole penguin.
unknown = pd.DataFrame(np.nan, index=range(3), columns=penguins.columns)
unknown = unknown.astype({"species": object, "island": object, "sex": object})
unknown["body_mass_g"] = [3300.0, 4200.0, 5400.0]
guesses = sampler.sample_conditional(unknown, 300)
figure, panels = plt.subplots(
    1, 3, figsize=(11, 3.8), sharex=True, sharey=True, layout="constrained"
)
for panel, weight, guess in zip(panels, unknown["body_mass_g"], guesses, strict=True):
    found = pd.DataFrame(guess, columns=penguins.columns).infer_objects()
    panel.scatter(
        penguins["bill_length_mm"], penguins["bill_depth_mm"], s=10, color="0.87", linewidths=0
    )
    scatter(panel, found, "bill_length_mm", "bill_depth_mm")
    panel.set(title=f"{weight:.0f} g", xlabel="bill length (mm)", xlim=(31, 61), ylim=(12.5, 22.5))
    shares = found["species"].value_counts(normalize=True)
    for line, (species, color) in enumerate(COLORS.items()):
        text = f"{species} {shares.get(species, 0.0):.0%}"
        panel.text(0.02, 0.03 + 0.075 * line, text, color=color, transform=panel.transAxes)
panels[0].set(ylabel="bill depth (mm)")
plt.show()

# %%
# Which species?
# --------------
# P(species | rest) is a ratio of densities: the row is scored with each species in turn. The rest
# may have holes too, so the same model answers from a bill alone, the map below, and from all.


def posterior(rows):
    """P(species | all else in the rows), (n, 3)."""
    each = [model.score_samples(rows.assign(species=species)) for species in COLORS]
    return np.exp(np.transpose(each) - np.logaddexp.reduce(each)[:, None])


known = {
    "everything": list(penguins.columns),
    "the bill": ["bill_length_mm", "bill_depth_mm"],
    "body mass": ["body_mass_g"],
    "island and sex": ["island", "sex"],
}
names = np.array(list(COLORS))
for what, columns in known.items():
    guess = names[posterior(test[columns].reindex(columns=penguins.columns)).argmax(axis=1)]
    print(
        f"species of held-out penguins from {what}: {np.mean(guess == test['species']):.0%} right"
    )

# %%
# The dots are the held-out penguins. Where nothing was ever seen, as in the lower left corner, the
# probabilities still add up to one, and say little: the density tells whether a row is like any.
lengths, depths = np.meshgrid(np.linspace(31, 61, n), np.linspace(12.5, 22.5, n))
grid = pd.DataFrame({"bill_length_mm": lengths.ravel(), "bill_depth_mm": depths.ravel()})
grid = grid.reindex(columns=penguins.columns)
probabilities = posterior(grid).reshape(n, n, 3)
log_density = model.score_samples(grid).reshape(n, n)
palette = np.array([to_rgb(color) for color in COLORS.values()])
picture = 1.0 - 0.55 * (1.0 - probabilities @ palette)

figure, panel = plt.subplots(figsize=(7.5, 5.2), layout="constrained")
panel.imshow(picture, origin="lower", extent=(31, 61, 12.5, 22.5), aspect="auto")
levels = log_density.max() + np.array([-8.0, -4.0, -2.0, -1.0])
panel.contour(lengths, depths, log_density, levels, colors="white", linestyles="solid")
look = {"s": 30, "alpha": 1.0, "linewidths": 0.7, "edgecolors": "white"}
scatter(panel, test, "bill_length_mm", "bill_depth_mm", **look)
for species, color in COLORS.items():
    panel.scatter([], [], color=color, s=30, label=species)
panel.legend(loc="lower right", framealpha=0.9)
panel.set(
    title="P(species | bill), and contours of the density of bills",
    xlabel="bill length (mm)",
    ylabel="bill depth (mm)",
)
plt.show()
