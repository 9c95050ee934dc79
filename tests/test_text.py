"""Phrases of unsegmented texts: closed forms, a slow oracle, laws, and what is refused."""

import copy
import math
import subprocess
import sys
import unicodedata
import warnings
from collections import Counter

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.testing import assert_allclose, assert_array_equal, assert_equal
from sklearn.base import clone
from sklearn.exceptions import NotFittedError, SkipTestWarning
from sklearn.feature_extraction.text import CountVectorizer, TfidfTransformer
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.utils.estimator_checks import check_estimator

from skrae.text import PhraseVocabulary
from tests.round_trips import through_joblib, through_pickle, through_skops

TWISTER = "吃葡萄不吐葡萄皮不吃葡萄倒吐葡萄皮"
FIGURES = "counts_", "left_entropy_", "right_entropy_", "cohesion_", "scores_"
# Few characters, so that strings recur; a space and a comma among them.
documents = st.lists(st.text("abcD ,", max_size=30), min_size=1, max_size=6)


def everything(**options):
    """A vocabulary of all strings."""
    return PhraseVocabulary(**{"min_count": 1, "max_features": None, **options})


def figures(model):
    """The figures of each phrase: {phrase: (count, entropies, cohesion, score)}."""
    rows = zip(*(getattr(model, name) for name in FIGURES), strict=True)
    return dict(zip(model.get_feature_names_out(), rows, strict=True))


# --- a slow oracle --------------------------------------------------------------------------------


def is_within(character):
    return unicodedata.category(character)[0] in "LMN"


def occurrences(raw_documents, phrase):
    """The neighbours of each place where a phrase is; a place itself stands for a boundary."""
    left, right = [], []
    for number, document in enumerate(map(str.lower, raw_documents)):
        for start in range(len(document) - len(phrase) + 1):
            end = start + len(phrase)
            if document[start:end] == phrase:
                before = document[start - 1] if start else " "
                after = document[end] if end < len(document) else " "
                left.append(before if is_within(before) else (number, start))
                right.append(after if is_within(after) else (number, end))
    return left, right


def entropy(neighbors):
    n = len(neighbors)
    return -sum(m / n * math.log(m / n) for m in Counter(neighbors).values())


def slow_figures(raw_documents, max_length, min_count, weight):
    """What `figures` gives, by two loops over all strings of all documents."""
    lower = [document.lower() for document in raw_documents]
    strings = {
        document[i : i + length]
        for document in lower
        for length in range(1, max_length + 1)
        for i in range(len(document) - length + 1)
        if all(map(is_within, document[i : i + length]))
    }
    found = {phrase: occurrences(raw_documents, phrase) for phrase in strings}
    total = sum(map(is_within, "".join(lower)))
    p = {phrase: len(left) / total for phrase, (left, _) in found.items()}
    table = {}
    for phrase, (left, right) in found.items():
        if len(phrase) > 1 and len(left) >= min_count:
            splits = [(phrase[:k], phrase[k:]) for k in range(1, len(phrase))]
            cohesion = min(math.log(p[phrase] / (p[a] * p[b])) for a, b in splits)
            entropies = entropy(left), entropy(right)
            table[phrase] = len(left), *entropies, cohesion, min(entropies) + weight * cohesion
    return table


@given(documents, st.integers(2, 5), st.integers(1, 3), st.sampled_from([0.0, 0.5, 2.0]))
def test_figures_are_those_of_the_slow_oracle(raw_documents, max_length, min_count, weight):
    expected = slow_figures(raw_documents, max_length, min_count, weight)
    model = PhraseVocabulary(max_length, min_count, weight, None)
    if not expected:
        with pytest.raises(ValueError, match="Got "):
            model.fit(raw_documents)
        return
    found = figures(model.fit(raw_documents))
    assert set(found) == set(expected)
    for phrase, values in expected.items():
        assert_allclose(found[phrase], values, rtol=1e-12, atol=1e-12)
    assert model.vocabulary_ == {phrase: column for column, phrase in enumerate(found)}


# --- closed forms ---------------------------------------------------------------------------------


def test_grapes_of_the_tongue_twister():
    count, left, right, cohesion, score = figures(everything().fit([TWISTER]))["葡萄"]
    assert count == 4
    # On the left 吃, 吐, 吃, 吐; on the right 不, 皮, 倒, 皮; 17 characters, 4 of each of the two.
    assert_allclose([left, right], [math.log(2.0), 1.5 * math.log(2.0)], rtol=1e-14)
    assert_allclose(cohesion, math.log((4 / 17) / (4 / 17) ** 2), rtol=1e-14)
    assert_allclose(score, math.log(2.0) + 0.5 * math.log(17 / 4), rtol=1e-14)
    assert [round(left, 4), round(right, 4)] == [0.6931, 1.0397]


def test_every_boundary_is_a_neighbour_of_its_own():
    for raw_documents in (["ab"] * 8, ["ab ab ab ab ab\nab,ab ab"], ["ab--ab!"] * 4):
        count, left, right, cohesion, _ = figures(everything().fit(raw_documents))["ab"]
        assert count == 8
        assert_allclose([left, right], math.log(8.0), rtol=1e-14)
        assert_allclose(cohesion, math.log(2.0), rtol=1e-14)


def test_the_weakest_split_is_taken():
    # Of "abc", which is 2 of 10 characters as are "a" and "ab": p(abc) / (p(ab) p(c)) is the least.
    found = figures(everything().fit(["abc", "abc", "cccc"]))
    assert_allclose(found["abc"][3], math.log((2 / 10) / ((2 / 10) * (6 / 10))), rtol=1e-14)
    assert_allclose(found["ab"][3], math.log((2 / 10) / (2 / 10) ** 2), rtol=1e-14)


def test_a_string_with_one_neighbour_has_no_entropy():
    found = figures(everything(max_length=2).fit(["xabyxaby"]))
    assert found["ab"][1] == found["ab"][2] == 0.0


def test_of_independent_letters_nothing_holds_together(random_seed):
    n, k = 200_000, 4
    letters = np.random.default_rng(random_seed).choice(list("abcd"), n)
    model = PhraseVocabulary(max_length=2, cohesion_weight=1.0).fit(["".join(letters)])
    names = model.get_feature_names_out()
    assert names.size == k**2
    # The variance of the log ratio is (1 / p(a) - 1) (1 / p(b) - 1) / n.
    assert np.abs(model.cohesion_).max() < 4.5 * (k - 1) / math.sqrt(n)
    # Of m occurrences, 2 m times what an entropy lacks is chi-squared with k - 1 = 3 degrees of
    # freedom, which exceeds 30 once in a million.
    inner = [phrase not in ("".join(letters[:2]), "".join(letters[-2:])) for phrase in names]
    for found in (model.left_entropy_[inner], model.right_entropy_[inner]):
        lacking = 2.0 * model.counts_[inner] * (math.log(k) - found)
        assert (lacking > -1e-9).all()
        assert lacking.max() < 30.0


# --- laws -----------------------------------------------------------------------------------------


@given(documents, st.randoms())
def test_the_order_of_documents_means_nothing(raw_documents, random):
    raw_documents = [*raw_documents, TWISTER]
    first = everything().fit(raw_documents)
    random.shuffle(raw_documents)
    second = everything().fit(raw_documents)
    assert list(first.vocabulary_.items()) == list(second.vocabulary_.items())
    for name in FIGURES:
        assert_array_equal(getattr(first, name), getattr(second, name))


def test_texts_twice_change_what_is_beside_boundaries_alone():
    raw_documents = [TWISTER, TWISTER[::-1], "葡萄"]
    once = figures(everything().fit(raw_documents))
    twice = figures(everything().fit(2 * raw_documents))
    assert set(once) == set(twice)
    for phrase, (count, *entropies, cohesion, _) in once.items():
        beside = occurrences(raw_documents, phrase)
        gained = [sum(not isinstance(n, str) for n in side) / count for side in beside]
        expected = [h + share * math.log(2.0) for h, share in zip(entropies, gained, strict=True)]
        assert_allclose(twice[phrase][:4], [2 * count, *expected, cohesion], atol=1e-12)


def test_columns_are_in_the_order_of_scores_counts_lengths_and_characters():
    model = everything(max_length=3).fit([TWISTER, "xy zyx", "ab cd", "ab cd", "efg"])
    names = model.get_feature_names_out()
    assert list(model.vocabulary_.items()) == [(name, i) for i, name in enumerate(names)]
    keys = [
        (-score, -count, len(name), name)
        for score, count, name in zip(model.scores_, model.counts_, names, strict=True)
    ]
    assert keys == sorted(keys)
    assert np.unique(model.scores_).size < len(keys)  # there are ties


def test_fewer_features_are_the_first_ones():
    every = everything().fit([TWISTER])
    few = everything(max_features=7).fit([TWISTER])
    assert_array_equal(few.get_feature_names_out(), every.get_feature_names_out()[:7])
    for name in FIGURES:
        assert_array_equal(getattr(few, name), getattr(every, name)[:7])


def test_length_and_count_are_kept_to():
    every = figures(everything().fit([TWISTER]))
    some = figures(everything(max_length=3, min_count=2).fit([TWISTER]))
    expected = {s: row for s, row in every.items() if len(s) <= 3 and row[0] >= 2}
    assert len(expected) > 5
    assert some == expected


def test_lengths_beyond_the_texts_cost_nothing():
    assert figures(everything(max_length=10**9).fit(["abc"])) == figures(
        everything(max_length=3).fit(["abc"])
    )


def test_words_of_a_random_language_are_found_first(random_seed):
    rng = np.random.default_rng(random_seed)
    spellings = ["".join(rng.permutation(list("abcdefghijklmnop"))[:4]) for _ in range(30)]
    texts = ["".join(rng.choice(spellings, 12)) for _ in range(500)]
    model = PhraseVocabulary(max_length=6, max_features=len(set(spellings))).fit(texts)
    found = set(model.vocabulary_)
    assert found == set(spellings)


# --- characters -----------------------------------------------------------------------------------


def test_text_is_put_in_lower_case():
    model = everything(max_length=2).fit(["Ab aB"])
    assert model.vocabulary_ == {"ab": 0}
    assert_array_equal(model.transform(["AB", "ab"]).toarray(), [[1], [1]])


def test_phrases_span_no_space_line_or_punctuation():
    model = everything().fit(["葡萄，葡萄。", "ab\ncd e_f", "1\u30002"])
    assert set(model.vocabulary_) == {"葡萄", "ab", "cd"}


def test_vowels_that_are_marks_are_within_words():
    for word in ("ดี", "हि", "e\u0301"):  # Thai, Hindi, a combining accent
        assert [unicodedata.category(c)[0] for c in word] == ["L", "M"]
        assert set(everything().fit([f"{word} {word}"]).vocabulary_) == {word}


# --- counts ---------------------------------------------------------------------------------------


def counted(model, texts):
    """What scikit-learn counts."""
    lengths = list(map(len, model.vocabulary_))
    with warnings.catch_warnings():  # of capitals without a lower case
        warnings.simplefilter("ignore")
        return CountVectorizer(
            analyzer="char",
            ngram_range=(min(lengths), max(lengths)),
            vocabulary=model.vocabulary_,
        ).transform(texts)


@given(documents, st.lists(st.text(max_size=40), max_size=4))
def test_counts_are_those_of_count_vectorizer(raw_documents, others):
    model = everything(max_length=4).fit([*raw_documents, "abcabc", *others])
    texts = [*raw_documents, *others]
    found, expected = model.transform(texts), counted(model, texts)
    assert found.shape == (len(texts), len(model.vocabulary_))
    assert found.dtype == expected.dtype == np.int64
    assert_array_equal(found.toarray(), expected.toarray())


def test_counts_of_the_fitted_texts_are_the_attribute():
    texts = ["aaaa", TWISTER, "aa a"]
    model = everything()
    counts = model.fit_transform(iter(texts))
    assert_array_equal(np.asarray(counts.sum(axis=0)).ravel(), model.counts_)
    assert figures(model)["aa"][0] == 4  # three of them overlap
    assert_array_equal(counts.toarray(), model.transform(texts).toarray())
    assert model.transform([]).shape == (0, len(model.vocabulary_))


def test_texts_come_as_any_iterable():
    pd, texts = pytest.importorskip("pandas"), [TWISTER, "葡萄"]
    expected = figures(everything().fit(texts))
    frame = pd.DataFrame({"text": texts}, index=[5, 3])
    for given_as in (tuple(texts), iter(texts), np.array(texts), frame["text"]):
        assert figures(everything().fit(given_as)) == expected


def test_a_classifier_reads_the_counts(random_seed):
    rng = np.random.default_rng(random_seed)
    subjects = [["葡萄", "苹果", "香蕉"], ["火车", "飞机", "汽车"]]
    y = np.repeat([0, 1], 60)
    texts = ["".join(rng.choice([*subjects[k], "我们", "喜欢"], 8)) for k in y]
    model = make_pipeline(
        PhraseVocabulary(max_length=3, min_count=5), TfidfTransformer(), LogisticRegression()
    )
    assert model.fit(texts[::2], y[::2]).score(texts[1::2], y[1::2]) > 0.9
    names = model[:-1].get_feature_names_out()
    assert {*subjects[0], *subjects[1]} <= set(names)
    assert names.size == model[-1].coef_.size


# --- scikit-learn's contract ----------------------------------------------------------------------


def test_scikit_learn_checks_that_apply_to_texts():
    # All others need tables of numbers, as scikit-learn says once.
    with pytest.warns(SkipTestWarning, match="Can't test estimator PhraseVocabulary"):
        found = check_estimator(PhraseVocabulary(), on_fail=None)
    assert found
    assert {result["status"] for result in found} == {"passed"}


def test_tags_are_those_of_scikit_learns_own_class():
    ours, theirs = (c().__sklearn_tags__() for c in (PhraseVocabulary, CountVectorizer))
    assert ours.input_tags == theirs.input_tags
    assert not hasattr(PhraseVocabulary(), "set_output")


def test_clones_and_stored_models_are_equal():
    model = everything(max_length=4).fit([TWISTER])
    copied = clone(model)
    assert copied.get_params() == model.get_params()
    assert not hasattr(copied, "vocabulary_")
    for stored in (through_pickle(model), through_joblib(model), through_skops(model)):
        assert_equal(vars(stored), vars(model))


def test_a_second_fit_forgets_the_first():
    model = everything().fit([TWISTER])
    assert_equal(vars(model.fit(["abab"])), vars(everything().fit(["abab"])))


def test_skrae_does_not_load_it():
    shown = "print('skrae.text' in sys.modules)"
    code = f"import sys\nimport skrae\n{shown}\nfrom skrae import text\n{shown}"
    command = [sys.executable, "-c", code]
    output = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True)
    assert output.stdout.split() == ["False", "True"]


# --- what is refused ------------------------------------------------------------------------------

BAD_DOCUMENTS = {
    "a string": (TWISTER, ValueError, "Got a single str, expected an iterable of str"),
    "bytes": ([b"ab"], ValueError, "Got b'ab' of type bytes as document 0, expected str"),
    "nan": ([TWISTER, np.nan], ValueError, "Got nan of type float as document 1, expected str"),
    "none": ([None], ValueError, "Got None of type NoneType as document 0, expected str"),
    "rows": ([["ab"], ["cd"]], ValueError, "of type list as document 0, expected str"),
    "table": (np.array([["ab"]]), ValueError, "Got raw_documents of 2 dimensions, expected one"),
    "scalar": (np.array("ab"), ValueError, "Got raw_documents of 0 dimensions, expected one"),
    "number": (3, TypeError, "Got raw_documents of type int, expected an iterable of str"),
}
BAD_DOCUMENTS_TO_FIT = {
    **BAD_DOCUMENTS,
    "none at all": ([], ValueError, "Got no documents, expected at least one"),
    "empty": (["", ""], ValueError, "Got documents without a letter or digit, expected"),
    "punctuation": (["?! -", "\n"], ValueError, "Got documents without a letter or digit"),
    "characters apart": (["a b", "c"], ValueError, "no string of 2 to 6 characters occurs"),
}


@pytest.fixture
def fitted():
    """A fitted model, whose state no refusal changes."""
    model = everything().fit([TWISTER])
    before = copy.deepcopy(vars(model))
    yield model
    assert_equal(vars(model), before)


@pytest.mark.parametrize("name", BAD_DOCUMENTS_TO_FIT)
def test_bad_documents_are_refused_by_fit(name, fitted):
    raw_documents, error, message = BAD_DOCUMENTS_TO_FIT[name]
    for method in (fitted.fit, fitted.fit_transform, everything().fit):
        with pytest.raises(error, match=message):
            method(raw_documents)


@pytest.mark.parametrize("name", BAD_DOCUMENTS)
def test_bad_documents_are_refused_by_transform(name, fitted):
    raw_documents, error, message = BAD_DOCUMENTS[name]
    with pytest.raises(error, match=message):
        fitted.transform(raw_documents)


def test_a_frame_and_missing_entries_are_refused(fitted):
    pd = pytest.importorskip("pandas")
    frame = pd.DataFrame({"text": [TWISTER, None]})
    for refused in (frame, frame["text"]):
        for method in (fitted.fit, fitted.transform):
            with pytest.raises(ValueError, match=r"Got .*, expected"):
                method(refused)


def test_an_interrupted_fit_loses_nothing(fitted):
    def interrupted():
        yield "abab"
        raise KeyboardInterrupt

    for method in (fitted.fit, fitted.fit_transform, fitted.transform):
        with pytest.raises(KeyboardInterrupt):
            method(interrupted())


def test_nothing_frequent_enough_is_refused():
    model = PhraseVocabulary(min_count=5)
    message = r"no string of 2 to 6 characters occurs min_count=5 times, expected at least one"
    with pytest.raises(ValueError, match=message):
        model.fit([TWISTER])
    assert [name for name in vars(model) if name.endswith("_")] == []
    assert set(model.set_params(min_count=4).fit([TWISTER]).vocabulary_) == {"葡萄"}


@pytest.mark.parametrize(
    ("name", "values", "expected"),
    [
        ("max_length", [1, 0, -1, 2.5, None, "6"], "an integer >= 2"),
        ("min_count", [0, -1, 2.5, None, "10"], "an integer >= 1"),
        ("cohesion_weight", [-0.1, np.nan, np.inf, None, "0.5"], "a finite number >= 0"),
        ("max_features", [0, -1, 2.5, "all"], "an integer >= 1 or None"),
    ],
)
def test_an_option_out_of_range_is_refused(name, values, expected, fitted):
    for value in values:
        model = everything(**{name: value})
        error = ValueError if isinstance(value, int | float) else TypeError
        error = TypeError if value == 2.5 else error
        with pytest.raises(error, match=f"Got {name}=.*, expected {expected}"):
            model.fit(np.nan)  # options come first
        old = getattr(fitted, name)
        with pytest.raises(error, match=f"Got {name}="):
            fitted.set_params(**{name: value}).fit_transform([TWISTER])
        fitted.set_params(**{name: old})


def test_an_unfitted_vocabulary_says_so():
    with pytest.raises(NotFittedError, match="not fitted yet"):
        PhraseVocabulary().transform([TWISTER])
    with pytest.raises(NotFittedError, match="not fitted yet"):
        PhraseVocabulary().get_feature_names_out()
