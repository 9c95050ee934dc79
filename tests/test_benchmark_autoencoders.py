"""The benchmark of auto-encoders: its peers, its cases and what is printed."""

import numpy as np
import pytest

from tests.benchmarks import autoencoder_tables as tables
from tests.benchmarks import autoencoders
from tests.benchmarks.autoencoder_peers import peer

QUICK = {"quick": True, "seed": 10}


@pytest.mark.parametrize("name", ["PCA", "KernelPCA", "MLPRegressor"])
def test_peers_reconstruct_better_than_the_mean(name):
    (X, _), (X_test, _) = tables.digits(10)
    model = peer(name, 8, 0).fit(X[:300])
    assert model.transform(X_test).shape == (len(X_test), 8)
    r = model.inverse_transform(model.transform(X_test))
    assert tables.residual(X_test, r) < tables.residual(X_test, X.mean(axis=0))


def test_unrolled_coordinates_are_arc_length_and_height():
    (X, sheet), _ = tables.swiss_roll(0)
    # Between rows near each other on the sheet, straight lines are as long as on it.
    apart, along = (np.linalg.norm(Z[:, None] - Z[None], axis=2) for Z in (X, sheet))
    near = (along > 0.0) & (along < 0.3)
    np.testing.assert_allclose(apart[near], along[near], rtol=1e-3)


def test_a_case_of_every_section_is_there():
    class Options:
        seeds, quick, sections, models = None, False, None, None

    found = list(autoencoders.cases(Options))
    assert {case["section"] for case in found} == set(autoencoders.SECTIONS)
    assert len({tuple(sorted(case.items())) for case in found}) == len(found)


@pytest.mark.parametrize(
    "case",
    [
        {"section": "bottleneck", "set": "digits", "n_components": 2, "model": "skrae"},
        {"section": "sparse", "model": "L1, weight 0.1"},
        {"section": "retrieval", "model": "pixels"},
        {"section": "distances", "set": "digits", "n_components": 2, "model": "PCA"},
    ],
    ids=lambda case: case["section"],
)
def test_measured_figures_have_a_line(case):
    found = autoencoders.measure({**case, **QUICK})
    assert all(np.isfinite(value) for value in found.values())
    text = autoencoders.report([{**case, **QUICK, **found}])
    assert f"### {case['section']}" in text
    assert f"| {case['model']} |" in text
    assert set(found) >= set(autoencoders.COLUMNS[case["section"]])
