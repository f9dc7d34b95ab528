"""Updates of the program: a TUF repository on a web server or a USB stick, verified, fetched, installed by a person.

    release.py -> a repository (metadata/, targets/)           on the signers' machines
    channel.py -> update.toml                                  where from, which channel, which root keys
    repository_session.py -> a mirror of what is needed        by a user that may do nothing else
    repository_session.py -> Verified: once more, by root      from what was fetched; then `apply-update` installs it
    room.py -> an error with sizes                             where the disk has no room for it

* Nothing is trusted but the root document that the operator put in place; the control plane has no part in it.
* The installing user verifies each package, from a copy that only this user can write.
* An update that is older than one seen before, expired, of another product, release or architecture, or signed by too
  few keys is refused, and the installed one stays as it is.

Source: The Update Framework, specification 1.0.34, by python-tuf.
"""
