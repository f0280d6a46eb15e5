"""Alembic's entry: runs the migrations on the connection that `migrate` hands over."""

from alembic import context

from crmkit.adapters.sql.schema import VERSION_TABLE

context.configure(
    connection=context.config.attributes["connection"],
    version_table=VERSION_TABLE,
    # The connection's transaction belongs to whoever lent it; Alembic must not end it.
    transaction_per_migration=False,
)
context.run_migrations()
