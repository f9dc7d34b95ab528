"""The control plane is put back to an earlier copy of its data: what was done is not done again, a freeze arrives."""

from __future__ import annotations

import shutil
from collections import Counter

import trio

from control_plane.desk.errors import CloudAwayError
from lab.population import LabService
from protos import message_pb2 as pb
from tests.e2e.cloud_site import CloudProgram, Company, cloud_program, company, open_proxy
from tests.e2e.files import ordinary, ref_of
from tests.torture.rounds import Lives, Round, Servers

CHANGES = 6
ARRIVES_S = 60.0
"""How long a message of a desk may take to an agent that is connected, or about to be."""


class CloudSite:
    """An operator with a control plane, an agent in its lives, and two desks."""

    def __init__(self, about: Round, cloud: CloudProgram, here: Company) -> None:
        self.round, self.cloud, self.here = about, cloud, here
        self.lives = Lives(about, here.files)
        self.done: Counter[str] = Counter()

    async def send(self, who: str, kind: pb.Kind, body: bytes) -> None:
        """Have a desk send a message, again and again until it is taken."""
        with trio.fail_after(ARRIVES_S):
            while True:
                try:
                    await self.here.desks[who].send(kind, body, self.here.agent)
                    return
                except CloudAwayError:
                    await trio.sleep(0.2)

    async def suspend(self, service: LabService) -> None:
        """Suspend somebody; the approval goes by the control plane."""
        office = self.lives.office
        change = await self.lives.patiently(lambda: office.ask("suspend", ref_of(service)))
        await self.send("joseph", pb.KIND_APPROVAL, office.approval(change, "joseph"))
        self.done[service.login] += 1
        with trio.move_on_after(ARRIVES_S) as late:
            while not self.lives.file.finished(change["id"]):  # noqa: ASYNC110  of another process
                await trio.sleep(0.1)
        if late.cancelled_caught:
            self.round.wrong("lost", f"an approval of {change['id']} did not arrive", ref_of(service))

    async def put_back(self) -> None:
        """Let the control plane run on a copy of its data from before, as a snapshot of its machine does."""
        self.cloud.kill()
        shutil.rmtree(self.cloud.folder)
        shutil.copytree(self.here.folder / "snapshot", self.cloud.folder)
        self.cloud.start()
        self.round.say("the control plane is put back")

    async def freeze(self) -> None:
        """Have lena freeze everything; judge that it arrives."""
        await self.send("lena", pb.KIND_FREEZE, self.here.files.people.freeze("lena"))
        office = self.lives.office
        with trio.move_on_after(ARRIVES_S):
            while True:
                status = await self.lives.patiently(lambda: office.call("GET", "/v1/status"))
                if status["frozen"]:
                    return
                await trio.sleep(0.2)
        cloud = await office.call("GET", "/v1/cloud")
        self.round.wrong("lost", f"a freeze did not arrive within {ARRIVES_S:.0f} s: {cloud.get('problem')}")

    async def judge(self) -> None:
        """Judge that everybody was thrown out once for each change."""
        rows = await self.here.isp.database.fetch("SELECT username, COUNT(*) FROM radacct GROUP BY username")
        sessions = {str(login): int(n) for login, n in rows}
        for login, times in self.done.items():
            if sessions[login] != 1 + times:
                self.round.wrong("twice", f"{login} had {sessions[login]} sessions, and {times} changes ended one each")


async def play(about: Round, _: Servers) -> None:
    """Play a round."""
    dice = about.dice("put back")
    (about.folder / "control").mkdir()
    with cloud_program(about.folder / "control") as cloud:
        options = "[cloud]\ncheckpoint_s = 1\n"
        async with (
            open_proxy(cloud) as proxy,
            company(about.folder, cloud, desks=(), agent=options) as here,
            trio.open_nursery() as nursery,
        ):
            for who in ("joseph", "lena"):
                here.desk(who, server=proxy.address)
            site = CloudSite(about, cloud, here)
            lives = site.lives
            try:
                await lives.begin()
                await nursery.start(lives.watched)
                await lives.office.install()
                await lives.kill()
                await lives.begin()
                services, at = ordinary(here.isp, CHANGES), dice.randrange(1, CHANGES)
                about.faults = [f"copied after {at} of {CHANGES}"]
                for n, service in enumerate(services):
                    if n == at:
                        cloud.stop()
                        shutil.copytree(cloud.folder, about.folder / "snapshot")
                        cloud.start()
                    await site.suspend(service)
                if dice.random() < 0.5:
                    about.faults.append("agent killed")
                    await lives.kill()
                    await site.put_back()
                    await lives.begin()
                else:
                    await site.put_back()
                await site.freeze()
                await trio.sleep(3)
                await lives.settled(about.settle_s)
                await lives.check_rest()
                await site.judge()
                about.count["changes"] += sum(site.done.values())
            finally:
                lives.end()
                nursery.cancel_scope.cancel()
