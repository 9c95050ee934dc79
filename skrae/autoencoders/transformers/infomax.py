"""InfoMaxEncoder: codes that tell a row by half of it."""

import math

import torch

from skrae.autoencoders.transformers.encoder import Encoder
from skrae.autoencoders.transformers.options import check_info_max, options_of_info_max
from skrae.autoencoders.transformers.terms.information import Views
from skrae.preprocessing.contract.caller import in_own_state

# Of the views that `score` draws, the same for all models that are compared.
SCORE_SEED = 0


class InfoMaxEncoder(Encoder):
    r"""Encoder learned by information alone: the code of a view tells which row it is of.

    Two views of a row keep random entries each. The networks are trained so that, among the rows of
    a batch, the code of one view finds that of the other by their cosine: the bound InfoNCE on the
    mutual information of the two codes,

    .. math::

        I \ge \log n + E \log
        \frac{e^{\cos(u_i, v_i) / \tau}}{\sum_{j=1}^{n} e^{\cos(u_i, v_j) / \tau}},

    with u and v the standardised codes and :math:`\tau` the temperature. What a view tells of
    another is what entries have in common: of columns that are independent there is nothing.

    Parameters
    ----------
    n_components : int >= 1, default=16
        Units of the code. Take two at least: the cosine of single numbers is a sign, which has no
        gradient, so that a code of one unit learns nothing and stays about that of PCA.
    views : {"masked", "swapped"}, default="masked"
        Entries that a view does not keep are the mean of their column, or those of other rows.
    keep : float in (0, 1), default=0.5
        The probability with which a view keeps an entry.
    temperature : float > 0, default=0.5
        Low ones let the nearest of other rows count alone, and a code becomes a hash of its row.
    entropy_weight : float >= 0, default=0.0
        Of a tenth of the entropy power that the standardised code lacks of 1; see `AutoEncoder`.
    hidden_layer_sizes : int or sequence of int, default=(256, 128)
        Layers before the code. The code is that of PCA plus the network, which starts at zero.
    activation : {"silu", "identity", "sigmoid", "tanh", "relu", "softplus"}, default="silu"
    scaling : {"auto", "standardize", None}, default="auto"
        Of columns; "auto" standardises unless the columns seem to be in one unit.
    weight_decay : float >= 0, default=3e-4
        Of the sum of squared weights, times 0.3, in the objective.
    learning_rate : float > 0, default=0.005
    batch_size : int >= 4 n_components, default=256
        The larger, the more information there is to be had: at most log(batch_size) nats.
    max_iter : int >= 1, default=2000
    n_iter_no_change : int >= 1, default=5
    validation_fraction : float in (0, 1), default=0.1
    time_limit : float > 0 or None, default=None
    warm_start : bool, default=False
    device : {"auto", "cpu", "cuda"}, default="auto"
    verbose : bool or int, default=0
    random_state : int, RandomState instance or None, default=None
        These of the training are as in `AutoEncoder`.

    Attributes
    ----------
    coefs_, intercepts_ : lists of arrays
        Weights (n_in, n_out) and biases (n_out,) of the network, in working space.
    n_encoder_layers_ : int
    location_, scale_ : arrays of shape (n_features,)
        Working space is (X - location_) / scale_.
    code_mean_, code_scale_ : arrays of shape (n_components,)
        Of the code before it is standardised.
    terms_ : dict of str to float
        On held-out rows: "information", the nats that the bound lacks of its ceiling, the log of
        the number of these rows; "entropy", the entropy power that is lacking, where it has a
        weight.
    loss_curve_, validation_curve_ : lists of float
    n_iter_ : int
    n_features_in_ : int
    feature_names_in_ : array of shape (n_features_in_,), where X has string column names.

    See Also
    --------
    AutoEncoder : Its `information_weight` adds the same term to a reconstruction.
    skrae.metrics.knn_mutual_information : The information of few columns, from rows.

    Notes
    -----
    More information is no better code. Low temperatures and narrow networks give codes of as many
    nats that a linear classifier reads less of: judge codes by what they are for.

    References
    ----------
    Linsker (1988), "Self-organization in a perceptual network". van den Oord, Li & Vinyals (2018),
    "Representation learning with contrastive predictive coding". Tschannen et al. (2020), "On
    mutual information maximization for representation learning".

    Examples
    --------
    Two columns of four tell of each other; the other two of nothing. The first unit of a code finds
    what is shared.

    >>> import numpy as np
    >>> from skrae import InfoMaxEncoder
    >>> rng = np.random.default_rng(0)
    >>> X = rng.standard_normal((500, 4))
    >>> X[:, 1] = X[:, 0] + 0.1 * X[:, 1]
    >>> model = InfoMaxEncoder(n_components=2, hidden_layer_sizes=(), random_state=0).fit(X)
    >>> shared = np.corrcoef(model.transform(X)[:, 0], X[:, 0] + X[:, 1])[0, 1]
    >>> bool(abs(shared) > 0.95)
    True
    """

    def __init__(
        self,
        n_components=16,
        *,
        views="masked",
        keep=0.5,
        temperature=0.5,
        entropy_weight=0.0,
        hidden_layer_sizes=(256, 128),
        activation="silu",
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
        self.views = views
        self.keep = keep
        self.temperature = temperature
        self.entropy_weight = entropy_weight
        self.hidden_layer_sizes = hidden_layer_sizes
        self.activation = activation
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
        check_info_max(self)

    def _resolved_options(self, n_features):
        return options_of_info_max(self, n_features)

    @in_own_state
    def score(self, X, y=None):
        """InfoNCE of rows in nats: what the codes of two views of a row tell of each other.

        The mean over blocks of at most batch_size rows, by views that are the same at each call.
        Codes are standardised over the views of a block, as they are in the training.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
            More rows have more information: compare scores of as many rows alone.
        y : ignored

        Returns
        -------
        score : float
            At most log(min(n_samples, batch_size)), and at most 2 / temperature.
        """
        self._check_options()
        answers, X = self._asked(X)
        x = torch.from_numpy(answers.space.forward(X))

        def encode(rows):
            return torch.from_numpy(answers.encode(rows.numpy()))

        views = Views(self.views, self.keep, self.temperature)
        generator = torch.Generator().manual_seed(SCORE_SEED)
        total = 0.0
        for rows in x.tensor_split(math.ceil(len(x) / self.batch_size)):
            total += len(rows) * float(views.bound(encode, rows, generator))
        return total / len(x)
