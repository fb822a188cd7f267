"""The first program in a sandbox: have the kernel hold the limits, give up being root, become the command.

It is run as a file, with nothing but the standard library: ``python _entry.py LIMITS COMMAND...``. LIMITS is
a JSON object of names in :mod:`resource` and, to become another user, ``user`` and its number.
"""

import json
import os
import resource
import sys


def main(wanted: dict[str, int], command: list[str]) -> None:
    """Set limits, the soft and the hard ones, and become the command."""
    user = wanted.pop("user", None)
    for name, most in wanted.items():
        kind = getattr(resource, name, None)
        if kind is not None:  # not every system has each
            _, hard = resource.getrlimit(kind)
            most = most if hard == resource.RLIM_INFINITY else min(most, hard)
            resource.setrlimit(kind, (most, most))
    if user is not None:
        os.setgroups([])
        os.setgid(user)
        os.setuid(user)
    os.execvp(command[0], command)


if __name__ == "__main__":
    main(json.loads(sys.argv[1]), sys.argv[2:])
