"""TR-098, InternetGatewayDevice:1.14: a PPPoE gateway on fibre with two radios, four hosts and one port mapping.

The optical power is a vendor's parameter: TR-098 has none, and real ones name theirs like this.
"""

from __future__ import annotations

from functools import cache
from typing import Final

from lab.cpe.model import Model, read_model
from lab.cpe.shared import DEVICE_INFO, MANAGEMENT_SERVER

_LOAD: Final = "|None|Requested|Completed|Error_InitConnectionFailed|Error_NoResponse"
_TEXT: Final = (
    """
InternetGatewayDevice.
  DeviceSummary string informed
  LANDeviceNumberOfEntries unsignedInt count:LANDevice
  WANDeviceNumberOfEntries unsignedInt count:WANDevice
"""
    + DEVICE_INFO.replace("ROOT.", "InternetGatewayDevice.")
    + """
  SpecVersion string =1.0 informed
"""
    + MANAGEMENT_SERVER.replace("ROOT.", "InternetGatewayDevice.")
    + """
InternetGatewayDevice.Time.
  Enable *boolean =1
  NTPServer1 *string[0:64] =pool.ntp.org
  NTPServer2 *string[0:64]
  CurrentLocalTime dateTime now volatile
  LocalTimeZone *string[0:256] =+00:00
  Status string =Synchronized
InternetGatewayDevice.IPPingDiagnostics.
  DiagnosticsState *string |None|Requested|Complete|Error_CannotResolveHostName|Error_Internal|Error_Other volatile
  Interface *string[0:256]
  Host *string[0:256]
  NumberOfRepetitions *unsignedInt[1:] =3
  Timeout *unsignedInt[1:] =1000
  DataBlockSize *unsignedInt[1:65535] =64
  DSCP *unsignedInt[0:63]
  SuccessCount unsignedInt volatile
  FailureCount unsignedInt volatile
  AverageResponseTime unsignedInt volatile
  MinimumResponseTime unsignedInt volatile
  MaximumResponseTime unsignedInt volatile
InternetGatewayDevice.TraceRouteDiagnostics.
  DiagnosticsState *string |None|Requested|Complete|Error_CannotResolveHostName|Error_MaxHopCountExceeded volatile
  Interface *string[0:256]
  Host *string[0:256]
  NumberOfTries *unsignedInt[1:3] =3
  Timeout *unsignedInt[1:] =5000
  DataBlockSize *unsignedInt[1:65535] =38
  DSCP *unsignedInt[0:63]
  MaxHopCount *unsignedInt[1:64] =30
  ResponseTime unsignedInt volatile
  RouteHopsNumberOfEntries unsignedInt count:RouteHops volatile
InternetGatewayDevice.TraceRouteDiagnostics.RouteHops.{i}.
  HopHost string volatile
  HopHostAddress string volatile
  HopErrorCode unsignedInt volatile
  HopRTTimes string volatile
InternetGatewayDevice.DownloadDiagnostics.
  DiagnosticsState *string LOAD volatile
  Interface *string[0:256]
  DownloadURL *URL[0:256]
  DSCP *unsignedInt[0:63]
  EthernetPriority *unsignedInt[0:7]
  ROMTime dateTime volatile
  BOMTime dateTime volatile
  EOMTime dateTime volatile
  TestBytesReceived unsignedInt volatile
  TotalBytesReceived unsignedInt volatile
InternetGatewayDevice.UploadDiagnostics.
  DiagnosticsState *string LOAD volatile
  Interface *string[0:256]
  UploadURL *URL[0:256]
  DSCP *unsignedInt[0:63]
  EthernetPriority *unsignedInt[0:7]
  TestFileLength *unsignedInt
  ROMTime dateTime volatile
  BOMTime dateTime volatile
  EOMTime dateTime volatile
  TotalBytesSent unsignedInt volatile
InternetGatewayDevice.LANDevice.{i}.
  LANWLANConfigurationNumberOfEntries unsignedInt count:WLANConfiguration
InternetGatewayDevice.LANDevice.{i}.LANHostConfigManagement.
  DHCPServerEnable *boolean =1
  MinAddress *IPAddress =192.168.1.33
  MaxAddress *IPAddress =192.168.1.254
  SubnetMask *IPAddress =255.255.255.0
  DNSServers *string[0:64] =192.168.1.1
  DomainName *string[0:64]
  IPRouters *string[0:64] =192.168.1.1
  DHCPLeaseTime *int[-1:] =86400
InternetGatewayDevice.LANDevice.{i}.Hosts.
  HostNumberOfEntries unsignedInt count:Host
InternetGatewayDevice.LANDevice.{i}.Hosts.Host.{i}.
  IPAddress IPAddress
  AddressSource string |DHCP|Static|AutoIP
  LeaseTimeRemaining int =86400 volatile
  MACAddress MACAddress
  HostName string
  InterfaceType string =802.11
  Active boolean =1
InternetGatewayDevice.LANDevice.{i}.WLANConfiguration.{i}.
  Enable *boolean =1
  Status string |Up|Error|Disabled
  BSSID string
  MaxBitRate *string =Auto
  Channel *unsignedInt[0:255] =6
  AutoChannelEnable *boolean =1
  SSID *string[0:32]
  BeaconType *string |WPAand11i|None|Basic|WPA|11i|BasicandWPA|Basicand11i|BasicandWPAand11i
  Standard string =n
  KeyPassphrase *string[8:63] secret
  WPAEncryptionModes *string =AESEncryption
  WPAAuthenticationMode *string |PSKAuthentication|EAPAuthentication
  IEEE11iEncryptionModes *string =AESEncryption
  IEEE11iAuthenticationMode *string |PSKAuthentication|EAPAuthentication|EAPandPSKAuthentication
  PossibleChannels string =1-13
  SSIDAdvertisementEnabled *boolean =1
  RadioEnabled *boolean =1
  TransmitPower *unsignedInt[0:100] =100
  RegulatoryDomain *string[3:3] =GBI
  TotalAssociations unsignedInt count:AssociatedDevice volatile
InternetGatewayDevice.LANDevice.{i}.WLANConfiguration.{i}.PreSharedKey.{i}.
  PreSharedKey *string[0:64] secret
  KeyPassphrase *string[8:63] secret
  AssociatedDeviceMACAddress *MACAddress
InternetGatewayDevice.LANDevice.{i}.WLANConfiguration.{i}.AssociatedDevice.{i}.
  AssociatedDeviceMACAddress MACAddress volatile
  AssociatedDeviceIPAddress string volatile
  AssociatedDeviceAuthenticationState boolean =1 volatile
  LastDataTransmitRate string =144 volatile
InternetGatewayDevice.WANDevice.{i}.
  WANConnectionNumberOfEntries unsignedInt count:WANConnectionDevice
InternetGatewayDevice.WANDevice.{i}.WANCommonInterfaceConfig.
  EnabledForInternet *boolean =1
  WANAccessType string =Ethernet
  Layer1UpstreamMaxBitRate unsignedInt =1244000000
  Layer1DownstreamMaxBitRate unsignedInt =2488000000
  PhysicalLinkStatus string |Up|Down|Initializing|Unavailable
  TotalBytesSent unsignedInt =123456789 volatile
  TotalBytesReceived unsignedInt =987654321 volatile
InternetGatewayDevice.WANDevice.{i}.X_02AC5F_GponInterfaceConfig.
  Status string |Up|NoSignal
  RXPower int =-19 volatile
  TXPower int =2 volatile
  TransceiverTemperature int =47 volatile
InternetGatewayDevice.WANDevice.{i}.WANConnectionDevice.{i}. +
  WANIPConnectionNumberOfEntries unsignedInt count:WANIPConnection
  WANPPPConnectionNumberOfEntries unsignedInt count:WANPPPConnection
InternetGatewayDevice.WANDevice.{i}.WANConnectionDevice.{i}.WANPPPConnection.{i}. +
  Enable *boolean
  Reset *boolean
  ConnectionStatus string |Unconfigured|Connecting|Authenticating|Connected|Disconnecting|Disconnected
  ConnectionType *string |Unconfigured|IP_Routed|PPPoE_Bridged|PPPoE_Relay
  Name *string[0:256]
  Uptime unsignedInt up-time volatile
  LastConnectionError string =ERROR_NONE
  NATEnabled *boolean
  Username *string[0:64]
  Password *string[0:64] secret
  PPPAuthenticationProtocol string |CHAP|PAP|MS-CHAP
  ExternalIPAddress *IPAddress told-first
  RemoteIPAddress IPAddress
  MaxMRUSize *unsignedInt[1:1540] =1492
  DNSEnabled *boolean =1
  DNSServers *string[0:64]
  MACAddress *MACAddress
  TransportType string =PPPoE
  ConnectionTrigger *string |OnDemand|AlwaysOn|Manual
  PPPLCPEcho unsignedInt =30
  PortMappingNumberOfEntries unsignedInt count:PortMapping
InternetGatewayDevice.WANDevice.{i}.WANConnectionDevice.{i}.WANPPPConnection.{i}.PortMapping.{i}. +
  PortMappingEnabled *boolean
  PortMappingLeaseDuration *unsignedInt volatile
  RemoteHost *string[0:256]
  ExternalPort *unsignedInt[0:65535]
  ExternalPortEndRange *unsignedInt[0:65535]
  InternalPort *unsignedInt[0:65535]
  PortMappingProtocol *string |TCP|UDP
  InternalClient *string[0:256]
  PortMappingDescription *string[0:256]
"""
)

_PPP: Final = "InternetGatewayDevice.WANDevice.1.WANConnectionDevice.1.WANPPPConnection."
_LAN: Final = "InternetGatewayDevice.LANDevice.1."
_INSTANCES: Final = {
    "InternetGatewayDevice.LANDevice.": (1,),
    f"{_LAN}WLANConfiguration.": (1, 2),
    f"{_LAN}WLANConfiguration.1.PreSharedKey.": (1,),
    f"{_LAN}WLANConfiguration.2.PreSharedKey.": (1,),
    f"{_LAN}WLANConfiguration.1.AssociatedDevice.": (1, 2),
    f"{_LAN}Hosts.Host.": (1, 2, 3, 4),
    "InternetGatewayDevice.WANDevice.": (1,),
    "InternetGatewayDevice.WANDevice.1.WANConnectionDevice.": (1,),
    _PPP: (1,),
    f"{_PPP}1.PortMapping.": (1,),
}
_SUMMARY: Final = "InternetGatewayDevice:1.4[](Baseline:1, EthernetLAN:1, WiFiLAN:1, PPPWAN:1, IPPing:1, Time:1)"
_VALUES: Final = {
    "InternetGatewayDevice.DeviceSummary": _SUMMARY,
    **{f"{_LAN}Hosts.Host.{n}.IPAddress": f"192.168.1.{32 + n}" for n in range(1, 5)},
    **{f"{_LAN}Hosts.Host.{n}.MACAddress": f"02:42:C0:A8:01:{32 + n:02X}" for n in range(1, 5)},
    **{f"{_LAN}Hosts.Host.{n}.HostName": name for n, name in enumerate(("tv", "phone", "laptop", "printer"), 1)},
    f"{_LAN}Hosts.Host.4.Active": "0",
    f"{_LAN}Hosts.Host.4.InterfaceType": "Ethernet",
    f"{_LAN}WLANConfiguration.1.SSID": "home",
    f"{_LAN}WLANConfiguration.1.BSSID": "02:AC:5F:00:00:01",
    f"{_LAN}WLANConfiguration.1.KeyPassphrase": "factory-passphrase",
    f"{_LAN}WLANConfiguration.2.SSID": "home-5G",
    f"{_LAN}WLANConfiguration.2.BSSID": "02:AC:5F:00:00:02",
    f"{_LAN}WLANConfiguration.2.KeyPassphrase": "factory-passphrase",
    f"{_LAN}WLANConfiguration.2.Channel": "36",
    f"{_LAN}WLANConfiguration.2.Standard": "a",
    f"{_LAN}WLANConfiguration.2.PossibleChannels": "36,40,44,48",
    **{
        f"{_LAN}WLANConfiguration.1.AssociatedDevice.{n}.AssociatedDevice{name}": value
        for n in (1, 2)
        for name, value in (("MACAddress", f"02:42:C0:A8:01:{32 + n:02X}"), ("IPAddress", f"192.168.1.{32 + n}"))
    },
    f"{_PPP}1.Enable": "1",
    f"{_PPP}1.ConnectionStatus": "Connected",
    f"{_PPP}1.ConnectionType": "IP_Routed",
    f"{_PPP}1.Name": "internet",
    f"{_PPP}1.NATEnabled": "1",
    f"{_PPP}1.ConnectionTrigger": "AlwaysOn",
    f"{_PPP}1.ExternalIPAddress": "100.64.0.2",
    f"{_PPP}1.RemoteIPAddress": "100.64.0.1",
    f"{_PPP}1.DNSServers": "192.0.2.53,192.0.2.54",
    f"{_PPP}1.PortMapping.1.PortMappingEnabled": "1",
    f"{_PPP}1.PortMapping.1.ExternalPort": "8080",
    f"{_PPP}1.PortMapping.1.InternalPort": "80",
    f"{_PPP}1.PortMapping.1.InternalClient": "192.168.1.36",
    f"{_PPP}1.PortMapping.1.PortMappingDescription": "camera",
}


@cache
def tr098() -> Model:
    """Return the TR-098 data model; all CPE that have it share the object."""
    return read_model(_TEXT.replace("LOAD", _LOAD), _INSTANCES, _VALUES, also_informed=(f"{_PPP}1.ExternalIPAddress",))
