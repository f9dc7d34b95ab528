"""`ispcloud desk`: this desk's place at the control plane. It opens a connection, and gives no authority."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from control_plane.desk import cloud_client, cloud_identity, files
from control_plane.desk.cli_shared import AsJson, CloudFile, home, now_s, print_json
from control_plane.errors import InputError
from protos import member_files
from trust.moments import moment_json, moment_text

app = typer.Typer()


@app.command("enroll")
def enroll(
    invite: Annotated[Path, typer.Option("--invite", help="The invitation that your cloud's admin made; used once")],
    cloud: CloudFile = None,
) -> None:
    """Make a TLS key here, and get its certificate with the invitation's one-time token."""
    path = cloud or home("cloud.json")
    if path.exists():
        raise InputError(f"{path}: this desk is enrolled already; remove that file first to enrol anew")
    data = files.read(invite, member_files.FILE_BYTES, "an invitation")
    invitation = member_files.read_invitation_untrusted(data, member_files.AT_DESKS)
    files.make_private_folder(path.parent)
    identity = cloud_client.enroll(invitation)
    files.write_new(path, member_files.encode_credentials(identity))
    ends = moment_text(cloud_identity.life(identity).ends_s)
    typer.echo(f"{path}: enrolled as {identity.kind} {identity.name} at {identity.server}; renews by itself ({ends})")


@app.command("show")
def show(cloud: CloudFile = None, as_json: AsJson = False) -> None:
    """Show the control plane of this desk, its identity there, and until when its certificate holds."""
    path = cloud or home("cloud.json")
    identity = cloud_identity.load(path)
    ends_s = cloud_identity.life(identity).ends_s
    if as_json:
        print_json(
            {
                "server": identity.server,
                "operator": identity.operator,
                "kind": identity.kind,
                "name": identity.name,
                "certificate_until": moment_json(ends_s),
            }
        )
        return
    late = " · OVER: enrol anew" if now_s() > ends_s else ""
    typer.echo(f"{identity.kind} {identity.name} of operator {identity.operator} at {identity.server}")
    typer.echo(f"certificate until {moment_text(ends_s)}{late}")
