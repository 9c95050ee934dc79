"""What the known densities share: their three methods and the checks of what they are given."""

from abc import ABC, abstractmethod

import numpy as np

LOG_2PI = np.log(2 * np.pi)


def as_generator(random_state):
    """A NumPy Generator from None, a seed, a RandomState or a Generator."""
    # Seeding from a RandomState advances it, so that two draws in a row differ.
    if isinstance(random_state, np.random.RandomState):
        random_state = random_state.randint(2**31, size=4)
    return np.random.default_rng(random_state)


def check_positive(**parameters):
    """Raise ValueError, naming the parameter, unless each is a positive finite number."""
    for name, value in parameters.items():
        if not (np.isscalar(value) and 0 < value < np.inf):
            raise ValueError(f"Got {name}={value!r}, expected a positive finite number.")


def check_count(minimum, **parameters):
    """Raise ValueError, naming the parameter, unless each is an integer of at least `minimum`."""
    for name, value in parameters.items():
        if not isinstance(value, (int, np.integer)) or value < minimum:
            raise ValueError(f"Got {name}={value!r}, expected an integer of at least {minimum}.")


def check_shape(name, array, expected):
    """Raise ValueError unless `array`, called `name`, has the shape expected."""
    if array.shape != expected:
        raise ValueError(f"Got {name} of shape {array.shape}, expected {expected}.")


class KnownDensity(ABC):
    """A density p on R^d, with d the attribute ``n_features``."""

    def sample(self, n_samples, random_state=None):
        """Draw independent rows from p.

        Parameters
        ----------
        n_samples : int
        random_state : None, int, RandomState or Generator

        Returns
        -------
        X : ndarray of shape (n_samples, n_features)
        """
        check_count(0, n_samples=n_samples)
        return self._sample(n_samples, as_generator(random_state))

    def log_density(self, X):
        """Return log p(x), normalised, in nats.

        Parameters
        ----------
        X : array-like of shape (n, n_features)

        Returns
        -------
        log_density : ndarray of shape (n,)
        """
        X = self._check_rows(X)
        # Far away -log p exceeds the largest float: -inf is the value wanted there.
        with np.errstate(over="ignore"):
            return self._log_density(X)

    def gradient(self, X):
        """Return grad log p(x), analytically.

        Parameters
        ----------
        X : array-like of shape (n, n_features)

        Returns
        -------
        gradient : ndarray of shape (n, n_features)
        """
        X = self._check_rows(X)
        with np.errstate(over="ignore"):
            return self._gradient(X)

    def _check_rows(self, X):
        X = np.asarray(X, dtype=float)
        if X.ndim != 2 or X.shape[1] != self.n_features:
            raise ValueError(f"Got X of shape {X.shape}, expected (n, {self.n_features}).")
        return X

    @abstractmethod
    def _sample(self, n_samples, rng): ...

    @abstractmethod
    def _log_density(self, X): ...

    @abstractmethod
    def _gradient(self, X): ...
