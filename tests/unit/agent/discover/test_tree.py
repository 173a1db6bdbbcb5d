import pytest
from podnuma.agent.discover.tree import LARGEST_FILE, Finding, Tree, mask
from podnuma.allocator import cpuset


@pytest.mark.parametrize(
    ("text", "cpus"),
    [
        ("0", ""),
        ("f", "0-3"),
        ("1,00000000", "32"),
        ("00000000,00000001,80000000", "31-32"),
        (",".join(["00000000"] * 31 + ["0000000f"]), "0-3"),
        ("3f," + ",".join(["ffffffff"] * 8), "0-261"),
    ],
)
def test_masks_of_any_length_are_read(text, cpus):
    assert mask(text) == cpuset.parse(cpus)


@pytest.mark.parametrize("text", ["", "g", "1,2", "1,0000000g", "123456789", "1,,00000000", "0x1", "1\n2"])
def test_what_is_no_mask_is_refused(text):
    with pytest.raises(ValueError, match="is not a CPU mask"):
        mask(text)


def test_a_mask_of_more_bits_than_kernels_have_is_refused():
    with pytest.raises(ValueError, match="more than any kernel has"):
        mask(",".join(["1", *["00000000"] * 3000]))


def test_the_list_form_is_preferred_and_the_mask_is_the_fallback(tmp_path):
    (tmp_path / "list").write_text("0-3\n")
    (tmp_path / "mask").write_text("ff\n")
    tree = Tree(tmp_path)
    assert tree.cpus("list", "mask") == cpuset.parse("0-3")
    assert tree.cpus("none", "mask") == cpuset.parse("0-7")
    assert tree.cpus("none", "neither") is None
    assert tree.findings == []
    (tmp_path / "list").write_text("3-0\n")
    assert tree.cpus("list", "mask") == cpuset.parse("0-7")
    assert [finding.path for finding in tree.findings] == [f"{tmp_path}/list"]


def test_numbers_have_a_bound_and_a_sign(tmp_path):
    tree = Tree(tmp_path)
    for text, number in (("-1", -1), (" 36\n", 36), ("9" * 30, None), ("1.5", None), ("", None)):
        (tmp_path / "n").write_text(text)
        assert tree.number("n") == number
    assert len(tree.findings) == 3


def test_numbered_folders_are_found_in_order_and_others_are_not(tmp_path):
    for name in ("cpu10", "cpu2", "cpufreq", "cpu", "cpu2x", "cpu999999"):
        (tmp_path / "cpu" / name).mkdir(parents=True)
    assert Tree(tmp_path).folders("cpu", "cpu") == (2, 10)
    assert Tree(tmp_path).folders("none", "cpu") == ()


def test_an_endless_file_is_a_finding(tmp_path):
    (tmp_path / "big").write_text("0" * (LARGEST_FILE + 1))
    tree = Tree(tmp_path)
    assert tree.text("big") is None
    assert "is longer than" in str(tree.findings[0])


def test_a_finding_reads_as_path_problem_and_next_step():
    assert str(Finding("/sys/x", "cannot be read", "mount it")) == "/sys/x: cannot be read; mount it"
