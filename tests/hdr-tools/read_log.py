"""Reads run.hlog and the .hgrm files of a run with HdrHistogram's Python implementation, and holds them to summary.csv.

Usage: read_log.py DIR
"""

import csv
import pathlib
import sys

from hdrh.histogram import HdrHistogram
from hdrh.log import HistogramLogReader

LOWEST_US, HIGHEST_US, DIGITS = 1, 60_000_000, 3
US_IN_MS = 1_000


def read_log(path):
    """The histograms of a log, added up by tag."""
    reader = HistogramLogReader(str(path), HdrHistogram(LOWEST_US, HIGHEST_US, DIGITS))
    by_tag = {}
    while (interval := reader.get_next_interval_histogram()) is not None:
        assert interval.get_start_time_stamp() >= reader.get_start_time_sec() * 1e3 > 0, "times count from the start"
        assert interval.get_end_time_stamp() > interval.get_start_time_stamp()
        tag = interval.get_tag()
        by_tag.setdefault(tag, HdrHistogram(LOWEST_US, HIGHEST_US, DIGITS)).add(interval)
    return by_tag


def ranks_of(histogram):
    """How many values are no larger, for each value that was recorded, in microseconds."""
    ranks, rank = {}, 0
    for step in histogram.get_recorded_iterator():
        rank += step.count_at_value_iterated_to
        ranks[step.value_iterated_to] = rank
    return ranks


def check_figures(histogram, ranks, row):
    """What the reader makes of the log is what the run said.

    A percentile is the smallest value that is no smaller than that share of all. This implementation rounds the rank where others
    take the next whole one, so the rank is reckoned here.
    """
    metric, count = row["metric"], histogram.get_total_count()
    ends = {"count": count, "min_us": histogram.get_min_value(), "max_us": histogram.get_max_value()}
    for name, value in ends.items():
        assert int(row[name]) == value, f"{metric} {name}: {row[name]} in the run, {value} in the log"
    assert abs(float(row["mean_us"]) / histogram.get_mean_value() - 1) < 1e-3, f"{metric}: another mean"
    for name, share in (("p50_us", 0.5), ("p90_us", 0.9), ("p99_us", 0.99), ("p999_us", 0.999)):
        value = next(value for value, rank in ranks.items() if rank >= share * count)
        assert int(row[name]) == value, f"{metric} {name}: {row[name]} in the run, {value} in the log"


def check_distribution(ranks, text, metric):
    """Each row of a .hgrm file is true: so many values are no larger, and they are at least that share."""
    by_text = {f"{value / US_IN_MS:.3f}": rank for value, rank in ranks.items()}
    count = max(ranks.values())
    heading, _, *lines = text.splitlines()
    assert heading.split() == ["Value", "Percentile", "TotalCount", "1/(1-Percentile)"]
    rows = [line.split() for line in lines if not line.startswith("#")]
    for value, share, rank, *_ in rows:
        assert by_text[value] == int(rank), f"{metric}: {value} ms is rank {by_text[value]}, not {rank}"
        assert int(rank) / count >= float(share) - 1e-12, f"{metric}: {rank} of {count} are less than {share}"
    assert float(rows[-1][1]) == 1 and int(rows[-1][2]) == count, f"{metric}: the last row is not at 100 %"
    assert f"Total count    = {count:12}]" in text


def main():
    directory = pathlib.Path(sys.argv[1])
    with open(directory / "summary.csv", newline="", encoding="utf-8") as file:
        rows = {row["metric"]: row for row in csv.DictReader(file)}
    by_tag = read_log(directory / "run.hlog")
    assert rows and set(by_tag) == set(rows), f"tags {set(by_tag)} for metrics {set(rows)}"
    for metric, row in rows.items():
        ranks = ranks_of(by_tag[metric])
        check_figures(by_tag[metric], ranks, row)
        check_distribution(ranks, (directory / f"{metric}.hgrm").read_text(encoding="utf-8"), metric)
    print(f"{len(rows)} metrics are the same in run.hlog, METRIC.hgrm and summary.csv")


main()
