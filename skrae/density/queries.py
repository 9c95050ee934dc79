"""What can be asked of a fitted estimator, whatever fitted it: the public methods for new rows."""

from numbers import Integral

import numpy as np
import torch
from sklearn.base import ClassNamePrefixFeaturesOutMixin, TransformerMixin
from sklearn.utils import check_array, check_random_state, check_scalar
from sklearn.utils.validation import check_is_fitted

from skrae.density.device import available_device
from skrae.density.fitted import Evaluator, sampling_target
from skrae.density.options import check_rows, check_weights
from skrae.density.state import FittedState
from skrae.sampling.mcmc.runs import start_run
from skrae.sampling.mcmc.warmup import Plan, base_state
from skrae.sampling.reports import warn_of_chains, warn_of_length
from skrae.sampling.thinning import base_rows, chain_rows, needs_no_chains

N_CHAINS = 64


class DensityQueries(FittedState, ClassNamePrefixFeaturesOutMixin, TransformerMixin):
    """Density, score, Hessian, reconstruction, code and samples from fitted NumPy attributes."""

    def _evaluator(self, dtype):
        return Evaluator(self._fitted(), available_device(self.device), dtype)

    def _ask(self, question, X):
        check_is_fitted(self)
        X = check_rows(self, X, reset=False)
        return getattr(self._evaluator(X.dtype), question)(X)

    @property
    def _n_features_out(self):
        n_layers = len(self.coefs_) - 1
        if self._fitted_as["decoder"] != "gradient":
            n_layers //= 2  # the others decode
        return self.coefs_[n_layers - 1].shape[1]

    def score_samples(self, X):
        """Normalised log density log p(x) of each row, in nats and the units of X.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)

        Returns
        -------
        log_density : array of shape (n_samples,)
        """
        return self._ask("log_density", X)

    def score(self, X, y=None, sample_weight=None):
        """Mean of `score_samples`, weighted if weights are given.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
        y : ignored
        sample_weight : array-like of shape (n_samples,), default=None

        Returns
        -------
        score : float
        """
        log_density = self.score_samples(X)
        if sample_weight is None:
            return float(np.mean(log_density))
        return float(np.average(log_density, weights=check_weights(sample_weight, log_density)))

    def log_density_gradient(self, X):
        """The score function, grad log p(x) = (r(x) - x) / tau to first order.

        The gradient of `score_samples`, up to the curl of its field for decoder="free". With
        bias_correction=True it comes from r alone instead, without the bias of first order in tau.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)

        Returns
        -------
        gradient : array of shape (n_samples, n_features), nats per unit of X

        Warns
        -----
        UserWarning
            With bias_correction=True, where r is too flat for rows to be corrected.
        """
        return self._ask("gradient", X)

    def log_density_hessian(self, X):
        """Derivatives of grad log p(x), symmetric but for decoder="free".

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)

        Returns
        -------
        hessian : array of shape (n_samples, n_features, n_features)
        """
        return self._ask("hessian", X)

    def base_log_density(self, X):
        """log q(x), the normalised log density of the base density alone.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)

        Returns
        -------
        log_density : array of shape (n_samples,)
        """
        return self._ask("base_log_density", X)

    def transform(self, X):
        """The code, the output of the encoder's last layer.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)

        Returns
        -------
        code : array of shape (n_samples, hidden_layer_sizes[-1])
        """
        return self._ask("code", X)

    def reconstruct(self, X):
        """Denoised points r(x), for a network trained by denoising the mean of the clean points.

        The gradient decoder has r(x) = x + tau C(x) grad log p(x). Where the base is the model
        (`network_gain_` is 0) p in it has the noise added, which makes r the mean of the clean
        points under q. Free and tied decoders keep the r that was trained.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)

        Returns
        -------
        reconstruction : array of shape (n_samples, n_features)
        """
        return self._ask("reconstruct", X)

    def inverse_transform(self, X):
        """Points r that codes stand for: inverse_transform(transform(X)) is reconstruct(X).

        Parameters
        ----------
        X : array-like of shape (n_samples, n_codes)
            Codes, as `transform` returns.

        Returns
        -------
        points : array of shape (n_samples, n_features)

        Raises
        ------
        ValueError
            For decoder="gradient", whose reconstruction is no function of the code alone.
        """
        check_is_fitted(self)
        if self._fitted_as["decoder"] == "gradient":
            raise ValueError(
                "The model was fitted with decoder='gradient', which cannot decode: its"
                " reconstruction is no function of the code alone; expected 'free' or 'tied'."
            )
        codes = check_array(X, dtype=[np.float64, np.float32], input_name="X")
        if codes.shape[1] != self._n_features_out:
            raise ValueError(
                f"X has {codes.shape[1]} columns; expected {self._n_features_out}, the size of a"
                " code."
            )
        return self._evaluator(codes.dtype).decode(codes)

    def local_moments(self, X):
        """Mean and covariance of the clean point given a noisy one (Alain & Bengio 2014, s. 3).

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)

        Returns
        -------
        means : array of shape (n_samples, n_features), r(x)
        covariances : array of shape (n_samples, n_features, n_features)
            tau C + tau^2 C (Hess log p) C, positive semi-definite.
        """
        return self._ask("reconstruct", X), self._ask("local_covariance", X)

    def sample(self, n_samples=1, random_state=None):
        """Draw new rows by Metropolis-Hastings: jumps from q and local moves, as `RAESampler`.

        Parameters
        ----------
        n_samples : int >= 1, default=1
        random_state : int, RandomState instance or None, default=None

        Returns
        -------
        X : array of shape (n_samples, n_features), of the dtype the model was fitted to
        """
        check_is_fitted(self)
        check_scalar(n_samples, "n_samples", Integral, min_val=1)
        seed = int(check_random_state(random_state).randint(2**31 - 1))
        device, dtype = available_device(self.device), self._fitted_as["dtype"]
        generator = torch.Generator(device).manual_seed(seed)
        target = sampling_target(self._fitted(), device)
        with torch.no_grad():
            if needs_no_chains(target, "auto"):
                return base_rows(target, n_samples, generator).astype(dtype, copy=False)
            state = base_state(target, N_CHAINS, generator)
            run = start_run(target, state, Plan(), generator, dtype)
            rows, quality = chain_rows(run, n_samples)
        names = getattr(self, "feature_names_in_", None)
        warn_of_chains(quality.health, names, "own", stacklevel=2)
        warn_of_length(quality.ess, n_samples, stacklevel=2)
        return rows
