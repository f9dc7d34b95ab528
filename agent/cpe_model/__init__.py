"""Data models of CPE (TR-098, TR-181), shared by every protocol that manages them (TR-069, USP).

`known` holds cached parameters and the interface of their store, `vocabulary` and `profiles` name parameters, `kinds`
says which are secrets, `values` compares them, `matrix` and `breaker` record which operations work on which model.
Pure: no I/O, no clock.
"""
