"""Servers to measure: how each is started, pinned to a core, and ended."""

import os
import random
import re
import secrets
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from endings import started

PEERS = Path(__file__).resolve().parent.parent / "peers"
URL = re.compile(r"ws://127\.0\.0\.1:\d+/\S*")
START_SECONDS = 15
TOKEN_SECONDS = 120
NPM_SECONDS = 300

# What a load needs switched off: limits of each user's pace, which one generator with many users would not reach, but each of its
# users might. A server that is older than a limit does not know the flag and is started without it.
LIMITS_OFF = ("--messages-per-second", "--actions-per-second", "--creations-per-minute", "--max-connections-per-user")


class Unusable(Exception):
    """A server that cannot be run here; says why."""


@dataclass
class Server:
    """One that can be started."""

    name: str
    dialect: str
    command: Callable[[int, Path], list[str]]
    """Of a port and a directory for its data."""
    notes: list[str] = field(default_factory=list)
    environment: dict[str, str] = field(default_factory=dict)
    """Beyond the script's own: what other users of the machine shall not read in a command."""


def parlor(name: str, binary: Path, database: str, work: Path) -> Server:
    """Parlor from `binary`, one worker. `database` is memory, sqlite, or the URL of a PostgreSQL database."""
    try:
        known = subprocess.run([binary, "serve", "--help"], capture_output=True, text=True, timeout=30).stdout
    except (OSError, subprocess.TimeoutExpired) as error:
        raise Unusable(f"{binary}: {error}") from error
    limits = [limit for limit in LIMITS_OFF if f"{limit} " in known]
    server = Server(name, "parlor", lambda port, data: [
        str(binary), "serve", "--listen", f"127.0.0.1:{port}", "--workers", "1", "--jwt-secret-file", str(work / "secret"),
        "--data", str(data), *(word for limit in limits for word in (limit, "0")),
        *(["--database", "memory:"] if database == "memory" else []),
    ])  # fmt: skip
    if database not in ("memory", "sqlite"):
        server.environment["PARLOR_DATABASE"] = database
    server.notes = [f"{name}: its server does not know {limit} and was started without" for limit in LIMITS_OFF if limit not in limits]
    return server


def make_tokens(binary: Path, count: int, work: Path) -> Path:
    """A secret, and a file of tokens made with it."""
    secret, tokens = work / "secret", work / "tokens"
    secret.touch(mode=0o600)
    secret.write_text(secrets.token_hex(32))
    command = [binary, "token", "--sub", "u", "--count", str(count), "--ttl", "12h", "--jwt-secret-file", secret]
    try:
        made = subprocess.run(command, capture_output=True, text=True, timeout=TOKEN_SECONDS)
    except (OSError, subprocess.TimeoutExpired) as error:
        raise Unusable(f"parlor token: {error}") from error
    if made.returncode != 0 or made.stdout.count("\n") < count:
        raise Unusable(f"parlor token: {last_line(made.stderr) or 'too few tokens'}")
    tokens.touch(mode=0o600)
    tokens.write_text(made.stdout)
    return tokens


def install_peers(log: Path) -> None:
    """Has npm fetch what package.json pins, if it is not there; what is missing afterwards is found out by who needs it."""
    if all((PEERS / "node_modules" / package).is_dir() for package in ("bun", "socket.io", "ws")) or not shutil.which("npm"):
        return
    command = ["npm", "install", "--no-package-lock", "--no-audit", "--no-fund"]
    with log.open("w") as output:
        try:
            status = subprocess.run(command, cwd=PEERS, stdout=output, stderr=output, timeout=NPM_SECONDS).returncode
        except subprocess.TimeoutExpired:
            status = f"no end after {NPM_SECONDS} s"
    if status != 0:
        say(f"npm install failed ({status}): {log}")


def bun() -> Server:
    """Bun's own publish."""
    # The second place is where the binary stays when npm was not allowed to run the package's install script.
    modules = PEERS / "node_modules"
    for binary in (modules / ".bin" / "bun", *sorted(modules.glob("@oven/bun-*/bin/bun"))):
        if version_of([str(binary), "--version"]) is not None:
            return Server("bun", "peer", lambda port, _: [str(binary), str(PEERS / "bun.mjs"), str(port)])
    raise Unusable("npm is not installed, or could not install it")


def node(name: str, package: str, script: str, dialect: str) -> Server:
    """A script under Node that needs a package."""
    if not shutil.which("node"):
        raise Unusable("node is not installed")
    if not (PEERS / "node_modules" / package).is_dir():
        raise Unusable(f"npm is not installed, or could not install {package}")
    return Server(name, dialect, lambda port, _: ["node", str(PEERS / script), str(port)])


def floor(work: Path) -> Server:
    """The server in C."""
    binary = work / "floor"
    try:
        compiled = subprocess.run(["cc", "-O2", "-o", binary, PEERS / "floor.c"], capture_output=True, text=True, timeout=120)
    except (OSError, subprocess.TimeoutExpired) as error:
        raise Unusable(f"cc: {error}") from error
    if compiled.returncode != 0:
        raise Unusable(f"cc: {compiled.stderr.splitlines()[0]}")
    return Server("floor", "peer", lambda port, _: [str(binary), str(port)])


@contextmanager
def running(server: Server, cores: int | set[int], work: Path) -> Iterator[tuple[str, int]]:
    """Starts `server` on `cores` with a fresh data directory, for the time of a `with`: its URL and its process id."""
    data = work / "data"
    shutil.rmtree(data, ignore_errors=True)
    data.mkdir(mode=0o700)
    output, errors = work / "server.out", work / "server.err"
    command = server.command(free_port(), data)
    with output.open("w") as out, errors.open("w") as err:
        if not shutil.which(command[0]):
            raise Unusable(f"{command[0]} cannot be run")
        environment = {**os.environ, **server.environment}
        with started(
            command, stdin=subprocess.DEVNULL, stdout=out, stderr=err, env=environment, preexec_fn=pin_to(cores)
        ) as process:  # fmt: skip
            yield url_of(process, output, errors), process.pid


def url_of(process: subprocess.Popen, output: Path, errors: Path) -> str:
    """Waits for the line with the server's URL."""
    deadline = time.monotonic() + START_SECONDS
    while time.monotonic() < deadline and process.poll() is None:
        if found := URL.search(output.read_text()):
            return found[0]
        time.sleep(0.01)
    raise Unusable(f"did not start: {last_line(errors.read_text())}")


def pin_to(cores: int | set[int]) -> Callable[[], None]:
    """For a process that is about to be started."""
    return lambda: os.sched_setaffinity(0, {cores} if isinstance(cores, int) else cores)


def free_port() -> int:
    """Below the range that the kernel gives to clients, so that no connection of an earlier run can hold it."""
    for _ in range(100):
        port = random.randrange(20_000, 32_000)
        with socket.socket() as probe:
            try:
                probe.bind(("127.0.0.1", port))
                return port
            except OSError:
                continue
    raise Unusable("no free port between 20000 and 32000")


def version_of(command: list[str]) -> str | None:
    """The first line of what a program says; `None` if it does not."""
    try:
        ran = subprocess.run(command, capture_output=True, text=True, timeout=30)
    except (OSError, subprocess.TimeoutExpired):
        return None
    return ran.stdout.strip().splitlines()[0] if ran.returncode == 0 and ran.stdout.strip() else None


def last_line(text: str) -> str:
    """Of what a program said last."""
    lines = text.strip().splitlines()
    return lines[-1] if lines else ""


def say(text: str) -> None:
    """To whoever watches; the tables go to standard output."""
    print(text, file=sys.stderr, flush=True)
