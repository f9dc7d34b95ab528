"""SQLite with one writer: `db` (typed commands, group commit), `log_store` (the audit log), `vault` (secrets, keys)."""
