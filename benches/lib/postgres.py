"""A PostgreSQL server to measure with, from scripts/postgres, and what is promised of it."""

import os
import select
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from urllib.parse import urlsplit

from endings import started
from servers import Unusable, last_line, pin_to

SCRIPT = Path(__file__).resolve().parent.parent.parent / "scripts" / "postgres"
START_SECONDS = 90
STATEMENT_SECONDS = 30
# A database that has run for a while writes its log into files it has used before; in a new one, making each of 16 MiB takes
# some 10 ms, in which nothing is committed. So as many as all runs need are written once, and kept.
KEEPS_LOG_FILES = ("min_wal_size = 2GB", "max_wal_size = 4GB")
# And production gives it a good part of the memory. With the 64 MB that tests get, whoever writes has to write out old pages first.
HAS_MEMORY = "shared_buffers = 1GB"
LOG_MEGABYTES = 800
FILL_LOG = f"SELECT count(pg_logical_emit_message(false, 'fill', repeat('x', 1000000))) FROM generate_series(1, {LOG_MEGABYTES})"


class Cluster:
    """One that runs."""

    def __init__(self, process: subprocess.Popen, errors: Path) -> None:
        self._process = process
        self._errors = errors
        self._pending = b""
        said = dict(line.split(" ", 1) for line in self._lines_until_ready())
        self._url, self._programs = said["url"], Path(said["bin"])

    def settle(self) -> None:
        """Has it be like one that has run for a while."""
        for line in (*KEEPS_LOG_FILES, HAS_MEMORY):
            self._tell(f"set {line}")
        self._tell("restart")
        for statement in (FILL_LOG, "CHECKPOINT"):
            self._ask(statement)

    def version(self) -> str:
        """Its own words."""
        return self._ask("SHOW server_version")

    def fresh_database(self) -> str:
        """Empties the database and returns its URL. Over loopback, and so without TLS."""
        for statement in ("DROP DATABASE IF EXISTS bench WITH (FORCE)", "CREATE DATABASE bench", "CHECKPOINT"):
            self._ask(statement)
        return f"{self._url.rsplit('/', 1)[0]}/bench?sslmode=disable"

    def _ask(self, statement: str) -> str:
        url = urlsplit(self._url)
        environment = {
            **os.environ, "PGHOST": url.hostname, "PGPORT": str(url.port), "PGUSER": url.username, "PGPASSWORD": url.password,
            "PGDATABASE": url.path.removeprefix("/"),
        }  # fmt: skip
        command = [self._programs / "psql", "--no-psqlrc", "--quiet", "--tuples-only", "--no-align", "--command", statement]
        try:
            ran = subprocess.run(command, capture_output=True, text=True, env=environment, timeout=STATEMENT_SECONDS)
        except (OSError, subprocess.TimeoutExpired) as error:
            raise Unusable(f"psql: {error}") from error
        if ran.returncode != 0:
            raise Unusable(f"psql: {last_line(ran.stderr)}")
        return ran.stdout.strip()

    def _tell(self, command: str) -> None:
        try:
            self._process.stdin.write(f"{command}\n".encode())
            self._process.stdin.flush()
        except BrokenPipeError as error:
            raise Unusable(f"scripts/postgres ended: {last_line(self._errors.read_text())}") from error
        self._lines_until_ready()

    def _lines_until_ready(self) -> list[str]:
        deadline, output = time.monotonic() + START_SECONDS, self._process.stdout.fileno()
        while b"ready\n" not in self._pending:
            if not select.select([output], [], [], max(0.0, deadline - time.monotonic()))[0]:
                raise Unusable(f"scripts/postgres says nothing for {START_SECONDS} s")
            read = os.read(output, 65536)
            if not read:
                raise Unusable(last_line(self._errors.read_text()) or "scripts/postgres ended")
            self._pending += read
        lines, _, self._pending = self._pending.partition(b"ready\n")
        return lines.decode().splitlines()


@contextmanager
def cluster(cores: set[int], work: Path) -> Iterator[Cluster]:
    """A PostgreSQL server with all its processes on `cores` and its data below `work`, for the time of a `with`."""
    # It runs as a user that is not root, who has to get there; what is secret in there has rights of its own.
    work.chmod(0o711)
    errors = work / "postgres.err"
    with errors.open("w") as err, started(
        [SCRIPT], stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=err, env={**os.environ, "TMPDIR": str(work)},
        preexec_fn=pin_to(cores),
    ) as process:  # fmt: skip
        yield Cluster(process, errors)


# What is promised of PostgreSQL beside SQLite on the same two cores.
LEAST_SHARE = 0.5
MOST_BATCHES = 3.0
# Fewer say nothing about a median.
MIN_BATCHES = 100
# An open loop that got less of its replies was not at the load that it was to be at.
LEAST_OF_RATE = 0.95


@dataclass(frozen=True)
class Verdict:
    """What was promised, and what came out."""

    promise: str
    measured: float | None
    word: str
    """met, missed or not judged."""


def share_verdict(pairs: list[tuple[float, float]]) -> Verdict:
    """Of pairs (SQLite's rate, PostgreSQL's): the median of the ratios."""
    promise = f"durable messages/s, PostgreSQL of SQLite: at least {LEAST_SHARE:g}"
    if not pairs:
        return Verdict(promise, None, "not judged")
    share = median(postgres / sqlite for sqlite, postgres in pairs)
    return Verdict(promise, share, "met" if share >= LEAST_SHARE else "missed")


def latency_verdict(at_half: list[tuple[float, float, int]]) -> Verdict:
    """Of each run's 99th percentile and median batch in milliseconds, and its number of batches: the median of the runs' ratios. A run
    with too few is left out."""
    promise = f"acknowledgement p99 at half load, in median batch commits: under {MOST_BATCHES:g}"
    ratios = [p99_ms / batch_ms for p99_ms, batch_ms, batches in at_half if batches >= MIN_BATCHES and batch_ms > 0]
    if not ratios:
        return Verdict(promise, None, "not judged")
    ratio = median(ratios)
    return Verdict(promise, ratio, "met" if ratio < MOST_BATCHES else "missed")


def exit_status(verdicts: list[Verdict]) -> int:
    """Where the verdicts decide: 0 all met, 1 one missed, 3 none missed but not all judged."""
    words = {verdict.word for verdict in verdicts}
    return 1 if "missed" in words else 3 if "not judged" in words else 0
