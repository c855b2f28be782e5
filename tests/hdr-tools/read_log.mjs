// Reads run.hlog and the .hgrm files of a run with HdrHistogram's JavaScript implementation, and holds them to summary.csv.
// Usage: node read_log.mjs DIR

import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { HistogramLogReader } from "hdr-histogram-js";

const US_IN_MS = 1000;
const directory = process.argv[2];
const read = (name) => readFileSync(join(directory, name), "utf8");

/** The lines of a table, by the name of its columns. */
function table(text) {
  const [head, ...lines] = text.trimEnd().split("\n").map((line) => line.split(","));
  return lines.map((cells) => Object.fromEntries(cells.map((cell, index) => [head[index], cell])));
}

/** The histograms of a log, added up by tag. */
function byTag(text) {
  const reader = new HistogramLogReader(text, 32, false);
  const histograms = new Map();
  for (let interval = reader.nextIntervalHistogram(); interval; interval = reader.nextIntervalHistogram()) {
    assert.ok(reader.startTimeSec > 0, "the log says when it began");
    assert.ok(interval.startTimeStampMsec >= reader.startTimeSec * 1000, "times count from the start");
    const known = histograms.get(interval.tag);
    if (known) known.add(interval);
    else histograms.set(interval.tag, interval);
  }
  return histograms;
}

/** The rows of a percentile distribution as numbers, without heading and footer. */
function distribution(text) {
  return text.split("\n").slice(2).filter((line) => line && !line.startsWith("#")).map((line) => line.trim().split(/\s+/).map(Number));
}

const rows = table(read("summary.csv"));
const histograms = byTag(read("run.hlog"));
assert.deepEqual([...histograms.keys()].sort(), rows.map((row) => row.metric).sort());
for (const row of rows) {
  const histogram = histograms.get(row.metric);
  assert.equal(histogram.totalCount, Number(row.count), row.metric);
  for (const [column, percentile] of [["p50_us", 50], ["p90_us", 90], ["p99_us", 99], ["p999_us", 99.9], ["max_us", 100]]) {
    assert.equal(histogram.getValueAtPercentile(percentile), Number(row[column]), `${row.metric} ${column}`);
  }
  const ours = distribution(read(`${row.metric}.hgrm`));
  const theirs = distribution(histogram.outputPercentileDistribution(5, US_IN_MS));
  assert.equal(ours.length, theirs.length, row.metric);
  // A half in the last place of a percentile is rounded the other way there.
  const same = (line, index) => line.length === theirs[index].length && line.every((cell, column) => Math.abs(cell - theirs[index][column]) < 2e-12);
  assert.deepEqual(ours.filter((line, index) => !same(line, index)), [], row.metric);
}
console.log(`${rows.length} metrics are the same in run.hlog, METRIC.hgrm and summary.csv`);
