"""Apache Kafka as one process: KRaft, broker and controller in one, or brokers that join such a one."""

import socket
import subprocess
import time
from collections.abc import Mapping
from pathlib import Path

from tests import servers

READY_WITHIN_S = 90.0  # 2 s on an idle machine
STOPS_WITHIN_S = 30.0
CLUSTER = "ZXZlbnR3YWtlLXRlc3RzLg"  # an id that Kafka wants in the form of a UUID in base64

# Small and quick: tests are few records, many topics and servers that come and go.
DEFAULTS = {
    "controller.listener.names": "CONTROLLER",
    "auto.create.topics.enable": "false",
    "num.network.threads": "2",
    "num.io.threads": "2",
    "background.threads": "2",
    "num.replica.fetchers": "1",
    "log.segment.bytes": "16777216",
    "log.index.size.max.bytes": "65536",
    "log.retention.ms": "-1",  # events of the past stay
    "log.segment.delete.delay.ms": "1000",
    "log.cleaner.threads": "1",
    "log.cleaner.dedupe.buffer.size": "4194304",
    "log.cleaner.backoff.ms": "500",
    "offsets.topic.replication.factor": "1",
    "offsets.topic.num.partitions": "10",
    "transaction.state.log.replication.factor": "1",
    "transaction.state.log.min.isr": "1",
    "transaction.state.log.num.partitions": "2",
    "share.coordinator.state.topic.replication.factor": "1",
    "share.coordinator.state.topic.min.isr": "1",
    "share.coordinator.state.topic.num.partitions": "2",
    "group.coordinator.rebalance.protocols": "classic,consumer,share",
    "group.initial.rebalance.delay.ms": "0",
    "group.min.session.timeout.ms": "1000",
    "broker.session.timeout.ms": "2000",  # how soon a killed broker is missed
    "broker.heartbeat.interval.ms": "500",
    "controlled.shutdown.enable": "false",
}
LOGGING = """Configuration:
  Appenders:
    Console:
      name: out
      PatternLayout:
        pattern: "%d %p %c %m%n"
  Loggers:
    Root:
      level: WARN
      AppenderRef:
        - ref: out
"""


def java(*arguments: str) -> list[str]:
    """The command that runs one of Kafka's programs."""
    memory = ("-Xms128m", "-Xmx512m", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1")
    return ["java", *memory, "-cp", f"{servers.kafka()}/*", *arguments]


class KafkaServer:
    """One process with its files in `directory`; `ports` are those that it must answer on to be ready."""

    def __init__(self, directory: Path, ports: list[int], properties: Mapping[str, str]) -> None:
        self._directory = directory
        self._ports = ports
        self._config = directory / "server.properties"
        self._log = directory / "server.log"
        directory.mkdir(parents=True, exist_ok=True)
        (directory / "log4j2.yaml").write_text(LOGGING)
        lines = {**DEFAULTS, **properties, "log.dirs": str(directory / "data")}
        self._config.write_text("".join(f"{name}={value}\n" for name, value in lines.items()))
        self._format()

    def _java(self, *arguments: str) -> list[str]:
        return java(f"-Dlog4j2.configurationFile={self._directory / 'log4j2.yaml'}", *arguments)

    def _format(self) -> None:
        command = ["format", "-t", CLUSTER, "-c", str(self._config), "--feature", "share.version=1"]
        tool = self._java("kafka.tools.StorageTool", *command)
        done = subprocess.run(tool, check=False, capture_output=True, text=True)
        assert done.returncode == 0, f"Kafka's storage was not formatted: {done.stdout}{done.stderr}"

    def start(self) -> subprocess.Popen[bytes]:
        with self._log.open("ab") as log:
            process = subprocess.Popen(self._java("kafka.Kafka", str(self._config)), stdout=log, stderr=log)
        deadline = time.monotonic() + READY_WITHIN_S
        while process.poll() is None and time.monotonic() < deadline:
            if all(map(_answers, self._ports)):
                return process
            time.sleep(0.05)
        process.kill()
        process.wait()
        raise RuntimeError(f"Kafka did not start; its log:\n{self.log()}")

    def log(self) -> str:
        return self._log.read_text(errors="replace")[-4000:]


def stop(process: "subprocess.Popen[bytes]") -> None:
    """Orderly, so that the next start need not mend the log."""
    process.terminate()
    try:
        process.wait(STOPS_WITHIN_S)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


def _answers(port: int) -> bool:
    try:
        with socket.create_connection(("127.0.0.1", port), timeout=1):
            return True
    except OSError:
        return False
