"""promtool of Debian's package prometheus: `make test-dashboard`."""

import shutil

import pytest


def pytest_collection_finish() -> None:
    """Say what is missing before the first test fails for it."""
    if shutil.which("promtool") is None:
        pytest.exit("promtool is not installed: apt-get install --no-install-recommends prometheus", 2)
