"""The sender, first version and answer of each message: tables over `messages`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from agent.connectors.cwmp import messages as m
from agent.connectors.cwmp.versions import CwmpVersion

AcsRequest = (
    m.GetRPCMethods
    | m.SetParameterValues
    | m.GetParameterValues
    | m.GetParameterNames
    | m.SetParameterAttributes
    | m.GetParameterAttributes
    | m.AddObject
    | m.DeleteObject
    | m.Download
    | m.Reboot
    | m.Upload
    | m.FactoryReset
    | m.ScheduleInform
    | m.ScheduleDownload
    | m.CancelTransfer
    | m.GetQueuedTransfers
    | m.GetAllQueuedTransfers
    | m.ChangeDUState
    | m.SetVouchers
    | m.GetOptions
)
CpeResponse = (
    m.GetRPCMethodsResponse
    | m.SetParameterValuesResponse
    | m.GetParameterValuesResponse
    | m.GetParameterNamesResponse
    | m.SetParameterAttributesResponse
    | m.GetParameterAttributesResponse
    | m.AddObjectResponse
    | m.DeleteObjectResponse
    | m.DownloadResponse
    | m.RebootResponse
    | m.UploadResponse
    | m.FactoryResetResponse
    | m.ScheduleInformResponse
    | m.ScheduleDownloadResponse
    | m.CancelTransferResponse
    | m.GetQueuedTransfersResponse
    | m.GetAllQueuedTransfersResponse
    | m.ChangeDUStateResponse
    | m.SetVouchersResponse
    | m.GetOptionsResponse
)
CpeRequest = (
    m.Inform
    | m.GetRPCMethods
    | m.TransferComplete
    | m.AutonomousTransferComplete
    | m.DUStateChangeComplete
    | m.AutonomousDUStateChangeComplete
    | m.RequestDownload
    | m.Kicked
)
AcsResponse = (
    m.InformResponse
    | m.GetRPCMethodsResponse
    | m.TransferCompleteResponse
    | m.AutonomousTransferCompleteResponse
    | m.DUStateChangeCompleteResponse
    | m.AutonomousDUStateChangeCompleteResponse
    | m.RequestDownloadResponse
    | m.KickedResponse
)
Message = AcsRequest | CpeResponse | CpeRequest | AcsResponse | m.Fault

ANSWERS_OF_CPE: Final[Mapping[type[AcsRequest], type[CpeResponse]]] = {
    m.GetRPCMethods: m.GetRPCMethodsResponse,
    m.SetParameterValues: m.SetParameterValuesResponse,
    m.GetParameterValues: m.GetParameterValuesResponse,
    m.GetParameterNames: m.GetParameterNamesResponse,
    m.SetParameterAttributes: m.SetParameterAttributesResponse,
    m.GetParameterAttributes: m.GetParameterAttributesResponse,
    m.AddObject: m.AddObjectResponse,
    m.DeleteObject: m.DeleteObjectResponse,
    m.Download: m.DownloadResponse,
    m.Reboot: m.RebootResponse,
    m.Upload: m.UploadResponse,
    m.FactoryReset: m.FactoryResetResponse,
    m.ScheduleInform: m.ScheduleInformResponse,
    m.ScheduleDownload: m.ScheduleDownloadResponse,
    m.CancelTransfer: m.CancelTransferResponse,
    m.GetQueuedTransfers: m.GetQueuedTransfersResponse,
    m.GetAllQueuedTransfers: m.GetAllQueuedTransfersResponse,
    m.ChangeDUState: m.ChangeDUStateResponse,
    m.SetVouchers: m.SetVouchersResponse,
    m.GetOptions: m.GetOptionsResponse,
}
"""Requests of the ACS, and a CPE's answers when it does not refuse."""

ANSWERS_OF_ACS: Final[Mapping[type[CpeRequest], type[AcsResponse]]] = {
    m.Inform: m.InformResponse,
    m.GetRPCMethods: m.GetRPCMethodsResponse,
    m.TransferComplete: m.TransferCompleteResponse,
    m.AutonomousTransferComplete: m.AutonomousTransferCompleteResponse,
    m.DUStateChangeComplete: m.DUStateChangeCompleteResponse,
    m.AutonomousDUStateChangeComplete: m.AutonomousDUStateChangeCompleteResponse,
    m.RequestDownload: m.RequestDownloadResponse,
    m.Kicked: m.KickedResponse,
}
"""Requests of a CPE, and the ACS' answers when it does not refuse."""

MESSAGES: Final[Mapping[str, type[Message]]] = {
    cls.__name__: cls for table in (ANSWERS_OF_CPE, ANSWERS_OF_ACS) for pair in table.items() for cls in pair
}
"""Every message but Fault, by the name of its element."""

_SINCE: Final[Mapping[type[Message], CwmpVersion]] = {
    m.GetAllQueuedTransfers: CwmpVersion.V1_1,
    m.GetAllQueuedTransfersResponse: CwmpVersion.V1_1,
    m.AutonomousTransferComplete: CwmpVersion.V1_1,
    m.AutonomousTransferCompleteResponse: CwmpVersion.V1_1,
    m.ScheduleDownload: CwmpVersion.V1_2,
    m.ScheduleDownloadResponse: CwmpVersion.V1_2,
    m.CancelTransfer: CwmpVersion.V1_2,
    m.CancelTransferResponse: CwmpVersion.V1_2,
    m.ChangeDUState: CwmpVersion.V1_2,
    m.ChangeDUStateResponse: CwmpVersion.V1_2,
    m.DUStateChangeComplete: CwmpVersion.V1_2,
    m.DUStateChangeCompleteResponse: CwmpVersion.V1_2,
    m.AutonomousDUStateChangeComplete: CwmpVersion.V1_2,
    m.AutonomousDUStateChangeCompleteResponse: CwmpVersion.V1_2,
}


def since(cls: type[Message]) -> CwmpVersion:
    """Return the first version with a message in its schema."""
    return _SINCE.get(cls, CwmpVersion.V1_0)


def is_in(cls: type[Message], version: CwmpVersion) -> bool:
    """Return whether a version's schema has a message."""
    return since(cls).value <= version.value


def standard_answer(request: CpeRequest, version: CwmpVersion) -> AcsResponse:
    """Return the answer of an ACS that grants a request.

    A Kicked browser goes on to where it was going: we kick none.
    """
    match request:
        case m.Inform():
            return m.InformResponse()
        case m.GetRPCMethods():
            asked = [cls for cls in ANSWERS_OF_ACS if is_in(cls, version)]
            return m.GetRPCMethodsResponse(tuple(cls.__name__ for cls in asked))
        case m.TransferComplete():
            return m.TransferCompleteResponse()
        case m.AutonomousTransferComplete():
            return m.AutonomousTransferCompleteResponse()
        case m.DUStateChangeComplete():
            return m.DUStateChangeCompleteResponse()
        case m.AutonomousDUStateChangeComplete():
            return m.AutonomousDUStateChangeCompleteResponse()
        case m.RequestDownload():
            return m.RequestDownloadResponse()
        case m.Kicked(next=where):
            return m.KickedResponse(where[:1024])
