"""Who is let in: tokens used once, agents bound to their keys, certificates that end, seen within a second."""

import asyncio
import dataclasses
import secrets
from contextlib import closing

import pytest

from control_plane import members
from control_plane.auth import REREAD_S, IdentityKind, MemberIdentity, refusal_of
from control_plane.certificates import read_peer_untrusted
from control_plane.errors import (
    AgentTakenError,
    BadCsrError,
    BadTokenError,
    EnrolmentError,
    InputError,
    MalformedCertificateError,
    MalformedIdentityError,
    NotEnrolledError,
    RevokedError,
    TooManyCertificatesError,
)
from control_plane.limits import CERTIFICATES_PER_MEMBER
from control_plane.members import MemberStanding, Revoke, parse_uri_untrusted, token_digest
from control_plane.store import CloudTx, prepare
from protos.message_pb2 import Refusal
from tests.builders.expect import present
from tests.control_plane.enrolling import NOW, AgentKeys, Cloud, csr, in_cloud, pem
from trust.keys import SigningKey

DAY = 86_400
AGENT, PERSON, SERVICE = IdentityKind.AGENT, IdentityKind.PERSON, IdentityKind.SERVICE


@pytest.mark.parametrize("kind", [PERSON, SERVICE])
@in_cloud
async def test_a_token_gives_a_certificate_that_names_the_member(cloud: Cloud, kind: IdentityKind) -> None:
    certificate = await cloud.enroll("lena", kind)
    identity = cloud.auth.identity_of_untrusted(certificate)
    assert identity == MemberIdentity(cloud.operator, kind, "lena")
    assert read_peer_untrusted(certificate).uri == f"ispagents://{cloud.operator.hex()}/{kind.value}/lena"
    assert not cloud.auth.revoked(identity)
    assert cloud.auth.log_key(identity) is None
    assert cloud.auth.agents_of(cloud.operator) == ()


@in_cloud
async def test_an_agent_is_known_by_its_statement(cloud: Cloud) -> None:
    first, second = sorted((AgentKeys.new(), AgentKeys.new()), key=lambda a: a.agent)
    for name, keys in (("pop-2", second), ("pop-1", first)):
        identity = cloud.auth.identity_of_untrusted(await cloud.enroll(name, AGENT, keys.statement()))
        assert identity == MemberIdentity(cloud.operator, AGENT, name, keys.agent)
        vkey = present(cloud.auth.log_key(identity))
        assert vkey.public == keys.log.public
    assert cloud.auth.agents_of(cloud.operator) == (first.agent, second.agent)
    assert cloud.auth.agents_of(secrets.token_bytes(16)) == ()


@in_cloud
async def test_tokens_that_do_not_work_have_one_answer(cloud: Cloud) -> None:
    used, late = await cloud.invite("lena"), await cloud.invite("maria")
    await cloud.auth.enroll_untrusted(used, csr(), b"")
    cloud.clock.wall_s += members.TOKEN_LIFE_S
    answers = set()
    for token in (used, late, secrets.token_bytes(32), b"", b"x" * 4096):
        with pytest.raises(BadTokenError) as caught:
            await cloud.auth.enroll_untrusted(token, csr(), b"")
        answers.add((str(caught.value), refusal_of(caught.value)))
    assert len(answers) == 1
    assert answers.pop()[1] == Refusal.REFUSAL_BAD_TOKEN


@in_cloud
async def test_a_token_is_good_to_its_last_second(cloud: Cloud) -> None:
    token = await cloud.invite("lena")
    cloud.clock.wall_s += members.TOKEN_LIFE_S - 1
    await cloud.auth.enroll_untrusted(token, csr(), b"")


@in_cloud
async def test_of_many_who_bring_one_token_at_once_one_comes_in(cloud: Cloud) -> None:
    """All of them pass the look before the writer: only its transaction decides."""
    token = await cloud.invite("lena")
    tries = [cloud.auth.enroll_untrusted(token, csr(), b"") for _ in range(20)]
    results = await asyncio.gather(*tries, return_exceptions=True)
    assert sum(isinstance(r, tuple) for r in results) == 1
    assert sum(isinstance(r, BadTokenError) for r in results) == 19
    assert cloud.store.reader.execute("SELECT count(*) FROM certificate").fetchone()[0] == 1


@in_cloud
async def test_a_newer_invitation_takes_the_place_of_the_one_before(cloud: Cloud) -> None:
    first, second = await cloud.invite("lena"), await cloud.invite("lena")
    with pytest.raises(BadTokenError):
        await cloud.auth.enroll_untrusted(first, csr(), b"")
    await cloud.auth.enroll_untrusted(second, csr(), b"")


@in_cloud
async def test_a_token_is_kept_as_its_digest_only(cloud: Cloud) -> None:
    token = await cloud.invite("lena")
    everything = b"".join(p.read_bytes() for p in cloud.data.path.iterdir())
    assert token_digest(token) in everything
    assert token not in everything
    assert token.hex().encode() not in everything


@in_cloud
async def test_what_does_not_work_leaves_the_token_as_it_was(cloud: Cloud) -> None:
    token, keys = await cloud.invite("pop-1", AGENT), AgentKeys.new()
    bad: list[tuple[bytes, bytes, type[EnrolmentError]]] = [
        (b"rubbish", keys.statement(), BadCsrError),
        (csr(), b"", MalformedIdentityError),
        (csr(), b"rubbish", MalformedIdentityError),
        (csr(), keys.statement(keys.plan), MalformedIdentityError),
        (csr(), keys.statement(SigningKey.generate(), keys.log), MalformedIdentityError),
    ]
    for request, statement, error in bad:
        with pytest.raises(error):
            await cloud.auth.enroll_untrusted(token, request, statement)
    for table in ("member", "certificate"):
        assert cloud.store.reader.execute(f"SELECT count(*) FROM {table}").fetchone()[0] == 0
    await cloud.auth.enroll_untrusted(token, csr(), keys.statement())


@in_cloud
async def test_a_person_brings_no_statement(cloud: Cloud) -> None:
    with pytest.raises(MalformedIdentityError):
        await cloud.enroll("lena", PERSON, AgentKeys.new().statement())


@in_cloud
async def test_a_second_agent_with_an_id_or_a_name_that_is_taken(cloud: Cloud) -> None:
    keys = AgentKeys.new()
    identity = cloud.auth.identity_of_untrusted(await cloud.enroll("pop-1", AGENT, keys.statement()))
    for name, other in (
        ("pop-2", AgentKeys.new(keys.agent)),  # the id, with other keys
        ("pop-2", keys),  # the same agent under a second name
        ("pop-1", AgentKeys.new()),  # the name of one in force
        ("pop-1", AgentKeys.new(keys.agent)),  # id and name, with other keys
        ("pop-1", dataclasses.replace(keys, plan=SigningKey.generate())),
    ):
        with pytest.raises(AgentTakenError):
            await cloud.enroll(name, AGENT, other.statement())
    assert not cloud.auth.revoked(identity)
    assert cloud.auth.agents_of(cloud.operator) == (keys.agent,)


@in_cloud
async def test_an_agent_comes_back_with_its_keys_the_old_one_ends(cloud: Cloud) -> None:
    keys = AgentKeys.new()
    before = await cloud.enroll("pop-1", AGENT, keys.statement())
    old = cloud.auth.identity_of_untrusted(before)
    after = await cloud.enroll("pop-1", AGENT, keys.statement())
    assert cloud.auth.identity_of_untrusted(after) == old
    with pytest.raises(RevokedError):
        cloud.auth.identity_of_untrusted(before)
    assert cloud.auth.revoked(old)
    with pytest.raises(RevokedError):
        await cloud.auth.renew(old, csr())


@in_cloud
async def test_an_agent_goes_on_under_a_new_log_key(cloud: Cloud) -> None:
    keys = AgentKeys.new()
    await cloud.enroll("pop-1", AGENT, keys.statement())
    new = dataclasses.replace(keys, log=SigningKey.generate())
    identity = cloud.auth.identity_of_untrusted(await cloud.enroll("pop-1", AGENT, new.statement()))
    vkey = present(cloud.auth.log_key(identity))
    assert vkey.public == new.log.public != keys.log.public


@in_cloud
async def test_new_agent_takes_name_of_one_revoked_but_never_its_id(cloud: Cloud) -> None:
    gone, new = AgentKeys.new(), AgentKeys.new()
    before = await cloud.enroll("pop-1", AGENT, gone.statement())
    await cloud.elsewhere(Revoke(cloud.operator, AGENT, "pop-1", NOW))
    with pytest.raises(AgentTakenError):
        await cloud.enroll("pop-1", AGENT, AgentKeys.new(gone.agent).statement())
    after = cloud.auth.identity_of_untrusted(await cloud.enroll("pop-1", AGENT, new.statement()))
    assert after.agent == new.agent
    assert cloud.auth.agents_of(cloud.operator) == (new.agent,)
    with pytest.raises(EnrolmentError):
        cloud.auth.identity_of_untrusted(before)


@in_cloud
async def test_operators_are_blind_to_each_other(cloud: Cloud) -> None:
    """The same names, and even the same agent, at two operators are two members."""
    other, keys = secrets.token_bytes(16), AgentKeys.new()
    await cloud.store.run(members.AddOperator(other, "bravo"))
    mine = cloud.auth.identity_of_untrusted(await cloud.enroll("pop-1", AGENT, keys.statement()))
    token = await cloud.invite("pop-1", AGENT, other)
    theirs = cloud.auth.identity_of_untrusted(
        pem((await cloud.auth.enroll_untrusted(token, csr(), keys.statement()))[0])
    )
    assert mine != theirs
    await cloud.elsewhere(Revoke(other, AGENT, "pop-1", NOW))
    assert cloud.auth.revoked(theirs)
    assert not cloud.auth.revoked(mine)
    assert cloud.auth.agents_of(other) == ()


@in_cloud
async def test_a_renewal_keeps_the_identity_and_the_old_one_lasts(cloud: Cloud) -> None:
    first = await cloud.enroll("lena")
    identity = cloud.auth.identity_of_untrusted(first)
    cloud.clock.wall_s += 5 * DAY
    der, issuer = await cloud.auth.renew(identity, csr())
    second = pem(der)
    assert issuer == cloud.data.authority.der
    assert cloud.auth.identity_of_untrusted(second) == identity == cloud.auth.identity_of_untrusted(first)
    cloud.clock.wall_s += 2 * DAY + 1
    with pytest.raises(NotEnrolledError, match="in date"):
        cloud.auth.identity_of_untrusted(first)
    assert cloud.auth.identity_of_untrusted(second) == identity
    await cloud.auth.renew(cloud.auth.identity_of_untrusted(second), csr())
    kept = cloud.store.reader.execute("SELECT count(*) FROM certificate").fetchone()[0]
    assert kept == 2, "the one that is past its date is forgotten"


@in_cloud
async def test_renewal_needs_a_request_and_a_member(cloud: Cloud) -> None:
    identity = cloud.auth.identity_of_untrusted(await cloud.enroll("lena"))
    with pytest.raises(BadCsrError):
        await cloud.auth.renew(identity, b"rubbish")
    for stranger in (
        dataclasses.replace(identity, name="maria"),
        dataclasses.replace(identity, operator=secrets.token_bytes(16)),
        dataclasses.replace(identity, agent=secrets.token_bytes(16)),
    ):
        with pytest.raises(NotEnrolledError):
            await cloud.auth.renew(stranger, csr())
    await cloud.elsewhere(Revoke(cloud.operator, PERSON, "lena", NOW))
    with pytest.raises(RevokedError):
        await cloud.auth.renew(identity, csr())


@in_cloud
async def test_a_member_has_so_many_certificates(cloud: Cloud) -> None:
    """Each is a row that is read when members change: a member who renews all day would stop the control plane."""
    identity = cloud.auth.identity_of_untrusted(await cloud.enroll("lena"))
    for _ in range(CERTIFICATES_PER_MEMBER - 1):
        await cloud.auth.renew(identity, csr())
    with pytest.raises(TooManyCertificatesError) as caught:
        await cloud.auth.renew(identity, csr())
    assert refusal_of(caught.value) == Refusal.REFUSAL_QUOTA
    again = cloud.auth.identity_of_untrusted(await cloud.enroll("lena"))
    await cloud.auth.renew(again, csr())


@in_cloud
async def test_what_another_process_revokes_is_seen_a_second_later(cloud: Cloud) -> None:
    certificate = await cloud.enroll("lena")
    identity = cloud.auth.identity_of_untrusted(certificate)
    with closing(prepare(cloud.data.database)) as other:
        other.execute("BEGIN IMMEDIATE")
        assert Revoke(cloud.operator, PERSON, "lena", NOW).run(CloudTx(other))
        other.execute("COMMIT")
    cloud.clock.monotonic_s += REREAD_S
    assert cloud.auth.revoked(identity)
    with pytest.raises(RevokedError):
        cloud.auth.identity_of_untrusted(certificate)
    # Invited again: a new certificate, and the old one stays out
    again = await cloud.enroll("lena")
    assert not cloud.auth.revoked(cloud.auth.identity_of_untrusted(again))
    assert cloud.auth.revoked(identity)


@in_cloud
async def test_revoking_withdraws_an_invitation(cloud: Cloud) -> None:
    token = await cloud.invite("lena")
    assert await cloud.store.run(Revoke(cloud.operator, PERSON, "lena", NOW))
    with pytest.raises(BadTokenError):
        await cloud.auth.enroll_untrusted(token, csr(), b"")
    assert not await cloud.store.run(Revoke(cloud.operator, PERSON, "lena", NOW))


@in_cloud
async def test_certificates_of_ours_that_name_no_member(cloud: Cloud) -> None:
    certificate = await cloud.enroll("lena")
    for uri in (
        f"ispagents://{cloud.operator.hex()}/person/maria",
        f"ispagents://{cloud.operator.hex()}/service/lena",
        f"ispagents://{cloud.operator.hex()}/agent/{'00' * 16}",
        f"ispagents://{'00' * 16}/person/lena",
        "https://example.net/",
    ):
        stray = cloud.data.authority.issue_client_untrusted(csr(), uri, NOW)
        with pytest.raises(NotEnrolledError):
            cloud.auth.identity_of_untrusted(stray.pem)
    for data in (b"", b"rubbish", cloud.data.authority.pem):
        with pytest.raises(NotEnrolledError):
            cloud.auth.identity_of_untrusted(data)
    # One of an older database that this one does not know by its number, of a member that it knows
    unknown = cloud.data.authority.issue_client_untrusted(csr(), read_peer_untrusted(certificate).uri, NOW)
    assert cloud.auth.identity_of_untrusted(unknown.pem).name == "lena"


@pytest.mark.parametrize(
    "uri",
    ["", "ispagents://", f"ispagents://{'0' * 31}/person/a", f"ispagents://{'0' * 32}/person/", f"x{'0' * 32}",
     f"ispagents://{'0' * 32}/robot/a", f"ispagents://{'0' * 32}/person/{'a' * 33}",
     f"ispagents://{'0' * 32}/person/a\n", f"ispagents://{'0' * 32}/person/a/b"],
)  # fmt: skip
def test_uris_that_are_none_of_ours(uri: str) -> None:
    with pytest.raises(MalformedCertificateError):
        parse_uri_untrusted(uri)


@in_cloud
async def test_lists_tell_how_members_stand(cloud: Cloud) -> None:
    await cloud.enroll("lena")
    await cloud.enroll("maria")
    await cloud.invite("joseph")
    await cloud.store.run(Revoke(cloud.operator, PERSON, "maria", NOW))
    found = members.members(cloud.store.reader, PERSON, NOW)
    assert [(m.operator, m.name, m.standing, m.until_s) for m in found] == [
        ("acme", "joseph", MemberStanding.INVITED, NOW + DAY),
        ("acme", "lena", MemberStanding.ENROLLED, NOW + 7 * DAY),
        ("acme", "maria", MemberStanding.REVOKED, 0),
    ]
    assert members.members(cloud.store.reader, AGENT, NOW) == []
    assert members.members(cloud.store.reader, PERSON, NOW, secrets.token_bytes(16)) == []


@in_cloud
async def test_operators_have_names_of_their_own(cloud: Cloud) -> None:
    with pytest.raises(InputError, match="is there already"):
        await cloud.store.run(members.AddOperator(secrets.token_bytes(16), "acme"))
    assert members.find_operator(cloud.store.reader, "acme").operator == cloud.operator
    with pytest.raises(InputError, match="got 'bravo'"):
        members.find_operator(cloud.store.reader, "bravo")


def test_every_reason_to_give_no_certificate_has_a_refusal() -> None:
    answers = {refusal_of(error("why")) for error in EnrolmentError.__subclasses__()}
    assert len(answers) == len(EnrolmentError.__subclasses__())
