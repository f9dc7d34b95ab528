"""What a verb wants of a CPE, from what is last known of it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import pytest

from agent.cpe import verbs as cpe_verbs
from agent.cpe.verbs import CpePlan, CpeSubject, Wanted
from agent.cpe_model import limits
from agent.cpe_model.addresses import what_of
from agent.cpe_model.known import Acceptance, CachedParameter, Cpe
from agent.cpe_model.manager import ImageFile
from agent.cpe_model.profiles import SHIPPED, bound
from agent.cpe_model.values import UNREADABLE
from agent.cpe_model.vocabulary import Unsafe
from agent.model import ABSENT, Effect, ProofKind, Replay, SecretRef, Seen, Transition
from agent.services.verbs import Leave
from tests.builders.expect import expect, present

NAME = "02AC5F-LabGate-LAB0001"
NOW = 1_767_225_600
SSID = "Device.WiFi.SSID.1.SSID"
KEY = "Device.WiFi.AccessPoint.1.Security.KeyPassphrase"
CHANNEL = "Device.WiFi.Radio.1.Channel"
AUTO = "Device.WiFi.Radio.1.AutoChannelEnable"
ACS = "Device.ManagementServer."
PORTS = "Device.NAT.PortMapping."
VALUES = {
    "Device.WiFi.SSID.1.LowerLayers": CachedParameter("Device.WiFi.Radio.1.", "string", NOW - 60),
    "Device.WiFi.AccessPoint.1.SSIDReference": CachedParameter("Device.WiFi.SSID.1.", "string", NOW - 60),
    SSID: CachedParameter("home", "string", NOW - 60),
    KEY: CachedParameter(None, "string", NOW - 60),
    CHANNEL: CachedParameter("06", "unsignedInt", NOW - 60),
    AUTO: CachedParameter("1", "boolean", NOW - 60),
    f"{ACS}URL": CachedParameter("http://acs.example/", "string", NOW),
    f"{ACS}Username": CachedParameter("cpe", "string", NOW),
    f"{ACS}Password": CachedParameter(None, "string", NOW),
    f"{ACS}PeriodicInformInterval": CachedParameter("300", "unsignedInt", NOW),
    f"{PORTS}1.ExternalPort": CachedParameter("8080", "unsignedInt", NOW - 9),
    f"{PORTS}1.InternalPort": CachedParameter("80", "unsignedInt", NOW - 5),
    f"{PORTS}1.Enable": CachedParameter("1", "boolean", NOW - 5),
    f"{PORTS}1.Status": CachedParameter("Enabled", "string", NOW - 5),
    f"{PORTS}1.Password": CachedParameter(None, "string", NOW - 5),
    "Device.Empty.TableNumberOfEntries": CachedParameter("0", "unsignedInt", NOW),
}


def subject(
    taken: Mapping[str, str] | None = None, values: Mapping[str, CachedParameter] = VALUES, **cpe: object
) -> CpeSubject:
    fields: dict[str, object] = {
        "trust": Acceptance.ACCEPTED,
        "assured": 7,
        "root": "Device.",
        "software": "1.0",
        "last_s": NOW - 120,
    }
    made = Cpe(NAME, "02AC5F", "LabGate", "LAB0001", **(fields | cpe))  # type: ignore[arg-type]  # as they come
    profile = bound(SHIPPED.of("02AC5F", "LabGate", "1.0", "Device."), values)
    return CpeSubject(made, f"cwmp/{NAME}", values, profile, taken or {})


def asked(settings: Mapping[str, str], taken: Mapping[str, str] | None = None, **more: object) -> CpePlan | Leave:
    def commit(name: str, path: str) -> str | None:
        return "c0" if name in ("wifi.1.key", "acs.password") else None

    return cpe_verbs.set_values(subject(taken, **more), Wanted(settings, commit), NOW)  # type: ignore[arg-type]  # as above


def writes(plan: CpePlan | Leave) -> list[Transition]:
    assert isinstance(plan, CpePlan), plan
    return [t for step in plan.steps if not isinstance(step.do, Effect) for t in step.do]


def left(plan: CpePlan | Leave | None) -> tuple[str, bool]:
    assert isinstance(plan, Leave), plan
    return plan.code, plan.blocked


# --- whom ------------------------------------------------------------------------------------------------------------


def test_only_accepted_cpe_of_a_known_root_are_usable() -> None:
    assert cpe_verbs.usable(subject()) is None
    assert left(cpe_verbs.usable(subject(trust=Acceptance.QUARANTINED))) == ("not-accepted", True)
    assert left(cpe_verbs.usable(subject(trust=Acceptance.REFUSED))) == ("not-accepted", True)
    unknown = replace(subject(), profile=None)
    assert left(cpe_verbs.usable(unknown)) == ("unknown-model", True)
    assert left(cpe_verbs.set_values(unknown, Wanted({"wifi.1.ssid": "x"}), NOW)) == ("unknown-model", True)
    assert left(cpe_verbs.diagnose(unknown, Wanted(diagnostic="ping"), NOW)) == ("no-such-test", True)


def test_what_is_left_alone_says_as_of_when() -> None:
    assert asked({"wifi.1.ssid": "home"}) == Leave("already", "it already reads so, as of 1m ago")
    gone = {f"-{PORTS}[ExternalPort=81]": ""}
    assert asked(gone) == Leave("already", "it already reads so, as of 9s ago")
    assert asked({name.replace("Device.", ""): "" for name in gone}) == asked(gone)


def test_what_was_not_read_since_a_reset_says_so() -> None:
    for resets, why in (
        (1, "was never read of this CPE: ispagent"),
        (2, "was never read of this CPE since it was reset:"),
    ):
        never = expect(Leave, asked({"wifi.1.enabled": "x"}, values=VALUES, resets=resets))
        assert why in never.why


@pytest.mark.parametrize("fields", ["Description=door, garage,Enable=1", "Enable", "=1", "Enable=1,Enable=0"])
def test_no_part_of_a_row_is_dropped(fields: str) -> None:
    assert left(asked({f"+{PORTS}[ExternalPort=81]": fields})) == ("bad-row", True)


def test_a_parameter_is_set_once() -> None:
    twice = {"wifi.1.ssid": "One", "Device.WiFi.SSID.1.SSID": "Two"}
    assert left(asked(twice)) == ("twice", True)


def test_a_row_has_no_secret() -> None:
    row = f"+{PORTS}[ExternalPort=81]"
    wanted = Wanted({row: ""}, lambda _name, _path: "c0", secrets={row: "x"})
    assert left(cpe_verbs.set_values(subject(), wanted, NOW)) == ("secret", True)


def test_what_a_name_rests_on() -> None:
    made = subject(user="cpe").cpe
    users = ("cpe", "", f"{NAME}.0a1b")
    proofs = {(user, own): cpe_verbs.proven_text(replace(made, user=user, own=own)) for user in users for own in (0, 1)}
    assert proofs == {
        ("cpe", 0): "credentials that many share",
        ("cpe", 1): "a certificate with its name",
        ("", 0): "credentials that many share",
        ("", 1): "a certificate with its name",
        (users[2], 0): "credentials that many share",
        (users[2], 1): "a password of its own",
    }


# --- parameters -------------------------------------------------------------------------------------------------------


def test_parameters_go_in_one_step_from_the_last_reading() -> None:
    plan = expect(CpePlan, asked({"wifi.1.ssid": "Amina", CHANNEL: "11", "wifi.1.auto-channel": "false"}))
    [step] = plan.steps
    assert (step.n, step.target) == (1, f"cwmp/{NAME}")
    assert [(what_of(w.address), w.before, w.after) for w in writes(plan)] == [
        (SSID, Seen({"value": "home"}, NOW - 60, live=False), {"value": "Amina"}),
        (CHANNEL, Seen({"value": "6"}, NOW - 60, live=False), {"value": "11"}),
        (AUTO, Seen({"value": "true"}, NOW - 60, live=False), {"value": "false"}),
    ]
    assert not plan.management
    assert plan.display["after"].startswith("sent when it calls in: it last did 2m ago, every 300 s by itself")


@pytest.mark.parametrize("settings", [{"wifi.1.ssid": "home"}, {CHANNEL: "006"}, {AUTO: "true"}, {AUTO: "1"}])
def test_what_reads_so_in_whatever_spelling_is_left(settings: dict[str, str]) -> None:
    assert left(asked(settings)) == ("already", False)


@pytest.mark.parametrize(
    ("settings", "code"),
    [
        ({"wifi.1.sssid": "x"}, "unknown-parameter"),
        ({"Device.WiFi.": "x"}, "unknown-parameter"),
        ({"software": "2.0"}, "not-writable"),
        ({"wifi.1.enabled": "1"}, "never-read"),
        ({"wifi.2.ssid": "x"}, "place-unknown"),
        ({"wan.ipoe.enabled": "0"}, "place-unknown"),
        ({CHANNEL: "eleven"}, "bad-value"),
        ({CHANNEL: "-1"}, "bad-value"),
        ({AUTO: "perhaps"}, "bad-value"),
        ({KEY: "in clear"}, "secret"),
        ({"wifi.1.ssid": "x" * (limits.VALUE_CHARS + 1)}, "too-long"),
    ],
)
def test_what_cannot_be_asked_blocks_all_of_it(settings: dict[str, str], code: str) -> None:
    plan = asked({AUTO: "false", **settings})
    assert left(plan) == (code, True)
    assert isinstance(plan, Leave)
    assert "in clear" not in plan.why


def test_a_too_long_value_is_not_replaced_by_its_length_later() -> None:
    values = {**VALUES, SSID: CachedParameter("(40000 characters)", "string", NOW)}
    assert left(asked({SSID: "x"}, values=values)) == ("too-long", True)


def test_a_secret_is_a_reference_from_the_one_taken_last() -> None:
    where = {"wifi.1.key": ""}
    [first] = writes(asked(where))
    assert (first.before.value, first.after) == ({"value": ""}, {"value": SecretRef("c0")})
    [then] = writes(asked(where, {KEY: "b0"}))
    assert then.before.value == {"value": SecretRef("b0")}
    [again] = writes(asked(where, {KEY: "c0"}))  # the house may have changed it: nobody can read it
    assert again.after == {"value": SecretRef("c0")}


def test_a_secret_given_as_none_is_not_set_to_nothing() -> None:
    wanted = Wanted({"wifi.1.ssid": ""}, lambda _name, _path: "c0", secrets=["wifi.1.ssid"])
    assert left(cpe_verbs.set_values(subject(), wanted, NOW)) == ("no-secret", True)


def test_more_parameters_than_a_model_takes_at_once_are_refused() -> None:
    found = subject()
    assert found.profile is not None
    few = replace(found, profile=replace(found.profile, values_batch=2))
    settings = {"wifi.1.ssid": "x", CHANNEL: "11", AUTO: "false"}
    assert left(cpe_verbs.set_values(few, Wanted(settings), NOW)) == ("too-many", True)


def test_what_cannot_be_decoded_is_not_written_over() -> None:
    client = f"{PORTS}1.InternalClient"
    dirty = {
        SSID: CachedParameter(f"Caf{UNREADABLE}", "string", NOW),
        client: CachedParameter(UNREADABLE, "string", NOW),
    }
    values = {**VALUES, **dirty}
    refused = ("unreadable-value", True)
    assert left(asked({"wifi.1.ssid": "x"}, values=values)) == refused
    port = f"{PORTS}[ExternalPort=8080]"
    assert left(asked({f"-{port}": ""}, values=values)) == refused
    assert left(asked({f"+{port}": "InternalClient=192.0.2.9"}, values=values)) == refused
    assert left(asked({f"+{PORTS}[InternalClient=192.0.2.9]": "InternalPort=81"}, values=values)) == refused
    assert isinstance(asked({f"+{port}": "InternalPort=81"}, values=values), CpePlan), "that one is not touched"


# --- what the CPE finds us by -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("settings", "management"),
    [
        ({"acs.url": "http://other/"}, True),
        ({"acs.username": f"{NAME}.ab", "acs.password": ""}, True),
        ({"inform.interval": "600"}, False),
        ({"inform.interval": "86400"}, False),
        ({"inform.interval": "86401"}, True),
        ({"inform.interval": "4294967295"}, True),
        ({"wifi.1.ssid": "x"}, False),
    ],
)
def test_what_a_cpe_finds_us_by_is_management(settings: dict[str, str], management: bool) -> None:
    plan = expect(CpePlan, asked(settings))
    assert plan.management == management


@pytest.mark.parametrize(
    "settings",
    [
        {"acs.password": ""},  # of the user that many share: the others would be locked out
        {"acs.username": f"{NAME}.ab"},  # whose password is none that we know
        {"acs.username": "cpe2", "acs.password": ""},
        {"acs.username": "02AC5F-LabGate-LAB0002", "acs.password": ""},  # another's
        {"acs.username": f"{NAME}2", "acs.password": ""},  # another's, too
        {"acs.username": "", "acs.password": ""},
    ],
)
def test_nobody_is_locked_out_by_new_credentials(settings: dict[str, str]) -> None:
    assert left(asked(settings)) == ("credentials", True)


def test_a_password_alone_is_for_a_user_of_its_own() -> None:
    values = {**VALUES, f"{ACS}Username": CachedParameter(f"{NAME}.ab", "string", NOW)}
    assert len(writes(asked({"acs.password": ""}, values=values))) == 1
    assert left(asked({"acs.username": "cpe"}, values=values)) == ("credentials", True)


# --- rows -------------------------------------------------------------------------------------------------------------


def test_a_row_is_added_by_its_key() -> None:
    [add] = writes(asked({f"+{PORTS}[ExternalPort=0443]": "InternalPort=0443, Enable=1"}))
    assert add.before.value is ABSENT
    assert add.address == f"cwmp/{NAME}/{PORTS}[ExternalPort=0443](InternalPort,Enable)"
    assert add.after == {"ExternalPort": "0443", "InternalPort": "443", "Enable": "true"}


def test_a_row_that_is_there_is_changed() -> None:
    [change] = writes(asked({"+NAT.PortMapping.[ExternalPort=8080]": "InternalPort=81,Enable=true"}))
    assert change.before == Seen({"ExternalPort": "8080", "InternalPort": "80", "Enable": "true"}, NOW - 5, live=False)
    assert change.after == {"ExternalPort": "8080", "InternalPort": "81", "Enable": "true"}
    assert left(asked({f"+{PORTS}[ExternalPort=8080]": "InternalPort=80"})) == ("already", False)


def test_a_row_is_deleted_with_what_would_make_it_again() -> None:
    [gone] = writes(asked({f"-{PORTS}[ExternalPort=8080]": ""}))
    assert gone.after is ABSENT
    assert gone.before.value == {"ExternalPort": "8080", "InternalPort": "80", "Enable": "true", "Password": ""}
    assert left(asked({f"-{PORTS}[ExternalPort=1]": ""})) == ("already", False)


def test_what_is_lost_of_a_row_that_is_deleted_is_said() -> None:
    delete = {f"-{PORTS}[ExternalPort=8080]": ""}
    plan = expect(CpePlan, asked(delete))
    assert plan.display["undo"] == f"{PORTS} row cannot be taken back: its Password is not known"
    without = {path: known for path, known in VALUES.items() if not path.endswith("Password")}
    plan = expect(
        CpePlan, asked(delete, values={**without, f"{PORTS}1.X_Sub.Language": CachedParameter("de", "string", NOW)})
    )
    assert plan.display["undo"] == f"{PORTS} row is made again without the 1 parameters below it"
    plan = expect(CpePlan, asked(delete, values=without))
    assert "undo" not in plan.display


def test_rows_are_steps_of_their_own_after_the_parameters() -> None:
    plan = expect(
        CpePlan,
        asked({f"-{PORTS}[ExternalPort=8080]": "", "wifi.1.ssid": "x", f"+{PORTS}[ExternalPort=1]": "Enable=1"}),
    )
    assert [(s.n, len(s.do) if isinstance(s.do, tuple) else 0) for s in plan.steps] == [(1, 1), (2, 1), (3, 1)]
    assert what_of(writes(plan)[0].address) == SSID


@pytest.mark.parametrize(
    ("name", "text", "code"),
    [
        ("+NAT.PortMapping", "Enable=1", "bad-row"),
        (f"+{PORTS}[ExternalPort]", "Enable=1", "bad-row"),
        (f"+{PORTS}[ExternalPort=1]", "Enable", "bad-row"),
        (f"+{PORTS}[ExternalPort=a(b]", "Enable=1", "bad-row"),
        ("+Device.Never.Read.[A=1]", "B=1", "never-read"),
        (f"+{PORTS}[ExternalPort=1]", "Password=in clear", "secret"),
        (f"+{PORTS}[Password=in clear]", "Enable=1", "secret"),
        (f"-{PORTS}[Password=in clear]", "", "secret"),
    ],
)
def test_a_row_that_cannot_be_asked(name: str, text: str, code: str) -> None:
    plan = asked({name: text})
    assert left(plan) == (code, True)
    assert isinstance(plan, Leave)
    assert "in clear" not in plan.why


def test_a_table_that_is_known_to_be_empty_takes_rows() -> None:
    [add] = writes(asked({"+Device.Empty.Table.[A=1]": "B=1"}))
    assert add.before.value is ABSENT


# --- effects ----------------------------------------------------------------------------------------------------------


def only(plan: CpePlan | Leave) -> Effect:
    assert isinstance(plan, CpePlan), plan
    [step] = plan.steps
    assert isinstance(step.do, Effect)
    return step.do


def test_a_reboot_may_be_sent_again_and_a_reset_may_not() -> None:
    reboot, reset = only(cpe_verbs.reboot(subject(), NOW)), only(cpe_verbs.factory_reset(subject(), NOW))
    assert (reboot.verb, reboot.replay, reboot.proof) == ("reboot", Replay.IF_UNPROVEN, ProofKind.CHANGED)
    assert (reset.verb, reset.replay, reset.proof) == ("factory-reset", Replay.NEVER, ProofKind.CHANGED)
    assert what_of(reboot.address) == "@boots"
    assert what_of(reset.address) == "@resets"
    assert reboot.key != reset.key
    assert max(len(reboot.key), len(reset.key)) <= 32


IMAGE = ImageFile("lab.bin", 12, "ab" * 32)


def test_firmware_is_proven_by_its_version() -> None:
    do = only(cpe_verbs.firmware(subject(), Wanted(image=IMAGE, version="2.0"), NOW))
    assert (do.verb, do.replay, do.proof, what_of(do.address)) == (
        "firmware",
        Replay.NEVER,
        ProofKind.EQUAL,
        "@firmware",
    )
    assert do.args == {
        "file": "lab.bin",
        "sha256": "ab" * 32,
        "bytes": "12",
        "type": "1 Firmware Upgrade Image",
        "version": "2.0",
        "from": "1.0",
    }
    assert left(cpe_verbs.firmware(subject(), Wanted(image=IMAGE, version="1.0"), NOW)) == ("already", False)
    with pytest.raises(ValueError, match="needs an image"):
        cpe_verbs.firmware(subject(), Wanted(version="2.0"), NOW)
    unknown = only(cpe_verbs.firmware(subject(software=""), Wanted(image=IMAGE, version="2.0"), NOW))
    assert unknown.args["from"] == "an unknown version"


def test_a_test_has_its_arguments_by_the_cpes_names() -> None:
    wanted = Wanted(diagnostic="ping", arguments={"host": "192.0.2.1", "count": "4"})
    do = only(cpe_verbs.diagnose(subject(), wanted, NOW))
    ping = "Device.IP.Diagnostics.IPPing."
    assert what_of(do.address) == f"@run:{ping}"
    assert do.args == {"object": ping, "workflow": "ping", "Host": "192.0.2.1", "NumberOfRepetitions": "4"}
    assert left(cpe_verbs.diagnose(subject(), Wanted(diagnostic="dance"), NOW)) == ("no-such-test", True)
    bad = cpe_verbs.diagnose(subject(), Wanted(diagnostic="ping", arguments={"color": "red"}), NOW)
    assert left(bad) == ("bad-value", True)
    assert isinstance(bad, Leave)
    assert bad.why.startswith("ping: there is no value color; it takes interface, host, count")


@pytest.mark.parametrize(
    ("test", "arguments", "why"),
    [
        ("ping", {}, "ping: expected --value host=…"),
        ("ping", {"host": " "}, "ping host: expected a text, got an empty one"),
        ("ping", {"host": "192.0.2.1", "count": "lots"}, "ping count: expected a number from 1 to 1000"),
        ("ping", {"host": "192.0.2.1", "size": "-1"}, "ping size: expected a value of type unsignedInt, got -1"),
        ("download", {"url": "example.net/file"}, "download url: expected a URL: http://… without blanks"),
        ("wifi-scan", {"host": "x"}, "wifi-scan: there is no value host; it takes no values"),
        ("dance", {}, "there is no test dance: expected ping, traceroute, download, upload, wifi-scan"),
    ],
)
def test_a_test_that_cannot_be_run_is_refused_in_a_sentence(test: str, arguments: dict[str, str], why: str) -> None:
    plan = expect(Leave, cpe_verbs.diagnose(subject(), Wanted(diagnostic=test, arguments=arguments), NOW))
    assert (plan.why, plan.blocked) == (why, True)


def test_a_test_may_keep_the_host_that_the_cpe_has() -> None:
    values = {**VALUES, "Device.IP.Diagnostics.IPPing.Host": CachedParameter("192.0.2.9", "string", NOW)}
    only(cpe_verbs.diagnose(subject(values=values), Wanted(diagnostic="ping"), NOW))


@pytest.mark.parametrize(
    ("name", "text", "why"),
    [
        ("wifi.1.ssid", "", "wifi.1.ssid: expected 1 to 32 bytes of UTF-8, got 0"),
        (SSID, "é" * 17, f"{SSID}: expected 1 to 32 bytes of UTF-8, got 34"),
        ("wifi.1.channel", "999", "wifi.1.channel: expected a channel (2.4GHz: 1 to 14)"),
        ("wifi.1.channel", "36", "wifi.1.channel: expected a channel (2.4GHz: 1 to 14)"),
    ],
)
def test_a_value_out_of_the_vocabularys_bounds_is_refused(name: str, text: str, why: str) -> None:
    values = {**VALUES, "Device.WiFi.Radio.1.OperatingFrequencyBand": CachedParameter("2.4GHz", "string", NOW)}
    plan = expect(Leave, asked({name: text}, values=values))
    assert (plan.code, plan.why) == ("bad-value", why)


def test_a_channel_of_an_unknown_band_is_one_of_any() -> None:
    assert isinstance(asked({"wifi.1.channel": "36"}), CpePlan)
    assert left(asked({"wifi.1.channel": "999"})) == ("bad-value", True)


def test_a_secret_is_refused_without_its_text() -> None:
    leave = present(cpe_verbs.bad_secret(subject(), {"wifi.1.key": "short"}))
    assert leave.why == "wifi.1.key: expected 8 to 63 printable ASCII characters, or 64 hexadecimal digits"
    assert cpe_verbs.bad_secret(subject(), {"wifi.1.key": "long enough", "acs.password": "x"}) is None


def test_a_secret_is_not_planned_for_an_unapproved_cpe():
    """Whatever could be said of it besides: neither is it committed to, nor kept."""
    made: list[str] = []

    def commit(name: str, _path: str) -> str:
        made.append(name)
        return "ab" * 32

    wanted = Wanted({"wifi.1.ssid": "new", "wifi.1.key": ""}, commit, secrets=("wifi.1.key",))
    for cpe, takes in (
        ({"assured": 0}, False),
        ({"assured": 0, "certified": True, "service": "C-1/home"}, False),
        ({"assured": 0, "certified": True}, True),
        ({"service": "C-1/home"}, True),
    ):
        planned = cpe_verbs.set_values(subject(**cpe), wanted, NOW)
        assert isinstance(planned, CpePlan) is takes, planned
        assert bool(made) is takes
        assert not isinstance(planned, Leave) or (planned.code == "not-assured" and planned.blocked)
        assert not isinstance(planned, CpePlan) or cpe_verbs.hands_out(planned.steps)
        made.clear()
    plain = expect(CpePlan, cpe_verbs.set_values(subject(assured=0), Wanted({"wifi.1.ssid": "new"}), NOW))
    assert not cpe_verbs.hands_out(plain.steps)


def test_the_undo_of_a_secret_is_told_as_it_is() -> None:
    unknown, known = asked({"wifi.1.key": ""}), asked({"wifi.1.key": ""}, {KEY: "c9"})
    assert isinstance(unknown, CpePlan)
    assert unknown.display["undo"] == f"cannot be undone: what was before is not known of {KEY}"
    assert isinstance(known, CpePlan)
    assert "undo" not in known.display, "the secret from before is set again"


@pytest.mark.parametrize("method", ["Reboot", "FactoryReset", "Download", "Diagnose"])
def test_what_a_profile_calls_unsafe_is_not_planned(method: str) -> None:
    found = subject()
    assert found.profile is not None
    unsafe = replace(found, profile=replace(found.profile, unsafe=(Unsafe(method, None, "it dies"),)))
    plan = {
        "Reboot": lambda: cpe_verbs.reboot(unsafe, NOW),
        "FactoryReset": lambda: cpe_verbs.factory_reset(unsafe, NOW),
        "Download": lambda: cpe_verbs.firmware(unsafe, Wanted(image=IMAGE, version="2.0"), NOW),
        "Diagnose": lambda: cpe_verbs.diagnose(unsafe, Wanted(diagnostic="wifi-scan"), NOW),
    }[method]()
    assert left(plan) == ("unsafe", True)


# --- texts ------------------------------------------------------------------------------------------------------------


def test_how_a_cpe_is_named_and_how_it_stands() -> None:
    cpe = subject(manufacturer="Lab", service="C-1/home", user=NAME, own=True).cpe
    assert cpe_verbs.title(cpe) == f"{NAME} · Lab LabGate · serves C-1/home"
    assert cpe_verbs.title(subject().cpe) == f"{NAME} · LabGate · serves nobody"
    assert cpe_verbs.now_text(cpe, NOW) == "firmware 1.0 · called in 2m ago · proven by a password of its own"
    never = subject(last_s=0, software="").cpe
    assert cpe_verbs.now_text(never, NOW) == "never called in · proven by credentials that many share"
    plan = expect(CpePlan, cpe_verbs.reboot(subject(last_s=0, values={}), NOW))
    assert plan.display["after"] == ("sent when it calls in: it never did; it cannot be asked to (ispagent cpe rotate)")
    plan = expect(CpePlan, cpe_verbs.reboot(replace(subject(last_s=0, values={}), callable=True), NOW))
    assert plan.display["after"] == "sent when it calls in: it never did; it is asked to now"


def test_d7_a_row_goes_into_a_whole_read_empty_table() -> None:
    """Nothing counts the rows of some tables; that all below it was read is as good."""
    row = {"+Device.Bare.Table.[Port=1]": "Enable=true"}
    assert left(cpe_verbs.set_values(subject(), Wanted(row), NOW)) == ("never-read", True)
    read = replace(subject(), read_whole_s=lambda path: NOW - 30 if path == "Device.Bare.Table." else 0)
    [write] = writes(cpe_verbs.set_values(read, Wanted(row), NOW))
    assert (write.before, write.after) == (Seen(ABSENT, NOW - 30, live=False), {"Port": "1", "Enable": "true"})
