"""Markov chain Monte Carlo: kernels, warm-up, runs, diagnostics, tempering."""
