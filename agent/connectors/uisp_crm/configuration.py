"""`[uisp-crm.NAME]`: one UISP CRM. Pure."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final

from agent.billing_model.terms import SourceTerms, source_keys
from agent.config_reader import ConfigReader
from agent.config_schema import YES_NO, Key, Kind, text
from agent.connectors.web_source import WebSources, WebTerms, read_sources, web_keys

NAME: Final = "uisp-crm"
_SECTION: Final = f"{NAME}.NAME"
_FIELD: Final = Kind(
    "userIdent, id, or attribute:KEY with the key of a custom attribute of clients",
    text(re.compile(r"userIdent|id|attribute:[A-Za-z][A-Za-z0-9]{0,63}", re.ASCII)),
)
_HOOK: Final = (
    "UISP signs nothing: a call says which of its events to look up, and only what its API then tells counts."
)

KEYS: Final = (
    *web_keys(_SECTION, "https://uisp.example.net/crm/api/v1.0"),
    *source_keys(_SECTION, secret="app key", accounts=True, payments=True, hook=_HOOK),
    Key(_SECTION, "subscriber", _FIELD, "userIdent", "The field of a client that is the subscriber of the inventory."),
    Key(
        _SECTION,
        "follow_suspend_switch",
        YES_NO,
        True,
        "Whether nobody is suspended while suspension is switched off in UISP (`suspendEnabled`). Set it to false where"
        " UISP's own suspension is off because the agent does it.",
    ),
)


@dataclass(frozen=True, slots=True)
class CrmSource:
    """One UISP CRM. `subscriber`: `userIdent`, `id` or `attribute:KEY`."""

    terms: SourceTerms
    web: WebTerms
    subscriber: str
    follow_suspend_switch: bool


CrmConfig = WebSources[CrmSource]


def parse(reader: ConfigReader) -> CrmConfig:
    """Return the configured sources. A section with a problem is left out; the problem goes to `reader`."""
    return read_sources(reader, NAME, CrmSource)
