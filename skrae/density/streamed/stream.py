"""A stream of blocks that are seen once: the first are kept and fitted to, the others take steps.

Up to `START_ROWS` rows are kept, and fitted to anew each time that they have doubled. From then on,
and in between, a block takes one step: the base density by `skrae.mixtures.online`, what is over it
by `tilt`. What a stream has to remember is a dict of arrays, `_stream` of the estimator.
"""

from numbers import Real

import numpy as np
import torch
from sklearn.utils import check_random_state

from skrae.density.fit.finite import base_parts, require_finite
from skrae.density.fitted import attributes_of, fitted_of, log_z_attributes
from skrae.density.incomplete.rows import checked
from skrae.density.options import check_continuation, check_options, resolved_options
from skrae.density.streamed.learning import lesson_of
from skrae.density.streamed.tilt import tilted_anew
from skrae.mixtures.mixture import MixtureDensity
from skrae.mixtures.online import Statistics, online_step, statistics_of
from skrae.preprocessing.contract.options import available_device
from skrae.preprocessing.contract.twin import twin_of
from skrae.preprocessing.rows import (
    WeightedRows,
    as_frame,
    check_weights,
    plain_array,
    refuse_missing,
)
from skrae.preprocessing.sources.source import source_of
from skrae.preprocessing.table.options import CONSTANT, CONTINUOUS

# Rows that are kept, and the recent ones that a network is judged by.
START_ROWS, HELD_OUT_ROWS = 2**14, 2000
ADVICE = "a stream is learned from complete rows; fit takes holes"


def has_streams(estimator):
    """Whether an estimator has `partial_fit`; AttributeError says what for."""
    if estimator.decoder == "gradient" and not estimator.bias_correction:
        return True
    raise AttributeError(
        f"Got decoder={estimator.decoder!r} with bias_correction={estimator.bias_correction!r},"
        " expected decoder='gradient' and bias_correction=False for partial_fit."
    )


def fresh_stream(n_rows):
    """The attributes of a stream that has not gone on since a fit to so many rows."""
    stream = {"n_rows": float(n_rows), "n_calls": 0, "rows": None}
    return {"stream_scores_": np.zeros(0), "_stream": stream}


def learned(estimator, X, sample_weight, forgetting):
    """A twin of the estimator that has learned from one more block of rows.

    Parameters
    ----------
    estimator : the estimator, which stays as it is
    X, sample_weight, forgetting : as of `partial_fit`

    Raises
    ------
    ValueError, TypeError
        For options, rows and weights that `partial_fit` refuses.
    """
    _check(estimator, forgetting)
    if isinstance(X, np.memmap):
        X = np.array(X)
    if source_of(X) is not None:
        raise TypeError(f"Got a {type(X).__name__}, expected a block of rows that is in memory.")
    if not hasattr(estimator, "coefs_"):
        twin = _fitted_to(estimator, X, sample_weight)
        kept = _block(twin, X, sample_weight)
        return _told(twin, 1, twin.base_score_ + twin.network_gain_, [], kept)
    _check_model(estimator)
    rows, weights = _block(estimator, X, sample_weight)
    values = estimator._evaluator(rows.dtype).log_density(rows)
    score = float(np.average(values, weights=weights))
    stream = estimator._stream
    n_calls, scores = stream["n_calls"] + 1, estimator.stream_scores_
    if stream["rows"] is not None:
        kept = np.concatenate([stream["rows"], rows.astype(stream["rows"].dtype, copy=False)])
        kept = kept, np.concatenate([forgetting * stream["weights"], weights])
        if _is_due(len(kept[0]), stream["n_fitted"]):
            twin = _fitted_to(estimator, as_frame(kept[0], estimator._fitted_frame), kept[1])
            return _told(twin, n_calls, score, scores, kept)
        stream = {**stream, **_kept(*kept, stream["n_fitted"])}
    twin = _stepped(estimator, stream, rows, weights, forgetting)
    twin._stream["n_calls"], twin.stream_scores_ = n_calls, np.append(scores, score)
    return twin


def _check(estimator, forgetting):
    is_number = isinstance(forgetting, Real) and not isinstance(forgetting, bool)
    if not is_number or not 0.0 < forgetting <= 1.0:
        error = ValueError if is_number else TypeError
        raise error(f"Got forgetting={forgetting!r}, expected a number > 0 and <= 1.")
    check_options(estimator)
    if estimator.distributed:
        raise ValueError(
            "Got distributed=True in partial_fit, expected False: a stream is of one process."
        )
    if estimator.checkpoint is not None:
        raise ValueError(
            f"Got checkpoint={estimator.checkpoint!r}, expected None in partial_fit: pickle the"
            " model between two blocks."
        )


def _check_model(estimator):
    if estimator.table_ is not None:
        raise ValueError(
            "Got a model that was fitted to a table with holes, categories, cells or atoms,"
            " expected one of plain numbers: partial_fit goes on from such a model alone."
        )
    if not hasattr(estimator, "_stream"):
        raise ValueError(
            "Got a model stored before there was partial_fit, expected one that was fitted since:"
            " it does not tell of how many rows it is."
        )


def _is_due(n_rows, n_fitted):
    """Whether so many rows are fitted to anew, of which so many were before."""
    return n_rows >= 2 * n_fitted or n_rows >= max(START_ROWS, 1.5 * n_fitted)


def _kept(rows, weights, n_fitted):
    """What is remembered of the rows that are kept: where they are too many, that none is."""
    if len(rows) >= START_ROWS:
        return dict.fromkeys(("rows", "weights", "n_fitted"))
    return {"rows": rows, "weights": weights, "n_fitted": n_fitted}


def _told(twin, n_calls, score, scores, kept):
    """The twin, fitted to all rows that were kept, as it stands in the stream."""
    rows, weights = kept
    stream = {"n_rows": float(weights.sum()), "n_calls": n_calls}
    twin._stream = {**stream, **_kept(rows, weights, len(rows))}
    twin.stream_scores_ = np.append(scores, score)
    return twin


def _fitted_to(estimator, X, sample_weight):
    """A twin fitted to rows, without radial units, which stand still.

    Raises
    ------
    ValueError
        Where columns are none of plain numbers.
    """
    twin = twin_of(estimator)
    if hasattr(estimator, "coefs_"):  # what was found before holds, as values repeat in a block
        twin.column_kinds, twin.categorical_features = "continuous", None
    else:
        _check_plain(lesson_of(twin_of(estimator), X, sample_weight, reset=True).rows)
    twin.select, twin.warm_start = None, False
    return twin.fit(X, sample_weight=sample_weight)


def _check_plain(rows):
    table = rows.table
    if table is None:
        return
    known = (CONTINUOUS,) if rows.X.are_complete else (CONTINUOUS, CONSTANT)
    pairs = zip(table.features, table.kinds, strict=True)
    others = [f"{f.name!r} ({kind})" for f, kind in pairs if kind not in known]
    what = f"of {', '.join(others)}" if others else "with missing entries"
    raise ValueError(
        f"Got columns {what}, expected complete columns of continuous numbers in partial_fit:"
        " column_kinds='continuous' takes rounded numbers as such; fit takes any table."
    )


def _block(estimator, X, sample_weight):
    """Rows (n, d) of positive weight, finite, and their weights (n,), which are not scaled."""
    rows = checked(estimator, X, reset=False)
    if rows is None:
        raise ValueError("Got columns that are no numbers, expected numbers alone in partial_fit.")
    refuse_missing(rows, ADVICE)
    weights = check_weights(sample_weight, rows)
    if sample_weight is not None:
        weights = np.asarray(plain_array(sample_weight), np.float64)
    return rows[weights > 0.0], weights[weights > 0.0]


def _stepped(estimator, stream, rows, weights, forgetting):
    """A twin whose density has taken the step of a block; `stream` is what it remembers so far."""
    fitted, device = fitted_of(estimator), available_device(estimator.device)
    options = resolved_options(estimator)
    check_continuation(options, fitted)
    base, seed = MixtureDensity(*fitted.base), _seed(estimator, stream["n_calls"])
    z = torch.from_numpy(fitted.transform.forward(rows.astype(np.float64)))
    block, is_base = WeightedRows(z, torch.from_numpy(weights)), fitted.field("cpu").is_base
    if not is_base:
        if "held_out" in stream:
            aged = forgetting * stream["held_out_weights"]
            stream = {**stream, "held_out_weights": aged}
        block, held_out = _parted(block, stream, estimator.validation_fraction, seed)
        kept = {"held_out": held_out.z, "held_out_weights": held_out.weights}
        stream = {**stream, **{name: part.numpy() for name, part in kept.items()}}
    base, statistics = online_step(base, _statistics(base, stream), block, forgetting)
    require_finite("the base density", *base_parts(base))
    fitted, twin = fitted._replace(base=base.arrays()), twin_of(estimator)
    if not is_base:
        tilted, training = tilted_anew(fitted, block, held_out, options, seed, device)
        fitted = tilted.fitted
        _tell_of_tilt(twin, tilted, training, held_out.weights)
    vars(twin).update({**attributes_of(fitted), "_fitted_as": estimator._fitted_as})  # its dtype
    numbers = zip(("moments", "priors"), statistics, strict=False)
    twin._stream = {**stream, **{name: part.numpy() for name, part in numbers}}
    twin._stream["tail"] = statistics.tail
    return twin


def _tell_of_tilt(twin, tilted, training, weights):
    vars(twin).update(log_z_attributes(tilted.log_z_repeats))
    if training is not None:
        twin.loss_curve_ = twin.loss_curve_ + training.loss_curve
        twin.validation_curve_ = twin.validation_curve_ + training.validation_curve
        twin.n_iter_ += training.n_steps
    if len(weights):
        twin.network_gain_ = float(np.average(tilted.gains, weights=weights))


def _statistics(base, stream):
    if "moments" not in stream:
        return statistics_of(base, stream["n_rows"])
    arrays = (torch.from_numpy(stream[name]) for name in ("moments", "priors"))
    return Statistics(*arrays, stream["tail"])


def _seed(estimator, n_calls):
    """Another one for each call, the same each time that it is made."""
    return (check_random_state(estimator.random_state).randint(2**31 - 1) + n_calls) % 2**31


def _parted(block, stream, fraction, seed):
    """What a block gives to learn from, with rows that were held out long enough; the held out."""
    order = torch.randperm(len(block.z), generator=torch.Generator().manual_seed(seed))
    n = min(round(fraction * len(order)), len(order) - 1)
    fresh, rest = (WeightedRows(*(part[i] for part in block)) for i in (order[:n], order[n:]))
    if "held_out" in stream:
        before = stream["held_out"], stream["held_out_weights"]
        fresh = WeightedRows(
            *(torch.cat([torch.from_numpy(a), b]) for a, b in zip(before, fresh, strict=True))
        )
    old, recent = (
        WeightedRows(*(part[i] for part in fresh))
        for i in (slice(None, -HELD_OUT_ROWS), slice(-HELD_OUT_ROWS, None))
    )
    return WeightedRows(*(torch.cat(pair) for pair in zip(rest, old, strict=True))), recent
