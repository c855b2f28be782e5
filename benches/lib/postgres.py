"""A PostgreSQL server to measure with, from scripts/postgres, and what its log says about the batches it committed."""

import os
import re
import select
import subprocess
import time
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from statistics import median, median_grouped
from urllib.parse import quote, urlsplit

from endings import started
from servers import Unusable, last_line, pin_to

SCRIPT = Path(__file__).resolve().parent.parent.parent / "scripts" / "postgres"
START_SECONDS = 90
STATEMENT_SECONDS = 30
# When (to the millisecond), a process, and what it carries out.
LOG_PREFIX = "log_line_prefix = '%n %p %i '"
LOGGED = re.compile(r"(\d+\.\d{3}) (\d+) (\S[^:]*?) LOG:  duration: (\d+\.\d+) ms\b")
# All statements of some transactions, without their values: logging every one would slow down what is measured.
SAMPLED = 0.2
LOG_OPTIONS = f"-c log_transaction_sample_rate={SAMPLED} -c log_parameter_max_length=0"
# A batch of messages is BEGIN, the locks, the messages, COMMIT. One that founds or joins a room locks users as well.
STATEMENTS_OF_APPENDS = 2


class Cluster:
    """One that runs."""

    def __init__(self, process: subprocess.Popen, errors: Path) -> None:
        self._process = process
        self._errors = errors
        self._pending = b""
        said = dict(line.split(" ", 1) for line in self._lines_until_ready())
        self._url, self._programs = said["url"], Path(said["bin"])
        self.log = Path(said["data"]).parent / "log"

    def set(self, line: str) -> None:
        """Configures it, for its next start."""
        self._tell(f"set {line}")

    def restart(self) -> None:
        """Ends it and starts it again."""
        self._tell("restart")

    def version(self) -> str:
        """Its own words."""
        return self._ask("SHOW server_version")

    def fresh_database(self, *, logs_batches: bool = False) -> str:
        """Empties the database and returns its URL. Over loopback, and so without TLS."""
        for statement in ("DROP DATABASE IF EXISTS bench WITH (FORCE)", "CREATE DATABASE bench", "CHECKPOINT"):
            self._ask(statement)
        options = f"&options={quote(LOG_OPTIONS)}" if logs_batches else ""
        return f"{self._url.rsplit('/', 1)[0]}/bench?sslmode=disable{options}"

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


@dataclass(frozen=True)
class Batch:
    """A transaction that stored messages."""

    whole_ms: float
    """From its begin, when BEGIN was carried out, to the end of its COMMIT, in whole milliseconds: of two readings that are cut off."""
    statements_ms: float
    """What its statements took, the COMMIT included; not what lay between them, such as waiting for a core."""
    commit_ms: float
    """The COMMIT alone: writing the log and syncing it."""


def batches(log: Iterable[str]) -> list[Batch]:
    """Of the lines of a log with `LOG_PREFIX` and `LOG_OPTIONS`. Transactions whose begin or end is not there, and those that did
    anything else than to append messages, are left out."""
    under_way: dict[str, list[tuple[float, str, float]]] = {}
    found = []
    for line in log:
        if not (parts := LOGGED.match(line)):
            continue
        at, process, tag, took = float(parts[1]), parts[2], parts[3], float(parts[4])
        if tag == "BEGIN":
            under_way[process] = [(at, tag, took)]
        elif process in under_way:
            under_way[process].append((at, tag, took))
            if tag in ("COMMIT", "ROLLBACK"):
                steps = under_way.pop(process)
                inner = [name for _, name, _ in steps[1:-1] if name not in ("PARSE", "BIND")]
                if tag == "COMMIT" and inner == ["SELECT"] * STATEMENTS_OF_APPENDS:
                    whole = round((at - steps[0][0]) * 1000)
                    found.append(Batch(whole, sum(took for _, _, took in steps), took))
    return found


def median_batch(found: Sequence[Batch]) -> float:
    """The median of the batches' whole time: the middle of whole milliseconds, and between them by how many there are of each."""
    return median_grouped([batch.whole_ms for batch in found], 1)


# What is promised of PostgreSQL beside SQLite on the same two cores.
LEAST_SHARE = 0.5
MOST_BATCHES = 3.0
# Fewer say nothing about a median.
MIN_BATCHES = 100
# What the clock of the log can tell from nothing, when there are many.
LEAST_BATCH_MS = 0.05
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


def latency_verdict(at_half: list[tuple[float, list[Batch]]]) -> Verdict:
    """Of each run's 99th percentile in milliseconds and its batches: the median of the runs' ratios. A run with too few is left out."""
    promise = f"acknowledgement p99 at half load, in median batch commits: under {MOST_BATCHES:g}"
    ratios = [p99_ms / max(median_batch(found), LEAST_BATCH_MS) for p99_ms, found in at_half if len(found) >= MIN_BATCHES]
    if not ratios:
        return Verdict(promise, None, "not judged")
    ratio = median(ratios)
    return Verdict(promise, ratio, "met" if ratio < MOST_BATCHES else "missed")


def exit_status(verdicts: list[Verdict]) -> int:
    """Where the verdicts decide: 0 all met, 1 one missed, 3 none missed but not all judged."""
    words = {verdict.word for verdict in verdicts}
    return 1 if "missed" in words else 3 if "not judged" in words else 0
