"""The CPE itself, without a network: events and what delivers them, methods and their faults, boots, diagnostics."""

from __future__ import annotations

import pytest

from lab.cpe.errors import CpeModelError, HangUp
from lab.cpe.records import Executed, SessionOver
from lab.tests.cpe import acs
from lab.tests.cpe.acs import Read, booted, device, play

SSID = "Device.WiFi.SSID.1.SSID"
KEY = "Device.WiFi.AccessPoint.1.Security.KeyPassphrase"
SERVER = "Device.ManagementServer."


def fault(code: str) -> bytes:
    return acs.envelope(
        "<s:Fault><faultcode>s:Server</faultcode><faultstring>CWMP fault</faultstring><detail><cwmp:Fault>"
        f"<FaultCode>{code}</FaultCode><FaultString/></cwmp:Fault></detail></s:Fault>"
    )


# --- events -----------------------------------------------------------------------------------------------------------


def test_bootstrap_is_said_once_to_each_acs():
    dev = device()
    dev.boot()
    assert play(dev)[0].codes == ["0 BOOTSTRAP", "1 BOOT"]
    assert not dev.wants_session
    dev.boot()
    assert play(dev)[0].codes == ["1 BOOT"]
    play(dev, acs.set_values({f"{SERVER}URL": "http://acs.test/other"}))
    assert dev.wants_session
    assert play(dev)[0].codes == ["0 BOOTSTRAP"]
    assert not dev.wants_session


def test_events_stay_until_the_inform_was_answered():
    dev = device()
    dev.boot()
    dev.begin_session()
    dev.finish(ok=False, reason="cut")
    assert dev.retry_count == 1
    inform = Read(dev.begin_session())
    assert inform.codes == ["0 BOOTSTRAP", "1 BOOT"]
    assert inform.text("RetryCount") == "1"
    # answered, and cut thereafter: the ACS knows
    dev.receive(acs.envelope(acs.INFORM_RESPONSE))
    dev.finish(ok=False, reason="cut")
    assert list(dev.events) == []
    dev.add_event("6 CONNECTION REQUEST")
    said = play(dev)
    assert (said[0].codes, said[0].text("RetryCount"), dev.retry_count) == (["6 CONNECTION REQUEST"], "2", 0)


def test_a_connection_request_in_a_session_is_not_forgotten():
    dev, _ = booted()
    dev.connection_request()
    dev.begin_session()
    dev.connection_request()  # before the Inform was answered: not what it says
    dev.receive(acs.envelope(acs.INFORM_RESPONSE))
    dev.receive(b"")
    dev.finish(ok=True)
    assert list(dev.events) == [("6 CONNECTION REQUEST", "")]
    dev.connection_request(status=401)
    assert play(dev)[0].codes == ["6 CONNECTION REQUEST"]
    assert not dev.wants_session


def test_value_change():
    dev, _ = booted()
    dev.put(SSID, "quiet")
    assert not dev.wants_session
    struct = "<Name>{}</Name><NotificationChange>1</NotificationChange><Notification>{}</Notification>"
    end = "<AccessListChange>0</AccessListChange><AccessList/>"
    one = f"<SetParameterAttributesStruct>{struct}{end}</SetParameterAttributesStruct>"
    asked = f"<ParameterList>{one.format(SSID, 2)}{one.format(KEY, 1)}</ParameterList>"
    assert play(dev, acs.request("SetParameterAttributes", asked))[-1].method == "SetParameterAttributesResponse"
    dev.put(KEY, "another-key")
    assert not dev.wants_session  # passive
    dev.put(SSID, "loud")
    assert dev.wants_session
    inform = play(dev)[0]
    assert inform.codes == ["4 VALUE CHANGE"]
    assert inform.values[SSID] == "loud"
    assert inform.values[KEY] == ""
    play(dev, acs.set_values({SSID: "by-acs"}))
    assert not dev.wants_session  # what the ACS set itself it is not told
    refused = f"<ParameterList>{one.format('Device.DeviceInfo.UpTime', 2)}</ParameterList>"
    assert play(dev, acs.request("SetParameterAttributes", refused))[-1].fault == "9009"
    unknown = f"<ParameterList>{one.format(SSID, 7)}</ParameterList>"
    assert play(dev, acs.request("SetParameterAttributes", unknown))[-1].fault == "9003"
    # a partial path: what refuses is passed over
    whole = f"<ParameterList>{one.format('Device.DeviceInfo.', 2)}</ParameterList>"
    assert play(dev, acs.request("SetParameterAttributes", whole))[-1].method == "SetParameterAttributesResponse"
    assert dev.tree.attributes("Device.DeviceInfo.ModelName").notification == 0
    assert dev.tree.attributes("Device.DeviceInfo.ProductClass").notification == 2


def test_periodic_and_scheduled_informs():
    dev, clock = booted(interval_s=100)
    assert dev.get_timer() == clock.at + 100
    clock.at += 350  # it slept: one inform, and back to the beat
    dev.handle_timer()
    assert play(dev)[0].codes == ["2 PERIODIC"]
    assert dev.get_timer() == clock.at + 50
    play(dev, acs.set_values({f"{SERVER}PeriodicInformInterval": "1000"}))
    assert dev.get_timer() == clock.at + 1000
    play(dev, acs.set_values({f"{SERVER}PeriodicInformTime": "2026-01-01T00:00:07Z"}))
    assert (dev.get_timer() - 7) % 1000 == 1767225600 % 1000
    play(dev, acs.set_values({f"{SERVER}PeriodicInformEnable": "0"}))
    assert dev.get_timer() is None
    asked = acs.request("ScheduleInform", "<DelaySeconds>60</DelaySeconds><CommandKey>later</CommandKey>")
    play(dev, asked)
    clock.at += 60
    dev.handle_timer()
    assert play(dev)[0].events == [("3 SCHEDULED", ""), ("M ScheduleInform", "later")]
    nothing = acs.request("ScheduleInform", "<DelaySeconds>0</DelaySeconds><CommandKey/>")
    assert play(dev, nothing)[-1].fault == "9003"


# --- methods ----------------------------------------------------------------------------------------------------------


def test_set_parameter_values_is_all_or_none():
    dev, _ = booted()
    wrong = [("Device.No", "1", ""), (KEY, "short", ""), ("Device.DeviceInfo.UpTime", "1", "")]
    wrong.append(("Device.WiFi.Radio.1.Channel", "1", "string"))
    refused = play(dev, acs.set_values([(SSID, "new", "string"), *wrong], "k1"))[-1]
    assert refused.fault == "9003"
    assert refused.faults == {
        "Device.No": "9005",
        KEY: "9007",
        "Device.DeviceInfo.UpTime": "9008",
        "Device.WiFi.Radio.1.Channel": "9006",
    }
    assert dev.tree.get(SSID) == "home"
    assert dev.server("ParameterKey") == ""
    done = play(dev, acs.set_values([(SSID, "new", "string"), (KEY, "long-enough", "string")], "k1"))
    assert done[-1].text("Status") == "0"
    assert (dev.tree.get(SSID), dev.tree.get(KEY), dev.server("ParameterKey")) == ("new", "long-enough", "k1")
    assert not dev.wants_session
    assert play(dev)[0].values[f"{SERVER}ParameterKey"] == "k1"
    assert play(dev, acs.set_values([(SSID, "a", ""), (SSID, "b", "")]))[-1].faults == {SSID: "9003"}
    assert play(dev, acs.set_values({}))[-1].fault == "9003"
    assert play(dev, acs.set_values({SSID: "x"}, "k" * 33))[-1].fault == "9003"


def test_objects_and_their_parameter_key():
    dev, _ = booted()
    asked = "<ObjectName>Device.NAT.PortMapping.</ObjectName><ParameterKey>{}</ParameterKey>"
    added = play(dev, acs.request("AddObject", asked.format("k2")))[-1]
    assert (added.text("InstanceNumber"), added.text("Status"), dev.server("ParameterKey")) == ("2", "0", "k2")
    gone = "<ObjectName>Device.NAT.PortMapping.2.</ObjectName><ParameterKey>k3</ParameterKey>"
    assert play(dev, acs.request("DeleteObject", gone))[-1].text("Status") == "0"
    assert dev.server("ParameterKey") == "k3"
    assert play(dev, acs.request("DeleteObject", gone))[-1].fault == "9005"
    assert play(dev, acs.request("AddObject", asked.format("k4")))[-1].text("InstanceNumber") == "3"


@pytest.mark.parametrize(
    ("asked", "code"),
    [
        (acs.get_values("Device.None"), "9005"),
        (acs.get_values(), "9003"),
        (acs.request("GetParameterNames", "<ParameterPath>Device.No.</ParameterPath><NextLevel>0</NextLevel>"), "9005"),
        (acs.request("GetParameterAttributes", "<ParameterNames><string>X.</string></ParameterNames>"), "9005"),
        (acs.request("GetParameterAttributes", "<ParameterNames/>"), "9003"),
        (acs.request("ChangeDUState"), "9000"),
        (acs.request("X_Vendor"), "9000"),
        (acs.download(""), "9003"),
        (acs.download("tftp://x/y"), "9013"),
        (acs.download("http://u:p@x/y"), "9003"),
        (acs.download("http://x/y", kind="9 Unknown"), "9003"),
        (acs.download("http://x/y", delay_s=-1), "9003"),
        (acs.request("Upload", "<FileType>5 Other</FileType><URL>http://x/</URL>"), "9003"),
        (acs.request("ScheduleDownload", "<FileType>2 Web Content</FileType>"), "9003"),
    ],
)
def test_refusals(asked, code):
    dev, _ = booted()
    assert play(dev, asked)[-1].fault == code
    assert [one.fault for one in dev.log if isinstance(one, Executed)] == [int(code)]


def test_names_values_and_the_id_come_back():
    dev, _ = booted("098")
    root = "InternetGatewayDevice."
    asked = f"<ParameterPath>{root}</ParameterPath><NextLevel>true</NextLevel>"
    said = play(dev, acs.request("GetParameterNames", asked, identity="x&amp;1"), acs.get_values(f"{root}LANDevice."))
    assert said[1].id == "x&1"
    names = {one.findtext("Name"): one.findtext("Writable") for one in said[1].body.iter("ParameterInfoStruct")}
    assert names[f"{root}DeviceInfo."] == "0"
    assert said[2].values[f"{root}LANDevice.1.Hosts.Host.1.HostName"] == "tv"


# --- who speaks when --------------------------------------------------------------------------------------------------


def test_hold_requests_keeps_cpe_quiet_until_acs_has_asked():
    dev, _ = booted()
    dev.transfers.finished.append(acs_finished("k"))
    dev.add_event("7 TRANSFER COMPLETE")
    dev.begin_session()
    assert dev.receive(acs.envelope(acs.INFORM_RESPONSE, hold=True)) == b""
    assert Read(dev.receive(acs.get_values("Device.DeviceInfo."))).method == "GetParameterValuesResponse"
    assert Read(dev.receive(b"")).method == "TransferComplete"
    assert dev.receive(acs.envelope("<cwmp:TransferCompleteResponse/>")) == b""
    assert dev.receive(b"") is None
    dev.finish(ok=True)
    assert not dev.wants_session


def acs_finished(key: str):
    from lab.cpe.soap import Finished

    return Finished(key)


def test_the_inform_is_repeated_when_the_acs_wants_it_so():
    dev, _ = booted()
    dev.add_event("2 PERIODIC")
    dev.begin_session()
    assert Read(dev.receive(fault("8005"))).codes == ["2 PERIODIC"]
    assert dev.receive(acs.envelope(acs.INFORM_RESPONSE)) == b""
    dev.finish(ok=True)
    dev.add_event("2 PERIODIC")
    dev.begin_session()
    with pytest.raises(HangUp, match="8001"):
        dev.receive(fault("8001"))
    dev.finish(ok=False)
    dev.begin_session()
    dev.receive(fault("8005"))
    dev.receive(fault("8005"))
    with pytest.raises(HangUp):
        dev.receive(fault("8005"))


def test_a_refused_transfer_complete_is_not_repeated_for_ever():
    dev, _ = booted()
    dev.transfers.finished.append(acs_finished("k"))
    dev.add_event("7 TRANSFER COMPLETE")
    dev.begin_session()
    dev.receive(acs.envelope(acs.INFORM_RESPONSE))
    assert Read(dev.receive(fault("8005"))).method == "TransferComplete"
    assert dev.receive(fault("8001")) == b""
    assert dev.receive(b"") is None
    dev.finish(ok=True)
    assert (dev.transfers.finished, dev.wants_session) == ([], False)


@pytest.mark.parametrize(
    "answer",
    [b"", b"<html/>", acs.get_values("Device."), acs.envelope("<cwmp:RebootResponse/>"), acs.envelope("")],
)
def test_what_is_no_answer_to_an_inform_ends_the_session(answer):
    dev = device()
    with pytest.raises(HangUp):
        dev.receive(answer)
    dev.boot()
    dev.begin_session()
    with pytest.raises(HangUp):
        dev.receive(answer)
    dev.finish(ok=False, reason="x")
    dev.finish(ok=False, reason="said once")
    assert [(one.ok, one.informed) for one in dev.log if isinstance(one, SessionOver)] == [(False, False)]


def test_a_fault_or_response_out_of_place_ends_the_session():
    for answer in (fault("8000"), acs.envelope("<cwmp:TransferCompleteResponse/>")):
        dev, _ = booted()
        dev.begin_session()
        assert dev.receive(acs.envelope(acs.INFORM_RESPONSE)) == b""
        with pytest.raises(HangUp):
            dev.receive(answer)


@pytest.mark.parametrize(
    ("version", "header", "spoken"),
    [
        ("2", "", "1.4"),
        ("1", "", "1.1"),
        ("0", "", "1.0"),
        ("2", "<cwmp:UseCWMPVersion>1.2</cwmp:UseCWMPVersion>", "1.2"),
    ],
)
def test_the_version_is_what_the_acs_answers_in(version, header, spoken):
    dev = device()
    dev.boot()
    dev.begin_session()
    dev.receive(acs.envelope(acs.INFORM_RESPONSE, version=version, header=header))
    assert dev.version == spoken
    listed = Read(dev.receive(acs.request("GetRPCMethods")))
    methods = [one.text for one in listed.body.iter("string")]
    assert ("CancelTransfer" in methods) == (spoken in ("1.2", "1.4"))
    assert ("GetAllQueuedTransfers" in methods) == (spoken != "1.0")


# --- boots ------------------------------------------------------------------------------------------------------------


def test_reboot_comes_after_the_session():
    dev, clock = booted()
    play(dev, acs.reboot("key"), acs.set_values({SSID: "kept"}))
    assert dev.rebooting
    clock.at += 30
    dev.boot()
    assert (dev.boots, dev.rebooting, dev.tree.get("Device.DeviceInfo.UpTime")) == (2, False, "0")
    assert play(dev)[0].events == [("1 BOOT", ""), ("M Reboot", "key")]
    assert dev.tree.get(SSID) == "kept"


def test_factory_reset():
    dev, _ = booted(url="http://acs.test/factory")
    dev.set_server("ConnectionRequestURL", "http://127.0.0.1:7547/x", quietly=True)
    play(dev, acs.set_values({SSID: "mine", f"{SERVER}Username": "u"}), acs.download("http://x/y", delay_s=900))
    play(dev, acs.request("FactoryReset"))
    assert dev.rebooting
    dev.boot()
    inform = play(dev)[0]
    assert inform.codes == ["0 BOOTSTRAP", "1 BOOT"]
    assert inform.values[f"{SERVER}ConnectionRequestURL"] == "http://127.0.0.1:7547/x"
    assert (dev.tree.get(SSID), dev.server("Username"), dev.transfers.queued) == ("home", "", [])


def test_a_power_cut_forgets_what_only_that_moment_knew():
    dev, _ = booted()
    dev.add_event("2 PERIODIC")
    dev.add_event("M Reboot", "k")
    dev.put("Device.DeviceInfo.ProvisioningCode", "new")
    dev.power_cut()
    assert dev.rebooting
    assert dev.take_transfers() == []
    dev.boot()
    assert play(dev)[0].codes == ["1 BOOT", "M Reboot"]


# --- diagnostics ------------------------------------------------------------------------------------------------------

IP = "Device.IP.Diagnostics."
PING = f"{IP}IPPing."
GATEWAY = "InternetGatewayDevice."


def diagnosed(dev, clock, values):
    play(dev, acs.set_values(values))
    assert not dev.wants_session
    clock.at += dev.diagnostics_s
    dev.handle_timer()


def test_ping():
    dev, clock = booted(interval_s=0)
    diagnosed(
        dev,
        clock,
        {f"{PING}Host": "192.0.2.1", f"{PING}NumberOfRepetitions": "4", f"{PING}DiagnosticsState": "Requested"},
    )
    said = play(dev, acs.get_values(PING))
    assert said[0].codes == ["8 DIAGNOSTICS COMPLETE"]
    values = said[1].values
    assert (values[f"{PING}DiagnosticsState"], values[f"{PING}SuccessCount"]) == ("Complete", "4")
    least, mean, most = (int(values[f"{PING}{name}ResponseTime"]) for name in ("Minimum", "Average", "Maximum"))
    assert 0 < least <= mean <= most
    dev.unreachable.add("192.0.2.1")
    diagnosed(dev, clock, {f"{PING}DiagnosticsState": "Requested"})
    assert (dev.tree.get(f"{PING}SuccessCount"), dev.tree.get(f"{PING}FailureCount")) == ("0", "4")
    # another parameter takes the result back
    play(dev, acs.set_values({f"{PING}Host": "nowhere.invalid"}))
    assert dev.tree.get(f"{PING}DiagnosticsState") == "None"
    diagnosed(dev, clock, {f"{PING}DiagnosticsState": "Requested"})
    assert dev.tree.get(f"{PING}DiagnosticsState") == "Error_CannotResolveHostName"
    assert play(dev, acs.set_values({f"{PING}DiagnosticsState": "Complete"}))[-1].faults == {
        f"{PING}DiagnosticsState": "9007"
    }


@pytest.mark.parametrize(
    ("root", "path", "values", "state", "count"),
    [
        ("181", f"{IP}TraceRoute.", {"Host": "192.0.2.9"}, "Complete", "RouteHopsNumberOfEntries"),
        ("098", f"{GATEWAY}TraceRouteDiagnostics.", {"Host": "x"}, "Complete", "RouteHopsNumberOfEntries"),
        ("098", f"{GATEWAY}IPPingDiagnostics.", {"Host": "x"}, "Complete", "SuccessCount"),
        ("181", "Device.WiFi.NeighboringWiFiDiagnostic.", {}, "Complete", "ResultNumberOfEntries"),
        ("181", f"{IP}DownloadDiagnostics.", {"DownloadURL": "http://x/"}, "Completed", "TestBytesReceived"),
        ("098", f"{GATEWAY}DownloadDiagnostics.", {"DownloadURL": "http://x/"}, "Completed", "TotalBytesReceived"),
        (
            "181",
            f"{IP}UploadDiagnostics.",
            {"UploadURL": "http://x/", "TestFileLength": "9"},
            "Completed",
            "TotalBytesSent",
        ),
        (
            "098",
            f"{GATEWAY}UploadDiagnostics.",
            {"UploadURL": "ftp://x/", "TestFileLength": "9"},
            "Error_InitConnectionFailed",
            "",
        ),
        ("181", f"{IP}TraceRoute.", {"Host": ""}, "Error_CannotResolveHostName", ""),
    ],
)
def test_other_diagnostics(root, path, values, state, count):
    dev, clock = booted(root, interval_s=0)
    for _ in range(2):  # the second run takes the first one's rows away
        diagnosed(dev, clock, {path + k: v for k, v in {**values, "DiagnosticsState": "Requested"}.items()})
        assert play(dev)[0].codes == ["8 DIAGNOSTICS COMPLETE"]
        assert dev.tree.get(f"{path}DiagnosticsState") == state
        assert not count or 0 < int(dev.tree.get(path + count)) < 10**7
    rows = dev.tree.instances(f"{path}RouteHops.")
    assert len(rows) in (0, 3)


def test_a_diagnostic_that_is_cancelled_or_cut_off_says_nothing():
    dev, clock = booted(interval_s=0)
    play(dev, acs.set_values({f"{PING}Host": "x", f"{PING}DiagnosticsState": "Requested"}))
    play(dev, acs.set_values({f"{PING}DiagnosticsState": "Canceled"}))
    clock.at += 5
    dev.handle_timer()
    assert not dev.wants_session
    play(dev, acs.set_values({f"{PING}DiagnosticsState": "Requested"}))
    dev.power_cut()
    dev.boot()
    clock.at += 5
    dev.handle_timer()
    assert dev.tree.get(f"{PING}DiagnosticsState") == "None"
    assert play(dev)[0].codes == ["1 BOOT"]


# --- what follows -----------------------------------------------------------------------------------------------------


def test_what_follows_from_a_value():
    dev, _ = booted()
    ppp = "Device.PPP.Interface.1."
    play(dev, acs.set_values({f"{ppp}Enable": "false", "Device.WiFi.Radio.1.Enable": "0", f"{ppp}Reset": "1"}))
    assert (dev.tree.get(f"{ppp}ConnectionStatus"), dev.tree.get(f"{ppp}Status")) == ("Disconnected", "Down")
    assert dev.tree.get("Device.WiFi.Radio.1.Status") == "Down"
    assert dev.tree.get(f"{ppp}Reset") == "0"
    play(dev, acs.set_values({f"{ppp}Enable": "1"}))
    assert dev.tree.get(f"{ppp}ConnectionStatus") == "Connected"
    dev.put("Device.NAT.PortMapping.1.Enable", "0")
    assert dev.tree.get("Device.NAT.PortMapping.1.Status") == "Disabled"
    with pytest.raises(CpeModelError):
        dev.put("Device.Nothing", "1")
