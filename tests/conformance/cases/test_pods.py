"""Every pod of tests/pods gets what its head comment says."""

import pytest

from tests.conformance.said import granted, node, said
from tests.conformance.world import (
    GI,
    PODS,
    add,
    d16,
    machine,
    pod_file,
    remove,
    s4,
    scenario,
    settings,
)


def one_pod(wanted, topology=None, **chosen):
    return said(scenario("case", topology or d16(), settings(**chosen), add(wanted))).last


def cpus(step, *names):
    return [step.cpus(name) for name in names]


def grant_of(wanted, **chosen):
    return granted(node(scenario("case", d16(), settings(**chosen))), wanted).grant


def test_every_pod_file_has_a_test():
    numbers = {path.name[:2] for path in PODS.glob("*.yaml")}
    tested = {name.removeprefix("test_")[:2] for name in globals() if name[5:7].isdigit()}
    assert numbers == tested


def test_01_an_exclusive_database_with_shared_sidecars():
    wanted = pod_file("01")
    step = one_pod(wanted)
    assert (step.bubble, step.default) == ("1-3,9-11", "0,4-8,12-15")
    assert cpus(step, "postgres", "restore-from-backup", "wal-shipper", "metrics") == [
        "1-2,9-10",
        "1-3,9-11",
        "3,11",
        "3,11",
    ]
    assert {one.name: one.cpu_quota for one in grant_of(wanted).containers} == {
        "restore-from-backup": 600_000,
        "wal-shipper": 600_000,
        "postgres": -1,
        "metrics": 600_000,
    }
    assert step.mems("postgres") == [0]


def test_02_a_budget_that_all_containers_share():
    wanted = pod_file("02")
    step = one_pod(wanted)
    assert cpus(step, "cache", "exporter", "log-tail") == ["1-2,9-10"] * 3
    assert step.mems("cache") == [0]
    assert [one.cpu_quota for one in grant_of(wanted).containers] == [400_000] * 3
    apart = one_pod(wanted, scope="container")
    assert cpus(apart, "cache", "exporter", "log-tail") == ["0-15"] * 3
    assert grant_of_nothing(wanted).pod_quota == 400_000


def grant_of_nothing(wanted):
    return grant_of(wanted, scope="container")


def test_03_a_mesh_proxy_is_never_exclusive():
    wanted = pod_file("03")
    step = one_pod(wanted)
    assert step.bubble == "1-2,9"
    assert cpus(step, "orders", "mesh-proxy", "mesh-setup") == ["1,9", "2", "1-2,9"]
    assert grant_of(wanted).container("mesh-proxy").cpu_quota == 200_000


def test_04_an_inference_engine_keeps_to_whole_caches():
    step = one_pod(
        pod_file("04"),
        machine("epyc9654", memory="384Gi"),
        cpu=["prefer-align-cpus-by-uncorecache"],
        reserved="0,192",
    )
    assert step.bubble == "8-31,200-223"
    assert cpus(step, "engine", "router", "gpu-metrics") == ["8-23,200-215", "24-31,216-223", "24-31,216-223"]


@pytest.mark.parametrize("policy", ["restricted", "best-effort"])
def test_05_a_trainer_larger_than_a_node_takes_two(policy):
    kunpeng = machine("arm64-kunpeng")
    step = one_pod(pod_file("05"), kunpeng, policy=policy, reserved="0-1", nodes=range(4))
    assert step.bubble == "2-9,32-63"
    assert cpus(step, "trainer", "feed-images", "feed-labels", "board") == ["32-63", *["2-9"] * 3]
    assert step.mems("trainer") == [0, 1]


def test_05_a_trainer_larger_than_a_node_is_refused_by_single_numa_node():
    step = one_pod(pod_file("05"), machine("arm64-kunpeng"), reserved="0-1", nodes=range(4))
    assert (step.admitted, step.reason) == (False, "TopologyAffinityError")


def test_06_all_huge_pages_may_belong_to_the_exclusive_container():
    pages = {0: {"1Gi": "8Gi"}, 1: {"1Gi": "8Gi"}}
    step = one_pod(
        pod_file("06"),
        machine("xeon-2s-snc2-irregular", pages=pages),
        cpu=["full-pcpus-only"],
        reserved="0,40",
    )
    assert step.bubble == "1-2,5-6,10-11,41-42,45-46,50-51"
    assert cpus(step, "fastpath", "mgmt") == ["1-2,5-6,41-42,45-46", "10-11,50-51"]
    assert step.bubble_memory == {"memory": (12 * GI, (0,)), "hugepages-1Gi": (4 * GI, (0,))}
    assert step.memory("mgmt") == {"memory": (4 * GI, (0,))}


def test_07_cpu_and_memory_are_judged_apart():
    wanted = pod_file("07")
    step = one_pod(wanted)
    assert step.bubble == "1-2,9-10"
    assert cpus(step, "phy", "sched", "oam") == ["1,9", "2,10", "2,10"]
    assert [step.memory(name)["memory"][0] for name in ("phy", "sched", "oam")] == [4 * GI, 3 * GI, GI]
    assert grant_of(wanted).container("sched").cpu_quota == 150_000


def test_08_two_exclusive_containers_and_a_pool():
    step = one_pod(pod_file("08"))
    assert step.bubble == "4-7,12-15"
    assert cpus(step, "matcher", "feed", "risk-log", "probe") == ["4-5,12-13", "6,14", "7,15", "7,15"]
    assert step.mems("probe") == [1]


@pytest.mark.parametrize("policy", ["single-numa-node", "restricted", "best-effort"])
def test_09_nothing_left_for_the_logger(policy):
    assert not one_pod(pod_file("09"), policy=policy).admitted
    assert one_pod(pod_file("09"), policy=policy, scope="container").cpus("logger") == "0,4-8,12-15"


@pytest.mark.parametrize("number", ["10", "11", "12"])
def test_10_11_12_a_burstable_budget_gives_nothing(number):
    step = one_pod(pod_file(number))
    assert (step.admitted, step.qos, step.bubble, step.default) == (True, "Burstable", None, "0-15")
    assert step.held == set()


def test_11_without_the_request_the_limits_make_the_budget():
    wanted = pod_file("11")
    del wanted["spec"]["containers"][0]["resources"]
    assert (one_pod(wanted).qos, one_pod(wanted).bubble) == ("Guaranteed", "1-2,9-10")


def test_12_an_equal_container_gets_nothing_in_a_burstable_pod():
    assert one_pod(pod_file("12")).cpus("cassandra") == "0-15"


@pytest.mark.parametrize("number", ["13", "14", "15"])
def test_13_14_15_what_the_api_server_refuses_is_refused(number):
    step = one_pod(pod_file(number))
    assert (step.admitted, step.reason, step.default) == (False, "InvalidPod", "0-15")


def test_14_two_containers_may_exceed_the_limit_together():
    wanted = pod_file("14")
    (one,) = wanted["spec"]["containers"]
    three = {"requests": {"cpu": "1", "memory": "1Gi"}, "limits": {"cpu": "3", "memory": "4Gi"}}
    wanted["spec"]["containers"] = [{**one, "name": name, "resources": three} for name in ("a", "b")]
    assert one_pod(wanted).bubble == "1-2,9-10"


def test_15_nothing_is_held_after_a_refusal():
    assert one_pod(pod_file("15")).held == set()


def test_16_a_fraction_of_cpus_still_places_memory():
    wanted = pod_file("16")
    step = one_pod(wanted)
    assert (step.bubble, step.default) == (None, "0-15")
    assert cpus(step, "worker", "queue") == ["0-15", "0-15"]
    assert step.bubble_memory == {"memory": (4 * GI, (0,))}
    assert grant_of(wanted).pod_quota == 350_000


def test_17_overhead_buys_no_cpus():
    wanted = pod_file("17")
    assert one_pod(wanted).bubble == "1-2,9-10"
    assert grant_of(wanted).pod_quota == 425_000


def test_22_ended_jobs_hold_nothing():
    steps = [
        add(pod_file("22", uid="a")),
        add(pod_file("22", uid="b")),
        remove("a"),
        add(pod_file("22", uid="c")),
    ]
    answer = said(scenario("jobs", s4(), settings(reserved="0", nodes=[0]), *steps))
    assert [step.held for step in answer] == [{"a"}, {"a", "b"}, {"b"}, {"b", "c"}]


@pytest.mark.parametrize(("pages", "cpus"), [({0: "4Gi", 1: 0}, "1,9"), ({0: 0, 1: "4Gi"}, "4,12")])
def test_23_pages_of_an_init_container_choose_the_node(pages, cpus):
    topology = d16()
    for row in topology["numaNodes"]:
        row["hugepages"] = {"1Gi": pages[row["id"]]}
    step = one_pod(pod_file("23"), topology)
    assert step.cpus("warm") == step.cpus("app") == cpus


def test_25_odd_amounts():
    assert one_pod(pod_file("25", 0)).bubble == "1-2,9-10"
    assert one_pod(pod_file("25", 1)).qos == "Burstable"


def test_25_a_fraction_of_a_byte_is_no_amount_to_place_and_rounds_up_as_a_limit():
    wanted = pod_file("25", 2)
    step = one_pod(wanted)
    assert (step.bubble, step.bubble_memory) == ("1,9", {})
    assert grant_of(wanted).container("main").memory_limit == 2
