"""Reason codes of SNMP, beside those of `agent.reasons`."""

from __future__ import annotations

from agent.reasons import ExplainedReason


class SnmpReason(ExplainedReason):
    """Reasons that only SNMP has."""

    DUPLICATE_SYSNAME = (
        "duplicate-sysname",
        "Several devices call themselves by one name.",
        "Give each a name of its own, or find out whether two addresses are one device.",
    )
    NO_PROFILE = (
        "no-profile",
        "No profile is for this device: it is read by the standard MIBs alone.",
        "Write a profile for it, or ask for one: docs/connectors/snmp.md.",
    )
    NOT_HEARD = (
        "not-heard",
        "Notifications of devices are not heard: the agent could not have the address and port.",
        "Read the detail: another program has the port, or the agent may not use ports below 1024.",
    )
    NOT_ALL_READ = (
        "not-all-read",
        "The device did not answer some of the questions of its profile.",
        "Read the detail: a table that a device refuses or never ends is left out of its reading.",
    )
    RENAMED = (
        "renamed",
        "The device calls itself otherwise than when it was read first since the agent started.",
        "Find out whether it was renamed, or another device answers at its address.",
    )
    REPLACED = (
        "replaced",
        "Another device answers at the address: its serial number or its kind is another one.",
        "Check that the configuration still says which device this is.",
    )
    NO_WRITE_CREDENTIAL = (
        "no-write-credential",
        "The configuration names no credential by which the device is changed.",
        "Give it a write_credential, by another secret than that by which it is read.",
    )
    SAME_SECRET = (
        "same-secret",
        "The secret by which the device is changed is the one by which it is read.",
        "Set another secret for its write_credential, on the device too.",
    )
    NO_SUCH_PORT = (
        "no-such-port",
        "The device has no port of this name.",
        "ispagent device show NAME lists its ports.",
    )
    AMBIGUOUS_PORT = (
        "ambiguous-port",
        "Several ports of the device have this name: their numbers may change, so none of them is written.",
        "Give each a name of its own on the device.",
    )
    NOT_SHOWN = (
        "not-shown",
        "The device does not show the present value, so nothing could tell whether somebody else changed it.",
        "Let the reading credential see it, if the device has it.",
    )
    OWN_WAY = (
        "own-way",
        "The agent's own way to the device leads over the port, or may: it could not be switched on again.",
        "Do it by hand, with somebody at the device.",
    )
    POWER_OFF = (
        "power-off",
        "The port feeds nothing now: a power cycle would switch its power on.",
        "Find out who switched it off.",
    )
    SET_REFUSED = (
        "set-refused",
        "The device refused to be changed, with the error-status of its answer.",
        "Read the detail: rights of the write credential, or a value that the device does not take.",
    )
