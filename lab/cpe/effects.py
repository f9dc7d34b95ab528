"""Effects of setting a parameter: a radio that is switched off is down, a connection that is reset comes back."""

from __future__ import annotations

import re
from typing import Final

from lab.cpe.tree import Tree

# enable, the status that follows, what it is when on, what when off
_WAN: Final = r"InternetGatewayDevice\.WANDevice\.\d+\..+\.WANPPPConnection\.\d+\.Enable"
_FOLLOWS: Final = (
    (r"InternetGatewayDevice\.LANDevice\.\d+\.WLANConfiguration\.\d+\.Enable", "Status", "Up", "Disabled"),
    (_WAN, "ConnectionStatus", "Connected", "Disconnected"),
    (r"Device\.WiFi\.(Radio|SSID)\.\d+\.Enable", "Status", "Up", "Down"),
    (r"Device\.WiFi\.AccessPoint\.\d+\.Enable", "Status", "Enabled", "Disabled"),
    (r"Device\.PPP\.Interface\.\d+\.Enable", "ConnectionStatus", "Connected", "Disconnected"),
    (r"Device\.(PPP|IP|Optical)\.Interface\.\d+\.Enable", "Status", "Up", "Down"),
    (r"Device\.(NAT\.PortMapping|IP\.Interface\.\d+\.IPv4Address)\.\d+\.Enable", "Status", "Enabled", "Disabled"),
)  # fmt: skip
_PATTERNS: Final = tuple((re.compile(pattern), status, on, off) for pattern, status, on, off in _FOLLOWS)


def follow(tree: Tree, name: str) -> None:
    """Carry out the effects of a parameter that was just set."""
    path, _, last = name.rpartition(".")
    if last == "Enable":
        for pattern, status, on, off in _PATTERNS:
            if pattern.fullmatch(name):
                tree.put(f"{path}.{status}", on if tree.get(name) == "1" else off)
    elif last == "Reset" and tree.leaf(name) is not None:
        tree.write(name, "0")  # it always reads as false
