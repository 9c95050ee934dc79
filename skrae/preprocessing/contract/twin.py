"""A fit that fails or is interrupted changes nothing: what is fitted is set on a twin first."""

# What an estimator knows of the rows that it was fitted to, which a fit renews.
INPUT_ATTRIBUTES = "n_features_in_", "feature_names_in_"


def twin_of(estimator):
    """Another object with all that the estimator has, for a fit to set attributes on."""
    twin = object.__new__(type(estimator))
    vars(twin).update(vars(estimator))
    return twin


def take_over(estimator, twin, private=()):
    """Let the estimator have what was fitted on its twin, by one store.

    Parameters
    ----------
    estimator : the object that `fit` was called on
    twin : as `twin_of` gave it, fitted
    private : names of what is fitted, besides those that end in an underscore
    """
    fitted = {
        name: value
        for name, value in vars(twin).items()
        if (name.endswith("_") and not name.startswith("_")) or name in private
    }
    own = vars(estimator).items()
    estimator.__dict__ = {**{n: v for n, v in own if n not in INPUT_ATTRIBUTES}, **fitted}
