"""The durable base of both programs: one SQLite file, one writer thread. Standard library only.

* `writer`: `SqliteWriter` (group commit, each command undone alone, the error policy), `Transaction`, `Command`
* `files`: `connect`, `open_database` (settings and migrations)
* `folders`: makes the names in a folder durable
* `errors`: the tree
* `process`: keeps the memory of a program that holds keys away from dumps, tracing and swap
"""
