"""Pictures of chains, codes, laws and outliers, as scikit-learn's displays.

atoms     `AtomDisplay`: what each unit of a code stands for
codes     `CodeDisplay`: codes of rows, coloured by labels or numbers
laws      `ConditionalDisplay`, `DensityDisplay`: quantiles along a column, marginals in pairs
shepard   `ShepardDisplay`: distances between rows and between their codes
outliers  `OutlierDisplay`: the most outlying rows, and what each column adds
pairs     `PairDisplay`: pairs of features beside the data
traces    `TraceDisplay`: traces and marginal densities, with R-hat
panels    what they share: columns, axes, limits, histograms
"""

from skrae.plotting.atoms import AtomDisplay
from skrae.plotting.codes import CodeDisplay
from skrae.plotting.laws import ConditionalDisplay, DensityDisplay
from skrae.plotting.outliers import OutlierDisplay
from skrae.plotting.pairs import PairDisplay
from skrae.plotting.shepard import ShepardDisplay
from skrae.plotting.traces import TraceDisplay

__all__ = [
    "AtomDisplay",
    "CodeDisplay",
    "ConditionalDisplay",
    "DensityDisplay",
    "OutlierDisplay",
    "PairDisplay",
    "ShepardDisplay",
    "TraceDisplay",
]
