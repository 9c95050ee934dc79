"""Several processes that fit one model, each to rows of its own.

All run the same fit. Sums over rows are shared out: each process sums over some, and the parts are
added; the rest is the same computation of the same numbers everywhere. So every process makes the
same choices, and ends with the same model. They are those of the default group of
torch.distributed, which the user starts, as with torchrun.
"""

from contextlib import contextmanager
from contextvars import ContextVar
from itertools import pairwise

import torch
from torch import distributed

LAUNCH = "torch.distributed.init_process_group('gloo') in each process, as torchrun starts them"


class Alone:
    """A process by itself: all rows are its own."""

    rank, size, is_one_of_many = 0, 1, False

    def share(self, n, size=1):
        """Those of n rows that this process takes, of whole blocks of so many."""
        return slice(0, n)

    def total(self, part):
        """The sum of a tensor over the processes."""
        return part

    def joined(self, part, n, size=1):
        """The whole of a tensor (n, ...), of which each process has its share."""
        return part

    def gathered(self, value):
        """What each process has, in a list."""
        return [value]

    def agreed(self, compute):
        """compute(); where it raises ValueError or TypeError in one process, it does so in all."""
        return compute()

    def check_same(self, told):
        """Raise ValueError where a value of a dict is another in another process."""

    def each(self, function, items):
        """function(item) of every item, in a list; of several processes each computes some."""
        return [function(item) for item in items]


class Apart(Alone):
    """One of several processes, while it computes something that the others do not."""

    is_one_of_many = True


class Together(Alone):
    """The processes of the default group of torch.distributed.

    Examples
    --------
    Of three processes the second one takes

    >>> Together(rank=1, size=3).share(10), Together(rank=1, size=3).share(10, size=4)
    (slice(3, 6, None), slice(4, 8, None))
    """

    is_one_of_many = True

    def __init__(self, rank, size):
        self.rank, self.size = rank, size

    def share(self, n, size=1):
        return self._shares(n, size)[self.rank]

    def _shares(self, n, size):
        n_blocks = -(-n // size)
        bounds = [min(n, n_blocks * rank // self.size * size) for rank in range(self.size + 1)]
        return [slice(*pair) for pair in pairwise(bounds)]

    def total(self, part):
        whole = part.detach().clone(memory_format=torch.contiguous_format)
        self._collective(distributed.all_reduce, whole)
        return whole

    def joined(self, part, n, size=1):
        lengths = [share.stop - share.start for share in self._shares(n, size)]
        own = part.new_zeros(max(lengths), *part.shape[1:])
        own[: len(part)] = part
        parts = [torch.empty_like(own) for _ in lengths]
        self._collective(distributed.all_gather, parts, own)
        return torch.cat([found[:length] for found, length in zip(parts, lengths, strict=True)])

    def gathered(self, value):
        values = [None] * self.size
        self._collective(distributed.all_gather_object, values, value)
        return values

    def agreed(self, compute):
        found, error = None, None
        try:
            found = compute()
        except (ValueError, TypeError) as caught:
            error = caught
        errors = self.gathered(error and (isinstance(error, TypeError), str(error)))
        if error is not None:
            raise error
        for rank, other in enumerate(errors):
            if other is not None:
                is_of_type, message = other
                kind = TypeError if is_of_type else ValueError
                raise kind(f"In process {rank} of {self.size}: {message}")
        return found

    def check_same(self, told):
        for rank, others in enumerate(self.gathered(told)):
            differing = [name for name in told if others[name] != told[name]]
            if differing:
                found, expected = (
                    ", ".join(f"{name}={part[name]!r}" for name in differing)
                    for part in (others, told)
                )
                raise ValueError(
                    f"Got {found} in process {rank}, expected {expected} as in process"
                    f" {self.rank}: all that fit together fit the same."
                )

    def each(self, function, items):
        token = _CURRENT.set(Apart())
        try:
            own = [function(item) for item in items[self.rank :: self.size]]
        finally:
            _CURRENT.reset(token)
        found = [None] * len(items)
        for rank, part in enumerate(self.gathered(own)):
            found[rank :: self.size] = part
        return found

    def _collective(self, function, *args):
        try:
            function(*args)
        except RuntimeError as error:  # of the connection, or of the time limit of the group
            raise ConnectionError(
                f"Got no answer in process {self.rank} from another one of {self.size}, which ended"
                " or computes something else, expected all of them to go through the same fit:"
                " begin it again in all. With a checkpoint it goes on from its finished parts."
            ) from error


_CURRENT = ContextVar("_CURRENT", default=None)


def current():
    """The processes that this one computes with."""
    return _CURRENT.get() or Alone()


@contextmanager
def together(is_asked):
    """Compute with all processes of the default group where that is asked for, else alone.

    Parameters
    ----------
    is_asked : bool

    Raises
    ------
    ValueError
        Where no group was started, or one that does not add tensors of the processor.
    """
    processes = _started() if is_asked else Alone()
    token = _CURRENT.set(processes)
    try:
        yield processes
    finally:
        _CURRENT.reset(token)


def _started():
    if not (distributed.is_available() and distributed.is_initialized()):
        raise ValueError(f"Got distributed=True in a process of no group, expected {LAUNCH}.")
    backend = str(distributed.get_backend())
    if backend == "nccl":
        raise ValueError(
            "Got a group of torch.distributed with the backend 'nccl' alone, expected one that adds"
            " tensors of the processor too: 'gloo' or 'cpu:gloo,cuda:nccl'."
        )
    return Together(distributed.get_rank(), distributed.get_world_size())
