"""Which figures decide whether a build is slower, and how."""

from dataclasses import dataclass
from statistics import median

from pairs import Ratio, ratio_of
from runs import Run


@dataclass(frozen=True)
class Gate:
    """A figure of two builds; the smaller the better."""

    title: str
    figure: str
    limit: str | None
    """Which limit it has: cost, latency, or none; then it is only printed."""
    digits: int = 2
    needs: str = "cpu"
    """What a pair must have for the figure to mean anything."""


# An interval that reaches this far does not rule out a slowdown that should be seen.
UNSEEN = 1.2

CPU = Gate("CPU us/delivery", "server_cpu_us_per_delivery", "cost")
P50 = Gate("delivery p50 us", "delivery_p50_us", "latency", 0, "latencies")
# A hundredth of a second of deliveries decides it: what else the machine does weighs more on it than what a build does.
P99 = Gate("delivery p99 us", "delivery_p99_us", None, 0, "latencies")
GATES = {
    "saturated": (CPU,),
    "rate": (CPU, P50, P99),
    "typing": (CPU, P50, P99),
    "storm": (
        Gate("CPU us/recovery", "server_cpu_us_per_recovery", "cost", 1),
        # As long as the generator takes to connect: no figure of the server's while it is faster than that.
        Gate("caught up p99 us", "caught_up_p99_us", None, 0, "latencies"),
    ),
    "idle": (
        Gate("bytes/connection", "bytes_per_connection_and_rooms", "cost", 0),
        Gate("CPU us/connect", "server_cpu_us_per_connect", "cost", 1),
    ),
}  # fmt: skip


@dataclass(frozen=True)
class Row:
    """One line of the table."""

    shape: str
    gate: Gate
    base: float | None
    head: float | None
    ratio: Ratio | None
    pairs: int
    verdict: str

    @property
    def is_slower(self) -> bool:
        """Beyond doubt."""
        return self.verdict == "SLOWER"

    @property
    def is_unjudged(self) -> bool:
        """It has a limit, but the pairs do not suffice."""
        return self.verdict == "not judged"

    def as_json(self) -> dict:
        """For the result file."""
        interval = [self.ratio.low, self.ratio.high] if self.ratio else None
        return {
            "shape": self.shape, "figure": self.gate.figure, "base": self.base, "head": self.head,
            "ratio": self.ratio.median if self.ratio else None, "interval": interval, "pairs": self.pairs, "verdict": self.verdict,
        }  # fmt: skip


def judged(shape: str, gate: Gate, pairs: list[tuple[Run, Run]], limits: dict[str, float], min_pairs: int) -> Row:
    """The figure's row, from the pairs in which it means something."""
    sound = [
        (base.figures[gate.figure], head.figures[gate.figure])
        for base, head in pairs
        if all((run.has_cpu if gate.needs == "cpu" else run.has_latencies) and run.figures.get(gate.figure, 0) > 0 for run in (base, head))
    ]
    base, head = (median(pair[side] for pair in sound) if sound else None for side in (0, 1))
    ratio = ratio_of(sound) if sound else None
    return Row(shape, gate, base, head, ratio, len(sound), verdict_of(gate, ratio, len(sound), limits, min_pairs))


def verdict_of(gate: Gate, ratio: Ratio | None, pairs: int, limits: dict[str, float], min_pairs: int) -> str:
    """Slower only if the whole interval is over the limit, and unsure if so much noise was in the pairs that a fifth could hide in it."""
    if gate.limit is None:
        return "not a gate"
    if ratio is None or pairs < min_pairs:
        return "not judged"
    limit = limits[gate.limit]
    if ratio.low > limit:
        return "SLOWER"
    if gate.limit == "cost" and ratio.high > UNSEEN:
        return "unsure"
    return "faster" if ratio.high < 1 / limit else "ok"


def exit_status(rows: list[Row], failed: list[Run]) -> int:
    """1: slower, or head broke a promise. 2: some run did not come about otherwise. 3: some figure could not be judged."""
    if any(row.is_slower for row in rows) or any(run.broke_a_promise and run.server == "head" for run in failed):
        return 1
    if any(not run.broke_a_promise for run in failed):
        return 2
    # Latencies are judged where they can be: other programs on the machine must not fail a build that costs no more.
    return 3 if any(row.is_unjudged and row.gate.limit == "cost" for row in rows) else 0
