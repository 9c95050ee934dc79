"""How much a set of Markov chains tells: effective sample size, R-hat, Monte-Carlo error.

Every function takes draws of shape (n_chains, n_draws, d), raises ValueError if the axes are not
three, and gives one number per column, (d,): NaN where it is undefined, that is where a draw of
the column is not finite or the chains have fewer than 4 draws. Chains are cut into halves first,
so that one that drifts disagrees with itself; the middle one of an odd number of draws is left out.

With W the mean of the variances within the m half chains of n draws, and b the variance of their
means, V = W (n - 1) / n + b estimates the variance of the target, and

    R-hat = sqrt(V / W),   rho_t = 1 - (W - s_t) / V,   tau = -1 + 2 sum_t rho_t,   ESS = m n / tau

with s_t the autocovariance at lag t, averaged over the half chains.

References
----------
Vehtari, Gelman, Simpson, Carpenter & Buerkner (2021), Rank-normalization, folding, and
localization: an improved R-hat for assessing convergence of MCMC. Bayesian Analysis 16(2).
Geyer (1992), Practical Markov chain Monte Carlo. Statistical Science 7(4).
"""

import numpy as np
from scipy import fft
from scipy.special import ndtri

MIN_DRAWS = 4  # halves of two draws: the fewest that have a variance
ESS_KINDS = ("bulk", "mean")
# Of the largest of some numbers: differences below are their rounding.
ROUNDING = 1e-14
# Draws of a chain that are enough to judge it by.
FEW_DRAWS = 256


def ess(draws, kind="bulk"):
    """Effective sample size, ESS = N / tau: how many independent draws tell as much.

    A constant column counts in full, N = 2 n_chains * (n_draws // 2); antithetic chains may
    exceed N, up to N log10(N).

    Parameters
    ----------
    draws : array-like of shape (n_chains, n_draws, d)
    kind : {"bulk", "mean"}
        "mean" is for the mean of the draws as they are; "bulk" for that of their normal scores,
        which exists for every distribution and is the one to judge a sampler by.

    Returns
    -------
    ndarray of shape (d,)

    Raises
    ------
    ValueError
        If kind is none of the two.

    Examples
    --------
    >>> import numpy as np
    >>> noise = np.random.default_rng(0).standard_normal((4, 1000, 1))
    >>> independent, walk = noise, noise.cumsum(axis=1)
    >>> float(ess(independent)[0]), float(ess(walk)[0])
    (3926., 5.)
    """
    if kind not in ESS_KINDS:
        raise ValueError(f"Got kind={kind!r}, expected one of {ESS_KINDS}.")
    return _of_columns(_bulk_size if kind == "bulk" else _mean_size, draws)


def rhat(draws):
    """R-hat, the larger of that of normal scores and that of folded ones, |x - median|.

    Chains that agree give 1; above 1.01 they should not be trusted. The scores see chains that
    differ in place whatever their tails, the folded ones chains that differ in width. Of one chain
    the halves are compared. A column that is constant, up to rounding, gives NaN, chains that are
    stuck at different places infinity.

    Parameters
    ----------
    draws : array-like of shape (n_chains, n_draws, d)

    Returns
    -------
    ndarray of shape (d,)

    Examples
    --------
    >>> import numpy as np
    >>> noise = np.random.default_rng(0).standard_normal((4, 1000, 1))
    >>> width = np.array([1, 1, 1, 3])[:, None, None]
    >>> float(rhat(noise)[0]), float(rhat(width * noise)[0])
    (1.00, 1.15)
    """
    return _of_moving_columns(_rank_reduction, draws)


def rhat_of_few(draws):
    """R-hat of 128 to 256 draws of each chain, as far apart as possible.

    Ranks of all draws would take a good part of the time in which they were drawn, and a few of the
    draws hardly look better than all.

    Parameters
    ----------
    draws : array-like of shape (n_chains, n_draws, d)

    Returns
    -------
    ndarray of shape (d,)
    """
    return rhat(draws[:, :: max(1, -(-draws.shape[1] // FEW_DRAWS))])


def split_rhat(draws):
    """R-hat of the draws as they are: cheaper than `rhat`, blind to widths and to heavy tails.

    Parameters
    ----------
    draws : array-like of shape (n_chains, n_draws, d)

    Returns
    -------
    ndarray of shape (d,)

    Examples
    --------
    >>> import numpy as np
    >>> noise = np.random.default_rng(0).standard_normal((4, 1000, 1))
    >>> place = np.array([0, 0, 0, 1])[:, None, None]
    >>> float(split_rhat(noise)[0]), float(split_rhat(place + noise)[0])
    (1.00, 1.12)
    """
    return _of_moving_columns(_plain_reduction, draws)


def mcse(draws):
    """Monte-Carlo standard error of the mean, sd / sqrt(ESS of the mean), in the units of draws.

    Parameters
    ----------
    draws : array-like of shape (n_chains, n_draws, d)

    Returns
    -------
    ndarray of shape (d,)

    Examples
    --------
    >>> import numpy as np
    >>> noise = np.random.default_rng(0).standard_normal((4, 2500, 1))
    >>> float(mcse(noise)[0])  # 1 / sqrt(10_000)
    0.010
    """
    return _of_columns(_standard_error, draws)


def autocorrelation_time(draws):
    """Draws that cost one independent draw, tau = n_chains * n_draws / ESS of the bulk.

    Parameters
    ----------
    draws : array-like of shape (n_chains, n_draws, d)

    Returns
    -------
    ndarray of shape (d,)

    Examples
    --------
    >>> import numpy as np
    >>> noise = np.random.default_rng(0).standard_normal((4, 1000, 1))
    >>> float(autocorrelation_time(noise.repeat(10, axis=1))[0])  # each draw ten times
    10.
    """
    sizes = ess(draws)
    n_chains, n_draws, _ = np.shape(draws)
    return n_chains * n_draws / sizes


def _moves(draws):
    """Whether the draws of each column differ by more than rounding, (d,)."""
    if not np.size(draws):
        return np.zeros(np.shape(draws)[-1:], bool)
    with np.errstate(invalid="ignore", over="ignore"):
        return np.ptp(draws, axis=(0, 1)) > ROUNDING * np.abs(draws).max(axis=(0, 1))


def _of_moving_columns(statistic, draws):
    found = _of_columns(statistic, draws)
    return np.where(_moves(draws), found, np.nan)


def _of_columns(statistic, draws):
    """statistic, (k, n_chains, n_draws) -> (k,), of the k columns where it is defined; else NaN."""
    draws = np.asarray(draws, dtype=np.float64)
    if draws.ndim != 3:
        raise ValueError(f"Got draws of shape {draws.shape}, expected (n_chains, n_draws, d).")
    n_chains, n_draws, d = draws.shape
    enough = n_chains >= 1 and n_draws >= MIN_DRAWS
    defined = np.isfinite(draws).all(axis=(0, 1)) & enough
    result = np.full(d, np.nan)
    if defined.any():
        result[defined] = statistic(np.ascontiguousarray(draws[..., defined].transpose(2, 0, 1)))
    return result


def _bulk_size(columns):
    halves = _halves(columns)
    return _effective_size(_normal_scores(*_sorted(halves)).reshape(halves.shape))


def _mean_size(columns):
    return _effective_size(_halves(_unit_range(columns)[0]))


def _standard_error(columns):
    columns, unit = _unit_range(columns)
    deviation = unit * columns.std(axis=(1, 2), ddof=1)
    return deviation / np.sqrt(_effective_size(_halves(columns)))


def _plain_reduction(columns):
    return _scale_reduction(_halves(_unit_range(columns)[0]))


def _rank_reduction(columns):
    halves = _halves(columns)
    order, ordered = _sorted(halves)
    folded = np.abs(ordered - np.median(ordered, axis=1, keepdims=True))
    # Falling, then rising: a stable sort merges two such runs in linear time.
    again = folded.argsort(axis=1, kind="stable")
    folded = np.take_along_axis(folded, again, axis=1)
    located = _normal_scores(order, ordered).reshape(halves.shape)
    spread = _normal_scores(np.take_along_axis(order, again, axis=1), folded).reshape(halves.shape)
    # fmax: two values in equal numbers fold to a constant, whose R-hat is NaN.
    return np.fmax(_scale_reduction(located), _scale_reduction(spread))


def _halves(columns):
    """First and second halves as chains of their own: (k, m, n) -> (k, 2 m, n // 2)."""
    n = columns.shape[-1] // 2
    return np.concatenate([columns[..., :n], columns[..., -n:]], axis=1)


def _unit_range(columns):
    """Columns moved and scaled to start at 0 and reach +1 or -1, and their units of shape (k,).

    Neither a far origin nor a tiny unit then costs digits, and a constant column is exactly 0.
    """
    columns = columns - columns[:, :1, :1]
    unit = np.abs(columns).max(axis=(1, 2), initial=0)
    return columns / np.where(unit > 0, unit, 1)[:, None, None], unit


def _sorted(chains):
    """The order that sorts all draws of a column, and the draws in it, both of shape (k, N)."""
    values = chains.reshape(len(chains), -1)
    order = values.argsort(axis=1)
    return order, np.take_along_axis(values, order, axis=1)


def _normal_scores(order, ordered):
    """Phi^-1((rank - 3/8) / (N + 1/4)) of every draw among the N of its column (Blom 1958).

    Ties, which every rejected proposal makes, share the mean of their ranks.
    """
    n = order.shape[1]
    at_half_ranks = ndtri((np.arange(2, 2 * n + 1) / 2 - 3 / 8) / (n + 1 / 4))
    scores = np.empty(order.shape)
    for column, values, places in zip(scores, ordered, order, strict=True):
        starts = np.flatnonzero(np.append(True, values[1:] != values[:-1]))
        counts = np.diff(starts, append=n)
        column[places] = at_half_ranks[2 * starts + counts - 1].repeat(counts)
    return scores


def _scale_reduction(chains):
    """R-hat = sqrt(V / W) of the chains as given: (k, m, n) -> (k,)."""
    n = chains.shape[-1]
    # From its own start, a chain that never moved has variance 0 and not that of rounding.
    within = (chains - chains[..., :1]).var(axis=-1, ddof=1).mean(axis=-1)
    between = chains.mean(axis=-1).var(axis=-1, ddof=1)
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.sqrt(between / within + (n - 1) / n)


def _effective_size(chains):
    """ESS of the chains as given, (k, m, n) -> (k,); their full number if nothing varies."""
    n = chains.shape[-1]
    size = chains.shape[1] * n
    covariance = _mean_autocovariance(chains)
    within = covariance[:, :1] * n / (n - 1)
    variance = covariance[:, :1] + chains.mean(axis=-1).var(axis=-1, ddof=1)[:, None]
    constant = variance == 0
    correlation = 1 - (within - covariance) / np.where(constant, 1, variance)
    correlation[:, 0] = 1
    time = np.maximum(_integrated_time(correlation), 1 / np.log10(size))
    return size / np.where(constant[:, 0], 1, time)


def _mean_autocovariance(chains):
    """s_t = mean over chains of sum_i x_i x_{i+t} / n, x centred: (k, m, n) -> (k, n)."""
    n = chains.shape[-1]
    length = fft.next_fast_len(2 * n, real=True)  # padded: the transform must not wrap round
    spectrum = fft.rfft(chains - chains.mean(axis=-1, keepdims=True), length)
    power = (spectrum.real**2 + spectrum.imag**2).mean(axis=1)
    return fft.irfft(power, length)[:, :n] / n


def _integrated_time(correlation):
    """tau = -1 + 2 sum_t rho_t by Geyer's initial monotone sequence: (k, n) -> (k,).

    Sums rho_2t + rho_2t+1 of a reversible chain are positive and decrease. They are added up to
    the first that is not positive, each held down to the one before it; of that one, or the last
    there is, the even term counts once, or the time of an antithetic chain came out too short.
    """
    n_pairs = max(1, (correlation.shape[1] - 1) // 2)
    even, odd = correlation[:, : 2 * n_pairs : 2], correlation[:, 1 : 2 * n_pairs : 2]
    pairs = even + odd
    ends = pairs <= 0
    ends[:, -1] = True
    last = ends.argmax(axis=1)[:, None]
    before = np.arange(n_pairs) < last
    total = np.sum(np.minimum.accumulate(pairs, axis=1), axis=1, where=before)
    rest = np.take_along_axis(np.where(pairs < 0, even.clip(min=0), even), last, axis=1)[:, 0]
    return -1 + 2 * total + rest
