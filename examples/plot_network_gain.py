"""
What the network adds
=====================

A density with skrae is a base density, known in closed form, and a network that corrects it. Fit
1500 points of a spiral twice, with a coarse base and with the default one, and see what the network
adds to each, in nats.
"""

# %%
# Rows of a known density
# -----------------------
# The points scatter around a spiral. Its density is known, so that the fits can be compared with
# the truth on 5000 points that none of them has seen.
import matplotlib.pyplot as plt
import numpy as np

from skrae import RegularizedAutoEncoderScore
from skrae.datasets import Spiral

density = Spiral()
points = density.sample(1500, random_state=0)
held_out = density.sample(5000, random_state=1)

# %%
# With ``base_density="gaussian"`` the base is a single Gaussian, beside one wide Student-t
# component. It knows where the rows are, and nothing of the spiral: that is the network's to learn.
# The default base is an average of Gaussian mixtures, with as many components as help on the rows
# that the fit holds out for validation. ``select=None`` leaves :ref:`radial units <ripples>` out.
coarse = RegularizedAutoEncoderScore(base_density="gaussian", random_state=0).fit(points)
default = RegularizedAutoEncoderScore(select=None, random_state=0).fit(points)

truth = density.log_density(held_out).mean()
print("mean log density of held-out points, nats per row")
print("base              base alone   with network   network_gain_")
for name, model in (("single Gaussian", coarse), ("default", default)):
    alone = model.base_log_density(held_out).mean()
    print(f"{name:15}{alone:13.2f}{model.score(held_out):15.2f}{model.network_gain_:16.2f}")
print(f"the true density{truth:12.2f}")

# %%
# ``network_gain_`` is what the network added on the validation rows of the fit. Where the base can
# follow the rows by itself, as many Gaussians can follow a curve in the plane, it is 0 and the base
# *is* the model: a network is kept only where it clearly helps. In more columns there are often
# too few rows for so many components, and the network adds to the default base too:
# :ref:`sphx_glr_auto_examples_plot_quickstart.py` prints how much in 30 columns, and
# :doc:`/benchmarks` in other tables, under "skrae, fit by fit".

# %%
# The picture
# -----------
# The fit with the coarse base: without the network, with it, and new rows drawn from it. Arrows are
# the :ref:`score <two-scores>`, the gradient of the log density; their length is capped.
limit = 1.15 * np.abs(points).max()
line = np.linspace(-limit, limit, 220)
fine = np.stack(np.meshgrid(line, line), axis=-1).reshape(-1, 2)
at = np.stack(np.meshgrid(line[6::13], line[6::13]), axis=-1).reshape(-1, 2)
at = at[coarse.score_samples(at) > coarse.score_samples(points).max() - 7]
arrows = coarse.log_density_gradient(at)
arrows *= 0.055 / np.maximum(np.linalg.norm(arrows, axis=1, keepdims=True), 10)

plt.rcParams.update({"font.size": 11, "axes.spines.top": False, "axes.spines.right": False})
figure, panels = plt.subplots(1, 3, figsize=(12.5, 4.7), sharex=True, sharey=True)
figure.set_layout_engine("constrained", wspace=0.03)
for panel, log_density, title in (
    (panels[0], coarse.base_log_density, "base density alone"),
    (panels[1], coarse.score_samples, "with the network"),
):
    heights = np.exp(log_density(fine)).reshape(220, 220)
    panel.pcolormesh(line, line, heights, cmap="Blues", rasterized=True)
    nats = log_density(held_out).mean()
    panel.set_title(f"{title}: {nats:.2f} nats per row")
panels[1].quiver(*at.T, *arrows.T, angles="xy", scale_units="xy", scale=1, color="#d1602f")
panels[0].scatter(*points.T, s=3, color="0.3", linewidths=0)
panels[2].scatter(*coarse.sample(1500, random_state=0).T, s=5, color="#d1602f", linewidths=0)
panels[2].set_title("1500 new rows")
for panel in panels:
    panel.set(xlabel="first column", aspect="equal")
panels[0].set_ylabel("second column")
# sphinx_gallery_start_ignore
import os  # noqa: E402

folder = os.environ.get("SKRAE_OUTPUT", ".")
figure.savefig(os.path.join(folder, "network_gain.png"), dpi=100)
# sphinx_gallery_end_ignore
