"""`ispcloud trust`: from nothing to a document that agents take, and everything that must not get there."""

import dataclasses
import json
import stat
from pathlib import Path

import pytest
from typer.testing import Result

from control_plane.desk import trust_edit, trust_sign
from control_plane.desk.trust_text import warning, windows_text
from control_plane.errors import InputError, WrongFingerprintWordsError, exit_code
from tests.builders.expect import present
from tests.control_plane.conftest import AGENT, DAY, ORIGIN, Desk, alter_payload, key, sign_trust, trust_document
from trust import chain, checkpoint, envelope, keys, policy, statements
from trust.document import Trust, WitnessOperator
from trust.errors import MalformedKeyError, MalformedStatementError, Reason, RefusedError
from trust.policy import RiskClass, Role, ServiceRequester
from trust.statements import Enroll

WORDS = keys.fingerprint(key("plan").public, key("log").public)


class Owners:
    """Three owners who pass files around in one folder."""

    def __init__(self, desk: Desk) -> None:
        self.desk = desk
        self.draft = desk.path / "t.draft.json"
        self.signed = desk.path / "t.json"
        (desk.path / "trust.json").unlink()

    def run(self, *args: str | Path, stdin: str = "") -> Result:
        return self.desk.run("trust", *args, stdin=stdin)

    def edit(self, *args: str | Path, stdin: str = "") -> Result:
        return self.run(*args, "--draft", self.draft, stdin=stdin)

    def init(self, *args: str, threshold: int = 2) -> Result:
        owners = [part for who in ("maria", "lena", "joseph") for part in ("--owner", f"{who}={pub(who)}")]
        return self.run("init", "--out", self.draft, "--root-threshold", str(threshold), *owners, *args)

    def sign(self, who: str, file: Path, *args: str | Path, stdin: str = "") -> Result:
        return self.run("sign", file, "--key", self.desk.key_file(who), *(args or ("--yes",)), stdin=stdin)

    def enroll(self, plan: str = "plan", log: str = "log", handle: str = "north") -> Path:
        vkey = checkpoint.encode_vkey(ORIGIN, key(log).public)
        named = Enroll(AGENT, handle, key(plan).public.hex(), vkey, "0d" * 16)
        path = self.desk.path / "enroll.json"
        path.write_bytes(envelope.encode(statements.sign(named, [key(plan), key(log)])))
        return path

    def document(self) -> Trust:
        return trust_edit.decode_draft_untrusted(self.draft.read_bytes())


def pub(who: str) -> str:
    return key(who).public.hex()


def ok(result: Result) -> Result:
    assert result.exit_code == 0, result.output
    return result


def refused(result: Result, code: int, *words: str) -> None:
    assert result.exit_code == code, result.output
    for word in words:
        assert word in result.stderr


@pytest.fixture
def owners(desk: Desk) -> Owners:
    return Owners(desk)


# --- the whole way --------------------------------------------------------------------------------------------------


def test_new_chain_proposes_desk_of_approver_as_its_witness(owners: Owners) -> None:
    said = ok(owners.init()).stdout
    assert "the desk of joseph" in said
    vkey = checkpoint.encode_witness_vkey("joseph-desk", key("witness").public)
    for line in said.splitlines():
        if line.startswith("  ispcloud trust "):  # as it stands there
            ok(owners.run(*line.removeprefix("  ispcloud trust ").replace("VKEY", vkey).split()))
    proposed = owners.document()
    owners.draft.unlink()
    assert "witness" not in ok(owners.init("--witness", f"joseph-desk={vkey}")).stdout
    for trust in (proposed, owners.document()):
        (witness,) = trust.witnesses
        assert (witness.name, witness.operated_by) == ("joseph-desk", WitnessOperator.OWN)
        assert (trust.quorum.n, trust.quorum.non_cloud) == (1, 1)
    owners.draft.unlink()
    refused(owners.init("--witness", "joseph-desk"), 2, "expected --witness NAME=VKEY, got")


def test_two_of_three_make_version_1_and_then_version_2(owners: Owners) -> None:
    ok(owners.init("--policy-preset", "demo", "--days", "30"))
    ok(owners.edit("add", "agent", "--enroll", owners.enroll(), stdin=WORDS.upper().replace("-", " ") + "\n"))
    ok(owners.edit("add", "person", "tech4", "--key", pub("tech4"), "--role", "requester", "--scope", "north"))
    added = ok(owners.edit("add", "service", "billing", "--key", pub("billing"), "--run-by", "joseph")).output
    assert "joseph runs it and approves nothing of it" in added
    assert "need one more person" in ok(owners.edit("add", "service", "portal", "--key", pub("portal"))).output
    refused(
        owners.edit("add", "service", "crm", "--key", pub("crm"), "--run-by", "gone"), 2, "who runs crm, got 'gone'"
    )
    shown = ok(owners.run("show", owners.draft)).stdout
    assert "billing  run by joseph, who approves nothing that it asks for" in shown
    assert "portal  nobody is named who runs it: one more approves" in shown
    first = ok(owners.sign("lena", owners.draft, "--out", owners.signed, stdin="yes\n"))
    assert "sign this as lena? type yes" in first.stdout
    assert "1 more must sign" in first.stdout
    assert stat.S_IMODE(owners.signed.stat().st_mode) == 0o600
    second = ok(owners.sign("joseph", owners.signed))
    signed = envelope.decode_untrusted(owners.signed.read_bytes())
    words = chain.head_words(signed)
    assert words in second.stdout
    assert "complete" in second.stdout
    one = chain.verify_first(signed, words)
    tech4 = present(one.person("tech4"))
    assert (tech4.scope, tech4.roles, tech4.sees_subscribers) == ((AGENT,), (Role.REQUESTER,), False)
    assert (one.expires - one.issued, one.root.threshold) == (30 * DAY, 2)
    assert all(not c.windows for c in one.policy)

    owners.draft.unlink()
    ok(owners.run("next", owners.signed, "--out", owners.draft))
    assert "joseph removed: a person\n" in ok(owners.edit("remove", "joseph")).output
    ok(owners.edit("add", "person", "anna", "--key", pub("anna"), "--role", "owner", "--root"))
    two = owners.desk.path / "t2.json"
    refused(owners.sign("maria", owners.draft), 2, "expected that one as --previous")
    before = ("--previous", owners.signed, "--yes")
    ok(owners.sign("maria", owners.draft, *before, "--out", two))
    # joseph is of the old root only, anna of the new one only: each root still lacks a person
    assert "ROOT of the version before  2 must sign · signed: joseph, maria · complete" in ok(
        owners.sign("joseph", two, *before)
    ).stdout  # fmt: skip
    last = ok(owners.sign("anna", two, *before))
    assert "complete. Send it: ispcloud trust publish" in last.stdout
    following = chain.verify_next(one, chain.head_sha256(signed), envelope.decode_untrusted(two.read_bytes()))
    assert (following.version, following.person("joseph")) == (2, None)
    assert [s.run_by for s in following.services] == [""] * 2, "whoever is gone runs nothing"


def test_the_next_version_says_what_programs_need() -> None:
    said = trust_document(0)
    policy = tuple(dataclasses.replace(c, service_requester=None) for c in said.policy[:1]) + tuple(
        dataclasses.replace(c, service_requester=ServiceRequester.ONE_MORE) for c in said.policy[1:]
    )
    drafted = trust_edit.following(dataclasses.replace(said, policy=policy), "ab" * 32, 0, 30)
    first, *others = (c.service_requester for c in drafted.policy)
    assert (first, set(others)) == (ServiceRequester.RUN_BY, {ServiceRequester.ONE_MORE})


def test_show_for_people_and_for_programs(owners: Owners) -> None:
    ok(owners.init())
    assert "DRAFT, nobody signed it" in ok(owners.run("show", owners.draft)).stdout
    ok(owners.sign("maria", owners.draft))
    shown = ok(owners.run("show", owners.signed)).stdout
    assert "ROOT  2 must sign · signed: maria · 1 missing of joseph, lena" in shown
    assert "batch     2 of owner or approver" in shown
    assert "Mon Tue Wed Thu Fri 09:00-16:00" in shown
    assert "maria  owner, approver · agents: all · sees subscribers · root key" in shown
    assert "in 89 days" in shown or "in 90 days" in shown
    document = json.loads(ok(owners.run("show", owners.signed, "--json")).stdout)
    assert (document["draft"], document["signed_by"], document["missing"]) == (False, ["maria"], 1)
    assert [p["handle"] for p in document["people"]] == ["maria", "lena", "joseph"]
    assert json.loads(ok(owners.run("show", owners.draft, "--json")).stdout)["words"] is None


def test_show_warns_before_and_after_the_end(desk: Desk) -> None:
    now = desk.now_s
    desk.write_trust(trust_document(now, expires=now + 12 * DAY + 3600))
    shown = desk.run("trust", "show", desk.path / "trust.json")
    assert shown.exit_code == 0
    assert "expires in 12 days" in shown.stderr
    desk.write_trust(trust_document(now, issued=now - 9 * DAY, expires=now - 3 * DAY))
    assert "EXPIRED" in desk.run("trust", "show", desk.path / "trust.json").stderr
    assert warning(trust_document(now, expires=now + 15 * DAY), now) is None


def test_show_remembers_versions_one_by_one(desk: Desk) -> None:
    one = trust_document(desk.now_s)
    two = dataclasses.replace(one, version=2, prev=envelope.digest(sign_trust(one)).hex())
    three = dataclasses.replace(two, version=3, prev=envelope.digest(sign_trust(two)).hex())
    path = desk.path / "trust.json"
    for document in (one, two, three):
        desk.write_trust(document)
        assert desk.run("trust", "show", path, "--remember").exit_code == 0
    desk.write_trust(two)
    refused(desk.run("trust", "show", path, "--remember"), 3, "expected trust version 4, got 2")
    assert desk.run("trust", "show", path).exit_code == 0


# --- agents ---------------------------------------------------------------------------------------------------------


def test_T20_keys_that_are_not_those_of_the_console(owners: Owners) -> None:
    ok(owners.init())
    # Both keys are the attacker's, properly signed; the owner types what the agent's own console showed
    enroll = owners.enroll(plan="evil-plan", log="evil-log")
    result = owners.edit("add", "agent", "--enroll", enroll, stdin=WORDS + "\n")
    refused(result, 3, "not those of the keys")
    assert keys.fingerprint(key("evil-plan").public, key("evil-log").public) not in result.output
    assert owners.document().agents == ()
    swapped = keys.fingerprint(key("log").public, key("plan").public)
    refused(owners.edit("add", "agent", "--enroll", owners.enroll(), "--words", swapped), 3)
    refused(owners.edit("add", "agent", "--enroll", owners.enroll(), "--words", "one two"), 2, "expected 8 words")
    assert owners.document().agents == ()


def test_enrolments_that_prove_nothing(owners: Owners) -> None:
    ok(owners.init())
    path = owners.enroll()
    alter_payload(path, lambda e: e.update(handle="south"))
    refused(owners.edit("add", "agent", "--enroll", path, "--words", WORDS), 3)
    vkey = checkpoint.encode_vkey(ORIGIN, key("log").public)
    half = Enroll(AGENT, "north", key("plan").public.hex(), vkey, "0d" * 16)
    path.write_bytes(envelope.encode(statements.sign(half, [key("plan")])))
    refused(owners.edit("add", "agent", "--enroll", path, "--words", WORDS), 3, "both of the agent's keys")
    path.write_bytes(b"{}")
    refused(owners.edit("add", "agent", "--enroll", path, "--words", WORDS), 2)
    ok(owners.edit("add", "agent", "--enroll", owners.enroll(), "--words", WORDS))
    refused(owners.edit("add", "agent", "--enroll", owners.enroll(), "--words", WORDS), 2, "already")
    ok(owners.edit("remove", "north"))
    assert owners.document().agents == ()


# --- edits that are refused -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "args",
    [
        ("person", "Tech 4", "--role", "requester"),
        ("person", "maria", "--role", "requester"),
        ("person", "tech4", "--role", "king"),
        ("person", "tech4"),
        ("person", "tech4", "--role", "requester", "--scope", "nowhere"),
        ("service", "maria"),
        ("key", "nobody"),
        ("key", "nobody", "--root"),
    ],
)
def test_edits_of_what_is_not_so(owners: Owners, args: tuple[str, ...]) -> None:
    ok(owners.init())
    before = owners.draft.read_bytes()
    refused(owners.edit("add", *args, "--key", pub("tech4")), 2)
    assert owners.draft.read_bytes() == before


@pytest.mark.parametrize("bad", ["", "ab", "zz" * 32, "00" * 32, "01" + "00" * 31, "ff" * 32])
def test_T13_keys_that_must_never_be_enrolled(owners: Owners, bad: str) -> None:
    ok(owners.init())
    refused(owners.edit("add", "person", "tech4", "--role", "approver", "--key", bad), 2, "expected")


def test_more_keys_and_another_threshold(owners: Owners) -> None:
    ok(owners.init())
    ok(owners.edit("add", "key", "maria", "--key", pub("maria-2")))
    ok(owners.edit("add", "key", "maria", "--key", pub("maria-root"), "--root"))
    ok(owners.edit("policy", "--root-threshold", "3"))
    document = owners.document()
    assert [len(p.keys) for p in document.people] == [2, 1, 1]
    assert (document.root.threshold, len(document.root.keys)) == (3, 4)
    # T5: one person with two root keys counts once
    ok(owners.sign("maria", owners.draft))
    assert "2 missing of joseph, lena" in ok(owners.sign("maria-root", owners.signed)).stdout


def test_policy_files_replace_their_classes_only(owners: Owners) -> None:
    ok(owners.init())
    shown = json.loads(owners.run("show", owners.draft, "--json").stdout)
    low = next(c for c in shown["policy"] if c["risk_class"] == "low")
    path = owners.desk.path / "policy.json"
    path.write_text(json.dumps({"policy": [{**low, "approvals": 2}]}))
    ok(owners.edit("policy", "--policy", path))
    after = owners.document()
    changed = present(after.policy_class(RiskClass.LOW))
    assert changed.approvals == 2
    others = {c for c in policy.preset() if c.risk_class is not RiskClass.LOW}
    assert others == {c for c in after.policy if c.risk_class is not RiskClass.LOW}
    ok(owners.edit("policy", "--policy-preset", "default"))
    assert owners.document().policy == policy.preset()
    for bad in (
        {"policy": [{**low, "approvals": 0}]},
        {"policy": [{**low, "approvals": True}]},
        {"policy": [low, low]},
        {"policy": [{**low, "extra": 1}]},
        {"policy": [], "more": 1},
        {"policy": {}},
    ):
        path.write_text(json.dumps(bad))
        refused(owners.edit("policy", "--policy", path), 2, "policy")
    refused(owners.edit("policy"), 2, "got none")
    refused(owners.edit("policy", "--policy-preset", "lax"), 2, "default or demo")
    assert owners.document().policy == policy.preset()


def test_init_refuses(owners: Owners) -> None:
    refused(owners.init("--days", "91"), 2)
    refused(owners.init(threshold=0), 2)
    refused(owners.init("--owner", "anna"), 2, "HANDLE=PUBHEX")
    refused(owners.init("--owner", f"maria={pub('anna')}"), 2, "already")
    assert not owners.draft.exists()
    ok(owners.init())
    refused(owners.init(), 2, "not overwritten")


@pytest.mark.parametrize("data", ["", "{}", '{"trust_id":1}', '{"payloadType":"x"}', "[]", "\x00"])
def test_files_that_are_no_trust_document(owners: Owners, data: str) -> None:
    owners.draft.write_text(data)
    refused(owners.run("show", owners.draft), 2, "neither a draft nor")
    refused(owners.edit("remove", "maria"), 2)


# --- signing --------------------------------------------------------------------------------------------------------


def test_signatures_that_would_not_count(owners: Owners) -> None:
    ok(owners.init())
    refused(owners.sign("stranger", owners.draft), 3, "expected a root key")
    refused(owners.sign("maria", owners.draft, "--previous", owners.draft, "--yes"), 2, "version 1 follows none")
    refused(owners.sign("maria", owners.draft, "--out", owners.signed, stdin="no\n"), 3, "nothing was signed")
    assert not owners.signed.exists()
    ok(owners.sign("maria", owners.draft))
    refused(owners.sign("maria", owners.signed), 3, "signed this already")
    refused(owners.sign("lena", owners.draft), 2, "not overwritten")
    alter_payload(owners.signed, lambda t: t.update(expires=t["expires"] - 1))
    refused(owners.sign("lena", owners.signed), 3, "not by that key")
    refused(owners.run("show", owners.signed), 3, "not by that key")


def test_a_second_document_of_a_version_is_not_signed_silently(owners: Owners) -> None:
    """Two signed documents of one version split the agents: those that have the one refuse the other."""
    ok(owners.init())
    assert "ANOTHER" not in ok(owners.sign("maria", owners.draft)).stderr
    assert "ANOTHER" not in ok(owners.sign("lena", owners.signed)).stderr, "it is the same one"
    trust_id = owners.document().trust_id
    draft = json.loads(owners.draft.read_text())
    draft["expires"] -= 1
    owners.draft.write_text(json.dumps(draft))
    assert owners.document().trust_id == trust_id
    owners.signed.unlink()
    told = owners.sign("lena", owners.draft, "--out", owners.signed, stdin="no\n")
    assert (told.exit_code, "ANOTHER version 1" in told.stderr) == (3, True)
    assert not owners.signed.exists()


def test_a_draft_that_contradicts_itself_is_not_signed(owners: Owners) -> None:
    ok(owners.init(threshold=4))
    refused(owners.sign("maria", owners.draft), 3, "expected a root threshold of 1 to 3")
    ok(owners.edit("policy", "--root-threshold", "2"))
    ok(owners.edit("add", "key", "maria", "--key", pub("lena")))
    refused(owners.sign("maria", owners.draft), 3, "there twice")
    assert not owners.signed.exists()


def test_a_version_that_does_not_follow(owners: Owners) -> None:
    ok(owners.init())
    ok(owners.sign("maria", owners.draft))
    refused(owners.run("next", owners.signed, "--out", owners.desk.path / "n"), 3, "expected 2 people")
    ok(owners.sign("lena", owners.signed))
    owners.draft.unlink()
    ok(owners.run("next", owners.signed, "--out", owners.draft))
    draft = owners.draft.read_text()
    other = owners.desk.path / "other.json"
    other.write_bytes(envelope.encode(sign_trust(trust_document(owners.desk.now_s))))
    refused(owners.sign("maria", owners.draft, "--previous", other, "--yes"), 3, "another chain")
    owners.draft.write_text(draft.replace('"version": 2', '"version": 3'))
    refused(owners.sign("maria", owners.draft, "--previous", owners.signed, "--yes"), 3, "expected version 2, got 3")
    document = trust_edit.decode_draft_untrusted(draft.encode())
    owners.draft.write_bytes(trust_edit.encode_draft(dataclasses.replace(document, prev="0a" * 32)))
    refused(owners.sign("maria", owners.draft, "--previous", owners.signed, "--yes"), 3, "not begun from")


# --- pure -----------------------------------------------------------------------------------------------------------


def test_a_draft_round_trips_and_is_read_strictly() -> None:
    document = trust_document(1_760_000_000)
    data = trust_edit.encode_draft(document)
    assert trust_edit.decode_draft_untrusted(data) == document
    assert trust_sign.open_begun(trust_sign.begin(document)) == document
    for bad in (data.replace(b'"version"', b'"versio"'), data[:-3], data.replace(b'"version": 1', b'"version": true')):
        with pytest.raises(MalformedStatementError):
            trust_edit.decode_draft_untrusted(bad)


def test_a_person_needs_a_role() -> None:
    with pytest.raises(InputError, match="at least one role"):
        trust_edit.add_person(trust_document(0), "anna", (), pub("anna"))


def test_verify_complete_is_what_an_agent_says() -> None:
    document = trust_document(1_760_000_000)
    with pytest.raises(RefusedError) as caught:
        trust_sign.verify_complete(sign_trust(document, "maria"), None)
    assert caught.value.reason is Reason.THRESHOLD
    assert trust_sign.verify_complete(sign_trust(document), None) == document


def test_exit_codes() -> None:
    assert exit_code(WrongFingerprintWordsError("x")) == 3
    assert exit_code(RefusedError(Reason.EXPIRED, "x")) == 3
    assert exit_code(MalformedKeyError("x")) == 2
    assert exit_code(InputError("x")) == 2


def test_windows_are_written_as_people_do() -> None:
    assert windows_text(policy.daily(0, 1, 9, 16) + policy.daily(5, 5, 1, 5)) == "Mon Tue 09:00-16:00, Sat 01:00-05:00"
    assert windows_text(()) == ""


# --- witnesses ------------------------------------------------------------------------------------------------------


def witness_vkey(name: str, of: str) -> str:
    return checkpoint.encode_witness_vkey(name, key(of).public)


def test_witnesses_and_their_quorum(owners: Owners) -> None:
    ok(owners.init())
    own, cloud = witness_vkey("desk-lena", "w1"), witness_vkey("cloud", "w2")
    refused(owners.edit("policy", "--quorum", "1"), 2, "quorum that the witnesses can meet (0")
    ok(owners.edit("add", "witness", "cloud", "--vkey", cloud, "--operated-by", "cloud"))
    refused(owners.edit("policy", "--quorum", "1"), 2, "of them 0 not run by the cloud")
    ok(owners.edit("policy", "--quorum", "1", "--non-cloud", "0"))
    ok(owners.edit("add", "witness", "desk-lena", "--vkey", own, "--operated-by", "own"))
    refused(owners.edit("add", "witness", "desk-lena", "--vkey", own, "--operated-by", "own"), 2, "this key already")
    more = witness_vkey("desk-lena", "w3")
    refused(owners.edit("add", "witness", "desk-lena", "--vkey", more, "--operated-by", "third"), 2, "run by own")
    ok(owners.edit("add", "witness", "desk-lena", "--vkey", more, "--operated-by", "own"))
    refused(owners.edit("policy", "--quorum", "2", "--non-cloud", "2"), 2, "got 2 and 2")
    refused(owners.edit("policy", "--non-cloud", "1"), 2, "--quorum")
    ok(owners.edit("policy", "--quorum", "2"))
    document = owners.document()
    assert [(w.name, len(w.vkeys), w.operated_by.value) for w in document.witnesses] == [
        ("cloud", 1, "cloud"),
        ("desk-lena", 2, "own"),
    ]
    assert (document.quorum.n, document.quorum.non_cloud) == (2, 1)
    shown = ok(owners.run("show", owners.draft)).stdout
    assert "WITNESSES (2 must confirm, 1 of them not run by the cloud)" in shown
    assert "desk-lena  run by own" in shown
    refused(owners.edit("add", "witness", "x", "--vkey", ORIGIN, "--operated-by", "own"), 2)
    refused(owners.edit("add", "witness", "x", "--vkey", checkpoint.encode_vkey("x", key("w").public), "--operated-by",
                        "own"), 2, "type 4")  # fmt: skip
    refused(owners.edit("remove", "cloud"), 2, "quorum")
    ok(owners.edit("policy", "--quorum", "1"))
    ok(owners.edit("remove", "cloud"))
    assert [w.name for w in owners.document().witnesses] == ["desk-lena"]
