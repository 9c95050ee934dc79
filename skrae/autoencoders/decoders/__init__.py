"""Reconstruction functions r(z), and the log tilt f = log p~ - log q that each defines.

    gradient    r = z + tau C(z) grad log p~,  f a bounded network over the encoder's code
    free        r = g(code(z)), weights of its own;  log p_r: line integral of (r - z)/tau
    tied        r = h(z W + b) W^T + c, one hidden layer;  log p_r = -E/tau in closed form
    kernel      r = z + tau grad log p~,  f a sum of Gaussian kernels, by a linear system

decoder         the protocol, `Decoder`
tilt            what decoders whose network is the log tilt share
reconstruction  what decoders with an r of their own share
registry        the names that the option `decoder` takes
"""
