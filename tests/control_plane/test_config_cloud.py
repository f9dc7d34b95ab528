"""The control plane's `config.toml` and data directory: one clear sentence for whatever is wrong with them."""

import stat
from pathlib import Path

import pytest

from control_plane import certificates, config
from control_plane.certificates import Authority
from control_plane.config import Address, parse, parse_address
from control_plane.errors import InputError, LocalFailureError, ServerConfigError
from control_plane.limits import Quota
from tests.control_plane.enrolling import NOW, config_text
from trust.checkpoint import parse_witness_vkey_untrusted

DAY = 86_400


def test_the_file_that_init_writes() -> None:
    said = parse(config_text(listen="0.0.0.0:7443", public_host="cloud.example.net", metrics_listen="127.0.0.1:9464"))
    assert said.listen == Address("0.0.0.0", 7443)
    assert said.enrolment_listen == Address("127.0.0.1", 0)
    assert said.metrics_listen == Address("127.0.0.1", 9464)
    assert said.public_host == "cloud.example.net"
    assert said.witness_name == "ispcloud-witness"
    assert said.quotas == Quota()
    assert parse(config_text()).metrics_listen is None


def test_quotas_take_the_place_of_built_in_numbers() -> None:
    said = parse(config_text() + "member_messages_per_minute = 7\noperator_stored_bytes = 1048576\n")
    assert said.quotas == Quota(member_messages_per_minute=7, operator_stored_bytes=1 << 20)


@pytest.mark.parametrize(
    ("text", "host", "port"),
    [("127.0.0.1:1", "127.0.0.1", 1), ("[::1]:65535", "::1", 65535), ("cloud.example.net:0", "cloud.example.net", 0)],
)
def test_addresses(text: str, host: str, port: int) -> None:
    assert parse_address(text, "listen") == Address(host, port)
    assert str(parse_address(text, "listen")) == text


@pytest.mark.parametrize(
    "text", ["", "host", ":1", "a:b", "127.0.0.1:65536", "::1:80", "[::1]", "[x]:1", "a b:1", "-a:1", "a:1\n", "a..b:1"]
)
def test_what_is_no_address(text: str) -> None:
    with pytest.raises(ServerConfigError, match="listen: expected HOST:PORT"):
        parse_address(text, "listen")


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("listen = ", "expected TOML"),
        (config_text() + "[other]\n", "other: expected one of"),
        (config_text().replace("enrolment_listen", "# "), "enrolment_listen: expected a text, the key is missing"),
        (config_text().replace('"127.0.0.1:0"', "7443", 1), "listen: expected a text, got int"),
        (config_text(public_host="a b"), "public_host: expected a host name or address, got 'a b'"),
        (config_text(metrics_listen="0.0.0.0:9"), "metrics_listen: expected an address of loopback"),
        (config_text(metrics_listen="example.net:9"), "metrics_listen: expected an address of loopback"),
        (config_text(witness_name="two words"), "witness_name: expected a key name"),
        (config_text().replace("[quotas]", "quotas = 3"), "quotas: expected a table, got int"),
        (config_text() + "bytes = 3\n", "quotas.bytes: expected one of"),
        (config_text() + "member_stored_bytes = 0\n", "quotas.member_stored_bytes: expected a number"),
        (config_text() + "member_stored_bytes = true\n", "quotas.member_stored_bytes: expected a number"),
        (config_text() + 'member_stored_bytes = "1"\n', "quotas.member_stored_bytes: expected a number"),
    ],
)
def test_bad_configuration(text: str, says: str) -> None:
    with pytest.raises(ServerConfigError, match=says):
        parse(text)


def test_a_data_directory_is_ours_alone(tmp_path: Path) -> None:
    folder = tmp_path / "cloud"
    made = config.create(folder, config_text(), NOW)
    made.server_pair(NOW)
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    assert {p.name: stat.S_IMODE(p.stat().st_mode) for p in folder.iterdir()} == dict.fromkeys(
        ("config.toml", "authority.pem", "authority.key", "witness.key", "server.pem"), 0o600
    )
    again = config.open_dir(folder)
    assert again.authority.pem == made.authority.pem
    assert parse_witness_vkey_untrusted(again.witness_vkey()).public == made.witness_key.public
    folder.chmod(0o750)
    with pytest.raises(ServerConfigError, match="mode 0700, got mode 0750"):
        config.open_dir(folder)


def test_nothing_is_made_over_something(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("x")
    for path in (tmp_path, tmp_path / "file"):
        with pytest.raises(InputError, match="expected an empty or a new folder"):
            config.create(path, config_text(), NOW)
    assert [p.name for p in tmp_path.iterdir()] == ["file"]
    with pytest.raises(ServerConfigError):
        config.create(tmp_path / "new", "rubbish", NOW)
    assert not (tmp_path / "new").exists()
    with pytest.raises(LocalFailureError, match="cannot be made"):
        config.create(Path("/proc/cloud"), config_text(), NOW)


@pytest.mark.parametrize(
    ("name", "content", "says"),
    [
        ("config.toml", b"\xff", "config.toml: expected UTF-8"),
        ("config.toml", b"x = 1", "config.toml: x: expected one of"),
        ("config.toml", b"#" * 70_000, "it is larger"),
        ("config.toml", None, "it cannot be read"),
        ("authority.key", b"", "authority's certificate and key"),
        ("authority.pem", b"", "authority's certificate and key"),
        ("authority.pem", Authority.create(NOW).pem, "it is another's"),
        ("witness.key", b"00", "witness's seed"),
        ("witness.key", "ü".encode(), "witness's seed"),
        ("authority.pem", None, "it cannot be read"),
    ],
)
def test_files_that_are_not_what_was_expected(tmp_path: Path, name: str, content: bytes | None, says: str) -> None:
    config.create(tmp_path / "cloud", config_text(), NOW)
    path = tmp_path / "cloud" / name
    path.unlink() if content is None else path.write_bytes(content)
    with pytest.raises(InputError, match=says):
        config.open_dir(tmp_path / "cloud")


def test_what_is_no_data_directory(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("x")
    for path in (tmp_path / "none", tmp_path / "file"):
        with pytest.raises(ServerConfigError, match=r"data directory|a folder of ours"):
            config.open_dir(path)


def test_the_server_certificate_is_kept_and_renewed_when_due(tmp_path: Path) -> None:
    data = config.create(tmp_path / "cloud", config_text(), NOW)
    first = data.server_pair(NOW)
    assert data.server_pair(NOW + 60 * DAY) == first
    second = data.server_pair(NOW + 60 * DAY + 1)
    assert second != first
    assert not certificates.needs_renewal(second, data.authority, NOW + 120 * DAY)
    for rubbish in (b"", b"rubbish", second.certificate):
        (data.path / "server.pem").write_bytes(rubbish)
        with pytest.raises(ServerConfigError, match="server's certificate and key"):
            data.server_pair(NOW)
