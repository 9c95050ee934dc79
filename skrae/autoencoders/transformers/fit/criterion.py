"""The objective of an auto-encoder: of batches to train on, of held-out rows to validate with."""

from functools import partial
from typing import NamedTuple

import torch

from skrae.autoencoders.training import Criterion, Validation
from skrae.autoencoders.transformers.terms import penalties
from skrae.autoencoders.transformers.terms.corruption import CORRUPTIONS
from skrae.autoencoders.transformers.terms.entropy import lacking_entropy_power
from skrae.autoencoders.transformers.terms.information import Views

# Held-out rows at a time at most, and pairs among them.
VALIDATION_ROWS = 1024
# Held-out rows have their views drawn several times, where they are fewer than this.
VALIDATION_VIEWS = 256
# What a weight of 1 is of the entropy term: codes are spread, and reconstructions hardly worse.
ENTROPY_SHARE = 0.1


class Objective(NamedTuple):
    """The weights of the terms, and what the terms depend on."""

    reconstruction_weight: float = 1.0
    noise: str = "gaussian"
    noise_level: float = 0.0
    sparsity: str = "l1"
    sparsity_weight: float = 0.0
    sparsity_target: float = 0.05
    encoder_contraction_weight: float = 0.0
    distance_weight: float = 0.0
    distance: str = "euclidean"
    entropy_weight: float = 0.0
    information_weight: float = 0.0
    views: Views = Views()
    weight_decay: float = 0.0
    scales_code: bool = False

    @property
    def is_plain(self):
        """Whether it is the reconstruction alone, of clean rows."""
        return self.noise_level == 0.0 and list(self.weights()) == ["reconstruction"]

    def weights(self):
        """The weight of each term that is on."""
        found = {
            "reconstruction": self.reconstruction_weight,
            "sparsity": self.sparsity_weight,
            "encoder_contraction": self.encoder_contraction_weight,
            "distance": self.distance_weight,
            "entropy": ENTROPY_SHARE * self.entropy_weight,
            "information": self.information_weight,
        }
        return {name: weight for name, weight in found.items() if weight > 0.0}

    @property
    def tells_rows_apart(self):
        """Whether a term compares each row with all others, which are to differ from it."""
        return self.entropy_weight > 0.0 or self.information_weight > 0.0


class Geodesics(NamedTuple):
    """Distances along the rows between landmarks among them."""

    rows: torch.Tensor  # (m, d), float32
    distances: torch.Tensor  # (m, m)


class Terms:
    """The terms of the objective as functions of parameters and rows.

    Parameters
    ----------
    network : Network
    objective : Objective
    variance : float, the total variance of the rows
    varies : bool tensor of shape (d,), which columns are corrupted
    """

    def __init__(self, network, objective, variance, varies):
        self.network, self.objective, self.variance = network, objective, variance
        self.fixed = None if bool(varies.all()) else ~varies

    def corrupt(self, x, generator):
        """Rows x~, x itself without noise; constant columns stay as they are."""
        objective = self.objective
        if objective.noise_level == 0.0:
            return x
        noisy = CORRUPTIONS[objective.noise].corrupt(x, objective.noise_level, generator)
        return noisy if self.fixed is None else noisy.masked_fill(self.fixed, 0.0)

    def of_rows(self, parameters, x, noisy, pairs, generator, distinct=None):
        """Each term that is on, by its name.

        Parameters
        ----------
        x, noisy : tensors of shape (n, d), the same where there is no noise
        pairs : (rows (m, d), their distances (m, m)) for the distance term
        generator : torch.Generator, of the directions of the contraction and of views
        distinct : bool tensor of shape (n,), True for rows that differ; without it none of the
            terms that tell rows apart
        """
        network, weights, slopes = self.network, self.objective.weights(), None
        if "encoder_contraction" in weights:
            code, slopes = network.encode_with_slopes(x, parameters)
        elif noisy is x or "sparsity" in weights or self.objective.entropy_weight > 0.0:
            code = network.encode(x, parameters)
        found = {}
        if "reconstruction" in weights:
            read = code if noisy is x else network.encode(noisy, parameters)
            r = network.decode(read, parameters)
            found["reconstruction"] = penalties.reconstruction_error(x, r, self.variance)
        if "sparsity" in weights:
            found["sparsity"] = self._sparsity(code)
        if slopes is not None:
            found["encoder_contraction"] = self._contraction(parameters, code, slopes, generator)
        if "distance" in weights:
            found["distance"] = self._distance(parameters, *pairs)
        if distinct is not None:
            own = code[distinct] if self.objective.entropy_weight > 0.0 else None
            found.update(self.of_distinct_rows(parameters, x[distinct], own, generator))
        return found

    def of_distinct_rows(self, parameters, x, code, generator):
        """The terms that tell rows (n, d) apart, by their names; `code` is None without entropy."""
        found = {}
        if self.objective.entropy_weight > 0.0:
            found["entropy"] = lacking_entropy_power(code)
        if self.objective.information_weight > 0.0:
            encode = partial(self.network.encode, parameters=parameters)
            views = self.objective.views
            found["information"] = views.missing_information(encode, x, generator)
        return found

    def total(self, terms):
        """The objective from its terms."""
        return sum(weight * terms[name] for name, weight in self.objective.weights().items())

    def _sparsity(self, code):
        if self.objective.sparsity == "kl":
            return penalties.kl_sparsity(code, self.objective.sparsity_target)
        return penalties.l1_sparsity(code, self.variance)

    def _contraction(self, parameters, code, slopes, generator):
        network = self.network
        scale = torch.ones_like(code[0])
        if self.objective.scales_code:
            scale = penalties.deviations(code)
        if not network.architecture.hidden_layer_sizes:
            weight = network.first_weight(parameters)
            return penalties.layer_contraction(slopes[-1], weight, scale)

        def pull_back(v):
            return network.pull_back(v / scale, slopes, parameters)

        return penalties.jacobian_contraction(pull_back, code, generator)

    def _distance(self, parameters, rows, distances):
        code = self.network.encode(rows, parameters)
        apart = torch.cdist(code, code)
        if self.objective.distance == "geodesic":
            return penalties.elastic_stress(distances, apart)
        return penalties.relative_stress(distances, apart)


class AutoEncoderCriterion(Criterion):
    """The objective of batches of rows, drawn by weight.

    Parameters
    ----------
    terms : Terms
    rows : Rows
    geodesics : Geodesics or None
    weight_decay : float, of the sum of squared weights
    """

    def __init__(self, terms, rows, geodesics, weight_decay):
        self.terms, self.rows, self.geodesics = terms, rows, geodesics
        self.weight_decay = weight_decay

    def loss(self, parameters):
        generator, objective = self.rows.generator, self.terms.objective
        if objective.tells_rows_apart:
            x, distinct = self.rows.draw_marked(self.rows.batch_size)
        else:
            x, distinct = self.rows.draw(self.rows.batch_size), None
        noisy = self.terms.corrupt(x, generator)
        pairs = self._pairs(x) if objective.distance_weight > 0.0 else None
        found = self.terms.of_rows(parameters, x, noisy, pairs, generator, distinct)
        loss = self.terms.total(found)
        if self.weight_decay > 0.0:
            flat = (weight.flatten() for weight in parameters[0::2])
            squares = sum(torch.dot(weight, weight) for weight in flat)
            loss = loss + self.weight_decay * squares
        return loss

    def _pairs(self, x):
        if self.geodesics is None:
            return x, torch.cdist(x, x)
        to = {"generator": self.rows.generator, "device": x.device}
        index = torch.randint(len(self.geodesics.rows), (len(x),), **to)
        return self.geodesics.rows[index], self.geodesics.distances[index][:, index]

    def confine(self, parameters):
        """Atoms of unit norm, without which a penalty on the code is gamed by scale."""
        if self.terms.objective.sparsity_weight > 0.0:
            self.terms.network.confine_atoms(parameters)


class HeldOutObjective:
    """The objective of held-out rows, their noise and the directions of contraction held fixed.

    Parameters
    ----------
    terms : Terms
    rows : tensor of shape (n, d), each as often as it weighs
    geodesics : Geodesics or None, of held-out landmarks
    seed : int
    """

    def __init__(self, terms, rows, geodesics, seed):
        self.terms, self.geodesics, self.seed = terms, geodesics, seed
        self.blocks, generator = [], self._generator(rows.device)
        # Blocks of like sizes: one of a single row would have no pairs and no deviations.
        for x in rows.tensor_split(-(-len(rows) // VALIDATION_ROWS)):
            noisy = terms.corrupt(x, generator)
            self.blocks.append((x, noisy, self._pairs(x), len(x) / len(rows)))
        self.distinct = None
        if terms.objective.tells_rows_apart:
            self.distinct = self._distinct(rows, generator)

    def _distinct(self, rows, generator):
        """Rows that differ, at most so many, in random order."""
        found = rows.unique(dim=0)
        order = torch.randperm(len(found), generator=generator, device=found.device)
        return found[order[:VALIDATION_ROWS]]

    def _generator(self, device):
        return torch.Generator(device=device).manual_seed(self.seed)

    def _pairs(self, x):
        if self.terms.objective.distance_weight == 0.0:
            return None
        if self.geodesics is not None:
            return self.geodesics
        return x, torch.cdist(x, x)

    def terms_of(self, parameters):
        """Each term that is on, a float, by its name: the mean over blocks of held-out rows."""
        totals, generator = {}, self._generator(self.blocks[0][0].device)

        def add(found, share):
            for name, value in found.items():
                totals[name] = totals.get(name, 0.0) + share * float(value)

        with torch.no_grad():
            for x, noisy, pairs, share in self.blocks:
                add(self.terms.of_rows(parameters, x, noisy, pairs, generator), share)
            if self.distinct is not None:
                n_times = -(-VALIDATION_VIEWS // len(self.distinct))
                code = self.terms.network.encode(self.distinct, parameters)
                for _ in range(n_times):
                    found = self.terms.of_distinct_rows(parameters, self.distinct, code, generator)
                    add(found, 1.0 / n_times)
        return totals

    def kept(self, parameters):
        """A copy of an average of parameters, its atoms of one norm as theirs are."""
        copies = [p.clone() for p in parameters]
        if self.terms.objective.sparsity_weight > 0.0:
            self.terms.network.confine_atoms(copies)
        return copies

    def __call__(self, parameters):
        """Minus the objective, as a `Validation`."""
        kept = self.kept(parameters)
        return Validation(-self.terms.total(self.terms_of(kept)), 0.0, kept)
