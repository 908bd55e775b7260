"""Apache Kafka on a real server: TLS, SCRAM and a user with the rights that doctor names and no others."""

import subprocess
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from typing import Any, ClassVar
from urllib.parse import quote

from kafka import KafkaAdminClient, KafkaConsumer, KafkaProducer, TopicPartition
from kafka.admin import (
    ACL,
    ACLFilter,
    ACLOperation,
    ACLPermissionType,
    ACLResourcePatternType,
    NewTopic,
    OffsetSpec,
    ResourcePattern,
    ResourcePatternFilter,
    ResourceType,
    ScramMechanism,
    UserScramCredentialUpsertion,
)
from kafka.errors import KafkaError
from kafka.structs import OffsetAndMetadata

from collectors.brokers.kafka import checks
from examples.redis_server import free_port
from tests.contract.rigs.base import Fields, LogRig, flat, wait_until
from tests.contract.rigs.certificates import make_certificates
from tests.contract.rigs.kafka_letters import LETTERS
from tests.contract.rigs.kafka_server import KafkaServer, java, stop

USER, PASSWORD = "watcher", "p:w/d@of the tests"
SCRAM, PLAIN = "SCRAM-SHA-512", "PLAIN"
INTERNAL = "__"


class RawName(str):
    """A header's name of any bytes, which the client would insist to be text."""

    def encode(self, *_: str) -> bytes:
        return super().encode("utf-8", "surrogateescape")


class KafkaRig(LogRig):
    """One broker with four doors: `admin` without a lock for the rig, TLS with SCRAM, and SASL without TLS.

    `publish` makes each field a header, and the one called "data" the value as well.
    """

    name = "Kafka"
    kind = "kafka"
    secret = PASSWORD
    ways: ClassVar[Sequence[str]] = ()
    letters = LETTERS
    holds = removes = False
    refusals = (("read", "read"),)
    checks = frozenset({"version", "brokers", "partitions", "streams"})
    missing_right = ("groups", "Describe on the cluster", "--operation Describe --cluster")
    partitions = 1

    def settings(self) -> dict[str, Any]:
        return {
            "url": self.url(),
            "sasl_mechanism": SCRAM,
            "tls_ca_file": str(self.directory / "ca.crt"),
        }

    def able_to(self, way: str) -> dict[str, Any]:
        return self.settings()

    def url(self, user: str = USER, password: str = PASSWORD) -> str:
        return f"kafka+ssl://{user}:{quote(password, safe='')}@127.0.0.1:{self.scram_port}"

    @property
    def quoted_secret(self) -> str:
        """As it stands in a URL."""
        return quote(PASSWORD, safe="")

    def plain_url(self, password: str = PASSWORD) -> str:
        return f"kafka://{USER}:{quote(password, safe='')}@127.0.0.1:{self.plain_port}"

    def impatient(self) -> dict[str, Any]:
        return {"answer_timeout_s": 1}

    def without_right_to(self, act: str) -> dict[str, Any]:
        if act == "connect":
            return {**self.settings(), "url": self.url(password="not the " + PASSWORD)}
        if act != "any":
            self.make_user("limited", but=act)
        return {**self.settings(), "url": self.url("limited" if act != "any" else "nobody")}

    # Its server

    def start(self) -> None:
        make_certificates(self.directory)
        key = (self.directory / "server.key").read_text() + (self.directory / "server.crt").read_text()
        (self.directory / "server.pem").write_text(key)
        ports = self.port, self.scram_port, self.plain_port, self.controller = [free_port() for _ in range(4)]
        self._server = KafkaServer(self.directory / "kafka", [*ports], self._properties())
        self.start_again()

    def start_again(self) -> None:
        self.servers.append(self._server.start())
        servers = [f"127.0.0.1:{self.port}"]
        self.admin = KafkaAdminClient(bootstrap_servers=servers, api_version=(4, 1))
        self.producer = self._producer(enable_idempotence=False, acks="all")
        self.consumer = KafkaConsumer(
            bootstrap_servers=servers, auto_offset_reset="earliest", fetch_max_wait_ms=20, retry_backoff_ms=20
        )
        self.make_user(USER)

    def stop(self) -> None:
        for server in self.servers:
            stop(server)
        self.servers.clear()
        for client in (self.admin, self.producer, self.consumer):
            with suppress(KafkaError):
                client.close()

    def _properties(self) -> dict[str, str]:
        doors = {
            "ADMIN": (self.port, "PLAINTEXT"),
            "SCRAM": (self.scram_port, "SASL_SSL"),
            "PLAIN": (self.plain_port, "SASL_PLAINTEXT"),
        }
        listeners = [f"{door}://127.0.0.1:{port}" for door, (port, _) in doors.items()]
        protocols = [f"{door}:{protocol}" for door, (_, protocol) in doors.items()]
        plain = "org.apache.kafka.common.security.plain.PlainLoginModule"
        return {
            "process.roles": "broker,controller",
            "node.id": "1",
            "controller.quorum.voters": f"1@127.0.0.1:{self.controller}",
            "listeners": ",".join([*listeners, f"CONTROLLER://127.0.0.1:{self.controller}"]),
            "advertised.listeners": ",".join(listeners),
            "listener.security.protocol.map": ",".join([*protocols, "CONTROLLER:PLAINTEXT"]),
            "inter.broker.listener.name": "ADMIN",
            "listener.name.scram.sasl.enabled.mechanisms": "SCRAM-SHA-512,SCRAM-SHA-256",
            **{
                f"listener.name.scram.{mechanism}.sasl.jaas.config": (
                    "org.apache.kafka.common.security.scram.ScramLoginModule required;"
                )
                for mechanism in ("scram-sha-512", "scram-sha-256")
            },
            "listener.name.scram.ssl.keystore.type": "PEM",
            "listener.name.scram.ssl.keystore.location": str(self.directory / "server.pem"),
            "listener.name.scram.ssl.truststore.type": "PEM",
            "listener.name.scram.ssl.truststore.location": str(self.directory / "ca.crt"),
            "listener.name.scram.ssl.client.auth": "requested",
            "listener.name.plain.sasl.enabled.mechanisms": "PLAIN",
            "listener.name.plain.plain.sasl.jaas.config": f'{plain} required user_{USER}="{PASSWORD}";',
            "authorizer.class.name": "org.apache.kafka.metadata.authorizer.StandardAuthorizer",
            "super.users": "User:ANONYMOUS",
        }

    def make_user(self, name: str, but: str = "") -> None:
        """A user with the rights that doctor names, less one."""
        secret = UserScramCredentialUpsertion(name, ScramMechanism.SCRAM_SHA_512, PASSWORD)
        secret256 = UserScramCredentialUpsertion(name, ScramMechanism.SCRAM_SHA_256, PASSWORD)
        for one in (secret, secret256):
            assert not self.admin.alter_user_scram_credentials([one])[name]
        without = {"look": {"look", "read"}}.get(but, {but})  # who may read may look
        rights = [right for right in checks.RIGHTS if right.to not in without]
        self.give(f"User:{name}", [(right.operation, right.resource, right.name) for right in rights])

    def give(self, user: str, rights: Sequence[tuple[str, str, str]]) -> None:
        """These (operation, resource, name) and no others."""
        everywhere = ResourcePatternFilter(ResourceType.ANY, None, ACLResourcePatternType.ANY)
        own = ACLFilter(user, None, ACLOperation.ANY, ACLPermissionType.ANY, everywhere)
        self.admin.delete_acls([own])
        wanted = [
            ACL(
                user,
                "*",
                ACLOperation[operation.upper()],
                ACLPermissionType.ALLOW,
                ResourcePattern(ResourceType[resource.upper()], name),
            )
            for operation, resource, name in rights
        ]
        self.admin.create_acls(wanted)
        wait_until(lambda: len(self.admin.describe_acls(own)[0]) == len(wanted), "the rights are in force")

    def clear(self) -> None:
        if groups := [group["group_id"] for group in self.admin.list_groups()]:
            self.admin.delete_groups(groups)
        if topics := self._topics():
            self.admin.delete_topics(topics)
        wait_until(lambda: not self._topics(), "the topics are gone")
        self.producer.close()  # it would remember their partitions
        self.producer = self._producer(enable_idempotence=False, acks="all")

    def _producer(self, **options: Any) -> KafkaProducer:
        servers = [f"127.0.0.1:{self.port}"]
        return KafkaProducer(bootstrap_servers=servers, retry_backoff_ms=20, **options)

    def _topics(self) -> list[str]:
        return [name for name in self.admin.list_topics() if not name.startswith(INTERNAL)]

    # The world outside

    def make(self, stream: str, partitions: int = 1, **configs: Any) -> None:
        """A topic of these configs, written with _ for the dots."""
        texts = {name.replace("_", "."): str(value) for name, value in configs.items()}
        topic = NewTopic(stream, partitions, 1, topic_configs=texts)
        self.admin.create_topics([topic], wait_for_metadata=True)

    def publish(self, stream: str, *events: Fields, at_ms: int | None = None) -> list[str]:
        if not events:
            return []
        if stream not in self._topics():
            self.make(stream, self.partitions)
        waiting = []
        for event in events:
            headers = [(RawName(name.decode("utf-8", "surrogateescape")), value) for name, value in event]
            value = dict(event).get(b"data", b"-")
            waiting.append(
                self.producer.send(stream, value, headers=headers, timestamp_ms=at_ms, partition=0)
            )
        self.producer.flush()
        return [f"{sent.partition}:{sent.offset}" for sent in (future.get(30) for future in waiting)]

    @contextmanager
    def producing(self, **options: Any) -> Iterator[KafkaProducer]:
        producer = self._producer(**options)
        try:
            yield producer
        finally:
            producer.close()

    @contextmanager
    def java(self, program: str, *options: str) -> Iterator[None]:
        """One of Kafka's own consumers, for the groups that no Python client can join."""
        command = java(f"org.apache.kafka.tools.consumer.{program}", *options)
        with (self.directory / "program.log").open("ab") as log:
            server = ("--bootstrap-server", f"127.0.0.1:{self.port}")
            process = subprocess.Popen([*command, *server], stdout=log, stderr=log)
        try:
            yield
        finally:
            stop(process)

    def entries(self, stream: str) -> dict[str, list[bytes]]:
        if stream not in self._topics():
            return {}
        at = TopicPartition(stream, 0)
        found = {}
        for record in self._read(at, 0, 1_000_000):
            headers = [(name.encode("utf-8", "surrogateescape"), value) for name, value in record.headers]
            found[f"{record.partition}:{record.offset}"] = flat(headers)
        return found

    def _read(self, at: TopicPartition, first: int, count: int) -> list[Any]:
        low, end = self._offset(at, OffsetSpec.EARLIEST), self._offset(at, OffsetSpec.LATEST)
        first = max(first, low)
        self.consumer.assign([])
        self.consumer.assign([at])
        self.consumer.seek(at, first)
        records: list[Any] = []
        deadline = time.monotonic() + 30
        while len(records) < count and self.consumer.position(at) < end:
            assert time.monotonic() < deadline
            records += self.consumer.poll(timeout_ms=100, max_records=count - len(records)).get(at, [])
        return records

    def _offset(self, at: TopicPartition, spec: Any) -> int:
        return int(self.admin.list_partition_offsets({at: spec})[at].offset)

    def trim(self, stream: str, keep: int) -> None:
        at = TopicPartition(stream, 0)
        low, end = self._offset(at, OffsetSpec.EARLIEST), self._offset(at, OffsetSpec.LATEST)
        if end - keep > low:
            self.admin.delete_records({at: end - keep})

    def remove(self, stream: str, positions: Sequence[str]) -> None:
        raise NotImplementedError("Kafka deletes nothing from the middle")

    def drop(self, stream: str) -> None:
        self.admin.delete_topics([stream])
        wait_until(lambda: stream not in self._topics(), "the topic is gone")

    def make_group(self, stream: str, group: str, after: str | None = None) -> None:
        if stream not in self._topics():
            self.make(stream, self.partitions)
        self.commit(stream, group, 0 if after is None else int(after.partition(":")[2]) + 1)

    def commit(self, stream: str, group: str, offset: int, partition: int = 0) -> None:
        at = TopicPartition(stream, partition)
        answers: dict[Any, Any] = {}

        def is_done() -> bool:  # a first commit waits for the coordinator
            with suppress(KafkaError):
                answers.update(self.admin.alter_group_offsets(group, {at: OffsetAndMetadata(offset, "", -1)}))
            return at in answers and answers[at].__name__ == "NoError"

        wait_until(is_done, f"{group} commits {offset}", 30)

    def committed(self, stream: str, group: str, partition: int = 0) -> int:
        at = TopicPartition(stream, partition)
        return int(self.admin.list_group_offsets({group: [at]})[group][at].offset)

    def consume(self, stream: str, group: str, count: int, *, ack: bool = True) -> list[str]:
        records = self._read(TopicPartition(stream, 0), max(0, self.committed(stream, group)), count)
        if ack and records:
            self.commit(stream, group, records[-1].offset + 1)
        return [f"{record.partition}:{record.offset}" for record in records]

    def footprint(self, streams: Sequence[str]) -> Any:
        groups = {group["group_id"]: group for group in self.admin.list_groups()}
        topics = {
            topic["name"]: (topic["topic_id"], len(topic["partitions"]))
            for topic in self.admin.describe_topics(self.admin.list_topics())
        }
        ends = {
            stream: (self._offset(at, OffsetSpec.EARLIEST), self._offset(at, OffsetSpec.LATEST))
            for stream in streams
            for at in [TopicPartition(stream, 0)]
        }
        offsets = self.admin.list_group_offsets([*groups]) if groups else {}
        members = self.admin.describe_groups([*groups]) if groups else {}
        return topics, ends, groups, offsets, members


class TwoBrokers(KafkaRig):
    """A second broker, which may die, beside the one that also decides. Nothing is replicated."""

    name = "two Kafka brokers"

    def settings(self) -> dict[str, Any]:
        return {"url": f"kafka://127.0.0.1:{self.port}", "answer_timeout_s": 5}

    def start(self) -> None:
        super().start()
        port = free_port()
        properties = {
            "process.roles": "broker",
            "node.id": "2",
            "controller.quorum.voters": f"1@127.0.0.1:{self.controller}",
            "listeners": f"ADMIN://127.0.0.1:{port}",
            "listener.security.protocol.map": "ADMIN:PLAINTEXT,CONTROLLER:PLAINTEXT",
            "inter.broker.listener.name": "ADMIN",
        }
        self._second = KafkaServer(self.directory / "second", [port], properties)
        self.start_second()
        self.admin.close()  # it does not know the second
        self.admin = KafkaAdminClient(bootstrap_servers=[f"127.0.0.1:{self.port}"], api_version=(4, 1))

    def start_second(self) -> None:
        self.servers.append(self._second.start())
        wait_until(lambda: self._alive() == 2, "the second broker has joined", 60)

    def kill_second(self) -> None:
        second = self.servers.pop()
        second.kill()
        second.wait()

    def _alive(self) -> int:
        brokers = self.admin.describe_cluster()["brokers"]
        return sum(not broker["is_fenced"] for broker in brokers)


RIGS: tuple[type[KafkaRig], ...] = (KafkaRig,)
