"""Words found in docstrings without their spaces, beside what are words in them.

The texts are the docstrings of an installed package, that of scikit-learn for the tables, outside
of its tests: of their lines, cut at punctuation marks, those parts that are four words or more of
the letters a to z alone, which leaves out code and formulas. Each is taken once and in lower case,
and its spaces are removed: 12 583 texts of scikit-learn 1.9.1. True words are those of 2 to 6
letters that were written 10 times or more, between spaces, in these parts.

All models rank the same candidates, the strings of 2 to 6 letters that occur 10 times or more, and
the average precision of the ranking is measured. It is the same for all seeds, and hangs on the
version of the package.
"""

import ast
import re
from collections import Counter
from functools import cache
from importlib.util import find_spec
from pathlib import Path

import numpy as np
from sklearn.feature_extraction.text import CountVectorizer
from sklearn.metrics import average_precision_score

from skrae.text import PhraseVocabulary
from tests.benchmarks.records import timed

MAX_LENGTH, MIN_COUNT = 6, 10
PACKAGES = {"scikit-learn": "sklearn", "scipy": "scipy", "numpy": "numpy"}
QUICK_PARTS = 2000


# --- texts ----------------------------------------------------------------------------------------


def docstrings(folder):
    """The docstrings of all modules below a folder, but for tests."""
    nodes = ast.Module, ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef
    for path in sorted(folder.rglob("*.py")):
        if "tests" not in path.relative_to(folder).parts:
            for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
                if isinstance(node, nodes):
                    yield ast.get_docstring(node) or ""


def parts_of_sentences(text):
    """The words of each part of a text that is made of four or more words alone.

    >>> parts_of_sentences("Fit it: the score of each is kept,\\nas are its labels_ and more.")
    [('the', 'score', 'of', 'each', 'is', 'kept')]
    """
    parts = (part.strip().lower() for part in re.split(r"\n|[.!?:;,](?:\s|$)", text))
    return [tuple(part.split()) for part in parts if re.fullmatch(r"[a-z]+(\s+[a-z]+){3,}", part)]


@cache
def corpus(name, n_parts=None):
    """The parts without spaces, and the set of true words."""
    folder = Path(find_spec(PACKAGES[name]).origin).parent
    found = dict.fromkeys(part for text in docstrings(folder) for part in parts_of_sentences(text))
    parts = list(found)[:n_parts]
    times = Counter(word for part in parts for word in part)
    true = {w for w, n in times.items() if 2 <= len(w) <= MAX_LENGTH and n >= MIN_COUNT}
    return ["".join(part) for part in parts], true


# --- rankings -------------------------------------------------------------------------------------


def _of_phrases(texts, **options):
    """The score of each candidate."""
    model = PhraseVocabulary(MAX_LENGTH, MIN_COUNT, max_features=None, **options).fit(texts)
    return dict(zip(model.get_feature_names_out(), model.scores_, strict=True))


def _counts(texts):
    """Occurrences of all strings of up to 6 letters, by CountVectorizer."""
    counter = CountVectorizer(analyzer="char", ngram_range=(1, MAX_LENGTH))
    times = np.asarray(counter.fit_transform(texts).sum(axis=0)).ravel()
    return dict(zip(counter.get_feature_names_out(), times.tolist(), strict=True))


def _of_frequency(texts):
    times = _counts(texts)
    return {s: n for s, n in times.items() if len(s) > 1 and n >= MIN_COUNT}


def _of_pmi(texts):
    """Mutual information of the weakest split, from the counts of CountVectorizer."""
    times, n_letters = _counts(texts), sum(map(len, texts))
    return {
        s: np.log(n * n_letters / max(times[s[:k]] * times[s[k:]] for k in range(1, len(s))))
        for s, n in times.items()
        if len(s) > 1 and n >= MIN_COUNT
    }


MODELS = {
    "skrae": _of_phrases,
    "branching entropy": lambda texts: _of_phrases(texts, cohesion_weight=0.0),
    "PMI": _of_pmi,
    "frequency": _of_frequency,
}


def words(case):
    """Average precision of a ranking, and the share of true words among its first hundred."""
    texts, true = corpus(case["set"], QUICK_PARTS if case.get("quick") else None)
    scores, seconds = timed(MODELS[case["model"]], texts)
    # Sorted, so that the order of equal scores is that of an alphabet and not of a model.
    ranked = sorted(sorted(scores), key=scores.get, reverse=True)
    is_word = np.array([s in true for s in ranked])
    return {
        "average_precision": float(average_precision_score(is_word, [scores[s] for s in ranked])),
        "precision": float(is_word[:100].mean()),
        "n_sentences": len(texts),
        "n_characters": sum(map(len, texts)),
        "n_words": len(true),
        "n_candidates": len(ranked),
        "fit_cpu": seconds.cpu,
    }


SECTIONS = {"words": words}
COLUMNS = {
    "words": {
        "average_precision": 3,
        "precision": 2,
        "n_sentences": 0,
        "n_characters": 0,
        "n_words": 0,
        "n_candidates": 0,
        "fit_cpu": 1,
    }
}


def cases_of(seed):
    """Of seed 0 alone: nothing is random."""
    for model in MODELS if seed == 0 else ():
        yield {"section": "words", "set": "scikit-learn", "model": model}
