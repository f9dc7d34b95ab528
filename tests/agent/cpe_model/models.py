"""What was read of CPE: made up with one of everything, and recorded models, read in place."""

from __future__ import annotations

import csv
from collections.abc import Mapping
from pathlib import Path

from agent.cpe_model import profile_files
from agent.cpe_model.known import CachedParameter

SHIPPED = [entry.profile for entry in profile_files.load()]
IGD = "InternetGatewayDevice."
_TR181 = {
    "IP.Interface.1.LowerLayers": "Device.Ethernet.Link.2.",
    "IP.Interface.1.IPv4Address.1.IPAddress": "192.168.1.1",
    "IP.Interface.2.LowerLayers": "Device.Ethernet.VLANTermination.1",
    "IP.Interface.2.IPv4Address.1.IPAddress": "100.64.0.9",
    "Ethernet.VLANTermination.1.LowerLayers": "Device.Ethernet.Link.1.",
    "Ethernet.Link.1.LowerLayers": "Device.Ethernet.Interface.1.",
    "Ethernet.Link.2.LowerLayers": "Device.Bridging.Bridge.1.Port.1.",
    "Bridging.Bridge.1.Port.1.LowerLayers": "Device.Bridging.Bridge.1.Port.2.,Device.Bridging.Bridge.1.Port.3.",
    "Bridging.Bridge.1.Port.2.LowerLayers": "Device.Ethernet.Interface.2.",
    "Bridging.Bridge.1.Port.3.LowerLayers": "Device.WiFi.SSID.1.",
    "Ethernet.Interface.1.Upstream": "1",
    "Ethernet.Interface.2.Upstream": "0",
    "Routing.Router.1.IPv4Forwarding.1.DestIPAddress": "",
    "Routing.Router.1.IPv4Forwarding.1.DestSubnetMask": "",
    "Routing.Router.1.IPv4Forwarding.1.Interface": "Device.IP.Interface.2.",
    "DHCPv4.Server.Pool.1.Interface": "Device.IP.Interface.1.",
    "WiFi.SSIDNumberOfEntries": "2",
    "WiFi.SSID.1.LowerLayers": "Device.WiFi.Radio.1.",
    "WiFi.SSID.2.LowerLayers": "Device.WiFi.Radio.2.",
    "WiFi.AccessPoint.1.SSIDReference": "Device.WiFi.SSID.1.",
    "WiFi.AccessPoint.2.SSIDReference": "Device.WiFi.SSID.2.",
    "DSL.Line.1.Upstream": "1",
    "DSL.Channel.1.LowerLayers": "Device.DSL.Line.1.",
    "Optical.Interface.1.Upstream": "1",
    "Services.VoiceService.1.VoiceProfile.1.Line.1.Enable": "Enabled",
}
_TR181_PPP = {
    "IP.Interface.2.LowerLayers": "Device.PPP.Interface.1.",
    "PPP.Interface.1.LowerLayers": "Device.Ethernet.VLANTermination.1.",
}
_CONNECTION = "WANDevice.1.WANConnectionDevice.2."
_TR098 = {
    "LANDeviceNumberOfEntries": "1",
    "LANDevice.1.LANHostConfigManagement.DHCPServerEnable": "1",
    "LANDevice.1.LANHostConfigManagement.IPInterface.1.IPInterfaceIPAddress": "192.168.1.1",
    "LANDevice.1.LANWLANConfigurationNumberOfEntries": "2",
    "LANDevice.1.WLANConfiguration.1.SSID": "home",
    "LANDevice.1.WLANConfiguration.2.SSID": "home-5G",
    "WANDevice.1.WANDSLInterfaceConfig.Status": "Up",
    "Services.VoiceService.1.VoiceProfile.1.Line.1.Enable": "Enabled",
}


def read(texts: Mapping[str, str], root: str = "", at_s: int = 1) -> dict[str, CachedParameter]:
    """Return texts as they were read. `root`: what stands before each name."""
    return {root + path: CachedParameter(text, "string", at_s) for path, text in texts.items()}


def whole(root: str, *, ppp: bool) -> dict[str, CachedParameter]:
    """Return what was read of a CPE with one of everything, as its data model's standard has it."""
    if root == "Device.":
        return read(_TR181 | (_TR181_PPP if ppp else {}), root)
    kind = "WANPPPConnection" if ppp else "WANIPConnection"
    wan = {f"{_CONNECTION}{kind}.1.Enable": "1", f"{_CONNECTION}{kind}.1.ConnectionType": "IP_Routed"}
    return read(_TR098 | wan, root)


def of_csv(path: Path) -> dict[str, CachedParameter]:
    """Return what a model of genieacs-sim says of itself."""
    with path.open(encoding="utf-8", newline="") as file:
        rows = [row for row in csv.DictReader(file) if row["Object"] == "false" and not row["Parameter"].endswith(".")]
    kinds = {row["Parameter"]: (row["Value type"] or "xsd:string").removeprefix("xsd:") for row in rows}
    return {row["Parameter"]: CachedParameter(row["Value"] or "", kinds[row["Parameter"]], 1) for row in rows}
