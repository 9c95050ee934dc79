"""Codes by themselves: how evenly a decoder stretches them, how few of them are active."""

import numpy as np
from sklearn.utils import check_array, gen_batches

from skrae.preprocessing.contract.options import check_number
from skrae.preprocessing.rows import plain_array

# Numbers that a decoder is asked for at a time, 32 MiB of float64.
BLOCK_NUMBERS = 2**22


def decoder_distortion(estimator, Z, *, step=1e-3):
    r"""Distance of a decoder from a multiple of an isometry, k E tr(H^2) / (E tr H)^2 - 1.

    H = J^T J, with J the Jacobian of the decoder at a code, says how far it stretches steps between
    codes; E is the mean over codes. The value is 0 where the decoder stretches all directions at
    all codes by one factor, so that distances between near codes are those between the decoded
    rows but for that factor; otherwise it is the variance of the squared stretches over the square
    of their mean.

    Parameters
    ----------
    estimator : fitted object
        With a method ``inverse_transform``, from codes (m, n_components) to rows (m, n_features):
        an auto-encoder, PCA, a Pipeline. Where a Pipeline scales columns, the rows are those before
        that.
    Z : array-like of shape (n_samples, n_components)
        Codes, of at least two different rows.
    step : float, default=1e-3
        Half the distance over which differences are taken, in standard deviations of each component
        of Z. A smaller one errs less where the decoder bends, and more where it rounds.

    Returns
    -------
    distortion : float
        At least 0; lower is better. It has no unit, and a factor of all codes changes nothing.

    Raises
    ------
    TypeError
        If the estimator has no ``inverse_transform``.
    ValueError
        If codes hold NaN or are all equal, if decoded rows are not finite, or if the decoder gives
        one row for all codes.

    Notes
    -----
    With :math:`\lambda_1(z), \dots, \lambda_k(z)` the eigenvalues of H at z, the squared stretches,
    and :math:`\bar\lambda` their mean over codes and directions,

    .. math::

        k \, \frac{E \operatorname{tr} H^2}{(E \operatorname{tr} H)^2} - 1
        = E \, \frac1k \sum_{a=1}^{k} \Bigl(\frac{\lambda_a(z)}{\bar\lambda} - 1\Bigr)^2.

    Jacobians are central differences in float64, 2 n_components decoded rows for each code.

    References
    ----------
    Lee, Yoon, Son & Park (2022), "Regularized autoencoders for isometric representation learning",
    ICLR: their relaxed distortion measure is E tr(H^2) / (E tr H)^2, at codes between the given
    ones too.

    Examples
    --------
    PCA turns rows, and whitening stretches them.

    >>> from sklearn.datasets import load_iris
    >>> from sklearn.decomposition import PCA
    >>> from skrae.metrics import decoder_distortion
    >>> X = load_iris().data
    >>> pca, white = PCA(2).fit(X), PCA(2, whiten=True).fit(X)
    >>> round(decoder_distortion(pca, pca.transform(X)), 6)
    0.0
    >>> round(decoder_distortion(white, white.transform(X)), 2)
    0.79
    """
    if not hasattr(estimator, "inverse_transform"):
        raise TypeError(
            f"Got {type(estimator).__name__} without inverse_transform, expected a fitted object"
            " that decodes."
        )
    check_number("step", step, 0.0, above=True)
    Z = check_array(plain_array(Z), dtype=np.float64, input_name="Z")
    steps, k = step * _spreads(Z), Z.shape[1]
    width = _decoded(estimator, Z[:1]).shape[1]
    size = max(1, BLOCK_NUMBERS // (2 * k * max(k, width)))
    metrics = (_pullback(estimator, Z[rows], steps) for rows in gen_batches(len(Z), size))
    traces, squares = np.sum([_traces(metric) for metric in metrics], axis=0) / len(Z)
    if traces == 0.0:
        raise ValueError(
            f"Got {type(estimator).__name__} that decodes all codes to one row, expected a decoder"
            " that tells codes apart."
        )
    return max(0.0, float(k * squares / traces**2 - 1.0))


def _spreads(Z):
    """Standard deviations of the components, (k,); of a constant one that of all together."""
    # The variance of a constant need not round to 0.
    variances = np.where(np.ptp(Z, axis=0) > 0.0, Z.var(axis=0), 0.0)
    if not variances.any():
        raise ValueError(
            f"Got Z of {len(Z)} equal row(s), expected at least two different ones: steps are"
            " measured by their spread."
        )
    return np.sqrt(np.where(variances > 0.0, variances, variances.mean()))


def _decoded(estimator, Z):
    """Rows (m, d) in float64, which are finite."""
    rows = estimator.inverse_transform(Z)
    return check_array(plain_array(rows), dtype=np.float64, input_name="decoded rows")


def _pullback(estimator, Z, steps):
    """J^T J at each code, (n, k, k)."""
    n, k = Z.shape
    moves = np.diag(steps)
    ends = np.stack([Z[:, None] + moves, Z[:, None] - moves])  # (2, n, k, k)
    after, before = _decoded(estimator, ends.reshape(-1, k)).reshape(2, n, k, -1)
    jacobian = (after - before) / (2.0 * steps[:, None])  # (n, k, d)
    return jacobian @ jacobian.transpose(0, 2, 1)


def _traces(metric):
    """Sums over codes of tr H and tr H^2, of matrices (n, k, k)."""
    return np.einsum("naa->", metric), np.square(metric).sum()


def hoyer_sparseness(Z):
    r"""How few of a row's k entries are active, (sqrt(k) - L1 / L2) / (sqrt(k) - 1) of its norms.

    Parameters
    ----------
    Z : array-like of shape (n_samples, n_components)
        Codes, of at least two components.

    Returns
    -------
    sparseness : float
        The mean over rows: 0 where all entries of a row are of one size, 1 where one is not 0. A
        row of zeros counts as 1: nothing in it is active. A factor of a row changes nothing.

    Raises
    ------
    ValueError
        If codes hold NaN or have one component.

    Notes
    -----
    Of the entries z_a of a row,

    .. math::

        \frac{\sqrt k - \sum_a |z_a| / \sqrt{\sum_a z_a^2}}{\sqrt k - 1}.

    References
    ----------
    Hoyer (2004), "Non-negative matrix factorization with sparseness constraints", JMLR 5,
    1457-1469, section 3.1.

    Examples
    --------
    >>> from skrae.metrics import hoyer_sparseness
    >>> hoyer_sparseness([[0.0, 0.0, 3.0, 0.0]]), hoyer_sparseness([[1.0, -1.0, 1.0, 1.0]])
    (1.0, 0.0)
    >>> round(hoyer_sparseness([[0.0, 1.0, 1.0, 0.0]]), 3)
    0.586
    """
    Z = np.abs(check_array(plain_array(Z), dtype=np.float64, input_name="Z"))
    k = Z.shape[1]
    if k == 1:
        raise ValueError("Got Z of 1 component, expected at least 2: one alone is never sparse.")
    largest = Z.max(axis=1)
    active = largest > 0.0
    # Of the size of the largest, squares neither overflow nor vanish.
    Z = Z[active] / largest[active, None]
    sparseness = np.ones(len(active))
    sparseness[active] = (np.sqrt(k) - Z.sum(axis=1) / np.linalg.norm(Z, axis=1)) / (np.sqrt(k) - 1)
    return float(np.clip(sparseness, 0.0, 1.0).mean())
