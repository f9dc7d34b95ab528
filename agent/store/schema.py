"""The database, version by version. Migrations only go forward; a newer database than this code is refused.

What the triggers hold, whatever the code above does: events are append-only; an item's state changes only along
`machine.TRANSITIONS`, and only together with the event row that says so.
"""

from __future__ import annotations

from collections.abc import Iterable

V1 = """
CREATE TABLE meta (key TEXT PRIMARY KEY, value BLOB NOT NULL) WITHOUT ROWID;

-- The event row is the leaf row: seq is the leaf's index + 1.
CREATE TABLE event (
    seq INTEGER PRIMARY KEY,
    kind INTEGER NOT NULL,
    at_s INTEGER NOT NULL,
    plan BLOB,
    item INTEGER NOT NULL,
    step INTEGER NOT NULL,
    code INTEGER NOT NULL,
    leaf BLOB NOT NULL,
    subject BLOB,
    record BLOB
);
CREATE INDEX event_plan ON event (plan, seq) WHERE plan IS NOT NULL;
CREATE TRIGGER event_keep BEFORE DELETE ON event BEGIN SELECT RAISE(ABORT, 'events are append-only'); END;
CREATE TRIGGER event_fixed BEFORE UPDATE OF seq, kind, at_s, plan, item, step, code, leaf, subject ON event
BEGIN SELECT RAISE(ABORT, 'events are append-only'); END;
CREATE TABLE node (level INTEGER, idx INTEGER, hash BLOB NOT NULL, PRIMARY KEY (level, idx)) WITHOUT ROWID;
CREATE TABLE checkpoint (size INTEGER PRIMARY KEY, note BLOB NOT NULL, at_s INTEGER NOT NULL);

CREATE TABLE trust (
    version INTEGER PRIMARY KEY, sha256 BLOB NOT NULL, envelope BLOB NOT NULL,
    seq INTEGER NOT NULL REFERENCES event
);

CREATE TABLE intent (
    intent_id BLOB PRIMARY KEY, digest BLOB NOT NULL, requester TEXT NOT NULL, envelope BLOB,
    seq INTEGER NOT NULL REFERENCES event
) WITHOUT ROWID;

CREATE TABLE plan (
    plan_id BLOB PRIMARY KEY,
    short TEXT NOT NULL UNIQUE,
    digest BLOB NOT NULL UNIQUE,
    envelope BLOB NOT NULL,
    intent_id BLOB NOT NULL REFERENCES intent,
    action TEXT NOT NULL,
    risk TEXT NOT NULL,
    reason TEXT NOT NULL,
    requester TEXT NOT NULL,
    made_s INTEGER NOT NULL,
    start_by_s INTEGER NOT NULL,
    run_until_s INTEGER NOT NULL,
    boot_id TEXT NOT NULL,
    start_by_boot REAL NOT NULL,
    run_until_boot REAL NOT NULL,
    reverts BLOB REFERENCES plan,
    head BLOB NOT NULL,
    hold INTEGER NOT NULL,
    gate TEXT NOT NULL,
    gate_seq INTEGER NOT NULL REFERENCES event,
    consumed_seq INTEGER UNIQUE REFERENCES event,
    finished_seq INTEGER REFERENCES event,
    outcome BLOB
) WITHOUT ROWID;
CREATE TRIGGER plan_once BEFORE UPDATE OF consumed_seq ON plan WHEN OLD.consumed_seq IS NOT NULL
BEGIN SELECT RAISE(ABORT, 'a plan is consumed once'); END;

CREATE TABLE item (
    plan_id BLOB NOT NULL REFERENCES plan,
    n INTEGER NOT NULL,
    doc BLOB NOT NULL,
    subject BLOB,
    service TEXT,
    state TEXT NOT NULL,
    state_seq INTEGER NOT NULL REFERENCES event,
    reason TEXT NOT NULL DEFAULT '',
    detail TEXT NOT NULL DEFAULT '',
    PRIMARY KEY (plan_id, n)
) WITHOUT ROWID;
CREATE INDEX item_service ON item (service, state);
CREATE TABLE transition (old TEXT NOT NULL, new TEXT NOT NULL, PRIMARY KEY (old, new)) WITHOUT ROWID;
CREATE TRIGGER item_way BEFORE UPDATE OF state ON item
WHEN NOT EXISTS (SELECT 1 FROM transition WHERE old = OLD.state AND new = NEW.state)
BEGIN SELECT RAISE(ABORT, 'no such way between item states'); END;
CREATE TRIGGER item_event BEFORE UPDATE OF state ON item
WHEN NEW.state_seq <= OLD.state_seq OR NOT EXISTS (
    SELECT 1 FROM event WHERE seq = NEW.state_seq AND plan = NEW.plan_id AND item = NEW.n)
BEGIN SELECT RAISE(ABORT, 'an item state needs its event'); END;

CREATE TABLE step (
    plan_id BLOB NOT NULL, item INTEGER NOT NULL, n INTEGER NOT NULL, direction TEXT NOT NULL, attempt INTEGER NOT NULL,
    about_seq INTEGER NOT NULL REFERENCES event,
    do BLOB NOT NULL,
    bound BLOB NOT NULL,
    outcome_seq INTEGER REFERENCES event,
    verdict TEXT, reason TEXT, detail TEXT,
    PRIMARY KEY (plan_id, item, n, direction, attempt),
    FOREIGN KEY (plan_id, item) REFERENCES item (plan_id, n)
) WITHOUT ROWID;
CREATE INDEX step_in_doubt ON step (plan_id) WHERE outcome_seq IS NULL;
CREATE TRIGGER step_once BEFORE UPDATE OF outcome_seq ON step WHEN OLD.outcome_seq IS NOT NULL
BEGIN SELECT RAISE(ABORT, 'a ticket is used once'); END;

CREATE TABLE approval (
    plan_id BLOB NOT NULL REFERENCES plan, person TEXT NOT NULL, key TEXT NOT NULL, decision TEXT NOT NULL,
    envelope BLOB NOT NULL,
    seq INTEGER NOT NULL REFERENCES event,
    PRIMARY KEY (plan_id, person)
) WITHOUT ROWID;
CREATE TABLE address_lock (address TEXT PRIMARY KEY, plan_id BLOB NOT NULL, item INTEGER NOT NULL) WITHOUT ROWID;
CREATE TABLE freeze (
    freeze_id BLOB PRIMARY KEY, digest BLOB NOT NULL, scope TEXT NOT NULL, target TEXT NOT NULL, person TEXT NOT NULL,
    expires_s INTEGER, envelope BLOB NOT NULL, seq INTEGER NOT NULL REFERENCES event,
    lifted_seq INTEGER REFERENCES event,
    lifted_by BLOB
) WITHOUT ROWID;
CREATE TABLE cancelled (plan_digest BLOB PRIMARY KEY, envelope BLOB NOT NULL, seq INTEGER NOT NULL REFERENCES event)
WITHOUT ROWID;
CREATE TABLE outbox (id INTEGER PRIMARY KEY, kind TEXT NOT NULL, body BLOB NOT NULL, seq INTEGER REFERENCES event);

CREATE TABLE service (
    ref TEXT PRIMARY KEY, subscriber TEXT NOT NULL, name TEXT NOT NULL, service TEXT NOT NULL, login TEXT NOT NULL,
    method TEXT NOT NULL, tariff TEXT NOT NULL, protected TEXT NOT NULL, feeds INTEGER NOT NULL, extra TEXT NOT NULL
) WITHOUT ROWID;
CREATE INDEX service_subscriber ON service (subscriber);
CREATE INDEX service_login ON service (login);
CREATE TABLE reason (
    service TEXT NOT NULL, reason TEXT NOT NULL, plan_id BLOB, seq INTEGER NOT NULL REFERENCES event,
    PRIMARY KEY (service, reason)
) WITHOUT ROWID;
CREATE TABLE fact (
    subscriber TEXT PRIMARY KEY, balance TEXT NOT NULL, due TEXT NOT NULL, paid_at TEXT NOT NULL, as_of TEXT NOT NULL,
    read_s INTEGER NOT NULL
) WITHOUT ROWID;
CREATE TABLE secret (name TEXT PRIMARY KEY, sealed BLOB NOT NULL, seq INTEGER NOT NULL REFERENCES event) WITHOUT ROWID;
"""

V2 = """
-- Nothing of version 1's outbox was ever sent to anybody.
DROP TABLE outbox;
CREATE TABLE outbox (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    ref BLOB NOT NULL UNIQUE, kind TEXT NOT NULL, body BLOB NOT NULL, answers BLOB NOT NULL, last INTEGER NOT NULL,
    witness BLOB NOT NULL, expires_s INTEGER
);
-- A handled message keeps its ref: the same one may come again.
CREATE TABLE inbox (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    ref BLOB NOT NULL UNIQUE, kind TEXT NOT NULL, body BLOB NOT NULL, links BLOB NOT NULL, witness BLOB NOT NULL,
    at_s INTEGER NOT NULL, done_s INTEGER
);
CREATE INDEX inbox_waiting ON inbox (id) WHERE done_s IS NULL;
CREATE INDEX inbox_done ON inbox (done_s) WHERE done_s IS NOT NULL;
-- Requests through the cloud that were refused: what bounds how often somebody may guess.
CREATE TABLE cloud_refusal (requester TEXT NOT NULL, what TEXT NOT NULL, at_s INTEGER NOT NULL);
CREATE INDEX cloud_refusal_at ON cloud_refusal (at_s);
-- Views that were answered, at least until they expire: each is answered once.
CREATE TABLE view (
    view_id BLOB PRIMARY KEY, person TEXT NOT NULL, at_s INTEGER NOT NULL, expires_s INTEGER NOT NULL
) WITHOUT ROWID;

-- What is open or approved is looked for each second, and how much one requester asked for at each intent.
CREATE INDEX plan_gate ON plan (gate);
CREATE INDEX plan_requester ON plan (requester, made_s);
-- What was over before it started, and was not told to the desks yet.
CREATE INDEX plan_untold ON plan (gate) WHERE outcome IS NULL AND consumed_seq IS NULL;
ALTER TABLE approval ADD COLUMN from_cloud INTEGER NOT NULL DEFAULT 0;
CREATE TABLE standing (
    standing_id BLOB PRIMARY KEY, digest BLOB NOT NULL, envelope BLOB NOT NULL, not_after_s INTEGER NOT NULL,
    seq INTEGER NOT NULL REFERENCES event
) WITHOUT ROWID;
CREATE TABLE standing_use (
    plan_id BLOB PRIMARY KEY REFERENCES plan, standing_id BLOB NOT NULL, at_s INTEGER NOT NULL
) WITHOUT ROWID;
CREATE INDEX standing_use_at ON standing_use (standing_id, at_s);
CREATE TABLE witness_seen (
    name TEXT PRIMARY KEY, size INTEGER NOT NULL, note BLOB NOT NULL, line TEXT NOT NULL, at_s INTEGER NOT NULL,
    conflict INTEGER NOT NULL DEFAULT 0
) WITHOUT ROWID;
"""

V3 = """
-- CPE (TR-069). What they say of themselves, and what a person decided.
CREATE TABLE cpe (
    name TEXT PRIMARY KEY, oui TEXT NOT NULL, product_class TEXT NOT NULL, serial TEXT NOT NULL,
    manufacturer TEXT NOT NULL, trust TEXT NOT NULL, why TEXT NOT NULL, root TEXT NOT NULL, software TEXT NOT NULL,
    hardware TEXT NOT NULL, service TEXT NOT NULL, user TEXT NOT NULL, own INTEGER NOT NULL, address TEXT NOT NULL,
    request_url TEXT NOT NULL, udp_address TEXT NOT NULL, events TEXT NOT NULL, first_s INTEGER NOT NULL,
    last_s INTEGER NOT NULL, boots INTEGER NOT NULL, resets INTEGER NOT NULL, reset_until_s INTEGER NOT NULL,
    provisioned INTEGER NOT NULL
) WITHOUT ROWID;
CREATE INDEX cpe_service ON cpe (service) WHERE service <> '';
CREATE INDEX cpe_trust ON cpe (trust);
CREATE INDEX cpe_serial ON cpe (serial);
-- The last known value of each parameter. value NULL: a secret, of which only that it is there is known.
CREATE TABLE cpe_value (
    name TEXT NOT NULL, path TEXT NOT NULL, value TEXT, type TEXT NOT NULL, at_s INTEGER NOT NULL,
    PRIMARY KEY (name, path)
) WITHOUT ROWID;
-- Secrets that changes set, sealed; plans and log have their commitment only.
CREATE TABLE cpe_secret (commitment TEXT PRIMARY KEY, sealed BLOB NOT NULL, at_s INTEGER NOT NULL) WITHOUT ROWID;
CREATE TABLE cpe_secret_set (
    name TEXT NOT NULL, path TEXT NOT NULL, commitment TEXT NOT NULL, PRIMARY KEY (name, path)
) WITHOUT ROWID;
CREATE TABLE cpe_pending (
    name TEXT NOT NULL, key TEXT NOT NULL, secrets TEXT NOT NULL, PRIMARY KEY (name, key)
) WITHOUT ROWID;
-- Whose own user it is, and the commitment of its password.
CREATE TABLE cpe_login (
    user TEXT PRIMARY KEY, name TEXT NOT NULL, commitment TEXT NOT NULL, at_s INTEGER NOT NULL
) WITHOUT ROWID;
CREATE INDEX cpe_login_name ON cpe_login (name);
-- What a model was seen to do, and to fail at: what the matrix is made of.
CREATE TABLE cpe_evidence (
    oui TEXT NOT NULL, product_class TEXT NOT NULL, software TEXT NOT NULL, workflow TEXT NOT NULL,
    worked INTEGER NOT NULL, times INTEGER NOT NULL, last_s INTEGER NOT NULL, detail TEXT NOT NULL,
    PRIMARY KEY (oui, product_class, software, workflow, worked)
) WITHOUT ROWID;
-- What was followed by boots, and is not asked of a CPE again before a person clears it.
CREATE TABLE cpe_breaker (name TEXT PRIMARY KEY, rows TEXT NOT NULL) WITHOUT ROWID;
"""

V4 = """
-- Whether somebody came under its name by what many share, and which entry of the log accepted it.
ALTER TABLE cpe ADD COLUMN claimed INTEGER NOT NULL DEFAULT 0;
ALTER TABLE cpe ADD COLUMN accepted_seq INTEGER NOT NULL DEFAULT 0;
UPDATE cpe SET claimed = 1 WHERE own = 1 AND why LIKE 'it came with credentials that many share%';
-- Whether the CPE was reset since a value was read: it no longer is that.
ALTER TABLE cpe_value ADD COLUMN before_reset INTEGER NOT NULL DEFAULT 0;
-- When all that there is below a path was read: that something is not there, no single value tells.
CREATE TABLE cpe_read (name TEXT NOT NULL, below TEXT NOT NULL, at_s INTEGER NOT NULL, PRIMARY KEY (name, below))
WITHOUT ROWID;
"""

V5 = """
-- Values that connectors polled from their devices; the newest of each name are kept.
CREATE TABLE sample (
    target TEXT NOT NULL, name TEXT NOT NULL, at_s INTEGER NOT NULL, value TEXT NOT NULL,
    PRIMARY KEY (target, name, at_s)
) WITHOUT ROWID;
"""

V6 = """
-- What a service is found by, folded: written with the service, and gone with it.
CREATE TABLE service_key (ref TEXT PRIMARY KEY, keys TEXT NOT NULL) WITHOUT ROWID;
CREATE TRIGGER service_key_gone AFTER DELETE ON service BEGIN DELETE FROM service_key WHERE ref = OLD.ref; END;
-- What was done without a second person, and whether somebody else has looked at it since. verdict '': not yet.
CREATE TABLE review (
    plan_id BLOB PRIMARY KEY REFERENCES plan, opened_seq INTEGER NOT NULL REFERENCES event,
    person TEXT NOT NULL DEFAULT '', verdict TEXT NOT NULL DEFAULT '', envelope BLOB,
    closed_seq INTEGER REFERENCES event
) WITHOUT ROWID;
INSERT INTO review (plan_id, opened_seq) SELECT plan, min(seq) FROM event WHERE kind = 28 GROUP BY plan;
CREATE INDEX review_open ON review (opened_seq) WHERE closed_seq IS NULL;
CREATE INDEX plan_made ON plan (made_s);
"""

V7 = """
-- Items that are judged again after their run, and plans whose later outcome is not told yet.
CREATE INDEX item_later ON item (plan_id, n) WHERE state IN ('set-at-next-login', 'set-not-enforced');
ALTER TABLE plan ADD COLUMN outcome_due INTEGER NOT NULL DEFAULT 0;
CREATE INDEX plan_outcome_due ON plan (plan_id) WHERE outcome_due = 1;
"""

V8 = """
-- Rounds in which the network was compared with the record, and the differences of the last one.
CREATE TABLE drift_round (
    id INTEGER PRIMARY KEY AUTOINCREMENT, began_s INTEGER NOT NULL, ended_s INTEGER NOT NULL,
    services INTEGER NOT NULL, checked INTEGER NOT NULL, differ INTEGER NOT NULL, unread INTEGER NOT NULL,
    busy INTEGER NOT NULL, alarm INTEGER NOT NULL, notes TEXT NOT NULL
);
CREATE TABLE drift (
    subject TEXT NOT NULL, code TEXT NOT NULL, first_s INTEGER NOT NULL, read_s INTEGER NOT NULL, told TEXT NOT NULL,
    PRIMARY KEY (subject, code)
) WITHOUT ROWID;
CREATE TABLE drift_unread (subject TEXT PRIMARY KEY, why TEXT NOT NULL, first_s INTEGER NOT NULL) WITHOUT ROWID;
CREATE TRIGGER drift_gone AFTER DELETE ON service BEGIN
    DELETE FROM drift WHERE subject = OLD.ref;
    DELETE FROM drift_unread WHERE subject = OLD.ref;
END;
"""

V9 = """
-- What was done to a subscriber outside of any change.
CREATE INDEX event_subject ON event (subject, seq) WHERE plan IS NULL;
-- The request of a change, and the change of a request.
CREATE INDEX intent_seq ON intent (seq);
CREATE INDEX plan_intent ON plan (intent_id);
"""

V10 = """
-- The change whose rest a plan asks for anew.
ALTER TABLE plan ADD COLUMN again_of BLOB REFERENCES plan;
CREATE INDEX plan_again ON plan (again_of) WHERE again_of IS NOT NULL;
-- Answers of devices to connectors, which outrank what is read elsewhere; the newest are kept.
CREATE TABLE answer (
    target TEXT NOT NULL, kind TEXT NOT NULL, key TEXT NOT NULL, told TEXT NOT NULL, by TEXT NOT NULL,
    at_s INTEGER NOT NULL, PRIMARY KEY (target, kind, key)
) WITHOUT ROWID;
CREATE INDEX answer_at ON answer (at_s);
"""

V11 = """
-- Words by which people group CPE.
CREATE TABLE cpe_tag (name TEXT NOT NULL, tag TEXT NOT NULL, PRIMARY KEY (name, tag)) WITHOUT ROWID;
"""

V12 = """
-- Earlier values of a few parameters of CPE; the newest of each are kept.
CREATE TABLE cpe_sample (
    name TEXT NOT NULL, path TEXT NOT NULL, at_s INTEGER NOT NULL, value TEXT NOT NULL,
    PRIMARY KEY (name, path, at_s)
) WITHOUT ROWID;
"""

V13 = """
-- The last change of each field of a service's entry: by whom, and how. field 'entry': the service was added.
CREATE TABLE authorship (
    ref TEXT NOT NULL, field TEXT NOT NULL, before TEXT NOT NULL, by TEXT NOT NULL, via TEXT NOT NULL,
    at_s INTEGER NOT NULL, PRIMARY KEY (ref, field)
) WITHOUT ROWID;
-- Where a billing fact is from: 'billing' is the configured source, 'import' a file that `author` imported by hand.
-- Of facts of an older version that is not known: they are no evidence until the configured source is read again.
ALTER TABLE fact ADD COLUMN source TEXT NOT NULL DEFAULT '';
ALTER TABLE fact ADD COLUMN author TEXT NOT NULL DEFAULT '';
"""

V14 = """
-- An address is held by each item that acts on it: two items of one plan may.
CREATE TABLE held_address (
    address TEXT NOT NULL, plan_id BLOB NOT NULL, item INTEGER NOT NULL, PRIMARY KEY (address, plan_id, item)
) WITHOUT ROWID;
INSERT INTO held_address SELECT address, plan_id, item FROM address_lock;
DROP TABLE address_lock;
ALTER TABLE held_address RENAME TO address_lock;
-- Signed intents that were answered with a refusal, until they are out of date: none is answered twice.
CREATE TABLE refused_intent (intent_id BLOB PRIMARY KEY, until_s INTEGER NOT NULL) WITHOUT ROWID;
-- The leaf hash of the item's document: it proves the others of its plan once its subscriber was erased.
ALTER TABLE item ADD COLUMN leaf BLOB;
CREATE INDEX plan_reverts ON plan (reverts) WHERE reverts IS NOT NULL;
-- Which statement was refused: its digest, so that one that comes again and again counts once.
ALTER TABLE cloud_refusal ADD COLUMN digest BLOB NOT NULL DEFAULT x'';
"""

V15 = """
-- Who paused a change, and when; NULL: it is not paused.
ALTER TABLE plan ADD COLUMN paused_by TEXT;
ALTER TABLE plan ADD COLUMN paused_s INTEGER;
CREATE INDEX plan_paused ON plan (plan_id) WHERE paused_by IS NOT NULL;
"""

V16 = """
-- Ways out of a suspension that the round read, beside the parts that it did not check.
ALTER TABLE drift_round ADD COLUMN ways_out TEXT NOT NULL DEFAULT '[]';
"""

V17 = """
-- Signed pauses and resumes that acted, or came while their plan was paused already: none acts twice.
CREATE TABLE pause_statement (digest BLOB PRIMARY KEY, plan_id BLOB NOT NULL, envelope BLOB NOT NULL) WITHOUT ROWID;
"""

MIGRATIONS: tuple[str, ...] = (V1, V2, V3, V4, V5, V6, V7, V8, V9, V10, V11, V12, V13, V14, V15, V16, V17)
"""Migration `i` takes version `i` to `i + 1`. A landed one is never edited."""


def transition_rows(pairs: Iterable[tuple[str, str]]) -> list[tuple[str, str]]:
    """Return the rows of the `transition` table, made anew at each start from the machine's own table."""
    return sorted(set(pairs))
