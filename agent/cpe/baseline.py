"""The settings that a declared baseline wants of one CPE: its texts filled in, its secrets fetched from their store."""

from __future__ import annotations

import hashlib
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass

from agent.connectors.base import UnreadableError
from agent.cpe.reasons import CpeSkipReason
from agent.cpe_model.baseline import PASSWORD, Baseline, secret_named
from agent.cpe_model.known import Cpe
from agent.model import Service
from agent.services.verbs import Leave


@dataclass(frozen=True, slots=True)
class SecretSources:
    """Where the secrets of baselines are kept. Both raise UnreadableError."""

    password_of: Callable[[Service], Awaitable[str]]
    """The password of a service's login."""
    secret: Callable[[str], bytes]
    """A secret of the agent, by its name."""


@dataclass(frozen=True, slots=True)
class Declared:
    """The wanted settings of a CPE: name or path -> text. `secrets`: those of them that nobody may see."""

    settings: Mapping[str, str]
    secrets: Mapping[str, str]


async def declared(baseline: Baseline, cpe: Cpe, service: Service | None, sources: SecretSources) -> Declared | Leave:
    """Return the settings that a baseline wants of a CPE, or why they are not known. `service`: that it serves."""
    settings: dict[str, str] = {}
    secrets: dict[str, str] = {}
    for name, text in baseline.values.items():
        if service is None and ("{login}" in text or text == PASSWORD):
            return Leave(
                CpeSkipReason.NO_SERVICE,
                f"{name}: whose login? ispagent cpe accept {cpe.name} --service SERVICE",
                blocked=True,
            )
        named = secret_named(text)
        try:
            if text == PASSWORD and service is not None:
                secrets[name] = await sources.password_of(service)
            elif named is not None:
                secrets[name] = sources.secret(named).decode()
            else:
                settings[name] = _filled(text, cpe, service)
        except UnreadableError as err:
            return Leave(CpeSkipReason.SECRET_UNREADABLE, f"{name}: {err}", blocked=True)
        except UnicodeDecodeError:
            return Leave(
                CpeSkipReason.SECRET_UNREADABLE, f"{name}: the secret {named} is no text in UTF-8", blocked=True
            )
    return Declared(settings, secrets)


def plain_settings(baseline: Baseline, cpe: Cpe, service: Service | None) -> Mapping[str, str]:
    """Return the settings of a baseline that are no secrets, filled in; without those that need an unknown login."""
    return {
        name: _filled(text, cpe, service)
        for name, text in baseline.values.items()
        if text != PASSWORD and secret_named(text) is None and (service is not None or "{login}" not in text)
    }


def _filled(text: str, cpe: Cpe, service: Service | None) -> str:
    login = service.login if service is not None else ""
    return text.replace("{login}", login).replace("{spread}", spread(cpe.name))


def spread(name: str) -> str:
    """Return a moment that is a CPE's own, so that periodic informs of a fleet do not come at once (TR-069 3.7.1.5)."""
    second = int.from_bytes(hashlib.sha256(name.encode()).digest()[:4], "big") % 86_400
    return f"2026-01-01T{second // 3600:02}:{second // 60 % 60:02}:{second % 60:02}Z"
