"""Messages of a CPE's session as text for a person that looks for a fault, without secrets. Pure.

* A text is shown only where its element is known to hold no secret. All others are a count of characters.
* A value is shown by the name before it. A name that cannot be read hides its value.
* The text of a fault is hidden after a SetParameterValues, since a CPE may repeat a value in it.
"""

from __future__ import annotations

import re
from typing import Final

from agent.connectors.cwmp import limits
from agent.connectors.cwmp.salvage import TAG
from agent.cpe_model.sensitivity import Sensitivity, classify

_TAG: Final = re.compile(TAG, re.ASCII)
_PATH: Final = re.compile(r"[A-Za-z0-9_.:-]{1,256}", re.ASCII)
_OPEN: Final = frozenset(
    {
        "ID", "HoldRequests", "NoMoreRequests", "SessionTimeout", "SupportedCWMPVersions", "UseCWMPVersion",
        "Manufacturer", "OUI", "ProductClass", "SerialNumber", "EventCode", "CommandKey", "MaxEnvelopes", "CurrentTime",
        "RetryCount", "Name", "ParameterName", "ParameterPath", "NextLevel", "string", "Writable", "ObjectName",
        "InstanceNumber", "Status", "ParameterKey", "FaultCode", "faultcode", "FileType", "FileSize", "DelaySeconds",
        "StartTime", "CompleteTime",
    }
)  # fmt: skip
_FAULTS: Final = frozenset({"FaultString", "faultstring"})


def masked_untrusted(body: bytes, *, fault_texts: bool) -> str:
    """Return a body as text; secrets, and all that is not known to be none, are a count of characters. Total.

    Args:
        body: of a POST or its answer, in clear.
        fault_texts: show the text of faults.
    """
    clipped = body[: limits.TRACE_MESSAGE_BYTES]
    text = clipped.decode("utf-8", "replace")
    shown = _OPEN | _FAULTS if fault_texts else _OPEN
    pieces: list[str] = []
    at, element, path = 0, "", ""
    for tag in _TAG.finditer(text):
        inside, at = text[at : tag.start()], tag.end()
        readable = _PATH.fullmatch(inside.strip()) is not None
        if element == "Value":
            may = bool(path) and classify(path) is not Sensitivity.SECRET
            path = ""
        else:
            may = element in shown
        pieces += [inside if may or not inside.strip() else f"({len(inside)} characters)", tag[0]]
        if element == "Name":
            path = inside.strip() if readable else ""
        element = "" if tag[0].startswith("</") else _local(tag[0])
    rest = text[at:]
    pieces.append(rest if not rest.strip() else f"({len(rest)} characters)")
    if len(body) > len(clipped):
        pieces.append(f" … and {len(body) - len(clipped)} bytes more")
    return "".join(pieces)


def _local(tag: str) -> str:
    """Return an opening tag's name without its prefix; "" of an element that is empty."""
    return "" if tag.endswith("/>") else re.split(r"[\s>]", tag[1:], maxsplit=1)[0].rpartition(":")[2]
