"""Secrets of devices and databases at rest."""

from __future__ import annotations

from pathlib import Path

import pytest

from agent.store.errors import MissingKeyError, RefusedCommandError, StoreFailedError
from agent.store.secrets import SECRET_MAX, SecretStore
from tests.builders.store import Agent

SECRET = b"s3cret-of-the-nas"


def secrets_of(agent: Agent, learned: list[bytes]) -> SecretStore:
    return SecretStore(
        agent.store,
        agent.vault,
        lambda name, who: agent.recorder.record(None, {"what": "secret", "name": name, "who": who}),
        ["radius-db", "nas-1"],
        learned.append,
    )


async def test_a_secret_is_kept_sealed_and_read_back(tmp_path: Path) -> None:
    agent, learned = Agent(tmp_path), list[bytes]()
    secrets = secrets_of(agent, learned)
    await secrets.put("nas-1", SECRET, "maria")
    assert secrets.get("nas-1") == SECRET
    assert secrets.names() == ["nas-1"]
    assert learned == [SECRET]  # the log handler knows what it must never print
    agent.close()
    assert all(SECRET not in p.read_bytes() for p in tmp_path.iterdir())
    agent, learned = Agent(tmp_path), []
    assert secrets_of(agent, learned).get("nas-1") == SECRET
    assert learned == [SECRET]
    agent.close()


async def test_setting_a_secret_is_in_the_log_without_it(tmp_path: Path) -> None:
    agent = Agent(tmp_path)
    await secrets_of(agent, []).put("nas-1", SECRET, "maria")
    [event] = agent.evidence.events()
    assert event.kind == "secret-set"
    assert event.record == {"what": "secret", "name": "nas-1", "who": "maria"}
    assert agent.evidence.verify() == 1
    agent.close()


async def test_a_later_secret_replaces_the_earlier(tmp_path: Path) -> None:
    agent = Agent(tmp_path)
    secrets = secrets_of(agent, [])
    await secrets.put("nas-1", b"old", "maria")
    await secrets.put("nas-1", SECRET, "maria")
    assert secrets_of(agent, []).get("nas-1") == secrets.get("nas-1") == SECRET
    agent.close()


async def test_a_secret_that_nobody_set(tmp_path: Path) -> None:
    agent = Agent(tmp_path)
    with pytest.raises(MissingKeyError, match="ispagent secret set radius-db"):
        secrets_of(agent, []).get("radius-db")
    agent.close()


@pytest.mark.parametrize("size", [0, SECRET_MAX + 1])
async def test_lengths(tmp_path: Path, size: int) -> None:
    agent = Agent(tmp_path)
    with pytest.raises(RefusedCommandError, match=f"got {size}") as caught:
        await secrets_of(agent, []).put("nas-1", b"x" * size, "maria")
    assert caught.value.reason == "bad-secret"
    await secrets_of(agent, []).put("nas-1", b"x" * SECRET_MAX, "maria")
    agent.close()


async def test_a_name_that_the_configuration_lacks(tmp_path: Path) -> None:
    agent, learned = Agent(tmp_path), list[bytes]()
    with pytest.raises(RefusedCommandError, match="nas-1, radius-db") as caught:
        await secrets_of(agent, learned).put("typo", SECRET, "maria")
    assert caught.value.reason == "unwanted-secret"
    assert SECRET.decode() not in str(caught.value)
    assert agent.store.size == 0
    agent.close()


async def test_a_secret_that_could_not_be_written_is_not_used(tmp_path: Path) -> None:
    agent = Agent(tmp_path)
    secrets = secrets_of(agent, [])
    agent.store.failed = "the store cannot be written: full"
    with pytest.raises(StoreFailedError):
        await secrets.put("nas-1", SECRET, "maria")
    assert secrets.names() == []
    agent.close()


async def test_another_store_key_does_not_open_it(tmp_path: Path) -> None:
    agent = Agent(tmp_path)
    await secrets_of(agent, []).put("nas-1", SECRET, "maria")
    agent.store.reader.execute("SELECT 1")
    from agent.store.vault import Vault

    (tmp_path / "other").mkdir()
    other = Vault(bytes(32), tmp_path / "other" / "keys.db")
    with pytest.raises(MissingKeyError, match="does not open"):
        SecretStore(agent.store, other, lambda name, who: agent.recorder.record(None, {}), ["nas-1"], lambda s: None)
    other.close()
    agent.close()
