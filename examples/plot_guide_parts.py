"""
Base density, network and normaliser
====================================

log p = log q + f - log Z: a base density that is known, a network that corrects it, and the one
number that makes the sum integrate to one. On the line all of them can be drawn.
"""

# %%
# q is a single Gaussian here (`base_density="gaussian"`), with one wide Student-t component, so
# that there is much left to correct. By default q is an average of Gaussian mixtures chosen on
# held-out rows, and f small.
import matplotlib.pyplot as plt
import numpy as np

from skrae import RegularizedAutoEncoderScore
from skrae.datasets import SexticWell

blue, orange = "#31688e", "#d1602f"
plt.rcParams.update({"axes.spines.top": False, "axes.spines.right": False})

density = SexticWell()
rows = density.sample(1000, random_state=0)
model = RegularizedAutoEncoderScore(
    base_density="gaussian", hidden_layer_sizes=(64, 64), random_state=0
).fit(rows)

x = np.linspace(-3, 3, 1201)[:, None]
log_q, log_p = model.base_log_density(x), model.score_samples(x)
f = log_p - log_q + model.log_normalizer_
area = np.trapezoid(np.exp(log_p), x[:, 0])
print(f"log Z = {model.log_normalizer_:.3f}, standard error {model.log_normalizer_stderr_:.3f}")
print(f"area under p on the picture: {area:.3f}")

# %%
# Left: the base density alone. Middle: what the network adds, bounded above, so that nowhere it
# can turn the little mass that q has far away into a mode. Right: the sum, normalised, over the
# true density.
figure, panels = plt.subplots(1, 3, figsize=(11, 3.2), sharex=True, layout="constrained")
panels[0].plot(x, np.exp(log_q), color=blue)
panels[0].set_title("base density q")
panels[1].axhline(0, color="0.7", linewidth=0.8)
panels[1].plot(x, f, color=orange)
panels[1].set_title("network f, in nats")
panels[2].fill_between(x[:, 0], np.exp(density.log_density(x)), color="0.85", label="truth")
panels[2].plot(x, np.exp(log_p), color=orange, label="p = q exp(f) / Z")
panels[2].legend(frameon=False, loc="upper left", fontsize=8)
panels[2].set_ylim(0, 1.1)
panels[2].set_title("density p")
for panel in panels:
    panel.set_xlabel("x")
plt.show()
