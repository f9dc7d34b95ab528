"""What a baseline wants of one CPE: texts filled in, and secrets from where they are kept."""

from __future__ import annotations

import pytest

from agent.connectors.base import UnreadableError
from agent.cpe.baseline import Declared, SecretSources, declared, spread
from agent.cpe_model.baseline import Baseline, is_misplaced, secret_named
from agent.cpe_model.known import Cpe
from agent.model import Service
from agent.services.verbs import Leave
from tests.builders.expect import expect

CPE = Cpe("02AC5F-LabGate-LAB0001", "02AC5F", "LabGate", "LAB0001", service="C-1/home")
SERVICE = Service("C-1/home", "C-1", "Amina", "home", "amina@ppp", "pppoe", "20M")


def baseline(**values: str) -> Baseline:
    return Baseline("gate", (), "", rotate=True, values=values)


async def no_password(_service: Service) -> str:
    raise UnreadableError("radius/main: expected one Cleartext-Password of amina@ppp, got 0", reason="no-password")


async def password(service: Service) -> str:
    return f"secret of {service.login}"


def secret(name: str) -> bytes:
    if name == "cpe/binary":
        return b"ab\xff"
    if name != "cpe/admin":
        raise UnreadableError(f"there is no secret {name}", reason="missing-secret")
    return b"correct horse"


SOURCES = SecretSources(password, secret)


async def test_texts_are_filled_in_and_secrets_stand_apart() -> None:
    wanted = baseline(user="{login}", key="{password}", admin="{secret:cpe/admin}", at="{spread}", fixed="900")
    assert await declared(wanted, CPE, SERVICE, SOURCES) == Declared(
        {"user": "amina@ppp", "at": spread(CPE.name), "fixed": "900"},
        {"key": "secret of amina@ppp", "admin": "correct horse"},
    )
    assert wanted.secrets == {"cpe/admin"}


@pytest.mark.parametrize("text", ["{login}", "ppp/{login}", "{password}"])
async def test_of_a_cpe_that_serves_nobody_it_is_said(text: str) -> None:
    left = expect(Leave, await declared(baseline(key=text), CPE, None, SOURCES))
    assert (left.code, left.blocked) == ("no-service", True)


@pytest.mark.parametrize("text", ["{password}", "{secret:cpe/other}", "{secret:cpe/binary}"])
async def test_a_secret_that_cannot_be_read_leaves_the_cpe_alone(text: str) -> None:
    left = expect(Leave, await declared(baseline(key=text), CPE, SERVICE, SecretSources(no_password, secret)))
    assert (left.code, left.blocked) == ("secret-unreadable", True)
    assert left.why.startswith("key: ")


@pytest.mark.parametrize(
    ("text", "misplaced"),
    [
        ("{password}", False),
        ("{secret:cpe/admin}", False),
        ("{login}", False),
        ("x{password}", True),
        ("{password}{login}", True),
        ("x {secret:cpe/admin}", True),
        ("{secret:CPE}", True),
        ("{secret:}", True),
        ("{secret}", True),
    ],
)
def test_a_secret_stands_alone(text: str, misplaced: bool) -> None:
    assert is_misplaced("wan.ppp.password", text) is misplaced
    assert is_misplaced("+Device.T.[A=1]", text) is ("{login}" not in text or misplaced)
    assert secret_named("{secret:cpe/admin}") == "cpe/admin"
