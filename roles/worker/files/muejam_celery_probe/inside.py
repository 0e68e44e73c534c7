# Copyright: muejam.celery contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Run in the app's own Python: import, look, answer."""

import importlib
import importlib.util
import sys
from pathlib import Path

from .look import look
from .redaction import place, reason


def inside(request):
    """Run in the app's own Python: import, look, answer."""
    answer = {"problems": []}
    say = answer["problems"].append
    # `python -c` looks in the current directory first, which the `celery` command does not.
    if sys.path[:1] in ([""], [str(Path.cwd())]):
        del sys.path[0]
    for name, sign in (("celery", "bootsteps.py"), ("kombu", "pidbox.py")):
        other = shadow(name, sign)
        if other:
            say(
                f"environment.PYTHONPATH: {other} is taken for the library {name}: rename it, or leave its directory "
                "out of PYTHONPATH"
            )
            return answer
    try:
        import celery
        import kombu
    except Exception as error:
        say(
            "virtualenv: {} has no usable celery: {}; install celery into it, or add it to packages".format(
                request["python"], reason(error, request)
            )
        )
        return answer
    answer.update(celery=celery.__version__, kombu=kombu.__version__, python=sys.version.split()[0])
    if request["pool"] == "gevent":
        try:
            import gevent  # noqa: F401
        except Exception as error:
            say(
                "pool: gevent cannot be imported by {}: {}; install gevent there, or add it to packages".format(
                    request["python"], reason(error, request)
                )
            )
            return answer
        celery.maybe_patch_concurrency(["celery", "worker", "--pool=gevent"])
    app = load(request, say)
    if app is not None:
        request["loaded"] = app
        look(app, request, answer, say)
    return answer


def shadow(name, sign):
    """The file that is imported in place of a library, which has the file `sign`; None when there is none."""
    found = importlib.util.find_spec(name)
    if found is None or (Path(found.origin or "").parent / sign).exists():
        return None
    return found.origin or next(iter(found.submodule_search_locations or ()), None)


def load(request, say):
    """The app object, or None with the reason said."""
    from celery.app.utils import find_app

    name = request["app"]
    module = name.partition(":")[0]
    if module.partition(".")[0] in ("celery", "kombu"):
        say(
            f"app: {name} is the library itself: name your module with its package, such as proj.celery, with "
            "working_directory above it, or rename the file"
        )
        return None
    # As the `celery` command does, which finds an app beside it.
    sys.path.insert(0, str(Path.cwd()))
    # One by one, because `find_app` takes some failed imports for a missing attribute and hides what failed.
    try:
        package = imported(module)
        if package is None and ":" not in name and "." in module:
            package = imported(module.rpartition(".")[0])
        if package is None:
            say(
                f"app: there is no module {module}: check app, working_directory ({request['directory']}) "
                "and PYTHONPATH"
            )
            return None
        if hasattr(package, "__path__") and ":" not in name:
            imported(module + ".celery")
    except BaseException as error:
        say(f"app: {reason(error, request)} while importing {module}{place(error)}")
        return None
    try:
        app = find_app(name)
    except (AttributeError, ImportError) as error:
        say(f"app: there is no Celery app at {name}: {reason(error, request)}; name it, such as {module}:app")
        return None
    if not hasattr(app, "connection_for_read"):
        say(f"app: {name} is no Celery app but a {type(app).__name__}; name the app, such as {module}:app")
        return None
    return app


def imported(module):
    """The module, or None when there is no such module; what goes wrong inside of it is raised."""
    try:
        return importlib.import_module(module)
    except ModuleNotFoundError as error:
        if error.name and (module == error.name or module.startswith(error.name + ".")):
            return None
        raise
