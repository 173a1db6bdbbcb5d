"""Scenarios that are written down rather than drawn: the specification's examples, real machines, odd ones.

They join the generated ones in the recording (`record.py`). Whatever the kubelet says to them is
recorded; here is only what is asked. Machines are named as in section 11.1 of the specification.
"""

from collections.abc import Iterator
from itertools import product

from tests.conformance.world import (
    MACHINES,
    PODS,
    RESTART,
    Json,
    add,
    amounts,
    both,
    budget,
    cpus_only,
    d16,
    d64,
    even,
    facts,
    g,
    machine,
    numa_nodes,
    place,
    pod,
    pod_file,
    remove,
    s4,
    s8,
    scenario,
    settings,
    shared,
    sidecar,
)

POLICIES = ("none", "best-effort", "restricted", "single-numa-node")
SCOPES = ("container", "pod")

OPTIONS: tuple[tuple[str, ...], ...] = (
    (),
    ("full-pcpus-only",),
    ("strict-cpu-reservation",),
    ("prefer-align-cpus-by-uncorecache",),
    ("distribute-cpus-across-cores",),
    ("distribute-cpus-across-numa",),
    ("full-pcpus-only", "distribute-cpus-across-numa"),
    ("full-pcpus-only", "prefer-align-cpus-by-uncorecache"),
    ("align-by-socket",),
    ("align-by-socket", "distribute-cpus-across-numa"),
)


_LEFT_OUT = {"06", "13", "14", "15", "23"}


def everything() -> Iterator[Json]:
    """Yield every written scenario."""
    yield from pick_examples()
    yield from whole_admissions()
    yield from start_refusals()
    yield from real_machines()
    yield from odd_machines()


def ds12(memory: str | int = "9Gi") -> Json:
    """Two sockets = two NUMA nodes of three cores; even CPUs on node 0, siblings n and n+6."""
    cpus = ((cpu, cpu % 6, cpu % 2, cpu % 2) for cpu in range(12))
    topology = place(cpus, numa_nodes(2, memory))
    for cpu in topology["cpus"]:
        cpu["uncore"] = 0
    return topology


def mn80() -> Json:
    """Forty cores {k, k+40}; NUMA node n has cores 10n to 10n+9; two nodes per socket."""
    return place(
        ((cpu, cpu % 40, cpu % 40 // 20, cpu % 40 // 10) for cpu in range(80)), numa_nodes(4, "64Gi")
    )


def mt80() -> Json:
    """Forty cores {k, k+40}; NUMA node of a CPU is its number modulo 4; socket 0 has nodes 0 and 2."""
    return place(((cpu, cpu % 40, cpu % 2, cpu % 4) for cpu in range(80)), numa_nodes(4, "64Gi"))


def caches(sockets: int, cores: int, threads: int, per_cache: int, numa: int = 1) -> Json:
    """`cores` cores in all with caches of `per_cache` cores."""
    return even(
        sockets,
        numa,
        cores // sockets // numa,
        threads,
        caches=cores // sockets // numa // per_cache,
        memory="64Gi",
    )


PICKING: dict[str, Json] = {
    "SS8": s8(),
    "DS12": ds12(),
    "MN80": mn80(),
    "MT80": mt80(),
    "TS18": place(
        ((cpu, cpu // 2, cpu // 6, (1, 0, 2)[cpu // 6]) for cpu in range(18)), numa_nodes(3, "32Gi")
    ),
    "FK80": place(
        ((cpu, cpu % 40, cpu % 40 // 10, cpu % 40 // 20) for cpu in range(80)), numa_nodes(2, "64Gi")
    ),
    "L256": even(2, 4, 16, memory="64Gi"),
    "U16A": caches(1, 16, 1, 4),
    "U16C": caches(1, 16, 1, 4, numa=2),
    "U16D": caches(1, 8, 2, 4),
    "U128": caches(1, 64, 2, 4),
    "U384": caches(2, 192, 2, 8),
    "U64": caches(2, 64, 1, 8),
}


def pick_examples() -> Iterator[Json]:
    """Take and give back CPUs of every size on the machines of the picking examples, with every option."""
    for (name, topology), options in product(PICKING.items(), OPTIONS):
        total = sum(1 for _ in topology["cpus"]) if "cpus" in topology else _count(topology)
        sizes = sorted({1, 2, 3, 5, 8, total // 8, total // 4, total // 3, total // 2, 2 * total // 3})
        steps: list[Json] = []
        for place_, size in enumerate(size for size in sizes if size):
            uid = f"p{place_}"
            steps.append(add(pod(uid, None, [g(size, "64Mi")])))
            if place_ % 3 == 2:
                steps.append(remove(f"p{place_ - 1}"))
        for policy in ("none", "best-effort"):
            kubelet = cpus_only(policy=policy, scope="container", cpu=options, reserved="0")
            yield scenario(f"pick-{name}-{policy}-{'+'.join(options) or 'plain'}", topology, kubelet, *steps)


def _count(topology: Json) -> int:
    sizes = ("sockets", "numaPerSocket", "coresPerNuma", "threadsPerCore")
    count = 1
    for size in sizes:
        count *= topology[size]
    return count


def whole_admissions() -> Iterator[Json]:
    """Sections 6.8 and 11.8: one pod on an empty DS12, 8Gi to give on each node, every policy and scope."""
    fraction = {"resources": both(amounts("500m", "1Gi"))}
    shapes: dict[str, Json] = {
        "mixed": pod("p", budget(4, "4Gi"), [g(2, "2Gi"), shared(), shared()]),
        "shared": pod("p", budget(4, "4Gi"), [shared(), shared(), shared()]),
        "exact": pod("p", budget(5, "5Gi"), [g(3, "3Gi"), g(1), g(1)]),
        "no-pool": pod("p", budget(5, "5Gi"), [g(3, "3Gi"), g(2, "2Gi"), shared()]),
        "fraction": pod("p", budget(4, "4Gi"), [g(2, "2Gi"), fraction, shared()]),
        "fractional-budget": pod("p", budget("3500m", "4Gi"), [g(2, "2Gi"), shared()]),
        "leftover": pod("p", budget(4, "4Gi"), [g(1)]),
        "sidecars": pod(
            "p", budget(5, "6Gi"), [g(2, "2Gi"), shared()], [g(3), sidecar(g(1)), shared(), sidecar(shared())]
        ),
        "inits": pod("p", budget(4, "4Gi"), [g(2), shared()], [g(2), g(3), sidecar(g(1))]),
        "greedy-sidecar": pod("p", budget(2, "4Gi"), [g(1)], [sidecar(g(2)), shared()]),
        "overlap": pod("p", budget(4, "4Gi"), [g(1), shared()], [sidecar(shared()), g(2)]),
        "two-nodes": pod("p", budget(7, "12Gi"), [g(4), shared()]),
        "cpu-for-two": pod("p", budget(8, "4Gi"), [shared()]),
        "both-for-two": pod("p", budget(8, "12Gi"), [shared()]),
        "memory-for-two": pod("p", budget(2, "12Gi"), [shared()]),
        "no-memory-pool": pod("p", budget(3, "4Gi"), [g(1, "4Gi"), shared()]),
        "plain-pair": pod("p", None, [g(2, "2Gi"), g(2, "2Gi")]),
        "plain-large-pair": pod("p", None, [g(4, "2Gi"), g(4, "2Gi")]),
        "plain-inits": pod("p", None, [g(3, "4Gi"), g(2)], [g(4, "6Gi"), sidecar(g(1)), g(2, "3Gi")]),
        "burstable": pod("p", {"requests": amounts(2, "1Gi"), "limits": amounts(4, "2Gi")}, [g(1)]),
        "odd": pod("p", budget(3, "4Gi"), [g(1), shared()]),
    }
    for (name, wanted), policy, scope in product(shapes.items(), POLICIES, SCOPES):
        for options in ((), ("full-pcpus-only",), ("distribute-cpus-across-cores",)):
            kubelet = settings(policy=policy, scope=scope, reserved="0", cpu=options)
            label = f"admit-{name}-{policy}-{scope}-{'+'.join(options) or 'plain'}"
            again = {**wanted, "metadata": {"name": "q", "uid": "q"}}
            yield scenario(
                label, ds12(), kubelet, add(wanted), {"op": "startPod", "uid": "p"}, add(again), remove("p")
            )


def start_refusals() -> Iterator[Json]:
    """Settings with which a kubelet does not start, and their nearest neighbours with which it does."""
    cases: dict[str, Json] = {
        "none-with-options": settings(cpuManagerPolicy="none", cpu=["full-pcpus-only"]),
        "no-reservation": settings(reservedCPUs=None),
        "too-much-reserved": settings(reservedCPUs=None, reservedCPU="17"),
        "unknown-cpu": settings(reserved="0,96"),
        "unknown-option": settings(cpu=["full-cores-only"]),
        "bad-value": settings(cpuManagerPolicyOptions={"full-pcpus-only": "yes"}),
        "cores-and-full": settings(cpu=["full-pcpus-only", "distribute-cpus-across-cores"]),
        "cores-and-numa": settings(cpu=["distribute-cpus-across-numa", "distribute-cpus-across-cores"]),
        "cores-and-caches": settings(
            cpu=["prefer-align-cpus-by-uncorecache", "distribute-cpus-across-cores"]
        ),
        "caches-and-numa": settings(cpu=["prefer-align-cpus-by-uncorecache", "distribute-cpus-across-numa"]),
        "socket-and-single": settings(cpu=["align-by-socket"]),
        "socket-and-restricted": settings(policy="restricted", cpu=["align-by-socket"]),
        "alpha-off": settings(
            policy="restricted", cpu=["align-by-socket"], featureGates={"CPUManagerPolicyAlphaOptions": False}
        ),
        "beta-off": settings(
            cpu=["distribute-cpus-across-numa"], featureGates={"CPUManagerPolicyBetaOptions": False}
        ),
        "no-memory-reserved": settings(nodes=()),
        "memory-of-no-node": settings(nodes=(0, 2)),
        "sum-differs": settings(nodeReservation={"memory": "3Gi"}),
        "pages-differ": settings(nodeReservation={"hugepages-2Mi": "10Mi"}),
        "too-few-nodes-allowed": settings(topology={"max-allowable-numa-nodes": "7"}),
        "eight-nodes-allowed": settings(topology={"max-allowable-numa-nodes": "8"}),
        "number-is-no-number": settings(topology={"max-allowable-numa-nodes": "true"}),
        "unknown-policy": settings(policy="strict"),
        "unknown-scope": settings(scope="node"),
        "gate-off": settings(featureGates={"PodLevelResourceManagers": False}),
    }
    for name, kubelet in cases.items():
        yield scenario(
            f"start-{name}", d16(pages={"2Mi": "1Gi"}), kubelet, add(pod("p", budget(4), [g(2), shared()]))
        )


def real_machines() -> Iterator[Json]:
    """Every pod file, one after the other, on every real machine, in every policy and scope."""
    # Without those that want huge pages (no machine here has any) or are invalid: they have their own tests.
    names = sorted(path.stem for path in PODS.glob("*.yaml") if path.name[:2] not in _LEFT_OUT)
    for path, policy, scope in product(sorted(MACHINES.glob("*.json")), POLICIES, SCOPES):
        known = facts(path.stem)
        topology = machine(
            path.stem, memory="384Gi" if known["numaNodes"][0]["memoryBytes"] is None else None
        )
        with_memory = [row["id"] for row in topology["numaNodes"] if row["memoryBytes"]]
        for place_, options in enumerate(OPTIONS[:5]):
            if policy == "single-numa-node" and "align-by-socket" in options:
                continue
            steps: list[Json] = []
            for name in names[place_::5] + names[:2]:
                uid = f"{name}-{len(steps)}"
                steps.append(add(pod_file(name[:2], uid=uid)))
                if len(steps) % 4 == 3:
                    steps.append(remove(uid))
            reserved = ",".join(str(cpu["id"]) for cpu in topology["cpus"][:2])
            kubelet = settings(
                policy=policy, scope=scope, cpu=options, reserved=reserved, nodes=with_memory[:1]
            )
            yield scenario(f"real-{path.stem}-{policy}-{scope}-{place_}", topology, kubelet, *steps)


def odd_machines() -> Iterator[Json]:
    """Machines beside the usual: one CPU per node, nodes without memory, sparse ids, huge page sizes."""
    sparse = place(
        (
            (64 * node + 8 * core + thread, core, node // 2, node)
            for node in range(4)
            for core in range(4)
            for thread in (0, 1)
        ),
        numa_nodes(4, "16Gi"),
    )
    blank = even(2, 2, 4, memory="16Gi")
    blank["numaNodes"][1]["memoryBytes"] = 0
    eight = even(8, 1, 1, 1, memory="4Gi")
    gaps = place(
        ((8 * at + core, core, at, node) for at, node in enumerate((0, 2, 5)) for core in range(8)),
        [
            {"id": node, "memoryBytes": "16Gi", "distances": row}
            for node, row in {0: [10, 40, 40], 2: [40, 10, 20], 5: [40, 20, 10]}.items()
        ],
    )
    pages = d16(pages={"2Mi": "2Gi", "1Gi": "4Gi"})
    machines = {
        "sparse": sparse,
        "blank": blank,
        "eight": eight,
        "gaps": gaps,
        "pages": pages,
        "s4": s4(),
        "d64": d64(),
    }
    wanted = [
        pod("a", budget(2, "2Gi", huge_2Mi="512Mi", huge_1Gi="1Gi"), [g(1, "1Gi", huge_1Gi="1Gi"), shared()]),
        pod("b", budget(3, "6Gi"), [g(1), g(1), shared()]),
        pod("c", None, [g(2, "3Gi"), g(1)], [g(3, "5Gi"), sidecar(g(1))]),
        pod("d", budget(6, "20Gi"), [g(3, "10Gi"), shared()], [shared()]),
        pod("e", None, [{"resources": both(amounts("300m", "3Gi", huge_2Mi="1Gi"))}]),
    ]
    for (name, topology), policy, scope in product(machines.items(), POLICIES, SCOPES):
        kubelet = settings(policy=policy, scope=scope, reserved="0", nodes=[0])
        for order in range(3):
            pods = wanted[order:] + wanted[:order]
            steps = [
                *map(add, pods),
                remove(pods[0]["metadata"]["uid"]),
                RESTART,
                add(pod("z", budget(2, "1Gi"), [shared()])),
            ]
            yield scenario(f"odd-{name}-{policy}-{scope}-{order}", topology, kubelet, *steps)
