"""Random numbers: from a generator of torch's, or a stream for each row of a table.

A row's stream is its own: what it gives does not depend on the rows beside it. Number c of a stream
is a hash of the row's key and c (counter-based, Salmon, Moraes, Dror & Shaw 2011, "Parallel random
numbers: as easy as 1, 2, 3"), here the finaliser of SplitMix64 (Steele, Lea & Flood 2014).
"""

import torch

# Of SplitMix64, as signed numbers.
GOLDEN = 0x9E3779B97F4A7C15 - 2**64
FIRST, SECOND = 0xBF58476D1CE4E5B9 - 2**64, 0x94D049BB133111EB - 2**64


def _mixed(z):
    """A bijection of int64 numbers that changes each bit with half of the others."""
    z = (z ^ _shifted(z, 30)) * FIRST
    z = (z ^ _shifted(z, 27)) * SECOND
    return z ^ _shifted(z, 31)


def _shifted(z, n):
    """z shifted to the right as an unsigned number."""
    return (z >> n) & ((1 << (64 - n)) - 1)


class RowStreams:
    """In place of a `torch.Generator`: number i of n belongs to row i mod m of m rows.

    Parameters
    ----------
    keys : int64 tensor of shape (m,)
    n_asked : int, requests that were answered before
    """

    def __init__(self, keys, n_asked=0):
        self.keys, self.n_asked = keys, n_asked

    @property
    def device(self):
        return self.keys.device

    def get_state(self):
        """Where the streams are."""
        return RowStreams(self.keys, self.n_asked)

    def set_state(self, state):
        """Go on from there."""
        self.n_asked = state.n_asked

    def uniform(self, n, n_each):
        """Numbers in (0, 1), float64 (n, n_each); the first are those of a smaller n_each."""
        row = _mixed(self.keys + self._next() * GOLDEN)
        copy = torch.arange(n, device=self.device) // len(self.keys)
        each = torch.arange(1, n_each + 1, device=self.device)
        state = _mixed(row[torch.arange(n, device=self.device) % len(row)] + GOLDEN * copy)
        bits = _shifted(_mixed(state[:, None] + GOLDEN * each), 11)
        return (bits.double() + 0.5) * 2.0**-53

    def integer(self, high):
        """One number of 0 to high - 1, the same for all rows of any table."""
        return int(_shifted(_mixed(self._next() * GOLDEN), 11)) % high

    def _next(self):
        self.n_asked += 1
        return torch.tensor(self.n_asked, device=self.device)


class PartOfRows:
    """In place of a `torch.Generator`: of the numbers for n rows those for some of them.

    Several numbers of a row stand n apart: asked for twice as many rows as there are in the part,
    it draws for 2 n.

    Parameters
    ----------
    generator : torch.Generator
    n : int
    own : slice, of the n rows
    """

    def __init__(self, generator, n, own):
        self.generator, self.n, self.own = generator, n, own

    def drawn(self, draw, shape):
        """draw(shape) of all rows, (m, ...), as those of the part."""
        n_copies = shape[0] // (self.own.stop - self.own.start)
        numbers = draw((n_copies * self.n, *shape[1:]))
        return numbers.view(n_copies, self.n, *shape[1:])[:, self.own].flatten(0, 1)


def resumed(state, device):
    """A generator, or streams, in a state that it had."""
    generator = torch.Generator(device) if isinstance(state, torch.Tensor) else state.get_state()
    generator.set_state(state)
    return generator


def uniform(shape, generator, like):
    """Numbers in [0, 1) of this shape, and of the dtype and device of `like`."""
    if isinstance(generator, RowStreams):
        n, *rest = shape
        numbers = generator.uniform(n, torch.Size(rest).numel())
        return numbers.reshape(shape).to(like.dtype)
    if isinstance(generator, PartOfRows):
        return generator.drawn(lambda size: uniform(size, generator.generator, like), shape)
    return torch.rand(shape, generator=generator, dtype=like.dtype, device=like.device)


def normal(shape, generator, like):
    """Standard normal numbers of this shape, and of the dtype and device of `like`."""
    if isinstance(generator, RowStreams):
        n, *rest = shape
        numbers = torch.special.ndtri(generator.uniform(n, torch.Size(rest).numel()))
        return numbers.reshape(shape).to(like.dtype)
    if isinstance(generator, PartOfRows):
        return generator.drawn(lambda size: normal(size, generator.generator, like), shape)
    return torch.randn(shape, generator=generator, dtype=like.dtype, device=like.device)


def normal_of_some(index, shape, generator, like):
    """Such numbers for some of the rows alone."""
    if isinstance(generator, RowStreams):
        return normal(shape, generator, like)[index]
    return normal((len(index), *shape[1:]), generator, like)


def integer(high, generator):
    """A number of 0 to high - 1."""
    if isinstance(generator, RowStreams):
        return generator.integer(high)
    return int(torch.randint(high, (), generator=generator, device=generator.device))
