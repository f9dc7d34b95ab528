"""Values of devices over time: connectors that play `Polls` are asked again and again, and the answers are kept.

`poller` is the loop, `samples` the table in the agent's database. Durable: the newest values of each name.
"""
