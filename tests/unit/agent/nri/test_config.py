from typing import Any

import pytest
from podnuma.agent.nri.config import PluginConfig
from podnuma.agent.nri.values import NriEvent

GOOD: dict[str, Any] = {"name": "podnuma", "index": "10", "events": frozenset({NriEvent.CREATE_CONTAINER})}


def test_socket_is_where_runtimes_listen():
    assert str(PluginConfig(**GOOD).socket) == "/var/run/nri/nri.sock"


@pytest.mark.parametrize(
    ("change", "why"),
    [
        ({"name": ""}, "name ''"),
        ({"name": "pod numa"}, "name 'pod numa'"),
        ({"index": "1"}, "index '1'"),
        ({"index": "100"}, "index '100'"),
        ({"index": "١٢"}, "two digits"),
        ({"events": frozenset()}, "name those it wants"),
        ({"answer_share": 1.0}, r"answer_share 1\.0"),
        ({"answer_share": 0.0}, r"answer_share 0\.0"),
    ],
)
def test_what_a_runtime_would_refuse_is_refused_at_once(change, why):
    with pytest.raises(ValueError, match=why):
        PluginConfig(**{**GOOD, **change})
