"""The store on SQLite or PostgreSQL: engine, schema, migrations, and what its failures mean."""
