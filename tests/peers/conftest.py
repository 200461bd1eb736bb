"""Collect this folder only where its marker is asked for: torch and onnx take ten seconds to import."""


def pytest_ignore_collect(config):
    return True if "not peers" in config.getoption("markexpr") else None
