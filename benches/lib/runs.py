"""One run: a fresh server on one core, `loadgen raw` on another (or both on the same two), and the figures."""

import json
import os
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import commits
import servers
from shapes import Shape

# Setting up, draining and settling, whose own deadlines in the generator are shorter.
MARGIN_SECONDS = 150
# Past this share of its core the generator sets the pace.
SATURATED = 0.95
VIOLATION = 1


@dataclass
class Run:
    """What came out of one run."""

    server: str
    shape: str
    status: int
    figures: dict[str, float] = field(default_factory=dict)
    warnings: list[str] = field(default_factory=list)
    error: str = ""

    @property
    def broke_a_promise(self) -> bool:
        """A message was lost, came twice, out of order, or was not recovered."""
        return self.status == VIOLATION

    @property
    def has_cpu(self) -> bool:
        """Whether processor time is the server's own doing: the generator kept up."""
        return self.status == 0 and self.figures.get("generator_cpu_share", 0) <= SATURATED

    @property
    def has_latencies(self) -> bool:
        """Whether latencies are too: the generator was not kept waiting for its core either."""
        return self.has_cpu and self.figures["generator_cpu_share"] + self.figures["generator_waiting_share"] <= SATURATED


@dataclass
class Bench:
    """Where runs take place."""

    loadgen: Path
    tokens: Path | None
    work: Path
    server_core: int | set[int]
    generator_core: int | set[int]
    seconds: float
    warmup: float

    def run(self, server: servers.Server, shape: Shape) -> Run:
        """Starts the server, loads it, ends it. A server that does not start is `Unusable`."""
        with servers.running(server, self.server_core, self.work) as (url, pid):
            run = self._load(server, url, pid, shape)
            if server.dialect == "parlor":
                run.figures |= commits.of_server(url)
            return run

    def _load(self, server: servers.Server, url: str, pid: int, shape: Shape) -> Run:
        command = [str(self.loadgen), "raw", *shape.command(self.seconds, self.warmup)]
        command += ["--url", url, "--server-pid", str(pid), "--dialect", server.dialect, "--json"]
        if server.dialect == "parlor":
            command += ["--tokens", str(self.tokens)]
        try:
            # Ends the generator if it is interrupted.
            ran = subprocess.run(
                command, capture_output=True, text=True, stdin=subprocess.DEVNULL,
                timeout=self.seconds + self.warmup + MARGIN_SECONDS, preexec_fn=servers.pin_to(self.generator_core),
            )  # fmt: skip
        except subprocess.TimeoutExpired:
            return Run(server.name, shape.name, 2, error="no end in time")
        prefix = "loadgen: warning: "
        warnings = [line.removeprefix(prefix) for line in ran.stderr.splitlines() if line.startswith(prefix)]
        run = Run(server.name, shape.name, ran.returncode, warnings=warnings)
        if ran.stdout.startswith("{"):
            run.figures = {name: value for name, value in json.loads(ran.stdout).items() if value is not None}
        if ran.returncode != 0:
            failed = [line for line in ran.stderr.splitlines() if not line.startswith(prefix)]
            run.error = "; ".join(line.removeprefix("loadgen: ") for line in failed) or f"status {ran.returncode}"
        return run


def parse_cores(text: str) -> tuple[int, int]:
    """`S,G`: the server's core and the generator's."""
    parts = text.split(",")
    if len(parts) != 2 or not all(part.isdigit() for part in parts) or parts[0] == parts[1]:
        raise ValueError("two different cores are wanted: S,G")
    missing = {int(part) for part in parts} - os.sched_getaffinity(0)
    if missing:
        raise ValueError(f"there is no core {', '.join(map(str, sorted(missing)))} for this process; --cores names others")
    return int(parts[0]), int(parts[1])


def default_cores() -> str:
    """The first two that this process may use."""
    return ",".join(str(core) for core in sorted(os.sched_getaffinity(0))[:2])


def cores_beside(cores: set[int], allowed: set[int]) -> set[int]:
    """Those that are allowed besides `cores`; where there are none, the same."""
    return allowed - cores or cores


@contextmanager
def workplace(parent: Path) -> Iterator[Path]:
    """A directory for one run of a script: two that run at once would take each other's databases away. Gone afterwards.
    Under target/, not /tmp: where that is a file system in memory, a database that syncs to it would look faster than it is."""
    parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="run-", dir=parent, ignore_cleanup_errors=True) as place:
        yield Path(place)


def allow_descriptors() -> None:
    """As many open files as the system allows: a server inherits it."""
    import resource

    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
