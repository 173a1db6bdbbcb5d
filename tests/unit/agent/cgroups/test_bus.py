import pytest
from podnuma.agent.cgroups.writers.bus import SystemBus


async def test_a_missing_bus_says_what_to_mount(tmp_path):
    bus = SystemBus(f"unix:path={tmp_path}/system_bus_socket")
    with pytest.raises(OSError, match="mount /run/dbus/system_bus_socket"):
        await bus.connect()
    bus.close()


async def test_nothing_is_sent_without_a_connection():
    with pytest.raises(OSError, match="not connected"):
        await SystemBus("unix:path=/nowhere").set_unit_properties("kubepods.slice", [])
