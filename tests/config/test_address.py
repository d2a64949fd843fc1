"""HOST:PORT."""

from __future__ import annotations

import pytest

from orcs_server.config import Address, parse_address


@pytest.mark.parametrize(
    ("text", "host", "port"),
    [
        ("127.0.0.1:50750", "127.0.0.1", 50750),
        ("[::1]:0", "::1", 0),
        ("[0:0:0:0:0:0:0:1]:1", "::1", 1),
        ("LocalHost:65535", "localhost", 65535),
        ("orcs.example.com:1", "orcs.example.com", 1),
        ("0.0.0.0:80", "0.0.0.0", 80),
    ],
)
def test_an_address_is_read_and_written_back(text: str, host: str, port: int) -> None:
    address = parse_address(text)
    assert address == Address(host, port)
    assert parse_address(str(address)) == address


@pytest.mark.parametrize(
    ("text", "advice"),
    [
        ("", "has no port"),
        ("localhost", "has no port"),
        ("localhost:", "bad port"),
        ("localhost:65536", "bad port"),
        ("localhost:-1", "bad port"),
        ("localhost:٣", "bad port"),
        (":80", "has no host"),
        ("::1:80", "put an IPv6 address into brackets"),
        ("[::g]:80", "no IPv6 address in its brackets"),
        ("[]:80", "no IPv6 address in its brackets"),
        ("1.2.3:80", "no IPv4 address"),
        ("300.1.1.1:80", "no IPv4 address"),
        ("a b:80", "no host name"),
        ("-a:80", "no host name"),
        ("a\n:80", "no host name"),
        ("\x1b[31m" * 100, "has no port|ambiguous|no host"),
    ],
)
def test_a_bad_address_is_refused_with_what_to_write(text: str, advice: str) -> None:
    with pytest.raises(ValueError, match=advice) as caught:
        parse_address(text)
    assert "\x1b" not in str(caught.value)


@pytest.mark.parametrize("host", ["127.0.0.1", "127.9.9.9", "::1", "localhost", "::ffff:127.0.0.1"])
def test_loopback_addresses_are_known(host: str) -> None:
    assert Address(host, 1).loopback


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "10.0.0.1", "example.com", "localhost.example.com"])
def test_whatever_others_may_reach_is_not_loopback(host: str) -> None:
    assert not Address(host, 1).loopback
