"""What the encoders of the family share: their fit, their stored state and the codes of rows."""

from abc import ABC, abstractmethod
from functools import partial

import numpy as np
from sklearn.base import BaseEstimator, ClassNamePrefixFeaturesOutMixin, TransformerMixin
from sklearn.exceptions import ConvergenceWarning
from sklearn.utils import check_random_state
from sklearn.utils.validation import check_is_fitted

from skrae.autoencoders.callbacks import CallbackSupport, FitReport, with_callbacks
from skrae.autoencoders.transformers.fit.fitting import fit_auto_encoder, n_checks
from skrae.autoencoders.transformers.maps.fitted import FittedAutoEncoder
from skrae.autoencoders.transformers.maps.network import Architecture
from skrae.autoencoders.transformers.maps.soundness import check_sound
from skrae.autoencoders.transformers.options import check_continuation, check_neighbors
from skrae.preprocessing.contract.caller import in_own_state, warn
from skrae.preprocessing.contract.options import available_device
from skrae.preprocessing.contract.seal import restored, sealed
from skrae.preprocessing.contract.twin import take_over, twin_of
from skrae.preprocessing.contract.work import TIME_LIMIT, as_work
from skrae.preprocessing.rows import (
    canonical_order,
    canonical_weights,
    check_overflow,
    check_rows,
    distinct_rows,
    frame_of,
)

# What of a fit has no name ending in an underscore.
PRIVATE = "_fitted_as", "_fitted_frame"
# What to do about missing values.
FILL_TO_FIT = "fit to the complete rows, or fill the others, as sklearn.impute does"


class Encoder(
    ClassNamePrefixFeaturesOutMixin, TransformerMixin, CallbackSupport, BaseEstimator, ABC
):
    """An encoder of rows, fitted by an objective on its codes or on what is decoded from them."""

    # What to do about missing values in what is asked about.
    _fill_to_ask = "fill them, as sklearn.impute does"

    @abstractmethod
    def _check_options(self):
        """Raise TypeError or ValueError for the first option outside what is expected."""

    @abstractmethod
    def _resolved_options(self, n_features):
        """The options as `Options`, for rows of so many features."""

    def __sklearn_tags__(self):
        tags = super().__sklearn_tags__()
        tags.transformer_tags.preserves_dtype = ["float64", "float32"]
        return tags

    def __getstate__(self):
        return sealed(super().__getstate__())

    def __setstate__(self, state):
        super().__setstate__(restored(type(self), state))
        if hasattr(self, "coefs_"):
            check_sound(self._fitted(), self.n_features_in_)

    @with_callbacks
    @in_own_state
    def fit(self, X, y=None, sample_weight=None):
        """Fit scaling, linear path and networks to the rows of X.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
            Finite numbers in any units; at least two different rows.
        y : ignored
        sample_weight : array-like of shape (n_samples,), default=None
            Non-negative; a weight of 2 counts as the row twice. Only their ratios matter.

        Returns
        -------
        self

        Raises
        ------
        ValueError
            For an option or data outside what is expected; nothing fitted before is lost.

        Warns
        -----
        ConvergenceWarning
            Where the fit was interrupted or reached its time limit.
        """
        self._check_options()
        previous = self._fitted() if self.warm_start and hasattr(self, "coefs_") else None
        twin = twin_of(self)
        twin._fitted_frame = frame_of(X)
        X = check_rows(twin, X, previous is None, ensure_min_samples=2, advice=FILL_TO_FIT)
        options = self._resolved_options(X.shape[1])
        if previous is not None:
            check_continuation(options.architecture, previous.architecture)
        rows, weights = distinct_rows(X, sample_weight)
        order = canonical_order(rows)
        rows, weights = rows[order], canonical_weights(weights[order])
        check_neighbors(options, len(rows))
        report = FitReport(self, rows, n_checks(self.max_iter, len(rows)))
        result, ended_by = as_work(
            fit_auto_encoder,
            rows,
            weights,
            options,
            check_random_state(self.random_state),
            available_device(self.device),
            previous=previous,
            on_check=partial(_tell_of_check, report),
            time_limit=self.time_limit,
        )
        twin._store(result, X.dtype, previous)
        take_over(self, twin, PRIVATE)
        report.end()
        if ended_by:
            cause = "was interrupted"
            if ended_by == TIME_LIMIT:
                cause = f"reached its time_limit of {self.time_limit:g} seconds"
            warn(
                f"The fit {cause}; the best networks so far are kept and usable.",
                ConvergenceWarning,
            )
        return self

    def _store(self, result, dtype, previous):
        """Set the attributes; the curves of a fit that was continued grow on."""
        fitted = result.fitted
        self.coefs_, self.intercepts_ = fitted.coefs, fitted.intercepts
        self.n_encoder_layers_ = fitted.architecture.n_encoder_layers
        self.location_, self.scale_ = fitted.location, fitted.scale
        self.code_mean_, self.code_scale_ = fitted.code_mean, fitted.code_scale
        self.terms_ = result.terms
        if previous is None:
            self.loss_curve_, self.validation_curve_, self.n_iter_ = [], [], 0
        self.loss_curve_ = self.loss_curve_ + result.loss_curve
        self.validation_curve_ = self.validation_curve_ + result.validation_curve
        self.n_iter_ += result.n_iter
        self._fitted_as = {
            "architecture": fitted.architecture._asdict(),
            "varies": fitted.varies,
            "row_unit": fitted.row_unit,
            "code_unit": fitted.code_unit,
            "atom_norm": fitted.atom_norm,
            "path": fitted.path,
            "dtype": dtype.name,
        }

    def _fitted(self):
        """The auto-encoder that the attributes define."""
        own = {name: value for name, value in self._fitted_as.items() if name != "dtype"}
        return FittedAutoEncoder(
            location=self.location_,
            scale=self.scale_,
            coefs=self.coefs_,
            intercepts=self.intercepts_,
            code_mean=self.code_mean_,
            code_scale=self.code_scale_,
            **{**own, "architecture": Architecture(**own["architecture"])},
        )

    def _answers(self):
        return self._fitted().on(available_device(self.device))

    @property
    def _n_features_out(self):
        return len(self.code_mean_)

    @in_own_state
    def transform(self, X):
        """The code of each row; that of a row is the same in any batch.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)

        Returns
        -------
        code : array of shape (n_samples, n_components)
        """
        answers, X = self._asked(X)
        return as_dtype(answers.encode(answers.space.forward(X)), X.dtype)

    def _asked(self, X):
        check_is_fitted(self)
        return self._answers(), check_rows(self, X, reset=False, advice=self._fill_to_ask)


def as_dtype(values, dtype):
    """In the dtype of the rows that were asked about."""
    with np.errstate(over="ignore"):
        return check_overflow(values.astype(dtype, copy=False))


def _tell_of_check(report, training):
    return report.check(
        f"step {training.n_steps}: objective {training.loss_curve[-1]:.4f}, on held-out rows"
        f" {-training.validation_curve[-1]:.4f}"
    )
