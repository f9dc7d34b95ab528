"""A secret inside an intent, sealed to the agent by itself: the intent can be kept and shown without it.

    sealed secret = base64(sealed({"intent":ID,"name":NAME,"secret":TEXT}))

It names the intent and the parameter that it is for: copied into another intent, or beside another name, it is refused.
"""

from __future__ import annotations

import base64
import binascii
import json
from collections.abc import Callable
from typing import Final

from trust import limits, seal
from trust.errors import MalformedSealError
from trust.strict_json import read_object_untrusted

_SMALLEST: Final = 512
"""The least padded length, bytes: it tells no password's length."""


def seal_secret(intent_id: str, name: str, text: str, public: bytes) -> str:
    """Return a secret for one parameter of one intent, sealed to an agent's sealing key.

    Raises:
        MalformedKeyError: a bad public key.
        MalformedSealError: the secret is too long.
    """
    body = json.dumps({"intent": intent_id, "name": name, "secret": text}, ensure_ascii=False).encode()
    return base64.b64encode(seal.seal(body, public, _SMALLEST)).decode()


def open_secret_untrusted(sealed: str, intent_id: str, name: str, opener: Callable[[bytes], bytes]) -> str:
    """Return the secret that was sealed for a parameter of an intent.

    Args:
        sealed: from the intent.
        intent_id: of the intent that holds it.
        name: the parameter's, as the intent has it.
        opener: opens a body that was sealed to one of the agent's keys, or raises MalformedSealError.

    Raises:
        MalformedError: not sealed to a key that still lives, or sealed for another intent or parameter.
    """
    try:
        body = opener(base64.b64decode(sealed, validate=True))
    except (binascii.Error, ValueError) as err:
        raise MalformedSealError("sealed secret: expected base64") from err
    fields = read_object_untrusted(body, limits.TEXT_BYTES, "sealed secret")
    found = fields.text("intent"), fields.text("name")
    secret = fields.text("secret")
    fields.done()
    if found != (intent_id, name):
        raise MalformedSealError(f"sealed secret: expected one for {name} of this intent, got one for another")
    return secret
