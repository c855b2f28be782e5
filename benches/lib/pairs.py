"""The median of paired ratios, and how sure one can be of it."""

import random
from dataclasses import dataclass
from statistics import median

RESAMPLES = 10_000
SEED = 20_261_124


@dataclass(frozen=True)
class Ratio:
    """The median of head over base, and its interval."""

    median: float
    low: float
    high: float


def ratio_of(pairs: list[tuple[float, float]], confidence: float = 0.95) -> Ratio:
    """Percentile bootstrap of the median of `head / base` over pairs of `(base, head)`. The same pairs give the same interval."""
    ratios = [head / base for base, head in pairs]
    source = random.Random(SEED)
    medians = sorted(median(source.choices(ratios, k=len(ratios))) for _ in range(RESAMPLES))
    tail = (1 - confidence) / 2
    low, high = medians[int(tail * RESAMPLES)], medians[int((1 - tail) * RESAMPLES) - 1]
    return Ratio(median(ratios), low, high)
