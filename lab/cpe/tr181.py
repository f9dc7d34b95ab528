"""TR-181, Device:2.12: a PPPoE gateway on fibre with two radios, four hosts and one port mapping."""

from __future__ import annotations

from functools import cache
from typing import Final

from lab.cpe.model import Model, read_model
from lab.cpe.shared import DEVICE_INFO, MANAGEMENT_SERVER

_STATUS: Final = "|Up|Down|Unknown|Dormant|NotPresent|LowerLayerDown|Error"
_DOWN: Final = "|Down|Up|Unknown|Dormant|NotPresent|LowerLayerDown|Error"
_PING: Final = (
    "|None|Requested|Canceled|Complete|Error|Error_CannotResolveHostName|Error_NoRouteToHost|Error_Internal|Error_Other"
)
_TRACE: Final = (
    "|None|Requested|Canceled|Complete|Error|Error_CannotResolveHostName|Error_NoRouteToHost|Error_MaxHopCountExceeded"
)
_LOAD: Final = "|None|Requested|Completed|Error_CannotResolveHostName|Error_InitConnectionFailed|Error_NoResponse"
_TEXT: Final = (
    """
Device.
  RootDataModelVersion string =2.12 informed
"""
    + DEVICE_INFO.replace("ROOT.", "Device.").replace("ModelName string[0:64]", "ModelName string[0:64] volatile")
    + MANAGEMENT_SERVER.replace("ROOT.", "Device.")
    + f"""
Device.Time.
  Enable *boolean =1
  Status string =Synchronized
  NTPServer1 *string[0:64] =pool.ntp.org
  NTPServer2 *string[0:64]
  CurrentLocalTime dateTime now volatile
  LocalTimeZone *string[0:256] =UTC0
Device.Optical.
  InterfaceNumberOfEntries unsignedInt count:Interface
Device.Optical.Interface.{{i}}.
  Enable *boolean =1
  Status string {_STATUS}
  Name string =gpon0
  Upstream boolean =1
  OpticalSignalLevel int[-65536:65534] =-19250
  LowerOpticalThreshold int[-65536:65534] =-28000
  UpperOpticalThreshold int[-65536:65534] =-8000
  TransmitOpticalLevel int[-65536:65534] =2100
Device.PPP.
  InterfaceNumberOfEntries unsignedInt count:Interface
Device.PPP.Interface.{{i}}. +
  Enable *boolean
  Status string {_DOWN}
  Name string
  LowerLayers *string[0:1024]
  Reset *boolean
  ConnectionStatus string |Unconfigured|Connecting|Authenticating|Connected|Disconnecting|Disconnected
  LastConnectionError string =ERROR_NONE
  Username *string[0:64]
  Password *string[0:64] secret
  AuthenticationProtocol string |CHAP|PAP|MS-CHAP
  MaxMRUSize *unsignedInt[64:65535] =1492
  ConnectionTrigger *string |AlwaysOn|OnDemand|Manual
Device.PPP.Interface.{{i}}.PPPoE.
  SessionID unsignedInt[1:]
  ACName *string[0:256]
  ServiceName *string[0:256]
Device.PPP.Interface.{{i}}.IPCP.
  LocalIPAddress IPAddress
  RemoteIPAddress IPAddress
  DNSServers string
Device.IP.
  InterfaceNumberOfEntries unsignedInt count:Interface
Device.IP.Interface.{{i}}. +
  Enable *boolean
  IPv4Enable *boolean
  Status string {_DOWN}
  Name string
  LowerLayers *string[0:1024]
  Type string =Normal
  MaxMTUSize *unsignedInt[64:65535] =1492
  IPv4AddressNumberOfEntries unsignedInt count:IPv4Address
Device.IP.Interface.{{i}}.IPv4Address.{{i}}. +
  Enable *boolean
  Status string |Disabled|Enabled|Error_Misconfigured|Error
  IPAddress *IPAddress
  SubnetMask *IPAddress
  AddressingType string |Static|DHCP|IPCP|AutoIP
Device.IP.Diagnostics.
  IPv4PingSupported boolean =1
  IPv4TraceRouteSupported boolean =1
  IPv4DownloadDiagnosticsSupported boolean =1
  IPv4UploadDiagnosticsSupported boolean =1
Device.IP.Diagnostics.IPPing.
  DiagnosticsState *string {_PING}
  Interface *string[0:256]
  ProtocolVersion *string |Any|IPv4|IPv6
  Host *string[0:256]
  NumberOfRepetitions *unsignedInt[1:] =3
  Timeout *unsignedInt[1:] =1000
  DataBlockSize *unsignedInt[1:65535] =64
  DSCP *unsignedInt[0:63]
  IPAddressUsed string
  SuccessCount unsignedInt volatile
  FailureCount unsignedInt volatile
  AverageResponseTime unsignedInt volatile
  MinimumResponseTime unsignedInt volatile
  MaximumResponseTime unsignedInt volatile
Device.IP.Diagnostics.TraceRoute.
  DiagnosticsState *string {_TRACE}
  Interface *string[0:256]
  Host *string[0:256]
  NumberOfTries *unsignedInt[1:3] =3
  Timeout *unsignedInt[1:] =5000
  DataBlockSize *unsignedInt[1:65535] =38
  DSCP *unsignedInt[0:63]
  MaxHopCount *unsignedInt[1:64] =30
  ResponseTime unsignedInt volatile
  RouteHopsNumberOfEntries unsignedInt count:RouteHops volatile
Device.IP.Diagnostics.TraceRoute.RouteHops.{{i}}.
  Host string volatile
  HostAddress string volatile
  ErrorCode unsignedInt volatile
  RTTimes string
Device.IP.Diagnostics.DownloadDiagnostics.
  DiagnosticsState *string {_LOAD}
  Interface *string[0:256]
  DownloadURL *URL[0:256]
  DownloadTransports string =HTTP
  DSCP *unsignedInt[0:63]
  EthernetPriority *unsignedInt[0:7]
  ROMTime dateTime volatile
  BOMTime dateTime volatile
  EOMTime dateTime volatile
  TestBytesReceived unsignedInt
  TotalBytesReceived unsignedInt
Device.IP.Diagnostics.UploadDiagnostics.
  DiagnosticsState *string {_LOAD}
  Interface *string[0:256]
  UploadURL *URL[0:256]
  UploadTransports string =HTTP
  DSCP *unsignedInt[0:63]
  EthernetPriority *unsignedInt[0:7]
  TestFileLength *unsignedInt
  ROMTime dateTime volatile
  BOMTime dateTime volatile
  EOMTime dateTime volatile
  TestBytesSent unsignedInt
  TotalBytesSent unsignedInt
Device.WiFi.
  RadioNumberOfEntries unsignedInt count:Radio
  SSIDNumberOfEntries unsignedInt count:SSID
  AccessPointNumberOfEntries unsignedInt count:AccessPoint
Device.WiFi.Radio.{{i}}.
  Enable *boolean =1
  Status string {_STATUS}
  Name string
  MaxBitRate unsignedInt =300
  SupportedFrequencyBands string =2.4GHz
  OperatingFrequencyBand *string |2.4GHz|5GHz
  OperatingStandards *string =b,g,n
  PossibleChannels string =1-13
  Channel *unsignedInt[1:255] =6
  AutoChannelSupported boolean =1
  AutoChannelEnable *boolean =1
  OperatingChannelBandwidth *string |20MHz|40MHz|80MHz|160MHz|Auto
  TransmitPower *int[-1:100] =100
  RegulatoryDomain *string[3:3] =GBI
Device.WiFi.SSID.{{i}}. +
  Enable *boolean
  Status string {_DOWN}
  Name string
  LowerLayers *string[0:1024]
  BSSID MACAddress
  SSID *string[0:32]
Device.WiFi.AccessPoint.{{i}}. +
  Enable *boolean
  Status string |Disabled|Enabled|Error_Misconfigured|Error
  SSIDReference *string
  SSIDAdvertisementEnabled *boolean
  AssociatedDeviceNumberOfEntries unsignedInt count:AssociatedDevice
  IsolationEnable *boolean
Device.WiFi.AccessPoint.{{i}}.Security.
  ModesSupported string =None,WPA2-Personal,WPA-WPA2-Personal
  ModeEnabled *string |None|WPA2-Personal|WPA-WPA2-Personal
  PreSharedKey *hexBinary[0:64] secret
  KeyPassphrase *string[8:63] secret
  RekeyingInterval *unsignedInt =3600
Device.WiFi.AccessPoint.{{i}}.AssociatedDevice.{{i}}.
  MACAddress MACAddress volatile
  AuthenticationState boolean =1 volatile
  LastDataDownlinkRate unsignedInt[1000:600000] =144000 volatile
  LastDataUplinkRate unsignedInt[1000:600000] =72000 volatile
  SignalStrength int[-200:0] =-58
  Active boolean =1
Device.WiFi.NeighboringWiFiDiagnostic.
  DiagnosticsState *string |None|Requested|Canceled|Complete|Error|Completed
  ResultNumberOfEntries unsignedInt count:Result
Device.WiFi.NeighboringWiFiDiagnostic.Result.{{i}}.
  Radio string
  SSID string
  BSSID MACAddress
  Mode string |Infrastructure|AdHoc
  Channel unsignedInt[1:255]
  SignalStrength int[-200:0] =-70
  SecurityModeEnabled string |WPA2|None|WEP|WPA|WPA-WPA2
  OperatingFrequencyBand string |2.4GHz|5GHz
Device.Hosts.
  HostNumberOfEntries unsignedInt count:Host
Device.Hosts.Host.{{i}}.
  PhysAddress string
  IPAddress IPAddress
  AddressSource string |DHCP|Static|AutoIP|None
  LeaseTimeRemaining int =86400
  AssociatedDevice string
  Layer1Interface string
  HostName string
  Active boolean =1
Device.NAT.
  InterfaceSettingNumberOfEntries unsignedInt count:InterfaceSetting
  PortMappingNumberOfEntries unsignedInt count:PortMapping
Device.NAT.PortMapping.{{i}}. +
  Enable *boolean
  Status string |Disabled|Enabled|Error_Misconfigured|Error
  Interface *string[0:256]
  AllInterfaces *boolean
  LeaseDuration *unsignedInt volatile
  RemoteHost *string
  ExternalPort *unsignedInt[0:65535]
  ExternalPortEndRange *unsignedInt[0:65535]
  InternalPort *unsignedInt[0:65535]
  Protocol *string |TCP|UDP
  InternalClient *string[0:256]
  Description *string[0:256]
"""
)
_INSTANCES: Final = {
    "Device.Optical.Interface.": (1,),
    "Device.PPP.Interface.": (1,),
    "Device.IP.Interface.": (1,),
    "Device.IP.Interface.1.IPv4Address.": (1,),
    "Device.WiFi.Radio.": (1, 2),
    "Device.WiFi.SSID.": (1, 2),
    "Device.WiFi.AccessPoint.": (1, 2),
    "Device.WiFi.AccessPoint.1.AssociatedDevice.": (1, 2),
    "Device.Hosts.Host.": (1, 2, 3, 4),
    "Device.NAT.PortMapping.": (1,),
}
_VALUES: Final = {
    "Device.PPP.Interface.1.Enable": "1",
    "Device.PPP.Interface.1.Status": "Up",
    "Device.PPP.Interface.1.Name": "ppp0",
    "Device.PPP.Interface.1.ConnectionStatus": "Connected",
    "Device.PPP.Interface.1.PPPoE.SessionID": "4711",
    "Device.PPP.Interface.1.IPCP.LocalIPAddress": "100.64.0.2",
    "Device.PPP.Interface.1.IPCP.RemoteIPAddress": "100.64.0.1",
    "Device.PPP.Interface.1.IPCP.DNSServers": "192.0.2.53,192.0.2.54",
    "Device.IP.Interface.1.Enable": "1",
    "Device.IP.Interface.1.IPv4Enable": "1",
    "Device.IP.Interface.1.Status": "Up",
    "Device.IP.Interface.1.Name": "ip0",
    "Device.IP.Interface.1.LowerLayers": "Device.PPP.Interface.1.",
    "Device.IP.Interface.1.IPv4Address.1.Enable": "1",
    "Device.IP.Interface.1.IPv4Address.1.Status": "Enabled",
    "Device.IP.Interface.1.IPv4Address.1.IPAddress": "100.64.0.2",
    "Device.IP.Interface.1.IPv4Address.1.SubnetMask": "255.255.255.255",
    "Device.IP.Interface.1.IPv4Address.1.AddressingType": "IPCP",
    "Device.WiFi.Radio.1.Name": "wl0",
    "Device.WiFi.Radio.2.Name": "wl1",
    "Device.WiFi.Radio.2.MaxBitRate": "867",
    "Device.WiFi.Radio.2.SupportedFrequencyBands": "5GHz",
    "Device.WiFi.Radio.2.OperatingFrequencyBand": "5GHz",
    "Device.WiFi.Radio.2.OperatingStandards": "a,n,ac",
    "Device.WiFi.Radio.2.PossibleChannels": "36,40,44,48",
    "Device.WiFi.Radio.2.Channel": "36",
    "Device.WiFi.Radio.2.OperatingChannelBandwidth": "80MHz",
    **{f"Device.WiFi.SSID.{n}.Enable": "1" for n in (1, 2)},
    **{f"Device.WiFi.SSID.{n}.Status": "Up" for n in (1, 2)},
    **{f"Device.WiFi.SSID.{n}.Name": f"wl{n - 1}.0" for n in (1, 2)},
    **{f"Device.WiFi.SSID.{n}.LowerLayers": f"Device.WiFi.Radio.{n}." for n in (1, 2)},
    **{f"Device.WiFi.SSID.{n}.BSSID": f"02:AC:5F:00:00:0{n}" for n in (1, 2)},
    "Device.WiFi.SSID.1.SSID": "home",
    "Device.WiFi.SSID.2.SSID": "home-5G",
    **{f"Device.WiFi.AccessPoint.{n}.Enable": "1" for n in (1, 2)},
    **{f"Device.WiFi.AccessPoint.{n}.Status": "Enabled" for n in (1, 2)},
    **{f"Device.WiFi.AccessPoint.{n}.SSIDReference": f"Device.WiFi.SSID.{n}." for n in (1, 2)},
    **{f"Device.WiFi.AccessPoint.{n}.SSIDAdvertisementEnabled": "1" for n in (1, 2)},
    **{f"Device.WiFi.AccessPoint.{n}.Security.ModeEnabled": "WPA2-Personal" for n in (1, 2)},
    **{f"Device.WiFi.AccessPoint.{n}.Security.KeyPassphrase": "factory-passphrase" for n in (1, 2)},
    **{f"Device.WiFi.AccessPoint.1.AssociatedDevice.{n}.MACAddress": f"02:42:C0:A8:01:{32 + n:02X}" for n in (1, 2)},
    **{f"Device.Hosts.Host.{n}.PhysAddress": f"02:42:C0:A8:01:{32 + n:02X}" for n in range(1, 5)},
    **{f"Device.Hosts.Host.{n}.IPAddress": f"192.168.1.{32 + n}" for n in range(1, 5)},
    **{f"Device.Hosts.Host.{n}.HostName": name for n, name in enumerate(("tv", "phone", "laptop", "printer"), 1)},
    **{f"Device.Hosts.Host.{n}.AssociatedDevice": f"Device.WiFi.AccessPoint.1.AssociatedDevice.{n}." for n in (1, 2)},
    "Device.Hosts.Host.4.Active": "0",
    "Device.NAT.PortMapping.1.Enable": "1",
    "Device.NAT.PortMapping.1.Status": "Enabled",
    "Device.NAT.PortMapping.1.AllInterfaces": "1",
    "Device.NAT.PortMapping.1.ExternalPort": "8080",
    "Device.NAT.PortMapping.1.InternalPort": "80",
    "Device.NAT.PortMapping.1.InternalClient": "192.168.1.36",
    "Device.NAT.PortMapping.1.Description": "camera",
}


@cache
def tr181() -> Model:
    """The model; one for all CPE that have it."""
    return read_model(_TEXT, _INSTANCES, _VALUES)
