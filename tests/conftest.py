"""Fixtures that put process-wide settings back."""

import os

import pytest

# Several processes test at a time: threads that wait must not spin on the cores that the others need.
os.environ.setdefault("OMP_WAIT_POLICY", "passive")

import numconv as nc
from numconv import algorithm
from numconv.kernels.cpu import jit


@pytest.fixture
def threads():
    """`nc.set_num_threads`, with the number put back afterwards."""
    before = nc.get_num_threads()
    yield nc.set_num_threads
    nc.set_num_threads(before)


@pytest.fixture
def workspace_limit():
    """A function that sets the limit of workspace, with the limit put back afterwards."""
    before = nc.options.workspace_limit
    yield lambda limit: setattr(nc.options, "workspace_limit", limit)
    nc.options.workspace_limit = before


@pytest.fixture
def registry(monkeypatch):
    """An empty list of registered algorithms; what a test registers goes with it."""
    monkeypatch.setattr(algorithm, "_registered", {})
    nc.options.version += 1
    yield
    nc.options.version += 1


@pytest.fixture
def always_parallel(monkeypatch):
    """However small the work, it is shared between the threads."""
    monkeypatch.setattr(jit, "workers", lambda seconds: nc.get_num_threads())
    nc.options.version += 1
    yield
    nc.options.version += 1
