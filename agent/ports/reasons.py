"""Reason codes of requests about ports, beside those of `agent.reasons`."""

from __future__ import annotations

from agent.reasons import ExplainedReason


class PortSkipReason(ExplainedReason):
    """Why a request leaves a port as it is."""

    UPLINK = (
        "uplink",
        "The port is an uplink: everybody behind the device hangs on it.",
        "Do it by hand, with somebody at the device; or correct [lines] roots.",
    )
    PORT_AS_BEFORE = "port-as-before", "Nothing of the change stands on the port.", ""
