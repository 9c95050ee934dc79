"""The decoders by the names that the option `decoder` takes."""

from skrae.autoencoders.decoders.free import FreeDecoder
from skrae.autoencoders.decoders.gradient import GradientDecoder
from skrae.autoencoders.decoders.kernel import KernelDecoder
from skrae.autoencoders.decoders.tied import TiedDecoder

DECODERS = {
    "gradient": GradientDecoder,
    "free": FreeDecoder,
    "tied": TiedDecoder,
    "kernel": KernelDecoder,
}


def make_decoder(name, activation, tau, origin):
    """The decoder of this name; `origin` (d,) is the mean of the base density."""
    return DECODERS[name](activation, tau, origin)
