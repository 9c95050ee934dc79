"""Draws of any fitted density.

sampler      `RAESampler`, the public face
options      checks of its options and arguments
start        the setup of a call, the first state, the run after a warm-up
targets      the protocol of what chains run on, and the targets of foreign objects
thinning     rows that are independent enough to use
completion   the missing entries of rows
chains       `Chains`, draws with their diagnostics
reports      warnings and progress
mcmc/        kernels, warm-up, runs, diagnostics, tempering
"""

from skrae.sampling.chains import Chains
from skrae.sampling.sampler import RAESampler

__all__ = ["Chains", "RAESampler"]
