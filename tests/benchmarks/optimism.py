"""The optimism of a choice (Efron 1986): nats by which rows that choose a model flatter it.

``python -m tests.benchmarks.optimism`` compares, on known densities, the mean log density of the
rows that chose a model with that of 20 000 fresh rows; the difference is given in all of the
held-out rows, not per row. Two choices are measured: the size of a mixture, and, on tables of
independent normal columns, which a map can only harm, the maps of columns. The constants OPTIMISM
of `skrae.density.fit.radial.members` and of `skrae.density.columns.working_space` come from here.
``--quick`` runs one case of each.
"""

from itertools import product

import numpy as np
import torch

from skrae import RegularizedAutoEncoderScore, datasets
from skrae.density.columns import working_space
from skrae.density.options import resolved_options
from skrae.mixtures.growth.selection import select_base
from skrae.preprocessing.rows import WeightedRows
from skrae.preprocessing.split import split_folds
from tests.benchmarks.records import argument_parser, cell, choose, grouped, mean, run, table

LAWS = {
    "ring": datasets.Ring,
    "moons": datasets.Moons,
    "banana d=2": datasets.Banana,
    "spiral": datasets.Spiral,
    "sextic well d=1": datasets.SexticWell,
}
TABLES = {"normal d=2": 2, "normal d=5": 5, "normal d=10": 10}
CHOICES = "size", "maps"
SIZES, SEEDS, N_FRESH = (1000, 4000), (10, 11, 12), 20_000
N_FOLDS, MAX_COMPONENTS = 8, 64


def measure(case):
    """Nats that the held-out rows make too much of a choice, and how large a thing was chosen."""
    if case["model"] == "size":
        nats, sizes = _of_mixtures(LAWS[case["set"]](), case["n"], case["seed"])
    else:
        nats, sizes = _of_maps(TABLES[case["set"]], case["n"], case["seed"])
    error = float(np.std(nats) / np.sqrt(len(nats)))
    return {"nats": float(np.mean(nats)), "error": error, "size": float(np.mean(sizes))}


def _of_mixtures(density, n, seed):
    """Of each mixture of the folds, and its components."""
    rows = density.sample(n + N_FRESH, seed)
    mean, deviation = rows[:n].mean(axis=0), rows[:n].std(axis=0)
    z, truth = (rows - mean) / deviation, density.log_density(rows) + np.log(deviation).sum()
    train, folds = split_folds(z[:n], 0.1, np.random.RandomState(seed), N_FOLDS)
    held_out, *others = folds
    others = [torch.as_tensor(np.flatnonzero(np.isin(train, fold))) for fold in others]
    parts = _rows(z[train]), _rows(z[held_out])
    generator = torch.Generator().manual_seed(seed)
    choice = select_base(*parts, generator, MAX_COMPONENTS, N_FOLDS, None, others)
    nats = []
    for part, fold in zip(choice.parts, folds, strict=True):
        # Beside the truth: the rows' own luck is none of the choice's.
        loss = truth - part.density.log_density(torch.as_tensor(z)).numpy()
        nats.append(float(loss[n:].mean() - loss[fold].mean()) * len(fold))
    return nats, [len(part.density.weights) for part in choice.parts]


def _rows(X):
    return WeightedRows(torch.as_tensor(X), torch.ones(len(X), dtype=torch.float64))


def _of_maps(d, n, seed):
    """Of the maps in each fold, beside no maps, and the columns whose size was chosen."""
    X, fresh = (
        np.random.default_rng(s).standard_normal((m, d)) for s, m in ((seed, n), (0, N_FRESH))
    )
    weights, options = np.ones(n), resolved_options(RegularizedAutoEncoderScore())
    _, folds = split_folds(X, 0.1, np.random.RandomState(seed), working_space.MAX_FOLDS)
    nats, sizes = [], []
    for fold in folds:
        rest = np.delete(np.arange(n), fold)
        plain, mapped, _ = working_space._candidates(X, weights, rest, fold, options, None)
        before, after = (
            working_space._log_density(space, X, weights, rest, fold, seed)
            for space in (plain, mapped)
        )
        seen, unseen = ((after(rows) - before(rows)).mean() for rows in (X[fold], fresh))
        nats.append(float(seen - unseen) * len(fold))
        sizes.append(sum(not column.mixture.is_single for column in mapped.columns))
    return nats, sizes


def cases(options):
    """One for each choice, density, size and seed."""
    sizes = choose(options.sizes, SIZES, SIZES[:1], options.quick)
    seeds = choose(options.seeds, SEEDS, SEEDS[:1], options.quick)
    for model in choose(options.models, CHOICES, CHOICES, options.quick):
        named = list(LAWS if model == "size" else TABLES)
        for name, n, seed in product(named[:1] if options.quick else named, sizes, seeds):
            yield {"set": name, "n": n, "seed": seed, "model": model}


def report(found):
    """The tables of both choices."""
    parts = []
    for choice, size in (("size", "components"), ("maps", "columns of more than one Gaussian")):
        chosen = [record for record in found if record["model"] == choice]
        rows = []
        for (name, n), group in grouped(chosen, "set", "n").items():
            error = mean(group, "error") / len(group) ** 0.5
            figures = cell(mean(group, "nats"), 2), cell(error, 2), cell(mean(group, "size"), 1)
            rows.append([name, str(n), *figures, str(len(group))])
        title = f"### What rows that choose the {choice} make too much of it, nats in all"
        parts += [title, table(["density", "rows", "nats", "s.e.", size, "seeds"], rows)]
    return "\n\n".join(parts)


def main(arguments=None):
    """Print the tables."""
    parser = argument_parser("optimism", __doc__, CHOICES, SEEDS)
    parser.add_argument("--sizes", nargs="+", type=int, help=f"default {SIZES}")
    options = parser.parse_args(arguments)
    print(report(run(cases(options), measure, options)))


if __name__ == "__main__":
    main()
