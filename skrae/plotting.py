"""Pictures of chains, as scikit-learn's displays: traces, and pairs of features beside the data."""

from skrae._pair_display import PairDisplay
from skrae._trace_display import TraceDisplay

__all__ = ["PairDisplay", "TraceDisplay"]
