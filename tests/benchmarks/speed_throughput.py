"""Rows a second of log densities and their gradients, all models in turn in one process."""

import copy
import itertools
import time
from statistics import median

import numpy as np
import torch
import torch.nn.functional as F

from tests.benchmarks.peer_flows import FlowPeer, build_flow
from tests.benchmarks.peers import KernelPeer, MixturePeer

DTYPES = "float32", "float64"
FLOOR_CHUNK, UNITS = 1024, (128, 128, 128)
GMM_COMPONENTS, GMM_RIDGE, BANDWIDTH = 32, 1e-4, 0.3
# Rows at a time of models that are slower by orders: a share of them tells the rate.
FLOW_SHARE, KDE_SHARE = 10, 100
THROUGHPUT_NOTE = (
    "Median over rounds in which every model takes its turn, processor time. `skrae` is a default"
    " fit; where it keeps no network, `skrae, network kept` is the same with a head that is not"
    " zero, which is what a fit costs whose network gains. `network alone` is a bare network of"
    f" the same layers, {UNITS}, in {FLOOR_CHUNK}-row chunks that stay in the cache: the floor."
    f" The mixture has {GMM_COMPONENTS} components. The flow has the weights it starts from and"
    f" the kernels are all the training rows: they answer 1/{FLOW_SHARE} and 1/{KDE_SHARE} of the"
    " rows, since their rates do not depend on how many are asked for. Flows are in float32 and"
    " scikit-learn's models in float64, whatever the rows are."
)


class Network:
    """A bare network of three hidden layers, u(z), and its gradient by autograd."""

    def __init__(self, n_features, dtype):
        generator = torch.Generator().manual_seed(0)
        sizes = [n_features, *UNITS, 1]
        self.weights = [
            (torch.randn(n_in, n_out, generator=generator) / n_in**0.5).to(dtype)
            for n_in, n_out in itertools.pairwise(sizes)
        ]
        self.biases = [torch.zeros(len(w.T), dtype=dtype) for w in self.weights]

    def _forward(self, z):
        for weight, bias in zip(self.weights[:-1], self.biases[:-1], strict=True):
            z = F.silu(torch.addmm(bias, z, weight))
        return torch.addmm(self.biases[-1], z, self.weights[-1])[:, 0]

    def score_samples(self, X):
        with torch.inference_mode():
            parts = [self._forward(z) for z in torch.from_numpy(X).split(FLOOR_CHUNK)]
        return torch.cat(parts).numpy()

    def log_density_gradient(self, X):
        parts = []
        for rows in torch.from_numpy(X).split(FLOOR_CHUNK):
            z = rows.clone().requires_grad_()
            parts.append(torch.autograd.grad(self._forward(z).sum(), z)[0])
        return torch.cat(parts).numpy()


class Peer:
    """A peer's density by skrae's names."""

    def __init__(self, density):
        self.score_samples, self.log_density_gradient = density.log_density, density.gradient


def throughput(model, rows, fresh, repeats):
    """Rows a second of skrae's fitted model, and of others fitted to the same rows, at fresh ones.

    Parameters
    ----------
    model : fitted estimator
    rows : ndarray of shape (n, d)
    fresh : ndarray of shape (m, d), of the dtype that is asked
    repeats : int, rounds

    Returns
    -------
    dict
        {"models": {name: {"score": rate, "gradient": rate}}}
    """
    asked = {
        name: (m, fresh[: len(fresh) // k]) for name, (m, k) in _models(model, rows, fresh).items()
    }
    seconds = {name: {"score": [], "gradient": []} for name in asked}
    for _ in range(repeats + 1):
        for name, (model, X) in asked.items():
            seconds[name]["score"].append(_seconds(model.score_samples, X))
            seconds[name]["gradient"].append(_seconds(model.log_density_gradient, X))
    return {
        "models": {
            name: {task: len(asked[name][1]) / median(values[1:]) for task, values in own.items()}
            for name, own in seconds.items()
        }
    }


def _models(model, rows, fresh):
    """Models and the share of the rows that each is asked, 1/k."""
    models = {"skrae": (model, 1)}
    if model.network_gain_ == 0.0:
        models["skrae, network kept"] = with_network(model), 1
    models["network alone"] = Network(rows.shape[1], torch.from_numpy(fresh).dtype), 1
    models["Gaussian mixture"] = Peer(MixturePeer(rows, GMM_COMPONENTS, GMM_RIDGE, 0)), 1
    models["spline flow"] = Peer(FlowPeer(build_flow("flow", rows.shape[1]).eval())), FLOW_SHARE
    models["kernel density"] = Peer(KernelPeer(rows, BANDWIDTH)), KDE_SHARE
    return models


def with_network(model):
    """A copy of a fitted model whose head is not zero."""
    model = copy.deepcopy(model)
    head = np.random.default_rng(0).standard_normal(model.coefs_[-1].shape)
    model.coefs_[-1] = (0.05 * head).astype(np.float32)
    return model


def _seconds(work, X):
    start = time.process_time()
    work(X)
    return time.process_time() - start
