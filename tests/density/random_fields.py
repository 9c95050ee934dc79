"""Random score fields."""

from functools import partial

from skrae.autoencoders.decoders.gradient import GradientDecoder
from skrae.density.score_field import NoiseMetric, ScoreField
from tests.autoencoders.random_networks import random_parameters
from tests.mixtures.random_mixtures import random_mixture


def random_field(d, seed, kind="local", n_components=3, head=1.0, tau=0.2, dofs=None):
    """A ScoreField in float64 with a random mixture and a random head."""
    base = random_mixture(d, n_components, seed, dofs)
    parameters = random_parameters(d, (8, 6), seed, head)
    return ScoreField(base, GradientDecoder("silu", tau, None), parameters, NoiseMetric(base, kind))


def twice_differentiable(field):
    """The vector field of a ScoreField as a function that can be differentiated twice."""
    return partial(field.vector_field, create_graph=True)
