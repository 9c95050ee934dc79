"""The three reconstruction functions r(z), and the log ratio f = log p~ - log q that each defines.

    gradient    r = z + tau C(z) grad log p~,  f a bounded network over the encoder's code
    free        r = g(code(z)), weights of its own;  log p_r: line integral of (r - z)/tau
    tied        r = h(z W + b) W^T + c, one hidden layer;  log p_r = -E/tau in closed form

A decoder holds no parameters: its methods take them, so that training can differentiate in them.
The last two parameters are the head: where they are zero, f = 0 and the model is q itself.
"""

from skrae.autoencoders import layers
from skrae.autoencoders.decoders.free import FreeDecoder
from skrae.autoencoders.decoders.tied import TiedDecoder


class GradientDecoder(layers.Layers):
    """f = bounded head over the code; r follows from the score (see `skrae.density.score_field`)."""

    is_conservative, reconstructs, rate = True, False, 1.0

    def __init__(self, activation, tau):
        self.activation, self.tau = activation, tau

    def initial_parameters(self, n_features, sizes, generator, device="cpu"):
        """Random parameters with f = 0."""
        return layers.initial_parameters(n_features, sizes, generator, device)

    def head_input(self, z, parameters, log_q):
        """u(z) with f = bound(u), shape (n,)."""
        return layers.head_input(z, parameters, self.activation)

    def bound(self, u):
        """f from u."""
        return layers.bounded_head(u)

    def log_ratio(self, z, parameters, log_q):
        """f(z), shape (n,)."""
        return layers.value(z, parameters, self.activation)

    def evaluate(self, z, parameters, log_q, base_gradient):
        """f (n,) and grad f (n, d), differentiable once in the parameters and z."""
        return layers.value_and_gradient(z, parameters, self.activation)

    def differentiable_gradient(self, z, parameters):
        """grad f, differentiable any number of times (z must require gradients)."""
        return layers.differentiable_value_and_gradient(z, parameters, self.activation)[1]

    def training_score(self, z, parameters, base_gradient):
        """f (n,) and the score (n, d) that denoising fits."""
        f, gradient = self.evaluate(z, parameters, None, base_gradient)
        return f, gradient + base_gradient

    def code(self, z, parameters):
        """The encoder's output, shape (n, k)."""
        return layers.encode(z, parameters, self.activation)

    def confine(self, parameters):
        """Keep the energy confining, in place: nothing to do."""

    def score_and_contraction(self, z, parameters):
        """No closed form: None."""

    def contraction(self, z, parameters):
        """No closed form: None."""

    def derivatives(self, z, parameters):
        """No closed form: None."""


def make_decoder(name, activation, tau, base):
    """The decoder of this name; lines of the free one begin at the mean of the base density."""
    if name == "free":
        return FreeDecoder(activation, tau, base.weights @ base.means)
    return {"gradient": GradientDecoder, "tied": TiedDecoder}[name](activation, tau)
