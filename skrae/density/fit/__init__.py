"""The fit, from rows in the units of the data to a fitted density.

fitting          the steps of a fit in their order: map, split, base, network, log Z
finite           what each of them owes to the next
criterion        denoising, contraction, noise-contrastive calibration; the held-out gain
annealing        training along the noise schedule
exponential_tilt a last tilt of the base, by which the model has the means of the rows
dual             the convex problem of exponential tilts, by Newton steps
radial           radial units, alone and as a share of the model
"""
