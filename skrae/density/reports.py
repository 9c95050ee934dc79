"""What the user hears of a fit: its warnings, and lines on the way."""

import numpy as np
from sklearn.exceptions import ConvergenceWarning

from skrae.autoencoders.decoders.registry import DECODERS
from skrae.density.fit.checkpoint import early_end
from skrae.density.options import chosen_network_options
from skrae.preprocessing.contract.caller import warn

# Nats by which repeats of log Z may differ without a warning.
SPREAD_LIMIT = 0.1


def warn_of_fit(model, result, ended_by):
    """Warnings of a fit, by its `Result` and what ended it early, if anything."""
    for message in result.remarks.messages():
        warn(message)
    spread = np.ptp(result.log_z_repeats)
    if spread > SPREAD_LIMIT:
        advice = "calibration_weight, noise_covariance='local' or a smaller learning_rate"
        if DECODERS[model.decoder].has_closed_form:
            advice = "noise_level or base_density='mixture'"
        warn(
            f"Got a log Z that differs by {spread:.2f} nats between repeats, expected at most"
            f" {SPREAD_LIMIT}. The model may hold mass far from the data: try a larger"
            f" {advice}.",
            ConvergenceWarning,
        )
    if ended_by:
        warn(early_end(ended_by, model.time_limit), ConvergenceWarning)
    elif model.network_gain_ == 0.0 and chosen_network_options(model):
        name = chosen_network_options(model)[0]
        warn(
            f"With {name}={getattr(model, name)!r} no network beat the base density on the"
            " held-out rows: none is part of the model (network_gain_ is 0). Options of the"
            " network change nothing then: in a search all for which this is so have one score."
        )


def tell_of_base(report, n_components, base_score):
    report.tell(
        f"base density of {n_components} components: held-out log density {base_score:.3f} nats"
    )


def tell_of_model(report, model):
    gain = f"a gain of {model.network_gain_:.3f} nats at noise level {model.noise_level_:g}"
    report.tell(f"network: {gain if model.network_gain_ else 'none beat the base density'}")
    if model.members_:
        share = (model.radial_units_ or {"share": 0.0})["share"]
        report.tell(f"radial units: a share of {share:g} in the model")


def tell_of_check(report, trainer):
    training = trainer.training
    return report.check(
        f"step {training.n_steps}, noise level {trainer.noise_level:g}: held-out gain over the base"
        f" {training.validation_curve[-1]:+.3f} nats"
    )
