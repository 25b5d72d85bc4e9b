"""The books in Postgres: statements, entries from the outbox, the ledger."""
