"""The system bus, as far as setting unit properties goes. The one module that knows the D-Bus library.

Connects to the socket of the host (mounted, root only). A lost connection is opened again at the next write.
"""

from collections.abc import Iterable

from dbus_fast import AuthError, BusType, DBusError, Message, MessageType, Variant
from dbus_fast.aio import MessageBus
from podnuma.agent.cgroups.writers.systemd import Bus, NoSuchUnit, Property

# What the library raises where a connection cannot be made, ends, or brings no D-Bus.
_BROKEN = (AuthError, DBusError, OSError, EOFError, ValueError)
_NO_SUCH_UNIT = "org.freedesktop.systemd1.NoSuchUnit"


class SystemBus:
    """One connection, opened when first needed. `address` None: the default of the system bus."""

    def __init__(self, address: str | None = None) -> None:
        self._address = address
        self._bus: MessageBus | None = None

    async def connect(self) -> Bus:
        """Return a connected bus. Raises OSError."""
        if self._bus is None or not self._bus.connected:
            bus = MessageBus(bus_address=self._address, bus_type=BusType.SYSTEM)
            try:
                self._bus = await bus.connect()
            except _BROKEN as error:
                raise OSError(f"no system bus ({error}); mount /run/dbus/system_bus_socket") from error
        return self

    async def set_unit_properties(self, unit: str, properties: Iterable[Property]) -> None:
        values = [[name, Variant(signature, value)] for name, signature, value in properties]
        if self._bus is None:
            raise OSError("not connected to the system bus")
        question = Message(
            destination="org.freedesktop.systemd1",
            path="/org/freedesktop/systemd1",
            interface="org.freedesktop.systemd1.Manager",
            member="SetUnitProperties",
            signature="sba(sv)",
            body=[unit, True, values],
        )
        try:
            reply = await self._bus.call(question)
        except _BROKEN as error:
            raise OSError(f"the connection to the system bus ended ({error!r})") from error
        if reply is None:
            raise OSError("the connection to the system bus was closed")
        if reply.message_type is MessageType.ERROR:
            text = f"{reply.error_name}: {reply.body[0] if reply.body else ''}"
            if reply.error_name == _NO_SUCH_UNIT:
                raise NoSuchUnit(text)
            raise OSError(text)

    def close(self) -> None:
        if self._bus is not None:
            self._bus.disconnect()
            self._bus = None
