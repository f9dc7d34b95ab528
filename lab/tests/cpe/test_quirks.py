"""What a CPE gets wrong when it is told to, as the ACS sees it. No network; those of HTTP are in test_client."""

from __future__ import annotations

import pytest

from lab.cpe.errors import HangUp
from lab.cpe.quirks import Quirks, covers, meets
from lab.cpe.records import Executed
from lab.cpe.transfers import firmware
from lab.tests.cpe import acs
from lab.tests.cpe.acs import Read, booted, play

SSID = "Device.WiFi.SSID.1.SSID"
HOSTS = "Device.Hosts.Host."


def opened(dev) -> None:
    dev.add_event("6 CONNECTION REQUEST")
    dev.begin_session()
    assert dev.receive(acs.envelope(acs.INFORM_RESPONSE)) == b""


def test_which_requests_are_meant():
    path = ("GetParameterValues:Device.Hosts.",)
    assert meets(path, "GetParameterValues", ["Device.Hosts.Host.1.HostName"])
    assert meets(path, "GetParameterValues", ["Device.WiFi.", "Device."])
    assert not meets(path, "GetParameterValues", ["Device.WiFi."])
    assert not meets(path, "GetParameterNames", ["Device.Hosts."])
    assert meets(("Reboot",), "Reboot", [])
    assert covers(("Device.WiFi.",), SSID)
    assert covers((SSID,), SSID)
    assert not covers(("Device.WiFi",), SSID)


def test_booleans():
    dev, _ = booted(quirks=Quirks(truth=("true", "false")))
    said = play(dev, acs.get_values("Device.WiFi.Radio.1.Enable"), acs.set_values({"Device.WiFi.Radio.1.Enable": "0"}))
    assert list(said[1].values.values()) == ["true"]
    assert list(play(dev, acs.get_values("Device.WiFi.Radio.1.Enable"))[1].values.values()) == ["false"]


def test_empty_tables():
    dev, _ = booted(quirks=Quirks(empty_tables=(HOSTS,)))
    assert play(dev, acs.get_values("Device.Hosts."))[1].values == {"Device.Hosts.HostNumberOfEntries": "0"}
    dev.quirks = Quirks()
    assert len(play(dev, acs.get_values(HOSTS))[1].values) == 4 * 8


def test_writes_that_do_nothing_or_something_else():
    dev, _ = booted(quirks=Quirks(writes_ignored=("Device.NAT.",), writes_coerced=((SSID, "vendor"),)))
    wanted = {SSID: "mine", "Device.NAT.PortMapping.1.Description": "mine"}
    assert play(dev, acs.set_values(wanted, "k"))[-1].text("Status") == "0"
    assert dev.tree.get(SSID) == "vendor"
    assert dev.tree.get("Device.NAT.PortMapping.1.Description") == "camera"
    assert dev.server("ParameterKey") == "k"


def test_status_1_takes_effect_when_the_session_is_over():
    dev, _ = booted(quirks=Quirks(status_1=True))
    opened(dev)
    assert Read(dev.receive(acs.set_values({SSID: "later"}))).text("Status") == "1"
    assert Read(dev.receive(acs.get_values(SSID))).values == {SSID: "home"}
    assert dev.receive(b"") is None
    dev.finish(ok=True)
    assert dev.tree.get(SSID) == "later"


def test_an_answer_that_is_lost_was_done():
    dev, _ = booted(quirks=Quirks(loses_answer_on=("SetParameterValues",)))
    opened(dev)
    with pytest.raises(HangUp):
        dev.receive(acs.set_values({SSID: "done"}))
    dev.finish(ok=False)
    assert dev.tree.get(SSID) == "done"
    assert [(one.method, one.answered) for one in dev.log if isinstance(one, Executed)] == [
        ("SetParameterValues", False)
    ]
    assert play(dev, acs.set_values({SSID: "again"}))[-1].text("Status") == "0"  # once
    dev.quirks = Quirks(loses_answer_on=("Reboot",), loses=-1)
    for _ in range(2):
        opened(dev)
        with pytest.raises(HangUp):
            dev.receive(acs.reboot("k"))
        dev.finish(ok=False)
        assert dev.rebooting
        dev.boot()


def test_a_session_that_fails_whole():
    dev, _ = booted(quirks=Quirks(cut_on=("GetParameterValues:Device.Hosts.",), fails_on=("Reboot",)))
    opened(dev)
    with pytest.raises(HangUp):
        dev.receive(acs.get_values("Device."))
    dev.finish(ok=False)
    assert play(dev, acs.get_values("Device.WiFi."), acs.reboot())[-1].fault == "9002"
    assert not dev.rebooting


def test_a_request_that_makes_it_boot_again_and_again():
    dev, _ = booted(quirks=Quirks(reboots_on=("GetParameterValues:Device.Hosts.",), reboots=3))
    play(dev, acs.get_values("Device.WiFi."))
    assert not dev.rebooting
    play(dev, acs.get_values(HOSTS))
    boots = 0
    while dev.rebooting:
        dev.boot()
        boots += 1
        assert play(dev)[0].codes == ["1 BOOT"]
    assert boots == 3
    play(dev, acs.get_values(HOSTS))  # every time
    assert dev.rebooting


def test_an_unsafe_reboot_loses_what_was_set():
    dev, _ = booted(quirks=Quirks(unsafe_reboot=True))
    play(dev, acs.set_values({SSID: "mine"}), acs.reboot("k"))
    dev.boot()
    assert dev.tree.get(SSID) == "home"
    assert play(dev)[0].codes == ["0 BOOTSTRAP", "1 BOOT"]


def test_ids():
    for quirks, same in ((Quirks(), "acs-1"), (Quirks(no_id=True), None)):
        dev, _ = booted(quirks=quirks)
        assert play(dev, acs.reboot())[-1].id == same
    dev, _ = booted(quirks=Quirks(id_not_echoed=True))
    assert play(dev, acs.reboot())[-1].id not in (None, "acs-1")


def test_limits_types_and_lower_case():
    dev, _ = booted(quirks=Quirks(names_max=10, lower_oui=True, any_type=True))
    said = play(
        dev,
        acs.get_values("Device.WiFi."),
        acs.get_values(SSID),
        acs.set_values([("Device.WiFi.Radio.1.Channel", "11", "string")]),
    )
    assert said[0].text("DeviceId/OUI") == "02ac5f"
    assert [one.fault for one in said[1:]] == ["9004", "", ""]


def test_it_asks_the_acs_for_its_methods_after_a_boot():
    dev, _ = booted(quirks=Quirks(asks_methods=True))
    assert [one.method for one in play(dev)] == ["Inform"]
    dev.boot()
    assert [one.method for one in play(dev)] == ["Inform", "GetRPCMethods"]


def test_a_deaf_cpe_takes_connection_requests_and_stays_away():
    dev, _ = booted(quirks=Quirks(deaf=True))
    dev.connection_request()
    assert not dev.wants_session


@pytest.mark.parametrize(
    ("kind", "code", "version", "boots"),
    [("", "0", "2.0", 2), ("silent", "0", "1.0.0", 2), ("faults", "9018", "1.0.0", 1)],
)
def test_firmware(kind, code, version, boots):
    dev, _ = booted(quirks=Quirks(firmware=kind))
    play(dev, acs.download("http://x/fw", "key"))
    (transfer,) = dev.take_transfers()
    dev.transfers.done(transfer, firmware("2.0"), 0)
    assert dev.rebooting == (boots == 2)
    if dev.rebooting:
        dev.boot()
    said = play(dev)
    assert (dev.software, dev.boots) == (version, boots)
    assert said[1].text("FaultStruct/FaultCode") == code
    expected = {"1 BOOT"} if boots == 2 else set()
    expected |= {"4 VALUE CHANGE"} if version == "2.0" else set()
    assert set(said[0].codes) == {"7 TRANSFER COMPLETE", "M Download", *expected}
    assert not dev.wants_session


def test_firmware_that_stalls_says_nothing_for_ever():
    dev, clock = booted(quirks=Quirks(firmware="stall"), interval_s=0)
    play(dev, acs.download("http://x/fw", "key"))
    (transfer,) = dev.take_transfers()
    dev.transfers.done(transfer, firmware("2.0"), 0)
    clock.at += 1e6
    dev.handle_timer()
    assert not dev.wants_session
    dev.power_cut()
    dev.boot()
    said = play(dev, acs.request("GetQueuedTransfers"))
    assert (said[0].codes, said[1].text("TransferList/QueuedTransferStruct/State")) == (["1 BOOT"], "2")
    assert dev.take_transfers() == []
    assert dev.software == "1.0.0"
