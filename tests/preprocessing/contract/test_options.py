"""Checks of options, and the device."""

import numpy as np
import pytest
import torch

from skrae.preprocessing.contract.options import (
    available_device,
    check_choice,
    check_flag,
    layer_sizes,
)


@pytest.mark.parametrize(("present", "found"), [(False, "cpu"), (True, "cuda")])
def test_device_is_the_one_asked_for_or_the_best(present, found, monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: present)
    assert available_device("auto") == found
    assert available_device("cpu") == "cpu"


def test_absent_device_is_refused(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with pytest.raises(ValueError, match="Got device='cuda', expected 'cpu' or 'auto': torch"):
        available_device("cuda")


@pytest.mark.parametrize("option", ["Auto", "", 0, np.arange(2)])
def test_a_choice_is_one_of_those_there_are(option):
    check_choice("scaling", None, ("whiten", None))
    with pytest.raises(ValueError, match=r"Got scaling=.*, expected one of \['whiten', None\]"):
        check_choice("scaling", option, ("whiten", None))


def test_a_flag_is_a_bool_or_a_whole_number():
    for flag in (True, np.False_, 0, 2):
        check_flag("verbose", flag)
    for flag, error in (("yes", TypeError), (None, TypeError), (0.5, TypeError), (-1, ValueError)):
        with pytest.raises(error, match=r"Got verbose=.*, expected True, False or an integer >= 0"):
            check_flag("verbose", flag)


@pytest.mark.parametrize("sizes", ["8", None, 2.5, 0, (8, -1), [8, 2.0], {"a": 1}])
def test_what_are_no_sizes_of_layers_is_seen(sizes):
    assert layer_sizes(sizes) is None
    assert layer_sizes(np.array([8, 4])) == (8, 4)
