"""The density that an estimator is given to fit."""

from sklearn.base import clone

from skrae.density import RegularizedAutoEncoderScore


def new_density(density, method):
    """A clone of a density, of None one with default options.

    Raises
    ------
    TypeError
        For an object that has no fit, or not the method that is to be asked.
    """
    density = RegularizedAutoEncoderScore() if density is None else density
    if not (hasattr(density, "fit") and hasattr(density, method)):
        raise TypeError(
            f"Got density={density!r}, expected a RegularizedAutoEncoderScore, or None for one"
            " with default options."
        )
    return clone(density)
