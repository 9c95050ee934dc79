"""RegularizedAutoEncoderScore: the border between scikit-learn and torch."""

from functools import partial

import numpy as np
from sklearn.base import (
    BaseEstimator,
    ClassNamePrefixFeaturesOutMixin,
    DensityMixin,
    TransformerMixin,
)
from sklearn.utils.metaestimators import available_if
from sklearn.utils.validation import check_is_fitted

from skrae.autoencoders.callbacks import CallbackSupport, FitReport, with_callbacks
from skrae.autoencoders.decoders.registry import DECODERS
from skrae.density.conditional.objects import Conditional, Marginal
from skrae.density.fit.checkpoint import Limits, fit_within
from skrae.density.fit.fitting import n_checks
from skrae.density.fitted import attributes_of, evaluator_of, fitted_of, log_z_attributes
from skrae.density.incomplete.rows import (
    COMPLETIONS,
    asked_rows,
    axis_names,
    cells_of,
    names_of_numbers,
    raw_rows,
    report_of,
    table_evaluator,
    table_of,
)
from skrae.density.options import (
    check_columns,
    check_continuation,
    check_options,
    check_table,
    resolved_options,
)
from skrae.density.reports import tell_of_base, tell_of_check, tell_of_model, warn_of_fit
from skrae.density.soundness import check_sound, check_sound_table, with_tables
from skrae.density.streamed.answers import answer, answered
from skrae.density.streamed.learning import lesson_of
from skrae.density.streamed.stream import fresh_stream, has_streams, learned
from skrae.preprocessing.contract.caller import in_own_state, warn
from skrae.preprocessing.contract.options import available_device, check_flag, check_number
from skrae.preprocessing.contract.processes import together
from skrae.preprocessing.contract.seal import restored, sealed
from skrae.preprocessing.contract.twin import take_over, twin_of
from skrae.preprocessing.rows import check_codes, check_weights
from skrae.preprocessing.table.report import ColumnReport
from skrae.sampling.reports import printed
from skrae.sampling.sampler import RAESampler

# Of what is fitted, besides what ends in an underscore.
PRIVATE_ATTRIBUTES = "_fitted_as", "_fitted_frame", "_unwhitening", "_log_det", "_stream"


class RegularizedAutoEncoderScore(
    ClassNamePrefixFeaturesOutMixin,
    TransformerMixin,
    DensityMixin,
    CallbackSupport,
    BaseEstimator,
):
    r"""Normalised density, its derivatives and samples from a regularized auto-encoder.

    In working space z the model is log p(z) = log q(z) + f(z) - log Z: q a mixture of Gaussians,
    f a bounded neural network, log Z by sequential Monte Carlo. The network is trained so that the
    reconstruction r(z) = z + tau C(z) grad log p(z), tau = sigma^2 + lambda, denoises rows
    corrupted with noise of covariance sigma^2 C and contracts (weight lambda).

    Tables are taken as they are: arrays, or data frames of pandas or polars, of numbers, strings,
    categories and booleans, with holes (NaN, None, NA, null), which are taken to be missing at
    random. log p is a density along continuous columns, a log probability of levels and atoms, and
    of a value that stands for a cell of length h the log of its probability divided by h.

    Tables that memory does not hold are read block by block: a numpy.memmap, arrays and data frames
    of dask, a Table, Dataset or ParquetFile of pyarrow, and any list or object whose __iter__ gives
    blocks of rows, arrays or data frames, anew each time. Of more than 262144 rows a sample of so
    many is fitted to, and the last steps of the mixtures take all. Questions about rows are
    answered with one array; for them an iterator that can be read once is enough.

    Parameters
    ----------
    noise_level : "auto" or float >= 0, default="auto"
        sigma, the standard deviation of the corruption relative to the noise covariance. "auto"
        anneals it from large to small and keeps the level whose held-out log density is best; it is
        0.03 for the kernel decoder.
    contraction_weight : float >= 0, default=0.0
        lambda, the weight of the squared Frobenius norm of dr/dz. Exact up to 4 features and for
        free and tied decoders of one hidden layer, else by Hutchinson's estimator (one direction
        a row).
    noise_covariance : {"auto", "local", "isotropic"}, default="auto"
        C: the covariance of the base component a row belongs to, or the identity in working space.
        "auto": local for the gradient decoder without bias_correction, else isotropic, the only
        choice there.
    hidden_layer_sizes : "auto", int or sequence of int, default="auto"
        Units of the encoder's layers; the last is the code that `transform` returns. The free
        decoder mirrors them, the tied one has one layer. "auto": (128, 128, 128), (128,) for the
        free and the tied decoder, 200 kernels for the kernel decoder, which has no more of them
        than there are training rows.
    activation : {"auto", "silu", "tanh", "softplus", "sigmoid", "relu", "gaussian"}, default="auto"
        "auto": "silu", "sigmoid" for the tied decoder, "gaussian" for the kernel decoder, which has
        no other. Silu, tanh and softplus for the gradient decoder, sigmoid, tanh and relu for the
        tied one, any but the last for the free one.
    decoder : {"gradient", "free", "tied", "kernel"}, default="gradient"
        The reconstruction function. "gradient": r = z + tau C grad log p(z) over an encoder of
        any depth. "free": r = g(code), the paper's general auto-encoder, its density a line
        integral of (r - z)/tau. "tied": r = h(z W + b) W^T + c up to units, its energy in closed
        form (Kamyshanska & Memisevic 2013). "kernel": r = z + tau grad log p(z) over one layer of
        Gaussian kernels at rows, log p = log q + sum_j a_j k(z, z_j) + constant: of the criterion,
        a quadratic of a, the exact minimum, by one linear system for each width tried.
    bias_correction : bool, default=False
        Let `log_density_gradient` return the score of the reconstruction without its first-order
        bias in sigma^2 and lambda: J g = (r - z)/lambda - Lap r for contraction, J g =
        (r - z)/sigma^2 - Lap r/2 for denoising, J = dr/dz. It holds for an r that
        the criterion alone has trained, and needs many rows. `log_density_hessian` follows; all
        other answers stay as they are.
    base_density : {"mixture", "gaussian"}, default="mixture"
        q: Gaussian mixtures of a size chosen on held-out rows, or one Gaussian of the columns as
        they are; either with a wide Student-t component.
    margins : {"auto", "identity"}, default="auto"
        A smooth monotone map of each column before the affine one. "auto": part of the way to a
        normal margin, t = .65 l(s) + .35 Phi^-1(F(s)), F a mixture of Gaussians fitted to the
        standardised column s with the ends at which its rows stop short, l the identity or, where
        a column is skewed or has heavy tails, one of Johnson's logarithmic maps. Of these two
        kinds and none the one that raises the log density of held-out rows by two standard errors.
        Everything is answered in the units of X all the same. With base_density="gaussian" there
        are none.
    scaling : {"whiten", "standardize", None}, default="whiten"
        The affine map to working space, after that of the margins; undone in every output. "whiten"
        block by block of correlated columns; None only centres.
    categorical_features : "from_dtype", None or array-like, default="from_dtype"
        Which columns are categories: those of category, string and boolean dtypes and of objects
        that are strings or booleans; none; or a boolean mask, indices or names. At most 255 levels.
    column_kinds : "auto", str or dict, default="auto"
        The kind of all columns of numbers, or of some by their names or indices: "continuous",
        "cells" (integers and rounded numbers, each of which stands for the interval of one step of
        their grid), "heaps" (the same, but many rows prefer some values, which stand for longer
        intervals), "atoms" (continuous, but for values that many rows share), "categorical",
        "constant" or "auto", which finds it: two values are categorical; numbers that repeat, on a
        grid of a step of at least 1/8 standard deviation (1/50 of integers), are cells; up to three
        values that a twentieth of the rows share are atoms; values on any grid whose repeats tell a
        nat a row are heaps. Decoders other than "gradient" have
        both as numbers there.
    max_components : "auto" or int, default="auto"
        Largest number of components of one mixture. "auto": 64 up to 4000 rows, then one for
        every 16 rows up to 2048. More than 64 only where held-out rows clearly prefer them.
    max_mixtures : "auto" or int, default="auto"
        Number of mixtures that are averaged on tables of up to 4000 rows, each with held-out rows
        of its own; on larger ones the largest number, doubled up to that where it helps, all of at
        most 4096 components where one has more than 128. "auto": 8 and 4.
    calibration_weight : "auto" or float >= 0, default="auto"
        Weight of the noise-contrastive term that compares the model with q; 0 is the criterion of
        the paper alone, for max_iter steps. "auto": 4, or 0.3 for the tied decoder, or 0 with
        bias_correction. The kernel decoder has no such term.
    learning_rate : float > 0, default=0.01
        Of Adam, after a rise over the first 20 steps; 0.85 times as large at each further noise
        level, and scaled by the noise for the free and the tied decoder.
    batch_size : int, default=256
        Rows a step; each is corrupted twice, with noise of either sign.
    max_iter : "auto" or int, default="auto"
        Most steps at each noise level, not in all. "auto": 300 up to 4000 rows, then one more for
        every six rows, up to 3000; 300 without calibration, or where the base density has more
        than 513 components. With calibration a table of n rows is trained on for no more than
        30 + n / 6 steps a level, whatever max_iter says; `n_iter_` tells the sum.
    n_iter_no_change : "auto" or int, default="auto"
        Checks (6 a level of up to 300 steps, else 12) without a better held-out log density that
        end a level. "auto": 3, or 1 where the base density has more than 513 components or more
        than 60 columns; of 50 000 rows and more to learn from also the first check that leaves the
        best gain below 0.005 nats, and raises it by less than 0.001.
    validation_fraction : float in (0, 1), default=0.1
        Share of the rows held out; at least 30 rows, or a quarter of fewer than 120.
    select : {"likelihood", "score", None}, default="likelihood"
        Which average of energies is the model, of the mixtures or the network with that of radial
        units, fitted to the rows by score matching in closed form, whose score is smoother:
        log p = (1 - w) log p_mixtures + w log p_units, bounded where the two are far apart, up to 6
        columns. "likelihood": the largest share w with a held-out log density within two
        standard errors, and 0.003 nats, of the best. "score", for users of derivatives first: the
        largest with a log density, however far, within two, and a Hyvarinen score within one of
        the best of those.
        None: the mixtures or the network alone, as with any other decoder, base_density="gaussian",
        calibration_weight=0 or bias_correction.
    time_limit : float > 0 or None, default=None
        Seconds after which a fit ends with the best density so far and a warning, as it does after
        a KeyboardInterrupt. It is looked at between steps of the stages that can be broken off.
    checkpoint : str, path-like or None, default=None
        A file in which a fit keeps its finished parts (mixtures that are grown, noise levels that
        are trained) until it ends as it should. The same fit begun again, after its process was
        killed or its time was up, goes on from there and gives the same model; any other is
        refused. One file is of one fit: not for searches.
    warm_start : bool, default=False
        Continue from the last fit: its scaling, base density and network, whose
        hidden_layer_sizes and activation must be the same, and its share of radial units. The
        kernel decoder solves for its weights anew.
    distributed : bool, default=False
        Whether the processes of the default group of torch.distributed, as torchrun starts them,
        fit one model together: each is given rows of its own, in the order of the processes those
        of one table, and all end with the same model. For an integer random_state, and without a
        time_limit.
    device : {"auto", "cpu", "cuda"}, default="auto"
        Where training, questions and chains run; "auto" is CUDA where torch finds a device. The
        base density is fitted on the processor, and fitted attributes are NumPy arrays.
    verbose : bool or int, default=0
        Print a line for the base density and one at each held-out check, of processes that fit
        together in the first; `sample` then prints how far its chains are.
    random_state : int, RandomState instance or None, default=None
        Of the split, the initial parameters, the noise, the batches and log Z: the same integer
        gives the same fit.

    Attributes
    ----------
    coefs_, intercepts_ : lists of arrays
        Weights (n_in, n_out) and biases (n_out,) of each layer; the last maps the code to the head.
    noise_level_ : float
        The sigma that was chosen.
    noise_levels_, noise_level_scores_ : arrays of shape (n_levels,)
        The levels tried and their held-out mean log densities, nats per row in the units of X.
    base_score_ : float
        The held-out mean log density of the base density alone, from before its last steps, which
        take all rows.
    curl_ : float
        How far (r - z)/tau is from a gradient, |J - J^T|_F / (2 |J|_F) with J its Jacobian at
        rows: 0 for the gradient and the tied decoder, at most 1.
    network_gain_ : float
        What the network adds to base_score_; exactly 0 where none beat the base by two standard
        errors and 0.005 nats: then the base density itself is the model, or its average with radial
        units. After a step of `partial_fit` what all that is over it gains on recent held-out rows.
    log_normalizer_, log_normalizer_stderr_ : float
        log Z = log E_q exp f, in nats: mean and standard error over 4 repeats.
    log_normalizer_repeats_ : array of shape (4,)
    base_weights_, base_means_, base_factors_, base_dofs_ : arrays
        The components of q in working space: (K,), (K, d), Cholesky factors (K, d, d), degrees of
        freedom (K,), inf for a Gaussian. d is here and below the number of numeric columns, all of
        a plain table; behind the means of a component stand its probabilities of the levels of each
        categorical column and of each column with atoms {elsewhere, atom, ...}, (K, d + D).
    base_levels_ : int array
        The numbers of these levels, column by column, of sum D; empty for a plain table.
    base_blocks_ : array of shape (d,)
        The block of each column: a Student-t component is a product over blocks of correlated
        columns, so that a column far away says nothing about columns it is not correlated with.
    columns_ : dict of arrays of shape (n_features_in_,)
        What became of each column; printed as a table, and one by pandas.DataFrame(model.columns_):
        its name; where the table is no plain one its kind, its dtype, the share of missing entries,
        its n_levels, the step h of its grid, n_heaps preferred values and its atoms; its map
        ("affine", or with margins "straight" or "bent", the latter a logarithm where it is skewed
        or has heavy tails, or a logit between sharp ends); mean and standard deviation, the ends
        drawn in; the lower_end and upper_end at which its rows stop short (NaN where they thin
        out); the step of values that repeat (0 where they do not), finer than which no detail of
        its map is; the number of rows left to the tail for a wild value there; whether it is
        constant.
    margins_ : dict of arrays, or None
        The map t of the margins, a spline for each column: location and scale (d,), knots, values,
        slopes and bends (d, n_knots). None is the identity.
    table_ : dict of plain data, or None
        The description of the raw table, by which its rows are read and written: its container, and
        of each column what was found, its levels, atoms or grid. None for plain numbers, where
        every column is continuous or constant and no entry was missing.
    location_, whitening_ : arrays of shape (d,) and (d, d)
        z = (t(x) - location_) @ whitening_.
    members_ : dict of arrays of shape (n_members,), or None
        What the option select chose among, a table by pandas.DataFrame(model.members_): the share
        of the radial units in the average, 0 for the mixtures or the network alone; both held-out
        scores, log_density (nats per row, higher is better) and hyvarinen (lower is better), in
        working space, less what flatters mixtures that the same rows chose, with the standard
        errors of their differences from the best; and what is chosen.
        None where there was nothing to choose among.
    radial_units_ : dict, or None
        The radial units that have a share in the model: share, offset, smooth (the mixture
        below them: weights, means, factors, dofs, blocks), centres (m, d), width,
        coefficients (m,), in working space.
    loss_curve_, validation_curve_ : lists of float
        Training criterion and held-out gain over q, in nats per row, at each check.
    n_iter_ : int
        Training steps in all, those that `warm_start` continued included.
    stream_scores_ : array of shape (n_calls,)
        The mean log density of each block of `partial_fit` before it was learned from (of the first
        that of its held-out rows): where the law of a stream changes, it falls. Empty after `fit`.
    n_features_in_ : int
    feature_names_in_ : array of shape (n_features_in_,), where X has string column names.

    See Also
    --------
    RAESampler : Chains, conditional draws and imputation from a fitted model.
    AutoEncoder : Codes of a chosen size, and rows from them, without a density.
    skrae.metrics.hyvarinen_score : Compares scores of densities without their normalisers.
    sklearn.mixture.GaussianMixture : One mixture of a given size.
    sklearn.neighbors.KernelDensity : A density without derivatives or parameters.

    Notes
    -----
    Two things are called score. `score` (X) is the mean log density, by which scikit-learn's
    searches choose; the score of statistics is the gradient `log_density_gradient` (X).

    Training minimises, over rows z in working space, noise and draws of the base density q,

    .. math::

        \frac{1}{\tau} \left( E {\lVert r(z + \sigma K \epsilon) - z \rVert}^2
        + \lambda E {\lVert \partial r / \partial z \rVert}^2 \right)
        + w \left( E \log(1 + e^{-f(z)}) + E_q \log(1 + e^{f(z)}) \right),

    with :math:`\tau = \sigma^2 + \lambda` and :math:`C = K K^T`: denoising and contraction as in
    Alain & Bengio (2014, equations 7 and 10), norms taken in the metric of C, and noise-contrastive
    calibration. For log densities in the units of X, log p(x) = log p(z) + log det dz/dx.

    References
    ----------
    Alain & Bengio (2014), "What regularized auto-encoders learn from the data-generating
    distribution", JMLR 15. Vincent (2011), "A connection between score matching and denoising
    autoencoders". Gutmann & Hyvarinen (2012), "Noise-contrastive estimation".

    Examples
    --------
    Of rows from N(10, 2^2) the log density at the mean is -log(2 sqrt(2 pi)) = -1.6, and the
    gradient one standard deviation above it -1/2.

    >>> import numpy as np
    >>> from skrae import RegularizedAutoEncoderScore
    >>> X = 10.0 + 2.0 * np.random.default_rng(0).standard_normal((2000, 1))
    >>> model = RegularizedAutoEncoderScore(random_state=0).fit(X)
    >>> model.score_samples([[10.0]]).round(1), model.log_density_gradient([[12.0]]).round(1)
    (array([-1.6]), array([[-0.5]]))
    >>> rows = model.sample(1000, random_state=0)
    >>> round(float(rows.mean())), round(float(rows.std()))
    (10, 2)

    Of whole numbers log p is a log probability, and a row with a hole has that of the rest.

    >>> counts = np.random.default_rng(0).poisson(3.0, (500, 1))
    >>> model = RegularizedAutoEncoderScore(max_mixtures=1, max_iter=10, random_state=0).fit(counts)
    >>> model.columns_["kind"].tolist(), float(np.exp(model.score_samples([[3]])[0]).round(1))
    (['cells'], 0.2)
    >>> bool(abs(np.exp(model.score_samples(np.arange(-5, 20)[:, None])).sum() - 1.0) < 0.01)
    True
    """

    def __init__(
        self,
        noise_level="auto",
        contraction_weight=0.0,
        *,
        noise_covariance="auto",
        hidden_layer_sizes="auto",
        activation="auto",
        decoder="gradient",
        bias_correction=False,
        base_density="mixture",
        margins="auto",
        scaling="whiten",
        categorical_features="from_dtype",
        column_kinds="auto",
        max_components="auto",
        max_mixtures="auto",
        calibration_weight="auto",
        learning_rate=0.01,
        batch_size=256,
        max_iter="auto",
        n_iter_no_change="auto",
        validation_fraction=0.1,
        select="likelihood",
        time_limit=None,
        checkpoint=None,
        warm_start=False,
        distributed=False,
        device="auto",
        verbose=0,
        random_state=None,
    ):
        self.noise_level = noise_level
        self.contraction_weight = contraction_weight
        self.noise_covariance = noise_covariance
        self.hidden_layer_sizes = hidden_layer_sizes
        self.activation = activation
        self.decoder = decoder
        self.bias_correction = bias_correction
        self.base_density = base_density
        self.margins = margins
        self.scaling = scaling
        self.categorical_features = categorical_features
        self.column_kinds = column_kinds
        self.max_components = max_components
        self.max_mixtures = max_mixtures
        self.calibration_weight = calibration_weight
        self.learning_rate = learning_rate
        self.batch_size = batch_size
        self.max_iter = max_iter
        self.n_iter_no_change = n_iter_no_change
        self.validation_fraction = validation_fraction
        self.select = select
        self.time_limit = time_limit
        self.checkpoint = checkpoint
        self.warm_start = warm_start
        self.distributed = distributed
        self.device = device
        self.verbose = verbose
        self.random_state = random_state

    def __sklearn_tags__(self):
        tags = super().__sklearn_tags__()
        tags.transformer_tags.preserves_dtype = ["float64", "float32"]
        tags.input_tags.allow_nan = True
        return tags

    def __getstate__(self):
        state = super().__getstate__()
        if "columns_" in state:  # plain data, that no loader has to trust a class for
            state = {**state, "columns_": dict(state["columns_"])}
        return sealed(state)

    def __setstate__(self, state):
        state = restored(type(self), state)
        if "coefs_" in state and "table_" not in state:
            state = with_tables(state)
        if "columns_" in state:
            state["columns_"] = ColumnReport(state["columns_"])
        super().__setstate__(state)
        if hasattr(self, "coefs_"):
            check_sound_table(self.table_, self.n_features_in_, self.base_levels_)
            check_sound(self._fitted(), self._n_numeric)

    @with_callbacks
    @in_own_state
    def fit(self, X, y=None, sample_weight=None):
        """Fit scaling, base density, network and normaliser to the rows of X.

        Parameters
        ----------
        X : array-like or data frame of shape (n_samples, n_features)
            Finite numbers in any units, strings, categories, booleans; NaN, None, NA or null where
            an entry is missing. At least two different rows. Or a table that is read block by
            block, several times.
        y : ignored
        sample_weight : array-like of shape (n_samples,), default=None
            Non-negative; a weight of 2 counts as the row twice. Only their ratios matter. No row
            may leave all others together less than 1e-12 of the sum, where they would vanish in it.

        Returns
        -------
        self

        Raises
        ------
        ValueError
            For an option or data outside what is expected, or a checkpoint of another fit; nothing
            fitted before is lost. Of data: infinite values; a column without any observed entry;
            more than 255 levels, or so many that they look like an identifier; a column that
            cannot be of the kind that column_kinds asks for; categories or atoms where the decoder
            is not "gradient". Of a table that is read block by block: an iterator that can be read
            once; no rows; blocks of other columns; other rows than on an earlier pass.
        TypeError
            For columns of other types, such as dates, and for numbers and strings in one column.
        ConnectionError
            Where another process of those that fit together has ended.

        Warns
        -----
        ConvergenceWarning
            Where the repeats of log Z differ by more than 0.1 nat, or the fit was interrupted or
            reached its time limit. A second KeyboardInterrupt, during what is left to do, raises.
        UserWarning
            Where options of the network were chosen and no network beat the base density; where
            columns are constant, collinear, too many for the rows or, unscaled, far from unit size;
            where rows have a wild value.
        """
        check_flag("distributed", self.distributed)
        twin = twin_of(self)
        with together(self.distributed) as processes:
            options, previous = processes.agreed(self._asked)
            alike = {"random_state": self.random_state, "checkpoint": self.checkpoint}
            processes.check_same({**options._asdict(), **alike})
            rows, every, random_state = lesson_of(twin, X, sample_weight, reset=previous is None)
            check_columns(getattr(rows.X, "X", rows.X))
            check_table(options, rows.table)
            report = FitReport(self, rows.X, n_checks(options))
            result, ended_by = fit_within(
                Limits(self.time_limit, self.checkpoint),
                rows.X,
                rows.weights,
                options,
                random_state,
                available_device(self.device),
                names=names_of_numbers(twin, rows.table),
                previous=previous,
                every=every,
                on_base=partial(tell_of_base, report),
                on_check=partial(tell_of_check, report),
            )
        twin._store(result, rows, previous)
        vars(twin).update(fresh_stream(every.source.n_rows if every else len(rows.weights)))
        take_over(self, twin, PRIVATE_ATTRIBUTES)
        tell_of_model(report, self)
        report.end()
        warn_of_fit(self, result, ended_by)
        return self

    def _asked(self):
        """The `Options`, and the `Fitted` that a fit with them continues, or None."""
        check_options(self)
        options = resolved_options(self)
        if not (self.warm_start and hasattr(self, "coefs_")):
            return options, None
        previous = self._fitted()
        check_continuation(options, previous)
        return options, previous

    @available_if(has_streams)
    @in_own_state
    def partial_fit(self, X, y=None, sample_weight=None, *, forgetting=1.0):
        """Learn from one more block of rows of a stream, which is not kept.

        Up to 16384 rows are kept, and fitted to as `fit` does each time that they have doubled, but
        without radial units. From then on a block takes a step of online
        expectation-maximisation of the base density, and the network goes on training where recent
        held-out rows clearly gain: the map to working space and the number of components are those
        of the last fit. After `fit` it goes on from the fitted model; `fit` begins anew. There is
        no such method for decoders other than "gradient" nor with bias_correction.

        Parameters
        ----------
        X : array-like or data frame of shape (n_samples, n_features)
            Complete rows of continuous numbers, some hundred or more.
        y : ignored
        sample_weight : array-like of shape (n_samples,), default=None
            Non-negative numbers of rows: a weight of 2 counts as the row twice, beside the rows of
            other blocks. So their scale matters, as it does not in `fit`.
        forgetting : float in (0, 1], default=1.0
            What each row seen before counts after this block: 1.0 forgets nothing, with 0.9 the
            last ten blocks have a say.

        Returns
        -------
        self

        Raises
        ------
        ValueError, TypeError
            For what `fit` refuses, for columns with holes, categories, cells or atoms, for a model
            of such a table, and for a checkpoint; nothing learned before is lost.

        Warns
        -----
        ConvergenceWarning, UserWarning
            Those of `fit`, where it fits to the rows that are kept.

        References
        ----------
        Cappe & Moulines (2009), "On-line expectation-maximization algorithm for latent data
        models". Dawid (1984), "Statistical theory: the prequential approach", of `stream_scores_`.

        Examples
        --------
        >>> import numpy as np
        >>> from skrae import RegularizedAutoEncoderScore
        >>> model = RegularizedAutoEncoderScore(base_density="gaussian", max_iter=5, random_state=0)
        >>> rng = np.random.default_rng(0)
        >>> for _ in range(4):
        ...     model = model.partial_fit(rng.standard_normal((500, 1)))
        >>> model.stream_scores_.round(1)
        array([-1.3, -1.4, -1.4, -1.5])
        """
        take_over(self, learned(self, X, sample_weight, forgetting), PRIVATE_ATTRIBUTES)
        return self

    def _fitted(self):
        """The density that the attributes define."""
        return fitted_of(self)

    def _store(self, result, rows, previous):
        """Set the attributes; the curves of a fit that was continued grow on."""
        fitted, outcome = result.fitted, result.outcome
        vars(self).update(attributes_of(fitted))
        self._fitted_as["dtype"] = rows.dtype.name
        self.table_ = rows.table and rows.table.state()
        if result.columns is not None:
            self.columns_ = report_of(rows.table, result.columns)
        self.noise_levels_ = np.array(outcome.noise_levels)
        self.noise_level_scores_ = result.base_score + np.array(outcome.gains)
        self.base_score_ = result.base_score
        self.network_gain_ = float(outcome.gain)
        if previous is None or fitted.energy is None:
            self.members_ = result.members and result.members.table()
        self.curl_ = result.curl
        vars(self).update(log_z_attributes(result.log_z_repeats))
        if previous is None:
            self.loss_curve_, self.validation_curve_, self.n_iter_ = [], [], 0
        self.loss_curve_ = self.loss_curve_ + result.loss_curve
        self.validation_curve_ = self.validation_curve_ + result.validation_curve
        self.n_iter_ += result.n_iter

    def _evaluator(self, dtype):
        return evaluator_of(self, self._fitted(), available_device(self.device), dtype)

    @in_own_state
    def _ask(self, question, X, *options):
        check_is_fitted(self)
        return answered(X, partial(answer, self, self._table(), question, options))

    def _table(self):
        """The `Table` of the fit, or None where all its columns are plain numbers."""
        return table_of(self.table_)

    @property
    def _n_features_out(self):
        depth = DECODERS[self._fitted_as["decoder"]].encoder_depth(len(self.coefs_))
        return self.coefs_[depth - 1].shape[1]

    def score_samples(self, X):
        """Normalised log density log p(x) of each row, in nats and the units of X.

        Of a row with holes that of what was observed; 0 where nothing was. A value in a cell has
        the log of the mean density over it, a level or an atom a log probability, and all levels
        that the fit has not seen have 1 / (n + 1) together, n the number of rows that had any. What
        is exact in q stays so; a network is averaged over 64 full rows behind such a row, the same
        ones whatever rows are beside it.

        Parameters
        ----------
        X : array-like or data frame of shape (n_samples, n_features)
            The columns of the fit; NaN, None, NA or null where an entry is missing. Or a table that
            is read block by block, here and in all questions of which an answer is about one row.

        Returns
        -------
        log_density : array of shape (n_samples,)

        Raises
        ------
        ValueError
            For other columns than those of the fit, or strings where it had numbers.
        """
        return self._ask("log_density", X)

    def score(self, X, y=None, sample_weight=None):
        """Mean of `score_samples`, weighted if weights are given.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
        y : ignored
        sample_weight : array-like of shape (n_samples,), default=None

        Returns
        -------
        score : float
        """
        log_density = self.score_samples(X)
        if sample_weight is None:
            return float(np.mean(log_density))
        return float(np.average(log_density, weights=check_weights(sample_weight, log_density)))

    def log_density_gradient(self, X):
        """The score function, grad log p(x) = (r(x) - x) / tau to first order.

        The gradient of `score_samples`, up to the curl of its field for decoder="free". With
        bias_correction=True it comes from r alone instead, without the bias of first order in tau.
        0 along what has no derivative: categories, missing entries, values at atoms, constants of a
        raw table. Along cells that of the log of the mean density over the cell.

        Parameters
        ----------
        X : array-like or data frame of shape (n_samples, n_features)

        Returns
        -------
        gradient : array of shape (n_samples, n_features), nats per unit of X

        Warns
        -----
        UserWarning
            With bias_correction=True, where r is too flat for rows to be corrected.
        """
        gradient, n_uncorrected = self._ask("gradient", X)
        if n_uncorrected:
            warn(
                f"{n_uncorrected} of {len(gradient)} rows get the gradient of score_samples: there"
                " the reconstruction is too flat (its Jacobian nearly singular) for its bias to be"
                " corrected. A smaller noise_level or contraction_weight leaves fewer such rows."
            )
        return gradient

    def log_density_hessian(self, X):
        """Derivatives of grad log p(x), symmetric but for decoder="free".

        0 where the gradient is, as of categories and missing entries.

        Parameters
        ----------
        X : array-like or data frame of shape (n_samples, n_features)

        Returns
        -------
        hessian : array of shape (n_samples, n_features, n_features)
        """
        return self._ask("hessian", X)

    def base_log_density(self, X, blur=0.0):
        """log q(x), the normalised log density of the base density alone, or of q blurred.

        Parameters
        ----------
        X : array-like or data frame of shape (n_samples, n_features)
        blur : float >= 0, default=0.0
            Standard deviation of Gaussian noise in working space, of whose sum with a draw of q the
            density is stated, exactly but for the Student-t component, whose scale is widened. With
            scaling="standardize" it is in standard deviations of the columns.

        Returns
        -------
        log_density : array of shape (n_samples,)
        """
        check_number("blur", blur, 0.0)
        return self._ask("base_log_density", X, blur)

    def transform(self, X):
        """The code, the output of the encoder's last layer.

        Of a row with holes, cells or atoms the mean code of full rows behind it.

        Parameters
        ----------
        X : array-like or data frame of shape (n_samples, n_features)

        Returns
        -------
        code : array of shape (n_samples, hidden_layer_sizes[-1])
        """
        return self._ask("code", X)

    def reconstruct(self, X):
        """Denoised points r(x), for a network trained by denoising the mean of the clean points.

        The gradient decoder has r(x) = x + tau C(x) grad log p(x). Where no network is part of the
        model (`network_gain_` is 0) q in it has the noise added, which makes r the mean of the
        clean points under q, where no radial units have a share. Free and tied decoders keep the r
        that was trained. Of a row with holes or cells the mean of r of full rows behind it.

        Parameters
        ----------
        X : array-like or data frame of shape (n_samples, n_features)

        Returns
        -------
        reconstruction : array of shape (n_samples, n_features)
            Where the table of the fit has categories rows of that table, with the likeliest levels
            and values on their grid.
        """
        return self._ask("reconstruct", X)

    @in_own_state
    def inverse_transform(self, X):
        """Points r that codes stand for: inverse_transform(transform(X)) is reconstruct(X).

        Parameters
        ----------
        X : array-like of shape (n_samples, n_codes)
            Codes, as `transform` returns.

        Returns
        -------
        points : array of shape (n_samples, n_features)

        Raises
        ------
        ValueError
            For decoder="gradient" or "kernel", whose reconstruction is no function of the code
            alone.
        """
        check_is_fitted(self)
        codes = check_codes(X, self._n_features_out)
        return self._evaluator(codes.dtype).decode(codes)

    def local_moments(self, X):
        """Mean and covariance of the clean point given a noisy one (Alain & Bengio 2014, s. 3).

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)

        Returns
        -------
        means : array of shape (n_samples, n_features), r(x)
        covariances : array of shape (n_samples, n_features, n_features)
            tau C + tau^2 C (Hess log p) C, positive semi-definite.

        Raises
        ------
        ValueError
            For rows with holes, and where the table has categories, cells or atoms.
        """
        return self._ask("local_moments", X)

    def sample(self, n_samples=1, random_state=None):
        """Draw new rows by Metropolis-Hastings: `RAESampler(self, random_state=...).sample(...)`.

        Parameters
        ----------
        n_samples : int >= 1, default=1
        random_state : int, RandomState instance or None, default=None

        Returns
        -------
        X : array of shape (n_samples, n_features), of the dtype the model was fitted to
            A data frame of the same columns and dtypes where it was fitted to one of pandas or
            polars, whole and rounded numbers on their grid, without holes. Fewer rows after a
            KeyboardInterrupt.

        Warns
        -----
        ConvergenceWarning
            Where the chains do not mix, the rows are worth fewer than half as many independent
            ones, or the run was interrupted.
        """
        progress = printed(type(self).__name__) if self.verbose else False
        return RAESampler(self, random_state=random_state, progress=progress).sample(n_samples)

    @in_own_state
    def marginal(self, columns):
        """The law of some columns, whatever the others are: p(columns).

        Parameters
        ----------
        columns : int or str, sequence of them, or boolean mask
            Positions or names of columns of the fit.

        Returns
        -------
        Marginal
            With `score_samples`, `sample`, `mean`, `quantile`, `cdf` and `probabilities`.

        Raises
        ------
        ValueError, TypeError
            For what names no column.

        Examples
        --------
        >>> import numpy as np
        >>> from skrae import RegularizedAutoEncoderScore
        >>> X = np.random.default_rng(0).standard_normal((500, 2)) * [1.0, 3.0]
        >>> model = RegularizedAutoEncoderScore(base_density="gaussian", random_state=0).fit(X)
        >>> round(model.marginal(1).cdf(0.0), 1)
        0.5
        """
        return Marginal(self, columns)

    @in_own_state
    def conditional(self, columns, given):
        """The law of some columns for each row, given all the others: p(columns | given).

        Parameters
        ----------
        columns : int or str, sequence of them, or boolean mask
            Positions or names of columns of the fit.
        given : array-like or data frame of shape (n_samples, n_features)
            Rows of the columns of the fit. What stands in `columns` is not looked at, and may be
            missing; what is missing of the others is integrated out.

        Returns
        -------
        Conditional
            With `score_samples`, `sample`, `mean`, `quantile`, `cdf` and `probabilities`.

        Raises
        ------
        ValueError, TypeError
            For what names no column, and for rows that `score_samples` refuses.

        Examples
        --------
        With a correlation of 0.6 the mean of one column given the other is 0.6 of it.

        >>> import numpy as np
        >>> from skrae import RegularizedAutoEncoderScore
        >>> cov = [[1.0, 0.6], [0.6, 1.0]]
        >>> X = np.random.default_rng(0).multivariate_normal([0.0, 0.0], cov, 4000)
        >>> model = RegularizedAutoEncoderScore(base_density="gaussian", random_state=0).fit(X)
        >>> model.conditional(1, [[1.0, np.nan]]).mean().round(1)
        array([0.6])
        """
        return Conditional(self, columns, given)

    @property
    def _n_numeric(self):
        """The numeric columns of full rows."""
        return self.n_features_in_ if self.table_ is None else len(cells_of(self._table()))

    def _decoded(self, full):
        """Full rows (n, d) as rows of the table that the model was fitted to."""
        table = self._table()
        return None if table is None else raw_rows(table, full)

    @property
    def _axis_names(self):
        """The names of the columns of full rows, of a raw table; None of plain numbers."""
        return None if self.table_ is None else axis_names(self, self._table())

    def _completions(self, X, n_draws, seed, *, of, **options):
        """Rows completed by draws, as "draws", "mean" or "tables" of them.

        With them the share of draws of q that each row's are worth.
        """
        table = self._table()
        rows = asked_rows(self, table, X)
        evaluator = table_evaluator(self._evaluator(rows.dtype), table)
        return COMPLETIONS[of](evaluator, rows, X, n_draws, seed, **options)

    @in_own_state
    def _sampling_target(self, temperature=1.0):
        """What `RAESampler` draws from: p^(1 / temperature), all in torch."""
        check_is_fitted(self)
        device, dtype = available_device(self.device), self._fitted_as["dtype"]
        return self._fitted().sampling_target(device, dtype, temperature)
