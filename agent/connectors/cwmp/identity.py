"""The name of a CPE: `00259E-HG8245-48575443`, of its OUI, product class and serial number (TR-069 section 3.4.4).

A part's bytes but letters, digits, `_` and `.` are percent-encoded, so that a hyphen divides, a slash never stands in
it, and two CPE never have one name. Without a product class it is `OUI-SERIAL`.
"""

from __future__ import annotations

from typing import Final
from urllib.parse import quote

from agent.connectors.cwmp.structs import DeviceId

KIND: Final = "cwmp"
_LONGEST: Final = 400
"""Characters of a name. Twice 64 characters of three bytes, each byte written as `%XX`, would be longer: none is."""


def cpe_id(device: DeviceId) -> str | None:
    """Return a CPE's name, None where it says too little of itself, or something else than an OUI."""
    oui, product_class, serial = device.key
    if len(oui) != 6 or not all(c in "0123456789ABCDEF" for c in oui) or not serial:
        return None
    parts = (oui, product_class, serial) if product_class else (oui, serial)
    name = "-".join(_escaped(part) for part in parts)
    return name if len(name) <= _LONGEST else None


def _escaped(part: str) -> str:
    return quote(part.encode("utf-8", "replace"), safe="").replace("-", "%2D").replace("~", "%7E")


def target_id(name: str) -> str:
    """Return the id of a CPE's target: `cwmp/00259E-HG8245-48575443`."""
    return f"{KIND}/{name}"
