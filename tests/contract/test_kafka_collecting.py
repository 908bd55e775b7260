"""Kafka under the collectors and under init and doctor: the programs as people run them, on a real broker."""

import os
import random
import subprocess
import sys
import time
import tomllib
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest
import sqlalchemy as sa
from kafka import TopicPartition

from collectors.brokers.kafka.settings import KafkaSettings
from eventwake.domain.dead_letter import LetterState
from eventwake.settings import Source
from eventwake.store import schema
from eventwake.store.reads import groups, letters
from tests.contract.conftest import Rigs
from tests.contract.rigs.base import wait_until
from tests.contract.rigs.kafka import USER, KafkaRig
from tests.integration.collecting import ROOT, Collectors

pytestmark = [pytest.mark.server, pytest.mark.timeout(300)]

DEAD = "orders-dlt"
SPRING = [
    ("kafka_dlt-original-topic", b"orders"),
    ("kafka_dlt-original-partition", (2).to_bytes(4, "big")),
    ("kafka_dlt-original-offset", (7).to_bytes(8, "big")),
    ("kafka_dlt-original-consumer-group", b"mailer"),
    ("kafka_dlt-exception-fqcn", b"java.lang.IllegalStateException"),
    ("kafka_dlt-exception-message", b"no answer"),
]


@pytest.fixture
def rig(rigs: Rigs) -> KafkaRig:
    return rigs.of(KafkaRig)


@pytest.fixture
def collectors(rig: KafkaRig, tmp_path: Path) -> Iterator[Collectors]:
    source = {
        "kind": "kafka",
        **rig.settings(),
        "answer_timeout_s": 5,
    }
    running = Collectors(tmp_path, source)
    yield running
    running.end()


def write(rig: KafkaRig, first: int, count: int) -> None:
    for number in range(first, first + count):
        headers = [("event_type", b"OrderPlaced"), ("correlation_id", b"c-%d" % (number % 7))]
        value = None if number % 10 == 9 else b'{"order_id": "o-%d"}' % number
        rig.producer.send("orders", value, key=b"o-%d" % number, headers=headers, partition=number % 3)
    rig.producer.flush()


def stored(collectors: Collectors) -> Counter[str]:
    return Counter(event.position for event in collectors.events() if event.stream == "orders")


class TestCollectors:
    def test_keep_each_event_once_with_its_bytes_through_kills_and_a_broker_that_restarts(
        self, rig: KafkaRig, collectors: Collectors
    ) -> None:
        rig.make("orders", 3)
        rig.commit("orders", "mailer", 0)
        written, chance = 0, random.Random(3)
        for _ in range(4):
            collectors.start()
            write(rig, written, 600)
            written += 600
            time.sleep(chance.uniform(1, 4))
            collectors.kill()
        collectors.start()
        wait_until(lambda: collectors.state("source-0") == "up", "the source is up", 60)
        rig.stop()
        wait_until(lambda: collectors.state("source-0") == "down", "the outage shows", 60)
        rig.start_again()
        write(rig, written, 600)
        written += 600
        wait_until(lambda: len(stored(collectors)) == written, "all is stored", 90)
        assert {*stored(collectors).values()} == {1}
        assert not collectors.rows(sa.select(schema.gap))
        assert {*collectors.counted().values()} == {written}
        assert not collectors.undecodable()

    def test_tell_groups_with_their_lag_and_letters_with_their_reason(
        self, rig: KafkaRig, collectors: Collectors
    ) -> None:
        rig.make("orders", 3)
        write(rig, 0, 30)
        for partition in range(3):
            rig.commit("orders", "mailer", 4, partition)
        rig.make(DEAD)
        for number in range(5):
            rig.producer.send(DEAD, b'{"order_id": "o-%d"}' % number, headers=SPRING)
        rig.producer.flush()
        collectors.start()
        wait_until(collectors.is_ready, "the store is there", 60)
        wait_until(lambda: len(collectors.letters()) == 5, "the letters are there", 60)
        wait_until(lambda: lag(collectors) == ("known", 18), "the lag is there", 30)
        with collectors.store.read() as connection:
            page = letters.page(connection, letters.LetterFilter(), 10)
        letter = page.letters[0]
        assert (letter.origin_stream, letter.group_name, letter.state) == ("orders", "mailer", "open")
        rig.admin.delete_records({TopicPartition(DEAD, 0): 2})
        wait_until(lambda: states(collectors)[LetterState.GONE] == 2, "the gone ones are known", 30)
        assert states(collectors) == {LetterState.OPEN: 3, LetterState.GONE: 2}


def lag(collectors: Collectors) -> tuple[str, int | None] | None:
    with collectors.store.read() as connection:
        return next(((row.lag_kind, row.lag) for row in groups.all_groups(connection)), None)


def states(collectors: Collectors) -> Counter[str]:
    return Counter(row.state for row in collectors.rows(sa.select(schema.letter.c.state)))


class TestCommands:
    def test_init_writes_settings_with_which_doctor_finds_no_fault(
        self, rig: KafkaRig, tmp_path: Path
    ) -> None:
        rig.make("orders", 3)
        write(rig, 0, 30)
        rig.commit("orders", "mailer", 4)
        said = run(tmp_path, "init", rig.plain_url(), "--name", "shop")
        assert "orders: 30 events, mailer" in said
        settings = tomllib.loads((tmp_path / "eventwake.toml").read_text())
        [source] = settings["source"]
        assert (source["kind"], source["url"].startswith(f"kafka://{USER}:${{")) == ("kafka", True)
        assert rig.secret not in (tmp_path / "eventwake.toml").read_text()
        said = run(tmp_path, "doctor", EVENTWAKE_SHOP_PASSWORD=rig.quoted_secret)
        assert "Apache Kafka 4" in said
        assert "No fault found" in said


def run(directory: Path, *arguments: str, **environment: str) -> str:
    command = [sys.executable, "-m", "eventwake", *arguments]
    env = {**os.environ, "PYTHONPATH": str(ROOT), **environment}
    done = subprocess.run(command, cwd=directory, env=env, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_the_example_names_every_setting_and_no_other() -> None:
    example = tomllib.loads((ROOT / "eventwake.example.toml").read_text(encoding="utf-8"))
    [table] = [table for table in example["source"] if table["kind"] == "kafka"]
    assert {*table} - {*Source.model_fields} == {*KafkaSettings.model_fields}
