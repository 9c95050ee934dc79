"""Pictures of chains, as scikit-learn's displays.

pairs   `PairDisplay`: pairs of features beside the data
traces  `TraceDisplay`: traces and marginal densities, with R-hat
panels  what both share: columns, axes, limits, histograms
"""

from skrae.plotting.pairs import PairDisplay
from skrae.plotting.traces import TraceDisplay

__all__ = ["PairDisplay", "TraceDisplay"]
