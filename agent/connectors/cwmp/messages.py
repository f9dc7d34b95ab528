"""Every message of CWMP 1.0 to 1.4, a frozen dataclass each, named as its element is.

The sender and the answer of each are in `methods`. Times are the device's own strings, in dateTime; lengths are
in characters. Sections are those of TR-069's annex A.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

from agent.connectors.cwmp.fields import Array, Number, OneOf, Repeated, Struct, Text
from agent.connectors.cwmp.structs import (
    AnyQueuedTransfer,
    Argument,
    AutonomousResult,
    DateTime,
    Delay,
    DeviceId,
    DownloadType,
    FaultCode,
    Flag,
    InformEvent,
    InstallOperation,
    ObjectName,
    Operation,
    OperationResult,
    Option,
    ParameterAttribute,
    ParameterFault,
    ParameterInfo,
    ParameterNames,
    ParameterValue,
    ParameterValues,
    QueuedTransfer,
    SetParameterAttribute,
    Status,
    Text32,
    Text64,
    Text256,
    Text1024,
    TimeWindow,
    TransferFault,
    TransferType,
    UninstallOperation,
    Unsigned,
    UpdateOperation,
    UploadType,
)
from agent.cpe_model.values import UNSIGNED_INT

_OPERATIONS = OneOf(
    {"InstallOpStruct": InstallOperation, "UpdateOpStruct": UpdateOperation, "UninstallOpStruct": UninstallOperation}
)

# --- both ways --------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class GetRPCMethods:
    """Ask for the methods that the other side takes (A.3.1.1)."""


@dataclass(frozen=True, slots=True)
class GetRPCMethodsResponse:
    """Names of methods, such as `GetParameterValues`."""

    method_list: Annotated[tuple[str, ...], Array("string", Text(64), "xsd:string", least=1)]


@dataclass(frozen=True, slots=True)
class Fault:
    """A request was refused (TR-069 sections 3.5, A.5).

    `fault_code`: None where a SOAP fault came without CWMP's own. `parameters`: for SetParameterValues alone, which
    parameters were at fault; then none of them was set. `soap_code`: `Client` or `Server`, which nobody need heed.
    """

    fault_code: int | None
    fault_string: str | None = None
    parameters: tuple[ParameterFault, ...] = ()
    soap_code: str = "Server"


@dataclass(frozen=True, slots=True)
class FaultDetail:
    """The content of a SOAP fault's detail."""

    fault_code: FaultCode
    fault_string: Annotated[str | None, Text(absent=None, for_people=True)]
    set_parameter_values_fault: Annotated[tuple[ParameterFault, ...], Repeated(Struct(ParameterFault), least=0)]


# --- ACS to CPE: parameters and objects -------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class SetParameterValues:
    """Set parameters, all or none (A.3.2.1). `parameter_key`: kept by the CPE in its ParameterKey if all are set."""

    parameter_list: ParameterValues
    parameter_key: Text32


@dataclass(frozen=True, slots=True)
class SetParameterValuesResponse:
    """`status`: 0 validated and applied · 1 validated and committed, applied later, after a reboot perhaps."""

    status: Status


@dataclass(frozen=True, slots=True)
class GetParameterValues:
    """Ask for values (A.3.2.2)."""

    parameter_names: ParameterNames


@dataclass(frozen=True, slots=True)
class GetParameterValuesResponse:
    """Parameters by full name, each with its value and type."""

    parameter_list: ParameterValues


@dataclass(frozen=True, slots=True)
class GetParameterNames:
    """Ask which parameters and objects there are (A.3.2.3). `next_level`: those directly below alone."""

    parameter_path: Text256
    next_level: Flag


@dataclass(frozen=True, slots=True)
class GetParameterNamesResponse:
    """Names of parameters, and of objects with a dot at the end, each with its writability."""

    parameter_list: Annotated[
        tuple[ParameterInfo, ...], Array("ParameterInfoStruct", Struct(ParameterInfo), "cwmp:ParameterInfoStruct")
    ]


@dataclass(frozen=True, slots=True)
class SetParameterAttributes:
    """Set notification and access (A.3.2.4)."""

    parameter_list: Annotated[
        tuple[SetParameterAttribute, ...],
        Array(
            "SetParameterAttributesStruct",
            Struct(SetParameterAttribute),
            "cwmp:SetParameterAttributesStruct",
            least=1,
        ),
    ]


@dataclass(frozen=True, slots=True)
class SetParameterAttributesResponse:
    """The attributes are set."""


@dataclass(frozen=True, slots=True)
class GetParameterAttributes:
    """Ask for notification and access (A.3.2.5)."""

    parameter_names: ParameterNames


@dataclass(frozen=True, slots=True)
class GetParameterAttributesResponse:
    """Notification and access list of each parameter."""

    parameter_list: Annotated[
        tuple[ParameterAttribute, ...],
        Array("ParameterAttributeStruct", Struct(ParameterAttribute), "cwmp:ParameterAttributeStruct"),
    ]


@dataclass(frozen=True, slots=True)
class AddObject:
    """Add an instance of a multi-instance object (A.3.2.6). `object_name`: without a number, with a dot at its end."""

    object_name: ObjectName
    parameter_key: Text32


@dataclass(frozen=True, slots=True)
class AddObjectResponse:
    """`instance_number`: 1 or more, chosen by the CPE; some CPE answer 0, and a fault's code as `status`."""

    instance_number: Annotated[int, Number(((1, UNSIGNED_INT),))]
    status: Status


@dataclass(frozen=True, slots=True)
class DeleteObject:
    """Delete an instance with all below it (A.3.2.7)."""

    object_name: ObjectName
    parameter_key: Text32


@dataclass(frozen=True, slots=True)
class DeleteObjectResponse:
    """`status`: 0 deleted · 1 accepted, deleted later."""

    status: Status


# --- ACS to CPE: files and boots --------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Download:
    """Fetch a file (A.3.2.8).

    `command_key`: comes back in TransferComplete and in the Inform's `M Download`. `file_size`: bytes, 0 where not
    known. `delay_seconds`: before it begins.
    """

    command_key: Text32
    file_type: DownloadType
    url: Text256
    username: Text256
    password: Text256
    file_size: Unsigned
    target_file_name: Text256
    delay_seconds: Delay
    success_url: Text256
    failure_url: Text256


@dataclass(frozen=True, slots=True)
class DownloadResponse:
    """`status`: 0 fetched and applied · 1 a TransferComplete will say. Of 1 the times are the unknown time."""

    status: Status
    start_time: DateTime
    complete_time: DateTime


@dataclass(frozen=True, slots=True)
class Reboot:
    """Reboot (A.3.2.9). `command_key`: comes back in the Inform's `M Reboot`."""

    command_key: Text32


@dataclass(frozen=True, slots=True)
class RebootResponse:
    """The CPE reboots when this session is over."""


@dataclass(frozen=True, slots=True)
class Upload:
    """Send a file (A.4.1.5). `delay_seconds`: before it begins."""

    command_key: Text32
    file_type: UploadType
    url: Text256
    username: Text256
    password: Text256
    delay_seconds: Delay


@dataclass(frozen=True, slots=True)
class UploadResponse:
    """Fields as in `DownloadResponse`."""

    status: Status
    start_time: DateTime
    complete_time: DateTime


@dataclass(frozen=True, slots=True)
class FactoryReset:
    """Go back to factory settings when this session is over (A.4.1.6)."""


@dataclass(frozen=True, slots=True)
class FactoryResetResponse:
    """The CPE resets itself when this session is over."""


@dataclass(frozen=True, slots=True)
class ScheduleInform:
    """Call after `delay_seconds`, 1 or more (A.4.1.2). `command_key`: comes back in the Inform's `M ScheduleInform`."""

    delay_seconds: Unsigned
    command_key: Text32


@dataclass(frozen=True, slots=True)
class ScheduleInformResponse:
    """The CPE calls after the delay."""


@dataclass(frozen=True, slots=True)
class ScheduleDownload:
    """Fetch a file in one of one or two time windows (A.4.1.8, since 1.2)."""

    command_key: Text32
    file_type: DownloadType
    url: Text256
    username: Text256
    password: Text256
    file_size: Unsigned
    target_file_name: Text256
    time_window_list: Annotated[
        tuple[TimeWindow, ...],
        Array("TimeWindowStruct", Struct(TimeWindow), "cwmp:TimeWindowStruct", least=1, most=2),
    ]


@dataclass(frozen=True, slots=True)
class ScheduleDownloadResponse:
    """The CPE fetches the file in one of the windows; a TransferComplete tells the result."""


@dataclass(frozen=True, slots=True)
class CancelTransfer:
    """Cancel the transfer of this `command_key` (A.4.1.9, since 1.2)."""

    command_key: Text32


@dataclass(frozen=True, slots=True)
class CancelTransferResponse:
    """The transfer is cancelled, or there was none."""


@dataclass(frozen=True, slots=True)
class GetQueuedTransfers:
    """Ask for transfers that the ACS asked for (A.4.1.1, deprecated)."""


@dataclass(frozen=True, slots=True)
class GetQueuedTransfersResponse:
    """The transfers that are not over, at most 16."""

    transfer_list: Annotated[
        tuple[QueuedTransfer, ...],
        Array("QueuedTransferStruct", Struct(QueuedTransfer), "cwmp:QueuedTransferStruct", most=16),
    ]


@dataclass(frozen=True, slots=True)
class GetAllQueuedTransfers:
    """Ask for all transfers (A.4.1.7, since 1.1)."""


@dataclass(frozen=True, slots=True)
class GetAllQueuedTransfersResponse:
    """The transfers that are not over, at most 16."""

    transfer_list: Annotated[
        tuple[AnyQueuedTransfer, ...],
        Array("AllQueuedTransferStruct", Struct(AnyQueuedTransfer), "cwmp:AllQueuedTransferStruct", most=16),
    ]


# --- ACS to CPE: software modules and vouchers ------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class ChangeDUState:
    """Install, update or uninstall deployment units (A.4.1.10, since 1.2)."""

    operations: Annotated[tuple[Operation, ...], Repeated(_OPERATIONS)]
    command_key: Annotated[str | None, Text(32, absent=None)]


@dataclass(frozen=True, slots=True)
class ChangeDUStateResponse:
    """The CPE begins; a DUStateChangeComplete tells the result."""


@dataclass(frozen=True, slots=True)
class SetVouchers:
    """Vouchers, each a signed document in base64 (A.4.1.3, deprecated)."""

    voucher_list: Annotated[tuple[str, ...], Array("base64", Text(None, "[A-Za-z0-9+/=]*"), "soapenc:base64", least=1)]


@dataclass(frozen=True, slots=True)
class SetVouchersResponse:
    """The CPE has the vouchers."""


@dataclass(frozen=True, slots=True)
class GetOptions:
    """Ask for an option's state; the empty name for all (A.4.1.4, deprecated)."""

    option_name: Text64


@dataclass(frozen=True, slots=True)
class GetOptionsResponse:
    """The options, each with its state."""

    option_list: Annotated[tuple[Option, ...], Array("OptionStruct", Struct(Option), "cwmp:OptionStruct")]


# --- CPE to ACS -------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Inform:
    """A session begins (A.3.3.1).

    `max_envelopes`: 1, whatever is said. `retry_count`: sessions that failed since the last that did not.
    """

    device_id: Annotated[DeviceId, Struct(DeviceId)]
    event: Annotated[
        tuple[InformEvent, ...], Array("EventStruct", Struct(InformEvent), "cwmp:EventStruct", most=64, absent=())
    ]
    max_envelopes: Annotated[int, Number(((0, UNSIGNED_INT),), absent=1)]
    current_time: DateTime
    retry_count: Annotated[int, Number(((0, UNSIGNED_INT),), absent=0)]
    parameter_list: Annotated[
        tuple[ParameterValue, ...],
        Array("ParameterValueStruct", Struct(ParameterValue), "cwmp:ParameterValueStruct", absent=()),
    ]


@dataclass(frozen=True, slots=True)
class InformResponse:
    """`max_envelopes`: 1 (TR-069 section 3.7.1.1)."""

    max_envelopes: Annotated[int, Number(((0, UNSIGNED_INT),), absent=1)] = 1


@dataclass(frozen=True, slots=True)
class TransferComplete:
    """A Download, Upload or ScheduleDownload ended (A.3.3.2)."""

    command_key: Text32
    fault_struct: Annotated[TransferFault, Struct(TransferFault)]
    start_time: DateTime
    complete_time: DateTime


@dataclass(frozen=True, slots=True)
class TransferCompleteResponse:
    """The ACS has the report: the CPE forgets it."""


@dataclass(frozen=True, slots=True)
class AutonomousTransferComplete:
    """A transfer that the ACS did not ask for ended (A.3.3.3, since 1.1). `file_size`: bytes, 0 where not known."""

    announce_url: Text1024
    transfer_url: Text1024
    is_download: Flag
    file_type: TransferType
    file_size: Unsigned
    target_file_name: Text256
    fault_struct: Annotated[TransferFault, Struct(TransferFault)]
    start_time: DateTime
    complete_time: DateTime


@dataclass(frozen=True, slots=True)
class AutonomousTransferCompleteResponse:
    """The ACS has the report."""


@dataclass(frozen=True, slots=True)
class DUStateChangeComplete:
    """The result of a ChangeDUState (A.4.2.3, since 1.2)."""

    results: Annotated[tuple[OperationResult, ...], Repeated(Struct(OperationResult))]
    command_key: Annotated[str | None, Text(32, absent=None)]


@dataclass(frozen=True, slots=True)
class DUStateChangeCompleteResponse:
    """The ACS has the report."""


@dataclass(frozen=True, slots=True)
class AutonomousDUStateChangeComplete:
    """Deployment units changed without the ACS (A.4.2.4, since 1.2)."""

    results: Annotated[tuple[AutonomousResult, ...], Repeated(Struct(AutonomousResult))]


@dataclass(frozen=True, slots=True)
class AutonomousDUStateChangeCompleteResponse:
    """The ACS has the report."""


@dataclass(frozen=True, slots=True)
class RequestDownload:
    """The CPE wants a file; the ACS may answer it by a Download later (A.4.2.2)."""

    file_type: DownloadType
    file_type_arg: Annotated[
        tuple[Argument, ...], Array("ArgStruct", Struct(Argument), "cwmp:ArgStruct", most=16, absent=())
    ]


@dataclass(frozen=True, slots=True)
class RequestDownloadResponse:
    """The ACS has the request."""


@dataclass(frozen=True, slots=True)
class Kicked:
    """A subscriber's browser was sent to the CPE's page by a web site (annex D, deprecated)."""

    command: Text32
    referer: Text64
    arg: Text256
    next: Text1024


@dataclass(frozen=True, slots=True)
class KickedResponse:
    """`next_url`: where the browser goes."""

    next_url: Text1024
