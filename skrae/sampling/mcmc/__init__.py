"""Markov chain Monte Carlo, whatever the density.

kernels         Metropolis-Hastings steps as pure functions: random walk, Langevin, leapfrog paths
density_ratios  log p(y) - log p(x), exact or from the score alone
adaptation      step sizes by dual averaging, metrics from draws
warmup          from starts to a kernel that is frozen
runs            a frozen kernel's cycles, draws in the units of the data
diagnostics     R-hat, effective sample size, Monte-Carlo error
tempered_smc    log Z by tempered sequential Monte Carlo
"""
