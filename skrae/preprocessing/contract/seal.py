"""The seal of a stored state: its format, the versions that wrote it, a checksum of all of it.

Without one no state is loaded: damage that takes the seal away would take the check with it.
"""

import hashlib
import sys

import numpy as np
import sklearn
from sklearn.base import BaseEstimator
from sklearn.exceptions import InconsistentVersionWarning

from skrae.preprocessing.contract.caller import warn

# What attributes there are and what they mean: raised where older states would be misread.
FORMAT = 1
SEAL, CHECKSUM = "_seal", "checksum"
# Callbacks, which are scikit-learn's, may hold the estimator, and are half loaded while it is.
UNSEALED = "_skl_", "_callback_", "_parent_callback_"
# A float64 of NumPy is a float among these.
PRIMITIVES = bool, int, float, complex, str, bytes, type(None)


def sealed(state):
    """A copy of the state with its seal.

    Parameters
    ----------
    state : dict of the attributes of an estimator

    Returns
    -------
    sealed : dict
    """
    head = {"format": FORMAT, **_versions()}
    return {**state, SEAL: {**head, CHECKSUM: _checksum_of(head, state)}}


def opened(state, name):
    """The state that was sealed, as it was, its arrays in memory and writable.

    Parameters
    ----------
    state : dict, as `sealed` returns
    name : str, what messages call the estimator

    Returns
    -------
    state : dict

    Raises
    ------
    ValueError
        For no format, another format, or a checksum that is not that of the state.

    Warns
    -----
    InconsistentVersionWarning
        Where another version of skrae or scikit-learn stored it.
    """
    state = dict(state)
    head = state.pop(SEAL, None)
    _check_format(head, name)
    expected = head.pop(CHECKSUM, None)
    if _checksum_of(head, state) != expected:
        raise ValueError(
            f"Got a stored {name} whose checksum is not that of its content, expected the state as"
            " it was stored: it is damaged, or was edited. Load an intact copy, or fit it anew."
        )
    for package, version in _versions().items():
        if head.get(package) != version:
            _warn_of_version(name, package, head.get(package), version)
    return {key: in_memory(value) for key, value in state.items()}


def restored(kind, state):
    """The state that was sealed, with parameters that came after it at their defaults.

    Parameters
    ----------
    kind : class of the estimator
    state : dict, as `sealed` returns
    """
    state = opened(state, kind.__name__)
    parameters = kind().get_params(deep=False).items()
    missing = {name: value for name, value in parameters if name not in state}
    return {**missing, **state}


def require(holds, got, expected):
    """Raise ValueError, of a fitted state that no fit gives, unless something holds."""
    if not holds:
        raise ValueError(f"Got a fitted state with {got}, expected {expected}.")


def require_array(name, array, shape, is_finite=True):
    """Raise ValueError unless part of a fitted state is an array of floats of this shape."""
    require(isinstance(array, np.ndarray), f"{name} of type {type(array).__name__}", "an array")
    require(array.shape == shape, f"{name} of shape {array.shape}", f"shape {shape}")
    require(array.dtype.kind == "f", f"{name} of dtype {array.dtype}", "floats")
    if is_finite:
        require(np.isfinite(array).all(), f"{name} that is not finite", "finite numbers")


def _check_format(head, name):
    if not isinstance(head, dict) or "format" not in head:
        raise ValueError(
            f"Got a stored {name} without a format, expected format {FORMAT}: it is damaged, or of"
            " a skrae from before there were formats, and nothing tells which. Fit it anew."
        )
    if head["format"] != FORMAT:
        raise ValueError(
            f"Got a stored {name} of format {head['format']!r}, expected format {FORMAT}: load it"
            f" with the skrae that stored it ({head.get('skrae')}), or fit it anew."
        )


def _warn_of_version(name, package, stored, current):
    warn(
        InconsistentVersionWarning(
            estimator_name=f"{name} ({package})",
            current_sklearn_version=current,
            original_sklearn_version=stored,
        )
    )


def _versions():
    # The package itself may not be imported from below; it is there where this is called.
    package = sys.modules[__name__.partition(".")[0]]
    return {"skrae": package.__version__, "scikit-learn": sklearn.__version__}


def _checksum_of(head, state):
    return checksum([head, _own(state)])


def _own(state):
    return {name: value for name, value in state.items() if not name.startswith(UNSEALED)}


def checksum(value):
    """Hexadecimal BLAKE2b of names, types, dtypes, shapes and values at any depth of containers.

    Of an object that is no container, array, primitive, RandomState or estimator of scikit-learn's
    kind the type alone counts.
    """
    found = hashlib.blake2b(digest_size=16)
    for kind, content in _pieces(value):
        found.update(f"{kind} {len(content)} ".encode())
        found.update(content)
    return found.hexdigest()


def _pieces(value):
    """Pairs (kind, bytes) that together tell the value from any other."""
    if isinstance(value, dict):
        items = [part for pair in sorted(value.items(), key=_repr_of_key) for part in pair]
        return _pieces_of("dict", items)
    if isinstance(value, list | tuple):
        return _pieces_of("list" if isinstance(value, list) else "tuple", value)
    if isinstance(value, np.random.RandomState):
        return _pieces_of("RandomState", [value.get_state(legacy=False)])
    if isinstance(value, PRIMITIVES):
        return [_primitive(value)]
    if isinstance(value, np.ndarray | np.generic):
        return _pieces_of_array(np.asarray(value))
    kind = f"{type(value).__module__}.{type(value).__qualname__}"
    if isinstance(value, BaseEstimator):
        return _pieces_of(kind, [_own(vars(value))])
    return [("object", kind.encode())]


def _repr_of_key(item):
    """Orders the items of a dict, whatever their keys."""
    return repr(item[0])


def _pieces_of(kind, items):
    yield kind, str(len(items)).encode()
    for item in items:
        yield from _pieces(item)


def _primitive(value):
    kind = next(kind for kind in PRIMITIVES if isinstance(value, kind))
    return kind.__name__, repr(value if value is None else kind(value)).encode()


def _pieces_of_array(array):
    kind = f"{array.dtype.str} {array.shape}"
    if array.dtype == object:
        return _pieces_of(kind, array.ravel().tolist())
    return [(kind, array.tobytes())]


def in_memory(value):
    """The value, with arrays in memory of their own for those that cannot be written to.

    torch shares the memory of arrays and warns of such; a file that arrays are mapped from may go.
    """
    if isinstance(value, dict):
        copies = {key: in_memory(item) for key, item in value.items()}
        return copies if _differ(copies.values(), value.values()) else value
    if isinstance(value, list | tuple):
        copies = [in_memory(item) for item in value]
        return type(value)(copies) if _differ(copies, value) else value
    if isinstance(value, np.ndarray):
        is_own = value.flags.writeable and not isinstance(value, np.memmap)
        return value if is_own else np.array(value)
    return value


def _differ(copies, values):
    return any(a is not b for a, b in zip(copies, values, strict=True))
