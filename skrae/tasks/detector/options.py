"""Options of the detector: what is outside of what is expected raises, and says so."""

from numbers import Real

from skrae.preprocessing.contract.options import COUNT, check_choice, check_number

TRAINING_ROWS = "mixed", "clean", "auto"


def check_options(estimator):
    """Raise TypeError or ValueError for the first option outside what is expected."""
    check_choice("training_rows", estimator.training_rows, TRAINING_ROWS)
    check_number("n_subsamples", estimator.n_subsamples, 1, **COUNT)
    _check_contamination(estimator.contamination)
    if estimator.density is not None:
        _check_density(estimator.density, estimator.training_rows)


def _check_density(density, training_rows):
    for method in ("fit", "score_samples"):
        if not hasattr(density, method):
            raise TypeError(
                f"Got density={density!r} without {method}, expected an estimator with fit and"
                " score_samples, or None."
            )
    if training_rows != "clean":
        raise ValueError(
            f"Got a density with training_rows={training_rows!r}, expected 'clean': a density gives"
            " each cluster of outliers a peak."
        )


def _check_contamination(contamination):
    if isinstance(contamination, str) and contamination == "auto":
        return
    message = f"Got contamination={contamination!r}, expected 'auto' or a number > 0 and <= 0.5."
    if isinstance(contamination, bool) or not isinstance(contamination, Real | str):
        raise TypeError(message)
    if isinstance(contamination, str) or not 0.0 < contamination <= 0.5:
        raise ValueError(message)
