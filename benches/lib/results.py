"""What the runs of the comparison came to: tables of medians, ratios between servers, and Parlor's targets."""

from dataclasses import dataclass, field
from statistics import median

from runs import Run
from shapes import Shape


@dataclass(frozen=True)
class Column:
    """A figure in a table."""

    title: str
    figure: str
    digits: int = 0
    scale: float = 1
    unit: str = ""


CORES = (
    Column("server core", "server_cpu_share", 0, 100, "%"),
    Column("waiting", "server_waiting_share", 0, 100, "%"),
    Column("generator", "generator_cpu_share", 0, 100, "%"),
)
DELIVERY = (
    Column("us/delivery", "server_cpu_us_per_delivery", 2),
    Column("us/send", "server_cpu_us_per_send", 1),
    Column("deliveries/s", "deliveries_per_second"),
)
LATENCIES = (
    Column("delivery p50 ms", "delivery_p50_us", 2, 1e-3),
    Column("delivery p99 ms", "delivery_p99_us", 2, 1e-3),
)
REPLIES = (
    Column("reply p50 ms", "reply_p50_us", 2, 1e-3),
    Column("reply p99 ms", "reply_p99_us", 2, 1e-3),
)
COLUMNS = {
    "saturated": (*DELIVERY, *CORES, *REPLIES),
    "rate": (*DELIVERY, *CORES, *LATENCIES, *REPLIES),
    "typing": (*DELIVERY, *CORES, *LATENCIES, Column("left out", "missing")),
    "storm": (
        Column("us/recovery", "server_cpu_us_per_recovery", 1),
        Column("connects/s", "connects_per_second"),
        *CORES,
        Column("caught up p50 ms", "caught_up_p50_us", 0, 1e-3),
        Column("caught up p99 ms", "caught_up_p99_us", 0, 1e-3),
        Column("events recovered", "recovered_events"),
    ),
    "idle": (
        Column("bytes/connection", "bytes_per_connection_and_rooms"),
        Column("connects/s", "connects_per_second"),
        Column("us/connect", "server_cpu_us_per_connect"),
        *CORES,
    ),
}
# By which a table tells a server's share of a reference's.
MAIN_FIGURE = {"saturated": "server_cpu_us_per_delivery", "rate": "server_cpu_us_per_delivery", "typing": "server_cpu_us_per_delivery",
               "storm": "server_cpu_us_per_recovery", "idle": "bytes_per_connection_and_rooms"}  # fmt: skip
REFERENCES = {"bun": "of Bun", "floor": "of floor"}

# What the ratios are about: title, shape by room size, figure.
RATIOS = (
    ("CPU/delivery, saturated", "saturated-{}", "server_cpu_us_per_delivery"),
    ("deliveries/s, saturated (more is better)", "saturated-{}", "deliveries_per_second"),
    ("CPU/delivery, fixed rate", "rate-{}", "server_cpu_us_per_delivery"),
    ("delivery p50, fixed rate", "rate-{}", "delivery_p50_us"),
    ("delivery p99, fixed rate", "rate-{}", "delivery_p99_us"),
    ("bytes/idle connection", "idle-{}", "bytes_per_connection_and_rooms"),
    ("CPU/connect", "idle-{}", "server_cpu_us_per_connect"),
)
WHOLE_RATIOS = (
    ("CPU/typing delivery", "typing", "server_cpu_us_per_delivery"),
    ("typing delivery p99", "typing", "delivery_p99_us"),
    ("CPU/return in a reconnect storm", "storm", "server_cpu_us_per_recovery"),
)
ROOM_SIZES = (2, 20, 1000)


@dataclass
class Results:
    """All runs so far."""

    runs: list[Run] = field(default_factory=list)
    out_of_time: bool = False
    usable: list = field(default_factory=list)

    def add(self, run: Run) -> None:
        """Takes a run in."""
        self.runs.append(run)

    def of(self, server: str, shape: str) -> list[Run]:
        """The runs that have figures."""
        return [run for run in self.runs if run.server == server and run.shape == shape and run.status == 0]

    def median(self, server: str, shape: str, figure: str) -> float | None:
        """Over the runs without a warning or, if each had one, over all; `None` without runs."""
        found = [run for run in self.of(server, shape) if figure in run.figures]
        clean = [run for run in found if not run.warnings]
        return median(run.figures[figure] for run in clean or found) if found else None

    def ratio(self, server: str, other: str, shape: str, figure: str) -> float | None:
        """Of the two medians."""
        one, two = self.median(server, shape, figure), self.median(other, shape, figure)
        return None if one is None or not two else one / two

    def table(self, shape: Shape, names: list[str]) -> str:
        """A row for each server that was run."""
        columns = COLUMNS[shape.kind]
        rows = [["server", *REFERENCES.values(), *(column.title for column in columns), "runs", "doubtful"]]
        for name in names:
            found = self.of(name, shape.name)
            if not found:
                continue
            of = [shown(self.ratio(name, reference, shape.name, MAIN_FIGURE[shape.kind]), 2) for reference in REFERENCES]
            figures = [(column, self.median(name, shape.name, column.figure)) for column in columns]
            cells = [shown(value, column.digits, column.scale, column.unit) for column, value in figures]
            rows.append([name, *of, *cells, str(len(found)), str(sum(1 for run in found if run.warnings))])
        return markdown(rows)

    def ratios(self, peers: list[str], server: str) -> str:
        """Parlor's figures as shares of the peers'."""
        rows = [["figure", "rooms of", *peers]]
        for title, shape, figure in RATIOS:
            for size in ROOM_SIZES:
                cells = [shown(self.ratio(server, peer, shape.format(size), figure), 2) for peer in peers]
                rows.append([title, f"{size:,}", *cells])
        for title, shape, figure in WHOLE_RATIOS:
            rows.append([title, "20", *(shown(self.ratio(server, peer, shape, figure), 2) for peer in peers)])
        return markdown([row for row in rows if set(row[2:]) != {"-"}])


def target_rows(results: Results) -> str:
    """Parlor's targets against what was measured."""
    cpu = "server_cpu_us_per_delivery"
    added = {}
    for shape in ("saturated-20", "saturated-2"):
        sqlite, memory = (results.median(name, shape, "server_cpu_us_per_send") for name in ("parlor-sqlite", "parlor"))
        added[shape] = None if sqlite is None or memory is None else sqlite - memory
    durable = results.median("parlor-sqlite", "rate-20", "reply_p99_us")
    targets = [
        ("parlor, rooms of 1,000: us/delivery of Bun's", results.ratio("parlor", "bun", "saturated-1000", cpu), "<=", 0.7),
        ("parlor, rooms of 20: us/delivery of Bun's", results.ratio("parlor", "bun", "saturated-20", cpu), "<=", 0.8),
        ("parlor, rooms of 2: us/delivery of Bun's", results.ratio("parlor", "bun", "saturated-2", cpu), "<=", 0.8),
        ("parlor, rooms of 2: us/delivery of the floor", results.ratio("parlor", "floor", "saturated-2", cpu), "<=", 1.0),
        ("parlor-sqlite, rooms of 1,000: us/delivery of Bun's", results.ratio("parlor-sqlite", "bun", "saturated-1000", cpu), "<=", 0.8),
        ("parlor-sqlite, rooms of 20: us/send more than in memory", added["saturated-20"], "<=", 30),
        ("parlor-sqlite, rooms of 2: us/send more than in memory", added["saturated-2"], "<=", 30),
        ("parlor, 6,000/s to rooms of 20: us/delivery of the floor", results.ratio("parlor", "floor", "rate-20", cpu), "<=", 1.1),
        ("parlor-sqlite, 6,000/s: durable reply p99, ms", None if durable is None else durable / 1000, "<=", 10),
    ]
    for name in ("parlor", "parlor-sqlite"):
        targets.append((f"{name}, idle: bytes/connection", results.median(name, "idle-20", "bytes_per_connection_and_rooms"), "<=", 4096))
        targets.append((f"{name}: connects/s", results.median(name, "idle-20", "connects_per_second"), ">=", 5000))
    rows = [["target", "measured", "limit", ""]]
    for title, value, comparison, limit in targets:
        met = value is not None and (value <= limit if comparison == "<=" else value >= limit)
        verdict = "not measured" if value is None else "met" if met else "MISSED"
        rows.append([title, shown(value, 2 if limit <= 30 else 0), f"{comparison} {limit}", verdict])
    return markdown(rows)


def shown(value: float | None, digits: int, scale: float = 1, unit: str = "") -> str:
    """As it stands in a table; "-" where there is nothing."""
    return "-" if value is None else f"{value * scale:.{digits}f}{unit}"


def markdown(rows: list[list[str]]) -> str:
    """A table whose first row is the heading."""
    heading, *body = rows
    return "\n".join("| " + " | ".join(row) + " |" for row in [heading, ["---"] * len(heading), *body])
