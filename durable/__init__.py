"""The base of both programs: one SQLite file with its writer, the process, systemd. Standard library only.

* `writer`: `SqliteWriter` (group commit, each command undone alone, the error policy), `Transaction`, `Command`
* `files`: `connect`, `open_database` (settings and migrations)
* `installation`: checks of unit, key, disk, clock and database, for `doctor`
* `folders`: makes the names in a folder durable
* `errors`: the tree
* `service_manager`: `ServiceManager`: readiness, status and watchdog of systemd, and the sockets that it opened
* `credentials`: the keys that systemd unsealed, and who else may read a file with a key
* `process`: keeps the memory of a program that holds keys away from dumps, tracing and swap
"""
