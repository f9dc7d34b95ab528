#!/usr/bin/env node
// A second verifier of exports, written from docs/spec and not from trust/: one misreading must not pass on both sides.
//
//   verify.js FILE HEAD     prints {"faults": [codes], "part": whether something was left open, ...}
//   verify.js --batch       reads lines {"file": base64, "head": hex}; prints such an answer for each
//
// HEAD is the digest of the first trust document, 64 hex digits. Node.js and nothing else.
"use strict";
const crypto = require("crypto");
const fs = require("fs");

class Bad extends Error {}
const sha256 = (...parts) => {
  const hash = crypto.createHash("sha256");
  for (const part of parts) hash.update(part);
  return hash.digest();
};
const hex = (bytes) => bytes.toString("hex");
const b64 = (text) => Buffer.from(text, "base64");
const need = (holds, what) => {
  if (!holds) throw new Bad(what);
};

// --- Ed25519, DSSE envelopes (docs/spec/envelope.md) ---------------------------------------------------------------

const SPKI = Buffer.from("302a300506032b6570032100", "hex");
const keys = new Map();
const verifySignature = (publicHex, message, signature) => {
  if (!keys.has(publicHex)) {
    const der = Buffer.concat([SPKI, Buffer.from(publicHex, "hex")]);
    keys.set(publicHex, crypto.createPublicKey({ key: der, format: "der", type: "spki" }));
  }
  return signature.length === 64 && crypto.verify(null, message, keys.get(publicHex), signature);
};
const keyId = (publicHex) => hex(sha256(Buffer.from(publicHex, "hex"))).slice(0, 32);

const TYPE = /^application\/vnd\.ispagents\.([a-z]+)\.v0\+json$/;
function openEnvelope(data) {
  const envelope = JSON.parse(data.toString("utf8"));
  const payload = b64(envelope.payload);
  const type = Buffer.from(envelope.payloadType);
  const pae = Buffer.concat([
    Buffer.from(`DSSEv1 ${type.length} `), type, Buffer.from(` ${payload.length} `), payload,
  ]);
  const kind = (TYPE.exec(envelope.payloadType) || [])[1] || "";
  const signatures = envelope.signatures.map((s) => ({ keyid: s.keyid, sig: b64(s.sig) }));
  let body = null;
  try {
    body = JSON.parse(payload.toString("utf8"));
  } catch (err) {
    if (!(err instanceof SyntaxError)) throw err;
  }
  return { kind, pae, body, signatures, digest: hex(sha256(pae)) };
}

// The known keys that signed. A signature that names a known key and is not by it voids the envelope.
function signers(envelope, known) {
  const byId = new Map(known.map((key) => [keyId(key), key]));
  const found = new Set();
  for (const { keyid, sig } of envelope.signatures) {
    const key = byId.get(keyid);
    if (key === undefined) continue;
    need(verifySignature(key, envelope.pae, sig), "bad signature");
    found.add(key);
  }
  return found;
}

const FIELDS = {
  approval: ["trust_id", "plans", "decision", "person", "saw", "not_before", "not_after", "reason_code", "seen"],
  standing: [
    "trust_id", "standing_id", "verb", "person", "scope", "evidence", "rate_per_hour", "not_before", "not_after",
  ],
  pause: ["trust_id", "pause_id", "plan_sha256", "person", "at"],
  resume: ["trust_id", "resume_id", "plan_sha256", "person", "at"],
};
const readable = (envelope) => {
  const fields = FIELDS[envelope.kind] || [];
  return envelope.body !== null && fields.every((name) => name in envelope.body);
};

// --- the log: verifier key, checkpoint, tree (docs/spec/proof-file.md, RFC 9162) -------------------------------------

function parseVkey(text) {
  const [name, id, data] = [text.split("+")[0], text.split("+")[1], text.split("+").slice(2).join("+")];
  const raw = b64(data);
  need(raw.length === 33 && raw[0] === 1, "vkey");
  need(hex(sha256(Buffer.from(`${name}\n`), raw)).slice(0, 8) === id, "vkey's id");
  return { name, id, key: hex(raw.subarray(1)) };
}

function openCheckpoint(note, vkey) {
  const at = note.indexOf("\n\n");
  need(at > 0 && note.endsWith("\n"), "note");
  const text = note.slice(0, at + 1);
  let signed = false;
  for (const line of note.slice(at + 2, -1).split("\n")) {
    const match = /^— (\S+) (\S+)$/.exec(line);
    need(match, "signature line");
    const raw = b64(match[2]);
    if (match[1] !== vkey.name || hex(raw.subarray(0, 4)) !== vkey.id) continue;
    need(verifySignature(vkey.key, Buffer.from(text), raw.subarray(4)), "checkpoint's signature");
    signed = true;
  }
  need(signed, "not signed by the log");
  const lines = text.split("\n");
  need(lines.length === 4 && lines[0] === vkey.name && /^(0|[1-9][0-9]*)$/.test(lines[1]), "checkpoint");
  return { size: Number(lines[1]), root: b64(lines[2]) };
}

const LEAF = Buffer.from([0]);
const NODE = Buffer.from([1]);
const node = (left, right) => sha256(NODE, left, right);

function rootOf(hashes) {
  const stack = []; // [height, hash] of complete subtrees, from left to right
  for (const one of hashes) {
    let [height, top] = [0, one];
    while (stack.length && stack[stack.length - 1][0] === height) {
      top = node(stack.pop()[1], top);
      height += 1;
    }
    stack.push([height, top]);
  }
  let root = stack.length ? stack.pop()[1] : sha256(Buffer.alloc(0));
  while (stack.length) root = node(stack.pop()[1], root);
  return root;
}

function included(hash, index, size, path, root) {
  need(index < size, "index");
  let [fn, sn, r] = [index, size - 1, hash];
  for (const p of path) {
    need(sn !== 0, "proof too long");
    if (fn % 2 === 1 || fn === sn) {
      r = node(p, r);
      while (fn % 2 === 0 && fn !== 0) [fn, sn] = [Math.floor(fn / 2), Math.floor(sn / 2)];
    } else {
      r = node(r, p);
    }
    [fn, sn] = [Math.floor(fn / 2), Math.floor(sn / 2)];
  }
  need(sn === 0 && r.equals(root), "not included");
}

// --- leaves (docs/spec/leaf.md) --------------------------------------------------------------------------------------

const KINDS =
  "start stop trust-installed trust-changed intent plan plan-void approval rejection refused cancel freeze unfreeze consumed about-to step-outcome item-state change-finished desired imported secret-set clock-halt clock-accept disclosed exported erased restored-database review-opened paused resumed config-changed revert-started standing standing-used padding witness-anomaly unwitnessed-start sealkey cpe-decided review-closed".split(
    " ",
  );
const VERDICTS = ["", "applied", "not-applied", "diverged", "unknown"];
const STATES =
  " planned blocked excluded waiting running unknown skipped stale superseded cancelled expired not-applied applied set-at-next-login set-not-enforced diverged reverted needs-a-person accepted".split(
    " ",
  );
const NAMING = new Set(
  "approval rejection cancel freeze unfreeze standing standing-used change-finished review-closed".split(" "),
);
const SIGNED_OR_NOT = new Set(["paused", "resumed"]);
const ZEROS = "00".repeat(32);

function readLeaf(data) {
  need(data.length === 98 && data[0] === 0 && data[49] === 0, "leaf");
  const kind = KINDS[data[1] - 1];
  need(kind !== undefined, "kind");
  return {
    kind,
    minute: data.readUInt32BE(2),
    plan: hex(data.subarray(6, 38)),
    trust: data.readUInt32BE(38),
    item: data.readUInt32BE(42),
    step: data.readUInt16BE(46),
    code: data[48],
    actor: hex(data.subarray(50, 66)),
    commitment: data.subarray(66, 98),
  };
}

// What an open record names: {statement: hex or "", leaves: number or null}; null where it is closed.
function readRecord(kind, line, leaf) {
  if (line.record === undefined) return null;
  const record = b64(line.record);
  need(sha256(Buffer.from(line.salt, "hex"), record).equals(leaf.commitment), "commitment");
  const nothing = { statement: "", leaves: null };
  if (!NAMING.has(kind) && !SIGNED_OR_NOT.has(kind)) return nothing;
  let said;
  try {
    said = JSON.parse(record.toString("utf8"));
  } catch (err) {
    return nothing;
  }
  if (typeof said !== "object" || said === null || Array.isArray(said)) return nothing;
  const { statement_sha256: statement = "", plan_leaves: leaves = null } = said;
  if (statement !== "" && !/^[0-9a-f]{64}$/.test(statement)) return nothing;
  if (leaves !== null && !(Number.isInteger(leaves) && leaves >= 1)) return nothing;
  return { statement, leaves };
}

// --- the life of a plan (docs/spec/plan-life.md) -----------------------------------------------------------------------

const STAGES = ["absent", "open", "closed", "running", "over"];
const WAYS = {};
for (const row of `
plan             open    -       -       -       -
plan-void        -       closed  closed  -       -
approval         -       open    -       -       -
rejection        -       closed  -       -       -
refused          -       open    closed  running over
cancel           absent  closed  closed  running over
consumed         -       running -       -       -
about-to         -       -       -       running -
step-outcome     -       -       -       running -
item-state       -       open    -       running over
change-finished  -       -       closed  over    over
disclosed        -       open    closed  running over
exported         -       open    closed  running over
review-opened    -       -       -       running -
paused           -       open    -       running -
resumed          -       open    -       running running
standing-used    -       open    -       -       -
review-closed    -       -       -       running over`.trim().split("\n")) {
  const [kind, ...after] = row.split(/ +/);
  WAYS[kind] = Object.fromEntries(STAGES.map((stage, n) => [stage, after[n]]));
}
const MOVES = {};
for (const row of `
planned: waiting running skipped stale superseded cancelled expired not-applied needs-a-person
running: waiting stale cancelled expired not-applied unknown applied accepted set-at-next-login set-not-enforced diverged needs-a-person
waiting: running skipped stale superseded cancelled expired not-applied needs-a-person
unknown: stale not-applied applied accepted set-at-next-login set-not-enforced diverged needs-a-person
set-at-next-login: applied set-not-enforced diverged set-at-next-login needs-a-person reverted
set-not-enforced: applied set-at-next-login diverged set-not-enforced needs-a-person running reverted
applied: diverged needs-a-person reverted
accepted: diverged needs-a-person reverted
diverged: needs-a-person
needs-a-person: needs-a-person reverted`.trim().split("\n")) {
  const [from, to] = row.split(": ");
  MOVES[from] = new Set(to.split(" "));
}
const STAND = new Set(["applied", "accepted", "set-at-next-login", "set-not-enforced"]);

function walk(leaves, reverts) {
  const life = {
    stage: "absent", cancelled: false, closers: new Set(), consumed: null, count: 0, items: new Map(), steps: new Map(),
    endings: [], fault: null, paused: false, begunPaused: new Set(),
  };
  for (const entry of leaves) {
    life.fault = step(life, entry, reverts);
    if (life.fault) break;
  }
  return life;
}

function step(life, { index, leaf }, reverts) {
  const { kind } = leaf;
  if (!(kind in WAYS)) return "no-such-leaf";
  const after = WAYS[kind][life.stage];
  if (after === "-") return noWay(life, kind);
  if (kind === "consumed" && life.cancelled) return "consumed-after-cancel";
  if (kind === "consumed" && life.paused) return "consumed-while-paused";
  const fault = { "about-to": begins, "step-outcome": ends, "item-state": moves }[kind];
  const wrong = fault ? fault(life, leaf, reverts) : null;
  if (wrong) return wrong;
  life.count += 1;
  if (kind === "cancel") life.cancelled = true;
  if (kind === "paused" || kind === "resumed") {
    life.paused = kind === "paused";
    life.begunPaused.clear();
  }
  if (kind === "consumed") life.consumed = index;
  if (after === "closed" && kind in CLOSED_AS) life.closers.add(kind);
  if (kind === "change-finished") life.endings.push({ index, count: life.count, items: [...life.items.values()] });
  life.stage = after;
  return null;
}

function noWay(life, kind) {
  if (life.stage === "absent") return "no-plan-leaf";
  switch (kind) {
    case "plan":
      return "plan-twice";
    case "approval":
    case "rejection":
    case "standing-used":
      return "decided-late";
    case "consumed":
      if (life.stage !== "closed") return "consumed-twice";
      if (life.cancelled) return "consumed-after-cancel";
      return life.closers.has("rejection") ? "consumed-after-rejection" : "consumed-after-void";
    case "about-to":
    case "step-outcome":
      return life.stage === "over" ? "sent-after-end" : "sent-before-consumed";
    case "change-finished":
      return "ended-before-start";
    default:
      return "out-of-order";
  }
}

const verdictsOf = (life, leaf) => {
  if (!life.steps.has(leaf.item)) life.steps.set(leaf.item, new Map());
  const steps = life.steps.get(leaf.item);
  if (!steps.has(leaf.step)) steps.set(leaf.step, []);
  return steps.get(leaf.step);
};

function begins(life, leaf, reverts) {
  const first = STATES[leaf.code] === "running";
  if (leaf.code !== 0 && !first) return "no-such-code";
  const verdicts = verdictsOf(life, leaf);
  const inverse = reverts && verdicts.length > 0;
  if (life.cancelled && !inverse) return "sent-after-cancel";
  if (life.paused && (first || (life.begunPaused.has(leaf.item) && verdicts.length === 0))) return "begun-while-paused";
  const state = life.items.get(leaf.item) || "planned";
  const live = state === "running" || state === "unknown";
  const unsent = state === "planned" || state === "waiting";
  if (first && !unsent) return "no-such-move";
  if (!first && (unsent || !(live || inverse))) return "sent-unbegun";
  if (first) life.items.set(leaf.item, "running");
  verdicts.push(null);
  return null;
}

function ends(life, leaf) {
  const verdicts = verdictsOf(life, leaf);
  const open = verdicts.indexOf(null);
  if (open < 0) return "outcome-without-step";
  if (!VERDICTS[leaf.code]) return "no-such-code";
  verdicts[open] = VERDICTS[leaf.code];
  return null;
}

function moves(life, leaf) {
  const state = STATES[leaf.code];
  if (!state) return "no-such-code";
  const before = life.items.get(leaf.item) || "planned";
  if (!(before in MOVES) || !MOVES[before].has(state)) return "no-such-move";
  if (life.stage === "open" && state !== "superseded") return "out-of-order";
  if ((before === "running" || before === "unknown") && STAND.has(state) && life.steps.has(leaf.item)) {
    let [applied, diverged] = [-1, -1];
    for (const [number, verdicts] of life.steps.get(leaf.item)) {
      const last = verdicts[verdicts.length - 1];
      if (last === "applied") applied = Math.max(applied, number);
      if (last === "diverged") diverged = Math.max(diverged, number);
    }
    if (applied < 0 || diverged > applied) return "item-contradicts-steps";
  }
  if (life.paused && state === "running") life.begunPaused.add(leaf.item);
  life.items.set(leaf.item, state);
  return null;
}

// --- outcomes ----------------------------------------------------------------------------------------------------------

const BUCKET = {
  applied: "applied", "set-at-next-login": "applied", accepted: "accepted", "not-applied": "not-applied",
  skipped: "not-applied", superseded: "not-applied", cancelled: "not-applied", "set-not-enforced": "diverged",
  diverged: "diverged", "needs-a-person": "unknown", unknown: "unknown", running: "unknown", stale: "stale",
  waiting: "waiting", planned: "waiting", expired: "expired", reverted: "reverted",
};
const sizeOf = (n) =>
  n === 0 ? "0" : n === 1 ? "1" : n <= 10 ? "2-10" : n <= 100 ? "11-100" : n <= 1000 ? "101-1000"
  : n <= 10000 ? "1001-10000" : "more";

function stateOf(items) {
  const has = (...states) => items.some((s) => states.includes(s));
  const only = (...states) => items.every((s) => states.includes(s));
  if (has("planned", "waiting", "running", "unknown")) return "mixed";
  const done = ["applied", "set-at-next-login", "skipped", "superseded"];
  if (only(...done)) return "done";
  if (only(...done, "accepted")) return "accepted";
  if (only("stale")) return "nothing-done";
  if (only("cancelled")) return "cancelled";
  if (only("expired")) return "expired";
  const untouched = ["skipped", "stale", "superseded", "cancelled", "expired", "not-applied"];
  if (only(...untouched)) return "nothing-done";
  if (only(...untouched, "reverted")) return "reverted";
  return has("not-applied", "diverged", "set-not-enforced", "needs-a-person") ? "needs-a-person" : "mixed";
}

const CLOSED_AS = { rejection: ["rejected"], cancel: ["cancelled"], "plan-void": ["void", "expired"] };
const closedAs = (life) => [...life.closers].flatMap((kind) => CLOSED_AS[kind]);

function outcomeAgrees(life, ending, outcome) {
  if (life.consumed === null || ending.index < life.consumed) return closedAs(life).includes(outcome.state);
  const counts = {};
  for (const state of ending.items) counts[BUCKET[state]] = (counts[BUCKET[state]] || 0) + 1;
  const names = Object.keys(counts);
  return (
    outcome.state === stateOf(ending.items) &&
    names.length === Object.keys(outcome.buckets).length &&
    names.every((name) => outcome.buckets[name] === sizeOf(counts[name]))
  );
}

// --- people (docs/spec/statements.md) ------------------------------------------------------------------------------------

const personKeys = (trust) => {
  const owners = new Map();
  for (const person of trust.people)
    for (const key of person.keys) if (key.kind === "ed25519") owners.set(key.pub, person);
  return owners;
};
const inForce = (person, key, now) =>
  person.keys.some((k) => k.pub === key && k.kind === "ed25519" && (!k.not_after || now <= k.not_after));
const reaches = (scope, agents) => scope.includes("all") || agents.every((a) => scope.includes(a));

// The person whom the statement names and all who signed it with keys in force; throws where it is not theirs.
function openPersons(envelope, kind, trust, now) {
  need(envelope.kind === kind, "another kind");
  const owners = personKeys(trust);
  const signed = [...signers(envelope, [...owners.keys()])];
  need(signed.length > 0 && readable(envelope) && envelope.body.trust_id === trust.trust_id, "signer");
  const mine = signed.filter((key) => owners.get(key).handle === envelope.body.person);
  need(mine.length > 0, "another signed");
  const person = owners.get(mine[0]);
  need(mine.some((key) => inForce(person, key, now)), "key past its date");
  const all = signed.filter((key) => inForce(owners.get(key), key, now)).map((key) => owners.get(key));
  return { person, people: [...new Set(all)], signed };
}

function stricter(a, b) {
  const both = (name) => a[name].filter((x) => b[name].includes(x));
  return {
    actions: both("actions"),
    roles: both("roles"),
    approvals: Math.max(a.approvals, b.approvals),
    needs_detail: a.needs_detail || b.needs_detail,
    unknown_requester: [a, b].some((p) => p.unknown_requester === "refuse") ? "refuse" : "one-more",
    max_ttl_s: Math.min(a.max_ttl_s, b.max_ttl_s),
    max_items: Math.min(a.max_items, b.max_items),
    owner_required: a.owner_required || b.owner_required,
    service_requester: ["one-more", "run-by"].find((word) => [a, b].some((p) => p.service_requester === word)),
  };
}

function policyOf(plan, trust, then) {
  const [now, before] = [trust, then].map((t) => t.policy.find((c) => c.risk_class === plan.risk_class));
  return now && before ? stricter(before, now) : null;
}

// Who asked by a program: the people who run it, and how many more must approve. A class that says nothing asks for none.
function askedBy(plan, policy, trusts) {
  const programs = trusts.map((t) => [t, t.services.find((s) => s.service === plan.requester)]).filter((p) => p[1]);
  const runners = programs.map(([t, program]) => t.people.find((p) => p.handle === program.run_by));
  const said = policy.service_requester;
  const more = plan.requester === "unknown" ||
    (programs.length > 0 && (said === "one-more" || (said === "run-by" && runners.includes(undefined))));
  return { runners: runners.filter(Boolean).map((p) => p.handle), more: more ? 1 : 0 };
}

// Null where the plan could be consumed at all; it says nothing of approvals.
function blocked(plan, policy, trust, now, items) {
  return (
    now > trust.expires ||
    plan.trust_id !== trust.trust_id ||
    !trust.agents.some((a) => a.agent === plan.agent) ||
    plan.trust_version > trust.version ||
    policy === null ||
    !policy.actions.includes(plan.action) ||
    items > policy.max_items ||
    (plan.requester === "unknown" && (plan.risk_class === "alone" || policy.unknown_requester === "refuse")) ||
    plan.made * 60 > now + 300 ||
    now > plan.start_by * 60
  );
}

function judgeApprovals(c, envelopes) {
  const { plan, trust, policy, now, frozen } = c;
  if (blocked(plan, policy, trust, now, c.items)) return { approved: false, rejected: false };
  const counted = new Map();
  let rejected = false;
  const alone = plan.risk_class === "alone";
  const asked = askedBy(plan, policy, [trust, c.then]);
  for (const envelope of envelopes) {
    try {
      const { person, signed } = openPersons(envelope, "approval", trust, now);
      const said = envelope.body;
      need(said.plans.includes(c.digest), "another plan");
      need(person.roles.some((r) => policy.roles.includes(r)) && reaches(person.scope, [plan.agent]), "role");
      need(!frozen.people.has(person.handle) && !signed.some((key) => frozen.keys.has(key)), "frozen");
      need(said.seen.trust_version <= trust.version, "newer trust");
      if (said.decision === "reject") {
        rejected = true;
        continue;
      }
      need(alone === (said.person === plan.requester) && !asked.runners.includes(said.person), "requester");
      need(said.saw === "detail" || !(policy.needs_detail || BY_SIGHT.includes(plan.action)), "summary");
      need(now >= said.not_before * 60, "not yet");
      need(now <= Math.min(said.not_after * 60, plan.made * 60 + policy.max_ttl_s), "expired");
      counted.set(person.handle, person);
    } catch (err) {
      if (!(err instanceof Bad)) throw err;
    }
  }
  const enough = counted.size >= policy.approvals + asked.more;
  const owner = !policy.owner_required || [...counted.values()].some((p) => p.roles.includes("owner"));
  return { approved: enough && owner && !rejected, rejected };
}

const BY_STANDING = ["restore", "provision", "support"];
// Whoever approves these saw each item, whatever the class says, and nothing signed beforehand covers them.
const BY_SIGHT = ["cpe-accept"];
function standingCovers(c, envelope) {
  const { plan, trust, policy, now, frozen } = c;
  if (blocked(plan, policy, trust, now, 1) || !BY_STANDING.includes(plan.risk_class) || BY_SIGHT.includes(plan.action)) return false;
  try {
    const asked = askedBy(plan, policy, [trust, c.then]);
    const { people } = openPersons(envelope, "standing", trust, now);
    const said = envelope.body;
    const approving = people.filter(
      (p) => p.roles.some((r) => r === "owner" || r === "approver") &&
        (said.scope.includes("all") ? p.scope.includes("all") : reaches(p.scope, said.scope)),
    );
    need(approving.length >= 2 && said.verb === plan.action && reaches(said.scope, [plan.agent]), "scope");
    need(now >= said.not_before * 60 && now <= said.not_after * 60 && !policy.needs_detail, "date");
    const mine = approving.filter(
      (p) => p.handle !== plan.requester && !asked.runners.includes(p.handle) && !frozen.people.has(p.handle) &&
        p.roles.some((r) => policy.roles.includes(r)) &&
        !signers(envelope, p.keys.map((k) => k.pub).filter((k) => frozen.keys.has(k))).size,
    );
    const least = plan.requester === "unknown" ? 3 : 2;
    need(mine.length >= Math.max(least, policy.approvals + asked.more), "too few");
    return !policy.owner_required || mine.some((p) => p.roles.includes("owner"));
  } catch (err) {
    if (!(err instanceof Bad)) throw err;
    return false;
  }
}

// --- a file --------------------------------------------------------------------------------------------------------------

function readTrust(envelopes, head) {
  const trusts = new Map();
  let last = null;
  for (const envelope of envelopes.filter((e) => e.kind === "trust")) {
    const next = envelope.body;
    const threshold = (root) => {
      const signed = signers(envelope, root.keys.map((k) => k.pub));
      const people = new Set(root.keys.filter((k) => signed.has(k.pub)).map((k) => k.person));
      need(people.size >= root.threshold, "root threshold");
    };
    if (last === null) {
      need(envelope.digest === head, "head");
    } else {
      threshold(last.body.root);
      need(next.version === last.body.version + 1 && next.prev === last.digest, "chain");
      need(next.trust_id === last.body.trust_id, "trust id");
    }
    threshold(next.root);
    trusts.set(next.version, next);
    last = envelope;
  }
  return trusts;
}

function readEntries(lines, note, vkeyText) {
  const checkpoint = openCheckpoint(note, parseVkey(vkeyText));
  const entries = lines
    .map((line) => {
      const data = b64(line.leaf);
      const leaf = readLeaf(data);
      return { index: line.index, leaf, line, hash: sha256(LEAF, data), named: readRecord(leaf.kind, line, leaf) };
    })
    .sort((a, b) => a.index - b.index);
  entries.forEach((e, n) => need(n === 0 || entries[n - 1].index !== e.index, "twice"));
  const whole = entries.length === checkpoint.size && entries.every((e, n) => e.index === n);
  if (whole && entries.every((e) => e.line.proof.length === 0)) {
    need(rootOf(entries.map((e) => e.hash)).equals(checkpoint.root), "root");
  } else {
    for (const e of entries)
      included(e.hash, e.index, checkpoint.size, e.line.proof.map(b64), checkpoint.root);
  }
  return { entries, whole };
}

function verify(data, head) {
  const faults = [];
  const found = { part: false };
  const fail = (code) => {
    if (!faults.includes(code)) faults.push(code);
  };
  const lines = data.toString("utf8").trim().split("\n").map((line) => JSON.parse(line));
  const file = lines.shift();
  const envelopes = lines.filter((l) => "envelope" in l).map((l) => openEnvelope(b64(l.envelope)));
  const documents = new Map();
  for (const line of lines.filter((l) => "document" in l)) {
    if (!documents.has(line.plan)) documents.set(line.plan, []);
    documents.get(line.plan).push(b64(line.document));
  }

  const attempt = (code, work, otherwise) => {
    try {
      return work();
    } catch (err) {
      if (!(err instanceof Bad)) throw err;
      fail(code);
      return otherwise;
    }
  };
  const trusts = attempt("bad-trust", () => readTrust(envelopes, head), new Map());
  const all = [...trusts.values()];
  if (!all.some((t) => t.agents.some((a) => a.log_key === file.vkey))) fail("bad-key");
  const log = attempt(
    "bad-log",
    () => readEntries(lines.filter((l) => "leaf" in l), file.checkpoint, file.vkey),
    { entries: [], whole: false },
  );
  const byPlan = new Map();
  for (const entry of log.entries) {
    if (entry.leaf.plan === ZEROS) continue;
    if (!byPlan.has(entry.leaf.plan)) byPlan.set(entry.leaf.plan, []);
    byPlan.get(entry.leaf.plan).push(entry);
  }

  // What agents sign
  const ofAgent = (envelope) =>
    all.some((trust) => {
      try {
        const agents = trust.agents.filter((a) => a.agent === envelope.body.agent);
        const signed = signers(envelope, trust.agents.map((a) => a.plan_key));
        return envelope.body.trust_id === trust.trust_id && agents.some((a) => signed.has(a.plan_key));
      } catch (err) {
        if (!(err instanceof Bad)) throw err;
        return false;
      }
    });
  const plans = new Map();
  for (const envelope of envelopes.filter((e) => e.kind === "plan")) {
    if (!ofAgent(envelope)) {
      fail("bad-statement");
      continue;
    }
    const logs = all.flatMap((t) => t.agents).filter((a) => a.agent === envelope.body.agent);
    if (!logs.some((a) => a.log_key === file.vkey)) fail("another-agents-log");
    plans.set(envelope.digest, envelope.body);
  }
  const outcomes = new Map();
  for (const envelope of envelopes.filter((e) => e.kind === "outcome")) {
    if (!ofAgent(envelope)) {
      fail("bad-statement");
      continue;
    }
    const plan = plans.get(envelope.body.plan_sha256);
    if (!plan || plan.agent !== envelope.body.agent) fail("outcome-of-no-plan");
    if (!outcomes.has(envelope.body.plan_sha256)) outcomes.set(envelope.body.plan_sha256, []);
    outcomes.get(envelope.body.plan_sha256).push(envelope);
  }

  // Whoever may ask for changes or decide them pauses, and resumes what they paused; deciders resume any. Which pause a
  // resume ended is known where both were signed and the records of the leaves are open
  const pausedBy = new Map();
  for (const mine of byPlan.values()) {
    let by = null;
    for (const { leaf, named } of mine) {
      const statement = named ? named.statement : "";
      if (leaf.kind === "paused") {
        const pause = envelopes.find((e) => e.kind === "pause" && e.digest === statement);
        by = pause && readable(pause) ? pause.body.person : null;
      } else if (leaf.kind === "resumed" && by !== null && statement) pausedBy.set(statement, by);
    }
  }
  for (const envelope of envelopes.filter((e) => e.kind === "pause" || e.kind === "resume")) {
    if (!readable(envelope)) {
      fail("bad-statement");
      continue;
    }
    const plan = plans.get(envelope.body.plan_sha256);
    if (!plan) continue;
    const at = envelope.body.at * 60;
    const stands = all.some((trust) => {
      try {
        const { person } = openPersons(envelope, envelope.kind, trust, at);
        return (
          reaches(person.scope, [plan.agent]) &&
          person.roles.some((role) => ["owner", "approver", "requester"].includes(role)) &&
          (!pausedBy.has(envelope.digest) ||
            envelope.kind === "pause" ||
            pausedBy.get(envelope.digest) === person.handle ||
            person.roles.some((role) => ["owner", "approver"].includes(role))) &&
          (envelope.kind === "pause" || at <= trust.expires)
        );
      } catch (err) {
        if (!(err instanceof Bad)) throw err;
        return false;
      }
    });
    if (!stands) fail("bad-statement");
  }

  // The leaves alone
  const lives = new Map();
  for (const [digest, mine] of byPlan) {
    const plan = plans.get(digest);
    if (!plan && !log.whole) continue;
    const life = walk(mine, !plan || plan.on_failure === "revert");
    lives.set(digest, life);
    if (life.fault) fail(life.fault);
  }
  let names = false;
  for (const entry of log.entries) {
    if (!NAMING.has(entry.leaf.kind) || entry.named === null) continue;
    if (names && !entry.named.statement) fail("commitment-dropped");
    names = names || entry.named.statement !== "";
  }

  // Each plan
  for (const digest of documents.keys()) if (!plans.has(digest)) fail("bad-items");
  const approvals = new Map();
  for (const envelope of envelopes.filter((e) => e.kind === "approval" && readable(e))) {
    for (const digest of envelope.body.plans) {
      if (!approvals.has(digest)) approvals.set(digest, []);
      approvals.get(digest).push(envelope);
    }
  }
  const context = { trusts, all, log, envelopes, approvals, fail, found };
  for (const [digest, plan] of plans) {
    let items = null;
    if (documents.has(digest)) {
      const docs = documents.get(digest);
      if (hex(rootOf(docs.map((d) => sha256(LEAF, d)))) === plan.items_root) {
        items = docs.slice(1).map((d) => JSON.parse(d.toString("utf8"))).filter((i) => i.listed === "change").length;
      } else {
        fail("bad-items");
      }
    }
    if (!byPlan.has(digest)) fail("not-in-the-log");
    else if (!lives.get(digest).fault)
      judgePlan(context, digest, plan, byPlan.get(digest), lives.get(digest), outcomes.get(digest) || [], items);
  }
  return { faults, part: found.part, leaves: log.entries.length };
}

function judgePlan(context, digest, plan, mine, life, outcomes, items) {
  const { log, fail, found } = context;
  let [counted, open, missing] = [false, false, false];
  const wrong = (code) => {
    missing = true;
    fail(code);
  };
  life.endings.forEach((ending, n) => {
    const { named } = mine.find((e) => e.index === ending.index);
    counted = named !== null && named.leaves !== null;
    if (counted && named.leaves !== ending.count) wrong("incomplete");
    for (const envelope of outcomes.filter((o) => o.body.seq === n + 1)) {
      if (named !== null && named.statement && named.statement !== envelope.digest) wrong("another-outcome");
      else if (!outcomeAgrees(life, ending, envelope.body)) wrong("outcome-contradicts-items");
    }
  });
  for (const { body } of outcomes.filter((o) => o.body.seq > life.endings.length)) {
    if (life.stage === "closed" && body.seq === 1 && closedAs(life).includes(body.state)) open = true;
    else wrong("incomplete");
  }
  if (open || !(log.whole || counted || missing)) found.part = true;
  if (life.consumed !== null) judgeUse(context, digest, plan, mine, life, items);
  else if (!(log.whole || counted)) found.part = true;
}

const LEAST = { 0: 0, 1: 1, "2-10": 2, "11-100": 11, "101-1000": 101, "1001-10000": 1001, more: 10001 };

function judgeUse(context, digest, plan, mine, life, items) {
  const { trusts, log, envelopes, fail, found } = context;
  const use = mine.find((e) => e.index === life.consumed);
  const [trust, then] = [trusts.get(use.leaf.trust), trusts.get(plan.trust_version)];
  if (!trust || !then) {
    fail("trust-version-missing");
    return;
  }
  const freezes = readFreezes(context, plan);
  const holding = freezes.filter((f) => f.holds(use));
  const targets = (scope) => new Set(holding.filter((f) => f.body.scope === scope).map((f) => f.body.target));
  const c = {
    plan, digest, trust, then, policy: policyOf(plan, trust, then), now: use.leaf.minute * 60,
    items: items === null ? LEAST[plan.size_bucket] : items,
    frozen: { people: targets("person"), keys: targets("key") },
  };
  const before = mine.filter((e) => e.index < use.index);
  const decisions = before.filter((e) => e.leaf.kind === "approval" || e.leaf.kind === "rejection");
  const named = new Set(decisions.filter((e) => e.named && e.named.statement).map((e) => e.named.statement));
  const closed = decisions.filter((e) => !e.named || !e.named.statement).length;
  let loose = closed;
  const [count, late] = [[], []];
  const isReview = readReviews(context, digest, plan, mine);
  for (const envelope of context.approvals.get(digest) || []) {
    if (isReview(envelope)) continue;
    if (named.has(envelope.digest) || envelope.body.decision === "reject") count.push(envelope);
    else if (loose > 0) {
      loose -= 1;
      count.push(envelope);
    } else late.push(envelope);
  }
  let by = count;
  const judged = judgeApprovals(c, count);
  if (!judged.approved) {
    const used = before.filter((e) => e.leaf.kind === "standing-used").pop();
    const covers = (e) =>
      used && plan.size_bucket === "1" && readable(e) && e.body.standing_id === used.leaf.actor &&
      !(used.named && used.named.statement && used.named.statement !== e.digest) && standingCovers(c, e);
    const standing = judged.rejected ? undefined : envelopes.find((e) => e.kind === "standing" && covers(e));
    if (standing) by = [standing];
    else fail(judgeApprovals(c, [...count, ...late]).approved ? "no-approval-leaf" : "not-approved");
  }
  if (closed) found.part = true;

  const personal = (handle) =>
    context.all.flatMap((t) => t.people).filter((p) => p.handle === handle)
      .flatMap((p) => p.keys).filter((k) => k.kind === "ed25519").map((k) => k.pub);
  const signedBy = (those) =>
    by.some((envelope) => {
      try {
        return signers(envelope, those).size > 0;
      } catch (err) {
        if (!(err instanceof Bad)) throw err;
        return true;
      }
    });
  const stops = ({ scope, target }) =>
    scope === "all" || (scope === "agent" && target === plan.agent) || (scope === "key" && signedBy([target])) ||
    (scope === "person" && (target === plan.requester || signedBy(personal(target))));
  const hit = mine.find(
    (e) => (e.leaf.kind === "consumed" || e.leaf.kind === "about-to") &&
      freezes.some((f) => f.holds(e) && stops(f.body)),
  );
  if (hit) fail(hit.leaf.kind === "consumed" ? "consumed-while-frozen" : "sent-while-frozen");
  else if (log.entries.filter((e) => e.leaf.kind === "freeze").length > freezes.length) found.part = true;
}

// Whether an approval is the review of what one person did alone: then it stands behind nothing (and against nothing).
function readReviews({ trusts }, digest, plan, mine) {
  const at = mine.findIndex((e) => e.leaf.kind === "review-closed");
  if (at < 0) return () => false;
  const before = mine.slice(0, at).map((e) => e.leaf.kind);
  const ended = before.indexOf("change-finished", before.lastIndexOf("resumed") + 1);
  const { leaf, named } = mine[at];
  const trust = trusts.get(leaf.trust);
  if (ended < 0 || !trust) return () => false;
  const now = leaf.minute * 60 + 59;
  return (envelope) => {
    if (named && named.statement && named.statement !== envelope.digest) return false;
    try {
      const { person } = openPersons(envelope, "approval", trust, now);
      const said = envelope.body;
      const roles = ["owner", "approver", "auditor"];
      return (
        now <= trust.expires && said.plans.includes(digest) && person.roles.some((r) => roles.includes(r)) &&
        reaches(person.scope, [plan.agent]) && said.seen.trust_version <= trust.version &&
        person.handle !== plan.requester && said.saw === "detail" &&
        said.not_before * 60 >= mine[ended].leaf.minute * 60 && said.not_before * 60 <= now + 300
      );
    } catch (err) {
      if (!(err instanceof Bad)) throw err;
      return false;
    }
  };
}

function readFreezes({ trusts, log, envelopes }, plan) {
  const statements = new Map(envelopes.filter((e) => e.kind.endsWith("freeze")).map((e) => [e.digest, e]));
  const freezes = new Map();
  for (const entry of log.entries.filter((e) => e.leaf.kind === "freeze" || e.leaf.kind === "unfreeze")) {
    const envelope = entry.named && statements.get(entry.named.statement);
    const trust = trusts.get(entry.leaf.trust);
    if (!envelope || !trust) continue;
    try {
      if (entry.leaf.kind === "freeze") {
        openPersons(envelope, "freeze", trust, 0);
        freezes.set(envelope.digest, freezeOf(trusts, entry, envelope.body));
      } else {
        lift(trust, freezes, entry, envelope, plan);
      }
    } catch (err) {
      if (!(err instanceof Bad)) throw err;
    }
  }
  return [...freezes.values()];
}

function freezeOf(trusts, entry, body) {
  const freeze = { body, lifted: Infinity };
  freeze.holds = ({ index, leaf }) => {
    for (let version = entry.leaf.trust; version <= leaf.trust; version += 1)
      if (trusts.has(version) && !trusts.get(version).people.some((p) => p.handle === body.person)) return false;
    return !(body.expires && leaf.minute >= body.expires) && entry.index < index && index < freeze.lifted;
  };
  return freeze;
}

// Two people lift those that hold, whom none of them freezes; one of all or of the agent: who are not frozen.
function lift(trust, freezes, entry, envelope, plan) {
  const now = entry.leaf.minute * 60;
  const { people } = openPersons(envelope, "unfreeze", trust, now);
  const at = envelope.body.at * 60;
  need(now <= trust.expires && at <= now + 300 && now <= at + 86400, "unfreeze");
  const lifted = [envelope.body.freeze_sha256, ...(envelope.body.also || [])]
    .map((digest) => freezes.get(digest)).filter((f) => f && f.holds(entry));
  const wide = lifted.some((f) => f.body.scope === "all" || f.body.scope === "agent");
  const bearing = [...lifted, ...(wide ? [...freezes.values()].filter((f) => f.holds(entry)) : [])].map((f) => f.body);
  const named = (scope) => bearing.filter((b) => b.scope === scope).map((b) => b.target);
  const able = people.filter(
    (p) => p.roles.some((r) => r === "owner" || r === "approver") && reaches(p.scope, [plan.agent]) &&
      !named("person").includes(p.handle) &&
      !signers(envelope, p.keys.map((k) => k.pub).filter((k) => named("key").includes(k))).size,
  );
  need(able.length >= 2, "unfreeze");
  for (const freeze of lifted) freeze.lifted = entry.index;
}

// --- the command -----------------------------------------------------------------------------------------------------------

if (process.argv[2] === "--batch") {
  const answers = fs.readFileSync(0, "utf8").trim().split("\n").map((line) => {
    const { file, head } = JSON.parse(line);
    try {
      return JSON.stringify(verify(b64(file), head));
    } catch (err) {
      return JSON.stringify({ faults: ["unreadable"], part: false, why: String(err) });
    }
  });
  process.stdout.write(answers.join("\n") + "\n");
} else {
  const data = fs.readFileSync(process.argv[2]);
  const began = process.hrtime.bigint();
  const answer = verify(data, process.argv[3]);
  const seconds = Number(process.hrtime.bigint() - began) / 1e9;
  process.stdout.write(JSON.stringify({ ...answer, seconds }) + "\n");
}
