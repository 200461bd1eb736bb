"""The ladder of proof: kernels simulated (marker `cudasim`), compiled (`ptx`), and on a GPU (`gpu`)."""

import os

import pytest

SIMULATED = os.environ.get("NUMBA_ENABLE_CUDASIM") == "1"


def pytest_collection_modifyitems(items):
    for item in items:
        if item.get_closest_marker("cudasim") and not SIMULATED:
            item.add_marker(pytest.mark.skip(reason="NUMBA_ENABLE_CUDASIM=1 and the extra 'cuda' run it"))
        if item.get_closest_marker("ptx") and SIMULATED:
            item.add_marker(pytest.mark.skip(reason="NUMBA_ENABLE_CUDASIM unset and the extra 'cuda' run it"))
