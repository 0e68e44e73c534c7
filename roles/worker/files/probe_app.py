# Copyright: muejam.celery contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Load a Celery app as its worker would, and say what is wrong with it, before a worker is touched.

Started twice from one text. As root by the role, with the request on standard input (the environment of a worker
holds secrets, so it is on no command line): becomes the fleet's user and starts the app's own Python. There, it
imports the app and answers with one line of JSON: {"problems": [...], "celery": "5.6.3", ...}, among them what the app
itself sets for the transport and its queues, so that whoever reads the broker reads it as the app does.
"""

import contextlib
import importlib
import importlib.abc
import importlib.util
import json
import os
import re
import subprocess
import sys
import traceback
from collections.abc import Mapping
from pathlib import Path
from urllib.parse import unquote

MARK = "muejam-celery-probe:"
CONFIG = "the configuration"
MASK = "********"
# What Celery counts with, by the type that it says of a setting.
NEEDS = {"bool": "true or false", "int": "a number", "float": "a number"}
# Options of the app that whoever reads its broker has to know. None of them is a secret.
TRANSPORT_OPTIONS = (
    "global_keyprefix", "sep", "priority_steps", "queue_order_strategy", "visibility_timeout",
    "unacked_key", "unacked_index_key", "unacked_mutex_key", "unacked_mutex_expire", "unacked_restore_limit",
    "fanout_prefix", "fanout_patterns", "ack_emulation", "master_name", "sentinel_fanout_compat",
)  # fmt: skip


def main():
    """Answer with one line of JSON, whatever happens."""
    source, request = sys.argv[1], json.load(sys.stdin)
    if len(sys.argv) > 2:
        answer = inside(request)
        print("\n" + MARK + json.dumps(answer), flush=True)
        # Threads and exit handlers of an app are not to hold up the answer.
        os._exit(0)
    print(json.dumps(outside(source, request)))


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


def look(app, request, answer, say):
    """What only the loaded app can tell: its settings, its broker, whether our module loads beside it."""
    conf = app.conf
    try:
        conf.get("worker_state_db")
    except BaseException as error:
        say("app: {} while reading {} of {}{}".format(reason(error, request), CONFIG, request["app"], place(error)))
        return
    settings(app, request, say)
    options = conf.broker_transport_options
    if not isinstance(options, Mapping):
        say(f"app: its broker_transport_options is {kind_of(options)}, and Celery needs a dictionary: correct it there")
        return
    try:
        tell_facts(app, request, answer)
        check_queues(app, request, say)
    except Exception as error:
        say(f"app: {reason(error, request)} while reading its queues and transport options{place(error)}")
        return
    for key, name, value in (
        ("visibility_timeout", "broker_transport_options.visibility_timeout", options.get("visibility_timeout")),
        ("time_limit", "task_time_limit", conf.task_time_limit),
        ("soft_time_limit", "task_soft_time_limit", conf.task_soft_time_limit),
        ("prefetch_multiplier", "worker_prefetch_multiplier", conf.worker_prefetch_multiplier),
    ):
        answer["app_" + key] = value if is_number(value) else None
        if value is not None and not is_number(value):
            say(f"app: its {name} is {kind_of(value)}, and Celery needs a number: convert it in the app, as with int()")
    answer["acks_late"] = bool(conf.task_acks_late)
    try:
        connection = app.connection_for_read()
        connection.transport  # noqa: B018  (needs the client library of this broker)
        own = conf.broker_read_url
        if not_encoded(own) or places(own) != places(request["environment"]["CELERY_BROKER_URL"]):
            say(f"broker_url: the app insists on another broker, {told(own)}: remove broker_read_url from its settings")
    except Exception as error:
        say(f"broker_url: the app's virtualenv cannot use this broker: {reason(error, request)}")
    if request["include"]:
        try:
            # From its texts: it may not be on the host yet, and what is there may be of an older version.
            sys.meta_path.insert(0, Texts(request["include"], request["lifecycle"]))
            importlib.import_module(request["include"])
            transport = importlib.import_module(request["include"] + ".transport")
        except BaseException as error:
            say("notify: {} cannot be loaded beside the app: {}".format(request["include"], reason(error, request)))
            return
        try:
            wanted = transport.configure_transport(app, request["environment"])
            for fault in transport.overruled(app, app.connection_for_read(), wanted):
                say(redact(f"{fault}, in a way that the fleet cannot overrule: change it in the app", request))
        except Exception as error:
            say(f"broker_transport_options: the app cannot use them: {reason(error, request)}")


class Texts(importlib.abc.InspectLoader):
    """Imports a package from the texts of its files."""

    def __init__(self, package, files):
        self.package = package
        self.texts = {(package + "." + name[:-3]).replace(".__init__", ""): text for name, text in files.items()}

    def find_spec(self, name, path=None, target=None):
        return importlib.util.spec_from_loader(name, self) if name in self.texts else None

    def is_package(self, name):
        return name == self.package

    def get_source(self, name):
        return self.texts[name]


def is_number(value):
    """Whether Celery can count with it, and JSON can hold it."""
    return isinstance(value, (int, float)) and not isinstance(value, bool) and abs(value) < float("inf")


def kind_of(value):
    """What a value is in place of what was needed, without the value."""
    if value is None:
        return "null"
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, float):
        return "infinite or no number"
    return "a text" if isinstance(value, str) else "of the type " + type(value).__name__


def tell_facts(app, request, answer):
    """What the app itself sets, before anything of the fleet is put into it."""
    conf = app.conf
    answer["app"] = request["app"]
    options = dict(conf.broker_transport_options or {})
    if options.get("priority_steps"):
        options["priority_steps"] = [int(step) for step in options["priority_steps"]]
    answer["transport_options"] = {
        name: options[name]
        for name in TRANSPORT_OPTIONS
        if isinstance(options.get(name), (bool, int, float, str, list))
    }
    # Those that a worker consumes from when it is told of none; each worker has a list of its own for a broadcast.
    # Sorted, as an app may name them as a set, which has another order in each process.
    answer["queues"] = sorted(
        queue.name for queue in app.amqp.queues.values() if getattr(queue.exchange, "type", None) != "fanout"
    )
    answer["remote_control"] = bool(conf.worker_enable_remote_control)
    answer["control_exchange"] = str(conf.get("control_exchange") or "celery")
    answer["event_exchange"] = str(conf.get("event_exchange") or "celeryev")
    answer["sets_priorities"] = sets_priorities(app)
    answer["other_broker"] = other_broker(conf, request)


def sets_priorities(app):
    """Whether the app gives its tasks priorities: all, some of them, or by routes and schedules."""
    conf = app.conf
    # What is wrong with them the worker tells itself.
    with contextlib.suppress(BaseException):
        app.loader.import_default_modules()
    tasks = [task for name, task in app.tasks.items() if not name.startswith("celery.")]
    return (
        conf.task_default_priority is not None
        or conf.task_queue_max_priority is not None
        or any(getattr(task, "priority", None) is not None for task in tasks)
        or names_priority(conf.task_routes)
        or names_priority(conf.beat_schedule)
    )


def names_priority(value):
    """Whether a priority is given anywhere in these dictionaries and lists."""
    if isinstance(value, dict):
        return any((key == "priority" and one is not None) or names_priority(one) for key, one in value.items())
    return isinstance(value, (list, tuple)) and any(names_priority(one) for one in value)


def other_broker(conf, request):
    """The broker that the app's own settings name, without its login; None where it is the fleet's or none."""
    for name in ("broker_url", "broker_write_url"):
        try:
            # `conf.broker_url` would be the fleet's, by the environment.
            own = conf.first(name, "broker_host") if name == "broker_url" else conf.get(name)
            if own and (not_encoded(own) or not places(own) & places(request["environment"]["CELERY_BROKER_URL"])):
                return told(own)
        except Exception as error:
            return f"which cannot be read: {reason(error, request)}"
    return None


def parts(urls):
    """The scheme, the login and the place of each URL of a setting, which is a list, or a text joined by semicolons.

    The last "@" ends a login, however it is written: kombu takes the end of a password for a host, a port or a path.
    """
    for text in [urls] if isinstance(urls, str) else urls:
        for url in re.split(r";(?=[A-Za-z][A-Za-z0-9+.-]*://)", text):
            scheme, way, rest = url.partition("://")
            login, _at, found = rest.rpartition("@") if way else ("", "", url)
            for one in filter(None, found.split(";") if way else [found]):
                yield scheme + way if way else "", login, one


def not_encoded(urls):
    """Whether a login has signs in it that end it for kombu, which then goes elsewhere."""
    return any(re.search("[/?#]", login) for _scheme, login, _place in parts(urls))


def told(urls):
    """Where URLs lead to, without their logins."""
    text = "; ".join("{}://{}:{}/{}".format(*found) for found in sorted(places(urls), key=str))
    return text + (" (percent-encode / ? # in its login, or it is read as another place)" if not_encoded(urls) else "")


def places(urls):
    """What URLs lead to: kind, host, port and the database or virtual host."""
    from kombu import Connection

    found = set()
    for start, _login, rest in parts(urls):
        connection = Connection(start + rest)
        scheme = {"rediss": "redis", "amqps": "amqp", "pyamqp": "amqp"}.get(
            connection.transport_cls, connection.transport_cls
        )
        host = {"localhost": "127.0.0.1", None: "127.0.0.1", "": "127.0.0.1"}.get(
            connection.hostname, connection.hostname
        )
        port = connection.port or {"redis": 6379, "amqp": 5672, "sentinel": 26379}.get(scheme)
        space = str(connection.virtual_host or "").strip("/") or {"redis": "0", "sentinel": "0"}.get(scheme, "/")
        found.add((scheme, host, port, space))
    return found


def check_queues(app, request, say):
    """A worker ends at once when it is told of a queue that the app does not know and may not make."""
    if app.conf.task_create_missing_queues:
        return
    unknown = [queue for queue in request["queues"] if queue not in app.amqp.queues]
    if unknown:
        say(
            "queues: the app does not know {}, and task_create_missing_queues is off in it: correct the names, or add "
            "them to task_queues of the app; it knows {}".format(
                ", ".join(unknown), ", ".join(sorted(app.amqp.queues)) or "none"
            )
        )


def settings(app, request, say):
    """Whether every setting that goes on the command line arrives there."""
    from celery.app.defaults import NAMESPACES, SETTING_KEYS, flatten

    kinds = {name: NEEDS[option.type] for name, option in flatten(NAMESPACES) if option.type in NEEDS}
    for name, value in request["settings"].items():
        if name not in SETTING_KEYS and name not in app.conf:
            say(f"celery_settings.{name}: neither celery nor the app knows this setting, check its name")
        # "False" would be true to Celery.
        if isinstance(value, str) and name in kinds:
            say(
                f"celery_settings.{name}: is a text, and Celery needs {kinds[name]}: write it without quotes; where it "
                "is a template, which ansible-core up to 2.18 makes a text, make all of celery_settings one template"
            )
    app.config_from_cmdline(request["setting_arguments"], namespace="worker")
    for name, value in request["settings"].items():
        if app.conf.get(name) != value:
            say(
                "{}: celery {} lets the app's own value of {} win over the command line: change it in the app, or use "
                "a newer celery".format(
                    {"task_acks_late": "acks_late", "task_queue_max_priority": "queue_max_priority"}.get(
                        name, "celery_settings." + name
                    ),
                    sys.modules["celery"].__version__,
                    name,
                )
            )


def place(error):
    """Where in the app the import stopped, innermost frame outside of Python's own import machinery."""
    frames = [frame for frame in traceback.extract_tb(error.__traceback__) if not frame.filename.startswith("<")]
    inner = [frame for frame in frames if "/celery/" not in frame.filename and "importlib" not in frame.filename]
    return f" ({inner[-1].filename}, line {inner[-1].lineno})" if inner else ""


def reason(error, request):
    """One line about an exception, without any secret of the environment."""
    text = " ".join(str(error).split()) or type(error).__name__
    if not isinstance(error, ImportError):
        text = f"{type(error).__name__}: {text}"
    return redact(text, request)[:500]


def redact(text, request):
    """`text` without anything of the environment or of the app that may be secret, and without passwords in URLs."""
    for secret in sorted(secrets(request), key=len, reverse=True):
        text = text.replace(secret, MASK)
    # The last "@" before white space or the next URL ends a password that should have been percent-encoded.
    text = re.sub(r"([a-zA-Z][a-zA-Z0-9+.-]*://[^\s:@]*:)(?:(?!://)\S)*@", rf"\1{MASK}@", text)
    # What is quoted there is as likely the end of a password.
    misread = r"(Port could not be cast to integer value as |Database is int between 0 and limit - 1, not |netloc )"
    return re.sub(misread + r"('[^']*'|\S+)", rf"\1{MASK}", text)


def secrets(request):
    """Texts that nobody may see: values of the environment by their names, and the passwords of every URL."""
    found = set()
    urls = list(request["environment"].values())
    app = request.get("loaded")
    if app is not None:
        names = ("broker_url", "broker_read_url", "broker_write_url", "result_backend")
        urls += [app.conf.get(name) for name in names]
    for name, value in request["environment"].items():
        if re.search("passw|secret|token|key|url|dsn|credential|options", name, re.IGNORECASE):
            found.add(value)
    for url in urls:
        for one in re.split(r";(?=[A-Za-z0-9+.-]+://)", url if isinstance(url, str) else ""):
            password = one.partition("://")[2].rpartition("@")[0].partition(":")[2]
            # In the pieces, too, that a library takes for a host, a port or a path.
            found |= {password, unquote(password), *re.split(r"[/?#@:;\[\]\s]+", password)}
    return {text for text in found if len(text) > 3}


if __name__ == "__main__":
    main()
