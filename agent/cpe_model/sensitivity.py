"""The privacy class of every parameter, from its path alone: whether it is shown, stored in clear, compared, written.
Pure.

Paths are sorted by how their last word ends, under both roots and below vendors' own objects alike. Where a name
could be either, it is taken for the more guarded one: a flag that is hidden costs a look, a key that is shown costs a
customer. The standard's own word for secrets is `hidden`; a test holds the two together, and the same test has every
path that is called read-only or volatile here be read-only in the standard. The reverse is not claimed: whether a
plain parameter can be written is for GetParameterNames to say.
"""

from __future__ import annotations

import enum
import re
from functools import lru_cache
from typing import Final


class Sensitivity(enum.Enum):
    """The class of a parameter's value, most guarded first."""

    SECRET = "secret"
    """Never shown, stored sealed: passwords, keys, PIN, whole configurations."""
    PERSONAL = "personal"
    """Of a person or a home: SSID, names and addresses of hosts, user names, places, logs. Never leaves the agent."""
    VOLATILE = "volatile"
    """Changes by itself: uptimes, counters, levels. Not compared."""
    READ_ONLY = "read-only"
    """Part of the CPE's nature; nobody sets it."""
    PLAIN = "plain"
    """Everything else."""

    @property
    def clear(self) -> bool:
        """Whether a value may be stored and shown as it is."""
        return self not in (Sensitivity.SECRET, Sensitivity.PERSONAL)


# --- secret -----------------------------------------------------------------------------------------------------------

_SECRET: Final = re.compile(
    r"pass[wpc]|(?<!by)(?<!com)pass(?!through|ive)"  # Password, passwd, Passphrase, Pass; no bypass, no PassThrough
    r"|phrase|pwd|secret|psk|key|credential|token|community"
    r"|pin$"
)
_WORD: Final = re.compile(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+")
_CONFIGURATION: Final = re.compile(r"(config|configuration|cfg)_?(file|data|dump|backup|content)$|^persistentdata$")
"""A whole configuration has all passwords in it: TR-098's `DeviceConfig.ConfigFile`, and vendors' own."""

_OPEN: Final = frozenset(
    {
        # Names that say `key` and mean a number, a time or a mark (QoS, bridging, IPsec, Wi-Fi)
        "appkey", "availableinterfacekey", "bridgekey", "classificationkey", "encryptionkeylength", "filterkey",
        "flowkey",
        "keyidentifier", "keyidentifiergenerationpolicy", "markingkey", "policerkey", "queuekey", "wepkeyindex",
        "decryptionfailednokeycounter", "ikerekeylifetime", "ipsecrekeylifetimebyte", "ipsecrekeylifetimetime",
        "rekeyinginterval", "totalpskfailures",
        # What the ACS itself wrote, and needs to see (TR-069 annex A.3.2.1)
        "parameterkey", "commandkey",
        # Flags about a password or a PIN, and public halves
        "passwordrequired", "passwordreset", "passworduserselectable", "sharedpassword", "pincheck",
        "publiccredential", "targetpubliccredential",
    }
)  # fmt: skip
"""Standard names that look like secrets and are none."""
_OPEN_ENDS: Final = ("numberofentries", "supported")

# --- personal ---------------------------------------------------------------------------------------------------------

_PERSONAL: Final = re.compile(
    r"(?:"
    # names and addresses of things in the house, and of the house
    r"(?<!cla)ssid|hostname|physaddress|macaddress(es|list|filterlist)?|mac|friendlyname|devicename"
    r"|ipaddress(es)?|ipv[46]address|ipv6prefix|ipaddr|internalclient|remotehost|clientid|chaddr|yiaddr"
    r"|connectionrequesturl|udpconnectionrequestaddress|endstationmacs"
    # people
    r"|username|user_name|loginname|useraccount|identity|customeridentifier|email|jabberids?"
    r"|phonenumber|directorynumber|(calling|called|caller|dialled|dialed|destination)_?(number|id|party)|uri"
    r"|msisdn|imsi|imei|iccid"
    # places, and free text that a firmware writes
    r"|latitude|longitude|geographicallocation|locationdescription|devicelog|syslog|calllog"
    r")$"
)
_PERSONAL_PAIRS: Final = frozenset({"location.dataobject", "ipv6prefix.prefix", "ipv6address.prefix"})

# --- volatile and read-only -------------------------------------------------------------------------------------------

_STATISTICS: Final = frozenset(
    {"stats", "statistics", "extendedstats", "currentday", "quarterhour", "showtime", "total"}
)
"""Objects with counters as all their read-only parts."""
_SETTINGS: Final = frozenset({"enable", "alias", "reset", "forcesample"})
"""The writable parts of an object of statistics."""
_VOLATILE: Final = re.compile(
    r"(?:uptime|leasetimeremaining|currentlocaltime|lastchange|responsetime(detailed)?|[bre]omtime"
    r"|tcpopenre(quest|sponse)time"
    r"|(bytes|packets|frames|cells|blocks|messages|errors)_?(sent|received|transmitted)"
    r"|(success|failure|retry|retrans|retransmission)count"
    r"|signalstrength|opticalsignallevel|transmitopticallevel|(rx|tx)_?power|cpu_?(usage|used)|mem_?(used|free)"
    r"|channelsinuse|testbytesreceived|testbytessent|lastconnectionerror)$"
)
_READ_ONLY: Final = re.compile(
    r"(?:numberofentries|connectionstatus|hardwareversion|softwareversion|modemfirmwareversion|manufactureroui"
    r"|productclass|modelname|devicesummary|parameterkey|possiblechannels|natdetected|specversion|firstusedate)$"
)
_VENDOR: Final = re.compile(r"x_", re.IGNORECASE)


@lru_cache(maxsize=65_536)
def classify(path: str) -> Sensitivity:
    """Return the class of a parameter. Any text has one; an object, with a path that ends in a dot, is plain.

    Args:
        path: a full name, with instance numbers or `{i}` in their place. A name that is none is classified all the
            same, by its last word.
    """
    words = [word for word in path.split(".") if not (word.isdigit() or word == "{i}")]
    last = words[-1] if words else ""
    low = last.lower()
    if _is_secret(last, low):
        return Sensitivity.SECRET
    above = words[-2].lower() if len(words) > 1 else ""
    if _PERSONAL.search(low) or f"{above}.{low}" in _PERSONAL_PAIRS:
        return Sensitivity.PERSONAL
    if _VOLATILE.search(low) or (above in _STATISTICS and not _VENDOR.match(last) and low not in _SETTINGS):
        return Sensitivity.VOLATILE
    if _READ_ONLY.search(low):
        return Sensitivity.READ_ONLY
    return Sensitivity.PLAIN


def _is_secret(last: str, low: str) -> bool:
    if low in _OPEN or low.endswith(_OPEN_ENDS):
        return False
    if _SECRET.search(low) or _CONFIGURATION.search(low):
        return True
    return "pin" in (word.lower() for word in _WORD.findall(last))
