"""What the README says holds."""

from pathlib import Path

from collectors.brokers.redis_streams import checks

README = (Path(__file__).resolve().parents[2] / "README.md").read_text()


def test_it_names_every_right_that_a_redis_user_needs() -> None:
    needed = (
        *checks.commands_to_watch(cluster=True),
        *checks.commands_to_act(scripts=True),
        *checks.commands_to_act(scripts=False),
    )
    assert [right for right in checks.rights_to(needed) if f"+{right}" not in README] == []
