"""A RouterOS router to rehearse on: the API, the menus, subscribers, a firewall's verdict, faults on demand.

Written from MikroTik's description of the API and from recordings of real routers (tables/, made by
`python -m lab.tests.router.make_tables`). It imports none of the project's other packages.

- `device`: the router itself, pure: tables of rows, a clock from outside, timers that the caller runs
- `words`: sentences and bytes; `session`: one API connection, pure; `server`: sockets around it (trio)
- `verbs`, `query`: what a command does; `facts`: which menus and arguments a version has; `lore`: what is known of the
  menus that matter and the recordings do not say; `values`: how a router writes a value back
- `table`: ordered rows with an index; `ppp`: CPE and their sessions (it asks no RADIUS by itself, `lab.router_nas` does
  for it); `dhcp`: clients and leases; `hotspot`: hosts that log in, `gate` what holds the others back; `hosts`: fixed
  addresses; `pools`: addresses to give out
- `state`: rows, clock and timers, under all kinds of access; `device` puts the router together from its parts
- `packets`: subscribers by name, their packets and speed; `flows`: connections, and what a packet meets; `firewall`:
  by which rule; `queues`: by which simple queue
- `faults`: what it can be told to get wrong; `rsc`, `export`: an export read and written
- `script`: RouterOS's scripting language, read as RouterOS reads it; nothing runs it
"""
