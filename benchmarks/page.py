"""The web page with 1,000 nodes and 30,000 pods: `python -m benchmarks.page`; needs Chromium.

Measured: the first paint of the page with rows on it, all rows, what the server takes for the rows, and
how long a change takes to be seen. The objects are in memory already, as once the watches have listed them.
"""

import statistics
import sys
import tempfile
import time
from pathlib import Path

from tests.browser.site import EPYC, Browser, Site, allocation_object, node
from tests.unit.cli.builders import container, grant

NODES = 1_000
PODS_PER_NODE = 30


def pods_of(name: str) -> list[dict[str, object]]:
    """Return allocations of three CPUs each, a container with two and a pool of one."""
    found = []
    for turn in range(PODS_PER_NODE):
        first = 1 + turn * 3 if turn < 15 else 49 + (turn - 15) * 3  # noqa: PLR2004
        own, pool = f"{first}-{first + 1}", str(first + 2)
        held = grant(
            f"team-{turn % 12}/{name}-pod-{turn}",
            f"{first}-{first + 2}",
            container("app", "pod_exclusive", own),
            container("sidecar", "pod_shared", pool),
        )
        found.append(allocation_object(held, name))
    return found


def main() -> None:
    """Print what was measured."""
    names = [f"node-{turn:04}" for turn in range(NODES)]
    shown = [node(name, EPYC) for name in names]
    with tempfile.TemporaryDirectory() as folder, Site(Path(folder), shown[:1]) as site:
        began = time.perf_counter()
        for value in shown:
            site.live.keep(value)
        for name in names:
            for value in pods_of(name):
                site.live.keep(value)
        took = time.perf_counter() - began
        sys.stdout.write(f"objects kept: {len(site.live.allocations)} pods in {took:.1f} s\n")
        began = time.perf_counter()
        site.views.rows()
        sys.stdout.write(f"rows made by the server the first time: {time.perf_counter() - began:.2f} s\n")
        browser = Browser()
        browser.size(1280)
        for turn in range(3):
            began = time.perf_counter()
            browser.open(site.url)
            browser.see("30000 pods", seconds=60)
            seen = time.perf_counter() - began
            while len(browser.all(".row")) < NODES:
                pass
            every = time.perf_counter() - began
            sys.stdout.write(f"run {turn + 1}: first rows {seen:.2f} s, all rows {every:.2f} s\n")
        changes = []
        for turn in range(20):
            began = time.perf_counter()
            site.keep(node(f"node-new-{turn:02}", EPYC))
            browser.see(f"{NODES + turn + 1} nodes", seconds=10)
            changes.append(time.perf_counter() - began)
        sys.stdout.write(
            f"a change is seen after {statistics.median(changes):.2f} s, at most {max(changes):.2f} s\n"
        )
        browser.leave()
        browser.close()


if __name__ == "__main__":
    main()
