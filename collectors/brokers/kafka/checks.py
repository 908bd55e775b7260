"""What doctor says about a Kafka cluster: brokers, rights, topics."""

from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

from collectors.brokers.base import Check
from collectors.brokers.kafka.client import KafkaClient

OLDEST_VERSION = (3, 0)


class Right(NamedTuple):
    """One line of an access list, and what it is needed for."""

    to: str
    operation: str
    resource: str
    name: str = "*"

    @property
    def option(self) -> str:
        """As kafka-acls takes it."""
        where = "--cluster" if self.resource == "cluster" else f"--{self.resource} '{self.name}'"
        return f"--operation {self.operation.title().replace('_', '')} {where}"


# All that the collectors need to watch; the names may be narrower
RIGHTS = (
    Right("look", "describe", "topic"),
    Right("read", "read", "topic"),
    Right("configs", "describe_configs", "topic"),
    Right("groups", "describe", "group"),
    Right("groups", "describe", "cluster", "kafka-cluster"),
)


def all_checks(client: KafkaClient, topics: Sequence[str], *, writable: bool) -> Iterator[Check]:
    """Every finding."""
    with client.translated():
        cluster = client.admin.describe_cluster()
        found = client.admin.describe_topics(list(topics)) if topics else []
    yield _version(client.cluster.version)
    yield _brokers(cluster)
    yield _rights(cluster, found)
    yield _leaders(found)
    yield Check(
        "streams",
        "ok" if topics else "warning",
        f"{len(topics)} topics match the settings",
        "" if topics else "widen `include`, or give this user the right to describe topics",
    )
    if writable:
        yield Check(
            "acts", "warning", "letters in Kafka can be watched but not yet acted on", "set writable = false"
        )


def _version(version: str) -> Check:
    if tuple(int(part) for part in version.split(".") if part.isdigit()) < OLDEST_VERSION:
        found = f"Apache Kafka {version} cannot tell the positions of many groups at once"
        return Check("version", "fault", found, "update the brokers to 3.0 or later")
    return Check("version", "ok", f"Apache Kafka {version}")


def _brokers(cluster: dict[str, Any]) -> Check:
    fenced = [f"{b['host']}:{b['port']}" for b in cluster["brokers"] if b.get("is_fenced")]
    if fenced:
        return Check(
            "brokers", "warning", f"down: {', '.join(fenced)}", "look into the logs of these brokers"
        )
    return Check("brokers", "ok", f"{len(cluster['brokers'])} are up")


def _rights(cluster: dict[str, Any], topics: Sequence[dict[str, Any]]) -> Check:
    """The server hides what may not be described, so a missing right shows as nothing to see."""
    missing = []
    if not _may(cluster["authorized_operations"], "DESCRIBE"):
        missing += [right for right in RIGHTS if right.to == "groups"]
    for operation, to in (("READ", "read"), ("DESCRIBE_CONFIGS", "configs")):
        if not all(_may(topic["authorized_operations"], operation) for topic in topics):
            missing += [right for right in RIGHTS if right.to == to]
    if not missing:
        return Check("rights to watch", "ok", "this user may see and read all that matches the settings")
    needed = ", ".join(f"{right.operation.title()} on {_where(right)}" for right in missing)
    do = "; ".join(f"kafka-acls --add --allow-principal User:NAME {right.option}" for right in missing)
    is_fault = any(right.to != "configs" for right in missing)
    return Check("rights to watch", "fault" if is_fault else "warning", f"this user has no {needed}", do)


def _where(right: Right) -> str:
    return "the cluster" if right.resource == "cluster" else f"{right.resource}s"


def _may(granted: Sequence[str] | None, operation: str) -> bool:
    """Where the server does not say, nothing is known to be missing."""
    return granted is None or operation in granted


def _leaders(topics: Sequence[dict[str, Any]]) -> Check:
    without = [
        f"{topic['name']}/{part['partition_index']}"
        for topic in topics
        for part in topic["partitions"]
        if part["leader_id"] < 0
    ]
    if without:
        shown = ", ".join(without[:5])
        found = f"{len(without)} have no leader, such as {shown}"
        return Check("partitions", "warning", found, "start the brokers that hold them")
    return Check("partitions", "ok", "each has a leader")
