"""Redis Streams on real servers: Valkey, Redis 7, Redis 6.2, a one-node cluster, TLS and ACL, Sentinel."""

import subprocess
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, ClassVar, Self
from urllib.parse import quote

import redis

from collectors.brokers.redis_streams import checks
from examples.redis_server import free_port, start_server
from tests import servers
from tests.contract.rigs.base import Fields, LogRig, flat, wait_until
from tests.contract.rigs.certificates import make_certificates
from tests.contract.rigs.redis_letters import LETTERS

ADMIN = "of-the-rig"
USER, PASSWORD = "watcher", "p:w/d@of the tests"
PROGRAMS = {"Valkey": servers.valkey, "Redis 7": servers.redis7, "Redis 6.2": servers.redis62}
RIGHTS = {
    "connect": "ping",
    "discover": "scan",
    "look": "xinfo|stream",
    "read": "xrange",
    "groups": "xinfo|groups",
    "members": "xinfo|consumers",
    "pending": "xpending",
    "act": "xdel",
}


class RedisRig(LogRig):
    """One server. Its own user of tests has every right; `ADMIN` is the rig's way in."""

    kind = "redis_streams"
    secret = PASSWORD
    ways = ("scripts", "journal")
    letters = LETTERS
    checks = frozenset({"version", "clock", "streams"})
    missing_right = ("pending", "XPENDING", "+xpending")
    server: ClassVar[str]
    scheme: ClassVar[str] = "redis"
    options: tuple[str, ...] = ()
    connection: dict[str, Any] = {}  # noqa: RUF012

    def program(self) -> str:
        return PROGRAMS[self.server]()

    def settings(self) -> dict[str, Any]:
        return {"url": self.url()}

    def impatient(self) -> dict[str, Any]:
        return {"answer_timeout_s": 0.2, "connect_timeout_s": 0.2}

    def url(self, user: str = USER) -> str:
        return f"{self.scheme}://{user}:{quote(PASSWORD, safe='')}@127.0.0.1:{self.port}"

    def start(self) -> None:
        self.port = free_port()
        self.start_again()

    @contextmanager
    def running(self) -> Iterator[Self]:
        try:
            self.start()
            yield self
        finally:
            self.stop()

    def start_again(self) -> None:
        self.admin = self.start_one(self.port, self.directory)
        self.make_user(USER)

    def start_one(self, port: int, directory: Path, *more: str) -> Any:
        """A server; the administrator's connection to it."""
        options = ("--requirepass", ADMIN, *self.options, *more)
        self.servers.append(start_server(port, directory, *options, binary=self.program()))
        admin = redis.Redis(
            "127.0.0.1", port, password=ADMIN, protocol=2, socket_timeout=10, **self.connection
        )
        admin.response_callbacks.clear()  # raw replies: repeated fields are kept
        return admin

    def make_user(self, name: str, *more: str, way: str = "scripts", but: str = "") -> None:
        """A user with the rights that doctor names, no more."""
        commands = checks.commands_to_watch(cluster=self.scheme == "redis+cluster")
        commands += checks.commands_to_act(scripts=way == "scripts")
        rights = [f"+{right}" for right in checks.rights_to(commands) if right != but]
        self.admin.execute_command(
            "ACL", "SETUSER", name, "reset", "on", f">{PASSWORD}", "~*", *rights, *more
        )

    def able_to(self, way: str) -> dict[str, Any]:
        self.make_user(way, way=way)
        return {**self.settings(), "url": self.url(way), "scripts": way == "scripts"}

    def without_right_to(self, act: str) -> dict[str, Any]:
        if act != "any":
            self.make_user("limited", "+acl|whoami", "+acl|dryrun", but=RIGHTS[act])
        return {**self.settings(), "url": self.url("limited" if act != "any" else "nobody")}

    def clear(self) -> None:
        self.admin.execute_command("FLUSHALL")

    def publish(self, stream: str, *events: Fields, at_ms: int | None = None) -> list[str]:
        pipe = self.admin.pipeline(transaction=False)
        for number, event in enumerate(events):
            position = "*" if at_ms is None else f"{at_ms}-{number}"
            pipe.execute_command("XADD", stream, position, *flat(event))
        return [reply.decode() for reply in pipe.execute()]

    def entries(self, stream: str) -> dict[str, list[bytes]]:
        reply = self.admin.execute_command("XRANGE", stream, "-", "+")
        return {position.decode(): fields for position, fields in reply}

    def trim(self, stream: str, keep: int) -> None:
        self.admin.execute_command("XTRIM", stream, "MAXLEN", keep)

    def remove(self, stream: str, positions: Sequence[str]) -> None:
        self.admin.execute_command("XDEL", stream, *positions)

    def drop(self, stream: str) -> None:
        self.admin.execute_command("DEL", stream)

    def make_group(self, stream: str, group: str, after: str | None = None) -> None:
        self.admin.execute_command("XGROUP", "CREATE", stream, group, after or "0", "MKSTREAM")

    def consume(self, stream: str, group: str, count: int, *, ack: bool = True) -> list[str]:
        reply = self.admin.execute_command(
            "XREADGROUP", "GROUP", group, "c-1", "COUNT", count, "STREAMS", stream, ">"
        )
        positions = [entry[0].decode() for entry in reply[0][1]] if reply else []
        if ack and positions:
            self.admin.execute_command("XACK", stream, group, *positions)
        return positions

    def footprint(self, streams: Sequence[str]) -> Any:
        seen: dict[str, Any] = {"keys": sorted(self.admin.execute_command("KEYS", "*"))}
        for stream in streams:
            info = self._named("XINFO", "STREAM", stream)
            groups = [_named(group) for group in self.admin.execute_command("XINFO", "GROUPS", stream)]
            members = [
                {key: value for key, value in _named(member).items() if key not in (b"idle", b"inactive")}
                for group in groups
                for member in self.admin.execute_command("XINFO", "CONSUMERS", stream, group[b"name"])
            ]
            pending = [
                (position, consumer, deliveries)
                for group in groups
                for position, consumer, _, deliveries in self.admin.execute_command(
                    "XPENDING", stream, group[b"name"], "-", "+", 1000
                )
            ]
            seen[stream] = info, groups, members, pending
        return seen

    def _named(self, *command: str) -> dict[bytes, Any]:
        return _named(self.admin.execute_command(*command))


def _named(reply: Sequence[Any]) -> dict[bytes, Any]:
    return dict(zip(reply[::2], reply[1::2], strict=True))


class Valkey(RedisRig):
    name = server = "Valkey"


class Redis7(RedisRig):
    name = server = "Redis 7"


class Redis62(RedisRig):
    name = server = "Redis 6.2"
    counts_events = can_try_rights = False


class Cluster(Valkey):
    """One node with every slot: origin and dead-letter stream hardly ever share one."""

    name = "cluster"
    scheme = "redis+cluster"
    options = ("--cluster-enabled", "yes")

    def start_again(self) -> None:
        super().start_again()
        if b"cluster_slots_assigned:0" in self._state():
            self.admin.execute_command("CLUSTER", "ADDSLOTSRANGE", 0, 16383)
        wait_until(lambda: b"cluster_state:ok" in self._state(), "the cluster is up")

    def _state(self) -> bytes:
        return bytes(self.admin.execute_command("CLUSTER INFO"))


class TlsAndAcl(Redis7):
    """TLS that asks for the client's certificate too."""

    name = "TLS and ACL"
    scheme = "rediss"

    def start(self) -> None:
        make_certificates(self.directory)
        self.port = free_port()
        self.options = ("--port", "0", "--tls-port", str(self.port), *tls_options(self.directory))
        self.connection = {
            "ssl": True,
            "ssl_ca_certs": self.path("ca.crt"),
            "ssl_certfile": self.path("client.crt"),
            "ssl_keyfile": self.path("client.key"),
        }
        self.start_again()

    def path(self, name: str) -> str:
        return str(self.directory / name)

    def settings(self) -> dict[str, Any]:
        return {
            **super().settings(),
            "tls_ca_file": self.path("ca.crt"),
            "tls_cert_file": self.path("client.crt"),
            "tls_key_file": self.path("client.key"),
        }


class BehindSentinel(Redis7):
    name = "Sentinel"
    scheme = "redis+sentinel"

    def start(self) -> None:
        self.sentinel_port = free_port()
        super().start()

    def start_again(self) -> None:
        super().start_again()
        start_sentinel(self, self.sentinel_port)

    def url(self, user: str = USER) -> str:
        return sentinel_url(self, self.sentinel_port, user)


class TlsSentinel(TlsAndAcl):
    """TLS to the Sentinel as well as to the server."""

    name = "TLS Sentinel"
    scheme = "rediss+sentinel"

    def start_again(self) -> None:
        super().start_again()
        self.sentinel_port = free_port()
        tls = ("--port", "0", "--tls-port", str(self.sentinel_port), *tls_options(self.directory))
        start_sentinel(self, self.sentinel_port, *tls, "--tls-replication", "yes")

    def url(self, user: str = USER) -> str:
        return sentinel_url(self, self.sentinel_port, user)


class SentinelWithReplica(BehindSentinel):
    """The replica is promoted within a second or two of the primary's end."""

    name = "Sentinel with a replica"
    options = ("--masterauth", ADMIN)

    def start_again(self) -> None:
        super(BehindSentinel, self).start_again()
        (self.directory / "replica").mkdir()
        primary, replica_port = self.admin, free_port()
        replica_of = ("--replicaof", "127.0.0.1", str(self.port))
        self.replica = self.start_one(replica_port, self.directory / "replica", *replica_of)
        wait_until(lambda: self.replica.execute_command("ROLE")[3] == b"connected", "the replica is in step")
        for admin in (self.replica, primary):  # users are not replicated
            self.admin = admin
            self.make_user(USER)
        start_sentinel(self, self.sentinel_port, down_after_ms=500)

    def fail_over(self) -> None:
        self.servers[0].kill()
        wait_until(lambda: self.replica.execute_command("ROLE")[0] == b"master", "it is promoted", 30)
        self.admin = self.replica


RIGS: tuple[type[RedisRig], ...] = (Valkey, Redis7, Redis62, Cluster, TlsAndAcl, BehindSentinel)


def start_sentinel(rig: RedisRig, port: int, *options: str, down_after_ms: int = 60_000) -> None:
    """One that decides alone; the service is called "orders"."""
    config = rig.directory / "sentinel.conf"
    config.write_text(
        f"sentinel monitor orders 127.0.0.1 {rig.port} 1\nsentinel auth-pass orders {ADMIN}\n"
        f"sentinel down-after-milliseconds orders {down_after_ms}\nsentinel failover-timeout orders 5000\n"
    )
    command = [rig.program(), str(config), "--sentinel", "--bind", "127.0.0.1", "--port", str(port), *options]
    with (rig.directory / "sentinel.log").open("ab") as log:
        rig.servers.append(subprocess.Popen(command, stdout=log, stderr=log))
    client = redis.Redis("127.0.0.1", port, **rig.connection)
    wait_until(lambda: _knows_a_primary(client), "Sentinel knows its primary")


def sentinel_url(rig: RedisRig, port: int, user: str) -> str:
    return f"{rig.scheme}://{user}:{quote(PASSWORD, safe='')}@127.0.0.1:{port}/orders/0"


def _knows_a_primary(client: redis.Redis) -> bool:
    try:
        return bool(client.execute_command("SENTINEL GET-MASTER-ADDR-BY-NAME", "orders"))
    except redis.RedisError:
        return False


def tls_options(directory: Path) -> tuple[str, ...]:
    """Of a server that asks for its clients' certificates."""
    return (
        *("--tls-ca-cert-file", str(directory / "ca.crt"), "--tls-cert-file", str(directory / "server.crt")),
        *("--tls-key-file", str(directory / "server.key"), "--tls-auth-clients", "yes"),
    )
