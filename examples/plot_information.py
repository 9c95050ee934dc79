"""
What mutual information can and cannot do for features
======================================================

It finds any dependence of a target on a column, or on a few columns together, where a correlation
finds straight lines alone. Among many columns at once it sees little.
"""

# %%
# Dependence that correlation misses
# ----------------------------------
# Four targets, each with noise: one follows a column along a line, one by its square, one by a
# wave, and one is high where two columns have the same sign and low where they have not, which
# neither column tells alone ("exclusive or").
import matplotlib.pyplot as plt
import numpy as np

from skrae.metrics import knn_mutual_information

rng = np.random.default_rng(0)
n, n_shuffles, many = 1000, 20, (1000, 4000)
# sphinx_gallery_start_ignore
import os  # noqa: E402

if os.environ.get("SKRAE_QUICK") == "1":  # a short run, to see the script at work
    n_shuffles, many = 5, (1000,)
# sphinx_gallery_end_ignore
a, b, noise = rng.standard_normal((3, n))
pair = np.column_stack([a, b])
cases = {
    "line": (a, a + noise),
    "square": (a, a**2 + 0.5 * noise),
    "wave": (a, np.sin(4 * a) + 0.3 * noise),
    "signs, one column": (a, np.sign(a * b) + 0.3 * noise),
    "signs, both columns": (pair, np.sign(a * b) + 0.3 * noise),
}


def largest_by_chance(x, y):
    """The most that the estimate finds after the target was shuffled, so that nothing is left."""
    return max(knn_mutual_information(x, rng.permutation(y)) for _ in range(n_shuffles))


print("target                correlation   information   by chance at most   (nats)")
found = {}
for name, (x, y) in cases.items():
    first = x if x.ndim == 1 else x[:, 0]
    found[name] = np.corrcoef(first, y)[0, 1], knn_mutual_information(x, y)
    print(f"{name:22s}{found[name][0]:11.2f}{found[name][1]:14.3f}{largest_by_chance(x, y):20.3f}")

# %%
# The line has a correlation; square, wave and signs have none. Information is found in all of them,
# and of the signs by both columns together alone. What the estimate finds in a shuffled target says
# how much of it is chance. It may be negative: the mean of those is about 0.
figure, panels = plt.subplots(1, 4, figsize=(13, 3.6), layout="constrained")
for panel, name in zip(panels, ("line", "square", "wave"), strict=False):
    panel.scatter(*cases[name], s=4, color="#33658a")
    panel.set(xlabel="a", ylabel="target")
    panel.set_title(f"{name}: correlation {found[name][0]:.2f}\ninformation {found[name][1]:.2f}")
y = cases["signs, both columns"][1]
dots = panels[3].scatter(a, b, s=4, c=y, cmap="coolwarm")
figure.colorbar(dots, ax=panels[3], label="target")
panels[3].set(xlabel="a", ylabel="b")
alone, together = found["signs, one column"][1], found["signs, both columns"][1]
panels[3].set_title(f"signs: information of a {alone:.2f},\nof a and b {together:.2f}")

# %%
# Not among many columns
# ----------------------
# A column with correlation 0.9 to the target tells 0.83 nats of it. Columns of noise beside it take
# nothing away from that, but they move the neighbours apart that the estimate needs. Four times the
# rows put that off by two or three columns. So probe columns alone, in pairs, or a code of few
# components; for many columns at once compare the held-out scores of models.
counts = (0, 1, 2, 3, 4, 6, 8, 12, 16)
figure, panel = plt.subplots(figsize=(6.5, 3.8), layout="constrained")
for n, color in zip(many, ("#33658a", "#d1602f"), strict=False):
    x, error = rng.standard_normal((2, n))
    y, others = 0.9 * x + np.sqrt(1 - 0.9**2) * error, rng.standard_normal((n, max(counts)))
    tables = (np.column_stack([x, others[:, :count]]) for count in counts)
    estimates = [knn_mutual_information(table, y) for table in tables]
    panel.plot(counts, estimates, marker="o", color=color, label=f"{n} rows")
truth = -np.log(1 - 0.9**2) / 2
panel.axhline(truth, color="0.4", linestyle="--", label=f"truth, {truth:.2f}")
panel.set(xlabel="columns of noise beside the one that tells", ylabel="information (nats)", ylim=0)
panel.legend(frameon=False)
plt.show()
