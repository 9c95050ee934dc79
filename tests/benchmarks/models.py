"""One way to fit any model of a table: a peer or skrae, by its name."""

from dataclasses import dataclass, field

import numpy as np

from tests.benchmarks.peers import PEERS, fit_peer
from tests.benchmarks.records import Seconds, timed

OURS, STRAIGHT = "skrae", "skrae_identity"
# skrae with its defaults, and with the options that differ from them.
VARIANTS = {OURS: {}, STRAIGHT: {"margins": "identity"}}
MODELS = (*VARIANTS, *PEERS)


@dataclass(frozen=True)
class Fit:
    """A fitted model as the tables need it; ``details`` is what only the model itself knows.

    Attributes
    ----------
    model : object
        With ``score_samples`` and ``log_density_gradient``, both in the units of the rows.
    fit_seconds, search_seconds : Seconds
        The one fit that gave the model, and all that was tried for it; the same for skrae.
    details : dict
    """

    model: object
    fit_seconds: Seconds
    search_seconds: Seconds
    details: dict = field(default_factory=dict)

    def record(self):
        """What a record tells of a fit: its times and its details."""
        return {
            "fit_cpu": self.fit_seconds.cpu,
            "fit_wall": self.fit_seconds.wall,
            "search_cpu": self.search_seconds.cpu,
            "details": self.details,
        }


def fit_model(name, train, validation, seed):
    """Fit a peer on the two parts, or skrae on their union: it holds rows out by itself.

    >>> X = np.random.default_rng(0).normal(size=(300, 2))
    >>> fit = fit_model("kde", X[:200], X[200:], seed=0)
    >>> fit.model.score_samples(X).shape, fit.details["scaling"]
    ((300,), 'standardise')
    """
    if name in VARIANTS:
        return _fit_ours(np.vstack([train, validation]), seed, VARIANTS[name])
    peer = fit_peer(name, train, validation, seed)
    return Fit(peer, peer.fit_seconds, peer.search_seconds, peer.settings)


def _fit_ours(rows, seed, options):
    # The peers can be run where skrae cannot be imported.
    from skrae import RegularizedAutoEncoderScore

    est, seconds = timed(RegularizedAutoEncoderScore(random_state=seed, **options).fit, rows)
    details = {
        "noise_level": float(est.noise_level_),
        "log_normalizer_stderr": float(est.log_normalizer_stderr_),
        "margins": est.margins_ is not None,
    }
    return Fit(est, seconds, seconds, details)
