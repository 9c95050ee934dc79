"""Batches of training rows, drawn by their weights."""

import torch


class Rows:
    """Weighted training rows on a device, and batches of them.

    Parameters
    ----------
    rows : WeightedRows
    batch_size : int
    generator : torch.Generator
    n_copies : int
        How many rows in turn are one row of the table, completed in as many ways.
    """

    def __init__(self, rows, batch_size, generator, n_copies=1):
        self.z, self.weights = rows.z.float(), rows.weights
        self.cumulative, self.n_copies = rows.weights.cumsum(0), n_copies
        self.batch_size, self.generator = batch_size, generator

    def share_out(self, log_shares):
        """Draw the completions of a row by these shares, (n,) logarithms up to a constant each."""
        shares = torch.softmax(log_shares.double().view(-1, self.n_copies), 1)
        weights = self.weights.view(-1, self.n_copies).sum(1, keepdim=True)
        self.cumulative = (weights * shares).flatten().cumsum(0)

    @property
    def shares(self):
        """The probability (n,) with which each row is drawn."""
        return self.cumulative.diff(prepend=self.cumulative.new_zeros(1)) / self.cumulative[-1]

    @property
    def effective_number(self):
        """The number of rows of equal weight that tell as much."""
        weights = self.weights.view(-1, self.n_copies).sum(1)
        return float(weights.sum().square() / weights.square().sum())

    def draw_index(self, size):
        """Indices of rows, drawn by weight."""
        to = {"generator": self.generator, "device": self.z.device}
        uniform = torch.rand(size, dtype=torch.float64, **to) * self.cumulative[-1]
        return torch.searchsorted(self.cumulative, uniform).clamp_max(len(self.z) - 1)

    def draw(self, size):
        """Rows, drawn by weight."""
        return self.z[self.draw_index(size)]

    def draw_marked(self, size):
        """Rows, drawn by weight and in order, and True for the first of those that are the same."""
        index = self.draw_index(size).sort().values
        is_first = torch.ones_like(index, dtype=torch.bool)
        is_first[1:] = index[1:] != index[:-1]
        return self.z[index], is_first
