"""The keys of a [[source]] table that belong to a PostgreSQL queue."""

from typing import Literal, Self

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator, model_validator

from eventwake.domain.errors import SettingsError
from eventwake.settings import Source, explain

SCHEMES = ("postgresql", "postgres")
FOR_OWN_TABLES = ("columns", "states", "retry")


class _Part(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)

    @model_validator(mode="before")
    @classmethod
    def _has_no_placeholders(cls, given: dict[str, object]) -> dict[str, object]:
        """A percent sign in a name would be taken for a parameter's place."""
        for key, value in given.items():
            if key != "url" and "%" in str(value):
                raise ValueError(f"{key} must not hold a percent sign")
        return given


class Columns(_Part):
    """What the table's columns mean. Only `id` and `state` every queue has."""

    id: str = "id"
    state: str = "state"
    queue: str | None = None  # None: the whole table is one queue, of the table's name
    kind: str | None = None
    payload: str | None = None
    attempts: str | None = None
    error: str | None = None
    created: str | None = None
    run_at: str | None = None
    started: str | None = None
    failed: str | None = None
    worker: str | None = None

    @model_validator(mode="after")
    def _tells_failures_apart(self) -> Self:
        if not (self.failed or self.attempts):
            raise ValueError(
                "name the column `failed` (when a job failed last) or `attempts`: without one a second "
                "failure of a job cannot be told from its first"
            )
        return self


class States(_Part):
    """Values of the state column."""

    waiting: tuple[str, ...] = Field(min_length=1)
    running: tuple[str, ...] = ()
    failed: tuple[str, ...] = Field(min_length=1)
    done: tuple[str, ...] = ()


class Retry(_Part):
    """What an UPDATE sets so that the workers take a failed job again."""

    state: str
    reset_attempts: bool = True
    clear: tuple[str, ...] = ()  # set to null
    now: tuple[str, ...] = ()  # set to now()
    notify: str = ""  # a NOTIFY channel, told the job's id


class PostgresQueueSettings(_Part):
    """`url` is postgresql://user:password@host:5432/database, with libpq's parameters behind a `?`."""

    url: str
    library: Literal["auto", "procrastinate", "pgqueuer", "chancy", "none"] = "auto"
    table: str = ""
    columns: Columns | None = None
    states: States | None = None
    retry: Retry | None = None
    dead_letter_suffix: str = Field(":failed", min_length=1)
    events: bool = True
    settle_s: float = Field(1.0, ge=0)
    dispositions: str = "eventwake_dispositions"
    connect_timeout_s: float = Field(5, gt=0)
    answer_timeout_s: float = Field(10, gt=0)

    @field_validator("url")
    @classmethod
    def _is_known(cls, url: str) -> str:
        if url.partition("://")[0] not in SCHEMES:
            raise ValueError("must begin with postgresql://")
        return url

    @model_validator(mode="after")
    def _maps_own_tables(self) -> Self:
        own = [name for name in FOR_OWN_TABLES if getattr(self, name) is not None]
        if self.library == "none" and (len(own) < len(FOR_OWN_TABLES) or not self.table):
            raise ValueError(
                'a table of your own (library = "none") needs `table` and the tables [source.columns], '
                "[source.states] and [source.retry]"
            )
        if self.library != "none" and own:
            raise ValueError(f'[source.{own[0]}] is for tables of your own: set library = "none"')
        return self


def read_settings(source: Source) -> PostgresQueueSettings:
    """The source's settings. Raises `SettingsError` that names each fault, never a value."""
    try:
        return PostgresQueueSettings(**source.broker_settings)
    except ValidationError as error:
        raise SettingsError(f"source {source.name!r}:\n{explain(error)}") from error
