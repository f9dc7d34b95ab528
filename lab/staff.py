"""Staff at work in a RADIUS web tool (daloRADIUS), played by the rows that it writes; CPE that come and go meanwhile.

None of them tells anybody. Each act is one function of the table `ACTS`; `Staff.act` picks one by its weight.
"""

from __future__ import annotations

import random
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Final

import trio

from lab.errors import LabDatabaseError, LabError, NoAnswerError
from lab.isp import Isp
from lab.population import MARKER_GROUP, MARKER_PRIORITY, TARIFFS

DISABLED_GROUP: Final = "daloRADIUS-Disabled-Users"
"""The group that daloRADIUS puts a user into at "disable"; its check item rejects."""
_RATES: Final = ("5M/10M", "6M/12M", "10M/20M", "12M/24M", "25M/50M", "30M/60M")
_PRIORITIES: Final = (0, 1, 2, 8)
_TRIES: Final = 40


@dataclass(frozen=True, slots=True)
class Deed:
    """Something that was done to the network. `login` empty: to all or many. `at`: trio's clock; `wall_s`: unix."""

    at: float
    wall_s: float
    login: str
    what: str


async def write_disabled_group(isp: Isp) -> None:
    """Give the ISP daloRADIUS' group of disabled users. Raises LabDatabaseError."""
    await isp.database.execute(
        "INSERT INTO radgroupcheck (groupname, attribute, op, value) VALUES (?, 'Auth-Type', ':=', 'Reject')",
        (DISABLED_GROUP,),
    )


class Staff:
    """People, CPE and NAS that change the network beside the agent. `deeds` are theirs, in order.

    `current`: first login of a line -> the login that its CPE dials in with now. `rates`: of each tariff's group now;
    `former_rates`: those that it had before, which sessions of then still have.
    """

    def __init__(self, isp: Isp, seed: int) -> None:
        self.deeds: list[Deed] = []
        self.current: dict[str, str] = {s.login: s.login for s in isp.services}
        self.rates: dict[str, str] = {t.name: t.rate.partition(" ")[0] for t in TARIFFS}
        self.former_rates: dict[str, set[str]] = {t.name: set() for t in TARIFFS}
        self._isp, self._seed = isp, seed
        self._dice: dict[str, random.Random] = {}

    def _dice_of(self, login: str) -> random.Random:
        """Return a line's own dice: its deeds depend on no other line."""
        return self._dice.setdefault(login, random.Random(f"{self._seed} {login}"))

    async def act(self, login: str) -> Deed:
        """Do one thing to a line, or try.

        `login`: the one that the line had at first.
        """
        act = self._dice_of(login).choices([a for a, _ in ACTS], [weight for _, weight in ACTS])[0]
        try:
            what = await act(self, login)
        except (LabDatabaseError, NoAnswerError, LabError) as err:
            what = f"tried in vain: {err}"
        return self.note(login, what)

    def note(self, login: str, what: str) -> Deed:
        """Note something that was done to a line, or with "" to all."""
        deed = Deed(trio.current_time(), self._isp.options.clock(), login, what)
        self.deeds.append(deed)
        return deed

    def of(self, login: str, count: int) -> list[Deed]:
        """Return the last things that were done to a line or to all."""
        return [d for d in self.deeds if d.login in (login, "")][-count:]

    # --- rows ---

    async def _write(self, sql: str, *values: object) -> int:
        for n in range(_TRIES):
            try:
                return await self._isp.database.execute(sql, values)
            except LabDatabaseError:
                if n + 1 == _TRIES:
                    raise
                await trio.sleep(0.1)
        return 0

    async def disable(self, login: str) -> str:
        """Put the user into the disabled group."""
        name = self.current[login]
        await self.enable(login)
        await self._write(
            "INSERT INTO radusergroup (username, groupname, priority) VALUES (?, ?, 0)", name, DISABLED_GROUP
        )
        return "staff disabled the user"

    async def enable(self, login: str) -> str:
        """Take the user out of the disabled group, and remove its rejecting check items."""
        name = self.current[login]
        await self._write("DELETE FROM radusergroup WHERE username = ? AND groupname = ?", name, DISABLED_GROUP)
        await self._write("DELETE FROM radcheck WHERE username = ? AND attribute IN ('Expiration', 'Auth-Type')", name)
        return "staff enabled the user"

    async def expire(self, login: str) -> str:
        """Let the user expire in the past."""
        name = self.current[login]
        await self._write(
            "INSERT INTO radcheck (username, attribute, op, value) VALUES (?, 'Expiration', ':=', '01 Jan 2024')", name
        )
        return "staff set Expiration in the past"

    async def reject(self, login: str) -> str:
        """Reject the user by a check item of its own."""
        name = self.current[login]
        await self._write(
            "INSERT INTO radcheck (username, attribute, op, value) VALUES (?, 'Auth-Type', ':=', 'Reject')", name
        )
        return "staff set Auth-Type Reject"

    async def unmark(self, login: str) -> str:
        """Delete the marker row."""
        name = self.current[login]
        count = await self._write("DELETE FROM radusergroup WHERE username = ? AND groupname = ?", name, MARKER_GROUP)
        return f"staff deleted {count} marker row(s)"

    async def mark(self, login: str) -> str:
        """Insert the marker row by hand, at some priority."""
        name, priority = self.current[login], self._dice_of(login).choice((MARKER_PRIORITY, 0, 5))
        await self._write("DELETE FROM radusergroup WHERE username = ? AND groupname = ?", name, MARKER_GROUP)
        await self._write(
            "INSERT INTO radusergroup (username, groupname, priority) VALUES (?, ?, ?)", name, MARKER_GROUP, priority
        )
        return f"staff inserted the marker row at priority {priority}"

    async def reprioritize(self, login: str) -> str:
        """Change the priority of all of the user's groups."""
        name, priority = self.current[login], self._dice_of(login).choice(_PRIORITIES)
        group = self._dice_of(login).choice([MARKER_GROUP, *(t.group for t in TARIFFS)])
        count = await self._write(
            "UPDATE radusergroup SET priority = ? WHERE username = ? AND groupname = ?", priority, name, group
        )
        return f"staff set the priority of {group} to {priority} ({count} row(s))"

    async def move(self, login: str) -> str:
        """Move the user to another tariff's group."""
        name, tariff = self.current[login], self._dice_of(login).choice(TARIFFS)
        groups = [t.group for t in TARIFFS]
        marks = ", ".join("?" * len(groups))
        count = await self._write(
            f"UPDATE radusergroup SET groupname = ? WHERE username = ? AND groupname IN ({marks})",  # noqa: S608 (constants only)
            tariff.group,
            name,
            *groups,
        )
        return f"staff moved the user to group {tariff.group} ({count} row(s))"

    async def own_rate(self, login: str) -> str:
        """Give the user a rate of its own, or take it away."""
        name, rate = self.current[login], self._dice_of(login).choice(("", *_RATES))
        await self._write("DELETE FROM radreply WHERE username = ? AND attribute = 'Mikrotik-Rate-Limit'", name)
        if rate:
            await self._write(
                "INSERT INTO radreply (username, attribute, op, value) VALUES (?, 'Mikrotik-Rate-Limit', ':=', ?)",
                name,
                rate,
            )
        return f"staff set the user's own rate to {rate or 'none'}"

    async def rename(self, login: str) -> str:
        """Change the user's login by SQL, or back; its CPE is told the new one."""
        old = self.current[login]
        new = login if old != login else f"new-{login}"
        for table in ("radcheck", "radreply", "radusergroup"):
            await self._write(f"UPDATE {table} SET username = ? WHERE username = ?", new, old)  # noqa: S608 (constants only)
        nas = self._isp.nas_of(old)
        await nas.hang_up(old)
        nas.rename(old, new)
        self.current[login] = new
        await nas.dial(new)
        return f"staff changed the login to {new}"

    async def edit_tariff(self) -> None:
        """Give a tariff's group another rate. Raises LabDatabaseError."""
        dice = self._dice_of("")
        tariff, rate = dice.choice(TARIFFS), dice.choice(_RATES)
        await self._write(
            "UPDATE radgroupreply SET value = ? WHERE groupname = ? AND attribute = 'Mikrotik-Rate-Limit'",
            rate,
            tariff.group,
        )
        self.former_rates[tariff.name].add(self.rates[tariff.name])
        self.rates[tariff.name] = rate
        self.note("", f"staff set the rate of {tariff.group} to {rate}")

    async def add_user(self, n: int) -> str:
        """Create a user that no subscriber list knows; return its login. Raises LabDatabaseError."""
        login, tariff = f"by-hand-{n}", self._dice_of("").choice(TARIFFS)
        await self._write(
            "INSERT INTO radcheck (username, attribute, op, value) VALUES (?, 'Cleartext-Password', ':=', 'x')", login
        )
        await self._write(
            "INSERT INTO radusergroup (username, groupname, priority) VALUES (?, ?, 1)", login, tariff.group
        )
        self.note(login, f"staff added a user of {tariff.group}")
        return login

    # --- sessions ---

    async def power_cycle(self, login: str) -> str:
        """Let the CPE hang up and dial in again."""
        name = self.current[login]
        nas = self._isp.nas_of(name)
        ended = await nas.hang_up(name)
        session = await nas.dial(name)
        return f"the CPE lost {ended} session(s) and dialed: {'rejected' if session is None else session.session_id}"

    async def leave(self, login: str) -> str:
        """Let the CPE hang up for good."""
        nas = self._isp.nas_of(self.current[login])
        ended = await nas.hang_up(self.current[login])
        return f"the CPE went away ({ended} session(s))"

    async def vanish(self, login: str) -> str:
        """End the sessions without a word to accounting: ghosts stay."""
        nas = self._isp.nas_of(self.current[login])
        nas.set_fault("stale-session", self.current[login])
        return "the CPE's session vanished without a Stop"

    async def reboot(self, name: str, *, announced: bool) -> None:
        """Reboot a NAS; its CPE dial again. Raises NoAnswerError, LabDatabaseError."""
        nas = self._isp.nas[name]
        lost = await nas.reboot(announced=announced)
        self.note("", f"{name} rebooted, {'announced' if announced else 'not announced'}: {len(lost)} sessions lost")
        async with trio.open_nursery() as nursery:
            nursery.start_soon(nas.dial_all, [login for login in lost if nas.subscribed(login)])


ACTS: Final[tuple[tuple[Callable[[Staff, str], Awaitable[str]], int], ...]] = (
    (Staff.disable, 8),
    (Staff.enable, 8),
    (Staff.expire, 2),
    (Staff.reject, 2),
    (Staff.unmark, 10),
    (Staff.mark, 6),
    (Staff.reprioritize, 5),
    (Staff.move, 6),
    (Staff.own_rate, 3),
    (Staff.rename, 2),
    (Staff.power_cycle, 14),
    (Staff.leave, 4),
    (Staff.vanish, 8),
)
"""The deeds on a line, with weights."""
