"""One validated settings object, from eventwake.toml and the environment.

The file is `eventwake.toml` in the working directory, or what EVENTWAKE_CONFIG or --config names. Any value
outside the lists can be set by the environment as well: EVENTWAKE_STORE__URL overrides `url` of [store].
`${NAME}` inside a source's texts is filled in from the environment when the collectors connect, so that
the dashboard, which reads the same file, never needs a broker's credentials.
"""

import os
import re
import tomllib
from collections.abc import Iterator
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError, model_validator
from pydantic_settings import (
    BaseSettings,
    PydanticBaseSettingsSource,
    SettingsConfigDict,
    TomlConfigSettingsSource,
)

from eventwake.domain.alert import AlertKind
from eventwake.domain.errors import SettingsError
from eventwake.domain.saga import SagaDefinition

CONFIG_VARIABLE = "EVENTWAKE_CONFIG"
DEFAULT_FILE = "eventwake.toml"

_START = re.compile(r"newest|earliest|\d+h")


def _valid_start(text: str) -> str:
    if not _START.fullmatch(text):
        raise ValueError('must be "newest", "earliest" or so many hours back, such as "24h"')
    return text


Start = Annotated[str, AfterValidator(_valid_start)]
Colour = Literal["grey", "green", "blue", "violet", "yellow", "orange", "red"]


class Part(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Environment(Part):
    name: str = "local"
    colour: Colour = "grey"


class Store(Part):
    url: str = "sqlite:///eventwake.db"
    durability: Literal["full", "normal"] = "full"  # SQLite's synchronous= while ingesting events
    segment_rows: int = Field(1_000_000, ge=1_000)
    events_days: float = Field(7, gt=0)
    letters_days: float = Field(90, gt=0)
    history_days: float = Field(90, gt=0)
    samples_hours: float = Field(6, gt=0)


class Dashboard(Part):
    host: str = "127.0.0.1"
    port: int = Field(8501, ge=1, le=65535)
    refresh_s: float = Field(5, ge=1)
    confirm_above: int = Field(100, ge=1)  # more letters than this need the number typed in


class Source(BaseModel):
    """What every broker's source has. Further keys belong to the broker and are validated by its package."""

    model_config = ConfigDict(extra="allow", frozen=True)

    name: str = Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9_.-]{0,62}$")
    kind: str
    writable: bool = False
    include: tuple[str, ...] = ("*",)
    exclude: tuple[str, ...] = ()
    dead_letter_patterns: tuple[str, ...] = (
        *("*:dlq", "*.dlq", "*-dlq", "*_dlq"),
        *("*:dead_letter", "*:dead-letter", "*:dead_letters", "*:dead-letters"),
    )
    dead_letter_streams: dict[str, str] = {}  # dead-letter stream -> the stream that its letters came from
    start: Start = "newest"
    business_keys: tuple[str, ...] = ()
    sample_rate: float = Field(1.0, gt=0, le=1)
    payload_cap_bytes: int = Field(65_536, ge=256)
    mask: tuple[str, ...] = ()
    mask_letters: bool = False
    poll_s: float = Field(1.0, gt=0)
    groups_s: float = Field(5.0, gt=0)
    discovery_s: float = Field(30.0, gt=0)
    reads_per_s: int = Field(2_000, ge=1)
    keys_scanned_per_s: int = Field(10_000, ge=10)
    max_backlog: int = Field(5_000_000, ge=1_000)
    allowed_lag: int = Field(0, ge=0)

    @property
    def broker_settings(self) -> dict[str, Any]:
        """The keys that are the broker's own, with `${NAME}` filled in from the environment."""
        return {name: _filled_in(value, self.name) for name, value in (self.model_extra or {}).items()}

    def watches(self, stream: str) -> bool:
        return any(fnmatchcase(stream, p) for p in self.include) and not any(
            fnmatchcase(stream, p) for p in self.exclude
        )

    def is_dead_letter_stream(self, stream: str) -> bool:
        return stream in self.dead_letter_streams or any(
            fnmatchcase(stream, pattern) for pattern in self.dead_letter_patterns
        )


class Saga(Part):
    name: str
    steps: tuple[str, ...] = Field(min_length=1)
    compensations: tuple[str, ...] = ()
    completed: tuple[str, ...] = Field(min_length=1)
    compensated: tuple[str, ...] = ()
    stuck_after_s: float = Field(300, gt=0)

    def definition(self) -> SagaDefinition:
        return SagaDefinition(**self.model_dump())


class AlertRule(Part):
    name: str
    kind: AlertKind
    above: float = Field(ge=0)
    for_s: float = Field(0, ge=0)
    source: str = "*"
    match: str = "*"  # a pattern over stream/group, a dead-letter stream or a source

    def covers(self, source: str, matched: str) -> bool:
        """Whether the rule looks at this subject."""
        return fnmatchcase(source, self.source) and fnmatchcase(matched, self.match)


DEFAULT_ALERTS = (
    AlertRule(name="Group far behind", kind=AlertKind.LAG, above=1_000, for_s=60),
    AlertRule(name="Events waiting too long", kind=AlertKind.TIME_LAG, above=60, for_s=60),
    AlertRule(name="New dead letters", kind=AlertKind.DEAD_LETTERS, above=0),
    AlertRule(name="Source down", kind=AlertKind.SOURCE_DOWN, above=30),
)


class Settings(BaseSettings):
    model_config = SettingsConfigDict(
        env_prefix="EVENTWAKE_", env_nested_delimiter="__", extra="forbid", frozen=True
    )

    environment: Environment = Environment()
    store: Store = Store()
    dashboard: Dashboard = Dashboard()
    source: tuple[Source, ...] = ()
    saga: tuple[Saga, ...] = ()
    alert: tuple[AlertRule, ...] = DEFAULT_ALERTS

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        return (env_settings, TomlConfigSettingsSource(settings_cls, config_file()))

    @model_validator(mode="after")
    def _names_are_unique(self) -> "Settings":
        for kind, names in (
            ("source", [s.name for s in self.source]),
            ("saga", [s.name for s in self.saga]),
            ("alert", [a.name for a in self.alert]),
        ):
            twice = sorted({name for name in names if names.count(name) > 1})
            if twice:
                raise ValueError(f"two [[{kind}]] tables are named {twice[0]!r}; give each a name of its own")
        return self

    def source_named(self, name: str) -> Source:
        """Raises `SettingsError` where no source has the name."""
        for source in self.source:
            if source.name == name:
                return source
        raise SettingsError(f"no source is named {name!r}; {config_file()} has: {', '.join(self._names())}")

    def _names(self) -> Iterator[str]:
        return (source.name for source in self.source)


def config_file() -> Path:
    """The settings file that is in force, whether it exists or not."""
    return Path(os.environ.get(CONFIG_VARIABLE, DEFAULT_FILE))


def load() -> Settings:
    """The settings, validated. Raises `SettingsError` with every fault and its place in the file."""
    path = config_file()
    if not path.exists() and CONFIG_VARIABLE in os.environ:
        raise SettingsError(f"{path} does not exist; write one with: python -m eventwake init URL")
    try:
        return Settings()
    except tomllib.TOMLDecodeError as error:
        raise SettingsError(f"{path} is not valid TOML: {error}") from error
    except ValidationError as error:
        raise SettingsError(f"{path}:\n{explain(error)}") from error


def explain(error: ValidationError) -> str:
    """One line for each fault: where it is and what to do. Values are left out: they may be secrets."""
    lines = []
    for fault in error.errors(include_input=False, include_url=False):
        where = "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in fault["loc"])
        message = {
            "extra_forbidden": "is not a known setting; check its spelling in the shipped example",
            "missing": "is missing",
        }.get(fault["type"], fault["msg"].removeprefix("Value error, "))
        lines.append(f"  {where.lstrip('.') or 'settings'}: {message}")
    return "\n".join(lines)


_VARIABLE = re.compile(r"\$\{([A-Za-z_][A-Za-z0-9_]*)\}")


def _filled_in(value: Any, source: str) -> Any:
    if not isinstance(value, str):
        return value
    missing = [name for name in _VARIABLE.findall(value) if name not in os.environ]
    if missing:
        raise SettingsError(
            f"source {source!r} needs the environment variable {missing[0]}, which is not set"
        )
    return _VARIABLE.sub(lambda match: os.environ[match[1]], value)
