"""Reading option texts; specification, sections 2.6, 5.1."""

import pytest
from podnuma.allocator.manager_settings import (
    CpuManagerPolicy,
    CpuOptions,
    ManagerSettings,
    TopologyManagerPolicy,
    cpu_options,
    read_bool,
    read_int,
    topology_options,
)


@pytest.mark.parametrize("text", ["1", "t", "T", "TRUE", "true", "True"])
def test_six_spellings_mean_on(text):
    assert read_bool(text)


@pytest.mark.parametrize("text", ["0", "f", "F", "FALSE", "false", "False"])
def test_six_spellings_mean_off(text):
    assert not read_bool(text)


@pytest.mark.parametrize("text", ["", "yes", "tRUE", " true", "2"])
def test_other_spellings_are_refused(text):
    with pytest.raises(ValueError, match="neither true nor false"):
        read_bool(text)


@pytest.mark.parametrize(("text", "number"), [("8", 8), ("08", 8), ("+9", 9), ("-1", -1)])
def test_numbers_are_decimal(text, number):
    assert read_int(text) == number


@pytest.mark.parametrize("text", ["true", "08x", "", "1.0", "9" * 20])
def test_what_is_no_number_is_refused(text):
    with pytest.raises(ValueError, match="not a whole number"):
        read_int(text)


def test_options_of_the_static_policy_are_read():
    settings = ManagerSettings(
        cpu_manager_policy=CpuManagerPolicy.STATIC,
        cpu_manager_policy_options={"full-pcpus-only": "T", "align-by-socket": "0"},
    )
    assert cpu_options(settings) == CpuOptions(full_pcpus_only=True)


def test_policy_none_reads_no_topology_options():
    assert topology_options(
        ManagerSettings(topology_manager_policy_options={"max-allowable-numa-nodes": "x"})
    ) == (topology_options(ManagerSettings(topology_manager_policy=TopologyManagerPolicy.RESTRICTED)))
