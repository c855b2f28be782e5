"""How long a server took to store its batches, from its metrics."""

import urllib.error
import urllib.request

BUCKET = 'parlor_store_commit_seconds_bucket{le="'
SECONDS = 10


def of_server(url: str) -> dict[str, float]:
    """The figures of a server that runs; none if it keeps no such metric, or does not answer."""
    metrics = url.replace("ws://", "http://", 1).rsplit("/ws", 1)[0] + "/metrics"
    try:
        with urllib.request.urlopen(metrics, timeout=SECONDS) as answer:
            return figures(answer.read().decode())
    except (OSError, urllib.error.URLError):
        return {}


def figures(text: str) -> dict[str, float]:
    """From the text of the metrics: how many batches, and the median and the 99th percentile of their time."""
    counts = []
    for line in text.splitlines():
        if line.startswith(BUCKET):
            bound, _, count = line.removeprefix(BUCKET).partition('"} ')
            counts.append((float(bound.replace("+Inf", "inf")), int(count)))
    if not counts or counts[-1][1] == 0:
        return {}
    return {
        "batches": counts[-1][1], "batch_p50_ms": 1000 * quantile(counts, 0.5), "batch_p99_ms": 1000 * quantile(counts, 0.99),
    }  # fmt: skip


def quantile(counts: list[tuple[float, int]], share: float) -> float:
    """In seconds, from how many were at most each bound: the place between two bounds as if all between them lay evenly."""
    wanted, low, before = share * counts[-1][1], 0.0, 0
    for bound, count in counts:
        if count >= wanted and count > before:
            return low if bound == float("inf") else low + (bound - low) * (wanted - before) / (count - before)
        low, before = bound, count
    return low
