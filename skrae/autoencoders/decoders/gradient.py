"""The gradient decoder: r = z + tau C grad log p~, whose tilt is a bounded network."""

from skrae.autoencoders import layers
from skrae.autoencoders.decoders.tilt import TiltDecoder


class GradientDecoder(layers.Layers, TiltDecoder):
    """f = bounded head over the code; r follows from the score and the noise covariance."""

    name = "gradient"
    activations = ("silu", "tanh", "softplus")
    noise_covariances = ("local", "isotropic")
    hidden_layer_sizes = (128, 128, 128)
    calibration_weight = 4.0
    may_be_averaged = True

    def initial_parameters(self, n_features, sizes, generator, device="cpu"):
        """Random parameters with f = 0."""
        return layers.initial_parameters(n_features, sizes, generator, device)

    @classmethod
    def encoder_depth(cls, n_layers):
        """All layers but the head."""
        return n_layers - 1

    def head_input(self, z, parameters, log_q):
        """u(z) with f = bound(u), shape (n,)."""
        return layers.head_input(z, parameters, self.activation)

    def bound(self, u):
        """f from u."""
        return layers.bounded_head(u)

    def evaluate(self, z, parameters, log_q, base_gradient, create_graph=False):
        """f (n,) and grad f (n, d)."""
        if create_graph:
            return layers.differentiable_value_and_gradient(z, parameters, self.activation)
        return layers.value_and_gradient(z, parameters, self.activation)

    def tilt_hessian(self, z, parameters):
        """Second derivatives of f, (n, d, d)."""
        return layers.hessian(z, parameters, self.activation)

    def code(self, z, parameters):
        """The encoder's output, shape (n, k)."""
        return layers.encode(z, parameters, self.activation)
