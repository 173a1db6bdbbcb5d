"""Huge pages that are in use without a grant, as the agent reports them, and the pods that want some."""

from dataclasses import replace

from podnuma.allocator.memory.others import PagesInUse
from podnuma.api.node_topology import AgentReport, render_agent_status
from podnuma.operator.cache.kinds import Kind
from podnuma.operator.cache.objects import ObjectKey

from tests.unit.operator.rig import GIB, Rig, machine, mirror, namespace, node, pod, profile
from tests.unit.operator.virtual import virtual

PAGES = "hugepages-1Gi"


def with_pages(gib=8):
    found = machine()
    return replace(found, nodes=tuple(replace(node, hugepages={PAGES: gib * GIB}) for node in found.nodes))


def wants(name, pages, cpus=4, **metadata):
    """A pod whose budget has huge pages."""
    found = pod(name, cpus, **metadata)
    amounts = found["spec"]["resources"]["requests"]
    budget = {**amounts, PAGES: f"{pages}Gi"}
    found["spec"]["resources"] = {"requests": budget, "limits": budget}
    main = {**found["spec"]["containers"][0]["resources"]["requests"], PAGES: f"{pages}Gi"}
    found["spec"]["containers"][0]["resources"] = {"requests": main, "limits": main}
    return found


async def furnished():
    rig = Rig()
    await rig.furnished(hardware=with_pages(), onRejection="Share")
    return rig


async def report(rig, *pages):
    """Do what the agent does in each pass."""
    known = rig.cluster.get(Kind.TOPOLOGY, ObjectKey("", "n1"))
    told = [PagesInUse(node, PAGES, gib * GIB, uid) for node, gib, uid in pages]
    listed = render_agent_status(None, AgentReport(), [], told).get("hugepagesInUse", [])
    rig.cluster.put(Kind.TOPOLOGY, {**known, "status": {**known["status"], "hugepagesInUse": listed}})
    await rig.quiet()


def pages_of(rig, name):
    """The NUMA nodes on which a pod holds huge pages, None without a grant."""
    blocks = rig.allocation(name)["spec"].get("memory", [])
    return next((block["nodes"] for block in blocks if block["resource"] == PAGES), None)


def free(rig):
    return [one["freeMemory"][PAGES] for one in rig.topology()["status"]["allocation"]["numaNodes"]]


@virtual
async def test_a_pod_is_placed_where_others_left_huge_pages():
    rig = await furnished()
    await report(rig, (0, 6, ""))
    assert free(rig) == ["2Gi", "8Gi"]
    await rig.create(wants("db", 4))
    assert pages_of(rig, "db") == "1"
    assert free(rig) == ["2Gi", "4Gi"]


@virtual
async def test_a_pod_whose_pages_are_gone_is_refused_with_who_has_them_and_admitted_when_they_are_back():
    rig = await furnished()
    await report(rig, (0, 6, ""), (1, 3, ""), (1, 3, "stranger"))
    await rig.create(wants("db", 4))
    said = rig.allocation("db")["spec"]["decision"]
    assert (said["admitted"], said["reason"]) == (False, "TopologyAffinityError")
    assert "the largest has 2Gi free, 6Gi hugepages-1Gi are in use without a grant" in said["explanation"]
    await report(rig)
    assert rig.allocation("db")["spec"]["decision"]["admitted"]
    assert pages_of(rig, "db") == "0"


async def before_the_agent_reports(*pods):
    """A node on which pods run that nobody has decided, as on the day of the installation."""
    rig = Rig()
    uids = [rig.cluster.put(Kind.POD, one)["metadata"]["uid"] for one in pods]
    rig.cluster.put(Kind.NAMESPACE, namespace())
    rig.cluster.put(Kind.PROFILE, profile(onRejection="Share"))
    rig.cluster.put(Kind.NODE, node())
    await rig.start()
    await rig.quiet()
    return rig, uids


@virtual
async def test_what_running_pods_use_is_not_in_their_own_way_when_they_are_decided():
    rig, (db, web) = await before_the_agent_reports(wants("db", 6), wants("web", 6))
    await report(rig, (1, 6, db), (0, 6, web))
    rig.report_hardware("n1", with_pages())
    await rig.quiet()
    assert (pages_of(rig, "db"), pages_of(rig, "web")) == ("1", "0")
    # The agent has not seen these decisions yet: what it told of the two is in their grants by now.
    assert free(rig) == ["2Gi", "2Gi"]
    await rig.create(wants("small", 2, 2))
    assert rig.allocation("small")["spec"]["decision"]["admitted"]


@virtual
async def test_a_static_pod_is_known_by_its_uid_on_the_node():
    rig, _ = await before_the_agent_reports(wants("db", 6, **mirror("hash")))
    await report(rig, (0, 6, "hash"), (1, 8, ""))
    rig.report_hardware("n1", with_pages())
    await rig.quiet()
    assert pages_of(rig, "db") == "0"


@virtual
async def test_pages_that_others_took_from_a_pod_outdate_nobody_and_are_told():
    rig = await furnished()
    await rig.create(wants("db", 6))
    await report(rig, (0, 4, ""))
    numa = rig.topology()["status"]["allocation"]["numaNodes"][0]
    assert (numa["freeMemory"][PAGES], numa["overcommittedMemory"]) == ("0", {PAGES: "2Gi"})
    assert rig.condition(Kind.TOPOLOGY, "n1", "PodsUpToDate")["status"] == "True"
    assert pages_of(rig, "db") == "0"
    await rig.crash()
    await rig.start()
    await rig.quiet()
    assert pages_of(rig, "db") == "0"
    assert rig.condition(Kind.TOPOLOGY, "n1", "PodsUpToDate")["status"] == "True"
