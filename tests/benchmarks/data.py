"""Where the benchmark data lie, and the splitting protocol that lies beside them."""

import importlib.util
import os
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parents[2]


def data_folder():
    """Folder of the data sets: ``$SKRAE_DATA``, else ``shared/data`` beside the repository.

    Raises
    ------
    FileNotFoundError
        If the folder holds no ``splits.py``.
    """
    named = os.environ.get("SKRAE_DATA")
    folder = Path(named) if named else REPOSITORY.parent / "shared" / "data"
    if not (folder / "splits.py").is_file():
        origin = "SKRAE_DATA" if named else "the default, as SKRAE_DATA is not set"
        raise FileNotFoundError(
            f"The benchmarks need a folder with splits.py and the data sets it reads; "
            f"{str(folder)!r} ({origin}) holds no splits.py. Set SKRAE_DATA to that folder."
        )
    return folder


def load_splits():
    """Module ``splits`` of the data folder: ``density_split(name, seed)`` and its relatives."""
    path = data_folder() / "splits.py"
    spec = importlib.util.spec_from_file_location("skrae_benchmark_splits", path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def density_split(name, seed):
    """Train, validation and test rows of a real data set, standardised by the training part.

    Raises
    ------
    ValueError
        If the protocol knows no such set.
    """
    splits = load_splits()
    if name not in splits.DENSITY:
        raise ValueError(f"set {name!r} is unknown; expected one of {splits.DENSITY}.")
    return splits.density_split(name, seed)
