"""Known densities: each draws samples and gives its normalised log density and gradient.

They serve as ground truth, so every formula is exact, or a quadrature finer than float64 resolves.
All have the methods ``sample``, ``log_density`` and ``gradient`` and the attribute ``n_features``.

====================  ========  ================================================================
density               features  what it is
====================  ========  ================================================================
`Gaussian`            any       one Gaussian
`MixtureOfGaussians`  any       weighted Gaussians of any covariances
`RotatedMixture`      any       equal Gaussians with centres and axes drawn at random
`GaussianCurve`       10        25 narrow Gaussians along a closed curve
`Spiral`              2         thickened spiral
`Moons`               2         two thickened, interleaved half circles
`Ring`                2         thickened circle
`SexticWell`          1         two modes and a shoulder
`Banana`              >= 2      Gaussian twisted along a parabola
`Funnel`              >= 2      one feature is the log variance of all others
`StudentT`            any       heavy tails
`LogGamma`            any       independent features, skewed to the left
====================  ========  ================================================================

For densities on the line there are the optimal reconstructions too, those of unlimited rows and
capacity: `denoising_optimum`, `contractive_optimum`, and the scores behind them,
`correct_denoising` and `invert_contraction`.
"""

from skrae.datasets.gaussian_mixtures import (
    Gaussian,
    GaussianCurve,
    MixtureOfGaussians,
    Moons,
    RotatedMixture,
    Spiral,
)
from skrae.datasets.laws import Banana, Funnel, LogGamma, Ring, SexticWell, StudentT
from skrae.datasets.optimal_reconstructions import (
    contractive_optimum,
    correct_denoising,
    denoising_optimum,
    invert_contraction,
)

__all__ = [
    "Banana",
    "Funnel",
    "Gaussian",
    "GaussianCurve",
    "LogGamma",
    "MixtureOfGaussians",
    "Moons",
    "Ring",
    "RotatedMixture",
    "SexticWell",
    "Spiral",
    "StudentT",
    "contractive_optimum",
    "correct_denoising",
    "denoising_optimum",
    "invert_contraction",
]
