"""Chains: what `RAESampler.sample_chains` returns."""

import numpy as np

from skrae.sampling.mcmc import diagnostics
from skrae.sampling.options import n_features_of
from skrae.sampling.reports import RHAT_LIMIT, ConvergenceSummary


class Chains:
    """Draws of several Markov chains, in the units of the data, and their diagnostics.

    Attributes
    ----------
    draws : array of shape (n_chains, n_draws, n_features)
    log_density : array of shape (n_chains, n_draws)
        What `score_samples` gives for the draws, in nats; not divided by the temperature.
    acceptance_rate : array of shape (n_chains,)
        Share of all transitions, those between kept draws included, that were accepted.
    step_size : float
        Of the local moves, in units of the metric; 0 where there are none.
    thin : int
        Transitions a draw.
    n_nonfinite : array of shape (n_chains,)
        Proposals whose log density was NaN or infinite; all of them were rejected.
    feature_names : list of str or None
    """

    def __init__(self, record, run, thin, feature_names=None):
        self.draws, self.log_density = record.positions, record.log_density
        self.acceptance_rate = record.n_accepted / max(record.n_transitions, 1)
        self.n_nonfinite = record.n_nonfinite
        self._n_undefined, self._is_flat = record.n_undefined, record.is_flat
        self._n_proposed = record.n_transitions * len(record.positions)
        self.step_size, self.thin = run.kernel.step_size, thin
        self.feature_names = None if feature_names is None else [str(n) for n in feature_names]
        self._checkpoint = run.checkpoint
        arrays = None if run.target.base is None else run.target.base.arrays()
        self._origin = run.target.transform, arrays

    def __repr__(self):
        n_chains, n_draws, d = self.draws.shape
        return (
            f"Chains(n_chains={n_chains}, n_draws={n_draws}, n_features={d},"
            f" acceptance_rate={self.acceptance_rate.mean():.2f}, step_size={self.step_size:.3g},"
            f" rhat={self.rhat().max():.3f}, ess={self.ess().min():.0f})"
        )

    def ess(self):
        """Effective sample size of each feature, shape (n_features,).

        Bulk ESS of rank-normalised split chains (Vehtari et al. 2021): how many independent draws
        locate the distribution equally well.
        """
        return diagnostics.ess(self.draws)

    def rhat(self):
        """Potential scale reduction of each feature, shape (n_features,); mixed chains are near 1.

        The larger of the rank-normalised split R-hat and its folded version (Vehtari et al. 2021).
        Above 1.01 the chains have not explored the same distribution, or are too short to tell:
        with m chains it stays above that until the effective sample size is some 100 m. It cannot
        see a mode in which no chain has been. Of one chain the halves are compared. NaN, unknown,
        for fewer than 4 draws and where no draw differs from another.
        """
        return diagnostics.rhat(self.draws)

    def mcse(self):
        """Monte-Carlo standard error of the mean of each feature, shape (n_features,), units of X.

        sd / sqrt(ESS), of split chains without ranks.
        """
        return diagnostics.mcse(self.draws)

    def _summary(self):
        """What a warning about the chains depends on."""
        rhat = diagnostics.rhat_of_few(self.draws)
        if np.nanmax(rhat, initial=1.0) > RHAT_LIMIT:
            rhat = self.rhat()
        return ConvergenceSummary(
            rhat=rhat,
            n_draws=self.draws.shape[1],
            acceptance_rate=float(self.acceptance_rate.mean()),
            n_undefined=int(self._n_undefined.sum()),
            n_proposed=self._n_proposed,
            is_flat=self._is_flat,
        )

    def to_arviz(self):
        """The draws as ArviZ's data structure, for its plots and summaries.

        Returns
        -------
        data : xarray.DataTree
            Group "posterior" with the variable "x" (chain, draw, feature), group "sample_stats"
            with "lp", the log density.

        Raises
        ------
        ImportError
            Without the package arviz-base.
        """
        try:
            from arviz_base import from_dict
        except ImportError as error:
            raise ImportError(
                "to_arviz needs the package arviz-base; expected it installed, as by the extra"
                " skrae[mcmc]."
            ) from error
        d = self.draws.shape[2]
        names = self.feature_names or [f"x{j}" for j in range(d)]
        return from_dict(
            {"posterior": {"x": self.draws}, "sample_stats": {"lp": self.log_density}},
            coords={"feature": names},
            dims={"x": ["feature"]},
        )

    def to_rows(self):
        """All draws of all chains as rows, shape (n_chains * n_draws, n_features)."""
        return np.concatenate(list(self.draws))


def check_start(estimator, X_init, continue_from):
    """Raise where what is continued is no `Chains` of these features, or has starts beside it."""
    if continue_from is None:
        return
    if not isinstance(continue_from, Chains):
        raise TypeError(
            f"Got a {type(continue_from).__name__} as continue_from, expected the Chains that"
            " sample_chains returned."
        )
    if X_init is not None:
        raise ValueError("Got X_init and continue_from, expected one of them.")
    d = continue_from.draws.shape[2]
    if n_features_of(estimator) not in (None, d):
        raise ValueError(
            f"Got chains of {d} features as continue_from, expected {n_features_of(estimator)},"
            " those of the estimator."
        )
