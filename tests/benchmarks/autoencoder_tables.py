"""Rows that the auto-encoders are measured on, and what is measured of codes."""

import numpy as np
from scipy.spatial.distance import cdist
from sklearn.datasets import load_breast_cancer, load_digits, make_swiss_roll
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import train_test_split
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from skrae import metrics
from tests.benchmarks.data import data_folder

N_NEIGHBORS = 10


def digits(seed):
    """Images of 64 pixels in [0, 1] with their labels, a stratified 30 % of them to test."""
    X, y = load_digits(return_X_y=True)
    return _pairs(train_test_split(X / 16.0, y, test_size=0.3, stratify=y, random_state=seed))


def _pairs(parts):
    X, X_test, y, y_test = parts
    return (X, y), (X_test, y_test)


def fashion(seed):
    """3000 images of 14 x 14 pixels in [0, 1], and 2000 to test."""
    found = np.load(data_folder() / "fashion14.npz")
    index = np.random.RandomState(seed).permutation(len(found["X_train"]))[:3000]
    train = found["X_train"][index] / 255.0, found["y_train"][index]
    return train, (found["X_test"] / 255.0, found["y_test"])


def breast_cancer(seed):
    """569 rows of 30 columns, standardised."""
    X, y = load_breast_cancer(return_X_y=True)
    return _standardised(_pairs(train_test_split(X, y, test_size=0.3, random_state=seed)))


def red_wine(seed):
    """1599 rows of 11 columns, standardised."""
    X = np.loadtxt(data_folder() / "redwine.csv.gz", delimiter=";", skiprows=1)
    parts = train_test_split(X[:, :-1], X[:, -1], test_size=0.3, random_state=seed)
    return _standardised(_pairs(parts))


def _standardised(parts):
    scaler = StandardScaler().fit(parts[0][0])
    return [(scaler.transform(X), y) for X, y in parts]


TABLES = {
    "digits": digits,
    "fashion14": fashion,
    "breast cancer": breast_cancer,
    "red wine": red_wine,
}


def swiss_roll(seed, noise=0.0):
    """1500 and 1000 rows of a rolled-up sheet, with their exact coordinates on the sheet."""
    parts = []
    for n, state in ((1500, 2 * seed), (1000, 2 * seed + 1)):
        X, t = make_swiss_roll(n, noise=noise, random_state=state)
        length = 0.5 * (t * np.sqrt(1.0 + t**2) + np.arcsinh(t))
        parts.append((X, np.column_stack([length, X[:, 1]])))
    return parts


def residual(X, r):
    """Mean squared error of an entry."""
    return float(np.mean((X - r) ** 2))


def r_squared(X, r):
    """The share of the variance that is reconstructed."""
    return float(1.0 - np.sum((X - r) ** 2) / np.sum((X - X.mean(axis=0)) ** 2))


def probe(codes, labels, test_codes, test_labels):
    """Accuracy of a logistic regression on standardised codes."""
    model = make_pipeline(StandardScaler(), LogisticRegression(C=1.0, max_iter=5000))
    return float(model.fit(codes, labels).score(test_codes, test_labels))


def embedding(X, Z, X_fit, Z_fit, sheet=None, sheet_fit=None):
    """How well codes of test rows keep what is near and far, against the training rows.

    The correlation is with distances on the sheet where there is one.
    """
    keep = {"n_neighbors": N_NEIGHBORS, "reference": (X_fit, Z_fit)}
    far = (X, Z, X_fit, Z_fit) if sheet is None else (sheet, Z, sheet_fit, Z_fit)
    inside, outside = cdist(far[0], far[2]).ravel(), cdist(far[1], far[3]).ravel()
    return {
        "trustworthiness": metrics.trustworthiness(X, Z, **keep),
        "continuity": metrics.continuity(X, Z, **keep),
        "recall": metrics.neighbor_recall(X, Z, **keep),
        "correlation": float(np.corrcoef(inside, outside)[0, 1]),
        "stress": metrics.stress(X, Z, reference=(X_fit, Z_fit)),
    }
