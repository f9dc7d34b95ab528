"""What accounting knows of sessions, and does not."""

from __future__ import annotations

import time

import trio

from lab.isp import Isp
from lab.population import LabService
from lab.sessions import Session
from tests.e2e.site import END_S


async def known_open(isp: Isp, service: LabService) -> list[str]:
    """Return the session ids that accounting has open of a service."""
    sql = "SELECT acctsessionid FROM radacct WHERE username = ? AND acctstoptime IS NULL ORDER BY radacctid"
    return [str(row[0]) for row in await isp.database.fetch(sql, (service.login,))]


async def until_known(isp: Isp, service: LabService) -> None:
    """Wait until accounting has what the BNG has."""
    with trio.fail_after(END_S):
        while await known_open(isp, service) != [s.session_id for s in isp.sessions(service.login)]:  # noqa: ASYNC110  another process writes
            await trio.sleep(0.02)


async def dial_unknown(isp: Isp, service: LabService) -> Session:
    """Let the service's session begin anew, with its Accounting-Start lost."""
    await isp.hang_up(service.login)
    isp.set_fault("start-lost", service.login)
    session = await isp.dial(service.login)
    isp.clear_faults(service.login)
    assert session is not None
    assert await known_open(isp, service) == []
    return session


async def add_ghost(isp: Isp, service: LabService, nas: str, *, sid: str = "ghost", age_s: int = 3 * 86400) -> None:
    """Leave a row open of a session that is over, as a lost Accounting-Stop does."""
    began = time.strftime("%Y-%m-%d %H:%M:%S", time.gmtime(time.time() - age_s))
    await isp.database.execute(
        "INSERT INTO radacct (acctsessionid, acctuniqueid, username, nasipaddress, framedipaddress, acctstarttime,"
        " acctupdatetime, callingstationid, calledstationid) VALUES (?, ?, ?, ?, '100.64.0.99', ?, ?, '', '')",
        (sid, f"{sid}-{service.login}"[:32], service.login, nas, began, began),
    )


async def unmark(isp: Isp, service: LabService) -> None:
    """Take the marker row away as staff do in daloRADIUS."""
    sql = "DELETE FROM radusergroup WHERE username = ? AND groupname = 'suspended'"
    await isp.database.execute(sql, (service.login,))


async def mark(isp: Isp, service: LabService) -> None:
    """Add the marker row by hand."""
    sql = "INSERT INTO radusergroup (username, groupname, priority) VALUES (?, 'suspended', -1)"
    await isp.database.execute(sql, (service.login,))
