"""Activations: functions of the pre-activation u, their derivatives and integrals."""

import math
from collections.abc import Callable
from typing import NamedTuple

import torch
import torch.nn.functional as F


class Activation(NamedTuple):
    """An activation as functions of its pre-activation u, each of the shape of u.

    value: u -> h(u). value_and_slope: u -> h, h'. curvature: u, h, h' -> h''.
    integral: u -> H(u) with H' = h, None where H is not elementary.
    """

    value: Callable
    value_and_slope: Callable
    curvature: Callable
    integral: Callable | None = None


def _softplus(u):
    # torch's threshold of 20 would leave out exp(-20), which float64 sees.
    return F.softplus(u, threshold=40.0)


def _sigmoid(u):
    h = torch.sigmoid(u)
    return h, torch.addcmul(h, h, h, value=-1.0)


def _tanh(u):
    h = torch.tanh(u)
    return h, 1.0 - h * h


def _relu(u):
    return torch.relu(u), (u > 0).to(u.dtype)


def _silu(u):
    s = torch.sigmoid(u)
    h = u * s
    return h, torch.addcmul(s, h, 1.0 - s)


def _silu_curvature(u, h, slope):
    s = torch.sigmoid(u)
    return (s + slope).addcmul_(h, s, value=-1.0).mul_(1.0 - s)


def _log_cosh(u):
    return _softplus(2.0 * u) - u - math.log(2.0)


ACTIVATIONS = {
    "identity": Activation(
        lambda u: u,
        lambda u: (u, torch.ones_like(u)),
        lambda u, h, slope: torch.zeros_like(u),
        lambda u: 0.5 * u.square(),
    ),
    "sigmoid": Activation(
        torch.sigmoid, _sigmoid, lambda u, h, slope: slope.addcmul(h, slope, value=-2.0), _softplus
    ),
    "tanh": Activation(torch.tanh, _tanh, lambda u, h, slope: (h * slope).mul_(-2.0), _log_cosh),
    "relu": Activation(
        torch.relu,
        _relu,
        lambda u, h, slope: torch.zeros_like(u),
        lambda u: 0.5 * torch.relu(u).square(),
    ),
    "silu": Activation(F.silu, _silu, _silu_curvature),
    "softplus": Activation(
        _softplus,
        lambda u: (_softplus(u), torch.sigmoid(u)),
        lambda u, h, slope: slope.addcmul(slope, slope, value=-1.0),
    ),
}
