"""The loads that the benches put on a server: what `loadgen raw` is told for each."""

from dataclasses import dataclass, replace

BODY_BYTES = 64
CONNECTIONS = 1_000
IDLE_CONNECTIONS = 15_000
STORM_CONNECTIONS = 5_000


@dataclass(frozen=True)
class Shape:
    """One load."""

    name: str
    title: str
    kind: str
    """saturated, rate, typing, idle or storm: which figures there are."""
    arguments: tuple[str, ...]
    connections: int = CONNECTIONS
    database: str = "memory"
    """Of Parlor where nothing else says which."""

    def command(self, seconds: float, warmup: float) -> list[str]:
        """What follows `loadgen raw`, without what depends on the server."""
        command = [*self.arguments, "--connections", str(self.connections)]
        if self.kind in ("saturated", "rate"):
            command += ["--body-bytes", str(BODY_BYTES)]
        if self.kind in ("saturated", "rate", "typing"):
            command += ["--seconds", str(seconds), "--warmup", str(warmup)]
        return command

    def with_connections(self, connections: int) -> "Shape":
        """The same with another number of connections."""
        return replace(self, connections=connections)


# In rooms of 1,000 fifty send: as many as a server that writes each delivery by itself can answer in a fraction of a second.
# The fixed rates are below what most of the peers manage: 80 x 1,000, 6,000 x 20 and 8,000 x 2 deliveries a second.
SHAPES = {
    shape.name: shape
    for shape in (
        Shape("saturated-1000", "Saturated, rooms of 1,000", "saturated",
              ("blast", "--room-size", "1000", "--senders-per-room", "50")),
        Shape("saturated-20", "Saturated, rooms of 20", "saturated", ("blast", "--room-size", "20")),
        Shape("saturated-2", "Saturated, rooms of 2", "saturated", ("blast", "--room-size", "2")),
        Shape("rate-1000", "80 messages a second to a room of 1,000", "rate",
              ("blast", "--room-size", "1000", "--senders-per-room", "50", "--rate", "80")),
        Shape("rate-20", "6,000 messages a second to rooms of 20", "rate", ("blast", "--room-size", "20", "--rate", "6000")),
        Shape("rate-2", "8,000 messages a second to rooms of 2", "rate", ("blast", "--room-size", "2", "--rate", "8000")),
        Shape("typing", "Typing storm: everybody in rooms of 20, 6,000 starts and stops a second", "typing",
              ("typing", "--room-size", "20", "--rate", "6000")),
        Shape("storm", "Reconnect storm", "storm",
              ("storm", "--room-size", "20", "--missed", "20", "--connecting", "256"), STORM_CONNECTIONS),
        Shape("idle-20", "Idle, rooms of 20", "idle", ("idle", "--room-size", "20"), IDLE_CONNECTIONS),
        Shape("idle-2", "Idle, rooms of 2", "idle", ("idle", "--room-size", "2"), IDLE_CONNECTIONS),
        Shape("idle-1000", "Idle, rooms of 1,000", "idle", ("idle", "--room-size", "1000"), IDLE_CONNECTIONS),
    )
}  # fmt: skip


def chosen(text: str, known: dict[str, Shape]) -> list[Shape]:
    """The shapes of a list with commas; `ValueError` names one that does not exist."""
    names = [name for name in text.split(",") if name]
    unknown = [name for name in names if name not in known]
    if unknown or not names:
        raise ValueError(f"no shape is called {', '.join(unknown) or 'nothing'}; there are {', '.join(known)}")
    return [known[name] for name in names]
