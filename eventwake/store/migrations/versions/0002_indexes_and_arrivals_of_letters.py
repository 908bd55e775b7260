"""Letters are found by all that they can be filtered by, and know when they came

Revision ID: 0002
Revises: 0001
"""

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None
rewrites_data = False  # True has a copy of the store made first


def upgrade() -> None:
    op.drop_index("ix_letter_state", "letter")
    op.add_column(
        "letter", sa.Column("arrived_ms", sa.BigInteger(), server_default=sa.text("0"), nullable=False)
    )
    # as arrivals were reckoned until now, of the newest week: older ones no page shows as such
    op.execute(
        "UPDATE letter SET arrived_ms = CASE WHEN failed_ms < found_ms THEN failed_ms ELSE found_ms END "
        "WHERE found_ms > (SELECT max(found_ms) - 604800000 FROM letter)"
    )
    # as they are cut from now on: PostgreSQL refuses long texts in an index
    op.execute("UPDATE letter SET group_name = substr(group_name, 1, 512) WHERE length(group_name) > 512")
    op.drop_index("ix_letter_found", "letter")
    for name, *columns in (
        ("ix_letter_failed", "failed_ms", "id", "fingerprint"),
        ("ix_letter_state", "state", "failed_ms", "id", "stream_id", "version"),
        ("ix_letter_group", "group_name", "state", "failed_ms", "id", "fingerprint"),
        ("ix_letter_type", "event_type", "state", "failed_ms", "id", "fingerprint"),
        ("ix_letter_changed", "state", "changed_ms", "stream_id"),
        ("ix_letter_command", "command_id", "state"),
        ("ix_letter_arrived", "arrived_ms"),
    ):
        op.create_index(name, "letter", columns)
