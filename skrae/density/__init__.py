"""The score estimator: its options, its fit, and what a fitted density answers.

estimator        `RegularizedAutoEncoderScore`, the public face
options          checks of its options, and what "auto" stands for
fit              the fit, from rows to a fitted density
radial_average   the average of an energy with that of radial units
score_field      log p~, its derivatives and the reconstruction, in working space
bias_correction  the score without the bias of a finite noise level
fitted           the fitted density in the units of the data, and as a target of chains
soundness        whether a fitted density is one that a fit may give
columns          the maps of columns to working space
incomplete       rows with holes, categories, cells and atoms
streamed         tables larger than memory
conditional      `Marginal` and `Conditional`, laws of some of the columns
"""

from skrae.density.conditional.objects import Conditional, Marginal
from skrae.density.estimator import RegularizedAutoEncoderScore

__all__ = ["Conditional", "Marginal", "RegularizedAutoEncoderScore"]
