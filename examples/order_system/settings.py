"""Every setting of the order system, from command-line flags and ORDER_SYSTEM_ environment variables."""

import argparse
import os
from collections.abc import Callable
from dataclasses import dataclass, field, fields
from typing import Any

ENV_PREFIX = "ORDER_SYSTEM_"


def at_least_zero(text: str) -> float:
    number = float(text)
    if not 0 <= number < float("inf"):
        raise argparse.ArgumentTypeError(f"{text} is not a number from 0 up")
    return number


def above_zero(text: str) -> float:
    number = at_least_zero(text)
    if number == 0:
        raise argparse.ArgumentTypeError("it must be above 0")
    return number


def share(text: str) -> float:
    number = at_least_zero(text)
    if number > 1:
        raise argparse.ArgumentTypeError(f"{text} is not a share from 0 to 1")
    return number


def count(text: str) -> int:
    return int(at_least_zero(text))


def count_from_one(text: str) -> int:
    return int(above_zero(str(count(text))))


def _setting(default: Any, parse: Callable[[str], Any], meaning: str) -> Any:
    return field(default=default, metadata={"parse": parse, "meaning": meaning})


@dataclass(frozen=True, slots=True)
class Settings:
    """What all services share; a child process gets it through its environment."""

    url: str = _setting("redis://127.0.0.1:6379/0", str, "address of the Redis or Valkey server")
    rate: float = _setting(5.0, at_least_zero, "orders per second, until the command 'rate' asks for another")
    orders: int | None = _setting(None, count, "place so many orders and no more; the services keep on")
    step_timeout: float = _setting(30.0, above_zero, "seconds that a saga waits for each answer")
    backoff: float = _setting(1.0, above_zero, "seconds; the n-th retry comes backoff * 2^n after a failure")
    retries: int = _setting(3, count, "retries of a failed event before it is dead-lettered")
    maxlen: int = _setting(100_000, count_from_one, "entries kept in each stream, about")
    remember: int = _setting(604_800, count_from_one, "seconds for which handled events are remembered")
    register_every: float = _setting(5.0, above_zero, "seconds between two happenings in the user service")
    account_pause: float = _setting(0.8, at_least_zero, "seconds between an account's first events, about")
    duplicates: float = _setting(0.02, share, "share of events that are published twice")
    declines: float = _setting(0.03, share, "share of payments that are declined")
    shortages: float = _setting(0.01, share, "share of reservations that are rejected")
    poison: float = _setting(0.002, share, "share of orders whose data is no valid JSON")
    greylisting: float = _setting(
        0.0025, share, "share of mails refused in their first minute (two mails an order)"
    )
    seed: int | None = _setting(None, int, "makes contents and chances repeatable; ids stay unique")


def add_flags(parser: argparse.ArgumentParser, *only: str) -> None:
    """One flag for each setting (or for those named), with the environment as its default."""
    for item in fields(Settings):
        if only and item.name not in only:
            continue
        parser.add_argument(
            "--" + item.name.replace("_", "-"),
            type=item.metadata["parse"],
            default=os.environ.get(ENV_PREFIX + item.name.upper(), item.default),
            metavar="N" if item.name != "url" else "URL",
            help=item.metadata["meaning"] + ("" if item.default is None else f" (default: {item.default})"),
        )


def settings_from(arguments: argparse.Namespace) -> Settings:
    names = [item.name for item in fields(Settings)]
    return Settings(**{name: getattr(arguments, name) for name in names if hasattr(arguments, name)})


def as_environment(settings: Settings) -> dict[str, str]:
    """The settings as a child's environment: an address with a password stays out of the process list."""
    values = {item.name: getattr(settings, item.name) for item in fields(Settings)}
    return {ENV_PREFIX + name.upper(): str(value) for name, value in values.items() if value is not None}
