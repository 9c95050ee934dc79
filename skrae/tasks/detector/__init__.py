"""`DensityOutlierDetector`: rows of low density, whether or not training rows hold outliers.

estimator   the detector: validate, fit, score, tell
options     checks of its options
axes        raw rows as axes of one spread, with their holes
drawn       which rows are drawn, which are left to calibrate
kernels     geometric means of kernel densities on subsamples
ensemble    what is drawn for them, asked of them and kept of them
thresholds  weighted quantiles, a fence, conformal p-values
"""
