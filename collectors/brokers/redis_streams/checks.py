"""What doctor says about a Redis: version, rights, eviction, clock, streams."""

from collections.abc import Iterator, Sequence

from redis.exceptions import ResponseError

from collectors.brokers.base import Check
from collectors.brokers.redis_streams.client import RedisClient, flat_map
from eventwake.clock import now_ms
from eventwake.decoding.names import raw
from eventwake.domain.errors import BrokerRefused

SKEW_AT_MOST_MS = 2_000
OLDEST_VERSION = (6, 2)
SAMPLE = "eventwake-doctor"  # a key name for dry runs; nothing is written to it

Commands = tuple[tuple[str, ...], ...]
# All that the collectors send; the keys are the streams and `eventwake:marks:*`
READ_COMMANDS: Commands = (
    ("PING",),
    ("CLIENT", "SETNAME", "eventwake"),
    ("SCAN", "0"),
    ("XINFO", "STREAM", "{stream}"),
    ("XINFO", "GROUPS", "{stream}"),
    ("XINFO", "CONSUMERS", "{stream}", "group"),
    ("XRANGE", "{stream}", "-", "+"),
    ("XPENDING", "{stream}", "group"),
    ("TIME",),
    ("INFO",),
)
CLUSTER_COMMANDS: Commands = (("CLUSTER", "SLOTS"), ("COMMAND",))
WRITE_COMMANDS: Commands = (
    ("XADD", "{stream}", "*", "f", "v"),
    ("XDEL", "{stream}", "0-1"),
    ("HSET", "eventwake:marks:probe", "f", "v"),
    ("HGET", "eventwake:marks:probe", "f"),
    ("PEXPIRE", "eventwake:marks:probe", "1"),
)
SCRIPT_COMMANDS: Commands = (("EVAL", "return 1", "0"), ("EVALSHA", "0" * 40, "0"))
JOURNAL_COMMANDS: Commands = (("WATCH", "eventwake:marks:probe"), ("MULTI",), ("EXEC",), ("UNWATCH",))
WITH_SUBCOMMANDS = ("CLIENT", "XINFO", "CLUSTER")


def commands_to_watch(*, cluster: bool) -> Commands:
    return READ_COMMANDS + (CLUSTER_COMMANDS if cluster else ())


def commands_to_act(*, scripts: bool) -> Commands:
    return WRITE_COMMANDS + (SCRIPT_COMMANDS if scripts else JOURNAL_COMMANDS)


def rights_to(commands: Sequence[Sequence[str]]) -> list[str]:
    """The commands as ACL SETUSER names them, such as `xinfo|stream`, each once."""
    names = ("|".join(command[: 1 + (command[0] in WITH_SUBCOMMANDS)]).lower() for command in commands)
    return list(dict.fromkeys(names))


def server_facts(client: RedisClient) -> list[dict[str, str]]:
    """INFO's server section, of each primary."""
    answers = [client.on_node(node, "INFO", "server") for node in client.primaries()]
    texts = [answer.decode("utf-8", "replace").splitlines() for answer in answers]
    return [dict(line.split(":", 1) for line in lines if ":" in line) for lines in texts]


def version_of(facts: dict[str, str]) -> str:
    if "valkey_version" in facts:
        return f"Valkey {facts['valkey_version']}"
    return f"Redis {facts.get('redis_version', 'of unknown version')}"


def counts_reads(facts: dict[str, str]) -> bool:
    """Whether the server keeps a group's `entries-read` right when a trim overtakes it.

    Source: valkey pull request 1952 (8.1.1), redis pull request 13958 (8.2 has it surely).
    """
    if "valkey_version" in facts:
        return _numbers(facts["valkey_version"]) >= (8, 1, 1)
    return _numbers(facts.get("redis_version", "")) >= (8, 2)


def _numbers(version: str) -> tuple[int, ...]:
    return tuple(int(part) for part in version.split(".") if part.isdigit())


def all_checks(
    client: RedisClient, streams: Sequence[str], *, writable: bool, scripts: bool
) -> Iterator[Check]:
    """Every finding, worst reasons first within each topic."""
    yield _version(server_facts(client)[0])
    yield _clock(client)
    yield from _rights(client, streams, writable=writable, scripts=scripts)
    if writable:
        yield _eviction(client)
        yield _persistence(client)
    yield Check(
        "streams",
        "ok" if streams else "warning",
        f"{len(streams)} streams match the settings",
        "" if streams else "widen `include`, or check the database number at the end of the URL",
    )


def _version(facts: dict[str, str]) -> Check:
    number = facts.get("valkey_version") or facts.get("redis_version", "0")
    parts = _numbers(number)[:2]
    if parts < OLDEST_VERSION:
        return Check("version", "fault", version_of(facts), "update the server to 6.2 or later")
    if parts < (7, 0):
        return Check(
            "version",
            "warning",
            f"{version_of(facts)} keeps no count of events: lags above 100 show as lower bounds, and trimmed "
            "events cannot be counted",
            "update the server to 7.0 or later for exact figures",
        )
    return Check("version", "ok", version_of(facts))


def _clock(client: RedisClient) -> Check:
    seconds, micros = client.command(None, "TIME")
    skew = int(seconds) * 1000 + int(micros) // 1000 - now_ms()
    if abs(skew) > SKEW_AT_MOST_MS:
        return Check(
            "clock",
            "warning",
            f"the server's clock is {skew / 1000:+.1f} s from this machine's",
            "run a time service (NTP) on both; until then ages on the pages are off by as much",
        )
    return Check("clock", "ok", f"within {SKEW_AT_MOST_MS / 1000:.0f} s of this machine's ({skew:+d} ms)")


def _rights(client: RedisClient, streams: Sequence[str], *, writable: bool, scripts: bool) -> Iterator[Check]:
    topics = {"rights to watch": commands_to_watch(cluster=client.is_cluster)}
    if writable:
        topics["rights to act"] = commands_to_act(scripts=scripts)
    try:
        user = client.command(None, "ACL", "WHOAMI").decode()
    except BrokerRefused:
        needed = " ".join(f"+{name}" for commands in topics.values() for name in rights_to(commands))
        yield Check(
            "rights", "warning", "the user's own name is refused (ACL WHOAMI), so rights cannot be tried",
            f"see that it has {needed} (and the streams' keys), or let it try: +acl|whoami +acl|dryrun",
        )  # fmt: skip
        return
    stream = streams[0] if streams else SAMPLE
    for topic, commands in topics.items():
        tried = [tuple(part.replace("{stream}", stream) for part in command) for command in commands]
        replies = client.pipeline(
            [(raw(stream), ("ACL", "DRYRUN", user, *(raw(part) for part in command))) for command in tried]
        )
        yield _judge_rights(topic, user, tried, replies)


def _judge_rights(
    topic: str, user: str, tried: Sequence[tuple[str, ...]], replies: Sequence[object]
) -> Check:
    if any(isinstance(reply, ResponseError) for reply in replies):
        return Check(
            topic, "warning", "this server cannot try rights without using them (ACL DRYRUN, 7.0 on)"
        )
    missing = rights_to([c for c, reply in zip(tried, replies, strict=True) if reply != b"OK"])
    if not missing:
        return Check(topic, "ok", f"user {user!r} may use all that is needed")
    names = ", ".join(name.upper().replace("|", " ") for name in missing)
    do = f"ACL SETUSER {user} " + " ".join(f"+{name}" for name in missing)
    if {"eval", "evalsha"} & {*missing}:
        do += "; or set scripts = false for this source, and retries use the slower journal"
    return Check(
        topic, "fault", f"user {user!r} may not use {names}", do + " (and the streams' keys, ~pattern)"
    )


def _eviction(client: RedisClient) -> Check:
    try:
        reply = client.command(None, "CONFIG", "GET", "maxmemory*")
    except BrokerRefused:
        return Check("eviction", "warning", "CONFIG GET is refused, so the eviction policy is not known")
    policy = flat_map(reply).get("maxmemory-policy", b"noeviction").decode()
    if policy.startswith("noeviction"):
        return Check("eviction", "ok", "the server evicts no keys")
    return Check(
        "eviction",
        "warning",
        f"maxmemory-policy is {policy}: the server may drop the marks that keep a retry from being sent "
        "twice after a crash",
        "set maxmemory-policy noeviction, or give the server memory enough",
    )


def _persistence(client: RedisClient) -> Check:
    text: str = client.command(None, "INFO", "persistence").decode("utf-8", "replace")
    facts = dict(line.split(":", 1) for line in text.splitlines() if ":" in line)
    if facts.get("aof_enabled") == "1":
        return Check("persistence", "ok", "the server keeps an append-only file")
    return Check(
        "persistence",
        "warning",
        "the server keeps no append-only file: a crash may make it forget what was just sent or removed",
        "set appendonly yes; until then letters that lie there again are open again",
    )
