"""Shared fixtures, and the settings every test runs under."""

import os
from pathlib import Path

import pytest
from hypothesis import settings

# Read when matplotlib is first imported: a test must not open a window.
os.environ["MPLBACKEND"] = "Agg"
# Read when numpy and torch are first imported: threads gain nothing on networks of test size, and
# lose much where other processes hold the cores.
os.environ.setdefault("OMP_NUM_THREADS", "1")

# deadline=None: the first call of a torch operation is slower than any deadline that fits the rest.
# derandomize: a red build must be reproducible, and a green one must not turn red by itself.
settings.register_profile("skrae", deadline=None, derandomize="CI" in os.environ)
settings.load_profile("skrae")


def pytest_collection_modifyitems(items):
    """Mark every test that uses `data_folder`, so that `-m "not data"` deselects them all."""
    for item in items:
        if "data_folder" in getattr(item, "fixturenames", ()):
            item.add_marker(pytest.mark.data)


@pytest.fixture(scope="session")
def random_seed():
    """The seed of a random test: 0, or SKRAE_TEST_SEED to sweep many."""
    return int(os.environ.get("SKRAE_TEST_SEED", "0"))


@pytest.fixture(scope="session")
def data_folder(pytestconfig):
    """The folder of real data sets: SKRAE_DATA, or shared/data beside the repository."""
    default = pytestconfig.rootpath.parent / "shared" / "data"
    folder = Path(os.environ.get("SKRAE_DATA", default))
    if not folder.is_dir():
        pytest.skip(f"no folder of data sets at {folder}; name one in SKRAE_DATA")
    return folder
