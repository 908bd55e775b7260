"""Alembic's entry: runs the revisions on the connection that `eventwake.store.migrate` hands over."""

from alembic import context

from eventwake.store.schema import metadata

context.configure(
    connection=context.config.attributes["connection"],
    target_metadata=metadata,
    render_as_batch=True,  # SQLite alters a table by copying it
    transaction_per_migration=False,
)
context.run_migrations()
