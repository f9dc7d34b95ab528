"""`ispcloud`: today the offline half, the desk; it needs no network and no server.

* `cli` (the typer app `ispcloud`, `main`), `errors` (the tree, and exit codes)
* `desk` (the approver's and owner's tool on their own workstation)
"""
