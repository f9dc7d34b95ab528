"""The common part of TR-098 and TR-181: DeviceInfo and ManagementServer, with `ROOT.` for the root."""

from __future__ import annotations

from typing import Final

DEVICE_INFO: Final = """
ROOT.DeviceInfo.MemoryStatus.
  Total unsignedInt =262144
  Free unsignedInt =131072 volatile
ROOT.DeviceInfo.
  Manufacturer string[0:64]
  ManufacturerOUI string[0:6]
  ModelName string[0:64]
  ProductClass string[0:64]
  SerialNumber string[0:64]
  HardwareVersion string[0:64] informed
  SoftwareVersion string[0:64] informed told
  ProvisioningCode *string[0:64] informed told
  UpTime unsignedInt up-time volatile
"""
MANAGEMENT_SERVER: Final = """
ROOT.ManagementServer.
  EnableCWMP *boolean =1
  URL *URL[0:256]
  Username *string[0:256]
  Password *string[0:256] secret
  PeriodicInformEnable *boolean =1
  PeriodicInformInterval *unsignedInt[1:] =300
  PeriodicInformTime *dateTime
  ParameterKey string[0:32] informed volatile
  ConnectionRequestURL URL[0:256] informed told-first
  ConnectionRequestUsername *string[0:256]
  ConnectionRequestPassword *string[0:256] secret
  UpgradesManaged *boolean
  DefaultActiveNotificationThrottle *unsignedInt
  CWMPRetryMinimumWaitInterval *unsignedInt[1:65535] =5
  CWMPRetryIntervalMultiplier *unsignedInt[1000:65535] =2000
  UDPConnectionRequestAddress string[0:256]
  STUNEnable *boolean
  STUNServerAddress *string[0:256]
  STUNServerPort *unsignedInt[0:65535] =3478
  STUNUsername *string[0:256]
  STUNPassword *string[0:256] secret
  STUNMaximumKeepAlivePeriod *int[-1:] =60
  STUNMinimumKeepAlivePeriod *unsignedInt =30
  NATDetected boolean
  AliasBasedAddressing boolean informed
"""
