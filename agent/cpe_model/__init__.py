"""Data models of CPE (TR-098, TR-181), shared by every protocol that manages them (TR-069, USP).

`known` holds cached parameters and the interface of their store, `vocabulary` and `profiles` name parameters,
`sensitivity` says which are secrets, `values` compares them, `matrix` and `breaker` record which operations work on
which model. `addresses` names parameters and rows of a target, `rows` finds rows by their keys, `effects` lists the
effects on a CPE, `baseline` the settings declared for new CPE. `manager` is the interface of a connector that manages
CPE. Pure: no I/O, no clock.
"""
