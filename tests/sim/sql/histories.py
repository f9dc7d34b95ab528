"""Histories by chance: two sessions on the same few rows, written down as the simulated server plays them."""

from __future__ import annotations

import random
from typing import Final

from agent.connectors.radius.schema import Database
from tests.sim.sql.playbook import Player

LOGINS: Final = ("amina", "bob", "dora", "carl")
STATEMENTS: Final = 18
"""Of both sessions together, before both commit."""
ROWS_LEFT: Final = (
    """SELECT username, groupname, priority FROM radusergroup WHERE username IN ('amina', 'bob', 'dora', 'carl')
    ORDER BY username, groupname, priority""",
    """SELECT username, attribute, value FROM radreply WHERE username IN ('amina', 'bob', 'dora', 'carl')
    ORDER BY username, attribute, value""",
    "SELECT acctuniqueid, acctsessiontime FROM radacct ORDER BY acctuniqueid",
)


def statement(kind: Database, dice: random.Random, *, writes: bool) -> str:
    """Return one statement. `writes`: the transaction is one of the agent's writing ones."""
    login = dice.choice(LOGINS)
    lock = " FOR UPDATE" if kind is Database.MARIADB and (writes or dice.random() < 0.3) else ""
    value = dice.randint(2, 99)
    return dice.choice(
        (
            f"SELECT groupname, priority FROM radusergroup WHERE username = '{login}' ORDER BY id{lock}",
            f"SELECT groupname, priority FROM radusergroup WHERE username = '{login}' ORDER BY id{lock}",
            f"SELECT attribute, value FROM radreply WHERE username = '{login}' ORDER BY id{lock}",
            f"INSERT INTO radusergroup (username, groupname, priority) VALUES ('{login}', 'suspended', -1)",
            f"INSERT INTO radreply (username, attribute, op, value) VALUES ('{login}', 'X', ':=', '{value}')",
            f"UPDATE radusergroup SET priority = priority + {value} WHERE username = '{login}'",
            f"UPDATE radusergroup SET priority = {value} WHERE id = {dice.randint(1, 4)}",
            f"UPDATE radreply SET value = '{value}' WHERE username = '{login}'",
            f"DELETE FROM radusergroup WHERE username = '{login}' AND groupname = 'suspended'",
            f"UPDATE radacct SET acctsessiontime = {value} WHERE acctuniqueid = '{dice.choice(('u1', 'u2'))}'",
        )
    )


async def written_down(player: Player, kind: Database, dice: random.Random) -> list[str]:
    """Play a history by chance; return its lines, as `playbook` plays them."""
    lines: list[str] = []
    inside = {"A": "", "B": ""}
    waiting: set[str] = set()

    async def go(name: str, sql: str) -> None:
        lines.append(f"{name}> {sql}")
        player.begin(name, sql)
        waiting.add(name)
        await player.settle()
        came = player.came()
        if name not in came and waiting - set(came) == {name}:
            lines.append(f"{name}~")
        for one in came:
            waiting.discard(one)
            lines.append(f"{one}< {await player.answer(one)}")

    for _ in range(STATEMENTS):
        name = dice.choice(sorted({"A", "B"} - waiting))
        if not inside[name]:
            inside[name] = dice.choice(("WRITE", "WRITE", "BEGIN"))
            await go(name, inside[name])
        elif dice.random() < 0.2:
            await go(name, dice.choice(("COMMIT", "COMMIT", "ROLLBACK")))
            inside[name] = ""
        else:
            await go(name, statement(kind, dice, writes=inside[name] == "WRITE"))
            if "!" in lines[-1] and lines[-1][0] == name:
                await go(name, "ROLLBACK")  # as the agent does
                inside[name] = ""
    for name in sorted({"A", "B"} - waiting) + sorted(waiting):
        await go(name, "COMMIT")
    for sql in ROWS_LEFT:
        await go("A", " ".join(sql.split()))
    return lines
