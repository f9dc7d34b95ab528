"""The administrators' commands, and the way from `ispcloud init` to a member that is let in and put out again."""

import json
import os
import re
import select
import signal
import stat
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import grpc
import pytest
from typer.testing import CliRunner, Result

from control_plane import certificates, cli_server, config
from control_plane.cli import app
from protos import message_pb2 as pb
from protos.agent_pb2_grpc import AgentCloudStub
from protos.desk_pb2 import AgentsRequest
from protos.desk_pb2_grpc import DeskCloudStub
from protos.enrolment_pb2 import EnrollReply, EnrollRequest
from protos.enrolment_pb2_grpc import EnrolmentStub
from tests.builders.age_files import Owner
from tests.builders.answers import checked, unix_of
from tests.control_plane.enrolling import AgentKeys, csr, key_pem, new_key, pem
from tests.servers import missing
from tests.systemd.freezing import frozen, thread_named

WAIT_S = 60.0
ROOT = Path(__file__).parents[2]


def run(*args: str | Path, folder: Path | None = None) -> Result:
    env = {"ISPCLOUD_DIR": str(folder)} if folder else {}
    result = CliRunner().invoke(app, [str(a) for a in args], env=env)
    assert result.exception is None or isinstance(result.exception, SystemExit), result.exc_info
    assert "Traceback" not in result.output
    return result


OWNER = Owner()


def done(*args: str | Path, folder: Path | None = None) -> str:
    result = run(*args, folder=folder)
    assert result.exit_code == 0, result.output
    return result.output


@pytest.fixture
def folder(tmp_path: Path) -> Iterator[Path]:
    """A data directory with the operator acme; ports are the system's choice."""
    before = os.umask(0o022)
    try:
        listen = ("--listen", "127.0.0.1:0", "--enrolment-listen", "127.0.0.1:0")
        done("init", "--dir", tmp_path / "cloud", "--public-host", "127.0.0.1", *listen)
        done("operators", "add", "acme", "--dir", tmp_path / "cloud")
        yield tmp_path / "cloud"
    finally:
        os.umask(before)


AT = ("--server", "cloud.example.net:7443", "--enrolment", "[::1]:7444")


# --- offline ---


def test_the_doctor_looks_at_the_installation(folder: Path) -> None:
    said = json.loads(done("doctor", "--json", folder=folder))["checks"]
    found = {(c["about"], c["what"]): c for c in said}
    assert found["key", "authority.key"]["result"] == found["key", "witness.key"]["result"] == "warning"
    assert found["database", "cloud.db"]["detail"] == "version 2, of this program"
    assert found["data", "folder"]["detail"].startswith("whole; the certificate authority holds for 36")
    (folder / "witness.key").chmod(0o644)
    (folder / "config.toml").write_text("listen = 7\n")
    ill = run("doctor", folder=folder)
    assert ill.exit_code == 5
    assert "expected mode 0600, got 0644: others can read it" in ill.output
    assert "run this as the user of the server" in ill.output


def test_an_authority_that_ends_soon(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cli_server, "AUTHORITY_DAYS", 10_000)
    assert "agents and people must be invited again by then" in done("doctor", folder=folder)


def test_init_makes_a_private_directory_and_prints_the_witness(tmp_path: Path) -> None:
    said = done("init", "--dir", tmp_path / "cloud", "--public-host", "cloud.example.net")
    data = config.open_dir(tmp_path / "cloud")
    assert f"witness {data.witness_vkey()}\n" in said
    assert data.config.public_host == "cloud.example.net"
    assert {stat.S_IMODE(p.stat().st_mode) for p in data.path.iterdir()} == {0o600}
    again = run("init", "--dir", tmp_path / "cloud", "--public-host", "cloud.example.net")
    assert (again.exit_code, config.open_dir(tmp_path / "cloud").authority.pem) == (2, data.authority.pem)


def test_operators(folder: Path) -> None:
    done("operators", "add", "bravo", folder=folder)
    listed = json.loads(done("operators", "list", "--json", folder=folder))
    assert [o["operator"] for o in listed] == ["acme", "bravo"]
    assert all(o["id"] in done("operators", "list", folder=folder) for o in listed)
    for bad in ("acme", "Acme", "a" * 33, "a b", ""):
        assert run("operators", "add", bad, folder=folder).exit_code == 2


@pytest.mark.parametrize(("noun", "kind"), [("agents", "agent"), ("people", "person"), ("services", "service")])
def test_an_invitation(folder: Path, tmp_path: Path, noun: str, kind: str) -> None:
    out = tmp_path / "invitation"
    done(noun, "enroll", "pop-1", "--operator", "acme", "--out", out, *AT, folder=folder)
    (operator,) = json.loads(done("operators", "list", "--json", folder=folder))
    invitation = json.loads(out.read_bytes())
    token = bytes.fromhex(invitation.pop("token"))
    assert len(token) == 32
    assert invitation == {
        "format": "ispagents-invitation-v0",
        "operator": operator["id"],
        "kind": kind,
        "name": "pop-1",
        "server": "cloud.example.net:7443",
        "enrolment": "[::1]:7444",
        "ca": config.open_dir(folder).authority.pem.decode(),
    }
    assert stat.S_IMODE(out.stat().st_mode) == 0o600
    (listed,) = checked(json.loads(done(noun, "list", "--json", "--operator", "acme", folder=folder)))
    assert (listed["operator"], listed["name"], listed["standing"]) == ("acme", "pop-1", "invited")
    assert "pop-1" in done(noun, "list", folder=folder)
    for other in {"agents", "people", "services"} - {noun}:
        assert json.loads(done(other, "list", "--json", folder=folder)) == []
    done(noun, "revoke", "pop-1", "--operator", "acme", folder=folder)
    assert json.loads(done(noun, "list", "--json", folder=folder)) == []


def test_an_invitation_says_where_the_configuration_says(tmp_path: Path) -> None:
    done("init", "--dir", tmp_path / "cloud", "--public-host", "cloud.example.net", "--listen", "0.0.0.0:1443")
    done("operators", "add", "acme", folder=tmp_path / "cloud")
    out = tmp_path / "invitation"
    done("people", "enroll", "lena", "--operator", "acme", "--out", out, folder=tmp_path / "cloud")
    said = json.loads(out.read_bytes())
    assert (said["server"], said["enrolment"]) == ("cloud.example.net:1443", "cloud.example.net:7444")


def test_invitation_that_cannot_be_written_leaves_one_before(folder: Path, tmp_path: Path) -> None:
    out = tmp_path / "invitation"
    asked = ("people", "enroll", "lena", "--operator", "acme", "--out", out, *AT)
    done(*asked, folder=folder)
    first = json.loads(out.read_bytes())["token"]
    assert run(*asked, folder=folder).exit_code == 2
    assert json.loads(out.read_bytes())["token"] == first
    with serving(folder) as server:
        server.enroll(first, new_key())


@pytest.mark.parametrize(
    ("args", "says"),
    [
        (("people", "enroll", "lena", "--operator", "none", "--out", "out", *AT), "expected an operator"),
        (("people", "enroll", "Lena", "--operator", "acme", "--out", "out", *AT), "person: expected 1 to 32"),
        (("people", "enroll", "lena", "--operator", "acme", "--out", "out"), "expected --server HOST:PORT"),
        (("people", "enroll", "lena", "--operator", "acme", "--out", "out", "--server", "x"), "--server: expected"),
        (("people", "revoke", "lena", "--operator", "acme"), "no person 'lena' is enrolled or invited"),
        (("people", "revoke", "lena", "--operator", "none"), "expected an operator"),
        (("people", "list", "--operator", "none"), "expected an operator"),
        (("backup", "--to", "b"), "expected --dir DIR, --to FILE and --recipient"),
        (("backup", "--to", "b", "--recipient", "age1x"), "recipient 1: expected a public key of age-keygen"),
        (("restore", "--from", "none", "--identity", "none"), "the identity"),
        (("restore", "--from", "none", "--identity", "cloud/config.toml"), "expected an identity of age-keygen"),
    ],
)
def test_mistakes_are_one_sentence(
    folder: Path, monkeypatch: pytest.MonkeyPatch, args: tuple[str, ...], says: str
) -> None:
    monkeypatch.chdir(folder.parent)
    result = run(*args, folder=folder)
    assert result.exit_code == 2
    assert says in result.output
    assert result.output.count("\n") == 1
    assert not Path("out").exists()


@pytest.mark.parametrize(
    "command",
    [("serve",), ("operators", "list"), ("agents", "list"), ("backup", "--to", "x", "--recipient", OWNER.public)],
)
def test_a_broken_directory_is_one_sentence(tmp_path: Path, command: tuple[str, ...]) -> None:
    assert run(*command, "--dir", tmp_path / "none").exit_code == 2
    done("init", "--dir", tmp_path / "cloud", "--public-host", "h")
    (tmp_path / "cloud" / "config.toml").write_text("listen = 3\n")
    result = run(*command, "--dir", tmp_path / "cloud")
    assert result.exit_code == 2
    assert "config.toml: public_host: expected a text" in result.output


def test_a_database_of_something_else(folder: Path) -> None:
    (folder / "cloud.db").write_bytes(b"rubbish" * 1000)
    result = run("agents", "list", folder=folder)
    assert (result.exit_code, "cloud.db" in result.output) == (2, True)


def test_backup_and_restore_say_what_they_mean(folder: Path, tmp_path: Path) -> None:
    old = config.open_dir(folder).witness_vkey()
    key = OWNER.key_file(tmp_path)
    done("backup", "--to", tmp_path / "backup", "--recipient", OWNER.public, folder=folder)
    assert stat.S_IMODE((tmp_path / "backup").stat().st_mode) == 0o600
    proven = checked(json.loads(done("backup", "verify", tmp_path / "backup", "--identity", key, "--json")))
    assert unix_of(proven["made_at"]) <= time.time()
    assert done("backup", "verify", tmp_path / "backup", "--identity", key).count(proven["authority_sha256"]) == 1
    said = done("restore", "--from", tmp_path / "backup", "--identity", key, "--dir", tmp_path / "again")
    assert proven["authority_sha256"] in said
    new = config.open_dir(tmp_path / "again").witness_vkey()
    assert new != old
    assert f"witness {new}\n" in said
    assert old in said
    assert "revoke them again" in said
    assert "acme" in done("operators", "list", folder=tmp_path / "again")


def test_desk_and_administrators_start_without_server() -> None:
    script = "import sys, control_plane.cli_server; print(*sys.modules, sep='\\n')"
    found = subprocess.run([sys.executable, "-c", script], cwd=ROOT, capture_output=True, text=True, check=True)
    loaded = set(found.stdout.splitlines())
    assert "control_plane.desk.cli_shared" in loaded
    assert not loaded & {f"control_plane.{m}" for m in ("server", "service", "auth", "metrics", "witness")}


# --- with a server ---


@dataclass(frozen=True, slots=True)
class Server:
    """A running `ispcloud serve`, and what clients need of it."""

    address: str
    enrolment: str
    authority: bytes
    pid: int

    def channel(self, address: str, key: bytes | None = None, certificate: bytes | None = None) -> grpc.Channel:
        credentials = grpc.ssl_channel_credentials(self.authority, key, certificate)
        options = [("grpc.ssl_target_name_override", certificates.SERVER_NAME), ("grpc.use_local_subchannel_pool", 1)]
        return grpc.secure_channel(address, credentials, options)

    def enroll(self, token: str, key: object, statement: bytes = b"") -> EnrollReply:
        request = EnrollRequest(token=bytes.fromhex(token), csr=csr(key), identity=statement)
        with self.channel(self.enrolment) as channel:
            reply: EnrollReply = EnrolmentStub(channel).Enroll(request, timeout=WAIT_S)
        return reply


@contextmanager
def serving(folder: Path) -> Iterator[Server]:
    command = [sys.executable, "-m", "control_plane.cli", "serve", "--dir", str(folder)]
    log = folder.parent / "serve.log"
    with log.open("ab") as errors:
        process = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, stderr=errors, text=True)
    try:
        assert process.stdout is not None
        ready, _, _ = select.select([process.stdout], [], [], WAIT_S)
        words = process.stdout.readline().replace(",", "").split() if ready else []
        assert words[:3] == ["ispcloud:", "listening", "on"], (words, log.read_text())
        yield Server(words[3], words[6], (folder / "authority.pem").read_bytes(), process.pid)
        process.send_signal(signal.SIGTERM)
        assert process.wait(WAIT_S) == 0, log.read_text()
    finally:
        process.kill()
        process.wait()
        if process.stdout is not None:
            process.stdout.close()


def token_for(folder: Path, noun: str, name: str, server: Server) -> str:
    out = folder.parent / f"{noun}-{name}-{time.monotonic_ns()}"
    at = ("--server", server.address, "--enrolment", server.enrolment)
    done(noun, "enroll", name, "--operator", "acme", "--out", out, *at, folder=folder)
    token: str = json.loads(out.read_bytes())["token"]
    return token


def refusal(error: grpc.RpcError) -> tuple[grpc.StatusCode, int]:
    (problem,) = [value for key, value in error.trailing_metadata() if key == "problem-bin"]
    found = pb.Problem.FromString(problem)
    assert error.details() == pb.Refusal.Name(found.refusal)
    return error.code(), found.refusal


def test_an_agent_from_invitation_to_revocation(folder: Path) -> None:
    keys, key = AgentKeys.new(), new_key()
    with serving(folder) as server:
        token = token_for(folder, "agents", "pop-1", server)
        for sent in (b"", b"rubbish", keys.statement(keys.plan)):
            with pytest.raises(grpc.RpcError) as caught:
                server.enroll(token, key, sent)
            assert refusal(caught.value) == (grpc.StatusCode.INVALID_ARGUMENT, pb.REFUSAL_MALFORMED)
        reply = server.enroll(token, key, keys.statement())
        for stale in (token, "00" * 32):
            with pytest.raises(grpc.RpcError) as caught:
                server.enroll(stale, key, keys.statement())
            assert refusal(caught.value) == (grpc.StatusCode.UNAUTHENTICATED, pb.REFUSAL_BAD_TOKEN)
        assert pem(reply.issuer) == server.authority

        with server.channel(server.address, key_pem(key), pem(reply.certificate)) as channel:
            stub = AgentCloudStub(channel)
            stream = stub.Watch(pb.WatchRequest(), timeout=WAIT_S)
            assert next(stream).WhichOneof("event") == "hello"
            next_key = new_key()
            renewed = stub.Renew(pb.RenewRequest(csr=csr(next_key)), timeout=WAIT_S)
            with pytest.raises(grpc.RpcError) as caught:
                stub.Renew(pb.RenewRequest(csr=b"rubbish"), timeout=WAIT_S)
            assert refusal(caught.value) == (grpc.StatusCode.INVALID_ARGUMENT, pb.REFUSAL_BAD_CSR)
            (listed,) = checked(json.loads(done("agents", "list", "--json", folder=folder)))
            assert (listed["agent"], listed["standing"]) == (keys.agent.hex(), "enrolled")

            done("agents", "revoke", "pop-1", "--operator", "acme", folder=folder)
            with pytest.raises(grpc.RpcError) as caught:
                next(stream)
            assert refusal(caught.value) == (grpc.StatusCode.UNAUTHENTICATED, pb.REFUSAL_REVOKED)

        with server.channel(server.address, key_pem(next_key), pem(renewed.certificate)) as channel:
            with pytest.raises(grpc.RpcError) as caught:
                AgentCloudStub(channel).Renew(pb.RenewRequest(csr=csr()), timeout=WAIT_S)
            assert refusal(caught.value) == (grpc.StatusCode.UNAUTHENTICATED, pb.REFUSAL_REVOKED)


def test_a_person_is_let_in_and_a_stranger_is_not(folder: Path) -> None:
    key = new_key()
    with serving(folder) as server:
        reply = server.enroll(token_for(folder, "people", "lena", server), key)
        with server.channel(server.address, key_pem(key), pem(reply.certificate)) as channel:
            assert list(DeskCloudStub(channel).Agents(AgentsRequest(), timeout=WAIT_S).agents) == []
        # Signed by our authority (a copied backup), but of nobody whom the database knows
        authority, stranger = config.open_dir(folder).authority, new_key()
        uri = f"ispagents://{'00' * 16}/person/lena"
        stray = authority.issue_client_untrusted(csr(stranger), uri, int(time.time()))
        with server.channel(server.address, key_pem(stranger), stray.pem) as channel:
            with pytest.raises(grpc.RpcError) as caught:
                DeskCloudStub(channel).Agents(AgentsRequest(), timeout=WAIT_S)
            assert refusal(caught.value) == (grpc.StatusCode.UNAUTHENTICATED, pb.REFUSAL_NOT_ENROLLED)
        with server.channel(server.address) as channel, pytest.raises(grpc.RpcError) as caught:
            DeskCloudStub(channel).Agents(AgentsRequest(), timeout=WAIT_S)
        assert caught.value.code() == grpc.StatusCode.UNAVAILABLE


def test_a_restored_server_lets_members_in_and_has_a_new_epoch(folder: Path, tmp_path: Path) -> None:
    key = new_key()
    with serving(folder) as server:
        reply = server.enroll(token_for(folder, "people", "lena", server), key)
        before = epoch(server, key_pem(key), pem(reply.certificate))
        done("backup", "--to", tmp_path / "backup", "--recipient", OWNER.public, folder=folder)
    key_file = OWNER.key_file(tmp_path)
    done("restore", "--from", tmp_path / "backup", "--identity", key_file, "--dir", tmp_path / "again")
    with serving(tmp_path / "again") as server:
        after = epoch(server, key_pem(key), pem(reply.certificate))
    assert len(after) == 16
    assert after != before


def epoch(server: Server, key: bytes, certificate: bytes) -> bytes:
    with server.channel(server.address, key, certificate) as channel:
        stream = DeskCloudStub(channel).Watch(pb.WatchRequest(), timeout=WAIT_S)
        hello: bytes = next(stream).hello.epoch
        stream.cancel()
    return hello


# --- half-written data directories ---


def _cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def _emptied(path: Path) -> None:
    path.write_bytes(b"")


def _foldered(path: Path) -> None:
    path.unlink()
    path.mkdir()


def _another_user_owns(path: Path) -> None:
    if os.geteuid() != 0:
        missing("only root gives a file to another user")
    os.chown(path, 12345, 12345)


@pytest.mark.parametrize(
    ("name", "damage", "said"),
    [
        (
            "cloud.db",
            Path.unlink,
            "expected the members' database: No such file or directory: restore a backup",
        ),
        ("cloud.db", _emptied, "expected the members' database, got an empty one: restore a backup"),
        ("cloud.db", _foldered, "expected the members' database, got an empty one: restore a backup"),
        ("cloud.db", _cut, "cloud.db: it is damaged: "),
        ("cloud.db", _another_user_owns, "chown --recursive --reference="),
        ("authority.pem", Path.unlink, "expected the control plane's authority.pem, it cannot be read"),
        ("authority.pem", _cut, "expected the authority's certificate and key as PEM"),
        ("authority.key", _emptied, "expected the authority's certificate and key as PEM"),
        ("witness.key", _cut, "expected the witness's seed, 64 hex digits"),
        ("config.toml", _emptied, "public_host: expected a text, the key is missing"),
    ],
)
def test_half_a_data_directory_serves_nobody(
    folder: Path, name: str, damage: Callable[[Path], object], said: str
) -> None:
    damage(folder / name)
    before = {path.name for path in folder.iterdir()}
    for words in (("serve",), ("operators", "list"), ("operators", "add", "other")):
        result = run(*words, folder=folder)
        assert result.exit_code == 2
        assert said in result.stderr
        assert len(result.stderr.splitlines()) == 1
    assert {path.name for path in folder.iterdir()} - before <= {"lock"}, "nothing is made anew"


def test_a_damaged_page_of_which_sqlite_is_silent_is_not_served(folder: Path) -> None:
    """A name reads otherwise in its row than in its index: the database opens, and a lookup finds one or the other."""
    done("operators", "add", "zebra-net", folder=folder)
    path = folder / "cloud.db"
    data = path.read_bytes()
    assert data.count(b"zebra-net") == 2, "in the row and in the index"
    place = data.rindex(b"zebra-net")
    path.write_bytes(data[:place] + b"cobra" + data[place + 5 :])
    result = run("serve", folder=folder)
    assert (result.exit_code, len(result.stderr.splitlines())) == (2, 1)
    assert "cloud.db: it is damaged: " in result.stderr


# --- health ---


def reached_at(folder: Path, listen: str) -> None:
    """Let config.toml say where enrolment listens, which is the system's choice in these tests."""
    file = folder / "config.toml"
    file.write_text(re.sub(r'(?m)^enrolment_listen = ".*"$', f'enrolment_listen = "{listen}"', file.read_text()))


def test_health_asks_the_server_that_runs(folder: Path) -> None:
    with serving(folder) as server:
        reached_at(folder, server.enrolment)
        assert done("health", folder=folder) == f"serving on {server.enrolment}\n"
        assert json.loads(done("health", "--json", folder=folder)) == {"serving": True, "address": server.enrolment}
        # An address of all interfaces is no address to call
        reached_at(folder, server.enrolment.replace("127.0.0.1", "0.0.0.0"))
        assert done("health", folder=folder) == f"serving on {server.enrolment}\n"
    result = run("health", folder=folder)
    assert result.exit_code == 1
    assert result.stderr == (
        f"ispcloud: {server.enrolment}: expected this control plane to answer in 5 s, got UNAVAILABLE: "
        "it does not run, or another server listens there\n"
    )


def test_health_takes_no_other_server_for_this_one(folder: Path, tmp_path: Path) -> None:
    other = tmp_path / "other"
    listen = ("--listen", "127.0.0.1:0", "--enrolment-listen", "127.0.0.1:0")
    done("init", "--dir", other, "--public-host", "127.0.0.1", *listen)
    with serving(other) as server:
        reached_at(folder, server.enrolment)
        result = run("health", folder=folder)
    assert (result.exit_code, result.stdout) == (1, "")
    assert "or another server listens there" in result.stderr


def test_health_cannot_ask_a_port_that_the_system_chose(folder: Path) -> None:
    result = run("health", folder=folder)
    assert result.exit_code == 2
    assert "expected enrolment_listen with a port in config.toml, got port 0" in result.stderr


def test_health_of_a_data_directory_that_is_none(tmp_path: Path) -> None:
    result = run("health", "--dir", tmp_path / "none")
    assert result.exit_code == 2
    assert "expected a data directory (ispcloud init makes one)" in result.stderr


@pytest.mark.slow
def test_health_fails_while_the_database_cannot_be_written(folder: Path) -> None:
    """The writer's thread stands still, as with a disk that never answers; the event loop goes on."""
    if os.geteuid() != 0:
        missing("freezing a thread of a program that no user may trace needs root")
    with serving(folder) as server:
        reached_at(folder, server.enrolment)
        with frozen(thread_named(server.pid, "store-writer")):
            until(lambda: run("health", folder=folder).exit_code == 1)
            assert "its database cannot be written" in run("health", folder=folder).stderr
        until(lambda: run("health", folder=folder).exit_code == 0)


def until(found: Callable[[], bool]) -> None:
    """Wait for a state of the server."""
    ends = time.monotonic() + WAIT_S
    while not found():
        assert time.monotonic() < ends
        time.sleep(0.1)


def test_a_second_server_on_a_directory_ends_with_one_sentence(folder: Path) -> None:
    command = [sys.executable, "-m", "control_plane.cli", "serve", "--dir", str(folder)]
    with serving(folder):
        second = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=WAIT_S, check=False)
    assert second.returncode == 1
    assert "another ispcloud serves this data directory" in second.stderr
    assert "Traceback" not in second.stderr
