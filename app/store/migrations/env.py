"""Alembic's environment: runs the migrations on the given connection, within its transaction."""

from alembic import context

context.configure(connection=context.config.attributes["connection"], target_metadata=None)
context.run_migrations()
