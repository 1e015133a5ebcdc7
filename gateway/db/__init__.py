"""The only truth about accounts, points and jobs: SQLite in one process, PostgreSQL in many."""
