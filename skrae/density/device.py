"""The device that tensors live on."""

import torch


def available_device(device):
    """The torch device of "auto", "cpu" or "cuda"; ValueError where CUDA is asked for in vain."""
    if device == "auto":
        return "cuda" if torch.cuda.is_available() else "cpu"
    if device == "cuda" and not torch.cuda.is_available():
        raise ValueError("device is 'cuda', but torch finds no CUDA device; expected 'cpu'.")
    return device
