"""
Columns with ends and skew, and the maps they go through
========================================================

A sum of smooth Gaussians leaks over the ends of a column. With ``margins="auto"``, the default,
each column is first mapped part of the way to a normal one.
"""

# %%
# Amounts that are positive and skewed, and a share between 0 and 1 that falls with the amount.
import matplotlib.pyplot as plt
import numpy as np

from skrae import RegularizedAutoEncoderScore

blue, orange = "#31688e", "#d1602f"
plt.rcParams.update({"axes.spines.top": False, "axes.spines.right": False})

rng = np.random.default_rng(0)


def draw(n):
    amount = rng.lognormal(-0.3, 1.0, n)
    return np.column_stack([amount, rng.beta(1.0 + 1.5 / (1.0 + amount**2), 1.0, n)])


rows, fresh = draw(4000), draw(4000)
models = {
    margins: RegularizedAutoEncoderScore(margins=margins, max_iter=100, random_state=0).fit(rows)
    for margins in ("identity", "auto")
}
for margins, model in models.items():
    draws = model.sample(10_000, random_state=0)
    outside = (draws[:, 0] < 0.0) | (draws[:, 1] < 0.0) | (draws[:, 1] > 1.0)
    print(
        f"margins={margins!r}: {model.score(fresh):.2f} nats a row,"
        f" {100.0 * outside.mean():.1f} % of draws outside"
    )
print("maps:", models["auto"].columns_["map"])

# %%
# The density without maps bulges over the ends, that with them keeps to the strip.
figure, panels = plt.subplots(1, 3, figsize=(12, 3.9), layout="constrained")
x, y = np.meshgrid(np.linspace(-0.4, 3.0, 231), np.linspace(-0.2, 1.2, 211))
grid = np.column_stack([x.ravel(), y.ravel()])
titles = "no maps", "maps of the columns"
for panel, title, model in zip(panels[:2], titles, models.values(), strict=True):
    density = np.exp(model.base_log_density(grid)).reshape(x.shape)
    panel.contourf(x, y, density, levels=np.linspace(0.05, 2.5, 12), cmap="Blues", extend="max")
    panel.scatter(*rows[:400].T, s=4, color=orange, linewidths=0)
    for end in (0.0, 1.0):
        panel.axhline(end, color="0.3", linewidth=0.7, linestyle=":")
    panel.axvline(0.0, color="0.3", linewidth=0.7, linestyle=":")
    panel.set(title=title, xlabel="amount", ylabel="share", xlim=(-0.4, 3.0), ylim=(-0.2, 1.2))

parts = models["auto"].margins_
for j, (name, color) in enumerate([("amount", blue), ("share", orange)]):
    s = parts["knots"][j] * parts["scale"][j] + parts["location"][j]
    panels[2].plot(s, parts["values"][j], color=color, label=name)
panels[2].set(title="the maps", xlabel="value", ylabel="mapped", xlim=(-0.2, 3.0), ylim=(-6.0, 6.0))
panels[2].legend(frameon=False)
plt.show()
