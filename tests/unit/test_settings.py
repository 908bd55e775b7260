"""Settings from the file and the environment: a fault names its place and what to do, and never a secret."""

from pathlib import Path

import pytest

from collectors.brokers.redis_streams.settings import read_settings
from eventwake.domain.alert import AlertKind
from eventwake.domain.errors import SettingsError
from eventwake.settings import CONFIG_VARIABLE, DEFAULT_ALERTS, AlertRule, Source, config_file, load

SHOP = '[[source]]\nname = "shop"\nkind = "redis_streams"\nurl = "redis://127.0.0.1"\n'


@pytest.fixture(autouse=True)
def elsewhere(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Neither the developer's own file nor environment has a say."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv(CONFIG_VARIABLE, raising=False)


def write(text: str, name: str = "eventwake.toml") -> Path:
    path = Path(name)
    path.write_text(text, encoding="utf-8")
    return path


def fault(text: str) -> str:
    """What is said of a file with a fault."""
    write(text)
    with pytest.raises(SettingsError) as caught:
        load()
    return str(caught.value)


class TestTheFile:
    def test_without_one_the_defaults_hold(self) -> None:
        settings = load()
        assert settings.store.url == "sqlite:///eventwake.db"
        assert settings.dashboard.host == "127.0.0.1", "not open to others unless told so"
        assert (settings.source, settings.alert) == ((), DEFAULT_ALERTS)

    def test_lies_in_the_working_directory_or_where_the_environment_says(
        self, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        write('[environment]\nname = "here"\n')
        assert load().environment.name == "here"
        write('[environment]\nname = "there"\n', "other.toml")
        monkeypatch.setenv(CONFIG_VARIABLE, "other.toml")
        assert load().environment.name == "there"
        assert config_file() == Path("other.toml")

    def test_that_was_named_and_is_not_there_is_a_fault_with_what_to_do(
        self, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setenv(CONFIG_VARIABLE, "nowhere.toml")
        with pytest.raises(SettingsError, match=r"nowhere\.toml does not exist; .*python -m eventwake init"):
            load()

    def test_a_source_is_read_only_until_it_says_otherwise(self) -> None:
        write(SHOP)
        assert load().source[0].writable is False

    def test_own_alert_rules_take_the_place_of_the_shipped_ones(self) -> None:
        write('[[alert]]\nname = "Far behind"\nkind = "lag"\nabove = 5\n')
        assert [(rule.name, rule.kind, rule.for_s) for rule in load().alert] == [
            ("Far behind", AlertKind.LAG, 0.0)
        ]


class TestFaults:
    @pytest.mark.parametrize(
        ("text", "said"),
        [
            ("[store\n", "eventwake.toml is not valid TOML"),
            ('[store]\nurll = "x"\n', "store.urll: is not a known setting; check its spelling"),
            ("[storage]\n", "storage: is not a known setting"),
            ("[dashboard]\nport = 99999\n", "dashboard.port: Input should be less than or equal to 65535"),
            ('[store]\nevents_days = "soon"\n', "store.events_days: Input should be a valid number"),
            ("[store]\nevents_days = 0\n", "store.events_days: Input should be greater than 0"),
            ('[environment]\ncolour = "pink"\n', "environment.colour: Input should be 'grey', 'green'"),
            ('[[source]]\nkind = "redis_streams"\n', "source[0].name: is missing"),
            (SHOP + '[[source]]\nname = "b"\n', "source[1].kind: is missing"),
            (SHOP + 'start = "yesterday"\n', 'source[0].start: must be "newest", "earliest" or so many'),
            (SHOP + 'start = "24h "\n', "source[0].start: must be"),
            (SHOP + "sample_rate = 1.5\n", "source[0].sample_rate: Input should be less than or equal to 1"),
            (SHOP.replace("shop", "my shop"), "source[0].name: String should match pattern"),
            (SHOP + SHOP, "two [[source]] tables are named 'shop'; give each a name of its own"),
            ('[[saga]]\nname = "s"\ncompleted = ["x"]\n', "saga[0].steps: is missing"),
            ('[[saga]]\nname = "s"\nsteps = []\ncompleted = ["x"]\n', "saga[0].steps: Tuple should have"),
            ('[[alert]]\nname = "a"\nkind = "lagg"\nabove = 1\n', "alert[0].kind: Input should be 'lag'"),
            ('[[alert]]\nname = "a"\nkind = "lag"\nabove = -1\n', "alert[0].above: Input should be"),
        ],
    )  # fmt: skip
    def test_name_their_place_and_what_would_be_right(self, text: str, said: str) -> None:
        assert said in fault(text)

    def test_are_told_all_at_once(self) -> None:
        told = fault("[store]\nsegment_rows = 1\n[dashboard]\nport = 0\n[nonsense]\n")
        assert [line.strip().partition(":")[0] for line in told.splitlines()] == [
            "eventwake.toml", "store.segment_rows", "dashboard.port", "nonsense",
        ]  # fmt: skip

    @pytest.mark.parametrize(
        "text",
        [
            '[store]\nurl = ["postgresql://eve:hunter2@db"]\n',
            SHOP.replace("shop", "hunter2 "),
            SHOP + 'start = "hunter2"\n',
            SHOP + '[source.dead_letter_streams]\nx = ["hunter2"]\n',
        ],
    )
    def test_do_not_repeat_values_which_may_be_secrets(self, text: str) -> None:
        assert "hunter2" not in fault(text)

    def test_a_source_that_is_not_there_is_told_with_those_that_are(self) -> None:
        write(SHOP)
        with pytest.raises(SettingsError, match=r"no source is named 'shoe'; eventwake\.toml has: shop"):
            load().source_named("shoe")
        assert load().source_named("shop").kind == "redis_streams"


class TestTheEnvironment:
    def test_goes_before_the_file_value_by_value(self, monkeypatch: pytest.MonkeyPatch) -> None:
        write('[store]\nurl = "sqlite:///a.db"\nevents_days = 3\n[dashboard]\nport = 9000\n')
        monkeypatch.setenv("EVENTWAKE_STORE__URL", "sqlite:///b.db")
        monkeypatch.setenv("EVENTWAKE_DASHBOARD__PORT", "9001")
        settings = load()
        assert (settings.store.url, settings.store.events_days) == ("sqlite:///b.db", 3)
        assert settings.dashboard.port == 9001

    def test_holds_without_a_file(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("EVENTWAKE_ENVIRONMENT__COLOUR", "red")
        assert load().environment.colour == "red"

    def test_is_validated_like_the_file(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("EVENTWAKE_DASHBOARD__PORT", "http")
        assert "dashboard.port: Input should be a valid integer" in fault("")


class TestPlaceholders:
    def test_are_filled_in_when_a_broker_asks_and_not_when_the_dashboard_reads_the_file(
        self, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        write(SHOP.replace("redis://", "redis://u:${SHOP_PASSWORD}@"))
        monkeypatch.delenv("SHOP_PASSWORD", raising=False)
        source = load().source[0]
        assert "${SHOP_PASSWORD}" in str(source.model_extra)
        monkeypatch.setenv("SHOP_PASSWORD", "p@ss${x}")
        assert source.broker_settings["url"] == "redis://u:p@ss${x}@127.0.0.1"

    def test_without_a_value_name_the_variable_and_the_source(self, monkeypatch: pytest.MonkeyPatch) -> None:
        write(SHOP.replace("127.0.0.1", "${SHOP_HOST}"))
        monkeypatch.delenv("SHOP_HOST", raising=False)
        source = load().source[0]
        with pytest.raises(SettingsError, match="source 'shop' needs the environment variable SHOP_HOST"):
            read_settings(source)

    def test_several_in_one_text_are_all_filled_in(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("A", "1")
        monkeypatch.setenv("B", "2")
        source = Source(name="s", kind="k", url="${A}-${B}-$A-${}-${1}", number=5)
        assert source.broker_settings == {"url": "1-2-$A-${}-${1}", "number": 5}


class TestPatterns:
    @pytest.mark.parametrize(
        ("stream", "watched"),
        [
            ("orders", True),
            ("orders.eu", True),
            ("payments", False),
            ("orders.test", False),
            ("Orders", False),
        ],
    )
    def test_tell_which_streams_are_watched(self, stream: str, watched: bool) -> None:
        source = Source(name="s", kind="k", include=("orders*",), exclude=("*.test",))
        assert source.watches(stream) is watched

    @pytest.mark.parametrize(
        ("stream", "dead"),
        [
            ("orders:dlq", True), ("orders.dlq", True), ("orders-dlq", True), ("orders_dlq", True),
            ("orders:dead_letter", True), ("orders:dead-letters", True), ("failed", True),
            ("dlq", False), ("orders", False), ("dlq:orders", False),
        ],
    )  # fmt: skip
    def test_tell_which_hold_dead_letters(self, stream: str, dead: bool) -> None:
        source = Source(name="s", kind="k", dead_letter_streams={"failed": "orders"})
        assert source.is_dead_letter_stream(stream) is dead

    def test_tell_what_an_alert_rule_looks_at(self) -> None:
        rule = AlertRule(name="r", kind=AlertKind.LAG, above=1, source="shop*", match="orders/*")
        assert rule.covers("shop-eu", "orders/mail")
        assert not rule.covers("bank", "orders/mail")
        assert not rule.covers("shop-eu", "payments/mail")
