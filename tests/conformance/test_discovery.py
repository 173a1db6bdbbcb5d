"""What cAdvisor and the kubelet were recorded to say of machines, and what discovery makes of them."""

import json
import lzma

import pytest

from tests.conformance import discovery

ANSWERS = json.loads(lzma.decompress(discovery.ANSWERS.read_bytes()))
TREES = discovery.names(discovery.RECORDED)


def test_every_machine_has_a_recorded_answer():
    assert list(ANSWERS) == TREES


@pytest.mark.parametrize("part", range(10))
def test_podnuma_sees_what_the_kubelet_sees(part, tmp_path):
    found = {}
    for place, name in list(enumerate(TREES))[part::10]:
        tree = tmp_path / str(place)
        mine = discovery.ours(discovery.read(name, tree), tree / "sys")
        if differing := discovery.differences(mine, ANSWERS[name]):
            found[name] = differing
    assert found == {}
