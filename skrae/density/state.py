"""The fitted attributes of the estimator: written after a fit, read back as a `Fitted` density."""

import numpy as np

from skrae.density.fitted import Fitted
from skrae.preprocessing.affine import Scaling


class FittedState:
    """NumPy attributes that end in _, and the options that they were fitted with."""

    def _fitted(self):
        """The density that the attributes define."""
        base = self.base_weights_, self.base_means_, self.base_factors_, self.base_dofs_
        return Fitted(
            Scaling(self.location_, self.whitening_, self._unwhitening, self._log_det),
            base,
            self.coefs_,
            self.intercepts_,
            self._fitted_as["decoder"],
            self._fitted_as["activation"],
            self._fitted_as["noise_covariance"],
            self.noise_level_,
            self._fitted_as["contraction_weight"],
            self._fitted_as["bias_correction"],
            self.log_normalizer_,
        )

    def _store(self, result, dtype, previous):
        """Set the attributes; the curves of a fit that was continued grow on."""
        fitted, outcome = result.fitted, result.outcome
        self.location_, self.whitening_, self._unwhitening, self._log_det = fitted.scaling
        self.base_weights_, self.base_means_, self.base_factors_, self.base_dofs_ = fitted.base
        self.coefs_, self.intercepts_ = fitted.coefs, fitted.intercepts
        self.noise_level_ = fitted.noise_level
        self.noise_levels_ = np.array(outcome.noise_levels)
        self.noise_level_scores_ = result.base_score + np.array(outcome.gains)
        self.base_score_ = result.base_score
        self.network_gain_ = float(outcome.gain)
        self.curl_ = result.curl
        self.log_normalizer_ = fitted.log_z
        self.log_normalizer_repeats_ = repeats = result.log_z_repeats
        self.log_normalizer_stderr_ = float(repeats.std(ddof=1) / np.sqrt(len(repeats)))
        if previous is None:
            self.loss_curve_, self.validation_curve_, self.n_iter_ = [], [], 0
        self.loss_curve_ = self.loss_curve_ + result.loss_curve
        self.validation_curve_ = self.validation_curve_ + result.validation_curve
        self.n_iter_ += result.n_iter
        self._fitted_as = {
            "decoder": fitted.decoder,
            "activation": fitted.activation,
            "noise_covariance": fitted.noise_covariance,
            "contraction_weight": fitted.contraction_weight,
            "bias_correction": fitted.bias_correction,
            "dtype": dtype.name,
        }
