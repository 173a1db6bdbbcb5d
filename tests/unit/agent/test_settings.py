import pytest
from podnuma.agent.settings import AgentSettings


@pytest.mark.parametrize(
    ("wrong", "text"),
    [
        ({"node_name": ""}, "node_name is empty"),
        ({"hook_share": 1.0}, "between 0 and 1"),
        ({"check_seconds": 0}, "above 0"),
        ({"heartbeat_seconds": -1}, "above 0"),
    ],
)
def test_senseless_settings_are_refused(wrong, text):
    with pytest.raises(ValueError, match=text):
        AgentSettings(**{"node_name": "n", **wrong})
