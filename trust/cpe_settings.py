"""Settings asked of CPE, in the words of an intent.

name or path -> text                                a parameter
+TABLE.[field=text,...] -> field=text,...           a row that is to be there
-TABLE.[field=text,...] -> ""                       a row that is to go
@rotate, @baseline -> any text                      new credentials, or the declared baseline
@rings -> 1,10,50                                   how many percent of the CPE go first, and then
@image/MODEL[/HARDWARE] -> FILE:VERSION             the firmware image for CPE of a model
service -> a service, a login or a MAC address      to which an accepted CPE belongs
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import Final

from trust.errors import MalformedError

ROTATE: Final = "@rotate"
"""The setting that asks for new credentials, both ways."""
BASELINE: Final = "@baseline"
"""The setting that asks for the baseline that the agent's configuration declares for such CPE."""


FOR_SERVICE: Final = "service"
"""The setting of an acceptance that names the service; without it each CPE is accepted for the one that it serves."""


RINGS: Final = "@rings"
"""The setting that says how many percent of the CPE have had their turn after each ring; the last one is all."""
RINGS_MAX: Final = 10
"""Rings of one campaign. Chosen arbitrarily."""


IMAGE: Final = "@image/"
"""Begins the settings that name a firmware image for CPE of one model."""


def read_images(texts: Sequence[str]) -> dict[str, str]:
    """Return settings from `MODEL[/HARDWARE]=FILE:VERSION`, as people type them.

    Raises:
        MalformedError: a text of another form, or a model twice.
    """
    settings: dict[str, str] = {}
    for text in texts:
        model, sign, image = text.partition("=")
        read_image_untrusted(image if sign and model.strip() else "", text)
        if (name := f"{IMAGE}{model.strip()}") in settings:
            raise MalformedError(f"--for: expected {model.strip()} once, got it twice")
        settings[name] = image
    return settings


def read_image_untrusted(image: str, text: str = "") -> tuple[str, str]:
    """Return file and version of `FILE:VERSION`. `text`: for the error, where the image is a part of it.

    Raises:
        MalformedError: a text of another form.
    """
    file, _, version = (part.strip() for part in image.partition(":"))
    if not file or not version:
        raise MalformedError(f"expected MODEL[/HARDWARE]=FILE:VERSION, got {(text or image)[:80]!r}")
    return file, version


def read_rings_untrusted(text: str) -> tuple[int, ...]:
    """Return the percents of rings, rising, without the last one of 100.

    Raises:
        MalformedError: no whole numbers from 1 to 100, not rising, or too many.
    """
    parts = [part.strip() for part in text.split(",")]
    if len(parts) > RINGS_MAX or not all(part.isascii() and part.isdigit() and len(part) <= 3 for part in parts):
        raise MalformedError(f"rings: expected at most {RINGS_MAX} percents such as 1,10,50, got {text[:40]!r}")
    percents = [int(part) for part in parts]
    if not all(1 <= p <= 100 for p in percents) or any(a >= b for a, b in pairwise(percents)):
        raise MalformedError(f"rings: expected percents from 1 to 100 that rise, got {text[:40]!r}")
    return tuple(p for p in percents if p < 100)


def read_settings(values: Sequence[str], rows: Sequence[str], deleted: Sequence[str]) -> dict[str, str]:
    """Return settings from the texts that people type.

    Args:
        values: `NAME=VALUE`, each name once.
        rows: `TABLE.[FIELD=VALUE]:FIELD=VALUE,...`.
        deleted: `TABLE.[FIELD=VALUE]`.

    Raises:
        MalformedError: a text of another form, or a name twice.
    """
    settings: dict[str, str] = {}
    for text in values:
        name, sign, value = text.partition("=")
        if not sign or not name:
            raise MalformedError(f"--value: expected NAME=VALUE, got {text!r}")
        if name in settings:
            raise MalformedError(f"--value: expected {name} once, got it twice")
        settings[name] = value
    for text in rows:
        where, sign, fields = text.partition("]:")
        if not sign:
            raise MalformedError(f"--row: expected TABLE.[FIELD=VALUE]:FIELD=VALUE,…, got {text!r}")
        settings[f"+{where}]"] = fields
    return settings | {f"-{text}": "" for text in deleted}
