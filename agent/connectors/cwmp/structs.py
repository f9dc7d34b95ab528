"""The structures inside CWMP's messages, and the kinds of field that several have. Lengths are in characters.

Source: the schemas cwmp-1-0.xsd to cwmp-1-4.xsd and TR-069 annex A. A documented range holds for *written* values; a
    CPE's own values are kept as they are (`fields`).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Final

from agent.connectors.cwmp.events import EventCode, event_code
from agent.connectors.cwmp.fields import Array, Boolean, Number, Struct, Text, Time, Typed, Value
from agent.connectors.cwmp.versions import CwmpVersion
from agent.cpe_model.values import INT, UNSIGNED_INT

# --- kinds ----------------------------------------------------------------------------------------------------------

_VENDOR: Final = r"X \S+ [^\n\r]+"
_NUMBERED: Final = r"[1-9]\d*( \S+)+"
_OLD_VENDOR: Final = r"X [0-9A-F]{6} [^\n\r]*"
_UUID: Final = r"[A-Fa-f0-9]{8}(-[A-Fa-f0-9]{4}){3}-[A-Fa-f0-9]{12}"
# RFC 3986 without brackets, which stand in IPv6 literals alone
_URI: Final = r"([A-Za-z][A-Za-z0-9+.-]*:)?([A-Za-z0-9._~/?!$&'()*+,;=:@-]|%[0-9A-Fa-f]{2})*"

Text32 = Annotated[str, Text(32)]
Text64 = Annotated[str, Text(64)]
Text256 = Annotated[str, Text(256)]
Text1024 = Annotated[str, Text(1024)]
Name256 = Annotated[str, Text(256, trim=True)]
"""A parameter's or object's full name. Some CPE have blanks round it."""
Unsigned = Annotated[int, Number(((0, UNSIGNED_INT),))]
"""A whole number, 0 to 4,294,967,295."""
Delay = Annotated[int, Number(((0, UNSIGNED_INT),), absent=0)]
"""Seconds, 0 to 4,294,967,295."""
Flag = Annotated[bool, Boolean()]
DateTime = Annotated[str, Time()]
"""The device's own string; `values.moment` says which moment it names."""
Status = Annotated[int, Number(((0, 1),))]
"""0: done. 1: accepted, and not done yet (TR-069 annex A.3)."""
ObjectName = Annotated[str, Text(256, r"[^\n\r]*\.")]
"""A path that ends in a dot."""

DownloadType = Annotated[
    str,
    Text(
        64,
        f"{_NUMBERED}|{_VENDOR}",
        f"1 Firmware Upgrade Image|2 Web Content|3 Vendor Configuration File|{_OLD_VENDOR}",
    ),
]
"""`1 Firmware Upgrade Image`, `3 Vendor Configuration File` …, or `X <OUI> …` of a vendor."""
UploadType = Annotated[
    str, Text(64, f"{_NUMBERED}|{_VENDOR}", f"1 Vendor Configuration File|2 Vendor Log File|{_OLD_VENDOR}")
]
"""`3 Vendor Configuration File 1` …, or `X <OUI> …` of a vendor; before 1.2 `1 Vendor Configuration File`."""
TransferType = Annotated[
    str,
    Text(
        64,
        f"{_NUMBERED}|{_VENDOR}",
        f"1 Firmware Upgrade Image|2 Web Content|3 Vendor Configuration File|4 Vendor Log File|{_OLD_VENDOR}",
    ),
]
"""The kind of a transfer that the CPE began by itself, or has queued."""
Notification = Annotated[int, Number(((0, 6),), {CwmpVersion.V1_0: ((0, 2),), CwmpVersion.V1_1: ((0, 2),)})]
"""0 off · 1 passive · 2 active · 3 to 6 lightweight forms (since 1.2; TR-069 annex A.3.2.4)."""
AccessList = Annotated[tuple[str, ...], Array("string", Text(64, "Subscriber"), "xsd:string", absent=())]
"""Writers besides the ACS: `Subscriber`, or nobody."""
ParameterNames = Annotated[tuple[str, ...], Array("string", Text(256), "xsd:string", least=1)]
"""Full names, or paths that end in a dot for all below; the empty path for all there is."""
Uuid = Annotated[str, Text(None, _UUID)]
Uri = Annotated[str, Text(1024, _URI)]

_TRANSFER_FAULTS: Final = ((0, 0), (9001, 9002), (9010, 9012), (9014, 9020), (9033, 9899))
_FAULTS: Final = ((8000, 8899), (9000, 9899))
_OLD_FAULTS: Final = ((8000, 8005), (8800, 8899), (9000, 9013), (9800, 9899))
_CPE_FAULTS: Final = ((9000, 9899),)
_DEPLOYMENT_FAULTS: Final = (
    (0, 0), (9001, 9001), (9003, 9003), (9012, 9013), (9015, 9018), (9022, 9899)
)  # fmt: skip
FaultCode = Annotated[int, Number(_FAULTS, {CwmpVersion.V1_0: _OLD_FAULTS})]
"""8000 to 8799 of the ACS, 8800 to 8899 of its vendor, 9000 to 9799 of the CPE, 9800 to 9899 of its vendor."""


# --- identity and events ----------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class DeviceId:
    """A CPE's own word on its identity (TR-069 annex A.3.3.1). `oui`: six hexadecimal digits; some CPE send small
    letters.
    """

    manufacturer: Annotated[str, Text(64, for_people=True)]
    oui: Annotated[str, Text(6, "[0-9A-F]{6}")]
    product_class: Text64
    serial_number: Text64

    @property
    def key(self) -> tuple[str, str, str]:
        """OUI in capitals, product class, serial number: they tell CPE apart (TR-069 section 3.4.4)."""
        return self.oui.strip().upper(), self.product_class.strip(), self.serial_number.strip()


@dataclass(frozen=True, slots=True)
class InformEvent:
    """Why a CPE calls. `command_key`: of the request that it goes back to, empty where there is none."""

    event_code: Annotated[str, Text(64, rf"\d+( \S+)+|M \S+|{_VENDOR}", trim=True)]
    command_key: Text32

    @property
    def code(self) -> EventCode | str:
        """The code, or the device's own string where it is a vendor's."""
        return event_code(self.event_code)


# --- parameters -------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class ParameterValue:
    """A parameter's full name and its value."""

    name: Name256
    value: Annotated[Value, Typed()]


@dataclass(frozen=True, slots=True)
class ParameterInfo:
    """A name, with a dot at its end for an object. `writable`: of an object, whether instances can be added."""

    name: Name256
    writable: Flag


@dataclass(frozen=True, slots=True)
class ParameterAttribute:
    """Whether changes of a parameter are reported, and its writers."""

    name: Text256
    notification: Notification
    access_list: AccessList


@dataclass(frozen=True, slots=True)
class SetParameterAttribute:
    """New attributes of a parameter, or of all below a path; one with a False flag stays as it is."""

    name: Text256
    notification_change: Flag
    notification: Notification
    access_list_change: Flag
    access_list: AccessList


@dataclass(frozen=True, slots=True)
class ParameterFault:
    """Why one parameter of SetParameterValues was refused."""

    parameter_name: Annotated[str, Text(trim=True)]
    fault_code: Annotated[int, Number(_CPE_FAULTS)]
    fault_string: Annotated[str | None, Text(absent=None, for_people=True)]


ParameterValues = Annotated[
    tuple[ParameterValue, ...],
    Array("ParameterValueStruct", Struct(ParameterValue), "cwmp:ParameterValueStruct"),
]


# --- transfers --------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class TransferFault:
    """How a transfer ended. `fault_code`: 0 for success, else 9xxx."""

    fault_code: Annotated[int, Number(_TRANSFER_FAULTS)]
    fault_string: Annotated[str, Text(256, for_people=True)]


@dataclass(frozen=True, slots=True)
class QueuedTransfer:
    """A transfer that the ACS asked for. `state`: 1 not yet started · 2 in progress · 3 completed."""

    command_key: Text32
    state: Annotated[int, Number(((1, 3),))]


@dataclass(frozen=True, slots=True)
class AnyQueuedTransfer:
    """A transfer, whoever asked for it. `file_size`: bytes, 0 where it is not known."""

    command_key: Text32
    state: Annotated[int, Number(((1, 3),))]
    is_download: Flag
    file_type: TransferType
    file_size: Unsigned
    target_file_name: Text256


@dataclass(frozen=True, slots=True)
class TimeWindow:
    """When a scheduled download may run.

    `window_start`, `window_end`: seconds after the request came. `window_mode`: `1 At Any Time`, `2 Immediately`,
    `3 When Idle`, `4 Confirmation Needed`. `max_retries`: -1 leaves it to the CPE (TR-069 annex A.4.1.8).
    """

    window_start: Unsigned
    window_end: Unsigned
    window_mode: Annotated[str, Text(64, f"{_NUMBERED}|{_VENDOR}")]
    user_message: Text256
    max_retries: Annotated[int, Number(((-INT - 1, INT),))]


@dataclass(frozen=True, slots=True)
class Argument:
    """An argument of RequestDownload."""

    name: Text64
    value: Text256


# --- software modules ------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class InstallOperation:
    """Install a deployment unit from `url`."""

    url: Uri
    uuid: Annotated[str | None, Text(None, _UUID, absent=None)] = None
    username: Annotated[str | None, Text(256, absent=None)] = None
    password: Annotated[str | None, Text(256, absent=None)] = None
    execution_env_ref: Annotated[str | None, Text(256, absent=None)] = None


@dataclass(frozen=True, slots=True)
class UpdateOperation:
    """Update one deployment unit, or all of them without a UUID."""

    uuid: Annotated[str | None, Text(None, _UUID, absent=None)] = None
    version: Annotated[str | None, Text(32, absent=None)] = None
    url: Annotated[str | None, Text(1024, _URI, absent=None)] = None
    username: Annotated[str | None, Text(256, absent=None)] = None
    password: Annotated[str | None, Text(256, absent=None)] = None


@dataclass(frozen=True, slots=True)
class UninstallOperation:
    """Uninstall a deployment unit."""

    uuid: Uuid
    version: Annotated[str | None, Text(32, absent=None)] = None
    execution_env_ref: Annotated[str | None, Text(256, absent=None)] = None


Operation = InstallOperation | UpdateOperation | UninstallOperation


@dataclass(frozen=True, slots=True)
class DeploymentFault:
    """How an operation ended. `fault_code`: 0 for success."""

    fault_code: Annotated[int, Number(_DEPLOYMENT_FAULTS)]
    fault_string: Annotated[str | None, Text(absent=None)]


@dataclass(frozen=True, slots=True)
class OperationResult:
    """The result for a deployment unit. `current_state`: `Installed`, `Uninstalled` or `Failed`."""

    uuid: Uuid
    deployment_unit_ref: Annotated[str, Text()]
    version: Text32
    current_state: Annotated[str, Text(None, "Installed|Uninstalled|Failed")]
    resolved: Flag
    execution_unit_ref_list: Annotated[str, Text()]
    start_time: DateTime
    complete_time: DateTime
    fault: Annotated[DeploymentFault, Struct(DeploymentFault)]


@dataclass(frozen=True, slots=True)
class AutonomousResult(OperationResult):
    """The same, for the CPE's own doing. `operation_performed`: `Install`, `Update`, `Uninstall`, or another."""

    operation_performed: Annotated[str, Text()]


# --- vouchers ---------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Option:
    """A voucher's option (TR-069 annex A.4.1.3, deprecated).

    `state`: 0 disabled or expired · 1 enabled · 2, 3 as set up. `mode`: 0 disabled · 1 enabled for a time · 2 for ever.
    """

    option_name: Text64
    voucher_sn: Unsigned
    state: Annotated[int, Number(((0, 3),))]
    mode: Annotated[int, Number(((0, 2),))]
    start_date: DateTime
    expiration_date: Annotated[str | None, Time(absent=None)]
    is_transferable: Annotated[int, Number(((0, 1),))]
