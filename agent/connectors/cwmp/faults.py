"""The fault codes of TR-069 (annex A.5), with the party at fault in SOAP's words."""

from __future__ import annotations

import enum
from collections.abc import Collection, Mapping
from typing import Final

from agent.connectors.base import Reply
from agent.connectors.cwmp.messages import Fault
from agent.cpe_model.presentable import presentable
from agent.reasons import TargetReason


class AcsFault(enum.IntEnum):
    """Codes by which an ACS refuses a CPE's request (A.5.2). 8800 to 8899 are a vendor's."""

    METHOD_NOT_SUPPORTED = 8000
    REQUEST_DENIED = 8001
    INTERNAL_ERROR = 8002
    INVALID_ARGUMENTS = 8003
    RESOURCES_EXCEEDED = 8004
    RETRY_REQUEST = 8005
    VERSION_INCOMPATIBLE = 8006


class CpeFault(enum.IntEnum):
    """Codes by which a CPE refuses an ACS' request (A.5.1). 9800 to 9899 are a vendor's."""

    METHOD_NOT_SUPPORTED = 9000
    REQUEST_DENIED = 9001
    INTERNAL_ERROR = 9002
    INVALID_ARGUMENTS = 9003
    RESOURCES_EXCEEDED = 9004
    INVALID_PARAMETER_NAME = 9005
    INVALID_PARAMETER_TYPE = 9006
    INVALID_PARAMETER_VALUE = 9007
    NON_WRITABLE_PARAMETER = 9008
    NOTIFICATION_REQUEST_REJECTED = 9009
    DOWNLOAD_FAILURE = 9010
    UPLOAD_FAILURE = 9011
    TRANSFER_AUTHENTICATION_FAILURE = 9012
    UNSUPPORTED_TRANSFER_PROTOCOL = 9013
    DOWNLOAD_MULTICAST_GROUP = 9014
    DOWNLOAD_NO_SERVER = 9015
    DOWNLOAD_NO_FILE = 9016
    DOWNLOAD_INCOMPLETE = 9017
    DOWNLOAD_CORRUPTED = 9018
    DOWNLOAD_FILE_AUTHENTICATION = 9019
    DOWNLOAD_OUT_OF_WINDOW = 9020
    CANCEL_NOT_PERMITTED = 9021
    INVALID_UUID = 9022
    UNKNOWN_EXECUTION_ENVIRONMENT = 9023
    DISABLED_EXECUTION_ENVIRONMENT = 9024
    EXECUTION_ENVIRONMENT_MISMATCH = 9025
    DUPLICATE_DEPLOYMENT_UNIT = 9026
    SYSTEM_RESOURCES_EXCEEDED = 9027
    UNKNOWN_DEPLOYMENT_UNIT = 9028
    INVALID_DEPLOYMENT_UNIT_STATE = 9029
    DOWNGRADE_NOT_PERMITTED = 9030
    UPDATE_VERSION_NOT_SPECIFIED = 9031
    UPDATE_VERSION_EXISTS = 9032


def refusal(code: AcsFault, text: str) -> Fault:
    """Return an ACS' refusal. `text`: for people, under 256 characters; it goes to the CPE, so it holds no secret."""
    caller = code is AcsFault.INVALID_ARGUMENTS
    return Fault(int(code), text, soap_code="Client" if caller else "Server")


def fault_text(fault: Fault, asked: Collection[str] | None = None) -> str:
    """Return a CPE's refusal, for people: `9007 Invalid parameter value: Device.X.Y 9007`.

    `asked`: the parameters that were to be set, perhaps to secrets; nothing but these and codes is said then, since
    texts of the CPE's own may repeat a value. Else they are made safe, and clipped.
    """
    code = fault.fault_code
    name = _NAMES.get(code or 0, "")
    said = presentable(fault.fault_string) if fault.fault_string and not name and asked is None else ""
    parts = [f"{_parameter(p.parameter_name, asked)} {p.fault_code}" for p in fault.parameters[:10]]
    more = f" and {len(fault.parameters) - 10} more" if len(fault.parameters) > 10 else ""
    listed = f": {', '.join(parts)}{more}" if parts else ""
    return f"{code if code is not None else 'a SOAP fault'} {name or said}".rstrip() + listed


def _parameter(name: str, asked: Collection[str] | None) -> str:
    return presentable(name) if asked is None or name in asked else "another"


def refused(fault: Fault, asked: Collection[str] | None = None) -> Reply:
    """Return a fault as the reply to a step: its code, and its entry for each parameter.

    `asked`: as of `fault_text`.
    """
    return Reply(False, TargetReason.FAULT.numbered(fault.fault_code or "soap"), fault_text(fault, asked))


_NAMES: Final[Mapping[int, str]] = {
    code: code.name.replace("_", " ").capitalize().replace("uuid", "UUID") for code in CpeFault
}
