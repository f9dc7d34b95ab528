"""The errors of answers of a LibreNMS.

* LibrenmsError
  x MalformedLibrenmsError: an answer lacks a field, or has it in another form than its documentation says
"""

from __future__ import annotations


class LibrenmsError(Exception):
    """Any error of an answer of a LibreNMS."""


class MalformedLibrenmsError(LibrenmsError):
    """An answer lacks a field, or has it in another form. The message names both, and holds nothing of the answer."""
