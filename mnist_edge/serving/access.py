"""Who may ask: the names by which clients call the server, and the token."""

from __future__ import annotations

import hmac
import ipaddress
import re
from typing import TYPE_CHECKING

from mnist_edge.serving.refusals import RefusalError

if TYPE_CHECKING:
    from collections.abc import Mapping


def is_local(address: str) -> bool:
    """Say whether only this machine reaches an IP address."""
    ip = ipaddress.ip_address(address)
    return (getattr(ip, "ipv4_mapped", None) or ip).is_loopback


def names(address: str, given: str) -> set[bytes]:
    """Return by which names clients may call a server that listens on an IP address, named as `given`; empty for any name."""
    if not is_local(address):
        return set()
    return {b"127.0.0.1", b"localhost", b"[::1]", *((f"[{one}]" if ":" in one else one).lower().encode() for one in (address, given))}


class Access:
    """Lets requests in."""

    def __init__(self, hosts: set[bytes], token: str | None) -> None:
        self._hosts, self._token = hosts, None if token is None else token.encode()
        self._last_host = b""

    def admit(self, headers: Mapping[bytes, bytes], is_open: bool) -> None:
        """Let a request in; `is_open` says that its path needs no token. Raises RefusalError: 401, 421."""
        host = headers.get(b"host")
        if self._hosts and host is not None and host != self._last_host:
            if re.sub(rb":\d*\Z", b"", host).lower() not in self._hosts:  # a website can point a name of its own at this machine
                raise RefusalError(421, "this server answers requests from this machine only; start it with --host to let others in")
            self._last_host = host
        if self._token is None or is_open:
            return
        scheme, _, given = headers.get(b"authorization", b"").partition(b" ")
        if scheme.lower() != b"bearer" or not hmac.compare_digest(given.strip(), self._token):
            raise RefusalError(
                401, "the header Authorization: Bearer TOKEN is missing, or its token is wrong", (b"www-authenticate", b"Bearer")
            )
