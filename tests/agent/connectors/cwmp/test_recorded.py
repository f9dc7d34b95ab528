"""Every recorded message of CPE and of other people's tests, and what it is read as."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from agent.connectors.cwmp import messages as m
from agent.connectors.cwmp.events import EventCode
from agent.connectors.cwmp.fields import Value
from agent.connectors.cwmp.structs import DeviceId, InformEvent, ParameterValue, TransferFault
from agent.connectors.cwmp.versions import CwmpVersion
from agent.cpe_model import values
from lab.tests.cpe.data import TR069, recorded
from tests.builders import reads
from tests.builders.expect import expect

FOLDERS = ("captured", "messages", "traces")
TABLE = {
    "captured/cwmp-sim-01-Inform-ev1.xml": "Inform",
    "captured/cwmp-sim-02-GetParameterNamesResponse.xml": "GetParameterNamesResponse",
    "captured/cwmp-sim-03-GetParameterValuesResponse.xml": "GetParameterValuesResponse",
    "captured/cwmp-sim-04-SetParameterValuesResponse.xml": "SetParameterValuesResponse",
    "captured/cwmp-sim-05-AddObjectResponse.xml": "AddObjectResponse",
    "captured/cwmp-sim-06-DownloadResponse.xml": "DownloadResponse",
    "captured/cwmp-sim-07-RebootResponse.xml": "RebootResponse",
    "captured/cwmp-sim-08-Inform-ev7_M.xml": "Inform",
    "captured/cwmp-sim-09-Inform-ev2.xml": "Inform",
    "captured/cwmp-sim-10-Inform-ev1_M.xml": "Inform",
    "captured/cwmp-sim-11-TransferComplete.xml": "TransferComplete",
    "captured/genieacs-sim-01-Inform-ev2.xml": "Inform",
    "captured/genieacs-sim-02-GetParameterNamesResponse.xml": "GetParameterNamesResponse",
    "captured/genieacs-sim-03-GetParameterValuesResponse.xml": "GetParameterValuesResponse",
    "captured/genieacs-sim-04-SetParameterValuesResponse.xml": "SetParameterValuesResponse",
    "captured/genieacs-sim-05-AddObjectResponse.xml": "AddObjectResponse",
    "captured/genieacs-sim-06-DownloadResponse.xml": "DownloadResponse",
    "captured/genieacs-sim-07-Fault.xml": "Fault",
    "captured/genieacs-sim-08-TransferComplete.xml": "TransferComplete",
    "messages/cwmp_ex-add_object_response_test-0.xml": "AddObjectResponse",
    "messages/cwmp_ex-add_object_test-0.xml": "AddObject",
    "messages/cwmp_ex-add_object_test-1.xml": "AddObject",
    "messages/cwmp_ex-autonomous_transfer_complete_response_test-0.xml": "AutonomousTransferCompleteResponse",
    "messages/cwmp_ex-cancel_transfer_test-0.xml": "CancelTransfer",
    "messages/cwmp_ex-factory_reset_response_test-0.xml": "FactoryResetResponse",
    "messages/cwmp_ex-get_all_queued_transfers_response_test-0.xml": "GetAllQueuedTransfersResponse",
    "messages/cwmp_ex-get_all_queued_transfers_test-0.xml": "GetAllQueuedTransfers",
    "messages/cwmp_ex-get_options_response_test-0.xml": "GetOptionsResponse",
    "messages/cwmp_ex-get_parameter_names_test-0.xml": "GetParameterNames",
    "messages/cwmp_ex-get_parameter_values_response_test-0.xml": "GetParameterValuesResponse",
    "messages/cwmp_ex-get_rpc_methods_response_test-0.xml": "GetRPCMethodsResponse",
    "messages/cwmp_ex-inform_response_test-0.xml": "InformResponse",
    "messages/cwmp_ex-reboot_response_test-0.xml": "RebootResponse",
    "messages/cwmp_ex-request_download_response_test-0.xml": "RequestDownloadResponse",
    "messages/cwmp_ex-request_download_test-0.xml": "RequestDownload",
    "messages/cwmp_ex-schedule_download_response_test-0.xml": "ScheduleDownloadResponse",
    "messages/cwmp_ex-schedule_download_test-0.xml": "ScheduleDownload",
    "messages/cwmp_ex-schedule_inform_response_test-0.xml": "ScheduleInformResponse",
    "messages/cwmp_ex-set_parameter_values_response_test-0.xml": "SetParameterValuesResponse",
    "messages/cwmp_ex-set_parameter_values_test-0.xml": "SetParameterValues",
    "messages/cwmp_ex-set_parameter_values_test-1.xml": "SetParameterValues",
    "messages/cwmp_ex-set_vouchers_response_test-0.xml": "SetVouchersResponse",
    "messages/cwmp_ex-upload_response_test-0.xml": "UploadResponse",
    "messages/cwmp_ex-upload_response_test-1.xml": "UploadResponse",
    "messages/cwmp_ex-upload_response_test-2.xml": "UploadResponse",
    "messages/cwmp_ex-upload_response_test-3.xml": "UploadResponse",
    "messages/cwmp_ex-upload_test-0.xml": "Upload",
    "messages/cwmp_ex-upload_test-1.xml": "Upload",
    "traces/cwmp_ex-inform-2601.xml": "Inform",
    "traces/freeacs-GetParameterNamesResponse.xml": "GetParameterNamesResponse",
    "traces/freeacs-GetParameterValuesResponse.xml": "GetParameterValuesResponse",
    "traces/freeacs-GetRPCMethods.xml": "GetRPCMethods",
    "traces/freeacs-Inform.xml": "Inform",
    "traces/freeacs-SetParameterValuesResponse.xml": "SetParameterValuesResponse",
    "traces/jdalberg-inform_1.xml": "Inform",
    "traces/lukepicci-file1.xml": "Inform",
    "traces/perlcwmp-SpeedTouch-706-Fault.xml": "Fault",
    "traces/perlcwmp-SpeedTouch-706-GetParameterNamesResponse.xml": "GetParameterNamesResponse",
    "traces/perlcwmp-SpeedTouch-706-GetRPCMethodsResponse.xml": "GetRPCMethodsResponse",
    "traces/perlcwmp-SpeedTouch-706-Inform.xml": "Inform",
}


def read(path: str) -> reads.EnvelopeRead:
    return reads.read(recorded(path).read_bytes())


def test_the_table_has_every_file() -> None:
    recorded("")
    found = {f"{folder}/{path.name}" for folder in FOLDERS for path in (TR069 / folder).iterdir()}
    assert found == set(TABLE)


@pytest.mark.parametrize("path", TABLE)
def test_every_file_is_read(path: str) -> None:
    assert type(read(path).message).__name__ == TABLE[path]


def test_an_inform_is_read_whole() -> None:
    got = read("captured/cwmp-sim-10-Inform-ev1_M.xml")
    assert (got.id, got.version) == ("nzo47nti", CwmpVersion.V1_0)
    inform = expect(m.Inform, got.message)
    assert inform.device_id == DeviceId("Simulator", "C0FFEE", "Simulator", "SIM0000")
    assert inform.event == (InformEvent("1 BOOT", ""), InformEvent("M Reboot", ""))
    assert [event.code for event in inform.event] == [EventCode.BOOT, EventCode.REBOOT]
    assert (inform.max_envelopes, inform.retry_count) == (1, 0)
    assert values.moment(inform.current_time) == datetime(2026, 11, 24, 22, 49, 39, 195000, UTC)
    assert len(inform.parameter_list) == 7
    assert inform.parameter_list[2] == ParameterValue(
        "InternetGatewayDevice.DeviceInfo.SoftwareVersion", Value("1.0.0", "string")
    )


def test_a_small_oui_is_kept_and_compared_in_capitals() -> None:
    inform = expect(m.Inform, read("traces/lukepicci-file1.xml").message)
    assert inform.device_id.oui == "a06518"
    assert inform.device_id.key == ("A06518", "968380GERG", "a0651806d37f")


def test_a_count_that_is_wrong_is_passed_over() -> None:
    inform = read("captured/genieacs-sim-01-Inform-ev2.xml").message  # says 16
    values_ = read("messages/cwmp_ex-get_parameter_values_response_test-0.xml").message  # says 64
    assert isinstance(inform, m.Inform)
    assert isinstance(values_, m.GetParameterValuesResponse)
    assert len(inform.parameter_list) != 16
    assert [v.value for v in values_.parameter_list] == [Value("1", "unsignedInt")] * 2


def test_fields_in_the_wrong_order_are_read() -> None:
    done = read("captured/genieacs-sim-08-TransferComplete.xml").message
    assert done == m.TransferComplete(
        "dl1", TransferFault(0, ""), "2026-11-24T22:46:13.613Z", "2026-11-24T22:46:16.664Z"
    )


def test_a_fault_is_read() -> None:
    assert read("traces/perlcwmp-SpeedTouch-706-Fault.xml").message == m.Fault(9001, "Request Denied", (), "Client")


def test_what_device_said_is_kept_where_schema_has_it_not() -> None:
    assert read("captured/cwmp-sim-05-AddObjectResponse.xml").message == m.AddObjectResponse(0, 9005)
    assert read("messages/cwmp_ex-upload_response_test-3.xml").message == m.UploadResponse(
        1, "foo", "2015-01-19T23:09:24"
    )
    assert read("messages/cwmp_ex-set_parameter_values_test-0.xml").message == m.SetParameterValues(
        (
            ParameterValue("Device.Test", Value("Foo", "string")),
            ParameterValue("Device.Test.Whatever", Value("1", "int")),
        ),
        "",
    )


def test_a_large_answer_is_read_whole() -> None:
    names = expect(
        m.GetParameterNamesResponse, read("traces/perlcwmp-SpeedTouch-706-GetParameterNamesResponse.xml").message
    )
    assert len(names.parameter_list) > 3000
    assert all(info.name for info in names.parameter_list)


def test_versions_are_the_namespaces() -> None:
    assert read("traces/freeacs-Inform.xml").version is CwmpVersion.V1_2
    assert read("messages/cwmp_ex-cancel_transfer_test-0.xml").version is CwmpVersion.V1_0  # though 1.2 has the method


def test_no_more_requests_is_read() -> None:
    assert read("traces/jdalberg-inform_1.xml").header.no_more_requests
