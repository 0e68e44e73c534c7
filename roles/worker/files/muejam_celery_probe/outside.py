# Copyright: muejam.celery contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Start the app's Python as the fleet's user."""

import json
import os
import subprocess
from pathlib import Path

from .redaction import redact

MARK = "muejam-celery-probe:"


def outside(source, request):
    """Start the app's Python as the fleet's user, in its directory and environment."""
    # What the role makes is not there in a rehearsal, or when only a part of the role runs: nobody's fault.
    needs = request["makes"] + (request["needs"] if request["rehearsal"] else [])
    missing = [path for path in needs if not Path(path).exists()]
    try:
        ids = identity(request["user"], request["group"])
    except KeyError as error:
        missing.append(error.args[0])
    if missing:
        return {"problems": [], "missing": missing}

    def become():
        if os.geteuid() == 0:
            os.setgroups(ids["groups"])
            os.setgid(ids["gid"])
            os.setuid(ids["uid"])
        os.chdir(request["directory"])
        os.umask(0o027)

    environment = dict(request["environment"], HOME=ids["home"], USER=request["user"], LOGNAME=request["user"])
    environment.setdefault("LANG", "C.UTF-8")
    environment.pop("CELERY_LIFECYCLE_STATUS_FILE", None)
    try:
        done = subprocess.run(
            [request["python"], "-c", source, source, "inside"],
            input=json.dumps(request),
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            errors="replace",
            env=environment,
            preexec_fn=become,
            timeout=request["timeout"],
            check=False,
        )
    except subprocess.TimeoutExpired:
        return {
            "problems": [
                "app: loading {app} took longer than start_timeout, {timeout} s: raise it, or see what the app waits "
                "for while it is imported".format(**request)
            ]
        }
    except (OSError, subprocess.SubprocessError) as error:
        return {
            "problems": [
                "user: cannot run {python} as {user} in {directory}: {error}".format(error=error, **request)
                + "; see that the user may enter the directory and run the program"
            ]
        }
    for line in reversed(done.stdout.splitlines()):
        if line.startswith(MARK):
            return json.loads(line[len(MARK) :])
    tail = redact(" | ".join(done.stdout.strip().splitlines()[-3:]), request)
    return {
        "problems": [
            "app: Python ended with code {} while it loaded {}: {}".format(
                done.returncode, request["app"], tail or "it said nothing"
            )
        ]
    }


def identity(user, group):
    """The numbers of the user that workers run as, and of all groups that systemd would give it."""
    import grp
    import pwd

    try:
        person = pwd.getpwnam(user)
    except KeyError:
        raise KeyError(f"user {user}") from None
    try:
        gid = grp.getgrnam(group).gr_gid
    except KeyError:
        raise KeyError(f"group {group}") from None
    return {"uid": person.pw_uid, "gid": gid, "home": person.pw_dir, "groups": os.getgrouplist(user, gid)}
