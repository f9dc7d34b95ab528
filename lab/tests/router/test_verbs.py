"""What commands do and how they are refused: RouterOS's own texts, version by version."""

from __future__ import annotations

import json
import re

import pytest

from lab.router.device import Router
from lab.router.errors import Trap
from lab.router.verbs import UNDONE, parse_command, run
from lab.tests.router.data import recorded
from lab.tests.router.routers import access_bench, bench, logged_in


@pytest.mark.parametrize(("version", "recording"), [("7.20.8", "7.20.8"), ("7.24", "7.22.1")])
def test_every_recorded_answer_to_an_empty_add(version, recording):
    menus = json.loads(recorded(f"required-args/required-args.v{recording}.json").read_text("utf-8"))
    assert len(menus) >= 230
    wrong = []
    for menu in menus:
        # the console's place, which the API leaves out
        want = re.sub(r" \(/[^()]*/add; line 1\)$", "", menu["rawError"]).removeprefix("Script Error: ")
        router = Router(version)
        try:
            run(router, parse_command([f"{menu['path']}/add"]), router.user("admin"))
            got = ""
        except Trap as refused:
            got = refused.message
        if got != want:
            wrong.append((menu["path"], got, want))
    assert wrong == []


def test_the_recorded_answers_name_only_what_still_lacks():
    c = logged_in(bench().router)
    assert c.trap("/ip/address/add", "=interface=ether1") == "missing value(s) of argument(s) address"
    assert c.trap("/ip/address/add") == "missing value(s) of argument(s) address interface"
    lease = "failure: mac-address or client-id must be present"
    assert c.trap("/ip/dhcp-server/lease/add", "=address=10.0.0.9") == lease
    assert c.ret("/ip/dhcp-server/lease/add", "=mac-address=aa:bb:cc:dd:ee:ff") == "*1"


@pytest.mark.parametrize(
    ("words", "category", "message"),
    [
        (("/nowhere/print",), "0", "no such command prefix"),
        (("/ip/nowhere/print",), "0", "no such command prefix"),
        (("/ip/address/fly",), "0", "no such command"),
        (("/ip/print",), "0", "no such command"),
        (("/ppp/secret/add", "=name=x", "=color=red"), None, "unknown parameter color"),
        (("/ppp/secret/set", "=.id=*1", "=last-logged-out=x"), None, "unknown parameter last-logged-out"),
        (("/ppp/secret/print", "=color=red"), None, "unknown parameter color"),
        (("/ppp/secret/add", "=name=x", "=profile=gold"), "1", "input does not match any value of profile"),
        (("/ppp/secret/add", "=name=x", "=service=fax"), "1", "input does not match any value of service"),
        (("/ppp/secret/add", "=name=home1"), None, "failure: secret with the same name already exists"),
        (("/ppp/profile/add", "=name=home20"), None, "failure: profile with the same name already exists"),
        (("/ppp/secret/set", "=disabled=yes"), None, "missing =.id="),
        (("/ppp/secret/set", "=.id=*FF", "=disabled=yes"), "0", "no such item"),
        (("/ppp/secret/remove", "=.id=*1,*FF"), "0", "no such item"),
        (("/ppp/secret/unset", "=.id=*1", "=value-name=name"), "1", "input does not match any value of value-name"),
        (("/ppp/profile/remove", "=.id=*0"), None, "failure: default profile can not be removed"),
        (("/ip/pool/add", "=name=homes", "=ranges=10.0.0.1"), None, "failure: pool with such name exists"),
        (
            ("/ip/firewall/address-list/add", "=list=x", "=address=10.0.0.256"),
            "1",
            "invalid value for argument address",
        ),
        (("/queue/simple/add", "=target=ether99"), "1", "input does not match any value of target"),
        (("/queue/simple/add", "=target=10.0.0.1", "=max-limit=fast"), "1", "invalid value for argument max-limit"),
        (("/queue/simple/add", "=target=10.0.0.1", "=priority=9"), "1", "value of priority out of range (1..8)"),
        (
            ("/ip/address/add", "=address=10.0.0.1/24", "=interface=asdf"),
            "1",
            "input does not match any value of interface",
        ),
        (("/system/script/run", "=number=x"), None, UNDONE),
        (("/ppp/secret/print", "?#|"), "5", "invalid query"),
    ],
)
def test_refusals(words, category, message):
    b = access_bench()
    before = {p: b.router.rows(p) for p in ("/ppp/secret", "/ppp/profile", "/queue/simple", "/ip/pool")}
    said = logged_in(b.router).ask(*words)
    trap = {"=message=" + message} | ({"=category=" + category} if category else set())
    assert said[0][0] == "!trap"
    assert set(said[0][1:]) == trap
    assert said[1:] == [["!done"]]
    assert {p: b.router.rows(p) for p in before} == before


def test_add_set_unset_enable_disable_comment_remove():
    c = logged_in(access_bench().router)
    made = c.ret("/ppp/secret/add", "=name=mia", "=password=s", "=profile=home20", "=remote-address=10.9.9.9")
    assert c.ask("/ppp/secret/set", f"=.id={made}", "=profile=home50", "=comment=id:7") == [["!done"]]
    (row,) = c.rows("/ppp/secret/print", "?name=mia")
    assert (row["profile"], row["comment"], row["disabled"], row["remote-address"]) == (
        "home50", "id:7", "false", "10.9.9.9",
    )  # fmt: skip
    assert row["last-logged-out"] == "1970-01-01 00:00:00"
    c.ask("/ppp/secret/disable", f"=numbers={made}")
    c.ask("/ppp/secret/unset", "=numbers=mia", "=value-name=remote-address")
    c.ask("/ppp/secret/comment", f"=.id={made}", "=comment=")
    (row,) = c.rows("/ppp/secret/print", f"?.id={made}")
    assert row["disabled"] == "true"
    assert "comment" not in row
    assert "remote-address" not in row
    c.ask("/ppp/secret/enable", f"=.id={made}")
    c.ask("/ppp/secret/set", "=.id=mia", "=local-address=10.0.0.1")
    c.ask("/ppp/secret/set", "=.id=mia", "=!local-address=")
    assert "local-address" not in c.rows("/ppp/secret/print", "?name=mia")[0]
    assert c.ask("/ppp/secret/remove", f"=.id={made}") == [["!done"]]
    assert c.ask("/ppp/secret/print", "?name=mia") == [["!empty"], ["!done"]]


def test_print_proplist_count_find_get():
    c = logged_in(access_bench().router)
    assert c.ask("/ppp/secret/print", "?name=home2", "=.proplist=.id,name,nothing") == [
        ["!re", "=.id=*2", "=name=home2"],
        ["!done"],
    ]
    assert c.ret("/ppp/secret/print", "=count-only=") == "3"
    assert c.ret("/ppp/secret/find", "?disabled=false") == "*1;*2;*3"
    assert c.ret("/ppp/secret/get", "=number=home3", "=value-name=profile") == "home20"
    assert c.rows("/ppp/secret/getall", "=.id=*3")[0]["name"] == "home3"
    assert [r["name"] for r in c.rows("/ppp/secret/print", "?name=home1", "?name=home3", "?#|")] == ["home1", "home3"]
    assert c.ret("/system/identity/get", "=value-name=name") == "edge-1"
    assert ".id" not in c.rows("/system/identity/print")[0]


def test_values_come_back_as_the_router_writes_them():
    c = logged_in(access_bench().router)
    c.ask("/queue/simple/add", "=name=q", "=target=10.0.0.5", "=max-limit=5M/20M", "=burst-time=10", "=comment=true")
    (q,) = c.rows("/queue/simple/print", "?name=q")
    assert q["max-limit"] == "5000000/20000000"
    assert q["target"] == "10.0.0.5/32"
    assert q["burst-time"] == "10s/10s"
    assert q["comment"] == "true"
    assert (q["limit-at"], q["priority"], q["queue"]) == ("0/0", "8/8", "default-small/default-small")
    c.ask("/ip/firewall/address-list/add", "=list=x", "=address=10.0.0.7/32")
    assert c.rows("/ip/firewall/address-list/print")[0]["address"] == "10.0.0.7"
    c.ask("/ip/dhcp-server/lease/add", "=mac-address=aa-bb-cc-dd-ee-ff", "=address=10.0.0.8", "=block-access=yes")
    (lease,) = c.rows("/ip/dhcp-server/lease/print")
    assert (lease["mac-address"], lease["server"], lease["blocked"]) == ("AA:BB:CC:DD:EE:FF", "all", "true")


def test_set_on_several_rows_is_all_or_nothing():
    c = logged_in(access_bench().router)
    assert c.trap("/ppp/secret/set", "=.id=*1,*99", "=comment=x") == "no such item"
    assert all("comment" not in r for r in c.rows("/ppp/secret/print"))
    c.ask("/ppp/secret/set", "=.id=*1,*3", "=comment=x")
    assert [r.get("comment") for r in c.rows("/ppp/secret/print")] == ["x", None, "x"]


def names(client, path):
    return [r["name"] for r in client.rows(f"{path}/print", "=.proplist=name")]


def test_order_place_before_and_move():
    c = logged_in(bench().router)
    for name in "abc":
        c.ask("/queue/simple/add", f"=name={name}", "=target=10.0.0.1")
    c.ask("/queue/simple/add", "=name=first", "=target=10.0.0.1", "=place-before=*1")
    assert names(c, "/queue/simple") == ["first", "a", "b", "c"]
    c.ask("/queue/simple/move", "=numbers=c", "=destination=a")
    assert names(c, "/queue/simple") == ["first", "c", "a", "b"]
    c.ask("/queue/simple/move", "=numbers=first")
    assert names(c, "/queue/simple") == ["c", "a", "b", "first"]
    c.ask("/queue/simple/move", "=numbers=c,a", "=destination=a")
    assert names(c, "/queue/simple") == ["c", "a", "b", "first"]


def test_references_follow_rename_and_show_id_after_removal():
    c = logged_in(access_bench().router)
    (profile,) = c.rows("/ppp/profile/print", "?name=home20")
    c.ask("/ppp/profile/set", f"=.id={profile['.id']}", "=name=home25")
    assert {r["profile"] for r in c.rows("/ppp/secret/print")} == {"home25"}
    c.ask("/ppp/profile/remove", f"=.id={profile['.id']}")
    assert {r["profile"] for r in c.rows("/ppp/secret/print")} == {profile[".id"]}


def test_interfaces_are_one_list():
    c = logged_in(bench().router)
    made = c.ret("/interface/vlan/add", "=name=v7", "=vlan-id=7", "=interface=ether1")
    assert [(r[".id"], r["type"]) for r in c.rows("/interface/print", "?name=v7")] == [(made, "vlan")]
    assert c.trap("/interface/bridge/add", "=name=v7") == "failure: already have interface with such name"
    c.ask("/ip/address/add", "=address=10.7.0.1/24", "=interface=v7")
    c.ask("/interface/set", f"=.id={made}", "=name=v8")
    assert c.rows("/interface/vlan/print")[0]["name"] == "v8"
    assert c.rows("/ip/address/print")[0]["interface"] == "v8"
    assert c.rows("/ip/address/print")[0]["network"] == "10.7.0.0"
    c.ask("/interface/vlan/remove", f"=.id={made}")
    assert c.rows("/interface/print", "?name=v8") == []


@pytest.mark.parametrize("version", ["6.49.18", "7.15.3", "7.20.8", "7.24"])
def test_arguments_differ_by_version(version):
    c = logged_in(bench(version).router)
    six = version.startswith("6")
    said = c.ask("/ip/dhcp-server/lease/add", "=mac-address=02:00:00:00:00:01", "=routes=")
    assert (said[0] == ["!trap", "=message=unknown parameter routes"]) == six
    assert (c.ask("/ip/firewall/connection/print")[0] == ["!empty"]) == (version in ("7.20.8", "7.24"))
    written = "jan/01/1970 00:00:00" if six else "1970-01-01 00:00:00"
    c.ask("/ppp/secret/add", "=name=x")
    assert c.rows("/ppp/secret/print")[0]["last-logged-out"] == written


POLICIES = [
    ("read,api", "/ppp/secret/print", True),
    ("read,api", "/ppp/secret/add", False),
    ("write,api", "/ppp/secret/print", False),
    ("read,write,api", "/ppp/secret/add", True),
    ("read,write,api", "/user/add", False),
    ("read,policy,api", "/user/add", True),
    ("read,write,api", "/user/group/add", False),
    ("read,write,api", "/system/reboot", False),
    ("read,write,api", "/ping", False),
]


@pytest.mark.parametrize(("policy", "command", "allowed"), POLICIES)
def test_policies(policy, command, allowed):
    r = access_bench().router
    r.add("/user/group", name="bots", policy=policy)
    r.add("/user", name="bot", password="pw", group="bots")
    said = logged_in(r, "bot", "pw").ask(command, "=name=n") if "print" not in command else None
    said = said or logged_in(r, "bot", "pw").ask(command)
    assert (said[0] != ["!trap", "=message=not enough permissions (9)"]) == allowed


def test_policies_hold_from_the_next_command_on():
    r = access_bench().router
    r.add("/user/group", name="bots", policy="read,write,api")
    r.add("/user", name="bot", password="pw", group="bots")
    c = logged_in(r, "bot", "pw")
    c.ret("/ppp/secret/add", "=name=n1")
    r.set("/user/group", "bots", policy="read,api")
    assert c.trap("/ppp/secret/add", "=name=n2") == "not enough permissions (9)"
    r.remove("/user", "bot")
    assert c.trap("/ppp/secret/print") == "not enough permissions (9)"


def test_without_sensitive_secrets_are_stars_and_match_nothing():
    r = access_bench().router
    r.add("/user/group", name="bots", policy="read,api")
    r.add("/user", name="bot", password="pw", group="bots")
    c = logged_in(r, "bot", "pw")
    assert {x["password"] for x in c.rows("/ppp/secret/print")} == {"*****"}
    assert c.rows("/ppp/secret/print", "?password=pw1") == []
    assert c.ret("/ppp/secret/get", "=number=home1", "=value-name=password") == "*****"
    assert logged_in(r).rows("/ppp/secret/print", "?password=pw1")[0]["name"] == "home1"


def test_a_users_password_is_never_shown():
    r = bench().router
    r.add("/user", name="bot", password="very-secret", group="read")
    assert "very-secret" not in str(logged_in(r).ask("/user/print"))


def test_history_remembers_the_last_hundred_changes():
    c = logged_in(bench().router)
    for n in range(120):
        c.ask("/ppp/secret/add", f"=name=n{n}")
    rows = c.rows("/system/history/print")
    assert len(rows) == 100
    assert rows[-1]["action"] == "ppp secret added"
    assert rows[-1]["by"] == "admin"


def test_a_write_takes_the_same_time_in_a_large_table():
    """Counted, not timed: an index is asked, rows are not walked."""
    r = bench().router
    table = r.store.table("/ppp/secret")
    walked = 0

    class Counting(type(table)):
        def __iter__(self):
            nonlocal walked
            walked += 1
            return super().__iter__()

    table.__class__ = Counting
    c = logged_in(r)
    for n in range(300):
        made = c.ret("/ppp/secret/add", f"=name=n{n}")
        c.ask("/ppp/secret/set", f"=.id={made}", "=comment=x")
        assert c.rows("/ppp/secret/print", f"?name=n{n}")[0][".id"] == made
        c.ask("/ppp/secret/remove", f"=numbers=n{n}") if n % 2 else None
    assert walked == 0
    assert c.ret("/ppp/secret/print", "=count-only=") == "150"
    assert walked == 1


@pytest.mark.parametrize(
    ("group", "reads", "writes", "users"), [("read", 1, 0, 0), ("write", 1, 1, 0), ("full", 1, 1, 1)]
)
def test_the_groups_that_every_router_has(group, reads, writes, users):
    r = access_bench().router
    r.add("/user", name="bot", password="pw", group=group)
    c = logged_in(r, "bot", "pw")
    refused = ["!trap", "=message=not enough permissions (9)"]
    assert (c.ask("/ppp/secret/print")[0] != refused) == bool(reads)
    assert (c.ask("/ppp/secret/add", "=name=z")[0] != refused) == bool(writes)
    assert (c.ask("/user/add", "=name=z", "=group=read", "=password=p")[0] != refused) == bool(users)


def test_copy_from_and_make_static():
    r = access_bench().router
    c = logged_in(r)
    c.ret("/ppp/secret/add", "=copy-from=home1", "=name=twin")
    one, twin = (c.rows("/ppp/secret/print", f"?name={n}")[0] for n in ("home1", "twin"))
    assert {k: x for k, x in one.items() if k not in (".id", "name")} == {
        k: x for k, x in twin.items() if k not in (".id", "name")
    }
    lease = r.store.insert("/ip/dhcp-server/lease", {"address": "10.0.0.9"}, dynamic=True)
    assert c.trap("/ip/dhcp-server/lease/comment", f"=.id={lease.id}", "=comment=x") == "failure: cannot change dynamic"
    c.ask("/ip/dhcp-server/lease/make-static", f"=.id={lease.id}")
    assert c.rows("/ip/dhcp-server/lease/print")[0]["dynamic"] == "false"
    assert c.ask("/ip/dhcp-server/lease/comment", f"=.id={lease.id}", "=comment=x") == [["!done"]]


def test_get_and_print_that_ask_for_what_is_not_there():
    c = logged_in(access_bench().router)
    assert c.trap("/ppp/secret/get", "=value-name=name") == "missing value(s) of argument(s) number"
    assert (
        c.trap("/ppp/secret/get", "=number=*1", "=value-name=color") == "input does not match any value of value-name"
    )
    assert "name=home1" in c.ret("/ppp/secret/get", "=number=*1").split(";")
    assert c.ret("/ppp/secret/get", "=number=*1", "=value-name=remote-address") == ""
    assert c.trap("/ppp/secret/print", "=interval=soon") == "invalid value for argument interval"
    assert c.trap("/ppp/secret/print", "=.id=*99") == "no such item"
    assert c.trap("/ppp/secret/print", "name") == "unknown word"
