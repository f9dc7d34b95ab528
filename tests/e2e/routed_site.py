"""BNG of the lab that are routers too."""

from __future__ import annotations

from lab.isp import Isp
from lab.population import LabService
from lab.router.device import Router

ROUTERS = {"routers": True}
RULES = "/ip/firewall/filter"


def router_of(isp: Isp, service: LabService) -> Router:
    return isp.routers[isp.nas_of(service.login).options.name]
