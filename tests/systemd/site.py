"""A site as an administrator sets it up: its configuration, its people, and the commands that are typed for it."""

from __future__ import annotations

from typing import Final

OUTSIDE, INSIDE = "203.0.113.9", "10.77.0.9"
"""A device elsewhere and one in a private network: addresses of the booted system itself, where nobody listens."""
CONFIG = f"""\
[agent]
name = "noc-1"

[people]
1001 = "maria"

[snmp-credential.read]
version = "2c"
community = "snmp/read"

[snmp.outside]
address = "{OUTSIDE}"
credential = "read"
timeout_s = 0.5
retries = 0

[snmp.inside]
address = "{INSIDE}"
credential = "read"
timeout_s = 0.5
retries = 0
"""

CONFIGURE: Final = f"""
printf 'u maria 1001\\nu joe 1002\\nm maria ispagent-noc\\n' | systemd-sysusers -
umask 027
cat >/etc/ispagent/agent.toml <<'END'
{CONFIG}END
chgrp ispagent /etc/ispagent/agent.toml
runuser -u ispagent -- ispagent init --enroll /var/lib/ispagent/enroll.json
runuser -u ispcloud -- ispcloud init --dir /var/lib/ispcloud --public-host localhost --listen 127.0.0.1:7443 \\
    --enrolment-listen 127.0.0.1:7444
runuser -u ispcloud -- ispcloud operators add hill-isp --dir /var/lib/ispcloud
"""
"""For a shell, after the installation of both packages. Neither program is started."""
