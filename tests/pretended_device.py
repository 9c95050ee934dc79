"""A CUDA device for machines without one: tensors that live apart, computed on the processor.

Within `pretended_cuda()` torch has a device "cuda". Its tensors have the device "meta", which no
kernel computes for, and hold the tensors of the processor that do. As on a true device an operation
on tensors of both raises RuntimeError, so does a random number by a generator of the other, and
NumPy cannot read one that was not brought back. So what runs here keeps its tensors together; that
kernels of a device are right, and how fast, only a device can tell.
"""

from contextlib import contextmanager
from unittest import mock

import torch
import torch._dynamo  # torch loads it late, and could not with a generator that is pretended
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode

APART, HERE = torch.device("meta"), torch.device("cpu")
MOVES = torch.ops.aten._to_copy.default, torch.ops.aten.copy_.default
TAKES_PLACES = torch.ops.aten.index, torch.ops.aten.index_put_, torch.ops.aten.index_put
JOINS = torch.ops.aten.cat, torch.ops.aten.stack
MADE_OF_DATA = torch.tensor, torch.as_tensor
PRODUCTS = torch.matmul, torch.Tensor.matmul, torch.Tensor.__matmul__
# The operations of the device since it was found.
COMPUTED = []
READ = torch.Tensor.numpy, torch.Tensor.tolist


class Apart(torch.Tensor):
    """A tensor of the pretended device, which `held` has the numbers of."""

    @staticmethod
    def __new__(cls, held):
        shape = {"strides": held.stride(), "storage_offset": held.storage_offset()}
        parts = {"dtype": held.dtype, "device": APART, **shape}
        tensor = torch.Tensor._make_wrapper_subclass(cls, held.shape, **parts)
        tensor.held = held
        return tensor

    @classmethod
    def __torch_dispatch__(cls, function, types, args=(), kwargs=None):
        return _computed(function, args, kwargs or {})


class Generator(torch.Generator):
    """A generator of the processor that says which device it was asked for."""

    def __new__(cls, device="cpu"):
        generator = super().__new__(cls, "cpu")
        generator.asked_for = HERE if torch.device(device) == HERE else APART
        return generator

    @property
    def device(self):
        return self.asked_for


def _held(value):
    return value.held if isinstance(value, Apart) else value


def _each(change, value):
    """`change` of a value, or of all that a list or tuple has."""
    if isinstance(value, list | tuple):
        return type(value)([_each(change, part) for part in value])
    return change(value)


def _computed(function, args, kwargs):
    """An operation of torch, on the tensors that are held."""
    tensors = []
    named = list(kwargs.values())
    _each(lambda value: isinstance(value, torch.Tensor) and tensors.append(value), [*args, named])
    apart = [tensor for tensor in tensors if isinstance(tensor, Apart)]
    device = kwargs.get("device")
    if not apart and device in (None, HERE):
        return function(*args, **kwargs)
    is_apart = bool(apart)
    if function is torch.ops.aten.copy_.default:
        is_apart = isinstance(args[0], Apart)
    elif device is not None:
        is_apart, kwargs = device == APART, {**kwargs, "device": HERE}
    if function not in MOVES:
        _check_together(function, args, tensors, is_apart)
    kwargs = {name: _held(value) for name, value in kwargs.items()}
    found = function(*_each(_held, args), **kwargs)
    # What was changed in place is the same tensor as before.
    same = {id(tensor.held): tensor for tensor in apart}

    def wrapped(value):
        is_new = isinstance(value, torch.Tensor) and id(value) not in same
        return Apart(value) if is_new and is_apart else same.get(id(value), value)

    found = _each(wrapped, found)
    COMPUTED.append(function)
    if any(tensor.shape != tensor.held.shape for tensor in apart):
        raise NotImplementedError(f"{function} of a pretended device: a shape changed in place")
    return found


def _check_together(function, args, tensors, is_apart):
    """Single numbers, and places in a tensor of the device, may come from the processor."""
    packet = function.overloadpacket
    if packet in TAKES_PLACES and isinstance(args[0], Apart):
        tensors = [t for t in (args[0], *args[2:3]) if isinstance(t, torch.Tensor)]
    apart = [t for t in tensors if isinstance(t, Apart)]
    near = [t for t in tensors if not isinstance(t, Apart)]
    is_changed_here = packet.__name__.endswith("_") and not isinstance(args[0], Apart)
    if packet not in JOINS and not (apart and is_changed_here):
        near = [t for t in near if t.dim() > 0]
    if (near and is_apart) or (apart and not is_apart):
        raise RuntimeError(f"{function}: tensors of two devices, {len(near)} of the processor")


class _Operations(TorchDispatchMode):
    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        return _computed(function, args, kwargs or {})


class _Names(TorchFunctionMode):
    """What torch does before it dispatches an operation, or in one that changes shapes in place."""

    def __torch_function__(self, function, types, args=(), kwargs=None):
        args = tuple(map(_named, args))
        kwargs = {name: _named(value) for name, value in (kwargs or {}).items()}
        first = args[0] if args else None
        if function in MADE_OF_DATA and kwargs.get("device") is not None:
            device = kwargs.pop("device")
            return function(*args, **kwargs).to(device)
        if kwargs.get("generator") is not None:
            _check_generator(function, kwargs["generator"], kwargs.get("device"), first)
        if function is torch.Tensor.new_tensor:
            return torch.tensor(*args[1:], dtype=first.dtype, **kwargs).to(first.device)
        if function in READ and isinstance(first, Apart):
            if function is torch.Tensor.numpy and not kwargs.get("force"):
                raise TypeError("a tensor of a device, which NumPy cannot read")
            return function(first.detach().to(HERE), *args[1:], **kwargs)
        if function is torch.Tensor.quantile and isinstance(first, Apart):
            return function(first.to(HERE), *args[1:], **kwargs).to(APART)
        if function in PRODUCTS and first.dim() == 1 < args[1].dim():
            return torch.matmul(first[None], args[1]).squeeze(-2)
        return function(*args, **kwargs)


def _check_generator(function, generator, device, first):
    device = device or (first.device if isinstance(first, torch.Tensor) else HERE)
    if generator.device != torch.device(device):
        raise RuntimeError(f"{function}: a generator of another device")


def _named(value):
    is_cuda = isinstance(value, str | torch.device) and str(value).startswith("cuda")
    return APART if is_cuda else value


@contextmanager
def pretended_cuda():
    """Let torch find a CUDA device; the value is the list of the operations that it computed."""
    COMPUTED.clear()
    found = mock.patch.object(torch.cuda, "is_available", return_value=True)
    generators = mock.patch.object(torch, "Generator", Generator)
    with found, generators, _Names(), _Operations():
        yield COMPUTED
