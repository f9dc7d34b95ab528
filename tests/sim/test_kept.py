"""Worlds that once showed something false; each stays so with one line of why."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.sim.acts import ACTS
from tests.sim.all_parts import PARTS
from tests.sim.faults import FAULTS
from tests.sim.run import run_seed


@dataclass(frozen=True, slots=True)
class Kept:
    """A seed with the faults that it had; `why`: what was false."""

    seed: int
    faults: tuple[str, ...]
    parts: tuple[str, ...]
    why: str
    size: float = 1.0
    """Of the world."""
    long: bool = False
    """It lives two days more, and is played in `make test-slow`."""
    acts: tuple[str, ...] = ()
    """What people did beside their asks: worlds that were kept before there were acts have none."""


OLD = (
    Kept(
        300035,
        ("router-lossy", "billing-slow"),
        ("radius", "sql", "routers", "cloud", "billing"),
        "restores of payers lost their evidence for a moment, and waited for people for ever",
    ),
    Kept(
        1002,
        ("ack-without-effect",),
        ("radius",),
        "after a suspension that a NAS acknowledged without effect, a restore said that a session carries on",
    ),
    Kept(
        1011,
        ("sql-cut", "sql-failover", "session-vanishes", "sql-away"),
        ("radius", "sql"),
        "a failover forgot the end of a session that had been seen, and the agent said that it carries on",
    ),
    Kept(
        60019,
        (),
        ("radius", "sql", "routers"),
        "a suspension that had only connections to cut was recorded although a restore had changed the lease meanwhile",
    ),
    Kept(
        3003,
        ("power-cut",),
        ("radius", "routers", "disk"),
        "the power failed within a restore of a disabled hotspot user, and a good session was ended a minute later",
    ),
    Kept(
        30202,
        ("nas-reboots", "router-staff", "router-no-effect"),
        ("radius", "sql", "routers"),
        "staff removed a lease and made it again, and its client, which went on with its address, was called offline",
    ),
    Kept(
        60039,
        (),
        ("radius", "routers"),
        "two sessions of a hotspot user that began 4 s apart were one, although the first was seen to be gone",
    ),
    Kept(
        740032,
        ("router-refuses",),
        ("radius", "routers"),
        "the end of a hotspot session was refused at a suspension and at its restore, which was called not enforced",
    ),
    Kept(
        810000,
        ("billing-empty", "billing-login-page"),
        ("radius", "cloud", "billing"),
        "the judge's: a payment bounced, and the agent's own restore waited for people until it expired",
    ),
    Kept(
        5200,
        ("page-flipped",),
        ("radius", "cpe", "disk"),
        "the judge's: a step that was given up with its log stayed open beside a new one, and counted as acting",
    ),
    Kept(
        5202,
        ("page-flipped",),
        ("radius", "billing", "disk"),
        "the judge's: a task that read a damaged page crashed before the agent ended",
    ),
    Kept(
        5203,
        ("page-flipped",),
        ("radius", "snmp", "disk"),
        "a start wrote to a damaged page before the check, and was made again and again",
    ),
    Kept(
        30118,
        ("sql-failover",),
        ("radius", "sql"),
        "a failover forgot a suspension, and a restore said of the garden session that it is active",
    ),
    Kept(
        830048,
        ("machine-suspended", "snmp-lossy"),
        ("radius", "sql", "cpe", "disk", "clock", "snmp"),
        "the machine slept in the middle of a reading, and the next one had ten times the rate",
    ),
)
"""Found at the old pace of worlds (`tests.sim.world.WorldOptions.old_pace`): at another one they are other worlds."""
KEPT: tuple[Kept, ...] = (
    Kept(
        29000286,
        ("router-flows-stay",),
        ("radius", "sql", "routers"),
        "two restores each lifted one of two reasons, the second sent nothing and was not checked, and nobody let in",
        size=0.3,
    ),
    Kept(
        29000034,
        ("clock-stepped",),
        ("radius", "clock"),
        "the judge's: an agent died over an approval and refused it later, and the change counted as approved",
        size=0.5,
    ),
    Kept(
        25001296,
        ("start-lost", "accounting-lossy"),
        ("radius", "sql"),
        "a garden session that a cancelled restore had ended stayed open in accounting, and proved the next suspension",
        size=0.2,
    ),
    Kept(
        28001081,
        ("accounting-lossy", "ack-without-effect"),
        ("radius", "sql"),
        "a session that a cancelled suspension had ended stayed open in accounting, and proved the next restore",
    ),
    Kept(
        28001132,
        ("accounting-lossy", "ack-without-effect"),
        ("radius", "sql"),
        "a NAS acknowledged the end of all sessions of a login and did nothing, and that proved that it holds none",
    ),
    Kept(
        28004244,
        ("accounting-lossy", "sql-failover", "reply-lost"),
        ("radius", "sql"),
        "a NAS ended a session, its reply and the Stop were lost, and the session was said to carry on",
    ),
    Kept(
        26100002,
        ("router-reboots", "machine-cloned"),
        ("radius", "sql", "routers", "clone"),
        "the judge's: a router restarted before it answered a write, and nobody knew which session was from after it",
        size=0.5,
    ),
    Kept(
        25000928,
        ("reply-lost", "page-rots", "cloud-half-open"),
        ("radius", "sql", "cloud", "disk", "clock", "snmp"),
        "an intent was sealed to a key that a backup lacks, and its desk did not take the refusal for its own",
        size=0.5,
    ),
    Kept(
        25000784,
        ("answers-late", "disk-full"),
        ("radius", "sql", "disk"),
        "a request on a full disk was logged as a crash, before another task ended the agent",
        size=0.2,
    ),
    Kept(
        21000536,
        ("replies-doubled", "sql-fails", "page-rots"),
        ("radius", "sql", "disk"),
        "a page of zeros is a valid one: the trust document read as another, and nothing seemed to be damaged",
        size=0.3,
    ),
    Kept(
        21000485,
        ("cpe-refuses", "page-rots"),
        ("radius", "cpe", "disk"),
        "a page of zeros is a valid one: items had a state that nobody wrote, and each look at them crashed",
        size=0.5,
    ),
    Kept(
        29420230,
        ("page-flipped", "snmp-traps-twice"),
        ("radius", "routers", "disk", "clock", "snmp"),
        "a page of keys.db read as that of another table; the check at the start read it without its constraints",
        size=0.5,
    ),
    Kept(
        29410195,
        ("router-redials", "page-flipped", "cloud-forges", "replies-doubled"),
        ("radius", "sql", "routers", "cloud", "disk"),
        "the mark in keys.db read as a page that nobody wrote, and the start broke off without naming the damage",
    ),
    Kept(
        29420267,
        ("no-redial", "router-command-lost", "router-cut-before", "sql-away"),
        ("radius", "sql", "routers", "billing", "disk", "clock"),
        "the judge's: a session from before a tariff was set and taken back had it; no router tells a rate",
    ),
    Kept(
        25000280,
        ("page-rots",),
        ("radius", "cpe", "disk"),
        "a page of zeros is a valid one: a plan had a gate that nobody wrote, and each look at it crashed",
        size=1,
    ),
    Kept(
        24000028,
        (),
        ("radius", "routers"),
        "the judge's: a connection of a hotspot user who was logged out counted as a session at the restore",
    ),
    Kept(
        21000498,
        ("billing-empty",),
        ("radius", "routers", "billing"),
        "UISP told a balance and no invoice after a part payment, and a debtor came back",
        0.2,
    ),
    Kept(
        21000603,
        ("billing-page-lost",),
        ("radius", "sql", "routers", "cloud", "cpe", "billing"),
        "UISP told a balance and a list without its only page, and who owed again came back after a freeze",
    ),
    Kept(
        22000333,
        ("router-no-effect",),
        ("radius", "routers"),
        "a new tariff ended the session of a suspended subscriber for nothing, and one that stayed was not enforced",
    ),
    Kept(
        22000195,
        (),
        ("radius", "sql", "routers", "cpe", "snmp"),
        "the judge's: people cancelled after a router's row was written, and nobody could ask for its session's end",
    ),
    Kept(
        21000172,
        ("cpe-owner-resets",),
        ("radius", "cpe"),
        "an owner reset a CPE twice, the breaker held a read-back, and its change held the addresses for two days",
    ),
    Kept(
        9460002,
        ("copy-put-back", "snmp-flaps", "agent-killed"),
        ("radius", "disk", "snmp"),
        "the judge's: a power cycle was given up with its log, and nothing seemed to announce that its port got power",
    ),
    Kept(
        9430011,
        ("disk-lies", "agent-killed", "cloud-restored"),
        ("radius", "sql", "cloud", "cpe", "disk", "snmp"),
        "the judge's: a disk lied and lost that a reboot had been sent, and it was sent again",
        size=0.3,
    ),
    Kept(
        13000003,
        ("sql-conflict", "disk-lies", "cpe-doorbells-cut"),
        ("radius", "sql", "cpe", "disk"),
        "the judge's: a lying disk lost leaves, and those that a copy brought back were taken for new ones",
        size=0.5,
    ),
    Kept(
        12000054,
        ("clock-stepped",),
        ("radius", "routers", "clock"),
        "the judge's: an item's time was over by a clock set a day ahead, so that it asked for no session's end",
        size=1,
    ),
    Kept(
        14000007,
        ("clock-stepped",),
        ("radius", "sql", "cloud", "clock", "snmp"),
        "the world's: people who could not lift a freeze by a wrong clock gave up before it was set right",
        size=1,
    ),
    Kept(
        12000100,
        ("ack-without-effect", "page-rots"),
        ("radius", "sql", "routers", "billing", "disk"),
        "the judge's: the agent's own restore was lost with its log, and nothing seemed to name its subscriber",
        size=0.3,
    ),
    Kept(
        11000136,
        ("router-cut-before", "cpe-boots", "router-staff", "nas-silent"),
        ("radius", "sql", "routers", "cloud", "cpe", "billing"),
        "a restore named the address of a client whose lease staff had blocked, and not that it ends with the lease",
    ),
    Kept(
        9400007,
        ("copy-put-back",),
        ("radius", "sql", "cloud", "disk"),
        "a copy without the newest sealing key was put back, and each intent from a desk was refused as malformed",
    ),
    Kept(
        9110004,
        ("snmp-reboots", "copy-put-back", "agent-killed-writing"),
        ("radius", "sql", "disk", "snmp"),
        "the judge's: a copy was put back in which a step was open that had been over when its port was set again",
        size=0.3,
    ),
    Kept(
        9100036,
        ("cpe-firmware-fails", "page-flipped", "agent-killed-writing"),
        ("radius", "sql", "cpe", "disk"),
        "the judge's: two writes to a CPE seemed to be of one step, which was given up with its log between them",
        size=0.3,
    ),
    Kept(
        4000021,
        ("snmp-lossy",),
        ("radius", "sql", "routers", "cpe", "snmp"),
        "a reading took 25 s, and the next one, 4 s after its end, had seven times the rate",
    ),
    Kept(
        3000082,
        ("page-flipped",),
        ("radius", "routers", "disk"),
        "the judge's: a copy was put back, and the record is older than a router's row since",
        size=0.5,
    ),
    Kept(
        6000014,
        ("page-flipped",),
        ("radius", "sql", "routers", "disk"),
        "the judge's: a write of the agent came to its router after the agent's end, when its log could not be read",
        size=0.3,
    ),
    Kept(
        7000073,
        ("router-staff",),
        ("radius", "routers"),
        "the judge's: staff opened a suspended line by hand, and a disconnect after it seemed to vouch for its row",
        size=0.3,
    ),
    Kept(
        800002,
        ("router-redials", "cloud-drained"),
        ("radius", "sql", "routers", "cloud", "cpe", "billing", "clock"),
        "the judge's: after a write everything was frozen, so that nobody could ask for a session's end",
    ),
    Kept(
        4000025,
        ("clock-stepped",),
        ("radius", "routers", "clock"),
        "our clock was set back in the middle of a change, and a session of after it seemed to be from before",
        size=0.3,
    ),
    Kept(
        4000062,
        ("clock-stepped", "billing-cut"),
        ("radius", "billing", "clock"),
        "a payment that was heard of by a clock that was set back seemed to be known before the suspension",
        size=0.3,
    ),
    Kept(
        5000090,
        ("clock-stepped", "billing-cut"),
        ("radius", "billing", "clock"),
        "our clock was ahead at the preview, and a session of after the change seemed to be from before it",
        size=0.3,
    ),
    Kept(
        5000038,
        ("clock-stepped", "billing-cut"),
        ("radius", "billing", "clock"),
        "a restore was planned by a clock that ran ahead, and waited for that time once the clock was right",
        size=0.3,
    ),
    Kept(
        6000098,
        ("page-flipped", "snmp-reboots"),
        ("radius", "sql", "routers", "cpe", "disk", "clock", "snmp"),
        "the world's: a copy was put back, and nobody reset the CPE whose passwords were younger",
    ),
    Kept(
        8000020,
        ("coa-lost", "cloud-rolled-back", "cpe-clock-1970", "cloud-killed"),
        ("radius", "cloud", "cpe"),
        "the lab's: a CPE in 1970 waited for less time than the world's clock can tell, again and again",
        size=0.3,
    ),
    Kept(
        8700014,
        ("page-flipped",),
        ("radius", "sql", "cpe", "disk", "clock"),
        "a page of keys.db read as another one, and a start ended with a traceback before the check",
    ),
    Kept(
        6000092,
        ("clock-nudged",),
        ("radius", "clock"),
        "our clock was ahead of accounting's from before the preview on, and new sessions seemed to be older than that",
    ),
    Kept(
        7100009,
        ("clock-nudged",),
        ("radius", "clock"),
        "our clock was ahead of accounting's from before the preview on, and new sessions seemed to be older than that",
        size=0.3,
    ),
    Kept(
        8720014,
        ("page-rots",),
        ("radius", "sql", "cpe", "disk", "clock"),
        "a text in a damaged page was none, which failed the request that read it, and the agent went on",
    ),
    Kept(
        8750001,
        ("disk-full", "page-rots", "disk-lies"),
        ("radius", "cpe", "disk", "clock", "snmp"),
        "the world's: a CPE that found nobody until all was at rest was shut out after it, and nobody reset it",
    ),
    Kept(
        8750012,
        ("disk-full", "page-rots", "disk-lies"),
        ("radius", "sql", "routers", "cloud", "disk", "snmp"),
        "the judge's: an agent that read a damaged page switched the power of a port on again before it ended",
    ),
    Kept(
        21000250,
        ("page-flipped",),
        ("radius", "routers", "billing", "disk", "snmp"),
        "items that a lost part of the log had sent were called cancelled, although their rows stayed changed",
        size=0.3,
    ),
    Kept(
        28000000,
        ("router-staff",),
        ("routers", "radius"),
        "what an earlier suspension had not done was done again, and ended a session that was in the garden by then",
    ),
    Kept(
        28000039,
        ("router-staff",),
        ("routers", "radius"),
        "a PPP subscriber was already suspended, and a connection that FastTrack had taken before carried on",
    ),
    Kept(
        1453,
        ("router-flows-stay",),
        ("routers", "radius"),
        "a restore made the agent forget the client of an unproven suspension, whose connection outlived the next one",
    ),
    Kept(
        28005014,
        ("accounting-lossy", "ack-without-effect"),
        ("radius", "routers"),
        "a new tariff of a suspended hotspot user was called applied, and a client's connection carried on that the "
        "suspension had not cut: the client had logged in after its preview",
    ),
    *(
        Kept(
            seed,
            ("router-flows-stay", "router-staff"),
            ("radius", "routers"),
            "staff disabled a lease, and a restore said that the login stays rejected: its server had a pool",
            size=1.0,
        )
        for seed in (29522014, 29522025)
    ),
    *(
        Kept(
            seed,
            ("router-flows-stay", "router-staff"),
            ("radius", "routers"),
            "a session in the garden of a secret that staff had disabled was said to carry on as before",
            size=0.3,
            long=long,
        )
        for seed, long in ((29522061, False), (29522071, True))
    ),
    Kept(
        29210039,
        ("router-full", "cpe-informs-twice", "router-flows-stay"),
        ("radius", "sql", "routers", "cpe", "billing", "disk", "snmp"),
        "connections of a client that had logged in after the preview were said to carry on maybe, and were not read",
    ),
    Kept(
        25000152,
        ("snmp-wraps", "snmp-flaps"),
        ("radius", "sql", "cpe", "billing", "snmp"),
        "the 32-bit counters of a port began again twice in a row, and the second time counted as a rate of a wrap",
    ),
    Kept(
        29450681,
        ("router-cut-before",),
        ("radius", "routers", "snmp"),
        "a connection was closed while a session was looked up, its end was not asked for again, and it carried on",
        size=0.3,
    ),
    Kept(
        29450897,
        ("no-redial", "billing-clock-wrong", "copy-put-back", "sql-other-writer"),
        ("radius", "sql", "billing", "disk"),
        "the judge missed that a put back database lost a reason alone: another writer had suspended the login before",
        size=0.2,
    ),
    Kept(
        29610025,
        ("radius-cut", "page-flipped", "billing-away", "sql-failover"),
        ("radius", "sql", "billing", "disk"),
        "the judge counted a write twice whose first announcement a directory had lost that was put back unnoticed",
        size=0.5,
    ),
    Kept(
        29460230,
        ("billing-unauthorized", "billing-busy"),
        ("radius", "routers", "billing"),
        "a payer's restore was asked for by the agent, waited, and stayed open when a person had restored the service",
    ),
    Kept(
        29460415,
        ("sql-other-writer",),
        ("radius", "sql", "billing"),
        "the judge wanted a payer restored by itself whom staff had let in, though suspended for abuse: that suspends",
        size=0.3,
        acts=("billing paid retry",),
    ),
    Kept(
        29450803,
        ("router-reply-lost", "disk-lies", "cpe-cloned", "nas-slow"),
        ("radius", "sql", "routers", "cpe", "disk"),
        "the judge took the first start of a CPE that poses as another for no evidence of that one's factory reset",
    ),
    Kept(
        29450758,
        ("stop-lost", "snmp-lossy", "snmp-answers-wrong"),
        ("radius", "sql", "routers", "cloud", "disk", "snmp"),
        "a change that was frozen cut two switches off at rest, nobody linked them again, and the judge saw no rest",
        size=1.0,
    ),
    Kept(
        29450240,
        ("agent-killed-writing", "cpe-loses-answers"),
        ("radius", "sql", "routers", "cpe"),
        "an agent that died after a suspension, before its look for sessions, ended one that had begun since",
        size=0.2,
    ),
    Kept(
        29480100,
        ("snmp-reboots",),
        ("radius", "snmp"),
        "a switch restarted when it cut a port, read off and then on again, and the cycle was stale: nothing sent",
        size=0.2,
    ),
    Kept(
        29450066,
        ("router-reboots", "page-rots"),
        ("radius", "sql", "routers", "cloud", "disk", "snmp"),
        "the judge took an item that is no longer judged for a new claim, against the record of a put back backup",
        size=1.0,
    ),
    Kept(
        29470100,
        ("page-rots",),
        ("radius", "cpe", "disk"),
        "the judge took a new connection's look at the file's header for a read of page 1, which was in the WAL",
        size=0.3,
    ),
    Kept(
        91101,
        ("clock-nudged", "power-cut"),
        ("radius", "disk", "clock"),
        "the judge saw no reason for a halt: a clock was set back by a minute while its machine was off for less",
        size=0.2,
    ),
    Kept(
        91500,
        ("cloud-rolled-back", "cloud-restored"),
        ("radius", "cloud"),
        "the world's: a control plane was restored, and its snapshot of before was not found in the new directory",
        size=0.2,
    ),
    Kept(
        91735,
        ("copy-put-back",),
        ("radius", "cloud", "billing", "disk"),
        "the world's: the control plane's board told of an unnoticed copy, and nobody typed the words it asked for",
        size=0.5,
    ),
    Kept(
        91755,
        ("copy-put-back", "clock-stepped"),
        ("radius", "cloud", "disk", "clock"),
        "the world's: in doubt of its trust the agent refused the lift of a put back freeze, and nobody tried anew",
        size=0.5,
    ),
    Kept(
        91760,
        ("disk-lies", "clock-stepped"),
        ("radius", "cloud", "billing", "disk", "clock"),
        "the world's: a disk that lied lost the trust document too, and nobody put a backup back",
        size=0.5,
    ),
    Kept(
        91712,
        ("cpe-slow", "copy-put-back"),
        ("radius", "cpe", "disk"),
        "the judge's: a copy was put back unnoticed, and nobody knew any more that a reboot was sent, nor of it",
        size=0.3,
    ),
    Kept(
        33000015,
        ("stop-lost", "nas-cut"),
        ("radius", "routers"),
        "the attempts of before a retry counted, and a session was said to carry on that its NAS had ended",
        size=0.3,
        long=True,
        acts=("late retry",),
    ),
    Kept(
        33000017,
        ("nas-silent",),
        ("radius", "routers"),
        "the judge's: a restore left another reason, of which it ended a session that a disabled secret had let in",
        size=0.3,
        long=True,
        acts=("routers beside radius",),
    ),
    Kept(
        33006019,
        (),
        ("radius", "routers"),
        "staff disabled a suspended secret, RADIUS may let its login in, and the network was said to read as suspended",
        size=0.3,
        acts=("routers beside radius",),
    ),
    Kept(
        33004013,
        ("staff",),
        ("radius",),
        "the judge's: an edit of the list reads no row, and seemed to vouch for one by which staff reject the login",
        size=0.3,
        acts=("radius take over",),
    ),
    Kept(
        29480444,
        ("router-other-admin",),
        ("radius", "routers", "billing"),
        "the judge's: staff had given a debtor the profile of no tariff of theirs, which no restore overwrites",
        size=0.3,
        long=True,
        acts=("radius take over",),
    ),
    Kept(
        29470561,
        ("disk-lies",),
        ("radius", "routers", "disk"),
        "the judge's: an agent whose disk had lied knew of no write of its own, and called the row drifted",
        size=0.2,
        long=True,
    ),
    Kept(
        29480425,
        ("sql-failover", "nas-refuses"),
        ("radius", "sql"),
        "a second reason was recorded alone over a suspension that was not proven, and full internet went on",
        acts=("radius set again",),
    ),
    Kept(
        29471022,
        ("sql-other-writer", "cloud-restored", "copy-put-back"),
        ("radius", "sql", "cloud", "cpe", "disk", "clock"),
        "the world's: agent and control plane had both lost a lift, and nobody lifted the freeze again",
    ),
    Kept(
        29640148,
        ("copy-put-back",),
        ("radius", "cpe", "disk"),
        "the judge's: a log that knew of a reboot, and had lost that the CPE told its boot, had it asked for again",
        size=0.3,
        long=True,
    ),
    Kept(
        29650489,
        ("agent-killed-writing", "cpe-off", "agent-unplugged"),
        ("radius", "cpe", "billing"),
        "a login was given to another service, and a restore of before was proven by the session of that one",
        size=0.5,
        acts=("radius take over", "billing paid retry"),
    ),
    Kept(
        29651029,
        ("no-redial", "copy-put-back", "cpe-cloned", "router-slow"),
        ("radius", "sql", "routers", "cpe", "disk"),
        "staff disabled a suspended secret, RADIUS lets its login in, and offline it was said to hold at the next one",
        size=0.2,
        long=True,
        acts=("routers beside radius",),
    ),
    Kept(
        31000103,
        ("agent-unplugged", "session-vanishes"),
        ("radius",),
        "no request for the end of a session went out, it had vanished unnoticed, and was said to carry on",
        size=0.3,
    ),
    Kept(
        29661556,
        ("billing-slow",),
        ("radius", "billing"),
        "billing fell silent while a payer's restore was planned, and that plan waited for people half an hour",
    ),
    Kept(
        29721039,
        ("database-slow", "router-rule-off", "sql-cut", "cpe-lossy"),
        ("radius", "sql", "routers", "cpe"),
        "a second reason was recorded alone over a suspension of which the rule was disabled since the preview",
        size=0.5,
        acts=("radius set again",),
    ),
    Kept(
        32000003,
        ("router-rule-off", "router-far"),
        ("radius", "routers"),
        "the same, of two lines at once",
        size=0.3,
    ),
    Kept(
        29760187,
        ("sql-failover", "router-far", "disk-full"),
        ("radius", "sql", "routers", "cloud", "disk", "clock"),
        "the world's: a request of people's outlived the tasks of a daemon that ended over a full disk",
        acts=("routers beside radius",),
    ),
    Kept(
        29840805,
        ("agent-unplugged", "page-rots", "router-lossy"),
        ("radius", "sql", "routers", "disk", "snmp"),
        "the judge's: an agent that read a damaged page read a step back that it had sent, before it ended",
        acts=("radius set again", "routers set again"),
    ),
    Kept(
        29880659,
        ("router-staff", "disk-lies"),
        ("radius", "routers", "disk"),
        "the world's: people waited for ever for an agent of which one start had failed meanwhile",
        size=0.3,
        long=True,
    ),
    Kept(
        42000163,
        ("router-login-refused", "answers-late", "cloud-rolled-back"),
        ("radius", "sql", "routers", "cloud", "cpe", "clock"),
        "a connection dialed again by itself after the control plane was put back, and nobody told it what it lacked",
        size=0.5,
        acts=("radius take over", "cpe swap"),
    ),
    Kept(
        44500075,
        ("machine-cloned", "router-other-admin", "router-half-open"),
        ("radius", "sql", "routers", "clone"),
        "staff enabled a row and let its router ask nobody else between the reads of both: the login stayed rejected",
        acts=("radius take over", "routers beside radius"),
    ),
    Kept(
        44000126,
        ("disk-lies", "cpe-owner-edits", "sql-commit-cut"),
        ("radius", "sql", "cloud", "cpe", "disk"),
        "the witness's: it broke off over a damaged log before the agent had seen the damage",
        size=0.5,
        acts=("cpe swap", "cpe row"),
    ),
    Kept(
        46000105,
        ("disk-lies", "router-lossy", "cpe-doorbells-cut", "database-slow"),
        ("radius", "routers", "cpe", "billing", "disk"),
        "the judge's: a payer waited for a person, as the row had a tariff of a change that a copy knew half of",
        acts=("routers set again", "cpe swap", "routers beside radius", "billing paid retry"),
    ),
    Kept(
        29910415,
        ("cpe-owner-resets", "page-rots", "cloud-drained"),
        ("radius", "sql", "cloud", "cpe", "disk", "clock"),
        "the world's: a clerk asked for a change that he had just seen listed, and a copy without it was put back",
        size=0.2,
        acts=("radius set again",),
    ),
    Kept(
        29921515,
        ("page-flipped",),
        ("radius", "sql", "disk", "clock"),
        "an index began with a page of a table, which SQLite's check does not see: the agent ended and began for ever",
        size=0.5,
    ),
    Kept(
        36500063,
        ("page-flipped", "page-rots"),
        ("radius", "sql", "routers", "disk"),
        "the judge's: a restore that left another reason ended a session, and the log of its end was lost",
        size=0.3,
        acts=("routers beside radius",),
    ),
    Kept(
        29931375,
        ("cpe-cut-in-session", "snmp-reboots", "power-cut", "snmp-set-refused"),
        ("radius", "sql", "cpe", "disk", "snmp"),
        "a second reboot while the agent was down passed for the first, told again, and the CPE was rebooted once more",
        size=0.3,
        acts=("late retry",),
    ),
)


SMALL = 0.3
"""Worlds up to this size are played in `make test`, the others in `make test-slow`."""


@pytest.mark.parametrize(
    "kept",
    [
        pytest.param(kept, id=str(kept.seed), marks=[pytest.mark.slow] if kept.size > SMALL or kept.long else [])
        for kept in (*OLD, *KEPT)
    ],
)
def test_nothing_false_is_seen_again(kept: Kept, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.CRITICAL)
    faults = {fault.name: fault for fault in FAULTS}
    parts = [part for part in PARTS if part.name in kept.parts]
    chosen = [faults[name] for name in kept.faults]
    acts = [act for act in ACTS if act.name in kept.acts]
    told = run_seed(kept.seed, tmp_path, faults=chosen, parts=parts, size=kept.size, old_pace=kept in OLD, acts=acts)
    assert not told.wrong, f"{kept.why}: {[v.text() for v in told.wrong]}"
