"""The errors of an update.

* UpdateError
  x ChannelConfigError: update.toml is missing or wrong
  x ChannelAwayError: the repository cannot be read, or does not answer in time
  x ChannelRefusedError: the repository, or a package of it, cannot be trusted or is not for this machine
  x HostError: this machine cannot be updated: not installed from a package, a folder that cannot be written
"""

from __future__ import annotations


class UpdateError(Exception):
    """Anything that an update fails of."""


class ChannelConfigError(UpdateError):
    """The file that names the channel is missing or wrong."""


class ChannelAwayError(UpdateError):
    """The repository cannot be read, or does not answer in time. Nothing was changed."""


class ChannelRefusedError(UpdateError):
    """The repository, or a package of it, cannot be trusted or is not for this machine. Nothing was changed."""


class HostError(UpdateError):
    """This machine cannot be updated: it tells the reason and the advice."""
