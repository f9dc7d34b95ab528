"""The people of the lab's network: subscribers, services, tariffs, bills; and the rows that RADIUS has of them.

Everything follows from the seed. Names are made up of common ones in several scripts; logins are as operators have
them: names with numbers, realms, MAC addresses.
"""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

from lab.database import Cursor

MARKER_GROUP: Final = "suspended"
MARKER_PRIORITY: Final = -1
SUSPENDED_REPLY: Final = {"Mikrotik-Address-List": "suspended", "Mikrotik-Rate-Limit": "64k/64k"}
METHOD: Final = "pppoe"


@dataclass(frozen=True, slots=True)
class Tariff:
    """A speed package: its name in billing, its group in RADIUS, its rate (from subscriber / to subscriber)."""

    name: str
    group: str
    rate: str
    monthly: int


TARIFFS: Final = (
    Tariff("Home 10M", "home-10m", "5M/10M", 15),
    Tariff("Home 20M", "home-20m", "10M/20M 15M/30M 8M/16M 16/16", 22),
    Tariff("Home 50M", "home-50m", "25M/50M", 35),
    Tariff("Business 100M", "business-100m", "100M/100M", 120),
)


@dataclass(frozen=True, slots=True)
class LabService:
    """One line of the subscriber file, and how the network really is.

    `mapped`: RADIUS knows the login; `online`: the CPE dials in; `nas`: index of its BNG; `static4`: its own address.
    """

    subscriber: str
    name: str
    service: str
    login: str
    password: str
    mac: str
    chap: bool
    tariff: Tariff
    nas: int
    mapped: bool
    online: bool
    protected: str
    feeds: int
    balance: str
    due: str
    paid_at: str
    static4: str


_PEOPLE: Final = (
    ("amina", "Amina Okafor"),
    ("joao", "João Magalhães"),
    ("nguyen", "Nguyễn Thị Hồng"),
    ("olena", "Олена Шевченко"),
    ("dmitri", "Дмитрий Соколов"),
    ("fatima", "فاطمة الزهراء"),
    ("yusuf", "يوسف بن علي"),
    ("priya", "प्रिया शर्मा"),
    ("wei", "王伟"),
    ("sakura", "佐藤 さくら"),
    ("minjun", "김민준"),
    ("eleni", "Ελένη Παπαδοπούλου"),
    ("abebe", "አበበ ቢቂላ"),
    ("somchai", "สมชาย ใจดี"),
    ("zofia", "Zofia Wójcik"),
    ("mehmet", "Mehmet Yıldız"),
    ("siobhan", "Siobhán Ní Bhriain"),
    ("juma", "Juma Mwangi"),
    ("maria", "María Fernández Ñíguez"),
    ("tamar", "თამარ ბერიძე"),
    ("rivka", "רבקה לוי"),
    ("anh", "Trần Đức Anh"),
    ("lucia", "Lucía O'Higgins-Pérez"),
    ("kwame", "Kwame Nkansah"),
)
_PROTECTED: Final = ("hospital", "police", "clinic", "relay", "fire brigade")


def _login(rng: random.Random, person: str, n: int) -> str:
    match rng.randrange(8):
        case 0:
            return f"{person}.{n}@fiber.example"
        case 1:
            return f"C4:AD:34:{n >> 16 & 255:02X}:{n >> 8 & 255:02X}:{n & 255:02X}"
        case 2:
            return f"pppoe-{n}"
        case _:
            return f"{person}{n}"


def _moment(at: datetime) -> str:
    return at.strftime("%Y-%m-%dT%H:%M:%SZ")


def _bill(rng: random.Random, tariff: Tariff, as_of: datetime) -> tuple[str, str, str]:
    """Balance (above zero: owed), due date, time of the last payment."""
    if rng.random() < 0.15:
        months = rng.choice((1, 1, 1, 2, 3))
        due = as_of - timedelta(days=rng.randrange(5, 25) + 30 * (months - 1))
        paid = as_of - timedelta(days=35 + 30 * months, minutes=rng.randrange(1440))
        return f"{tariff.monthly * months}.{rng.choice(('00', '00', '50'))}", due.date().isoformat(), _moment(paid)
    due = as_of + timedelta(days=rng.randrange(1, 28))
    paid = as_of - timedelta(days=rng.randrange(1, 28), minutes=rng.randrange(1440))
    return rng.choice(("0.00", "0.00", "0.00", f"-{rng.randrange(1, 30)}.00")), due.date().isoformat(), _moment(paid)


def populate(services: int, nas: int, seed: int, as_of: datetime) -> tuple[LabService, ...]:
    """Return that many services on that many BNG; the same seed gives the same people, logins and passwords."""
    rng = random.Random(seed)
    people: list[LabService] = []
    for i in range(services):
        n = 10_000 + i * 7 + rng.randrange(7)
        second = i % 20 == 5
        person, name = rng.choice(_PEOPLE)
        business = rng.random() < 0.1
        tariff = TARIFFS[3] if business else rng.choice(TARIFFS[:3])
        bill = _bill(rng, tariff, as_of)
        if second:  # one account a subscriber
            bill = people[-1].balance, people[-1].due, people[-1].paid_at
        people.append(
            LabService(
                subscriber=people[-1].subscriber if second else f"C-{n}",
                name=people[-1].name if second else name,
                service="shop" if second else "home",
                login=_login(rng, person, n),
                password=f"{rng.getrandbits(48):012x}",
                mac=f"02:1A:{n >> 24 & 255:02X}:{n >> 16 & 255:02X}:{n >> 8 & 255:02X}:{n & 255:02X}",
                chap=rng.random() < 0.5,
                tariff=tariff,
                nas=i % nas,
                mapped=i % 67 != 11,
                online=i % 25 != 13,
                protected=rng.choice(_PROTECTED) if i % 50 == 7 else "",
                feeds=12 if i % 100 == 42 else 0,
                balance=bill[0],
                due=bill[1],
                paid_at=bill[2],
                static4=f"203.0.113.{1 + i // 90}" if i % 90 == 17 and i < 22_000 else "",
            )
        )
    return tuple(people)


@dataclass(frozen=True, slots=True)
class NasRow:
    """A row of the `nas` table."""

    name: str
    accounting: str
    secret: str


_GROUP_REPLY: Final = "INSERT INTO radgroupreply (groupname, attribute, op, value) VALUES (?, ?, ?, ?)"


def write_rows(cursor: Cursor, services: Sequence[LabService], nas: Sequence[NasRow], garden_pool: str = "") -> None:
    """Write the people, tariffs, marker group and BNG into empty RADIUS tables.

    `garden_pool`: the pool that the marker group sends a session to, where no BNG does so by itself.
    """
    mapped = [s for s in services if s.mapped]
    cursor.execute_many(
        "INSERT INTO radcheck (username, attribute, op, value) VALUES (?, 'Cleartext-Password', ':=', ?)",
        [(s.login, s.password) for s in mapped],
    )
    cursor.execute_many(
        "INSERT INTO radusergroup (username, groupname, priority) VALUES (?, ?, 1)",
        [(s.login, s.tariff.group) for s in mapped],
    )
    cursor.execute_many(
        "INSERT INTO radreply (username, attribute, op, value) VALUES (?, 'Framed-IP-Address', ':=', ?)",
        [(s.login, s.static4) for s in mapped if s.static4],
    )
    for tariff in TARIFFS:
        cursor.execute(_GROUP_REPLY, (tariff.group, "Mikrotik-Rate-Limit", ":=", tariff.rate))
        cursor.execute(_GROUP_REPLY, (tariff.group, "Acct-Interim-Interval", ":=", "300"))
    for name, value in SUSPENDED_REPLY.items():
        cursor.execute(_GROUP_REPLY, (MARKER_GROUP, name, ":=", value))
    cursor.execute(_GROUP_REPLY, (MARKER_GROUP, "Acct-Interim-Interval", ":=", "300"))
    if garden_pool:
        cursor.execute(_GROUP_REPLY, (MARKER_GROUP, "Framed-Pool", ":=", garden_pool))
    cursor.execute_many(
        "INSERT INTO nas (nasname, shortname, type, secret) VALUES (?, ?, 'mikrotik', ?)",
        [(n.accounting, n.name, n.secret) for n in nas],
    )
