"""Chromium, once for all tests, and the page with two nodes and three pods on it.

Needs the packages chromium and chromium-driver of Debian and the extra `browser`: `make test-browser`.
"""

import pytest

from tests.browser.site import Browser, Site, objects


@pytest.fixture(scope="session")
def chromium():
    running = Browser()
    yield running
    running.close()


@pytest.fixture
def site(tmp_path):
    with Site(tmp_path, objects()) as running:
        yield running


@pytest.fixture
def browser(chromium, site):  # noqa: ARG001 - the site is served until the browser has been asked
    chromium.complaints()
    chromium.size(1280)
    yield chromium
    # A script that fails, a file that is missing, or one that the policy blocks is an error on every page.
    assert chromium.complaints() == []
    chromium.leave()
