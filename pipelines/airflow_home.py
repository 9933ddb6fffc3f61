"""Airflow on one machine, inside the workspace: set it up, start its components, talk to it, stop it.

`<workspace>/airflow` is AIRFLOW_HOME. It links to the airflow.cfg, dags/ and config/ of this checkout and holds the
metadata database, the logs and the secrets, so `AIRFLOW_HOME=<workspace>/airflow airflow ...` works by hand as well.
Nothing here imports Airflow: its components are processes of their own.
"""

from __future__ import annotations

import base64
import ctypes
import fcntl
import importlib
import json
import os
import secrets
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Any, TextIO

import psutil

from pipelines.run import open_run
from warehouse.layout import Workspace, write_atomically

ROOT = Path(__file__).resolve().parent.parent
USER = "admin"
#: Tasks that commit to the warehouse take its one slot: they wait in the scheduler, not in a worker.
COMMIT_POOL = "warehouse_commit"
#: Component -> its command. Two API servers, because on SQLite one deadlocks with itself: the audit log of a user's
#: POST waits for the database in the event loop, while a task's request that holds the database waits for that loop to
#: end its transaction. It lasts until SQLite gives up after five seconds, then the POST fails with "database is locked"
#: (seen with Airflow 3.3.2).
COMPONENTS: Mapping[str, tuple[str, ...]] = {
    "execution-api": ("api-server", "--apps", "execution"),
    "api-server": ("api-server", "--apps", "core"),
    "dag-processor": ("dag-processor",),
    # The API server reads the log files of this machine itself.
    "scheduler": ("scheduler", "--skip-serve-logs"),
    # Watches the landing folders (dags/_arrival.py).
    "triggerer": ("triggerer", "--skip-serve-logs"),
}


class AirflowError(Exception):
    """Airflow did not start, or refused a request. The message says where the log is and what to do next."""

    exit_code = 50

    def __init__(self, message: str, status: int = 0) -> None:
        super().__init__(message)
        self.status = status


def warm_up() -> None:
    """Import, before the scheduler forks, what every task would import for itself. Takes seconds, once."""
    importlib.import_module("quality.gx").warm_up()
    stages = [f"pipelines.{stage}" for stage in ("collect", "clean", "gate", "receipt", "dedupe", "merge", "report")]
    # These the stages import only when they are called.
    for module in (*stages, "pandas", "sqlglot", "splink", "scipy.sparse.csgraph", "scipy.cluster.hierarchy"):
        importlib.import_module(module)


@dataclass(frozen=True)
class Environment:
    """A prepared AIRFLOW_HOME and the environment variables its processes run with."""

    workspace: Workspace
    home: Path
    variables: Mapping[str, str]

    @property
    def password_file(self) -> Path:
        return self.home / "secrets" / "passwords.json"

    @property
    def password(self) -> str:
        return str(json.loads(self.password_file.read_text())[USER])

    def log(self, component: str) -> Path:
        return self.home / "logs" / f"{component}.log"

    def airflow(self, *arguments: str) -> str:
        """Run one `airflow` command to its end; its output. Raises AirflowError with the last lines if it fails."""
        done = subprocess.run(
            [sys.executable, "-m", "airflow", *arguments], env=dict(self.variables), capture_output=True, text=True
        )
        if done.returncode:
            raise AirflowError(f"`airflow {' '.join(arguments)}` failed:\n{_last_lines(done.stdout + done.stderr)}")
        return done.stdout


def prepare(workspace: Workspace, catalog: Path | None = None) -> Environment:
    """Make the workspace and in it AIRFLOW_HOME: links, secrets, metadata database. A second call changes nothing.

    Secrets are random, mode 600, and stay when they exist. The database is migrated when it was made by another
    version of Airflow.
    """
    with open_run(workspace=workspace.root, catalog=catalog):  # makes the warehouse, so that no two first tasks do it at once
        pass
    home = workspace.airflow
    for folder in (home, home / "logs", home / "secrets"):
        folder.mkdir(parents=True, exist_ok=True)
    home.chmod(0o700)
    for name in ("airflow.cfg", "dags", "config"):
        _link(home / name, ROOT / name)
    _keep(home / "secrets" / "fernet_key", base64.urlsafe_b64encode(secrets.token_bytes(32)).decode())
    for name in ("jwt_secret", "api_secret_key"):
        _keep(home / "secrets" / name, secrets.token_urlsafe(48))
    _keep(home / "secrets" / "passwords.json", json.dumps({USER: secrets.token_urlsafe(12)}))
    environment = Environment(workspace, home, _variables(workspace, home, catalog))
    _migrate(environment)
    return environment


def _link(link: Path, target: Path) -> None:
    """Point at this checkout, also after it was moved. What a person put there instead is left alone."""
    if link.is_symlink() and link.readlink() != target:
        link.unlink()
    if not link.exists() and not link.is_symlink():
        link.symlink_to(target)


def _keep(path: Path, text: str) -> None:
    if not path.exists():
        write_atomically(path, text.encode(), mode=0o600)


def _variables(workspace: Workspace, home: Path, catalog: Path | None) -> dict[str, str]:
    kept = {k: v for k, v in os.environ.items() if k not in ("AIRFLOW_CONFIG", "PYTHONSTARTUP")}
    paths = [*filter(None, kept.get("PYTHONPATH", "").split(os.pathsep)), str(ROOT)]
    kept |= {
        "AIRFLOW_HOME": str(home),
        "DMP_WORKSPACE": str(workspace.root),
        "PYTHONPATH": os.pathsep.join(dict.fromkeys(paths)),
        "PYTHONUNBUFFERED": "1",
        # Tasks talk to the api-server of this machine, never through the proxy of the office.
        "NO_PROXY": "127.0.0.1,localhost",
        "no_proxy": "127.0.0.1,localhost",
    }
    # Several tasks run at once; DuckDB's own default would let each take four fifths of the memory.
    kept.setdefault("DMP_MEMORY", f"{psutil.virtual_memory().total // 5 // 2**20}MiB")
    if catalog is not None:
        kept["DMP_CATALOG"] = str(catalog.resolve())
    return kept


def _migrate(environment: Environment) -> None:
    from importlib.metadata import version

    marker, wanted = environment.home / "migrated", version("apache-airflow-core")
    if not marker.is_file() or marker.read_text() != wanted:
        environment.airflow("db", "migrate")
        write_atomically(marker, wanted.encode())


@dataclass
class Api:
    """Airflow's REST API with the generated password. Only what this project asks of it."""

    url: str
    password: str = field(repr=False)
    _token: str = field(default="", repr=False)

    def call(self, method: str, path: str, body: object = None, **query: Any) -> Any:
        """One request; the answer as parsed JSON. Raises AirflowError with the server's words and HTTP status."""
        if not self._token:
            self._token = self._send("POST", "/auth/token", {"username": USER, "password": self.password})["access_token"]
        text = urllib.parse.urlencode(query, doseq=True)
        address = f"/api/v2{path}" + (f"?{text}" if text else "")
        for pause in (0.2, 0.5, 1.0, 2.0):
            try:
                return self._send(method, address, body)
            except AirflowError as error:
                # SQLite was locked, or a listing met a run that has not started yet. All our requests may be repeated.
                if error.status < 500:
                    raise
                time.sleep(pause)
        return self._send(method, address, body)

    def _send(self, method: str, path: str, body: object) -> Any:
        headers = {"Content-Type": "application/json"}
        if self._token:
            headers["Authorization"] = f"Bearer {self._token}"
        data = None if body is None else json.dumps(body).encode()
        request = urllib.request.Request(self.url + path, data, headers, method=method)  # noqa: S310 - our own server
        try:
            with _NO_PROXY.open(request, timeout=30) as answer:
                text = answer.read()
        except urllib.error.HTTPError as error:
            words = error.read(2000).decode(errors="replace")
            raise AirflowError(f"{method} {path}: HTTP {error.code}: {words}", error.code) from None
        return json.loads(text) if text else None

    def health(self) -> Mapping[str, str]:
        """Component -> `healthy`, `unhealthy` or empty where none ever ran."""
        told = self._send("GET", "/api/v2/monitor/health", None)
        return {name: part.get("status") or "" for name, part in told.items()}

    def greet_execution_api(self) -> None:
        """Raise OSError or AirflowError until the execution API at this address answers."""
        self._send("GET", "/execution/health", None)

    def dags(self) -> set[str]:
        """Ids of every DAG that the DAG processor found."""
        found: set[str] = set()
        while True:
            page = self.call("GET", "/dags", limit=100, offset=len(found), exclude_stale=True)
            found |= {d["dag_id"] for d in page["dags"]}
            if not page["dags"] or len(found) >= page["total_entries"]:
                return found

    def import_errors(self) -> list[str]:
        """What the DAG processor could not read, with the end of each traceback."""
        return [f"{e['filename']}: {e['stack_trace']}" for e in self.call("GET", "/importErrors")["import_errors"]]

    def add_pool(self, name: str, slots: int, description: str) -> None:
        """Make the pool; one that exists keeps the slots somebody gave it."""
        try:
            self.call("POST", "/pools", {"name": name, "slots": slots, "description": description})
        except AirflowError as error:
            if error.status != 409:
                raise

    def unpause(self, dag: str) -> None:
        self.call("PATCH", f"/dags/{dag}", {"is_paused": False})

    def trigger(self, dag: str, run_id: str) -> None:
        """Start one run under an id of our own. A second call with the same id changes nothing."""
        try:
            self.call("POST", f"/dags/{dag}/dagRuns", {"dag_run_id": run_id, "logical_date": None})
        except AirflowError as error:
            if error.status != 409:
                raise

    def runs(self, dags: Iterable[str], states: Sequence[str] = ()) -> list[dict[str, Any]]:
        """Runs of these DAGs, newest first, with dag_id, dag_run_id, state, start_date, end_date."""
        wanted, found = sorted(set(dags)), list[dict[str, Any]]()
        while wanted:
            body = {"dag_ids": wanted, "page_limit": 100, "page_offset": len(found), "order_by": "-id"}
            page = self.call("POST", "/dags/~/dagRuns/list", body | ({"states": list(states)} if states else {}))
            found += page["dag_runs"]
            if not page["dag_runs"] or len(found) >= page["total_entries"]:
                break
        return found

    def tasks(self, dag: str, run_id: str) -> list[dict[str, Any]]:
        """Task instances of one run, with task_id, map_index, state, duration."""
        path = f"/dags/{dag}/dagRuns/{urllib.parse.quote(run_id, safe='')}/taskInstances"
        return list(self.call("GET", path, limit=1000)["task_instances"])

    def retrying(self) -> list[dict[str, Any]]:
        """Task instances that failed and wait for their next try."""
        path = "/dags/~/dagRuns/~/taskInstances"
        return list(self.call("GET", path, state="up_for_retry", limit=100)["task_instances"])

    def asset_events(self, asset: str) -> list[dict[str, Any]]:
        """Events of the asset of exactly this name, newest first."""
        events = self.call("GET", "/assets/events", name_pattern=asset, order_by="-timestamp")["asset_events"]
        return [e for e in events if e["name"] == asset]

    def has_queued_events(self, dag: str) -> bool:
        """Whether an asset event waits to wake this DAG."""
        try:
            return bool(self.call("GET", f"/dags/{dag}/assets/queuedEvents")["total_entries"])
        except AirflowError as error:
            if error.status == 404:
                return False
            raise

    def is_idle(self, dags: Iterable[str]) -> bool:
        """No event waits for these DAGs and no run of them is queued or running."""
        names = list(dags)
        # Events first: the scheduler takes an event and makes its run in one transaction.
        return not any(self.has_queued_events(d) for d in names) and not self.runs(names, ("queued", "running"))


_NO_PROXY = urllib.request.build_opener(urllib.request.ProxyHandler({}))


def wait_until(true: Callable[[], bool], seconds: float, what: str, alive: Callable[[], None] = lambda: None) -> None:
    """Ask again and again until `true()`; `alive()` may raise in between. Raises AirflowError when time is up."""
    end, pause = time.monotonic() + seconds, 0.05
    while not true():
        alive()
        if time.monotonic() > end:
            raise AirflowError(f"waited {seconds:.0f} s in vain for {what}")
        time.sleep(pause)
        pause = min(pause * 1.5, 1.0)


@dataclass
class Handle:
    """Running components. Leaving the `with` block stops every one of them, also after Ctrl-C."""

    environment: Environment
    url: str
    api: Api
    processes: dict[str, subprocess.Popen[bytes]] = field(default_factory=dict)
    _closing: ExitStack = field(default_factory=ExitStack)

    def check(self) -> None:
        """Raise AirflowError if a component has died."""
        for component, process in self.processes.items():
            if process.poll() is not None:
                log = self.environment.log(component)
                raise AirflowError(
                    f"Airflow's {component} ended with code {process.returncode}. The end of {log}:\n"
                    + _last_lines(log.read_text(errors="replace"))
                )

    def wait(self, true: Callable[[], bool], seconds: float, what: str) -> None:
        """`wait_until`, giving up at once when a component dies."""
        wait_until(true, seconds, what, self.check)

    def wait_for_dags(self, dags: Iterable[str], seconds: float = 90) -> None:
        """Until the DAG processor has found them all."""
        wanted = set(dags)
        try:
            self.wait(lambda: wanted <= self.api.dags(), seconds, "the DAGs to be read")
        except AirflowError as error:
            missing = sorted(wanted - self.api.dags())
            raise AirflowError(f"{error}: {', '.join(missing)} missing.\n" + "\n".join(self.api.import_errors())) from None

    def stop(self) -> None:
        """Ask the scheduler to end, which waits for running tasks, then the others; kill what is left after its time."""
        scheduler = self.processes.pop("scheduler", None)
        _stop([scheduler] if scheduler else [])
        _stop(list(self.processes.values()))
        self.processes.clear()
        self._closing.close()

    def __enter__(self) -> Handle:
        return self

    def __exit__(self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None) -> None:
        self.stop()


def start(
    environment: Environment,
    components: Sequence[str] | None = None,
    port: int | None = None,
    ready_within: float = 120,
) -> Handle:
    """Start the components as child processes and wait until they answer. `port` None: a free one.

    `components` None: all that this workspace needs. In a simulated one nothing wakes by itself, so there is no triggerer.
    They end when this process ends, however it ends. Raises AirflowError when a component dies on the way, or when
    this workspace's Airflow runs already: two schedulers on one workspace would run everything twice.
    """
    if components is None:
        components = [c for c in COMPONENTS if c != "triggerer" or not environment.workspace.clock.is_file()]
    port = port or free_port()
    url = f"http://127.0.0.1:{port}"
    handle = Handle(environment, url, Api(url, environment.password))
    handle._closing.enter_context(_only_one(environment, url))
    execution_port = free_port()
    variables = dict(environment.variables) | {
        "AIRFLOW__API__BASE_URL": url,
        "AIRFLOW__CORE__EXECUTION_API_SERVER_URL": f"http://127.0.0.1:{execution_port}/execution/",
    }
    ports = {"api-server": port, "execution-api": execution_port}
    try:
        for component in (c for c in COMPONENTS if c in components):
            given = variables | {"AIRFLOW__API__PORT": str(ports.get(component, port))}
            handle.processes[component] = _spawn(component, environment, given)
        handle.wait(
            lambda: _is_ready(handle.api, components, execution_port), ready_within, f"{', '.join(components)} to answer at {url}"
        )
        handle.api.add_pool(COMMIT_POOL, 1, "tasks that commit to the warehouse, one at a time")
    except BaseException:
        handle.stop()
        raise
    return handle


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def is_free(port: int) -> bool:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return False
        return True


def _only_one(environment: Environment, url: str) -> TextIO:
    """A file locked for as long as it is open: the kernel lets go of it when we die."""
    running = (environment.home / "running").open("a+")
    try:
        fcntl.flock(running, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        running.seek(0)
        told = running.read().strip()
        running.close()
        raise AirflowError(f"Airflow runs on this workspace already, at {told}; use that one or stop it first") from None
    running.truncate(0)
    running.write(url)
    running.flush()
    return running


def _is_ready(api: Api, components: Sequence[str], execution_port: int) -> bool:
    try:
        if "execution-api" in components:
            # Its first answer takes seconds, more than a task waits; this request is the first.
            Api(f"http://127.0.0.1:{execution_port}", "").greet_execution_api()
        told = api.health()
    except (OSError, AirflowError):
        return False
    return all(told.get(c.replace("-", "_")) == "healthy" for c in components if c in ("scheduler", "dag-processor", "triggerer"))


def _spawn(component: str, environment: Environment, variables: Mapping[str, str]) -> subprocess.Popen[bytes]:
    command = [sys.executable, "-m", "airflow", *COMPONENTS[component]]
    log = environment.log(component)
    parent = os.getpid()
    with log.open("ab") as output:
        return subprocess.Popen(
            command,
            env=dict(variables),
            cwd=environment.home,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
            preexec_fn=lambda: _end_with(parent),
        )


def _end_with(parent: int) -> None:
    """Runs in the child: the kernel shall ask it to end when its parent dies (Linux)."""
    if sys.platform == "linux":
        pr_set_pdeathsig = 1
        ctypes.CDLL(None).prctl(pr_set_pdeathsig, signal.SIGTERM)
        if os.getppid() != parent:
            os._exit(1)


def _stop(processes: Sequence[subprocess.Popen[bytes]], patience: float = 20) -> None:
    """SIGTERM to each, which ends its own children in order; SIGKILL to whatever of them remains."""
    families = [child for process in processes for child in _children(process.pid)]
    for process in processes:
        process.terminate()
    end = time.monotonic() + patience
    for process in processes:
        try:
            process.wait(max(0.1, end - time.monotonic()))
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
    for child in psutil.wait_procs(families, timeout=1)[1]:
        child.kill()


def _children(pid: int) -> list[Any]:
    try:
        return list(psutil.Process(pid).children(recursive=True))
    except psutil.NoSuchProcess:
        return []


def serve(workspace: Path, port: int = 8080, say: Callable[[str], None] = print) -> None:
    """Run this workspace's Airflow in the foreground until Ctrl-C or SIGTERM. What `dmp airflow` does.

    Where the port is taken, a free one is used and told.
    """
    environment = prepare(Workspace(workspace.resolve()))
    if not is_free(port):
        taken, port = port, free_port()
        say(f"端口 {taken} 已被占用，改用 {port} · port {taken} is taken, using {port}")
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    with start(environment, port=port) as handle:
        say(
            f"Airflow    {handle.url}\n"
            f"用户 user   {USER}\n"
            f"密码 password   {environment.password_file}\n"
            f"日志 logs   {environment.home / 'logs'}\n"
            f"Ctrl-C 停止 · stops it"
        )
        try:
            while True:
                handle.check()
                time.sleep(1)
        except KeyboardInterrupt:
            say("正在停止 · stopping")


def _last_lines(text: str, count: int = 15) -> str:
    return "\n".join(text.strip().splitlines()[-count:])
