"""Log density of rows of numbers and categories, and one category given the rest.

The density is that of all columns, in nats a row and in the measure of `raw_data`. Peers other than
the two without a network take no holes: they are fitted to rows that have none, and the mean over
these test rows is beside that over all. Each peer has a share 1 / (n + 1) of independent columns.

Probabilities of a category come from the joint density by Bayes' rule; classifiers are told which
column it is. Their main option is searched in five folds of the training rows.
"""

import numpy as np
from sklearn.compose import make_column_selector, make_column_transformer
from sklearn.ensemble import HistGradientBoostingClassifier
from sklearn.impute import SimpleImputer
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import log_loss
from sklearn.model_selection import GridSearchCV, StratifiedKFold
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder, StandardScaler

from tests.benchmarks import raw_ours
from tests.benchmarks.raw_chain import Chain
from tests.benchmarks.raw_data import TABLES, problem_of
from tests.benchmarks.raw_joint_peers import RIDGES, MixtureByCategory, Vine
from tests.benchmarks.raw_ours import OURS
from tests.benchmarks.raw_peers import SIZES, Guarded, IndependentColumns, LatentClasses, chosen
from tests.benchmarks.records import timed

INDEPENDENT, REPEATS = "independent columns", "independent columns, repeated values"
CLASSES = "latent classes"
TAKES_HOLES = INDEPENDENT, REPEATS, CLASSES
BY_CATEGORY = "mixture by category"
NEED_COMPLETE = {BY_CATEGORY: MixtureByCategory, "vine": Vine, "chain of boosting": Chain}
PEERS = (*TAKES_HOLES, *NEED_COMPLETE)

PREDICTED = {
    "penguins": "species",
    "diamonds": "cut",
    "lending_club": "Class",
    "cps1988": "ethnicity",
}
LOGISTIC, BOOSTED = "LogisticRegression", "HistGradientBoostingClassifier"
SEARCHED = ", searched"
OPTIONS = {
    LOGISTIC: {"logisticregression__C": (0.01, 0.1, 1.0, 10.0, 100.0)},
    BOOSTED: {"learning_rate": (0.01, 0.03, 0.1, 0.3)},
}
CLASSIFIERS = tuple(name + end for name in OPTIONS for end in ("", SEARCHED))
FOLDS = 5


# --- densities ------------------------------------------------------------------------------------


def fit_peer(name, rows, schema, seed):
    """A fitted peer; `rows` without holes unless the peer takes them."""
    n, options = len(rows.numbers), (schema, seed)
    independent = IndependentColumns(*options, repeats=name == REPEATS).fit(rows)
    if name in (INDEPENDENT, REPEATS):
        return independent
    kind, settings = None, ()
    if name == CLASSES:
        kind, settings = LatentClasses, [size for size in SIZES if size <= n / 4]
    elif name == BY_CATEGORY:
        kind, settings = MixtureByCategory, RIDGES
    makes = {s: lambda s=s: Guarded(kind(*options, s), independent, n) for s in settings}
    if makes:
        return chosen(makes, rows, seed)[1]
    return Guarded(NEED_COMPLETE[name](*options), independent, n).fit(rows)


def categories(case):
    """Mean log density of test rows, of all and of those without holes."""
    problem = problem_of(case)
    test = problem.schema.encode(problem.test)
    complete = test.is_complete
    if case["model"] == OURS:
        model, seconds = raw_ours.fitted(case)
        found = raw_ours.log_density(model, problem.test, problem.schema)
    else:
        train, takes_holes = problem.schema.encode(problem.train), case["model"] in TAKES_HOLES
        if not takes_holes:
            train, test = train.take(train.is_complete), test.take(complete)
        peer, seconds = timed(fit_peer, case["model"], train, problem.schema, case["seed"])
        values = peer.log_density(test)
        found = np.full(len(complete), np.nan)
        found[complete if not takes_holes else slice(None)] = values
    return {
        "mean": float(found.mean()) if np.isfinite(found).all() else None,
        "mean_complete": float(found[complete].mean()),
        "n_test": len(complete),
        "n_complete": int(complete.sum()),
        "fit_cpu": seconds.cpu,
    }


# --- one category given the rest ------------------------------------------------------------------


def classifier(name, seed):
    """A classifier of a frame, at its defaults or with a search for its main option."""
    kind = name.removesuffix(SEARCHED)
    if kind == LOGISTIC:
        numbers = make_pipeline(SimpleImputer(), StandardScaler())
        columns = make_column_transformer(
            (numbers, make_column_selector(dtype_include="number")),
            (
                OneHotEncoder(handle_unknown="ignore"),
                make_column_selector(dtype_include="category"),
            ),
        )
        model = make_pipeline(columns, LogisticRegression(max_iter=2000))
    else:
        model = HistGradientBoostingClassifier(categorical_features="from_dtype", random_state=seed)
    if name.endswith(SEARCHED):
        folds = StratifiedKFold(FOLDS, shuffle=True, random_state=seed)
        model = GridSearchCV(model, OPTIONS[kind], scoring="neg_log_loss", cv=folds)
    return model


def predictor(case):
    """Log loss and accuracy of a category's probabilities on test rows that have it."""
    problem, target = problem_of(case), PREDICTED[case["set"]]
    train, test = (part[part[target].notna()] for part in (problem.train, problem.test))
    levels, codes = list(train[target].cat.categories), test[target].cat.codes.to_numpy()
    if case["model"] == OURS:
        model, seconds = raw_ours.fitted(case)
        found = raw_ours.level_probabilities(model, test, target)
    else:
        model = classifier(case["model"], case["seed"])
        X, y = train.drop(columns=target), train[target].cat.codes.to_numpy()
        _, seconds = timed(model.fit, X, y)
        found = np.zeros((len(test), len(levels)))
        found[:, model.classes_] = model.predict_proba(test.drop(columns=target))
    return {
        "log_loss": float(log_loss(codes, found, labels=range(len(levels)))),
        "accuracy": float((found.argmax(axis=1) == codes).mean()),
        "target": target,
        "fit_cpu": seconds.cpu,
    }


SECTIONS = {"categories": categories, "predictor": predictor}
COLUMNS = {
    "categories": {"mean": 3, "mean_complete": 3, "fit_cpu": 1},
    "predictor": {"log_loss": 4, "accuracy": 3, "fit_cpu": 1},
}


def cases_of(seed):
    """All cases of a seed."""
    del seed
    for name in TABLES:
        for model in (OURS, *PEERS):
            yield {"section": "categories", "set": name, "model": model}
        for model in (OURS, *CLASSIFIERS):
            yield {"section": "predictor", "set": name, "model": model}
