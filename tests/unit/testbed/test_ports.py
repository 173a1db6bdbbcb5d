"""A reserved port is nobody else's until it is released."""

from __future__ import annotations

import socket

import pytest

from testbed.ports import ReservedPort, free_port


def listener(port: int, *, shared: bool) -> socket.socket:
    server = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
    try:
        if shared:
            server.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        server.bind(("127.0.0.1", port))
        server.listen()
    except OSError:
        server.close()
        raise
    return server


def test_reserved_port_refuses_strangers_and_serves_who_shares_it():
    port = ReservedPort()
    try:
        with pytest.raises(OSError, match="in use"):
            listener(port.number, shared=False)
        with pytest.raises(ConnectionRefusedError):
            socket.create_connection(("127.0.0.1", port.number), timeout=5)
        with (
            listener(port.number, shared=True),
            socket.create_connection(("127.0.0.1", port.number), timeout=5),
        ):
            pass
    finally:
        port.release()


def test_two_reserved_ports_differ():
    ports = [ReservedPort() for _ in range(200)]
    try:
        assert len({port.number for port in ports}) == 200
    finally:
        for port in ports:
            port.release()


def test_a_free_port_can_be_listened_on():
    listener(free_port(), shared=False).close()
