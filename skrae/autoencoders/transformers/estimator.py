"""AutoEncoder: the border between scikit-learn and torch."""

import numpy as np
from sklearn.utils import check_random_state
from sklearn.utils.validation import check_is_fitted, validate_data

from skrae.autoencoders.transformers.encoder import Encoder, as_dtype
from skrae.autoencoders.transformers.fit.code_density import draw_codes
from skrae.autoencoders.transformers.options import (
    check_auto_encoder,
    check_size,
    options_of_auto_encoder,
)
from skrae.preprocessing.contract.caller import in_own_state
from skrae.preprocessing.contract.options import COUNT, check_number
from skrae.preprocessing.rows import (
    as_fitted,
    check_codes,
    check_weights,
    completed_as,
    plain_array,
)


class AutoEncoder(Encoder):
    r"""Auto-encoder: undercomplete, sparse, denoising, contractive, distance-preserving, entropic.

    Rows x are encoded as h = f(x) and reconstructed as r(x) = g(h). All members of the family
    minimise one objective, whose weights a search can choose: the reconstruction error of rows x~
    that noise has corrupted, plus weighted terms,

    .. math::

        E \frac{|x - r(\tilde x)|^2}{\mathrm{Var}\,x} + w_s S(h)
        + w_c E \left| \frac{\partial f}{\partial x} \right|^2 + w_d D(x, h)
        + \frac{w_e}{10} (1 - N(u)) - w_i I(u', u''),

    with N the entropy power of the standardised code and I the information that the codes of two
    masked views of a row have of each other. New rows are decoded from draws of a density of the
    codes.

    Parameters
    ----------
    n_components : int >= 1, default=2
        Units of the code; fewer than columns, unless noise or a weight keeps the code from being a
        copy of the row.
    hidden_layer_sizes : int or sequence of int, default=(256, 128)
        Layers of the encoder before the code; the decoder has them in reverse. An empty sequence is
        the auto-encoder of one layer, whose decoder is linear: its atoms are `components_`.
    activation : {"silu", "identity", "sigmoid", "tanh", "relu", "softplus"}, default="silu"
        Of the hidden layers. "identity" makes all linear: the code then spans the principal axes.
    code_activation : {"identity", "relu", "sigmoid"}, default="identity"
        Of the code. With "identity" the networks stand on a linear path: the code is that of PCA
        (or of the best linear denoiser) plus a network, the reconstruction likewise, and the
        networks start at zero; only what beats PCA on held-out rows is kept.
    noise_level : float >= 0, default=0.0
        Of the corruption: the standard deviation in working space for "gaussian", else the share of
        the entries, below 1.
    noise : {"gaussian", "masking", "swap"}, default="gaussian"
        "masking" replaces entries by their column's mean, "swap" by those of other rows.
    sparsity : {"l1", "kl"}, default="l1"
        S: "l1" is half the L1 norm of the code over the root mean square norm of the rows; "kl",
        for sigmoid codes, the sum over units of KL(rho \| mean activation), divided by the number
        of units that rho lets be active. The decoder's weights from each unit are kept at one norm,
        1 (for sigmoid codes half that of the rows), without which either is gamed by scale.
    sparsity_weight : float >= 0, default=0.0
    sparsity_target : float in (0, 1), default=0.05
        rho, the mean activation that "kl" asks for.
    encoder_contraction_weight : float >= 0, default=0.0
        Of the squared Frobenius norm of the derivatives of the code: exact for one layer and up to
        two units, else by Hutchinson's estimate with one direction a row. (`contraction_weight` of
        `RegularizedAutoEncoderScore` is about the whole reconstruction.)
    distance_weight : float >= 0, default=0.0
        Of how far distances between codes are from those between rows, in units of working space.
    distance : {"euclidean", "geodesic"}, default="euclidean"
        D: "euclidean" is the squared relative stress of the pairs in a batch; "geodesic" compares
        with the lengths of shortest paths along the rows, all pairs alike in proportion, which
        unrolls a curved sheet. Paths are known between at most 5000 rows.
    n_neighbors : int >= 1, default=10
        Of each row in the graph whose paths are "geodesic".
    entropy_weight : float >= 0, default=0.0
        Of a tenth of what the standardised code lacks of the entropy power 1 of N(0, I), by the
        third nearest neighbours in a batch. At 1 the code is spread much as normal draws are: the
        entropic auto-encoder of Ghose et al. (2020), for ``code_density="normal"``.
    information_weight : float >= 0, default=0.0
        Of the nats by which the standardised code fails to tell a row from the others in its batch
        by half of its entries, and by the other half: what InfoNCE lacks of its ceiling, as in
        `InfoMaxEncoder`. It takes two units at least to be learned from.
    code_scaling : {"auto", "standardize", None}, default="auto"
        "standardize" gives each unit mean 0 and deviation 1 over the training rows. "auto" does so
        with a contraction, an entropy or an information: these are of the standardised code, as on
        a free scale they would change the code's scale and not the map.
    code_density : {"mixture", "normal", None} or object with fit and sample, default="mixture"
        The density of the codes that `sample` draws from: a mixture of Gaussians whose number of
        components codes held out prefer, or one normal without correlations, or an object of which
        a copy is fitted to the codes, such as a `RegularizedAutoEncoderScore`. None saves its time.
    scaling : {"auto", "standardize", None}, default="auto"
        Of columns, to working space; undone in every output. "standardize" gives all one deviation,
        None only centres. "auto" standardises unless the columns seem to be in one unit, as pixels
        and coordinates are: no range more than 2.5 times the median range.
    weight_decay : float >= 0, default=3e-4
        Of the sum of squared weights in the objective, times the reconstruction error of the linear
        path, or 0.3 where there is none.
    learning_rate : float > 0, default=0.005
        Of Adam, twice that without hidden layers; a third of it, then a tenth, where held-out rows
        gain no more, and for the last steps.
    batch_size : int >= 1, default=256
        At least four times n_components where a code is to have entropy or information.
    max_iter : int >= 1, default=2000
        Most steps. The last of them, a fifth of those before, take all rows.
    n_iter_no_change : int >= 1, default=5
        Checks, one every 25 steps (fewer below 1000 rows), without a better objective on held-out
        rows that end a learning rate.
    validation_fraction : float in (0, 1), default=0.1
        Share of the rows held out; at least 30 rows, or a quarter of fewer than 120. Below 10 rows
        none: then the linear path is the model, where no weight and no noise ask for another.
    time_limit : float > 0 or None, default=None
        Seconds after which a fit ends with the best parameters so far and a warning, as it does
        after a KeyboardInterrupt.
    warm_start : bool, default=False
        Continue from the last fit: its scaling and linear path, and its networks, which must be of
        the same sizes.
    device : {"auto", "cpu", "cuda"}, default="auto"
    verbose : bool or int, default=0
        Print a line at each check.
    random_state : int, RandomState instance or None, default=None
        Of the split, the initial weights, batches and noise.

    Attributes
    ----------
    components_ : array of shape (n_components, n_features)
        What each unit of the code adds to the reconstruction, in working space: the derivative of
        the decoder at the code 0, which of a linear decoder are its atoms.
    coefs_, intercepts_ : lists of arrays
        Weights (n_in, n_out) and biases (n_out,) of the networks, in working space; the first
        `n_encoder_layers_` of them are the encoder's. With hidden layers and an identity code they
        come on top of the linear path.
    n_encoder_layers_ : int
    location_, scale_ : arrays of shape (n_features,)
        Working space is (X - location_) / scale_.
    code_mean_, code_scale_ : arrays of shape (n_components,)
        Of the code before code_scaling; 0 and 1 without.
    residual_variance_ : array of shape (n_features,)
        Mean squared error of each column on held-out rows, in squared units of X; as `terms_`, of
        the networks before the last steps, in which these rows have a part too.
    code_density_ : fitted density of the codes, or None
        A `sklearn.mixture.GaussianMixture`, or the fitted copy of the given object.
    noise_variance_ : array of shape (n_features,), or None
        Of the normal noise that `sample` adds: what the variance of decoded draws lacks of that of
        the rows, at most `residual_variance_`, in squared units of X.
    terms_ : dict of str to float
        The value of each term on held-out rows, before its weight: "reconstruction" (the squared
        error of corrupted rows over the variance of the training rows), "sparsity",
        "encoder_contraction", "distance", "entropy" (the entropy power that is lacking: of 1; of
        few rows the estimate may be below 0) and "information" (the nats that are lacking).
        They are of few rows, 30 or so of small tables.
    loss_curve_ : list of float
        The objective with weight decay, a mean over the steps before each check.
    validation_curve_ : list of float
        The objective on held-out rows at the start and at each check; the lower the better.
    n_iter_ : int
        Steps in all; 0 where the linear path is the exact minimum.
    n_features_in_ : int
    feature_names_in_ : array of shape (n_features_in_,), where X has string column names.

    See Also
    --------
    RegularizedAutoEncoderScore : The density of the rows, its score and samples; take it for
        likelihoods, outliers, imputation and simulation, and this one for codes.
    InfoMaxEncoder : Codes by information alone, without a decoder.
    sklearn.decomposition.PCA : The best linear auto-encoder.
    sklearn.decomposition.MiniBatchDictionaryLearning : Sparse codes by optimisation.

    Notes
    -----
    `score` is R^2, which as a rule falls as any weight grows: a search by it returns the weights 0.
    Search by `skrae.metrics.trustworthiness_scorer`, `skrae.metrics.stress_scorer`, or in a
    Pipeline that ends in a classifier.

    References
    ----------
    Baldi & Hornik (1989), "Neural networks and principal component analysis". Vincent et al.
    (2010), "Stacked denoising autoencoders". Rifai et al. (2011), "Contractive auto-encoders".
    Tenenbaum, de Silva & Langford (2000), "A global geometric framework for nonlinear
    dimensionality reduction". Ghose, Rashwan & Poupart (2020), "Batch norm with entropic
    regularization turns deterministic autoencoders into generative models". Kozachenko & Leonenko
    (1987), "Sample estimate of the entropy of a random vector". van den Oord, Li & Vinyals (2018),
    "Representation learning with contrastive predictive coding".

    Examples
    --------
    A circle is no plane: one unit of PCA keeps half of its variance, one of an auto-encoder nearly
    all of it.

    >>> import numpy as np
    >>> from skrae import AutoEncoder
    >>> angle = np.random.default_rng(0).uniform(-3, 3, 1000)
    >>> X = np.column_stack([np.cos(angle), np.sin(angle)])
    >>> model = AutoEncoder(n_components=1, random_state=0).fit(X)
    >>> bool(model.score(X) > 0.95)
    True
    >>> model.transform(X).shape, model.get_feature_names_out().tolist()
    ((1000, 1), ['autoencoder0'])

    New rows lie on the circle too.

    >>> draws = model.sample(500, random_state=0)
    >>> bool(abs(np.hypot(*draws.T) - 1).mean() < 0.1)
    True
    """

    _fill_to_ask = "fill them with impute(X), or as sklearn.impute does"

    def __init__(
        self,
        n_components=2,
        *,
        hidden_layer_sizes=(256, 128),
        activation="silu",
        code_activation="identity",
        noise_level=0.0,
        noise="gaussian",
        sparsity="l1",
        sparsity_weight=0.0,
        sparsity_target=0.05,
        encoder_contraction_weight=0.0,
        distance_weight=0.0,
        distance="euclidean",
        n_neighbors=10,
        entropy_weight=0.0,
        information_weight=0.0,
        code_scaling="auto",
        code_density="mixture",
        scaling="auto",
        weight_decay=3e-4,
        learning_rate=5e-3,
        batch_size=256,
        max_iter=2000,
        n_iter_no_change=5,
        validation_fraction=0.1,
        time_limit=None,
        warm_start=False,
        device="auto",
        verbose=0,
        random_state=None,
    ):
        self.n_components = n_components
        self.hidden_layer_sizes = hidden_layer_sizes
        self.activation = activation
        self.code_activation = code_activation
        self.noise_level = noise_level
        self.noise = noise
        self.sparsity = sparsity
        self.sparsity_weight = sparsity_weight
        self.sparsity_target = sparsity_target
        self.encoder_contraction_weight = encoder_contraction_weight
        self.distance_weight = distance_weight
        self.distance = distance
        self.n_neighbors = n_neighbors
        self.entropy_weight = entropy_weight
        self.information_weight = information_weight
        self.code_scaling = code_scaling
        self.code_density = code_density
        self.scaling = scaling
        self.weight_decay = weight_decay
        self.learning_rate = learning_rate
        self.batch_size = batch_size
        self.max_iter = max_iter
        self.n_iter_no_change = n_iter_no_change
        self.validation_fraction = validation_fraction
        self.time_limit = time_limit
        self.warm_start = warm_start
        self.device = device
        self.verbose = verbose
        self.random_state = random_state

    def _check_options(self):
        check_auto_encoder(self)

    def _resolved_options(self, n_features):
        check_size(self, n_features)
        return options_of_auto_encoder(self, n_features)

    def _store(self, result, dtype, previous):
        super()._store(result, dtype, previous)
        self.components_ = result.fitted.components()
        self.residual_variance_ = result.residual_variance
        self.code_density_, self.noise_variance_ = result.code_density, result.noise_variance

    @in_own_state
    def inverse_transform(self, X):
        """Rows that codes stand for: inverse_transform(transform(X)) is reconstruct(X).

        Parameters
        ----------
        X : array-like of shape (n_samples, n_components)
            Codes, as `transform` returns.

        Returns
        -------
        rows : array of shape (n_samples, n_features)
        """
        check_is_fitted(self)
        codes = check_codes(X, self._n_features_out)
        answers = self._answers()
        return as_dtype(
            answers.space.inverse(answers.decode(codes.astype(np.float64))), codes.dtype
        )

    @in_own_state
    def reconstruct(self, X):
        """r(x), the row decoded from its code; where noise was in the fit, denoised.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)

        Returns
        -------
        reconstruction : array of shape (n_samples, n_features)
        """
        answers, X = self._asked(X)
        return as_dtype(
            answers.space.inverse(answers.reconstruct(answers.space.forward(X))), X.dtype
        )

    @in_own_state
    def reconstruction_error(self, X, per_feature=False):
        """Squared error of each row in working space: of columns in units of `scale_`.

        What it explains is where a row differs from what was learned; to find outliers a density is
        the better guide, since an auto-encoder reconstructs many of them well.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
        per_feature : bool, default=False
            Return the square of each entry, not their sums.

        Returns
        -------
        error : array of shape (n_samples,), or (n_samples, n_features)
        """
        answers, X = self._asked(X)
        squares = self._squares(answers, X)
        return as_dtype(squares if per_feature else squares.sum(axis=1), X.dtype)

    @in_own_state
    def score(self, X, y=None, sample_weight=None):
        """R^2: the share of the variance about the mean, in working space, that is reconstructed.

        1 - sum |x - r(x)|^2 / sum |x|^2 over rows, x in working space, where `location_` is 0.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
        y : ignored
        sample_weight : array-like of shape (n_samples,), default=None

        Returns
        -------
        score : float, at most 1
        """
        answers, X = self._asked(X)
        weights = check_weights(sample_weight, X)
        error = weights @ self._squares(answers, X).sum(axis=1)
        total = weights @ np.square(answers.space.scaled(X)).sum(axis=1)
        return float(1.0 - error / total)

    @in_own_state
    def impute(self, X):
        """Rows with their missing entries as reconstructed from the others, in one pass.

        Missing entries are read as the mean of their column, which `noise="masking"` trains for.
        `sklearn.impute.KNNImputer`, and `RAESampler.impute` with a density, are more accurate.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
            NaN where unknown.

        Returns
        -------
        X : array of shape (n_samples, n_features), or a data frame where X is one
        """
        check_is_fitted(self)
        found = validate_data(
            self,
            plain_array(X),
            reset=False,
            dtype=[np.float64, np.float32],
            ensure_all_finite="allow-nan",
        )
        answers = self._answers()
        r = answers.space.inverse(answers.reconstruct(answers.space.forward(found)))
        return completed_as(X, as_dtype(np.where(np.isnan(found), r, found), found.dtype))

    @in_own_state
    def sample(self, n_samples=1, random_state=None):
        """New rows: decoded draws of the density of the codes, with noise.

        The noise is independent between columns, of the variance that decoded draws lack. For
        draws of a density that is normalised and checked take `RegularizedAutoEncoderScore.sample`.

        Parameters
        ----------
        n_samples : int >= 1, default=1
        random_state : int, RandomState instance or None, default=None

        Returns
        -------
        X : array of shape (n_samples, n_features), or a data frame where the fit was to one
            In the units and the dtype of the fitted rows.

        Raises
        ------
        ValueError
            Where the fit was with ``code_density=None``, or that density draws no codes.
        """
        check_is_fitted(self)
        check_number("n_samples", n_samples, 1, None, **COUNT)
        # There is none in what an older skrae stored, either.
        if getattr(self, "code_density_", None) is None:
            raise ValueError(
                "Got a fit without a density of its codes, as with code_density=None, expected one"
                " to draw from: fit with code_density='mixture'."
            )
        rng = check_random_state(random_state)
        codes = draw_codes(self.code_density_, n_samples, self._n_features_out, rng)
        answers = self._answers()
        rows = answers.space.inverse(answers.decode(answers.in_range(codes)))
        rows += np.sqrt(self.noise_variance_) * rng.standard_normal(rows.shape)
        return as_fitted(self, as_dtype(rows, self._fitted_as["dtype"]))

    def _squares(self, answers, X):
        """Squared errors in working space, float64; of columns that did not vary, those of X."""
        r = answers.reconstruct(answers.space.forward(X))
        return (answers.space.scaled(X) - r) ** 2
