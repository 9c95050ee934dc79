"""Arrays of one entry a column of a table, printed as a table."""

from html import escape

import numpy as np

DIGITS = 4


class ColumnReport(dict):
    """A dict of arrays of equal length, one entry for each column of a table.

    A data frame comes of it by ``pandas.DataFrame(report)`` or ``polars.DataFrame(report)``.

    Parameters
    ----------
    columns : mapping of str to array-like of shape (d,)

    Examples
    --------
    >>> report = ColumnReport({"name": ["a", "b"], "step": [0.5, 0.0]})
    >>> report
    name  step
    a      0.5
    b        0
    >>> report["step"].tolist()
    [0.5, 0.0]
    """

    def __init__(self, columns=()):
        super().__init__({name: _as_column(values) for name, values in dict(columns).items()})
        lengths = {name: len(values) for name, values in self.items()}
        if len(set(lengths.values())) > 1:
            raise ValueError(f"Got columns of lengths {lengths}, expected one length.")

    def __repr__(self):
        columns = [_aligned(name, values) for name, values in self.items()]
        return "\n".join("  ".join(line).rstrip() for line in zip(*columns, strict=True))

    def _repr_html_(self):
        """What a notebook shows."""
        head = "".join(f"<th>{escape(str(name))}</th>" for name in self)
        cells = zip(*([_text(value) for value in values] for values in self.values()), strict=True)
        rows = ("".join(f"<td>{escape(text)}</td>" for text in row) for row in cells)
        body = "".join(f"<tr>{row}</tr>" for row in rows)
        return f"<table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>"


def _as_column(values):
    if isinstance(values, np.ndarray) and values.ndim == 1:
        return values
    values = list(values)
    if any(isinstance(value, tuple) for value in values):
        column = np.empty(len(values), dtype=object)
        column[:] = values
        return column
    return np.asarray(values)


def _aligned(name, values):
    """The lines of a column, equally long: numbers to the right, all else to the left."""
    lines = [str(name), *map(_text, values)]
    width = max(map(len, lines))
    is_number = values.dtype.kind in "iuf"
    return [line.rjust(width) if is_number else line.ljust(width) for line in lines]


def _text(value):
    if isinstance(value, bool | np.bool_):
        return "yes" if value else ""
    if isinstance(value, float | np.floating):
        return "" if np.isnan(value) else f"{value:.{DIGITS}g}"
    if isinstance(value, tuple):
        return ", ".join(map(_text, value))
    return str(value)
