"""Where and how a server listens, and who may use it."""

import hmac
import ipaddress
from dataclasses import dataclass, field

from dltrain.errors import ConfigError
from dltrain.serving.limits import Limits

LOCAL = frozenset({"localhost", "127.0.0.1", "::1"})


@dataclass(frozen=True)
class Access:
    """Who may use a server.

    Attributes:
        token: what `Authorization: Bearer` must hold; None: anyone who reaches the port.
        hosts: names that a request may be addressed to (Host), so that a website whose name leads here (DNS
            rebinding) gets no answers; None: any.
    """

    token: str | None = None
    hosts: frozenset[str] | None = None

    def knows(self, authorization: str) -> bool:
        """Tell whether a header holds the token, in a time that does not depend on where it differs."""
        kind, _, given = authorization.partition(" ")
        wanted = self.token or ""
        return not wanted or (
            kind.lower() == "bearer" and hmac.compare_digest(given.strip().encode(), wanted.encode())
        )


@dataclass(frozen=True)
class Settings:
    """Where and how to serve.

    Attributes:
        host: address to listen on.
        port: 0 takes a free one.
        token: that requests must have; needed for a host that other machines reach.
        batch: largest batch.
        delay: seconds to wait for more requests before a batch that is not full.
        limits: what is accepted at most.
    """

    host: str = "127.0.0.1"
    port: int = 8000
    token: str | None = field(default=None, repr=False)
    batch: int = 256
    delay: float = 0.0
    limits: Limits = field(default_factory=Limits)

    def __post_init__(self) -> None:
        """Refuse a server that anybody in the network could use."""
        if not is_local(self.host) and not self.token:
            raise ConfigError(
                f"host={self.host}: other machines reach this address; set a token, by DLTRAIN_TOKEN in the "
                "environment or token=..., or use host=127.0.0.1"
            )

    @property
    def access(self) -> Access:
        """Who may use the server."""
        hosts = LOCAL | {self.host.lower()} if is_local(self.host) else None
        return Access(self.token, hosts)


def is_local(host: str) -> bool:
    """Tell whether only this machine reaches an address."""
    try:
        return host == "localhost" or ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False
