"""The conformance table: histories of two or three sessions, and what each server must answer.

The simulated server and the real one play the same text. A line that begins with `pg ` or `my ` is for one kind only.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from agent.connectors.radius.schema import Database

BOTH: Final = (Database.POSTGRESQL, Database.MARIADB)
PG: Final = (Database.POSTGRESQL,)
MY: Final = (Database.MARIADB,)
_TAGS: Final = {"pg ": Database.POSTGRESQL, "my ": Database.MARIADB}


@dataclass(frozen=True, slots=True)
class SqlCase:
    """One history. `whole`: the tables are read whole. `timeout_s`: of locks and statements."""

    name: str
    kinds: tuple[Database, ...]
    text: str
    whole: bool = False
    timeout_s: float = 30.0

    def lines(self, kind: Database) -> Sequence[str]:
        """Return the lines for one kind of server."""
        stripped = [" ".join(line.split()) for line in self.text.strip().splitlines()]
        return [
            line[3:] if line[:3] in _TAGS else line
            for line in stripped
            if line[:3] not in _TAGS or _TAGS[line[:3]] is kind
        ]


CASES: Final = (
    SqlCase(
        "nothing is seen before COMMIT, everything after",
        BOTH,
        """
        A> BEGIN
        A< ok
        A> UPDATE radusergroup SET priority = 3 WHERE username = 'bob'
        A< =1
        B> SELECT priority FROM radusergroup WHERE username = 'bob'
        B< [1]
        A> SELECT priority FROM radusergroup WHERE username = 'bob'
        A< [3]
        A> COMMIT
        A< ok
        B> SELECT priority FROM radusergroup WHERE username = 'bob'
        B< [3]
        """,
    ),
    SqlCase(
        "a rollback leaves the rows, and takes back no row id",
        BOTH,
        """
        A> BEGIN
        A< ok
        A> INSERT INTO radreply (username, attribute, op, value) VALUES ('carl', 'X', ':=', '1')
        A< =1
        A> DELETE FROM radreply WHERE username = 'bob'
        A< =1
        A> ROLLBACK
        A< ok
        A> SELECT count(*) FROM radreply WHERE username = 'carl'
        A< [0]
        A> INSERT INTO radreply (username, attribute, op, value) VALUES ('carl', 'X', ':=', '2')
        A< =1
        A> SELECT id, value FROM radreply WHERE username IN ('bob', 'carl') ORDER BY id
        A< [2 100.64.1.8] [84 2]
        """,
    ),
    SqlCase(
        "a reading transaction sees one state",
        BOTH,
        """
        A> READ
        A< ok
        A> SELECT groupname, priority FROM radusergroup WHERE username = 'amina' ORDER BY id
        A< [home20 1] [vip 5]
        B> DELETE FROM radusergroup WHERE username = 'amina' AND groupname = 'vip'
        B< =1
        B> INSERT INTO radusergroup (username, groupname, priority) VALUES ('amina', 'suspended', -1)
        B< =1
        A> SELECT groupname, priority FROM radusergroup WHERE username = 'amina' ORDER BY id
        A< [home20 1] [vip 5]
        A> COMMIT
        A< ok
        A> SELECT groupname, priority FROM radusergroup WHERE username = 'amina' ORDER BY priority
        A< [suspended -1] [home20 1]
        """,
    ),
    SqlCase(
        "MariaDB's reading transaction sees the state of its beginning, PostgreSQL's that of its first statement",
        BOTH,
        """
        A> READ
        A< ok
        B> UPDATE radusergroup SET priority = 2 WHERE username = 'bob'
        B< =1
        A> SELECT priority FROM radusergroup WHERE username = 'bob'
        my A< [1]
        pg A< [2]
        """,
    ),
    SqlCase(
        "a reading transaction writes nothing",
        BOTH,
        """
        A> READ
        A< ok
        A> UPDATE radusergroup SET priority = 2 WHERE username = 'bob'
        pg A< !refused 25006
        my A< !refused 1792
        A> SELECT priority FROM radusergroup WHERE username = 'bob'
        pg A< !refused 25P02
        my A< [1]
        """,
    ),
    SqlCase(
        "a plain transaction sees what others commit with PostgreSQL, and not with MariaDB",
        BOTH,
        """
        A> BEGIN
        A< ok
        A> SELECT priority FROM radusergroup WHERE username = 'bob'
        A< [1]
        B> UPDATE radusergroup SET priority = 2 WHERE username = 'bob'
        B< =1
        A> SELECT priority FROM radusergroup WHERE username = 'bob'
        pg A< [2]
        my A< [1]
        """,
    ),
    SqlCase(
        "an update waits for the row, then acts on what it finds",
        BOTH,
        """
        A> BEGIN
        A< ok
        A> UPDATE radusergroup SET priority = priority + 10 WHERE username = 'bob'
        A< =1
        B> UPDATE radusergroup SET priority = priority + 1 WHERE username = 'bob'
        B~
        A> COMMIT
        A< ok
        B< =1
        B> SELECT priority FROM radusergroup WHERE username = 'bob'
        B< [12]
        """,
    ),
    SqlCase(
        "an update that waited leaves a row that no longer meets its condition",
        BOTH,
        """
        A> BEGIN
        A< ok
        A> UPDATE radusergroup SET groupname = 'home20' WHERE username = 'bob'
        A< =1
        B> UPDATE radusergroup SET priority = 9 WHERE username = 'bob' AND groupname = 'home50'
        B~
        A> COMMIT
        A< ok
        B< =0
        """,
    ),
    SqlCase(
        "an update that waited for a transaction which is rolled back goes on",
        BOTH,
        """
        A> BEGIN
        A< ok
        A> DELETE FROM radusergroup WHERE username = 'bob'
        A< =1
        B> UPDATE radusergroup SET priority = 9 WHERE username = 'bob'
        B~
        A> ROLLBACK
        A< ok
        B< =1
        """,
    ),
    SqlCase(
        "the writing transaction gives way to who changed its row first",
        PG,
        """
        A> WRITE
        A< ok
        A> SELECT priority FROM radusergroup WHERE username = 'bob'
        A< [1]
        B> BEGIN
        B< ok
        B> UPDATE radusergroup SET priority = 2 WHERE username = 'bob'
        B< =1
        A> UPDATE radusergroup SET priority = 3 WHERE username = 'bob'
        A~
        B> COMMIT
        B< ok
        A< !conflict 40001
        A> SELECT 1
        A< !refused 25P02
        A> ROLLBACK
        A< ok
        A> SELECT priority FROM radusergroup WHERE username = 'bob'
        A< [2]
        """,
    ),
    SqlCase(
        "the writing transaction holds what it read",
        MY,
        """
        A> WRITE
        A< ok
        A> SELECT priority FROM radusergroup WHERE username = 'bob' ORDER BY id FOR UPDATE
        A< [1]
        B> UPDATE radusergroup SET priority = 2 WHERE username = 'bob'
        B~
        A> UPDATE radusergroup SET priority = 3 WHERE id = 3
        A< =1
        A> COMMIT
        A< ok
        B< =1
        A> SELECT priority FROM radusergroup WHERE username = 'bob'
        A< [2]
        """,
    ),
    SqlCase(
        "of two that read each other's rows before they write, one gives way at COMMIT",
        PG,
        """
        A> WRITE
        A< ok
        B> WRITE
        B< ok
        A> SELECT groupname FROM radusergroup WHERE username = 'bob'
        A< [home50]
        B> SELECT groupname FROM radusergroup WHERE username = 'dora'
        B< [home20]
        A> UPDATE radusergroup SET priority = 2 WHERE username = 'dora'
        A< =1
        B> UPDATE radusergroup SET priority = 2 WHERE username = 'bob'
        B< =1
        A> COMMIT
        A< ok
        B> COMMIT
        B< !conflict 40001
        B> SELECT priority FROM radusergroup WHERE username IN ('bob', 'dora') ORDER BY id
        B< [1] [2]
        """,
    ),
    SqlCase(
        "of two that found no rows and insert some, one gives way",
        BOTH,
        """
        A> WRITE
        A< ok
        B> WRITE
        B< ok
        pg A> SELECT groupname FROM radusergroup WHERE username = 'carl'
        my A> SELECT groupname FROM radusergroup WHERE username = 'carl' ORDER BY id FOR UPDATE
        A< []
        pg B> SELECT groupname FROM radusergroup WHERE username = 'carl'
        my B> SELECT groupname FROM radusergroup WHERE username = 'carl' ORDER BY id FOR UPDATE
        B< []
        A> INSERT INTO radusergroup (username, groupname, priority) VALUES ('carl', 'a', 1)
        pg A< =1
        my A~
        B> INSERT INTO radusergroup (username, groupname, priority) VALUES ('carl', 'b', 1)
        pg B< =1
        my B< !conflict 1213
        my A< =1
        A> COMMIT
        A< ok
        B> COMMIT
        pg B< !conflict 40001
        my B< ok
        B> SELECT groupname FROM radusergroup WHERE username = 'carl'
        B< [a]
        """,
    ),
    SqlCase(
        "somebody who is not serializable is no conflict for rows that do not exist",
        PG,
        """
        A> WRITE
        A< ok
        A> SELECT groupname FROM radusergroup WHERE username = 'carl'
        A< []
        B> INSERT INTO radusergroup (username, groupname, priority) VALUES ('carl', 'b', 1)
        B< =1
        A> INSERT INTO radusergroup (username, groupname, priority) VALUES ('carl', 'a', 1)
        A< =1
        A> COMMIT
        A< ok
        A> SELECT groupname FROM radusergroup WHERE username = 'carl' ORDER BY id
        A< [b] [a]
        """,
    ),
    SqlCase(
        "three rows of a table that are read are the whole page",
        PG,
        """
        A> WRITE
        A< ok
        B> WRITE
        B< ok
        A> SELECT groupname FROM radusergroup WHERE username = 'amina' ORDER BY id
        A< [home20] [vip]
        A> SELECT groupname FROM radusergroup WHERE username = 'bob'
        A< [home50]
        B> SELECT groupname FROM radusergroup WHERE username = 'f01'
        B< [home20]
        B> UPDATE radusergroup SET priority = 7 WHERE username = 'f02'
        B< =1
        A> UPDATE radusergroup SET priority = 7 WHERE username = 'f01'
        A< =1
        B> COMMIT
        B< ok
        A> COMMIT
        A< !conflict 40001
        """,
    ),
    SqlCase(
        "two rows of a table that are read are no others",
        PG,
        """
        A> WRITE
        A< ok
        B> WRITE
        B< ok
        A> SELECT groupname FROM radusergroup WHERE username = 'amina' ORDER BY id
        A< [home20] [vip]
        B> SELECT groupname FROM radusergroup WHERE username = 'f01'
        B< [home20]
        B> UPDATE radusergroup SET priority = 7 WHERE username = 'f01'
        B< =1
        A> UPDATE radusergroup SET priority = 7 WHERE username = 'amina'
        A< =2
        B> COMMIT
        B< ok
        A> COMMIT
        A< ok
        """,
    ),
    SqlCase(
        "a small table is read whole, and every two writers conflict",
        PG,
        """
        A> WRITE
        A< ok
        B> WRITE
        B< ok
        A> SELECT groupname FROM radusergroup WHERE username = 'bob'
        A< [home50]
        B> SELECT groupname FROM radusergroup WHERE username = 'dora'
        B< [home20]
        A> UPDATE radusergroup SET priority = 2 WHERE username = 'bob'
        A< =1
        B> UPDATE radusergroup SET priority = 2 WHERE username = 'dora'
        B< =1
        A> COMMIT
        A< ok
        B> COMMIT
        B< !conflict 40001
        """,
        whole=True,
    ),
    SqlCase(
        "a small table is locked whole by who reads one login to write",
        MY,
        """
        A> WRITE
        A< ok
        A> SELECT groupname FROM radusergroup WHERE username = 'bob' ORDER BY id FOR UPDATE
        A< [home50]
        B> UPDATE radusergroup SET priority = 2 WHERE username = 'dora'
        B~
        A> COMMIT
        A< ok
        B< =1
        """,
        whole=True,
    ),
    SqlCase(
        "a row that was changed since the transaction read ends it",
        MY,
        """
        A> BEGIN
        A< ok
        A> SELECT priority FROM radusergroup WHERE username = 'bob'
        A< [1]
        B> UPDATE radusergroup SET priority = 2 WHERE username = 'bob'
        B< =1
        A> INSERT INTO radusergroup (username, groupname, priority) VALUES ('carl', 'a', 1)
        A< =1
        A> SELECT priority FROM radusergroup WHERE username = 'bob' FOR UPDATE
        A< !refused 1020
        A> SELECT count(*) FROM radusergroup WHERE username = 'carl'
        A< [0]
        """,
    ),
    SqlCase(
        "a locking read alone sees what is committed now",
        MY,
        """
        A> WRITE
        A< ok
        B> UPDATE radusergroup SET priority = 2 WHERE username = 'bob'
        B< =1
        A> SELECT priority FROM radusergroup WHERE username = 'bob' ORDER BY id FOR UPDATE
        A< [2]
        """,
    ),
    SqlCase(
        "an error ends PostgreSQL's transaction, and its COMMIT says nothing",
        PG,
        """
        A> BEGIN
        A< ok
        A> UPDATE radusergroup SET priority = 2 WHERE username = 'bob'
        A< =1
        A> INSERT INTO radacct (acctsessionid, acctuniqueid, username, nasipaddress) VALUES ('s', 'u1', 'x', \
            '10.0.0.1')
        A< !refused 23505
        B> UPDATE radusergroup SET priority = 3 WHERE username = 'bob'
        B< =1
        A> COMMIT
        A< ok
        A> SELECT priority FROM radusergroup WHERE username = 'bob'
        A< [3]
        """,
    ),
    SqlCase(
        "an error ends a statement of MariaDB's, not the transaction",
        MY,
        """
        A> BEGIN
        A< ok
        A> UPDATE radusergroup SET priority = 2 WHERE username = 'bob'
        A< =1
        A> INSERT INTO radacct (acctsessionid, acctuniqueid, username, nasipaddress) VALUES ('s', 'u1', 'x', \
            '10.0.0.1')
        A< !refused 1062
        A> COMMIT
        A< ok
        A> SELECT priority FROM radusergroup WHERE username = 'bob'
        A< [2]
        """,
    ),
    SqlCase(
        "a key that another is about to insert is waited for",
        BOTH,
        """
        A> BEGIN
        A< ok
        A> INSERT INTO radacct (acctsessionid, acctuniqueid, username, nasipaddress) VALUES ('s', 'u9', 'x', \
            '10.0.0.1')
        A< =1
        B> INSERT INTO radacct (acctsessionid, acctuniqueid, username, nasipaddress) VALUES ('s', 'u9', 'y', \
            '10.0.0.1')
        B~
        A> ROLLBACK
        A< ok
        B< =1
        A> INSERT INTO radacct (acctsessionid, acctuniqueid, username, nasipaddress) VALUES ('s', 'u9', 'z', \
            '10.0.0.1')
        pg A< !refused 23505
        my A< !refused 1062
        """,
    ),
    SqlCase(
        "two that want each other's row: who waits longer gives way with PostgreSQL, the last one with MariaDB",
        BOTH,
        """
        A> BEGIN
        A< ok
        B> BEGIN
        B< ok
        A> UPDATE radusergroup SET priority = 2 WHERE username = 'bob'
        A< =1
        B> UPDATE radusergroup SET priority = 2 WHERE username = 'dora'
        B< =1
        A> UPDATE radusergroup SET priority = 3 WHERE username = 'dora'
        A~
        B> UPDATE radusergroup SET priority = 3 WHERE username = 'bob'
        my B< !conflict 1213
        my A< =1
        pg A< !conflict 40P01
        pg B< =1
        A> COMMIT
        A< ok
        B> COMMIT
        B< ok
        A> SELECT username, priority FROM radusergroup WHERE username IN ('bob', 'dora') ORDER BY id
        my A< [bob 2] [dora 3]
        pg A< [bob 3] [dora 2]
        """,
    ),
    SqlCase(
        "the victim of a deadlock is in no transaction any more",
        MY,
        """
        A> BEGIN
        A< ok
        B> BEGIN
        B< ok
        A> UPDATE radusergroup SET priority = 2 WHERE username = 'bob'
        A< =1
        B> UPDATE radusergroup SET priority = 2 WHERE username = 'dora'
        B< =1
        A> UPDATE radusergroup SET priority = 3 WHERE username = 'dora'
        A~
        B> UPDATE radusergroup SET priority = 3 WHERE username = 'bob'
        B< !conflict 1213
        A< =1
        B> UPDATE radusergroup SET priority = 9 WHERE username = 'amina'
        B< =2
        A> SELECT priority FROM radusergroup WHERE username = 'amina' ORDER BY id
        A< [9] [9]
        """,
    ),
    SqlCase(
        "a lock that is not had in time",
        BOTH,
        """
        A> BEGIN
        A< ok
        A> UPDATE radusergroup SET priority = 2 WHERE username = 'bob'
        A< =1
        B> BEGIN
        B< ok
        B> UPDATE radusergroup SET priority = 7 WHERE username = 'dora'
        B< =1
        B> UPDATE radusergroup SET priority = 3 WHERE username = 'bob'
        B~
        pg B< !busy 57014
        my B< !busy 1969
        A> COMMIT
        A< ok
        B> COMMIT
        B< ok
        A> SELECT username, priority FROM radusergroup WHERE username IN ('bob', 'dora') ORDER BY id
        pg A< [bob 2] [dora 1]
        my A< [bob 2] [dora 7]
        """,
        timeout_s=1.5,
    ),
    SqlCase(
        "rows that keep their values count with PostgreSQL, not with MariaDB",
        BOTH,
        """
        A> UPDATE radusergroup SET priority = 1 WHERE username = 'bob'
        pg A< =1
        my A< =0
        A> UPDATE radusergroup SET priority = 5 WHERE username = 'amina'
        pg A< =2
        my A< =1
        """,
    ),
    SqlCase(
        "a connection that the server ends is gone with its transaction",
        BOTH,
        """
        A> BEGIN
        A< ok
        A> UPDATE radusergroup SET priority = 2 WHERE username = 'bob'
        A< =1
        B> UPDATE radusergroup SET priority = 9 WHERE username = 'bob'
        B~
        A! killed
        B< =1
        A> COMMIT
        pg A< !unreachable 57P01
        my A< !unreachable 2013
        A> SELECT 1
        A< !unreachable
        B> SELECT priority FROM radusergroup WHERE username = 'bob'
        B< [9]
        """,
    ),
    SqlCase(
        "nobody inserts a row where one could be that was looked for",
        MY,
        """
        A> WRITE
        A< ok
        A> SELECT groupname FROM radusergroup WHERE username = 'amina' ORDER BY id FOR UPDATE
        A< [home20] [vip]
        B> INSERT INTO radusergroup (username, groupname, priority) VALUES ('carl', 'a', 1)
        B< =1
        B> INSERT INTO radusergroup (username, groupname, priority) VALUES ('zed', 'a', 1)
        B< =1
        B> INSERT INTO radusergroup (username, groupname, priority) VALUES ('amina', 'c', 1)
        B~
        C> INSERT INTO radusergroup (username, groupname, priority) VALUES ('anna', 'c', 1)
        C~
        A> COMMIT
        A< ok
        B< =1
        C< =1
        """,
    ),
    SqlCase(
        "logins are equal without case, accents and trailing blanks with MariaDB",
        BOTH,
        """
        A> INSERT INTO radusergroup (username, groupname, priority) VALUES ('José', 'a', 1)
        A< =1
        A> SELECT groupname FROM radusergroup WHERE username = 'jose'
        pg A< []
        my A< [a]
        A> SELECT groupname FROM radusergroup WHERE username = 'JOSÉ '
        pg A< []
        my A< [a]
        A> SELECT groupname FROM radusergroup WHERE username = 'José'
        A< [a]
        """,
    ),
    SqlCase(
        "a session in accounting is closed at the time when it was last heard of",
        BOTH,
        """
        A> WRITE
        A< ok
        pg A> SELECT acctuniqueid, extract(epoch FROM acctupdatetime)::bigint FROM radacct WHERE acctuniqueid = \
            'u1' AND acctstoptime IS NULL FOR UPDATE
        my A> SELECT acctuniqueid, unix_timestamp(acctupdatetime) FROM radacct WHERE acctuniqueid = 'u1' AND \
            (acctstoptime IS NULL OR acctstoptime = 0) FOR UPDATE
        A< [u1 1600]
        B> UPDATE radacct SET acctsessiontime = 60 WHERE acctuniqueid = 'u2'
        B< =1
        B> UPDATE radacct SET acctsessiontime = 60 WHERE acctuniqueid = 'u1'
        B~
        A> UPDATE radacct SET acctstoptime = COALESCE(acctupdatetime, acctstarttime), \
            acctterminatecause = 'Stale-Session' WHERE acctuniqueid = 'u1' AND acctstoptime IS NULL
        A< =1
        A> COMMIT
        A< ok
        B< =1
        pg A> SELECT extract(epoch FROM acctstoptime)::bigint, acctsessiontime FROM radacct WHERE username = 'amina' \
            ORDER BY radacctid
        my A> SELECT unix_timestamp(acctstoptime), acctsessiontime FROM radacct WHERE username = 'amina' \
            ORDER BY radacctid
        A< [1600 60] [700 60]
        """,
    ),
    SqlCase(
        "a session whose row was changed meanwhile is not closed with PostgreSQL, and is with MariaDB",
        BOTH,
        """
        A> BEGIN
        A< ok
        A> UPDATE radacct SET acctsessiontime = 60 WHERE acctuniqueid = 'u1'
        A< =1
        B> WRITE
        B< ok
        pg B> SELECT acctuniqueid FROM radacct WHERE acctuniqueid = 'u1' AND acctstoptime IS NULL FOR UPDATE
        my B> SELECT acctuniqueid FROM radacct WHERE acctuniqueid = 'u1' AND (acctstoptime IS NULL OR \
            acctstoptime = 0) FOR UPDATE
        B~
        A> COMMIT
        A< ok
        pg B< !conflict 40001
        my B< [u1]
        """,
    ),
)
"""Every history in which the servers and the simulated one agree."""
