"""RAESampler: Metropolis-Hastings on any fitted density, following scikit-learn's habits."""

from numbers import Integral

import numpy as np
import torch
from sklearn.base import BaseEstimator, clone

from skrae.preprocessing.contract.caller import in_own_state
from skrae.preprocessing.contract.options import check_number
from skrae.preprocessing.rows import as_fitted, check_overflow, completed_as
from skrae.sampling.chains import Chains, check_start
from skrae.sampling.completion import complete
from skrae.sampling.mcmc.runs import Run
from skrae.sampling.options import check_incomplete_rows, check_untempered, sampled_estimator
from skrae.sampling.reports import (
    remedy_for,
    reporting,
    warn_of_chains,
    warn_of_cold_start,
    warn_of_few_draws,
    warn_of_interruption,
    warn_of_length,
    warn_of_no_base,
    warn_of_rows,
    warn_of_undefined,
)
from skrae.sampling.start import check_continuation, make_setup
from skrae.sampling.thinning import base_rows, chain_rows, needs_no_chains


class RAESampler(BaseEstimator):
    """Markov chains that draw from any fitted density: Metropolis-Hastings in parallel.

    A chain at x proposes y and moves there with probability

        min(1, p(y) k(y -> x) / (p(x) k(x -> y))),

    k the density of the proposal. All chains take a step in one batch.

    Parameters
    ----------
    estimator : fitted object with `score_samples`
        `log_density_gradient` too for gradient proposals. A `RegularizedAutoEncoderScore` is
        sampled inside torch, any other by its public methods.
    proposal : {"auto", "random_walk", "langevin", "hamiltonian", "independence"}, default="auto"
        "random_walk": y = x + noise (Alain & Bengio 2014). "langevin": a step up the score, plus
        noise. "hamiltonian": leapfrog, of a random number of steps. "independence": draws of the
        base density, which cross between modes. "auto": those and local moves, as warm-up sets.
    n_chains : int >= 1, default=64
    n_warmup : int >= 0, default=512
        Transitions that tune step size and metric and are thrown away.
    step_size : "auto" or float > 0, default="auto"
        Of local moves, in units of the metric; "auto" tunes it to the acceptance that is best in
        many dimensions: 0.234 and 0.574 for random walk and Langevin, and to 0.8 for Hamiltonian.
    log_ratio : {"auto", "exact", "path", "first_order", "second_order"}, default="auto"
        How log p(y) - log p(x) is had. "auto", "exact": difference of `score_samples`. "path": line
        integral of the score. "first_order", "second_order": expansions about x (Alain & Bengio
        2014), which are biased, and for local moves alone: "auto" proposals are then "langevin",
        and `second_order` needs `log_density_hessian`.
    temperature : float > 0, default=1.0
        The chains draw from p^(1 / temperature). A `RegularizedAutoEncoderScore` in d dimensions
        has Student-t tails of 3 degrees of freedom: that is a density below 1 + 3 / d alone.
    init : "auto" or array of shape (n_chains, n_features), default="auto"
        Starts; "auto" draws them from the base density or by the estimator's own `sample`.
    base_density : "auto", None, fitted mixture or array of shape (n, n_features), default="auto"
        What independence proposals are drawn from. A GaussianMixture, or rows to fit one to.
        "auto": the estimator's own base density; the estimator itself if it is a GaussianMixture;
        a mixture fitted to rows of its `sample`; where it has none of them, proposal "auto" fits
        one to the last draws of its warm-up, with a warning, and others do without.
    metric : {"auto", "local", "dense", "diagonal"}, default="auto"
        The covariance local moves are scaled by: that of the base density's component a chain is
        in, or one of all warm-up draws, full or diagonal. "auto": "local" for the short moves of
        "auto" between independence proposals; else "dense".
    thin : int >= 1, default=1
        Transitions a draw of `sample_chains`; memory is that of the draws kept.
    progress : bool or callable, default=False
        True draws a bar (needs rich); a callable is handed a tuple with the fields stage, n_done,
        n_total, acceptance_rate and rhat.
    random_state : int, RandomState instance or None, default=None
        Of the starts, the warm-up and the chains: the same integer gives the same draws.

    See Also
    --------
    RegularizedAutoEncoderScore.sample : The same with default options.
    Chains : What `sample_chains` returns.
    skrae.plotting.TraceDisplay : Traces of chains, with their diagnostics.
    skrae.plotting.PairDisplay : Draws beside the data.

    Notes
    -----
    Chains draw from p exactly only in the limit. What they tell of themselves is R-hat, which is
    near 1 where they agree, and the effective sample size; neither sees a mode that no chain has
    visited, which is what a base density is for.

    References
    ----------
    Hastings (1970), "Monte Carlo sampling methods using Markov chains and their applications",
    Biometrika 57. Roberts & Tweedie (1996), Bernoulli 2. Duane et al. (1987), Physics Letters B
    195. Alain & Bengio (2014), "What regularized auto-encoders learn from the data-generating
    distribution", JMLR 15, section 4.

    Examples
    --------
    >>> import numpy as np
    >>> from sklearn.mixture import GaussianMixture
    >>> from skrae import RAESampler
    >>> X = np.random.default_rng(0).standard_normal((500, 2)) * [1.0, 100.0]
    >>> sampler = RAESampler(GaussianMixture(2, random_state=0).fit(X), random_state=0)
    >>> (sampler.sample(4000).std(axis=0) / X.std(axis=0)).round(1)
    array([1., 1.])
    >>> chains = sampler.sample_chains(200)
    >>> chains.draws.shape, bool((chains.rhat() < 1.05).all())
    ((64, 200, 2), True)
    >>> sampler.impute([[0.5, np.nan]]).shape
    (1, 2)
    """

    def __init__(
        self,
        estimator,
        *,
        proposal="auto",
        n_chains=64,
        n_warmup=512,
        step_size="auto",
        log_ratio="auto",
        temperature=1.0,
        init="auto",
        base_density="auto",
        metric="auto",
        thin=1,
        progress=False,
        random_state=None,
    ):
        self.estimator = estimator
        self.proposal = proposal
        self.n_chains = n_chains
        self.n_warmup = n_warmup
        self.step_size = step_size
        self.log_ratio = log_ratio
        self.temperature = temperature
        self.init = init
        self.base_density = base_density
        self.metric = metric
        self.thin = thin
        self.progress = progress
        self.random_state = random_state

    def __sklearn_clone__(self):
        # The estimator is what is sampled, like data: a clone of it would be unfitted.
        return type(self)(**self.get_params(deep=False))

    @in_own_state
    def sample(self, n_samples=1, random_state=None):
        """Draw rows that are independent enough to use.

        Chains run until R-hat is at most 1.01, or no longer falls, or for 4096 transitions, and are
        thinned by twice their measured autocorrelation time.

        Parameters
        ----------
        n_samples : int >= 1, default=1
        random_state : int, RandomState instance or None, default=None
            Instead of the option of the same name, unless it is None.

        Returns
        -------
        X : array of shape (n_samples, n_features)
            A data frame of the same columns where a `RegularizedAutoEncoderScore` was fitted to one
            of pandas or polars. Fewer rows after a KeyboardInterrupt; in the warm-up, where each
            chain stood.

        Raises
        ------
        TypeError, ValueError
            For options, an estimator or starts other than what is expected.

        Warns
        -----
        ConvergenceWarning
            Where the chains do not mix, or the rows are worth fewer than half as many independent
            ones, and after an interrupt.
        RuntimeWarning
            Where proposals had a log density of NaN or +infinity.
        """
        check_number("n_samples", n_samples, 1, kind=Integral)
        setup = make_setup(self._seeded(random_state))
        with torch.no_grad(), np.errstate(over="ignore"), reporting(self.progress) as reporter:
            if needs_no_chains(setup.target, self.proposal):
                rows = base_rows(setup.target, n_samples, setup.generator)
                return as_fitted(setup.estimator, rows)
            run = setup.start(reporter)
            rows, quality = chain_rows(run, n_samples, reporter)
        if run.broken_off:
            warn_of_cold_start()
            return as_fitted(setup.estimator, rows)
        if setup.settings.learns:
            warn_of_no_base(run.target.base is not None)
        if quality.interrupted:
            warn_of_interruption(f"the {len(rows)} rows")
        remedy = remedy_for(self.proposal, self.base_density)
        warn_of_chains(quality.summary, setup.names, remedy)
        warn_of_length(quality.ess, len(rows))
        return as_fitted(setup.estimator, rows)

    def _seeded(self, random_state):
        """This sampler, or one like it with another seed."""
        return self if random_state is None else clone(self).set_params(random_state=random_state)

    @in_own_state
    def sample_chains(self, n_draws, X_init=None, *, continue_from=None):
        """Run the chains and return their draws as they are, with diagnostics.

        Parameters
        ----------
        n_draws : int >= 1
            Draws a chain, each after `thin` transitions.
        X_init : array-like of shape (n_chains, n_features), default=None
            Starts, instead of those of the option `init`.
        continue_from : Chains, default=None
            Go on exactly where this run ended, without a warm-up: two runs in a row give the draws
            of one long run. Its own draws are not repeated; its chains, kernel and step size go on,
            whatever the options say now.

        Returns
        -------
        chains : Chains
            Shorter after a KeyboardInterrupt; in the warm-up, where each chain stood.

        Raises
        ------
        TypeError, ValueError
            For options, an estimator or starts other than what is expected.

        Warns
        -----
        ConvergenceWarning
            Where R-hat is above 1.01, or above what as many independent draws may show, and after
            an interrupt.
        RuntimeWarning
            Where proposals had a log density of NaN or +infinity.
        """
        check_number("n_draws", n_draws, 1, kind=Integral)
        check_start(sampled_estimator(self.estimator), X_init, continue_from)
        setup = make_setup(self, X_init, continue_from and continue_from._origin)
        with torch.no_grad(), np.errstate(over="ignore"), reporting(self.progress) as reporter:
            if continue_from is None:
                run = setup.start(reporter)
            else:
                run = Run(setup.target, check_continuation(setup, continue_from))
            report = reporter and reporter.draws(n_draws)
            cold = run.broken_off
            record = run.where_it_stands() if cold else run.draw(n_draws, self.thin, report)
        check_overflow(record.positions)
        chains = Chains(record, run, self.thin, setup.names)
        if cold:
            warn_of_cold_start()
            return chains
        if setup.settings.learns and continue_from is None:
            warn_of_no_base(run.target.base is not None)
        if record.interrupted:
            warn_of_interruption(f"the {chains.draws.shape[1]} draws a chain")
        remedy = remedy_for(self.proposal, self.base_density)
        warn_of_chains(chains._summary(), setup.names, remedy)
        return chains

    @in_own_state
    def sample_conditional(self, X, n_samples=100):
        """Draw the missing entries of rows given the observed ones.

        Four chains a row take draws of the base density given the observed entries, and move
        locally within the missing ones, whatever `proposal`, `n_chains` and `init` say; the draws
        are those of p^(1 / temperature). With a `random_state` they depend on what is observed of a
        row, and on how many equal rows are before it, not on the rows beside it.

        Of a `RegularizedAutoEncoderScore` on a raw table, with categories, cells, atoms or holes,
        the draws are instead some of eight times as many of the base density, 64 to 1024, taken by
        their weights p / q (Rubin 1987), at temperature 1.

        Parameters
        ----------
        X : array-like or data frame of shape (n, n_features)
            NaN, None, NA or null where unknown. A row without such is returned as it is; for one of
            nothing else the draws are those of `sample`.
        n_samples : int >= 1, default=100

        Returns
        -------
        draws : array of shape (n, n_samples, n_features)
            Completed rows, of the dtype of X, of objects where a data frame has columns that are no
            numbers; an array for data frames too. Fewer of them after a KeyboardInterrupt: the
            first.

        Raises
        ------
        TypeError, ValueError
            For options, an estimator or rows not as expected, or without a base density.

        Warns
        -----
        ConvergenceWarning
            Where the chains of some rows do not mix, where few of the draws of the base density
            have a weight, and after an interrupt.
        RuntimeWarning
            Where proposals had a log density of NaN or +infinity.
        """
        setup = self._completion_setup(n_samples)
        if _is_of_raw_table(setup):
            return self._of_raw_table(setup, X, n_samples, "draws")
        X = check_incomplete_rows(setup.target, setup.estimator, X)
        draws = np.empty((len(X), n_samples, X.shape[1]), X.dtype)
        draws[:] = X[:, None]

        def take(rows, completed):
            draws[rows] = completed

        return check_overflow(draws[: self._complete(setup, X, n_samples, take, repeats=False)])

    def _completion_setup(self, n_samples):
        """The `ChainSetup` of a call that completes rows."""
        check_number("n_samples", n_samples, 1, kind=Integral)
        return make_setup(self)

    def _of_raw_table(self, setup, X, n_samples, of):
        """Rows of a raw table completed by draws of the base density and their weights."""
        check_untempered(self)
        seed = setup.generator.initial_seed()
        found, effective = setup.estimator._completions(X, n_samples, seed, of=of)
        warn_of_few_draws(effective)
        return found

    def _complete(self, setup, X, n_samples, take, *, repeats):
        """Hand take(rows, draws) the draws of rows with holes; how many rows of X are done."""
        rows = np.flatnonzero(np.isnan(X).any(axis=1))
        if not len(rows):
            return len(X)
        with torch.no_grad(), np.errstate(over="ignore"), reporting(self.progress) as reporter:
            done = complete(
                setup.target,
                setup.settings.density_ratio,
                X[rows].astype(np.float64),
                n_samples,
                setup.generator.initial_seed(),
                lambda place, draws: take(rows[place], draws),
                repeats=repeats,
                reporter=reporter,
            )
        n_done = int(rows[len(done.rhat)]) if len(done.rhat) < len(rows) else len(X)
        if done.interrupted:
            warn_of_interruption(f"the first {n_done} rows")
        warn_of_undefined(done.n_undefined, done.n_proposed)
        warn_of_rows(done.rhat, done.n_draws, rows)
        return n_done

    @in_own_state
    def impute(self, X, n_samples=100):
        """Fill the missing entries of rows with their mean given the observed ones.

        A category gets its likeliest level, a column on a grid the value of the grid next to the
        mean. With a `random_state`, that of a row is the same whatever rows are beside it.

        Parameters
        ----------
        X : array-like or data frame of shape (n, n_features)
            NaN, None, NA or null where unknown.
        n_samples : int >= 1, default=100
            Draws of `sample_conditional` that the mean is taken of; of a raw table 64 or more of
            the base density, by their weights p / q.

        Returns
        -------
        X : array of shape (n, n_features)
            Of a data frame of pandas or polars one of the same columns, index and dtypes. Of an
            estimator of plain numbers, and where a column of integers cannot hold a mean, columns
            become floats where an entry was missing. Fewer rows after a KeyboardInterrupt: the
            first.
        """
        setup = self._completion_setup(n_samples)
        if _is_of_raw_table(setup):
            return self._of_raw_table(setup, X, n_samples, "mean")
        rows = check_incomplete_rows(setup.target, setup.estimator, X)
        filled = rows.copy()

        def take(place, draws):
            # The mean of equal numbers is not always that number.
            constant = (draws == draws[:, :1]).all(axis=1)
            filled[place] = np.where(constant, draws[:, 0], draws.mean(axis=1))

        n_done = self._complete(setup, rows, n_samples, take, repeats=True)
        return completed_as(X, check_overflow(filled[:n_done]))


def _is_of_raw_table(setup):
    """Whether the rows of the density are full rows of a raw table."""
    return getattr(setup.estimator, "_axis_names", None) is not None
