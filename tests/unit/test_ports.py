"""Ports for servers that will be started again: free, and never the number of somebody's outgoing connection."""

import socket
import sys
from pathlib import Path

import pytest

from clock.runtime import ports
from clock.runtime.ports import free_port, is_free


def test_a_port_is_free_and_out_of_reach_of_outgoing_connections() -> None:
    found = {free_port() for _ in range(50)}
    assert all(is_free(port) for port in found)
    if sys.platform == "linux":
        first = int(Path("/proc/sys/net/ipv4/ip_local_port_range").read_text().split()[0])
        assert max(found) < max(first, ports.RANGE.stop)


def test_a_taken_port_is_not_given(monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        monkeypatch.setattr(ports, "RANGE", range(port, port + 1))
        assert not is_free(port)
        with pytest.raises(OSError, match="is free"):
            free_port()
    assert free_port() == port


def test_a_port_is_not_given_twice_before_anybody_listens_on_it(monkeypatch: pytest.MonkeyPatch) -> None:
    port = free_port()
    monkeypatch.setattr(ports, "RANGE", range(port, port + 1))
    assert is_free(port)
    with pytest.raises(OSError, match="is free"):
        free_port()
