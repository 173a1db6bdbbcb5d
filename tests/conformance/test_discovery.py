"""What cAdvisor and the kubelet were recorded to say of machines, and what discovery makes of them."""

import json
import lzma

import pytest

from tests.conformance import discovery

ANSWERS = json.loads(lzma.decompress(discovery.ANSWERS.read_bytes()))
TREES = dict(discovery.trees(discovery.RECORDED))


def test_every_machine_has_a_recorded_answer():
    assert ANSWERS.keys() == TREES.keys()


@pytest.mark.parametrize("part", range(10))
def test_podnuma_sees_what_the_kubelet_sees(part, tmp_path):
    found = {}
    for name in list(TREES)[part::10]:
        tree = tmp_path / name.replace("/", "-")
        mine = discovery.write(tree, TREES[name])
        if differing := discovery.differences(mine, ANSWERS[name]):
            found[name] = differing
    assert found == {}
