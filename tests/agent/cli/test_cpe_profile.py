"""`ispagent cpe profile test`: a profile tried on a dump, and on a CPE that the agent knows."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from agent.cli import app, cpe_profile
from lab.tests.cpe import data

OWN = 'extends = "tr181"\n[match]\nproduct_class = ["TB-362"]\n'
DUMP = {
    "Device.DeviceInfo.ManufacturerOUI": "000000",
    "Device.DeviceInfo.ProductClass": "TB-362",
    "Device.DeviceInfo.SoftwareVersion": "0.8.7",
    "Device.IP.Interface.1.LowerLayers": "Device.Ethernet.Link.1",
    "Device.IP.Interface.2.Enable": "1",
    "Device.WiFi.SSID.1.SSID": "home",
    "Device.WiFi.SSID.1.LowerLayers": "Device.WiFi.Radio.1",
    "InternetGatewayDevice.DeviceInfo.UpTime": "5",
}


def tried(folder: Path, text: str, *more: str, dump: object = DUMP) -> tuple[int, str]:
    (folder / "ours.toml").write_text(text, encoding="utf-8")
    (folder / "dump.json").write_text(json.dumps(dump), encoding="utf-8")
    asked = ["cpe", "profile", "test", str(folder / "ours.toml"), "--against", str(folder / "dump.json"), *more]
    done = CliRunner().invoke(app, asked)
    return done.exit_code, done.output


def test_what_a_profile_makes_of_a_dump(tmp_path: Path) -> None:
    """The command prints resolved, missing and writable names, and that the WAN is unknown."""
    code, out = tried(tmp_path, OWN)
    assert code == 0
    assert "against" in out
    assert "000000 TB-362 0.8.7 · 8 parameters · it matches" in out
    assert "! 1 parameters lie below another root" in out
    assert "wifi.1.ssid              home  (Device.WiFi.SSID.1.SSID · can be written)" in out
    assert "  wifi.1.channel           Device.WiFi.Radio.1.Channel\n" in out.partition("MISSING")[2]
    assert "the WAN is not known: no default route was read" in out.partition("NOT KNOWN")[2]
    assert out.endswith("nothing was asked of a CPE, and nothing was written\n")


def test_a_fixed_place_and_a_file_that_extends_its_neighbor(tmp_path: Path) -> None:
    (tmp_path / "base.toml").write_text(OWN + '[places]\n"wan" = "IP.Interface.2."\n', encoding="utf-8")
    code, out = tried(tmp_path, 'extends = "base"\nmatch.product_class = ["TB-363"]\n')
    assert code == 0
    assert "IT DOES NOT MATCH" in out
    assert "wan.ipoe.enabled         true  (Device.IP.Interface.2.Enable · can be written)" in out


def test_the_names_as_json(tmp_path: Path) -> None:
    code, out = tried(tmp_path, OWN, "--json")
    found = json.loads(out)
    assert (code, found["profile"], found["matches"]) == (0, "ours", True)
    names = {name["name"]: name for name in found["names"]}
    assert names["wan.ip"]["why"].startswith("the WAN is not known")
    assert names["wifi.1.ssid"]["shown"] == "home"


def test_a_recorded_model_is_a_dump(tmp_path: Path) -> None:
    """The BM632w with its five lines."""
    model = data.recorded("cpe-models/huawei-BM632w.genieacs-sim.csv")
    (tmp_path / "bm632w.toml").write_text(
        'extends = "tr098"\nmatch.product_class = ["BM632w"]\nquirks.get_by_path = false\n'
    )
    asked = ["cpe", "profile", "test", str(tmp_path / "bm632w.toml"), "--against", str(model)]
    done = CliRunner().invoke(app, asked)
    assert "it matches" in done.output
    assert "wan.ip                   172.3.89.139  (InternetGatewayDevice.WANDevice.1." in done.output
    assert "nothing was written" in done.output


@pytest.mark.parametrize(
    ("text", "dump", "said"),
    [
        (OWN + "[quirks]\nnames_batch = -1\n", DUMP, "profile ours.toml, line 5: quirks.names_batch: expected a whole"),
        (OWN, [], "a file without parameters"),
    ],
)
def test_what_is_wrong_is_told_with_exit_code_2(tmp_path: Path, text: str, dump: object, said: str) -> None:
    code, out = tried(tmp_path, text, dump=dump)
    assert code == 2
    assert said in out


def test_a_file_of_another_kind_is_refused(tmp_path: Path) -> None:
    for name, said in (("ours.txt", "expected a file FILE.toml"), ("gone.toml", "there is no such file")):
        done = CliRunner().invoke(app, ["cpe", "profile", "test", str(tmp_path / name), "--against", "x.json"])
        assert done.exit_code == 2
        assert said in done.output


def test_the_agent_tells_of_a_cpe_without_reads_before_a_reset(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Only reads, by GET."""
    (tmp_path / "ours.toml").write_text(OWN, encoding="utf-8")
    asked = []

    def get(method: str, path: str) -> object:
        asked.append((method, path))
        if not path.endswith("/values?below="):
            return {"oui": "000000", "product_class": "TB-362", "software": "1"}
        row = {"path": "Device.WiFi.SSID.1.SSID", "value": "home", "type": "string", "before_reset": False}
        return [row, {**row, "path": "Device.WiFi.SSID.2.SSID", "before_reset": True}]

    monkeypatch.setattr(cpe_profile, "call_object", get)
    monkeypatch.setattr(cpe_profile, "call_list", get)
    done = CliRunner().invoke(app, ["cpe", "profile", "test", str(tmp_path / "ours.toml"), "--against", "A/B"])
    assert "1 parameters · it matches" in done.output
    assert asked == [("GET", "/v1/cpes/A%2FB"), ("GET", "/v1/cpes/A%2FB/values?below=")]
