"""The effect of each method of TR-069 annex A on a CPE. A method takes the request and gives the inside of its
response.
"""

from __future__ import annotations

import re
import xml.etree.ElementTree as ET
from collections.abc import Callable
from typing import Final

from lab.cpe import soap
from lab.cpe.diagnostics import diagnostic_of
from lab.cpe.errors import CwmpFault, ParameterFault
from lab.cpe.soap import Envelope
from lab.cpe.state import CpeState
from lab.cpe.transfers import DOWNLOADS, Transfer

Method = Callable[[CpeState, Envelope], str]
_COMMAND_KEY_MAX: Final = 32
# where downloads and uploads are in one list, uploads have other numbers (A.4.1.7)
_ALL_TYPES: Final = {
    "1 Vendor Configuration File": "3 Vendor Configuration File",
    "2 Vendor Log File": "4 Vendor Log File",
}
# the later two, of CWMP 1.2, name the instance of the file
_UPLOADS: Final = re.compile(
    r"1 Vendor Configuration File|2 Vendor Log File|(3 Vendor Configuration|4 Vendor Log) File \d+"
)


def _key(request: Envelope, name: str = "CommandKey") -> str:
    """A CommandKey or ParameterKey.

    Raises:
        CwmpFault: 9003 it is too long.
    """
    text = request.text(name)
    if len(text) > _COMMAND_KEY_MAX:
        raise CwmpFault(9003)
    return text


def _number(element: ET.Element, name: str) -> int:
    text = soap.text_of(element, name, "0").strip() or "0"
    if not text.isdecimal() or int(text) >= 1 << 32:
        raise CwmpFault(9003)
    return int(text)


def names_of(request: Envelope) -> tuple[str, ...]:
    """The names that a request is about."""
    for array in ("ParameterNames", "ParameterList"):
        found = soap.items(request.body, array)
        if found:
            return tuple(soap.text_of(one, "Name") if len(one) else one.text or "" for one in found)
    for name in ("ParameterPath", "ObjectName"):
        if soap.child(request.body, name) is not None:
            return (request.text(name),)
    return ()


def _get_rpc_methods(cpe: CpeState, request: Envelope) -> str:
    return soap.method_list(tuple(methods_of(cpe.version)))


def _get_parameter_values(cpe: CpeState, request: Envelope) -> str:
    names = names_of(request)
    if not names:
        raise CwmpFault(9003)
    values = [one for name in names for one in cpe.tree.show(name)]
    most = cpe.quirks.names_max
    if most and len(values) > most:
        raise CwmpFault(9004)
    return soap.value_list(values)


def _get_parameter_names(cpe: CpeState, request: Envelope) -> str:
    deep = not soap.is_true(request.text("NextLevel"))
    return soap.name_list(cpe.tree.names(request.text("ParameterPath"), next_level=not deep))


def _set_parameter_values(cpe: CpeState, request: Envelope) -> str:
    """All or none: every parameter is checked before the first is set (A.3.2.1)."""
    key = _key(request, "ParameterKey")
    wanted: dict[str, str] = {}
    faults: list[ParameterFault] = []
    structs = soap.items(request.body, "ParameterList")
    for struct in structs:
        name = soap.text_of(struct, "Name")
        value = soap.child(struct, "Value")
        kind = "" if value is None or cpe.quirks.any_type else soap.kind_of(value)
        text = "" if value is None else value.text or ""
        code = 9003 if name in wanted else _check(cpe, name, kind, text)
        wanted[name] = text
        if code:
            faults.append(ParameterFault(name, code))
    if faults:
        raise CwmpFault(9003, tuple(faults))
    if not structs:
        raise CwmpFault(9003)
    return soap.element("Status", int(cpe.set_values(wanted, key)))


def _check(cpe: CpeState, name: str, kind: str, text: str) -> int:
    code = cpe.tree.check(name, kind, text)
    diagnostic = diagnostic_of(name)
    # the ACS may ask for a diagnostic or end one; the other states are the CPE's to say (TR-181)
    if code == 0 and diagnostic and diagnostic[1] and text not in ("Requested", "Canceled", "None"):
        return 9007
    return code


def _get_parameter_attributes(cpe: CpeState, request: Envelope) -> str:
    names = names_of(request)
    if not names:
        raise CwmpFault(9003)
    tree = cpe.tree
    found = [(one, tree.attributes(one)) for name in names for one in tree.parameters(name)]
    return soap.attribute_list(found)


def _set_parameter_attributes(cpe: CpeState, request: Envelope) -> str:
    tree = cpe.tree
    changes: list[tuple[str, int | None, tuple[str, ...] | None]] = []
    for struct in soap.items(request.body, "ParameterList"):
        level = access = None
        if soap.is_true(soap.text_of(struct, "NotificationChange")):
            level = _number(struct, "Notification")
        if soap.is_true(soap.text_of(struct, "AccessListChange")):
            access = tuple(one.text or "" for one in soap.items(struct, "AccessList"))
        if level is not None and level > 6:
            raise CwmpFault(9003)
        name = soap.text_of(struct, "Name")
        for one in tree.parameters(name):
            if level is not None and not tree.may_notify(one, level):
                # a parameter of a partial path that refuses is passed over (A.3.2.4)
                if one == name:
                    raise CwmpFault(9009)
                continue
            changes.append((one, level, access))
    for one, level, access in changes:
        tree.set_attributes(one, level, access)
    return ""


def _add_object(cpe: CpeState, request: Envelope) -> str:
    key = _key(request, "ParameterKey")
    number = cpe.tree.add(request.text("ObjectName"))
    cpe.keep_parameter_key(key)
    return soap.element("InstanceNumber", number) + soap.element("Status", 0)


def _delete_object(cpe: CpeState, request: Envelope) -> str:
    key = _key(request, "ParameterKey")
    cpe.tree.delete(request.text("ObjectName"))
    cpe.keep_parameter_key(key)
    return soap.element("Status", 0)


def _download(cpe: CpeState, request: Envelope) -> str:
    kind = request.text("FileType")
    if kind not in DOWNLOADS:
        raise CwmpFault(9003)
    transfer = Transfer(
        _key(request),
        kind,
        request.text("URL"),
        request.text("Username"),
        request.text("Password"),
        size_bytes=_number(request.body, "FileSize"),
        target=request.text("TargetFileName"),
        due=cpe.now() + _number(request.body, "DelaySeconds"),
    )
    cpe.transfers.queue(transfer)
    return _LATER


def _upload(cpe: CpeState, request: Envelope) -> str:
    kind = request.text("FileType")
    if _UPLOADS.fullmatch(kind) is None:
        raise CwmpFault(9003)
    transfer = Transfer(
        _key(request),
        kind,
        request.text("URL"),
        request.text("Username"),
        request.text("Password"),
        is_download=False,
        due=cpe.now() + _number(request.body, "DelaySeconds"),
        method="Upload",
    )
    cpe.transfers.queue(transfer)
    return _LATER


_UNKNOWN: Final = soap.time_text(None)
# not yet: TransferComplete will say how it went
_LATER: Final = f"<Status>1</Status><StartTime>{_UNKNOWN}</StartTime><CompleteTime>{_UNKNOWN}</CompleteTime>"


def _schedule_download(cpe: CpeState, request: Envelope) -> str:
    windows = soap.items(request.body, "TimeWindowList")
    if request.text("FileType") not in DOWNLOADS or not 1 <= len(windows) <= 2:
        raise CwmpFault(9003)
    start, end = _number(windows[0], "WindowStart"), _number(windows[-1], "WindowEnd")
    if end <= start:
        raise CwmpFault(9003)
    transfer = Transfer(
        _key(request),
        request.text("FileType"),
        request.text("URL"),
        request.text("Username"),
        request.text("Password"),
        size_bytes=_number(request.body, "FileSize"),
        target=request.text("TargetFileName"),
        due=cpe.now() + start,
        until=cpe.now() + end,
        method="ScheduleDownload",
    )
    cpe.transfers.queue(transfer)
    return ""


def _cancel_transfer(cpe: CpeState, request: Envelope) -> str:
    cpe.transfers.cancel(request.text("CommandKey"))
    return ""


def _get_queued_transfers(cpe: CpeState, request: Envelope) -> str:
    queued = [(("CommandKey", one.command_key), ("State", one.state)) for one in cpe.transfers.queued]
    return soap.transfer_list("QueuedTransferStruct", queued)


def _get_all_queued_transfers(cpe: CpeState, request: Envelope) -> str:
    queued = [
        (
            ("CommandKey", one.command_key),
            ("State", one.state),
            ("IsDownload", int(one.is_download)),
            ("FileType", _ALL_TYPES.get(one.file_type, one.file_type)),
            ("FileSize", one.size_bytes),
            ("TargetFileName", one.target),
        )
        for one in cpe.transfers.queued
    ]
    return soap.transfer_list("AllQueuedTransferStruct", queued)


def _reboot(cpe: CpeState, request: Envelope) -> str:
    cpe.reboot_later(_key(request))
    return ""


def _factory_reset(cpe: CpeState, request: Envelope) -> str:
    cpe.reset_later()
    return ""


def _schedule_inform(cpe: CpeState, request: Envelope) -> str:
    delay_s = _number(request.body, "DelaySeconds")
    if delay_s == 0:
        raise CwmpFault(9003)
    cpe.inform_later(delay_s, _key(request))
    return ""


_V1_0: Final[dict[str, Method]] = {
    "GetRPCMethods": _get_rpc_methods,
    "SetParameterValues": _set_parameter_values,
    "GetParameterValues": _get_parameter_values,
    "GetParameterNames": _get_parameter_names,
    "SetParameterAttributes": _set_parameter_attributes,
    "GetParameterAttributes": _get_parameter_attributes,
    "AddObject": _add_object,
    "DeleteObject": _delete_object,
    "Reboot": _reboot,
    "Download": _download,
    "Upload": _upload,
    "FactoryReset": _factory_reset,
    "ScheduleInform": _schedule_inform,
    "GetQueuedTransfers": _get_queued_transfers,
}
_V1_1: Final[dict[str, Method]] = {**_V1_0, "GetAllQueuedTransfers": _get_all_queued_transfers}
_V1_2: Final[dict[str, Method]] = {
    **_V1_1,
    "ScheduleDownload": _schedule_download,
    "CancelTransfer": _cancel_transfer,
}


def methods_of(version: str) -> dict[str, Method]:
    """The methods of a version of CWMP, "1.0" to "1.4"."""
    return {"1.0": _V1_0, "1.1": _V1_1}.get(version, _V1_2)
