"""The errors of the CPE data models.

* CpeModelError
  x UnknownNameError: a name that a profile does not have (`vocabulary`)
  x ProfileError: a profile that contradicts itself or its format (`profile_files`)
  x BadCredentialsError: a user or password that no HTTP header can carry (`known`)
"""

from __future__ import annotations


class CpeModelError(Exception):
    """Any error of the CPE data models."""


class BadCredentialsError(CpeModelError):
    """A user or password that no HTTP header can carry."""
