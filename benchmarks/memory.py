"""Resident memory of ten thousand nodes of 128 CPUs with thirty pods each: `python -m benchmarks.memory`.

All nodes follow the same rules on the same machine, as in a cluster of equal servers; every node
holds grants of its own.
"""

import resource
import sys
import time
from dataclasses import replace

from podnuma.allocator import Admitted, Node
from podnuma.api.pod import read_pod
from podnuma.api.pod_defaults import with_api_defaults
from podnuma.cli.scenario import read_scenario, read_settings

from benchmarks import shapes

NODES, PODS = 10_000, 30


def main() -> int:
    """Fill the nodes and print the peak."""
    read = read_scenario(shapes.scenarios()[0])
    first = Node.empty(read_settings(read.kubelet), read.topology)
    # Thirty pods on 126 free CPUs: every third pod has nothing of its own and half the rest are small.
    small = [
        {
            "metadata": {"name": "small", "namespace": "default", "uid": "small"},
            "spec": {
                "resources": {"requests": amounts, "limits": amounts},
                "containers": [
                    {"name": "app", "resources": {"requests": half, "limits": half}},
                    {"name": "proxy"},
                    {"name": "logs"},
                ],
            },
        }
        for amounts, half in [({"cpu": "4", "memory": "4Gi"}, {"cpu": "2", "memory": "2Gi"})]
    ]
    shape = read_pod(with_api_defaults(small[0]))
    empty = _resident()
    start = time.process_time()
    nodes = [Node(first.rules) for _ in range(NODES)]
    for place, node in enumerate(nodes):
        for serial in range(PODS):
            uid = f"{place:06}-{serial:02}-4000-8000-000000000000"
            decision = node.decide(replace(shape, uid=uid, name=f"app-{serial}"))
            if isinstance(decision, Admitted):
                node.hold(decision)
    took = time.process_time() - start
    held = sum(len(node.grants) for node in nodes)
    sys.stdout.write(
        f"{NODES} nodes of 128 CPUs, {held} pods held: {_resident() - empty} MiB "
        f"(process {_resident()} MiB), decided and held in {took:.0f} s\n"
    )
    return 0


def _resident() -> int:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024


if __name__ == "__main__":
    sys.exit(main())
