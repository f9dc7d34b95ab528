"""Files: queued, fetched, applied, told of. No network."""

from __future__ import annotations

import pytest

from lab.cpe.soap import AutonomousTransfer, Finished
from lab.cpe.transfers import firmware, read_configuration, version_of
from lab.tests.cpe import acs
from lab.tests.cpe.acs import booted, play

SSID = "Device.WiFi.SSID.1.SSID"
CONFIGURATION = "3 Vendor Configuration File"


def fetched(dev, content: bytes = b"", code: int = 0) -> None:
    (transfer,) = dev.take_transfers()
    dev.transfers.done(transfer, content, code)


def test_an_image_says_its_version():
    assert version_of(firmware("2.1-rc3")) == "2.1-rc3"
    assert len(firmware("2", 1000)) == 1000
    for wrong in (b"", b"version=", b"version= \n", b"version=2", b"elf"):
        assert version_of(wrong) is None


def test_download_waits_for_its_time_and_for_end_of_session():
    dev, clock = booted(interval_s=0)
    response = play(dev, acs.download("http://x/y", "k", delay_s=60))[-1]
    assert response.text("Status") == "1"
    assert response.text("StartTime") == "0001-01-01T00:00:00Z"
    assert (dev.take_transfers(), dev.get_timer()) == ([], clock.at + 60)
    clock.at += 60
    dev.begin_session()
    assert dev.take_transfers() == []
    dev.finish(ok=False)
    assert len(dev.take_transfers()) == 1
    assert dev.take_transfers() == []


@pytest.mark.parametrize(
    ("version", "code", "said"), [("1.4", 9016, "9016"), ("1.0", 9016, "9010"), ("1.0", 9012, "9012")]
)
def test_a_download_that_fails_is_told_without_a_boot(version, code, said):
    dev, _ = booted(version=version, interval_s=0)
    play(dev, acs.download("http://x/y", "k"))
    fetched(dev, b"", code)
    assert not dev.rebooting
    inform, complete = play(dev)
    assert inform.events == [("7 TRANSFER COMPLETE", ""), ("M Download", "k")]
    assert (complete.text("CommandKey"), complete.text("FaultStruct/FaultCode")) == ("k", said)
    assert complete.text("StartTime") == "2025-06-15T15:06:40Z"
    assert not dev.wants_session


def test_transfer_complete_is_repeated_until_it_was_answered():
    dev, _ = booted(interval_s=0)
    play(dev, acs.download("http://x/y", "k"))
    fetched(dev, b"", 9010)
    dev.begin_session()
    dev.receive(acs.envelope(acs.INFORM_RESPONSE))
    dev.finish(ok=False)
    # the Inform was answered, TransferComplete was not: its events are not delivered
    assert list(dev.events) == [("7 TRANSFER COMPLETE", ""), ("M Download", "k")]
    dev.power_cut()
    dev.boot()
    inform, complete = play(dev)
    assert inform.codes == ["1 BOOT", "7 TRANSFER COMPLETE", "M Download"]
    assert complete.text("FaultStruct/FaultCode") == "9010"
    assert not dev.wants_session


def test_two_transfers_in_one_session():
    dev, _ = booted(interval_s=0)
    for key in ("a", "b"):
        play(dev, acs.download("http://x/y", key))
    one, other = dev.take_transfers()
    dev.transfers.done(one, b"", 9010)
    dev.transfers.done(other, b"", 9015)
    said = play(dev)
    assert said[0].events == [("7 TRANSFER COMPLETE", ""), ("M Download", "a"), ("M Download", "b")]
    assert [s.text("FaultStruct/FaultCode") for s in said[1:]] == ["9010", "9015"]
    assert (list(dev.events), dev.transfers.finished) == ([], [])


@pytest.mark.parametrize(
    ("kind", "content", "size", "code"),
    [
        ("1 Firmware Upgrade Image", b"no image", 0, "9018"),
        ("1 Firmware Upgrade Image", firmware("2"), 999, "9018"),
        (CONFIGURATION, f"{SSID}=from-file\n".encode(), 0, "0"),
        (CONFIGURATION, b"Device.None=1\n", 0, "9018"),
        (CONFIGURATION, b"\xff\xfe", 0, "9018"),
        (CONFIGURATION, b"nonsense\n", 0, "9018"),
        ("2 Web Content", b"<html/>", 7, "0"),
    ],
)
def test_what_a_file_does(kind, content, size, code):
    dev, _ = booted(interval_s=0)
    play(dev, acs.download("http://x/y", "k", kind, size))
    fetched(dev, content)
    assert not dev.rebooting
    assert play(dev)[1].text("FaultStruct/FaultCode") == code
    assert dev.tree.get(SSID) == ("from-file" if kind == CONFIGURATION and code == "0" else "home")
    assert list(dev.transfers.files.values()) == ([content] if "Web" in kind else [])


def test_firmware_waits_for_the_session_in_which_it_arrives():
    dev, _ = booted(interval_s=0)
    play(dev, acs.download("http://x/y", "k"))
    (transfer,) = dev.take_transfers()
    dev.begin_session()
    dev.transfers.done(transfer, firmware("2.0"), 0)
    assert not dev.rebooting
    dev.finish(ok=False)
    assert (dev.rebooting, dev.software) == (True, "1.0.0")
    assert dev.take_transfers() == []
    dev.boot()
    assert dev.software == "2.0"


def test_a_fetch_that_a_power_cut_ended_is_done_again():
    dev, _ = booted(interval_s=0)
    play(dev, acs.download("http://x/y", "k"))
    (transfer,) = dev.take_transfers()
    dev.power_cut()
    dev.boot()
    assert dev.take_transfers() == [transfer]
    play(dev, acs.request("FactoryReset"))
    dev.boot()
    dev.transfers.done(transfer, firmware("2.0"), 0)
    assert (dev.software, dev.rebooting) == ("1.0.0", False)


def test_scheduled_download_and_its_windows():
    dev, clock = booted(interval_s=0)
    window = "<TimeWindowStruct><WindowStart>{}</WindowStart><WindowEnd>{}</WindowEnd></TimeWindowStruct>"
    asked = (
        "<CommandKey>s</CommandKey><FileType>2 Web Content</FileType><URL>http://x/y</URL><FileSize>0</FileSize>"
        "<TimeWindowList>{}</TimeWindowList>"
    )
    assert play(dev, acs.request("ScheduleDownload", asked.format(window.format(9, 9))))[-1].fault == "9003"
    play(dev, acs.request("ScheduleDownload", asked.format(window.format(100, 200))))
    assert (dev.take_transfers(), dev.get_timer()) == ([], clock.at + 100)
    clock.at += 150
    (transfer,) = dev.take_transfers()
    play(dev, acs.request("CancelTransfer", "<CommandKey>none</CommandKey>"))
    assert play(dev, acs.request("CancelTransfer", "<CommandKey>s</CommandKey>"))[-1].fault == "9021"
    clock.at += 100
    dev.transfers.done(transfer, b"x", 0)
    said = play(dev)
    assert said[0].events == [("7 TRANSFER COMPLETE", ""), ("M ScheduleDownload", "s")]
    assert said[1].text("FaultStruct/FaultCode") == "9020"


def test_the_queue():
    dev, _ = booted(interval_s=0)
    for n in range(16):
        assert play(dev, acs.download("http://x/y", f"k{n}", delay_s=9))[-1].text("Status") == "1"
    assert play(dev, acs.download("http://x/y", "more", delay_s=9))[-1].fault == "9004"
    play(dev, acs.request("CancelTransfer", "<CommandKey>k3</CommandKey>"))
    keys = [e.text for e in play(dev, acs.request("GetAllQueuedTransfers"))[-1].body.iter("CommandKey")]
    assert keys == [f"k{n}" for n in range(16) if n != 3]


def test_an_upload_sends_the_configuration_without_its_secrets():
    dev, _ = booted(interval_s=0, password="s3cret")
    asked = "<CommandKey>u</CommandKey><FileType>{}</FileType><URL>http://x/y</URL><DelaySeconds>0</DelaySeconds>"
    play(dev, acs.request("Upload", asked.format("3 Vendor Configuration File 1")))
    (transfer,) = dev.take_transfers()
    content = dev.upload_content(transfer)
    assert b"s3cret" not in content
    assert f"{SSID}=home\n".encode() in content
    assert b"UpTime" not in content
    dev.transfers.done(transfer, b"", 0)
    assert play(dev)[0].events == [("7 TRANSFER COMPLETE", ""), ("M Upload", "u")]
    play(dev, acs.request("Upload", asked.format("2 Vendor Log File")))
    (transfer,) = dev.take_transfers()
    assert b"1 boots" in dev.upload_content(transfer)


def test_a_configuration_that_it_wrote_it_reads():
    dev, _ = booted(interval_s=0)
    found = read_configuration(f"{SSID}=a=b\n".encode(), dev.tree)
    assert found == [(SSID, "a=b")]


def test_an_autonomous_transfer_is_told():
    dev, _ = booted(interval_s=0)
    dev.transfers.by_itself(
        AutonomousTransfer("1 Firmware Upgrade Image", "http://x/", outcome=Finished("", 0, "", 1, 2))
    )
    said = play(dev)
    assert said[0].codes == ["10 AUTONOMOUS TRANSFER COMPLETE"]
    assert said[1].text("TransferURL") == "http://x/"
    assert not dev.wants_session
    old, _ = booted(interval_s=0, version="1.0")
    old.transfers.by_itself(AutonomousTransfer("1 Firmware Upgrade Image", "http://x/"))
    assert [one.method for one in play(old)] == ["Inform"]
    assert not old.wants_session
