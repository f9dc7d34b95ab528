"""A LibreNMS, or as much of it as its API shows: devices, their ports and tables, sensors, and a poller that may stop.

Written from LibreNMS' API documentation (v0) and from the behavior of its source where the documentation is silent:

* lists come whole; `resources/...` and `links` answer 404 when they are empty; deleted ports are in no list.
* a device's row holds its SNMP community; the times in it have no zone; `status` is 0 or 1 with `status_reason`
  `icmp` or `snmp`.
* a device that is down is not polled: `last_polled` stays. Ports have `poll_time` in unix seconds.
* FDB rows name a VLAN by its id in the table of VLANs, not by its number.
* values of wireless sensors come one at a time.

What is assumed beyond these stands in `lab/assumed.toml`; `texts` plays an older release's numbers.
"""
