"""The lines of subscribers: the state of every part of every device, since when, and the services on it.

* `known`: devices, parts, MAC addresses and neighbors as they were read last.
* `following`: how a part's state follows from its reading and the one before. Pure.
* `states`: commands that record readings, silences and notifications, and the queries.
* `finding`: the part that serves a subscriber. `outage`: causes of outages, and how many subscribers hang on each.

Durable: the last known state of each part, in the agent's database. Series over time are kept elsewhere.
MAC addresses, descriptions and serial numbers may identify subscribers: they stay in this database and in answers of
the local API, and no log line has them.
"""
