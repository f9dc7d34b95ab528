"""A client that we did not write: librouteros' own API, blocking, over TCP and TLS."""

from __future__ import annotations

import hashlib
import ssl

import librouteros
import pytest
from librouteros.exceptions import LibRouterosError, TrapError
from librouteros.login import plain, token
from librouteros.query import And, Key, Or

from lab.router.device import Router
from lab.router.server import RouterThread
from lab.tests.router.routers import access_bench

USERS = [("bot", "s3cret", "full"), ("viewer", "v", "read")]


_sockets = []


@pytest.fixture(autouse=True)
def _close_sockets():
    """The library leaves its socket open where a login fails or a connection breaks."""
    yield
    while _sockets:
        _sockets.pop().close()


def connect(endpoint, user="bot", password="s3cret", wrap=lambda sock: sock, **options):
    def keep(sock):
        _sockets.append(sock)
        _sockets.append(wrapped := wrap(sock))
        return wrapped

    return librouteros.connect(
        host=endpoint.host,
        port=endpoint.port,
        username=user,
        password=password,
        encoding="utf-8",
        timeout=20,
        ssl_wrapper=keep,
        **options,
    )


@pytest.fixture(params=["6.49.18", "7.15.3", "7.20.8", "7.24"])
def served(request):
    bench = access_bench(request.param)
    thread = RouterThread(bench.router, users=USERS)
    with thread as endpoint:
        yield endpoint, thread


@pytest.mark.parametrize("method", [plain, token])
def test_login_both_ways(served, method):
    endpoint, _ = served
    api = connect(endpoint, login_method=method)
    assert [r["name"] for r in api("/system/identity/print")] == ["edge-1"]
    api.close()
    with pytest.raises(TrapError, match=r"invalid user name or password|cannot log in"):
        connect(endpoint, password="wrong", login_method=method)


def test_print_add_set_remove(served):
    endpoint, _ = served
    api = connect(endpoint)
    secrets = api.path("ppp", "secret")
    made = secrets.add(name="zoë", password="pw", profile="home50", comment="niño")
    assert made == "*4"
    rows = {r["name"]: r for r in secrets}
    assert set(rows) == {"home1", "home2", "home3", "zoë"}
    assert rows["zoë"]["comment"] == "niño"
    assert rows["zoë"]["disabled"] is False
    secrets.update(**{".id": made, "profile": "suspended", "disabled": True})
    (row,) = [r for r in secrets if r["name"] == "zoë"]
    assert (row["profile"], row["disabled"]) == ("suspended", True)
    secrets.remove(made)
    assert len(tuple(secrets)) == 3
    api.close()


def test_queries(served):
    endpoint, _ = served
    api = connect(endpoint)
    name, profile, disabled = Key("name"), Key("profile"), Key("disabled")
    secrets = api.path("ppp", "secret")
    assert list(secrets.select(name).where(name == "home2")) == [{"name": "home2"}]
    either = secrets.select(name, profile).where(Or(name == "home1", name == "home3"))
    assert [r["name"] for r in either] == ["home1", "home3"]
    both = secrets.select(name).where(And(profile == "home20", disabled == False, name != "home1"))  # noqa: E712 # builds a query
    assert [r["name"] for r in both] == ["home2", "home3"]
    assert list(secrets.select(name).where(name == "nobody")) == []
    api.close()


def test_traps(served):
    endpoint, _ = served
    api = connect(endpoint)
    secrets = api.path("ppp", "secret")
    with pytest.raises(TrapError) as refused:
        secrets.add(name="home1")
    assert refused.value.message == "failure: secret with the same name already exists"
    with pytest.raises(TrapError) as refused:
        secrets.add(name="x", profile="gold")
    assert (refused.value.category, refused.value.message) == (1, "input does not match any value of profile")
    with pytest.raises(TrapError, match="no such item"):
        secrets.remove("*FF")
    with pytest.raises(TrapError, match="no such command prefix"):
        tuple(api("/no/such/print"))
    viewer = connect(endpoint, "viewer", "v")
    with pytest.raises(TrapError, match="not enough permissions"):
        viewer.path("ppp", "secret").add(name="y")
    assert len(tuple(secrets)) == 3
    viewer.close()
    api.close()


def test_a_disconnect_and_a_redial(served):
    endpoint, thread = served
    thread.call(lambda: thread.router.plug_in("home1", "pw1"))
    api = connect(endpoint)
    (active,) = api.path("ppp", "active")
    api.path("ppp", "active").remove(active[".id"])
    assert tuple(api.path("ppp", "active")) == ()
    assert {q["name"] for q in api.path("queue", "simple")} == set()
    api.close()


def test_tls_with_the_certificate_pinned():
    thread = RouterThread(Router(), tls=True, users=USERS)
    with thread as endpoint:
        context = ssl.create_default_context()
        context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
        seen = []

        def wrap(sock):
            wrapped = context.wrap_socket(sock)
            seen.append(hashlib.sha256(wrapped.getpeercert(binary_form=True)).hexdigest())
            return wrapped

        api = connect(endpoint, wrap=wrap)
        assert seen == [endpoint.fingerprint]
        assert next(iter(api("/system/identity/print")))["name"] == "edge-1"
        api.close()


def test_the_connection_cut_by_a_reboot():
    thread = RouterThread(Router(), users=USERS)
    with thread as endpoint:
        api = connect(endpoint)
        with pytest.raises((LibRouterosError, OSError)):
            tuple(api("/system/reboot"))
        tuple(connect(endpoint)("/system/identity/print"))
