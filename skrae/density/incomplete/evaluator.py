r"""Every question about incomplete rows, answered from full rows behind them.

With q_o the base density of what is observed, a lattice of points m of its cells and draws of what
is missing given it, with shares s_m under q,

    p(row) = q_o(row) sum_m s_m exp f_m / Z,       w_m = s_m exp f_m / sum_m s_m exp f_m

What is exact in q stays exact: of the gradient g and the curvature of a marginal (Fisher's and
Louis' identities, Louis 1982) only the difference that f makes is taken from draws,

    grad log p = grad log q_o + sum_m w_m grad log p(full row) - sum_m s_m grad log q(full row).
"""

import numpy as np
import torch

from skrae.density.incomplete.law import N_POINTS, SEED, RowLaw
from skrae.density.score_field import row_derivatives
from skrae.mixtures.components import draw_indices
from skrae.preprocessing.blocks import BLOCK_ROWS, by_blocks

# Draws of q behind each draw of p, and the limits of their number.
OVERSAMPLING, MIN_CANDIDATES, MAX_CANDIDATES = 8, 64, 1024
# The share of draws at an atom from which on it is what a hole is filled with.
NEARLY_ALL = 0.99


def _n_candidates(n_draws):
    return max(n_draws, min(MAX_CANDIDATES, max(MIN_CANDIDATES, OVERSAMPLING * n_draws)))


class IncompleteEvaluator:
    """Answers about incomplete rows (n, d), NaN where an entry is missing.

    Parameters
    ----------
    evaluator : Evaluator of full rows
    cells : Cells, of the numeric columns
    """

    def __init__(self, evaluator, cells):
        self.evaluator, self.field = evaluator, evaluator.field
        self.law = RowLaw(evaluator.transform, self.field.base.to("cpu"), cells)

    def _each(self, X, answer, shape=(), n_points=None, seed=SEED, law=None):
        """answer(points, keys) of each block of rows, (n, *shape), under a law, else that of q."""
        n_points, law = n_points or N_POINTS, law or self.law
        found = np.empty((len(X), *shape))
        with torch.no_grad():
            for index, rows, keys in law.blocks(X, law.block_size(n_points), seed):
                points = law.points(rows, n_points)
                self.evaluator.check_distance(points.y.numpy(), index[0])
                found[index] = np.asarray(answer(points, keys))[: len(index)]
        return found

    def _weighted(self, points, keys, n_draws=None):
        """Full rows (n M, d) in working space, and their log shares and log weights, (n, M)."""
        z, log_shares = self.law.completions(points, n_draws or N_POINTS, keys)
        if self.field.is_base:
            return z, log_shares, log_shares
        return z, log_shares, log_shares + self._tilt(z).view_as(log_shares)

    def _tilt(self, z):
        return by_blocks(self.field.log_tilt, z.to(self.evaluator.device), size=BLOCK_ROWS).cpu()

    # --- the density -----------------------------------------------------------------------------

    def log_density(self, X):
        """(n,)"""

        def answer(points, keys):
            log_q = points.log_mean - self.evaluator.log_z
            if self.field.is_base:
                return log_q
            log_weights = self._weighted(points, keys)[2]
            return log_q + torch.logsumexp(log_weights, 1)

        return self._each(X, answer)

    def base_log_density(self, X, blur=0.0):
        """(n,), of q alone, or of q with noise."""
        law = None
        if blur:
            base = self.field.base.to("cpu").blurred(blur**2, local=False)
            law = RowLaw(self.evaluator.transform, base, self.law.cells)
        return self._each(X, lambda points, keys: points.log_mean, law=law)

    # --- derivatives -----------------------------------------------------------------------------

    def gradient(self, X):
        """(n, d): 0 where an entry is missing, and along categories."""

        def answer(points, keys):
            own = self._marginal_gradient(points)
            shares = torch.softmax(points.log_q, 1)
            total = _mean(shares, own)
            if self.field.is_base:
                return total
            z, log_shares, log_weights = self._weighted(points, keys)
            weights = torch.softmax(log_weights, 1)
            p, q = self._full_gradients(points, z, weights.shape[1])
            return total + _mean(weights, p) - _mean(log_shares.exp(), q)

        return self._each(X, answer, X.shape[1:])

    def _marginal_gradient(self, points):
        """grad log q_o at each point, (n, M, d), in the units of the data."""
        gradient = points.marginal.log_density_and_gradient(points.y)[1]
        return self._in_units(points, gradient.numpy(), points.log_q.shape[1])

    def _full_gradients(self, points, z, n_points):
        """Those of log p and log q of full rows, (n, M, d), along what is observed."""
        log_q, base_gradient, _ = self.field.base.evaluate(z.to(self.evaluator.device))
        own = self.field.tilt_and_gradient(z.to(self.evaluator.device), log_q, base_gradient)[1]
        found = base_gradient + own.double(), base_gradient
        return [self._in_units(points, self._of_columns(g.cpu()), n_points) for g in found]

    def _of_columns(self, gradient):
        """d/dy from d/dz, zeros along categories."""
        n = self.law.n_numeric
        own = gradient[:, :n] @ self.law.matrix.T
        return torch.cat([own, torch.zeros_like(gradient[:, n:])], 1).numpy()

    def _in_units(self, points, gradient, n_points):
        """d/dx from d/dy, of n_points full rows for each row, as a tensor (n, M, d)."""
        found = self.law.columns.gradient(points.repeated(n_points), gradient) * points.seen
        return torch.from_numpy(found).view(-1, n_points, found.shape[1])

    def hessian(self, X):
        """(n, d, d): 0 where an entry is missing, and along categories."""

        def answer(points, keys):
            shares = torch.softmax(points.log_q, 1)
            found = _curvature(shares, self._marginal_gradient(points), self._bends(points))
            if not self.field.is_base:
                found = found + self._tilt_curvature(points, keys)
            return 0.5 * (found + found.mT) if self.field.decoder.is_conservative else found

        return self._each(X, answer, (X.shape[1], X.shape[1]))

    def _tilt_curvature(self, points, keys):
        """The difference that f makes, (n, d, d)."""
        z, log_shares, log_weights = self._weighted(points, keys)
        weights, n_points = torch.softmax(log_weights, 1), log_weights.shape[1]
        gradients = self._full_gradients(points, z, n_points)
        bends = self._full_bends(points, z, n_points)
        p, q = (
            _curvature(share, *parts)
            for share, *parts in zip((weights, log_shares.exp()), gradients, bends, strict=True)
        )
        return p - q

    def _bends(self, points):
        """The Hessian of log q_o at each point, (n, M, d, d)."""
        y = points.y.clone().requires_grad_()
        with torch.enable_grad():
            gradient = points.marginal.log_density_and_gradient(y)[1]
            bends = row_derivatives(gradient, y)
        return self._bent(points, gradient.detach(), bends, points.log_q.shape[1])

    def _full_bends(self, points, z, n_points):
        """Those of log p and log q of full rows, along what is observed."""
        found = []
        device = self.evaluator.device
        for hessian, gradient in (
            (self.field.hessian, lambda part: self.field.evaluate(part)[1]),
            (self.field.base.hessian, lambda part: self.field.base.evaluate(part)[1]),
        ):
            # Those of one row at a time: their second derivatives round by their place in a block.
            parts = by_blocks(hessian, z.to(device), size=n_points).cpu()
            slopes = by_blocks(gradient, z.to(device), size=BLOCK_ROWS).cpu()
            n = self.law.n_numeric
            own = torch.zeros_like(parts)
            own[:, :n, :n] = self.law.matrix @ parts[:, :n, :n] @ self.law.matrix.T
            slopes = torch.from_numpy(self._of_columns(slopes))
            found.append(self._bent(points, slopes, own, n_points))
        return found

    def _bent(self, points, gradient, bends, n_points):
        X = points.repeated(n_points)
        found = self.law.columns.hessian(X, gradient.numpy, bends.numpy())
        found = found * points.seen * points.seen[:, None]
        return torch.from_numpy(found).view(-1, n_points, *found.shape[1:])

    # --- draws -----------------------------------------------------------------------------------

    def draws(self, X, n_draws, seed, take, repeats):
        """Hand take(index, draws) full rows (m, n_draws, d) given incomplete ones, in X's units.

        Draws of q given what is observed, resampled by exp f, which is bounded (Rubin 1987): of
        `OVERSAMPLING` times as many each is taken by its weight.

        Returns
        -------
        effective : array of shape (n,)
            The effective number of the draws of q behind each row, as a share of all.
        """
        effective = np.ones(len(X))
        n_candidates = n_draws if self.field.is_base else _n_candidates(n_draws)
        size = self.law.block_size(max(n_candidates, N_POINTS))
        with torch.no_grad():
            for index, rows, keys in self.law.blocks(X, size, seed, repeats):
                points = self.law.points(rows, N_POINTS)
                y, streams = self.law.candidates(points, n_candidates, keys)
                if not self.field.is_base:
                    tilt = self._tilt(self.law.working(y.flatten(0, 1))).view(y.shape[:2])
                    weights = torch.softmax(tilt, 1)
                    share = 1.0 / (n_candidates * weights.square().sum(1))
                    effective[index] = share[: len(index)].numpy()
                    place = draw_indices(weights, n_draws, streams)
                    y = y[torch.arange(len(y))[:, None], place]
                full = self.law.columns.inverse(y[: len(index)].numpy())
                own = ~np.isnan(rows[: len(index)])
                take(index, np.where(own[:, None], rows[: len(index), None], full))
        return effective

    def filled(self, X, n_draws, seed, atoms=(), limits=None):
        """Rows X with the mean of what is missing, in their units.

        Parameters
        ----------
        atoms : sequence of (column, slice of one-hots, values of the atoms)
            Of columns with atoms the mean is that of both, unless nearly all draws are at one.
        limits : array of shape (2, d_c), or None
            Between which the numbers that are drawn are put.

        Returns
        -------
        rows : array of shape (n, d)
        effective : array of shape (n,), as `draws` gives it
        """
        n_draws, d = max(n_draws, MIN_CANDIDATES), X.shape[1]

        def answer(points, keys):
            z, log_shares, log_weights = self._weighted(points, keys, n_draws)
            full = torch.from_numpy(self.evaluator.transform.inverse(z.numpy()))
            if limits is not None:
                numbers = full[:, : limits.shape[1]]
                full[:, : limits.shape[1]] = numbers.clamp(*torch.from_numpy(limits))
            for column, place, values in atoms:
                one_hot = full[:, place]
                at_atoms = (one_hot[:, 1:] * torch.as_tensor(values)).sum(1)
                full[:, column] = one_hot[:, 0] * full[:, column] + at_atoms
            weights = torch.softmax(log_weights, 1)
            mean = _mean(weights, full.view(*weights.shape, d))
            for _, place, _ in atoms:
                spread = mean[:, place][:, 1:].amax(1) < NEARLY_ALL
                elsewhere = torch.eye(place.stop - place.start, dtype=mean.dtype)[0]
                mean[:, place] = torch.where(spread[:, None], elsewhere, mean[:, place])
            effective = (2.0 * log_shares).exp().sum(1) / weights.square().sum(1)
            return torch.cat([mean, effective[:, None]], 1)

        found = self._each(X, answer, (d + 1,), n_draws, seed)
        return np.where(np.isnan(X), found[:, :d], X), found[:, d]

    # --- full rows -------------------------------------------------------------------------------

    def code(self, X):
        """(n, k), the mean of the codes of full rows."""
        return self._mean_of(X, self.field.code, self.evaluator.code_size)

    def reconstruct(self, X):
        """(n, d), the mean of r of full rows, in the units of the data."""

        def reconstruct(z):
            r = self.field.reconstruct(z).numpy(force=True)
            return z.new_tensor(self.evaluator.transform.inverse(r))

        return self._mean_of(X, reconstruct, X.shape[1])

    def _mean_of(self, X, function, size):
        """The mean of function(full rows in working space) given what is observed, (n, size)."""

        def answer(points, keys):
            z, _, log_weights = self._weighted(points, keys)
            values = by_blocks(function, z.to(self.evaluator.device), size=BLOCK_ROWS).cpu()
            values = values.double().view(*log_weights.shape, -1)
            return _mean(torch.softmax(log_weights, 1), values)

        return self._each(X, answer, (size,))


def _mean(shares, values):
    """sum_m s_m v_m, (n, ...), of values (n, M, ...); no product of matrices.

    Those round by where in memory a row lies.
    """
    shares = shares.reshape(*shares.shape, *[1] * (values.ndim - 2))
    return (shares * values).sum(1)


def _curvature(shares, gradients, hessians):
    """sum_m s_m (H_m + g_m g_m^T) - g g^T, g the mean: Louis' identity."""
    mean = _mean(shares, gradients)
    seconds = hessians + gradients[..., None] * gradients[..., None, :]
    return _mean(shares, seconds) - mean[:, :, None] * mean[:, None, :]
