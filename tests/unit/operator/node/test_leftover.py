"""NodeTopologies of nodes that are gone: removed only where they are what an agent made, and nothing else."""

from podnuma.api.hardware import Hardware, render_hardware
from podnuma.api.node_topology import registration
from podnuma.operator.cache.kinds import Kind
from podnuma.operator.node.leftover import AWAY

from tests.unit.operator.rig import Rig, machine, namespace, node, profile
from tests.unit.operator.virtual import virtual


async def registered(*nodes, **fields):
    """A node whose agent has registered it and reported, before any operator has run."""
    rig = Rig()
    rig.cluster.put(Kind.NAMESPACE, namespace())
    for name in nodes:
        rig.cluster.put(Kind.NODE, node(name))
    status = {"hardware": render_hardware(Hardware(machine()))}
    rig.cluster.put(Kind.TOPOLOGY, {**registration("n1"), "status": status, **fields})
    await rig.start()
    await rig.quiet()
    return rig


@virtual
async def test_what_an_agent_made_for_a_node_that_is_gone_goes_too():
    rig = await registered("n2")
    assert rig.topology() is not None, "a node that is made anew keeps it"
    await rig.quiet(AWAY)
    assert rig.topology() is None
    requests = len(rig.cluster.requests)
    rig.controller.resync()
    await rig.quiet(2 * AWAY)
    assert not [one for one in rig.cluster.requests[requests:] if "NodeTopology n1" in one]
    assert rig.controller.node_state("n1") is None


@virtual
async def test_a_node_that_comes_back_meanwhile_owns_it():
    rig = await registered()
    await rig.quiet(AWAY / 2)
    back = rig.cluster.put(Kind.NODE, node("n1"))
    await rig.quiet(2 * AWAY)
    (owner,) = rig.topology()["metadata"]["ownerReferences"]
    assert owner["uid"] == back["metadata"]["uid"]


@virtual
async def test_a_node_that_only_the_watch_has_not_told_of_keeps_it():
    rig = await registered()
    rig.cluster.deaf = True
    rig.cluster.put(Kind.NODE, node("n1"))
    await rig.quiet(2 * AWAY)
    assert rig.topology() is not None


@virtual
async def test_settings_that_somebody_wrote_for_a_node_to_come_stay():
    spec = {key: value for key, value in profile()["spec"].items() if key != "nodeSelector"}
    rig = await registered(spec=spec)
    await rig.quiet(10 * AWAY)
    assert rig.topology() is not None


@virtual
async def test_one_that_has_an_owner_is_the_garbage_collectors():
    owner = {"apiVersion": "v1", "kind": "Node", "name": "n1", "uid": "gone"}
    rig = await registered(metadata={"name": "n1", "ownerReferences": [owner]})
    await rig.quiet(10 * AWAY)
    assert rig.topology() is not None
