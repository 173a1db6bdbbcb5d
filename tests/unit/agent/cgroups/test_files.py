import pytest
from podnuma.agent.cgroups import files
from podnuma.agent.model.cgroup_values import CpuMax
from podnuma.allocator import cpuset, nodeset


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("max 100000", CpuMax(None, 100_000)),
        ("300000 100000", CpuMax(300_000, 100_000)),
        ("1000 1000000", CpuMax(1000, 1_000_000)),
    ],
)
def test_cpu_max_is_read_and_written_as_the_kernel_spells_it(text, value):
    assert files.MAX.parse(text) == value
    assert files.MAX.render(value) == text


@pytest.mark.parametrize(
    ("text", "value"),
    [("max 100000 0", CpuMax(None, 100_000)), ("300000 100000 20000", CpuMax(300_000, 100_000))],
)
def test_a_burst_behind_the_period_is_not_looked_at(text, value):
    assert files.MAX.parse(text) == value


@pytest.mark.parametrize("text", ["", "max", "100000", "max max", "-1 100000", "1 2 3 4", "1" * 40 + " 1"])
def test_what_is_no_bandwidth_is_refused(text):
    with pytest.raises(ValueError, match="is not a quota and a period"):
        files.MAX.parse(text)


def test_an_empty_set_reads_as_nothing_written():
    assert files.CPUS.parse("") is None
    assert files.MEMS.parse("") is None
    assert files.CPUS.parse("0-3,8") == cpuset.parse("0-3,8")
    assert files.MEMS.parse("0-1") == nodeset.parse("0-1")


def test_content_is_text_without_blanks_and_none_for_what_cannot_be_read(tmp_path):
    (tmp_path / "f").write_bytes(b" 0-3\xff\n")
    assert files.content(f"{tmp_path}/f") == "0-3\ufffd"
    assert files.content(f"{tmp_path}/none") is None
    assert files.content(str(tmp_path)) is None
