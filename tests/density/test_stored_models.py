"""What was stored by an earlier skrae is loaded, and answers as it did then."""

import numpy as np
import pytest

from tests.density.stored_models import FOLDER, READERS, answers

STORED = sorted(path for path in FOLDER.iterdir() if path.suffix != ".npz")
# Another processor adds in another order: kernels have large weights of either sign.
TOLERANCES = {"kernel": 1e-10}


def test_every_way_of_storing_has_a_file():
    numbers = {path.stem for path in STORED}
    assert numbers
    expected = {f"{number}.{form}" for number in numbers for form in READERS}
    assert {path.name for path in STORED} == expected
    assert all(path.stat().st_size < 100_000 for path in STORED)


# It may be a later version of either package that reads it.
@pytest.mark.filterwarnings("ignore::sklearn.exceptions.InconsistentVersionWarning")
@pytest.mark.parametrize("path", STORED, ids=lambda path: path.name)
def test_a_stored_model_answers_as_it_did(path):
    if path.suffix == ".skops":
        pytest.importorskip("skops.io")
    models = READERS[path.suffix[1:]](path)
    with np.load(path.with_suffix(".npz")) as file:
        expected = dict(file)
    kinds = [name.removesuffix(" rows") for name in expected if name.endswith(" rows")]
    rows = {kind: expected.pop(f"{kind} rows") for kind in kinds}
    found = answers(models, rows)
    assert set(found) == set(expected)
    for question, values in found.items():
        tolerance = TOLERANCES.get(question.split()[0], 1e-11)
        scale = 1.0 + np.abs(expected[question]).max()
        np.testing.assert_allclose(
            values, expected[question], rtol=0.0, atol=tolerance * scale, err_msg=question
        )
