"""A fitted auto-encoder, and what it answers in the units of the data."""

from dataclasses import dataclass, replace
from typing import NamedTuple

import numpy as np
import torch

from skrae.autoencoders.transformers.maps.network import Architecture, Network, Units

# Every product is of so many rows, and of columns in multiples of so many, the last ones padded: an
# answer hangs on its own row alone, to the last bit, since libraries sum in an order that depends
# on the shape, and for odd numbers of columns on the place of the row.
ROWS, COLUMNS = 256, 8
CODE_RANGES = {"identity": (-np.inf, np.inf), "relu": (0.0, np.inf), "sigmoid": (0.0, 1.0)}


class Space(NamedTuple):
    """Working space, x = (X - location) / scale."""

    location: np.ndarray  # (d,)
    scale: np.ndarray  # (d,)
    varies: np.ndarray  # (d,), bool

    def scaled(self, X):
        """(X - location) / scale of rows (n, d), float64."""
        return (X.astype(np.float64) - self.location) / self.scale

    def forward(self, X):
        """The same as it is read: columns that did not vary, and NaN, are the mean."""
        x = self.scaled(X)
        return np.where(self.varies & ~np.isnan(x), x, 0.0)

    def inverse(self, x):
        """Rows of working space in the units of the data."""
        return x * self.scale + self.location


@dataclass(frozen=True, eq=False)
class FittedAutoEncoder:
    """The maps of a fitted auto-encoder, of NumPy arrays.

    The code that is given out is (h - code_mean) / code_scale.
    """

    architecture: Architecture
    location: np.ndarray  # (d,)
    scale: np.ndarray  # (d,)
    varies: np.ndarray  # (d,), bool
    row_unit: float
    code_unit: np.ndarray  # (k,)
    atom_norm: float
    path: tuple | None  # E (d, k) and D (k, d)
    coefs: list
    intercepts: list
    code_mean: np.ndarray  # (k,)
    code_scale: np.ndarray  # (k,)

    @property
    def space(self):
        """The working space of rows."""
        return Space(self.location, self.scale, self.varies)

    def network(self):
        """The `Network`, in float64."""
        units = Units(self.row_unit, torch.from_numpy(self.code_unit), self.atom_norm)
        path = self.path and tuple(torch.from_numpy(part) for part in self.path)
        return Network(self.architecture, units, path)

    def parameters(self):
        """Those that training went on with."""
        arrays = ([torch.from_numpy(a) for a in part] for part in (self.coefs, self.intercepts))
        return self.network().parameters(*arrays)

    def on(self, device):
        """What answers questions, on a device."""
        return Answers(self, device)

    def components(self):
        """The derivative of the decoder at the code 0 as it is given out, in working space."""
        mean = torch.from_numpy(self.code_mean)[None]
        jacobian = self.network().decoder_jacobian(mean, self.parameters()).numpy()
        return jacobian * self.code_scale[:, None]


class Answers:
    """What a fitted auto-encoder answers, row by row.

    Parameters
    ----------
    fitted : FittedAutoEncoder
    device : str
    """

    def __init__(self, fitted, device):
        self.space, self.n_units, wide = fitted.space, len(fitted.code_mean), _widened(fitted)
        reference = torch.zeros(1, dtype=torch.float64, device=device)
        self.network = wide.network().to(reference)
        self.parameters = [p.to(reference) for p in wide.parameters()]
        self.code_mean = torch.from_numpy(wide.code_mean).to(reference)
        self.code_scale = torch.from_numpy(wide.code_scale).to(reference)

    def encode(self, x):
        """The code given out of rows in working space, (n, k)."""

        def of_rows(rows):
            return (self.network.encode(rows, self.parameters) - self.code_mean) / self.code_scale

        return self._by_rows(of_rows, x, self.n_units)

    def in_range(self, codes):
        """Codes as they are given out, brought to where the encoder's activation leads."""
        low, high = CODE_RANGES[self.network.architecture.code_activation]
        mean, scale = (
            p[: self.n_units].numpy(force=True) for p in (self.code_mean, self.code_scale)
        )
        return np.clip(codes, (low - mean) / scale, (high - mean) / scale)

    def decode(self, codes):
        """The reconstruction of codes as they are given out, in working space, (n, d)."""

        def of_codes(u):
            return self.network.decode(u * self.code_scale + self.code_mean, self.parameters)

        return self._by_rows(of_codes, codes, len(self.space.location))

    def reconstruct(self, x):
        """The reconstruction of rows in working space, (n, d)."""

        def of_rows(rows):
            return self.network.decode(self.network.encode(rows, self.parameters), self.parameters)

        return self._by_rows(of_rows, x, len(self.space.location))

    def _by_rows(self, function, rows, n_columns):
        parts = []
        with torch.no_grad():
            for start in range(0, len(rows), ROWS):
                part = rows[start : start + ROWS]
                padded = np.pad(part, [(0, ROWS - len(part)), (0, -part.shape[1] % COLUMNS)])
                found = function(torch.from_numpy(padded).to(self.code_mean.device))
                parts.append(found[: len(part), :n_columns].numpy(force=True))
        return np.concatenate(parts)


def _widened(fitted):
    """The same maps with columns, units and code padded by some that say nothing."""

    def wide(array, fill=0.0):
        ends = [(0, -n % COLUMNS) for n in array.shape]
        return np.pad(array, ends, constant_values=fill)

    return replace(
        fitted,
        code_unit=wide(fitted.code_unit, 1.0),
        path=fitted.path and tuple(wide(part) for part in fitted.path),
        coefs=[wide(coef) for coef in fitted.coefs],
        intercepts=[wide(intercept) for intercept in fitted.intercepts],
        code_mean=wide(fitted.code_mean),
        code_scale=wide(fitted.code_scale, 1.0),
    )
