"""Pictures of chains, as scikit-learn's displays: traces, and pairs of features beside the data."""

from skrae.plotting.pairs import PairDisplay
from skrae.plotting.traces import TraceDisplay

__all__ = ["PairDisplay", "TraceDisplay"]
