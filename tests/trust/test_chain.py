import dataclasses

import pytest

from tests.builders.operator import AGENT, DAY, NOW, ZEROS, key, person, plan, root_key, sha, signed_trust, trust
from trust import chain, checkpoint, envelope, limits, statements
from trust.document import Person, PersonKey, Quorum, Root, ServiceAccount, TrustedAgent, Witness, WitnessOperator
from trust.errors import MalformedKeyError, MalformedStatementError, NotUnderstoodError, Reason, RefusedError
from trust.policy import Role, preset

FIRST = trust()
FIRST_SHA = sha(FIRST)


def following(**changes):
    return trust(version=2, prev=FIRST_SHA, **changes)


def refused(reason, call, *args):
    with pytest.raises(RefusedError) as err:
        call(*args)
    assert err.value.reason is reason, str(err.value)
    return str(err.value)


def invalid(**changes):
    document = trust(**changes)
    return refused(Reason.TRUST_INVALID, chain.check_document, document, None)


def test_the_first_document_by_words_or_digest():
    signed = signed_trust(FIRST)
    for head in (chain.head_sha256(signed), chain.head_words(signed), chain.head_words(signed).upper()):
        assert chain.verify_first(signed, head) == FIRST


def test_a_later_head_is_pinned_as_well_as_the_first():
    later = signed_trust(trust(version=7, prev="ab" * 32))
    assert chain.verify_first(later, chain.head_words(later)).version == 7


def test_T21_another_head_is_refused():
    refused(Reason.WRONG_HEAD, chain.verify_first, signed_trust(FIRST), sha(following()))
    refused(Reason.WRONG_HEAD, chain.verify_first, signed_trust(FIRST), chain.head_words(signed_trust(following())))
    with pytest.raises(MalformedKeyError):
        chain.verify_first(signed_trust(FIRST), "no words at all")


def test_the_next_document():
    assert chain.verify_next(FIRST, FIRST_SHA, signed_trust(following())) == following()


def test_T1_unsigned_or_by_others():
    for signers in (("eve", "root-maria"), ("maria", "lena"), ("root-maria",)):
        refused(Reason.THRESHOLD, chain.verify_next, FIRST, FIRST_SHA, signed_trust(following(), *signers))
        first = signed_trust(FIRST, *signers)
        refused(Reason.THRESHOLD, chain.verify_first, first, chain.head_sha256(first))


def test_T2_one_signer_too_few():
    refused(Reason.THRESHOLD, chain.verify_next, FIRST, FIRST_SHA, signed_trust(following(), "root-lena"))


def test_T3_one_key_twice_is_one():
    twice = signed_trust(following(), "root-maria", "root-maria")
    refused(Reason.THRESHOLD, chain.verify_next, FIRST, FIRST_SHA, twice)


def test_T5_one_person_with_two_keys_is_one():
    root = Root(2, (root_key("maria"), root_key("maria", "root-maria-2"), root_key("lena")))
    first = signed_trust(trust(root=root), "root-maria", "root-maria-2")
    assert chain.root_signers(first, root) == {"maria"}
    refused(Reason.THRESHOLD, chain.verify_first, first, chain.head_sha256(first))


@pytest.mark.parametrize("threshold", [0, 3, 4, -1])
def test_T6_thresholds_that_cannot_be(threshold):
    root = Root(threshold, (root_key("maria"), root_key("lena"), root_key("maria", "root-maria-2")))
    assert "threshold" in invalid(root=root)


def test_T7_T12_versions_are_not_skipped():
    for version in (3, limits.SECONDS_MAX):
        refused(
            Reason.VERSION_SKIPPED,
            chain.verify_next,
            FIRST,
            FIRST_SHA,
            signed_trust(trust(version=version, prev=FIRST_SHA)),
        )


def test_T8_another_document_of_the_same_version_is_a_fork():
    refused(Reason.FORKED, chain.verify_next, FIRST, FIRST_SHA, signed_trust(trust(expires=NOW + DAY)))
    refused(Reason.VERSION_OLD, chain.verify_next, FIRST, FIRST_SHA, signed_trust(FIRST))


def test_T9_no_way_back():
    second = following()
    refused(Reason.VERSION_OLD, chain.verify_next, second, sha(second), signed_trust(FIRST))


def test_T10_old_and_new_root_must_both_sign():
    document = following(root=Root(2, (root_key("lena"), root_key("joseph", "new-1"), root_key("maria", "new-2"))))
    only_old = signed_trust(document, "root-maria", "root-lena")
    assert "new root" in refused(Reason.THRESHOLD, chain.verify_next, FIRST, FIRST_SHA, only_old)
    only_new = signed_trust(document, "new-1", "new-2")
    assert "current root" in refused(Reason.THRESHOLD, chain.verify_next, FIRST, FIRST_SHA, only_new)
    both = signed_trust(document, "root-maria", "root-lena", "new-1")
    assert chain.verify_next(FIRST, FIRST_SHA, both) == document


def test_T11_expiry_is_judged_at_one_given_time():
    chain.verify_not_expired(FIRST, FIRST.expires)
    refused(Reason.TRUST_EXPIRED, chain.verify_not_expired, FIRST, FIRST.expires + 1)


def test_an_expired_document_is_still_followed():
    old = trust(issued=NOW - 60 * DAY, expires=NOW - DAY)
    assert chain.verify_next(old, sha(old), signed_trust(trust(version=2, prev=sha(old)))).version == 2


def test_T13_small_order_keys_are_refused_everywhere():
    bad = "01" + "00" * 31
    key_list = (PersonKey("ed25519", bad),)
    assert "prime order" in invalid(people=(*FIRST.people, Person("eve", (), (), False, key_list)))
    assert "prime order" in invalid(services=(ServiceAccount("s", key_list),))
    assert "prime order" in invalid(root=Root(2, (*FIRST.root.keys, dataclasses.replace(root_key("lena"), pub=bad))))
    agent = dataclasses.replace(FIRST.agents[0], plan_key=bad)
    assert "prime order" in invalid(agents=(agent,))
    agent = dataclasses.replace(FIRST.agents[0], log_key=checkpoint.encode_vkey("o", bytes.fromhex(bad)))
    assert "prime order" in invalid(agents=(agent,))
    witness = Witness("w", (checkpoint.encode_witness_vkey("w", bytes.fromhex(bad)),), WitnessOperator.OWN)
    assert "prime order" in invalid(witnesses=(witness,))


def test_T14_a_webauthn_key_is_no_ed25519_key():
    same = PersonKey("webauthn", key("maria-web").public.hex())
    people = (dataclasses.replace(FIRST.people[0], keys=(*FIRST.people[0].keys, same)), *FIRST.people[1:])
    chain.check_document(trust(people=people), None)
    assert key("maria-web").public not in trust(people=people).people_by_key()


def test_T15_prev_must_be_ours():
    refused(Reason.WRONG_PREVIOUS, chain.verify_next, FIRST, FIRST_SHA, signed_trust(trust(version=2, prev="ab" * 32)))


def test_another_chain():
    refused(Reason.WRONG_TRUST, chain.verify_next, FIRST, FIRST_SHA, signed_trust(following(trust_id="99" * 16)))


def test_T16_T17_T22_signed_but_not_understood():
    for payload, error in ((b"[]", MalformedStatementError), (b'{"crit":["later"]}', NotUnderstoodError)):
        signed = envelope.sign(statements.payload_type(type(FIRST)), payload, [key("root-maria"), key("root-lena")])
        with pytest.raises(error):
            chain.verify_next(FIRST, FIRST_SHA, signed)


def test_E4_a_plan_is_no_trust_document():
    signed = statements.sign(plan(), [key("root-maria"), key("root-lena")])
    refused(Reason.WRONG_TYPE, chain.verify_next, FIRST, FIRST_SHA, signed)
    refused(Reason.WRONG_TYPE, chain.verify_first, signed, FIRST_SHA)


def crowd(n, keys=1):
    return (*FIRST.people, *(person(f"p{i}", Role.APPROVER, keys=keys) for i in range(n - len(FIRST.people))))


def test_T18_removing_works_over_the_limit(monkeypatch):
    monkeypatch.setattr(limits, "PEOPLE_MAX", 7)
    monkeypatch.setattr(limits, "KEYS_MAX", 2)
    assert "at most 7 people" in invalid(people=crowd(9))
    over = trust(people=crowd(9))
    chain.check_document(trust(people=crowd(8)), over)
    chain.check_document(trust(people=crowd(9)), over)
    refused(Reason.TRUST_INVALID, chain.check_document, trust(people=crowd(10)), over)
    many, fewer = ((*FIRST.people, person("many", keys=n)) for n in (4, 3))
    assert "many: expected at most 2 keys" in invalid(people=many)
    chain.check_document(trust(people=fewer), trust(people=many))


def test_T19_the_last_root_keys_cannot_be_removed():
    assert "threshold" in invalid(root=Root(1, ()))
    one_person = Root(2, (root_key("maria"), root_key("maria", "root-lena")))
    left = signed_trust(following(root=one_person))
    refused(Reason.THRESHOLD, chain.verify_next, FIRST, FIRST_SHA, left)


def test_documents_that_contradict_themselves():
    agent, maria = FIRST.agents[0], FIRST.people[0]
    other = TrustedAgent("cc" * 16, "south", key("p2").public.hex(), checkpoint.encode_vkey("o2", key("l2").public))
    chain.check_document(trust(agents=(agent, other)), None)
    assert "90 days" in invalid(expires=FIRST.issued + 90 * DAY + 1)
    assert "90 days" in invalid(expires=FIRST.issued)
    assert "prev" in invalid(prev="ab" * 32)
    assert "prev" in invalid(version=2, prev=ZEROS)
    assert "unknown" in invalid(people=(*FIRST.people, person("unknown")))
    assert "handle maria is there twice" in invalid(people=(*FIRST.people, Person("maria", (), (), False, ())))
    assert "handle billing is there twice" in invalid(people=(*FIRST.people, Person("billing", (), (), False, ())))
    assert "agent" in invalid(agents=(agent, dataclasses.replace(other, agent=AGENT)))
    assert "agent handle" in invalid(agents=(agent, dataclasses.replace(other, handle="north")))
    assert "vkey" in invalid(agents=(dataclasses.replace(agent, log_key="a+b+c"),))
    assert "policy class low" in invalid(policy=(*preset(), preset()[1]))
    witness = Witness("w", (checkpoint.encode_witness_vkey("w", key("w").public),), WitnessOperator.OWN)
    chain.check_document(trust(witnesses=(witness,), quorum=Quorum(1, 1)), None)
    assert "witness" in invalid(witnesses=(witness, witness))
    assert "vkey" in invalid(witnesses=(Witness("w", (agent.log_key,), WitnessOperator.OWN),))
    for operator, quorum in (
        (WitnessOperator.OWN, Quorum(2, 1)),
        (WitnessOperator.CLOUD, Quorum(1, 1)),
        (WitnessOperator.OWN, Quorum(0, 1)),
    ):
        assert "quorum" in invalid(witnesses=(dataclasses.replace(witness, operated_by=operator),), quorum=quorum)
    assert "quorum" in invalid(witnesses=(Witness("w", (), WitnessOperator.OWN),), quorum=Quorum(1, 0))
    assert "scope" in invalid(people=(dataclasses.replace(maria, scope=("north",)), *FIRST.people[1:]))
    assert "scope" in invalid(people=(dataclasses.replace(maria, scope=("g" * 32,)), *FIRST.people[1:]))
    assert "none of the people" in invalid(root=Root(2, (*FIRST.root.keys, root_key("eve"))))


def test_T4_no_key_belongs_to_two():
    maria = PersonKey("ed25519", key("maria").public.hex())
    assert "twice" in invalid(people=(*FIRST.people, Person("eve", (), (), False, (maria,))))
    assert "twice" in invalid(services=(ServiceAccount("s", (maria,)),))
    assert "twice" in invalid(agents=(dataclasses.replace(FIRST.agents[0], plan_key=maria.pub),))
    witness_key = checkpoint.encode_witness_vkey("w", key("maria").public)
    assert "twice" in invalid(witnesses=(Witness("w", (witness_key,), WitnessOperator.OWN),))
    same = [checkpoint.encode_witness_vkey(name, key("w").public) for name in ("w", "v")]
    two = tuple(Witness(f"w{n}", (vkey,), WitnessOperator.OWN) for n, vkey in enumerate(same))
    assert "twice" in invalid(witnesses=two)
    log_as_plan = checkpoint.parse_vkey_untrusted(FIRST.agents[0].log_key).public.hex()
    assert "twice" in invalid(agents=(dataclasses.replace(FIRST.agents[0], plan_key=log_as_plan),))
    assert "twice" in invalid(root=Root(2, (*FIRST.root.keys, root_key("lena", "root-maria"))))
    assert "also belongs to joseph" in invalid(root=Root(2, (*FIRST.root.keys, root_key("maria", "joseph"))))
    # a person may sign for the root with their everyday key: people are counted
    chain.check_document(trust(root=Root(2, (root_key("maria", "maria"), root_key("lena", "lena")))), None)
