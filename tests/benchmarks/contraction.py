"""What the exact contraction penalty adds to a training step of a one-hidden-layer auto-encoder.

``python -m tests.benchmarks.contraction`` prints two markdown tables. The first is of a step of
|r(z) - z|^2 alone, and the same step with lambda |dr/dz|_F^2, the penalty from skrae's closed form,
from d backward passes that are differentiated again, and from the Jacobian of vmap(jacrev); the
second of deep networks, whose penalty is estimated. ``--quick`` measures the smallest cases in a
few seconds.
"""

import argparse
import json
import time
from pathlib import Path
from statistics import median

import torch

from skrae.autoencoders.one_layer import reconstruct, reconstruction_and_contraction
from tests.benchmarks.contraction_deep import DEEP_NOTE, deep_records, deep_report
from tests.benchmarks.records import environment, table

BATCH, CONTRACTION_WEIGHT, RATE = 256, 0.1, 1e-4
WIDTHS, UNITS = (10, 50, 200), (128, 256)
# Steps measured of each way, in full and under --quick; a naive step takes up to a second.
N_STEPS = {"closed form": (300, 50), "naive": (5, 2), "vmap(jacrev)": (5, 2)}
NOTE = (
    f"Batches of {BATCH} rows in float32, one thread, processor time (which other programs do not"
    " lengthen). A step is forward, backward and p -= rate * gradient in place; every penalised"
    " step follows a plain one, and a ratio is the median over such pairs. Disagreement is the"
    " largest difference of a gradient from the naive one, relative to the gradient's largest"
    " entry."
)


# --- the penalty, four ways -----------------------------------------------------------------------


def plain(z, *layer):
    """r and no penalty."""
    return reconstruct(z, *layer), 0.0


def naive(z, *layer):
    """One backward pass for each feature, itself differentiable."""
    z = z.clone().requires_grad_()
    r = reconstruct(z, *layer)
    total = 0.0
    for i in range(z.shape[1]):
        (row,) = torch.autograd.grad(r[:, i].sum(), z, create_graph=True)
        total = total + row.square().sum()
    return r, total / len(z)


def whole_jacobian(z, *layer):
    """The Jacobians of all rows at once, by torch.func."""
    jacobian = torch.func.jacrev(lambda row: reconstruct(row[None], *layer)[0])
    return reconstruct(z, *layer), torch.func.vmap(jacobian)(z).square().sum() / len(z)


WAYS = {
    "closed form": reconstruction_and_contraction,
    "naive": naive,
    "vmap(jacrev)": whole_jacobian,
}


# --- measuring ------------------------------------------------------------------------------------


class Problem:
    """A batch and a random auto-encoder, W, b, V (None: tied) and c, trained by plain steps."""

    def __init__(self, d, k, tied, activation, seed=0):
        generator = torch.Generator().manual_seed(seed)
        self.z = torch.randn(BATCH, d, generator=generator)
        weight = torch.randn(d, k, generator=generator) / d**0.5
        decoder = None if tied else torch.randn(k, d, generator=generator) / k**0.5
        layer = [weight, torch.zeros(k), decoder, torch.zeros(d)]
        self.layer = [p if p is None else p.requires_grad_() for p in layer]
        self.parameters = [p for p in self.layer if p is not None]
        self.activation = activation

    def gradients(self, way):
        """Of the mean over rows of |r - z|^2 + lambda |dr/dz|_F^2."""
        r, penalty = way(self.z, *self.layer, self.activation)
        loss = (r - self.z).square().sum() / BATCH + CONTRACTION_WEIGHT * penalty
        return torch.autograd.grad(loss, self.parameters)

    def seconds(self, way):
        """Processor time of one training step."""
        start = time.process_time()
        gradients = self.gradients(way)
        with torch.no_grad():
            torch._foreach_add_(self.parameters, gradients, alpha=-RATE)
        return time.process_time() - start


def disagreement(problem, way):
    """Largest difference from the naive gradients, relative to the largest entry of each."""
    pairs = zip(problem.gradients(way), problem.gradients(naive), strict=True)
    return max(float((a - b).abs().max() / b.abs().max()) for a, b in pairs)


def measure(problem, way, n_steps):
    """Median seconds of a plain and of a penalised step, and the median of their ratios."""
    pairs = []
    for _ in range(n_steps + 2):
        pairs.append((problem.seconds(plain), problem.seconds(way)))
    pairs = pairs[2:]
    return {
        "plain_seconds": median(before for before, _ in pairs),
        "seconds": median(after for _, after in pairs),
        "ratio": median(after / before for before, after in pairs),
    }


def records(options):
    """One record for each decoder, number of features and of units, and way."""
    found = []
    for tied in (True,) if options.quick else (True, False):
        for k in UNITS[:1] if options.quick else UNITS:
            for d in WIDTHS[:1] if options.quick else WIDTHS:
                problem = Problem(d, k, tied, options.activation)
                for name, way in WAYS.items():
                    case = {"decoder": "tied" if tied else "untied", "d": d, "k": k, "way": name}
                    case["disagreement"] = disagreement(problem, way)
                    found.append({**case, **measure(problem, way, N_STEPS[name][options.quick])})
    return found


# --- output ---------------------------------------------------------------------------------------


def report(found):
    """The table: one row a case, one column a way."""
    rows = []
    for i in range(0, len(found), len(WAYS)):
        ways = found[i : i + len(WAYS)]
        own = ways[0]
        rows.append(
            [
                own["decoder"],
                str(own["d"]),
                str(own["k"]),
                f"{1e3 * own['plain_seconds']:.2f}",
                f"{1e3 * own['seconds']:.2f}",
                *[f"{way['ratio']:.3g}" for way in ways],
                f"{own['disagreement']:.0e}",
            ]
        )
    header = ["decoder", "d", "k", "plain ms", "closed form ms"]
    return table([*header, *[f"{way}, ratio" for way in WAYS], "disagreement"], rows)


def _parser():
    parser = argparse.ArgumentParser(
        prog="python -m tests.benchmarks.contraction", description=__doc__
    )
    parser.add_argument("--quick", action="store_true", help="tied, the smallest case, few steps")
    parser.add_argument("--activation", default="sigmoid", help="default sigmoid")
    parser.add_argument("--json", type=Path, help="file that also receives every record")
    return parser


def main(arguments=None):
    """Print the table."""
    options = _parser().parse_args(arguments)
    torch.set_num_threads(1)
    found, deep = records(options), deep_records(options)
    if options.json:
        content = {"environment": environment(1), "records": found, "deep": deep}
        options.json.write_text(json.dumps(content, indent=1) + "\n")
    parts = ["### One hidden layer, exact", report(found), NOTE]
    print("\n\n".join([*parts, "### Deep networks, estimated", deep_report(deep), DEEP_NOTE]))


if __name__ == "__main__":
    main()
