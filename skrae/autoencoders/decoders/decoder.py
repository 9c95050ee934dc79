"""The protocol of a decoder: what training, the score field and the options may ask of one.

A decoder holds no parameters: its methods take them, so that training can differentiate in them.
The last two parameters are the head: where they are zero, f = 0 and the model is q itself. Rows z
have the shape (n, d) and the dtype of the parameters; log q of rows is (n,) float64.
"""

from abc import ABC, abstractmethod


class Decoder(ABC):
    """A log tilt f = bound(u(z)) over the base density, and a reconstruction r(z) behind it.

    Parameters
    ----------
    activation : str, one of `activations`
    tau : float, sigma^2 + lambda
    origin : tensor of shape (d,), the mean of the base density
    """

    # What options may be, and first what "auto" stands for.
    activations: tuple
    noise_covariances: tuple
    hidden_layer_sizes: tuple
    calibration_weight: float
    max_hidden_layers = None
    # The finest level of the noise schedule, and whether a level starts from the last one.
    finest_noise_level, starts_from_last_level = 0.0, True
    # How much of the running average of the parameters a step keeps, and the factor of its size.
    averaging, rate = 0.98, 1.0
    # Draws of q at which the held-out gain is normalised.
    max_validation_draws = 8192
    # Whether (r - z)/tau is the gradient of a function, and the Hessian symmetric.
    is_conservative = True
    # Whether its parameters solve a linear system, and no steps are taken.
    has_closed_form = False
    # Whether its energy may be averaged with another: where r follows from the score.
    may_be_averaged = False
    # Whether r is learned where f is not: where no held-out rows validate f, or the base won.
    learns_without_tilt = False

    def __init__(self, activation, tau, origin):
        self.activation, self.tau, self.origin = activation, tau, origin

    # --- parameters ---------------------------------------------------------------------------

    @abstractmethod
    def initial_parameters(self, n_features, sizes, generator, device="cpu"):
        """A list of tensors, the head last."""

    @abstractmethod
    def localise(self, parameters, rows, whiteners, generator):
        """The parameters with fine detail at rows, whose local K^-T are the whiteners (n, d, d)."""

    @abstractmethod
    def arrays(self, parameters):
        """coefs and intercepts: weights (n_in, n_out) and biases (n_out,) of each layer."""

    @abstractmethod
    def parameters(self, coefs, intercepts):
        """The inverse of `arrays`."""

    @classmethod
    @abstractmethod
    def encoder_depth(cls, n_layers):
        """How many of the layers of `arrays` encode."""

    # --- the tilt -----------------------------------------------------------------------------

    @abstractmethod
    def head_input(self, z, parameters, log_q):
        """u(z), shape (n,); `log_q` is a function without arguments that gives log q(z)."""

    @abstractmethod
    def bound(self, u):
        """f from u."""

    def log_tilt(self, z, parameters, log_q):
        """f(z), shape (n,); `log_q` as for `head_input`."""
        return self.bound(self.head_input(z, parameters, log_q))

    @abstractmethod
    def evaluate(self, z, parameters, log_q, base_gradient, create_graph=False):
        """f (n,) and grad f (n, d), where log q and its gradient are known.

        Differentiable once in z and the parameters; with create_graph any number of times (z must
        then require gradients).
        """

    # --- the reconstruction -------------------------------------------------------------------

    @abstractmethod
    def code(self, z, parameters):
        """The encoder's output, shape (n, k)."""

    @abstractmethod
    def decode(self, code, parameters):
        """r from a code (n, k); ValueError where r is no function of the code alone."""

    def reconstruct(self, z, parameters):
        """r(z), shape (n, d); None where it follows from the score alone."""
        return None

    def vector_field(self, z, parameters):
        """(r(z) - z) / tau, shape (n, d), float64; None where r follows from the score alone."""
        return None

    def derivatives(self, z, parameters):
        """dr/dz (n, d, d) and the Laplacian of r (n, d), exact; None without a closed form."""
        return None

    def tilt_hessian(self, z, parameters):
        """Second derivatives of f, (n, d, d), exact; None without a closed form."""
        return None

    # --- training -----------------------------------------------------------------------------

    def start_level(self, parameters, draw_rows, log_density, generator, renew):
        """Prepare the parameters for a noise level, in place; whether that changed them.

        Parameters
        ----------
        draw_rows : callable from a number to as many training rows
        log_density : callable from rows to log q
        renew : bool, whether tau is another than that of the last level
        """
        return False

    def recentre(self, parameters, inputs):
        """u of held-out rows and of draws of q, their offset renewed, in place, where it drifts."""
        return inputs

    @abstractmethod
    def training_score(self, z, parameters, base_gradient):
        """f (n,), or None where it takes more, and the score (n, d) that denoising fits."""

    @abstractmethod
    def training_tilts(self, f, rows, draws, parameters, generator):
        """f at training rows and at draws of q; `f` is what `training_score` gave.

        Parameters
        ----------
        rows, draws : pairs of z and of a function without arguments that gives log q(z)
        """

    def score_and_contraction(self, z, parameters):
        """The score and the mean of |dr/dz|_F^2 in one pass, exact; None without a closed form."""
        return None

    def contraction(self, z, parameters):
        """The mean over rows of |dr/dz|_F^2, exact; None without a closed form."""
        return None

    def confine(self, parameters):
        """Keep the density integrable after a step, in place."""
        return None
