"""The database, version by version. Migrations only go forward.

The triggers hold, in spite of any code above: events are append-only; an item's state changes only along
`machine.TRANSITIONS`, and only together with the event row that says so.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

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

V18 = """
-- Accounts as billing sources tell them. `read_s`: the latest moment of which the word can be.
CREATE TABLE account (
    source TEXT NOT NULL, key TEXT NOT NULL, subscriber TEXT NOT NULL, currency TEXT NOT NULL, balance TEXT NOT NULL,
    invoices TEXT NOT NULL, as_of_s REAL NOT NULL, credit TEXT NOT NULL, promise_until TEXT NOT NULL,
    hold_until_s REAL NOT NULL, exempt TEXT NOT NULL, own_grace_days INTEGER, own_minimum TEXT, read_s REAL NOT NULL,
    author TEXT NOT NULL, PRIMARY KEY (source, key)
) WITHOUT ROWID;
CREATE INDEX account_subscriber ON account (source, subscriber);
-- Payments, each once for a source and its id. `settled_s` 0: not settled. `subscriber` '': not matched.
CREATE TABLE payment (
    source TEXT NOT NULL, id TEXT NOT NULL, told TEXT NOT NULL, provider_reference TEXT NOT NULL, state TEXT NOT NULL,
    learned_s REAL NOT NULL, settled_s REAL NOT NULL, subscriber TEXT NOT NULL, matched_by TEXT NOT NULL,
    PRIMARY KEY (source, id)
) WITHOUT ROWID;
CREATE INDEX payment_subscriber ON payment (subscriber);
CREATE INDEX payment_provider ON payment (provider_reference) WHERE provider_reference <> '';
-- How far each source counts.
CREATE TABLE billing_source (
    source TEXT PRIMARY KEY, state TEXT NOT NULL, detail TEXT NOT NULL, since_s REAL NOT NULL, read_s REAL NOT NULL,
    tried_s REAL NOT NULL, accounts INTEGER NOT NULL, overdue INTEGER NOT NULL
) WITHOUT ROWID;
-- Webhooks that were answered. `done_s` NULL: what they rang for was not read yet.
CREATE TABLE heard (
    source TEXT NOT NULL, event_id TEXT NOT NULL, at_s REAL NOT NULL, kind TEXT NOT NULL, accounts TEXT NOT NULL,
    payment_ids TEXT NOT NULL, payment TEXT, test INTEGER NOT NULL, done_s REAL, UNIQUE (source, event_id)
);
CREATE INDEX heard_open ON heard (at_s) WHERE done_s IS NULL;
-- When the account was looked at last before the reason was recorded. NULL: when it was recorded.
ALTER TABLE reason ADD COLUMN looked_s REAL;
"""

V19 = """
-- The event of the approved plan that accepted a CPE for its service; 0: none did, and no secret goes into it.
-- Acceptances of older versions were one person's word: they do not count.
ALTER TABLE cpe ADD COLUMN assured INTEGER NOT NULL DEFAULT 0;
-- Whether the CPE proved its name by a certificate of its own when it called in last.
ALTER TABLE cpe ADD COLUMN certified INTEGER NOT NULL DEFAULT 0;
"""

V20 = """
-- Since when each source is known: a payment from before is no news.
CREATE TABLE source_began (source TEXT PRIMARY KEY, at_s REAL NOT NULL) WITHOUT ROWID;
ALTER TABLE payment ADD COLUMN paid_last_s REAL NOT NULL DEFAULT 0;
UPDATE payment SET paid_last_s = json_extract(told, '$[5][1]');
-- A fact becomes an account with one invoice, and a payment. Of a day whose zone is not known the later end counts for
-- what is due, and the earlier one for what the export can have seen. Facts with a date that SQLite cannot read are
-- dropped: the file is read again at the start.
CREATE TEMP TABLE told AS SELECT subscriber, balance, author, read_s,
    CASE source WHEN 'billing' THEN 'file' ELSE 'import' END AS source, as_of, paid_at, due,
    CASE WHEN length(as_of) > 10 AND as_of GLOB '*[+-][0-9][0-9][0-9][0-9]'
        THEN substr(upper(as_of), 1, length(as_of) - 2) || ':' || substr(as_of, -2) ELSE upper(as_of) END AS as_of_at,
    CASE WHEN length(paid_at) > 10 AND paid_at GLOB '*[+-][0-9][0-9][0-9][0-9]'
        THEN substr(upper(paid_at), 1, length(paid_at) - 2) || ':' || substr(paid_at, -2)
        ELSE upper(paid_at) END AS paid_moment,
    CASE WHEN length(due) > 10 AND due GLOB '*[+-][0-9][0-9][0-9][0-9]'
        THEN substr(upper(due), 1, length(due) - 2) || ':' || substr(due, -2) ELSE upper(due) END AS due_at
FROM fact;
INSERT INTO account (source, key, subscriber, currency, balance, invoices, as_of_s, credit, promise_until, hold_until_s,
    exempt, own_grace_days, own_minimum, read_s, author)
SELECT source, subscriber, subscriber, '', balance,
    CASE WHEN CAST(balance AS REAL) <= 0 THEN '[]' ELSE json_array(json_array('', CASE
        WHEN length(due) <= 10 THEN due ELSE max(substr(due, 1, 10), date(due_at, '+14 hours')) END, balance)) END,
    CAST(strftime('%s', as_of_at, iif(length(as_of) = 10, '-14 hours', '+0 hours')) AS INTEGER),
    '0', '', 0, '', NULL, NULL,
    CASE WHEN length(as_of) = 10 THEN min(read_s, CAST(strftime('%s', as_of, '+36 hours') AS INTEGER) - 1)
        ELSE CAST(strftime('%s', as_of_at) AS INTEGER) END,
    author
FROM told WHERE strftime('%s', as_of_at) IS NOT NULL AND (due = '' OR strftime('%s', due_at) IS NOT NULL);
CREATE TEMP TABLE paid AS SELECT source, subscriber, read_s, subscriber || ' ' || paid_at AS id,
    substr(paid_at, 1, 10) AS day,
    CAST(strftime('%s', paid_moment, iif(length(paid_at) = 10, '-14 hours', '+0 hours')) AS INTEGER) AS first_s,
    CAST(strftime('%s', paid_moment, iif(length(paid_at) = 10, '+36 hours', '+0 hours')) AS INTEGER)
        - (length(paid_at) = 10) AS last_s
FROM told WHERE paid_at <> '' AND strftime('%s', paid_moment) IS NOT NULL;
INSERT INTO payment (source, id, told, provider_reference, state, learned_s, settled_s, subscriber, matched_by,
    paid_last_s)
SELECT source, id, json_array(id, subscriber, subscriber, '0', '', json_array(first_s, last_s, day), 'settled',
    json_array(), ''), '', 'settled', min(read_s, first_s), min(read_s, first_s), subscriber, 'source', last_s
FROM paid;
INSERT INTO source_began SELECT DISTINCT source, CAST(strftime('%s', 'now') AS INTEGER) FROM told;
DROP TABLE told;
DROP TABLE paid;
DROP TABLE fact;
"""

V21 = """
-- Polled values are series of a store of their own.
DROP TABLE sample;
-- Devices as they were read last, their parts, and what they hear around them.
CREATE TABLE line_device (
    target TEXT PRIMARY KEY, profile TEXT NOT NULL, identity TEXT NOT NULL, hardware TEXT NOT NULL,
    version TEXT NOT NULL, serial TEXT NOT NULL, object_id TEXT NOT NULL, read_s INTEGER NOT NULL,
    every_s REAL NOT NULL, booted_s INTEGER NOT NULL, boots INTEGER, unread_s INTEGER NOT NULL,
    answers INTEGER NOT NULL, why TEXT NOT NULL, fails INTEGER NOT NULL, macs_s INTEGER NOT NULL,
    restarts TEXT NOT NULL, replaced_s INTEGER NOT NULL, replaced TEXT NOT NULL, not_read TEXT NOT NULL
) WITHOUT ROWID;
-- seen_s 0: it was in the last reading of its device.
CREATE TABLE line_part (
    target TEXT NOT NULL, key TEXT NOT NULL, kind TEXT NOT NULL, name TEXT NOT NULL, alias TEXT NOT NULL,
    state TEXT NOT NULL, told TEXT NOT NULL, since_s INTEGER NOT NULL, since_how TEXT NOT NULL, how TEXT NOT NULL,
    event_s INTEGER NOT NULL, seen_s INTEGER NOT NULL, gone INTEGER NOT NULL, mac TEXT NOT NULL, serial TEXT NOT NULL,
    parent TEXT NOT NULL, idx INTEGER, measures TEXT NOT NULL, usual TEXT NOT NULL, before TEXT NOT NULL,
    before_s INTEGER NOT NULL, errors TEXT NOT NULL, facts TEXT NOT NULL, changes TEXT NOT NULL,
    PRIMARY KEY (target, key)
) WITHOUT ROWID;
CREATE INDEX line_part_serial ON line_part (serial COLLATE NOCASE) WHERE serial <> '';
CREATE INDEX line_part_mac ON line_part (mac) WHERE mac <> '';
CREATE TABLE line_mac (
    mac TEXT NOT NULL, target TEXT NOT NULL, part TEXT NOT NULL, vlan INTEGER NOT NULL, address TEXT NOT NULL,
    seen_s INTEGER NOT NULL, PRIMARY KEY (target, part, mac, vlan)
) WITHOUT ROWID;
CREATE INDEX line_mac_mac ON line_mac (mac);
CREATE INDEX line_mac_address ON line_mac (address) WHERE address <> '';
CREATE TABLE line_neighbor (
    target TEXT NOT NULL, port TEXT NOT NULL, identity TEXT NOT NULL, address TEXT NOT NULL, mac TEXT NOT NULL,
    platform TEXT NOT NULL, remote_port TEXT NOT NULL, interface TEXT NOT NULL, seen_s INTEGER NOT NULL,
    PRIMARY KEY (target, port, identity, mac)
) WITHOUT ROWID;
-- The newest notifications of each device: a ring of slots.
CREATE TABLE line_event (
    target TEXT NOT NULL, slot INTEGER NOT NULL, once TEXT NOT NULL, kind TEXT NOT NULL, heard_s INTEGER NOT NULL,
    part TEXT NOT NULL, told TEXT NOT NULL, authenticated INTEGER NOT NULL, PRIMARY KEY (target, slot)
) WITHOUT ROWID;
CREATE UNIQUE INDEX line_event_once ON line_event (target, once);
CREATE TABLE line_event_count (target TEXT PRIMARY KEY, events INTEGER NOT NULL) WITHOUT ROWID;
-- MAC addresses of a service's CPE, as its sessions showed them: they outlast the session, and end with the service.
CREATE TABLE service_mac (
    service TEXT NOT NULL, mac TEXT NOT NULL, how TEXT NOT NULL, seen_s INTEGER NOT NULL, PRIMARY KEY (service, mac)
) WITHOUT ROWID;
CREATE TRIGGER service_mac_gone AFTER DELETE ON service BEGIN DELETE FROM service_mac WHERE service = OLD.ref; END;
"""

V22 = """
-- Since when a part's level is far below its usual one; 0: it is not.
ALTER TABLE line_part ADD COLUMN fades_s INTEGER NOT NULL DEFAULT 0;
"""

V23 = """
-- Readings that another system made of a device, and which one counts where several know the same device.
ALTER TABLE line_device ADD COLUMN source TEXT NOT NULL DEFAULT '';
ALTER TABLE line_device ADD COLUMN places TEXT NOT NULL DEFAULT '';
ALTER TABLE line_device ADD COLUMN hidden_by TEXT NOT NULL DEFAULT '';
CREATE INDEX line_device_hidden ON line_device (hidden_by) WHERE hidden_by <> '';
CREATE VIEW shown_device AS SELECT * FROM line_device WHERE hidden_by = '';
CREATE VIEW shown_part AS
    SELECT * FROM line_part WHERE NOT EXISTS
    (SELECT 1 FROM line_device WHERE line_device.target = line_part.target AND hidden_by <> '');
CREATE VIEW shown_mac AS
    SELECT * FROM line_mac WHERE NOT EXISTS
    (SELECT 1 FROM line_device WHERE line_device.target = line_mac.target AND hidden_by <> '');
CREATE VIEW shown_neighbor AS
    SELECT * FROM line_neighbor WHERE NOT EXISTS
    (SELECT 1 FROM line_device WHERE line_device.target = line_neighbor.target AND hidden_by <> '');
"""

V24 = """
-- The part of a device, such as a port, that an item without a service is about.
ALTER TABLE item ADD COLUMN part TEXT;
"""

V25 = """
-- The starts of plans (`LeafKind.CONSUMED`) by their times: budgets count those of the last hour.
CREATE INDEX event_consumed ON event (at_s) WHERE kind = 14;
"""

V26 = """
-- Items and steps as tables with a rowid. In one without, SQLite keeps the end of each row of more than 1,002 bytes in
-- a page of its own. An item's document is longer, so that each move of an item wrote its two pages anew.
CREATE TABLE item_with_rowid (
    plan_id BLOB NOT NULL REFERENCES plan,
    n INTEGER NOT NULL,
    doc BLOB NOT NULL,
    subject BLOB,
    service TEXT,
    state TEXT NOT NULL,
    state_seq INTEGER NOT NULL REFERENCES event,
    reason TEXT NOT NULL DEFAULT '',
    detail TEXT NOT NULL DEFAULT '',
    leaf BLOB,
    part TEXT,
    PRIMARY KEY (plan_id, n)
);
INSERT INTO item_with_rowid SELECT
    plan_id, n, doc, subject, service, state, state_seq, reason, detail, leaf, part FROM item;
CREATE TABLE step_with_rowid (
    plan_id BLOB NOT NULL, item INTEGER NOT NULL, n INTEGER NOT NULL, direction TEXT NOT NULL, attempt INTEGER NOT NULL,
    about_seq INTEGER NOT NULL REFERENCES event,
    do BLOB NOT NULL,
    bound BLOB NOT NULL,
    outcome_seq INTEGER REFERENCES event,
    verdict TEXT, reason TEXT, detail TEXT,
    PRIMARY KEY (plan_id, item, n, direction, attempt),
    FOREIGN KEY (plan_id, item) REFERENCES item_with_rowid (plan_id, n)
);
INSERT INTO step_with_rowid SELECT
    plan_id, item, n, direction, attempt, about_seq, do, bound, outcome_seq, verdict, reason, detail FROM step;
DROP TABLE step;
DROP TABLE item;
ALTER TABLE item_with_rowid RENAME TO item;
ALTER TABLE step_with_rowid RENAME TO step;
-- Without the state, by which a row of the index moved each time: a service has few items.
CREATE INDEX item_service ON item (service);
CREATE INDEX item_later ON item (plan_id, n) WHERE state IN ('set-at-next-login', 'set-not-enforced');
CREATE TRIGGER item_way BEFORE UPDATE OF state ON item
WHEN NOT EXISTS (SELECT 1 FROM transition WHERE old = OLD.state AND new = NEW.state)
BEGIN SELECT RAISE(ABORT, 'no such way between item states'); END;
CREATE TRIGGER item_event BEFORE UPDATE OF state ON item
WHEN NEW.state_seq <= OLD.state_seq OR NOT EXISTS (
    SELECT 1 FROM event WHERE seq = NEW.state_seq AND plan = NEW.plan_id AND item = NEW.n)
BEGIN SELECT RAISE(ABORT, 'an item state needs its event'); END;
CREATE INDEX step_in_doubt ON step (plan_id) WHERE outcome_seq IS NULL;
CREATE TRIGGER step_once BEFORE UPDATE OF outcome_seq ON step WHEN OLD.outcome_seq IS NOT NULL
BEGIN SELECT RAISE(ABORT, 'a ticket is used once'); END;
"""

V27 = """
-- The CommandKey of a CPE's last `M Reboot` event: it tells of which Reboot a boot is that is told again.
ALTER TABLE cpe ADD COLUMN reboot_key TEXT NOT NULL DEFAULT '';
"""

MIGRATIONS: tuple[str, ...] = (
    V1,
    V2,
    V3,
    V4,
    V5,
    V6,
    V7,
    V8,
    V9,
    V10,
    V11,
    V12,
    V13,
    V14,
    V15,
    V16,
    V17,
    V18,
    V19,
    V20,
    V21,
    V22,
    V23,
    V24,
    V25,
    V26,
    V27,
)
"""Migration `i` takes version `i` to `i + 1`. A landed one is never edited."""

WRITERS_FROM: Final = 21
"""The oldest version with a program that may write to the newest one (ADR 41).

A migration that only adds (a table, a column with a default, an index), or stores the same columns in another way,
leaves it as it is; any other raises it.
"""


def transition_rows(pairs: Iterable[tuple[str, str]]) -> list[tuple[str, str]]:
    """Return the rows of the `transition` table, made anew at each start from the machine's own table."""
    return sorted(set(pairs))
