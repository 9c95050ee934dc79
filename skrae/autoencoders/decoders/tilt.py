"""A decoder whose network is the log tilt: the score is that of the base plus its gradient."""

from skrae.autoencoders.decoders.decoder import Decoder


class TiltDecoder(Decoder):
    """What the gradient and the kernel decoder share: r follows from the score alone."""

    name: str  # that of the option `decoder`

    def decode(self, code, parameters):
        """ValueError: r is a function of z, not of the code."""
        raise ValueError(
            f"Got a model fitted with decoder={self.name!r}, expected 'free' or 'tied': this"
            " reconstruction is no function of the code alone, so codes cannot be decoded."
        )

    def training_score(self, z, parameters, base_gradient):
        """f (n,) and the score (n, d) that denoising fits."""
        f, gradient = self.evaluate(z, parameters, None, base_gradient)
        return f, gradient + base_gradient

    def training_tilts(self, f, rows, draws, parameters, generator):
        """f, which the score brought along, and f at the draws."""
        return f, self.log_tilt(draws[0], parameters, draws[1])
