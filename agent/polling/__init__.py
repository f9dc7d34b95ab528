"""Devices over time: connectors that play `Polls` are read again and again, and the readings are kept.

* `poller` is the schedule.
* `series` keeps values over time in a file of their own: `series_rows` packs them, `series_sql` is the file.
* `triggered` polls a device at once when something was heard of it, or its secret changed.
* `exploring` answers questions that people ask devices by hand.
"""
