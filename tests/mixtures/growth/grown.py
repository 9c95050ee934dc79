"""A mixture grown in one call."""

from skrae.mixtures.growth.em import expand, polish


def grow(rows, held_out, settings, generator, max_components=64, prior=None):
    """A mixture expanded and polished: (value, mixture, settings)."""
    value, mixture = expand(rows, held_out, settings, generator, max_components, prior)
    return polish(mixture, value, rows, held_out, settings)
