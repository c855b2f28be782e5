"""How often a core stands still: other programs, the kernel's own threads, and under a virtual machine whoever else has the core."""

import multiprocessing
import os
import time

WATCH_SECONDS = 3.0
# Shorter ones are a few in the latencies of a message; longer ones are most of its 99th percentile.
SHORTEST_MS = 1.0


def watch(core: int, seconds: float) -> list[float]:
    """Looks at the clock all the time, with nothing before it if that is allowed, and returns the gaps in milliseconds."""
    os.sched_setaffinity(0, {core})
    try:
        os.nice(-20)
    except PermissionError:
        pass
    return long_gaps(time.monotonic_ns, int(seconds * 1e9))


def long_gaps(clock, length: int) -> list[float]:
    """The steps of a clock that are longer than SHORTEST_MS, in milliseconds, for so many nanoseconds."""
    shortest, gaps, last = int(SHORTEST_MS * 1e6), [], clock()
    end = last + length
    while last < end:
        now = clock()
        if now - last > shortest:
            gaps.append((now - last) / 1e6)
        last = now
    return gaps


def described(core: int, gaps: list[float], seconds: float) -> str:
    """One core's gaps in words."""
    if not gaps:
        return f"core {core} never"
    return f"core {core} {len(gaps)} times, {sum(gaps) / seconds / 10:.1f} % of the time, at most {max(gaps):.1f} ms"


def measured(cores: set[int], seconds: float = WATCH_SECONDS) -> str:
    """Watches all of them at once and says what was seen."""
    ordered = sorted(cores)
    with multiprocessing.get_context("fork").Pool(len(ordered)) as pool:
        all_gaps = pool.starmap(watch, [(core, seconds) for core in ordered])
    words = "; ".join(described(core, gaps, seconds) for core, gaps in zip(ordered, all_gaps))
    return f"Longer than {SHORTEST_MS:g} ms the machine by itself stood still, in {seconds:g} s before the runs: {words}"
