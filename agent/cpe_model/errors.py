"""The errors of the CPE data models.

* CpeModelError
  x UnknownNameError: a name that a profile does not have (`vocabulary`)
  x ProfileError: a profile that contradicts itself or its format (`profile_files`)
  x BadAddressError: an address that names nothing of a CPE, or a row that no address can hold (`addresses`)
  x BadCredentialsError: a user or password that no HTTP header can carry (`known`)
"""

from __future__ import annotations


class CpeModelError(Exception):
    """Any error of the CPE data models."""


class BadAddressError(CpeModelError):
    """An address that names nothing of a CPE, or a row that no address can hold."""


class BadCredentialsError(CpeModelError):
    """A user or password that no HTTP header can carry."""
