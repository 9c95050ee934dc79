"""Words of texts that are written without spaces, found by entropy and without a dictionary.

`import skrae` does not load this module: write `from skrae.text import PhraseVocabulary`.
"""

import math
import unicodedata
from numbers import Integral, Real

import numpy as np
from sklearn.base import BaseEstimator, TransformerMixin
from sklearn.feature_extraction.text import CountVectorizer
from sklearn.utils.validation import check_is_fitted

__all__ = ["PhraseVocabulary"]

# Unicode's letters, marks and numbers. Marks, since the vowels of Thai or Hindi are among them.
WITHIN = "LMN"


class PhraseVocabulary(TransformerMixin, BaseEstimator, auto_wrap_output_keys=None):
    r"""Words of unsegmented text: strings that much can precede and follow, and that hold together.

    Each string s of 2 to ``max_length`` characters has the score

    .. math::

        \min(H_l(s), H_r(s)) + w \min_{s = a b} \log \frac{p(s)}{p(a) \, p(b)}

    in nats: the lesser of the entropies of its left and of its right neighbour, plus w times the
    pointwise mutual information of its parts where it is split at its weakest place. The strings
    with the greatest scores are the vocabulary, and their counts the features.

    Parameters
    ----------
    max_length : int >= 2, default=6
        Characters of the longest phrase. One character alone is no candidate: it has no parts.
    min_count : int >= 1, default=10
        Occurrences that a phrase needs. An entropy of fewer says little.
    cohesion_weight : float >= 0, default=0.5
        The weight w of the mutual information.
    max_features : int >= 1 or None, default=1000
        The number of phrases that are kept, those with the greatest scores; None keeps all that
        occur often enough. There is no threshold: the last ones of a long list are no words.

    Attributes
    ----------
    vocabulary_ : dict of str to int
        The column of each phrase. Columns are in the order of the scores, the greatest first; of
        equal ones the more frequent is first, then the shorter, then the first by code points.
    scores_ : ndarray of shape (n_phrases,)
        The score of each column, in nats.
    cohesion_ : ndarray of shape (n_phrases,)
        Pointwise mutual information of the weakest split, in nats, without the weight.
    left_entropy_, right_entropy_ : ndarray of shape (n_phrases,)
        Branching entropies in nats, between 0 and the logarithm of the count.
    counts_ : ndarray of shape (n_phrases,)
        Occurrences in the texts of the fit.

    See Also
    --------
    sklearn.feature_extraction.text.CountVectorizer : Counts of words that are marked as such.

    Notes
    -----
    Text is put in lower case. A phrase consists of letters, marks and digits (Unicode's categories
    L, M and N), so that it spans no space, line break or punctuation mark: these are boundaries, as
    are both ends of a document. Each boundary is a neighbour of its own, unlike any other: many
    things stand beyond it. So of n occurrences, n_a of them beside a and n_0 beside a boundary,

    .. math::

        H(s) = \sum_{a} \frac{n_a}{n} \log \frac{n}{n_a} + \frac{n_0}{n} \log n.

    Occurrences may overlap, and p(s) is their number over that of all letters, marks and digits.
    Remove the spaces beforehand to find words in a text that has some.

    Strings are told apart by sorting, for each length those whose parts are frequent enough, so
    that time grows a little faster than the texts: half a million characters take less than a
    second. Memory is about 110 bytes for each character of the texts.

    References
    ----------
    Harris (1955), "From phoneme to morpheme", Language 31, 190-222: what may follow is more where
    a word ends.

    Church & Hanks (1990), "Word association norms, mutual information, and lexicography",
    Computational Linguistics 16, 22-29.

    Feng, Chen, Deng & Zheng (2004), "Accessor variety criteria for Chinese word extraction",
    Computational Linguistics 30, 75-93: the lesser of both sides, and boundaries that all differ.

    Jin & Tanaka-Ishii (2006), "Unsupervised segmentation of Chinese text by use of branching
    entropy", COLING/ACL, 428-435.

    Examples
    --------
    A tongue twister of grapes, eaten with and without spitting out their skins.

    >>> from skrae.text import PhraseVocabulary
    >>> twister = ["吃葡萄不吐葡萄皮不吃葡萄倒吐葡萄皮"]
    >>> words = PhraseVocabulary(min_count=4).fit(twister)
    >>> words.get_feature_names_out()
    array(['葡萄'], dtype=object)
    >>> words.left_entropy_.round(4), words.right_entropy_.round(4), words.cohesion_.round(4)
    (array([0.6931]), array([1.0397]), array([1.4469]))
    >>> words.transform(["葡萄", "吃葡萄不吐葡萄皮", "提子"]).toarray().ravel()
    array([1, 2, 0])
    """

    def __init__(self, max_length=6, min_count=10, cohesion_weight=0.5, max_features=1000):
        self.max_length = max_length
        self.min_count = min_count
        self.cohesion_weight = cohesion_weight
        self.max_features = max_features

    def fit(self, raw_documents, y=None):
        """Find the phrases of texts.

        Parameters
        ----------
        raw_documents : iterable of str
            Texts; their order means nothing.
        y : None
            Ignored.

        Returns
        -------
        self : PhraseVocabulary

        Raises
        ------
        ValueError
            For a single string, a table, a document that is no string, such as NaN, texts without
            a letter, strings of which none occurs ``min_count`` times, or an option out of range.
        TypeError
            For an option of another type, or documents that are not iterable.
        """
        _check_options(self)
        text = "\n".join(["", *_checked(raw_documents, needed=True), ""]).lower()
        found = _candidates(_codes_of(text), self.max_length, self.min_count)
        entropy = np.minimum(found["left_entropy"], found["right_entropy"])
        found["scores"] = entropy + self.cohesion_weight * found["cohesion"]
        # Stable: equal ones stay in the order of their lengths, then of their characters.
        best = np.lexsort((-found["counts"], -found["scores"]))[: self.max_features]
        spans = zip(found.pop("starts")[best], found.pop("lengths")[best], strict=True)
        phrases = [text[start : start + length] for start, length in spans]
        fitted = {f"{name}_": values[best] for name, values in found.items()}
        # At once, so that an interrupt leaves the old fit or the new one.
        vars(self).update(fitted, vocabulary_={phrase: i for i, phrase in enumerate(phrases)})
        return self

    def fit_transform(self, raw_documents, y=None):
        """Find the phrases of texts and count them; the texts may come from an iterator.

        Parameters
        ----------
        raw_documents : iterable of str
            Texts, as in `fit`.
        y : None
            Ignored.

        Returns
        -------
        counts : sparse matrix of shape (n_documents, n_phrases)
            As in `transform`.
        """
        _check_options(self)
        documents = _checked(raw_documents, needed=True)
        return self.fit(documents).transform(documents)

    def transform(self, raw_documents):
        """Count the phrases in texts.

        Parameters
        ----------
        raw_documents : iterable of str
            Texts.

        Returns
        -------
        counts : sparse matrix of shape (n_documents, n_phrases)
            Of int64, in CSR format: those of scikit-learn's ``CountVectorizer(analyzer="char")``
            with this vocabulary. A phrase within a longer one counts for both.

        Raises
        ------
        ValueError
            For a single string, a table, or a document that is no string.
        """
        check_is_fitted(self)
        lengths = [len(phrase) for phrase in self.vocabulary_]
        counter = CountVectorizer(
            analyzer="char",
            ngram_range=(min(lengths), max(lengths)),
            vocabulary=self.vocabulary_,
            lowercase=False,  # it would warn of capitals that have no lower case
        )
        return counter.transform([document.lower() for document in _checked(raw_documents)])

    def get_feature_names_out(self, input_features=None):
        """Phrases in the order of their columns, the greatest score first.

        Parameters
        ----------
        input_features : None
            Ignored: texts have no columns.

        Returns
        -------
        phrases : ndarray of str objects, of shape (n_phrases,)
        """
        check_is_fitted(self)
        return np.array(sorted(self.vocabulary_, key=self.vocabulary_.get), dtype=object)

    def __sklearn_tags__(self):
        tags = super().__sklearn_tags__()
        tags.input_tags.string = True
        tags.input_tags.two_d_array = False
        return tags


# --- what is handed over --------------------------------------------------------------------------


def _check_options(model):
    """Raise TypeError or ValueError for the first option outside its range."""
    _check_number("max_length", model.max_length, 2)
    _check_number("min_count", model.min_count, 1)
    _check_number("cohesion_weight", model.cohesion_weight, 0, Real)
    if model.max_features is not None:
        _check_number("max_features", model.max_features, 1, also=" or None")


def _check_number(name, value, low, kind=Integral, also=""):
    what = "an integer" if kind is Integral else "a finite number"
    message = f"Got {name}={value!r}, expected {what} >= {low}{also}."
    if not isinstance(value, kind):
        raise TypeError(message)
    if not (value >= low and math.isfinite(value)):
        raise ValueError(message)


def _checked(raw_documents, needed=False):
    """The documents as a list of str; ValueError or TypeError for anything else."""
    if isinstance(raw_documents, str):
        raise ValueError("Got a single str, expected an iterable of str, one for each document.")
    n_axes = getattr(raw_documents, "ndim", 1)
    if n_axes != 1:  # iterating over a frame would give the names of its columns
        raise ValueError(
            f"Got raw_documents of {n_axes} dimensions, expected one, such as a column of a frame."
        )
    if not np.iterable(raw_documents):
        kind = type(raw_documents).__name__
        raise TypeError(f"Got raw_documents of type {kind}, expected an iterable of str.")
    documents = list(raw_documents)
    for i, document in enumerate(documents):
        if not isinstance(document, str):
            raise ValueError(
                f"Got {document!r} of type {type(document).__name__} as document {i}, expected str."
            )
    if needed and not documents:
        raise ValueError("Got no documents, expected at least one.")
    return documents


def _codes_of(text):
    """Small integers for the characters, in the order of their code points; 0 for boundaries."""
    points = np.frombuffer(text.encode("utf-32-le", "surrogatepass"), dtype="<u4")
    characters, codes = np.unique(points, return_inverse=True)
    within = np.array([unicodedata.category(chr(point))[0] in WITHIN for point in characters])
    if not within.any():
        raise ValueError("Got documents without a letter or digit, expected at least one.")
    return np.where(within, np.cumsum(within), 0)[codes]


# --- what is counted ------------------------------------------------------------------------------


def _candidates(codes, max_length, min_count):
    """All strings that occur often enough, by length, then by characters: a dict of arrays.

    Parameters
    ----------
    codes : ndarray of int, 0 for boundaries, which are first and last
    max_length, min_count : int

    Returns
    -------
    candidates : dict of starts (of one occurrence), lengths, counts, left_entropy, right_entropy
        and cohesion
    """
    n_letters = np.count_nonzero(codes)
    # In counts[k - 1][i] the occurrences of the string of length k that starts at i; in names what
    # is equal where two such strings are. Both are 0 where it is rare or spans a boundary.
    counts = [np.where(codes > 0, np.bincount(codes)[codes], 0)]
    starts, names, found = np.flatnonzero(codes), codes, []
    for length in range(2, max_length + 1):
        # No string is more frequent than its parts.
        parts = np.minimum(counts[-1][starts], counts[-1][starts + 1])
        starts = starts[parts >= min_count]
        keys = names[starts] * (codes.max() + 1) + codes[starts + length - 1]
        starts, first, own, count = _frequent(keys, starts, min_count)
        if first.size == 0:
            break
        found.append(
            {
                "starts": first,
                "lengths": np.full(first.size, length),
                "counts": count,
                "left_entropy": _branching_entropy(own, codes[starts - 1], count),
                "right_entropy": _branching_entropy(own, codes[starts + length], count),
                "cohesion": _cohesion(first, count, counts, n_letters),
            }
        )
        names, frequency = np.zeros_like(codes), np.zeros_like(counts[0])
        names[starts], frequency[starts] = own, count[own]
        counts.append(frequency)
    if not found:
        raise ValueError(
            f"Got documents in which no string of 2 to {max_length} characters occurs"
            f" min_count={min_count} times, expected at least one: give more text, or a smaller"
            " min_count."
        )
    return {name: np.concatenate([part[name] for part in found]) for name in found[0]}


def _frequent(keys, starts, min_count):
    """Of equal keys that are frequent enough: all starts, one of each, whose they are, how many."""
    _, first, own, count = np.unique(
        keys, return_index=True, return_inverse=True, return_counts=True
    )
    enough = count >= min_count
    kept = enough[own]
    renumbered = np.cumsum(enough) - 1
    return starts[kept], starts[first[enough]], renumbered[own[kept]], count[enough]


def _branching_entropy(own, neighbors, count):
    """Entropy in nats of the neighbours of each candidate, where no two boundaries are equal."""
    beside = neighbors > 0
    n_codes = neighbors.max() + 1
    pairs, times = np.unique(own[beside] * n_codes + neighbors[beside], return_counts=True)
    whose = pairs // n_codes
    terms = times / count[whose] * np.log(count[whose] / times)
    n_boundaries = np.bincount(own[~beside], minlength=count.size)
    return np.bincount(whose, terms, count.size) + n_boundaries / count * np.log(count)


def _cohesion(first, count, counts, n_letters):
    """Pointwise mutual information in nats of the parts of each candidate, at its weakest split."""
    length = len(counts) + 1
    splits = (
        count * n_letters / (counts[k - 1][first].astype(float) * counts[length - k - 1][first + k])
        for k in range(1, length)
    )
    return np.log(np.min(list(splits), axis=0))
