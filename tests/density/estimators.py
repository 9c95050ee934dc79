"""Small, quickly fitted estimators that several tests share."""

from skrae import RegularizedAutoEncoderScore


def quick_estimator(**options):
    """A small network over one Gaussian, so that the network has work to do; options override."""
    small = {
        "noise_level": 0.3,
        "hidden_layer_sizes": (16, 16),
        "base_density": "gaussian",
        "max_iter": 60,
        "random_state": 0,
    }
    return RegularizedAutoEncoderScore(**{**small, **options})
