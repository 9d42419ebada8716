"""The store on SQLite or PostgreSQL: its database, schema, migrations, and what its failures mean."""
