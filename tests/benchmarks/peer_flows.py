"""The normalising flows among the peers: spline and affine, trained to an early stop."""

import copy

import numpy as np
import torch

BATCH_SIZE = 256
LEARNING_RATE = 1e-3
MAX_EPOCHS = 500
PATIENCE = 30
BLOCK_ROWS = 1000


class FlowPeer:
    """Normalising flow in float32; answers are cast back to float64."""

    def __init__(self, flow):
        self.flow = flow

    def log_density(self, Z):
        with torch.no_grad():
            return _log_density(self.flow, _float32(Z)).double().numpy()

    def gradient(self, Z):
        rows = _float32(Z).requires_grad_()
        (slope,) = torch.autograd.grad(_log_density(self.flow, rows).sum(), rows)
        return slope.double().numpy()

    def draw(self, n, rng):
        with torch.random.fork_rng(), torch.no_grad():
            torch.manual_seed(int(rng.integers(2**31)))
            return self.flow().sample((n,)).double().numpy()


def _float32(X):
    return torch.tensor(X, dtype=torch.float32)


def _log_density(flow, rows):
    return torch.cat([flow().log_prob(block) for block in rows.split(BLOCK_ROWS)])


def build_flow(name, n_features):
    # Importing zuko switches off torch's argument checks for the whole process: only a run that
    # asks for a flow pays that.
    import zuko

    family = {"flow": zuko.flows.NSF, "maf": zuko.flows.MAF}[name]
    return family(n_features, transforms=3, hidden_features=(128, 128))


def _tune_flow(name, rows, held_out, seed, max_epochs=MAX_EPOCHS):
    """Train to the early stop; torch's global generator is left as it was."""
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        flow = build_flow(name, rows.shape[1])
        parts = _float32(rows), _float32(held_out)
        settings = _train_to_early_stop(flow, *parts, max_epochs)
    return FlowPeer(flow.eval()), settings


def _train_to_early_stop(flow, rows, held_out, max_epochs):
    """Adam on -mean log p until ``PATIENCE`` epochs bring no gain; the best weights come back."""
    optimizer = torch.optim.Adam(flow.parameters(), lr=LEARNING_RATE)
    best, best_epoch, best_weights = -np.inf, 0, None
    for epoch in range(1, max_epochs + 1):
        _train_one_epoch(flow, optimizer, rows)
        with torch.no_grad():
            value = float(_log_density(flow, held_out).mean())
        if value > best:
            best, best_epoch = value, epoch
            best_weights = copy.deepcopy(flow.state_dict())
        elif epoch - best_epoch >= PATIENCE:
            break
    if best_weights is None:
        raise RuntimeError(f"the flow's validation likelihood was never finite in {epoch} epochs.")
    flow.load_state_dict(best_weights)
    return {"best_epoch": best_epoch, "epochs": epoch}


def _train_one_epoch(flow, optimizer, rows):
    for batch in rows[torch.randperm(len(rows))].split(BATCH_SIZE):
        train_step(flow, optimizer, batch)


def train_step(flow, optimizer, batch):
    """One step on -mean log p of a batch."""
    loss = -flow().log_prob(batch).mean()
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()


def tune_spline_flow(rows, held_out, seed, max_epochs=MAX_EPOCHS):
    """Neural spline flow (Durkan et al. 2019), coupled autoregressively, and its settings."""
    return _tune_flow("flow", rows, held_out, seed, max_epochs)


def tune_affine_flow(rows, held_out, seed):
    """Masked autoregressive flow (Papamakarios et al. 2017) and its settings."""
    return _tune_flow("maf", rows, held_out, seed)
