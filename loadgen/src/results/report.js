// The report: what the data of a run says, from top to bottom. Everything that comes from the run is inserted as text.

const run = JSON.parse(document.getElementById("data").textContent);
const page = document.getElementById("report");
const KIB = 1024;

/** Three digits that matter. */
function digits(value) {
  const size = Math.abs(value);
  if (size < 0.005) return "0";
  return size < 9.995 ? value.toFixed(2) : size < 99.95 ? value.toFixed(1) : whole(value);
}
function whole(value) {
  return Math.round(value).toLocaleString("en-US");
}
function time(us) {
  return us < 999.5 ? `${Math.round(us)} µs` : us < 999500 ? `${digits(us / 1e3)} ms` : `${digits(us / 1e6)} s`;
}
/** A time of an axis: round, so without digits that say nothing. */
function tickTime(us) {
  const short = (value) => String(Number(value.toPrecision(3)));
  return us === 0 ? "0" : us < 1000 ? `${short(us)} µs` : us < 1e6 ? `${short(us / 1e3)} ms` : `${short(us / 1e6)} s`;
}
function short(value) {
  if (value >= 1e6) return `${Number((value / 1e6).toPrecision(3))} M`;
  return value >= 1e3 ? whole(value) : String(Number(value.toPrecision(3)));
}
function rate(value) {
  return value >= 99.95 || Number.isInteger(value) ? whole(value) : digits(value);
}
function bytes(value) {
  const size = Math.abs(value);
  if (size < KIB) return `${whole(value)} B`;
  if (size < KIB ** 2) return `${digits(value / KIB)} KiB`;
  return size < KIB ** 3 ? `${digits(value / KIB ** 2)} MiB` : `${digits(value / KIB ** 3)} GiB`;
}
function tickBytes(value) {
  return `${Number((value / KIB ** 2).toPrecision(3))} MiB`;
}
function share(value) {
  const percent = value * 100;
  return percent === 0 ? "0 %" : `${percent < 0.01 ? percent.toPrecision(2) : percent < 1 ? percent.toFixed(2) : percent.toFixed(1)} %`;
}

/** A section with a heading. */
function section(heading, ...children) {
  const made = element("section", {}, element("h2", {}, heading), ...children);
  page.append(made);
  return made;
}

/** A table; the first column and those called `words` are text. */
function table(heads, rows, words = [], kind = "") {
  const cell = (tag, content, index) => element(tag, words.includes(index) ? { class: "words" } : {}, content);
  const head = element("tr", {}, ...heads.map((content, index) => cell("th", content, index)));
  const body = rows.map((row) => element("tr", {}, ...row.map((content, index) => cell("td", content, index))));
  return element("div", { class: "scroll" }, element("table", { class: kind }, element("thead", {}, head), element("tbody", {}, ...body)));
}

function list(pairs, kind = "") {
  const items = pairs.filter(([, text]) => text !== null && text !== "");
  return element("dl", { class: kind }, ...items.flatMap(([name, text]) => [element("dt", {}, name), element("dd", {}, text)]));
}

const metricOf = (name) => run.metrics.find((metric) => metric.name === name);
const colourOf = (name) => name.replace("_service", "");
const perSecond = (count) => (run.seconds > 0 ? count / run.seconds : 0);

function banner() {
  const made = element("section", { class: `banner ${run.verdict}` }, element("h1", {}, run.headline), element("p", { class: "sentence" }, run.sentence));
  for (const reason of run.generator.void) made.append(element("p", {}, `Void: ${reason}`));
  made.append(element("p", { class: "soft small" }, `${run.asked}. ${run.started_at}, ${run.setup.url}`));
  page.append(made);
  document.title = `${run.verdict}: loadgen ${run.setup.scenario}, ${run.started_at}`;
}

function gates() {
  if (run.gates.length === 0) return;
  const rows = run.gates.map((gate) => [
    element("span", { class: gate.passed ? "good" : "bad" }, gate.passed ? "✓ passed" : "✗ failed"),
    element("code", {}, gate.condition),
    gate.measured,
  ]);
  section("Gates", table(["", "condition", "measured"], rows, [1], "gates"));
}

function breaches() {
  if (run.verifier.breaches === 0) return;
  const made = section(`Broken promises: ${whole(run.verifier.breaches)}`);
  made.classList.add("long");
  for (const breach of run.verifier.details) {
    const where = `${(breach.at_ms / 1e3).toFixed(3)} s, conversation ${breach.conversation}${breach.seq === null ? "" : `, seq ${breach.seq}`}, seen by ${breach.user}`;
    const item = element("div", { class: "breach" }, element("p", {}, element("b", { class: "bad" }, breach.kind), ` ${breach.what}`));
    item.append(element("p", { class: "soft small" }, where));
    if (breach.around.length > 0) {
      item.append(element("p", { class: "small" }, "The last events there, oldest first:"), element("pre", {}, breach.around.join("\n")));
    }
    made.append(item);
  }
  const more = run.verifier.breaches - run.verifier.details.length;
  if (more > 0 && run.verifier.details.length > 0) made.append(element("p", {}, `And ${whole(more)} more.`));
}

function numbers() {
  const cards = [["people", whole(run.setup.clients), run.rooms]];
  if (run.counts.acked > 0) {
    const asked = run.setup.closed_loop ? "as many as were answered" : run.rated === "messages" && run.setup.rate ? `${rate(run.setup.rate)} asked for` : "";
    cards.push(["messages a second", rate(perSecond(run.counts.acked)), asked]);
  }
  if (run.counts.delivered > 0) cards.push(["deliveries a second", rate(perSecond(run.counts.delivered)), `${whole(run.counts.delivered)} in all`]);
  const important = ["ack", "delivery", "typing", "recovery", "connect", "auth", "join"].map(metricOf).filter(Boolean);
  for (const metric of important.slice(0, 2)) cards.push([`99 % of ${metric.name} within`, time(metric.p99), `half within ${time(metric.p50)}`]);
  const errors = Object.values(run.counts.errors).reduce((sum, count) => sum + count, 0);
  cards.push(["errors", whole(errors), run.requests > 0 ? `${share(errors / run.requests)} of all requests` : ""]);
  if (run.server) {
    const each = run.server.us_per_delivery === null ? "" : `, ${digits(run.server.us_per_delivery)} µs a delivery`;
    cards.push(["server cores", digits(run.server.cpu), `of ${run.machine.cores}${each}`]);
    cards.push(["server memory at most", bytes(run.server.rss_peak), `${bytes(run.server.bytes_per_connection)} a connection`]);
  }
  const card = ([label, value, note]) =>
    element("div", { class: "number" }, element("span", { class: "label" }, label), element("b", {}, value), element("span", { class: "note" }, note));
  page.append(element("div", { class: "numbers" }, ...cards.map(card)));
}

/** A point of a percentile plot: the last one, at 100 %, stands where its count puts it. */
function curve(metric) {
  return metric.curve.map(([quantile, value]) => [quantile < 1 ? Math.min(1 / (1 - quantile), metric.count) : metric.count, value]);
}
function percentile(x) {
  const decimals = Math.max(0, Math.ceil(Math.log10(x)) - 2);
  return `${((1 - 1 / x) * 100).toFixed(Math.min(decimals, 6))} %`;
}

function percentiles() {
  if (run.metrics.length === 0) return;
  const main = ["ack", "ack_service", "delivery", "delivery_service", "typing", "recovery"];
  const anyMain = run.metrics.some((metric) => main.includes(metric.name));
  const series = run.metrics.map((metric) => ({
    name: metric.name,
    colour: colourOf(metric.name),
    style: metric.name.endsWith("_service") ? "dashed" : "solid",
    hidden: anyMain && !main.slice(0, 4).includes(metric.name) && run.metrics.some((other) => other.name === "ack"),
    points: curve(metric),
  }));
  for (const metric of run.base?.metrics ?? []) {
    const now = series.find((each) => each.name === metric.name);
    series.push({ name: `${metric.name}, earlier`, colour: colourOf(metric.name), style: "faint", hidden: now ? now.hidden : true, points: curve(metric) });
  }
  const made = section("How long it took, by percentile");
  const tip = (x) => `${percentile(x)} took no longer than`;
  chart(made, { title: "Read: this share of all (below) took no longer than this (left)", series, upTo: true, height: 320, x: { log: true, format: percentile, tip }, y: { log: true, format: tickTime } });
  if (run.setup.closed_loop) made.append(element("p", { class: "bad" }, `${run.closed_loop}.`));
  else made.append(element("p", { class: "soft small" }, run.omission));
}

/** A line over time, from what each point has; `pick` returns null where there is nothing. */
function over(name, colour, pick, style = "solid") {
  const points = run.timeline.points.map((point) => [point.at, pick(point)]).filter((pair) => pair[1] !== null && pair[1] !== undefined);
  return { name, colour, style, points };
}

function timeline() {
  if (run.timeline.points.length < 2) return;
  const made = section("Over time");
  const each = run.timeline.seconds_each > 1 ? ` Each point stands for ${run.timeline.seconds_each} seconds, and shows the worst of their latencies.` : "";
  made.append(element("p", { class: "soft small" }, `Seconds since the first connection; what is shaded was not measured.${each}`));
  const charts = element("div", { class: "charts" });
  made.append(charts);
  const shade = [];
  let start = 0;
  for (const point of run.timeline.points) {
    if (!point.measured) shade.push([start, point.at]);
    start = point.at;
  }
  const x = { format: (value) => `${short(value)} s`, range: [0, start] };
  const add = (title, series, y) => {
    const some = series.filter((line) => line.points.some((point) => point[1] > 0));
    if (some.length > 0) chart(charts, { title, series: some, x, y, shade });
  };
  const plain = { format: short };
  add("Messages a second", [over("asked", "lag", (p) => p.due, "dashed"), over("sent", "page", (p) => p.sent), over("acknowledged", "ack", (p) => p.acked)], plain);
  add("Deliveries a second", [over("messages", "delivery", (p) => p.delivered), over("typing", "typing", (p) => p.typing)], plain);
  for (const name of ["ack", "delivery", "typing", "recovery", "connect"]) {
    const of = (figure) => (point) => point.latencies[name]?.[figure] ?? null;
    if (!metricOf(name) || (metricOf("ack") && !["ack", "delivery"].includes(name))) continue;
    const lines = [over("p50", name, of("p50")), over("p99", name, of("p99"), "dashed"), over("max", name, of("max"), "faint")];
    add(`Latency: ${name}`, lines, { format: tickTime, log: true });
  }
  add("Connections", [over("logged in", "connect", (p) => p.connections)], plain);
  add("Connects a second", [over("connects", "join", (p) => p.connects)], plain);
  add("Errors", [over("errors", "recovery", (p) => p.errors)], plain);
  add("Processor", [over("server, cores", "ack", (p) => p.server_cpu), over("tester, busiest thread", "lag", (p) => p.generator_cpu, "dashed")], { format: digits });
  add("Server memory", [over("resident", "page", (p) => p.server_rss)], { format: tickBytes, unit: KIB ** 2 });
}

function figures() {
  if (run.metrics.length === 0) return;
  const earlier = (name) => run.base?.metrics.find((metric) => metric.name === name);
  const heads = ["time", "count", "min", "mean", "p50", "p90", "p99", "p99.9", "max", ...(run.base ? ["p99 earlier"] : []), "meaning"];
  const rows = run.metrics.map((m) => [
    m.name,
    whole(m.count),
    ...[m.min, m.mean, m.p50, m.p90, m.p99, m.p999, m.max].map(time),
    ...(run.base ? [earlier(m.name) ? time(earlier(m.name).p99) : "–"] : []),
    m.meaning,
  ]);
  const made = section("All times", table(heads, rows, [heads.length - 1]));
  if (run.base) {
    made.append(element("p", { class: "soft small" }, `The earlier run began at ${run.base.started_at}. ${run.base.remarks.map((remark) => `Note: ${remark}.`).join(" ")}`));
  }
}

function tallies() {
  const c = run.counts;
  const pairs = [
    ["messages due", c.due], ["sent", c.sent], ["acknowledged", c.acked], ["delivered", c.delivered], ["typing sent", c.typing_sent],
    ["typing delivered", c.typing_delivered], ["marked as read", c.reads], ["pages", c.pages], ["connections opened", c.connects],
    ["returns", c.recoveries], ["returns that had to load history", c.reloads],
  ];
  const rows = pairs.filter(([, count]) => count > 0).map(([name, count]) => [name, whole(count), name === "connections opened" && !run.setup.scenario.endsWith("storm") ? "–" : rate(perSecond(count))]);
  if (c.received_bytes > 0) rows.push(["received", bytes(c.received_bytes), bytes(perSecond(c.received_bytes))]);
  section("What happened", table(["", "in all", "a second"], rows));
  const errors = Object.entries(c.errors).map(([name, count]) => [name, whole(count), run.requests > 0 ? share(count / run.requests) : "–"]);
  const made = section("Errors");
  made.append(errors.length > 0 ? table(["error", "count", "of all requests"], errors) : element("p", {}, "None."));
}

function setup() {
  const s = run.setup;
  const v = run.verifier;
  const used = run.timeline.points.some((point) => point.measured)
    ? `busiest ${share(run.generator.busiest_thread)} of a core, all ${digits(run.generator.cpu)} cores`
    : "its processor time was not measured in less than a second";
  const pairs = [
    ["command", element("code", {}, s.command)],
    ["server", s.url],
    ["scenario", s.scenario],
    ["people", `${whole(s.clients)}${s.group_size ? `, --group-size ${s.group_size}` : ""}`],
    ["load", s.closed_loop ? run.closed_loop : s.rate === null ? "none" : `open loop, ${rate(s.rate)} ${run.rated} a second`],
    ["measured", `${tickTime(run.seconds * 1e6)}, after ${s.warmup_seconds} s that do not count`],
    ["seed", String(s.seed)],
    ["machine", `${run.machine.cpu}, ${run.machine.cores} ${run.machine.cores === 1 ? "core" : "cores"}, ${run.machine.kernel}`],
    ["tester", `loadgen ${run.loadgen}, ${s.processes} × ${s.workers} threads; ${used}`],
    ["server process", run.server ? `${digits(run.server.cpu)} cores; memory ${bytes(run.server.rss_before)} before, ${bytes(run.server.rss_after)} after` : "not watched: --server-pid shows its processor time and memory"],
    ["promises checked", `${whole(v.events)} events in ${whole(v.conversations)} conversations, ${whole(v.acked)} acknowledged messages, ${whole(v.recoveries)} returns, ${whole(v.typing)} typing indicators`],
  ];
  section("Setup", list(pairs));
}

function reading() {
  const pairs = [
    ["percentile", "p99 = 2 ms says: 99 of 100 took no longer than 2 ms. Ask what your slowest users get, so look at p99 and beyond, not at the mean."],
    ["logarithmic", "Charts of latency open with a logarithmic scale: from one line to the next it is ten times as long (or twice to two and a half times, where there are more lines), so the many quick ones and the few slow ones are both to be seen. The button above a chart makes it linear, which shows how much longer the slow ones took."],
    ["percentile plot", "To the right, each step looks at ten times rarer events: 90 %, 99 %, 99.9 %. A line that stays flat is a server that is steady; one that turns up early is a server that makes one in so many wait."],
    ["open loop", "Messages are due at fixed times, as people write without asking whether the server is busy. Time counts from when a message was due. In a closed loop each sender waits for its reply: a slow server is then asked less, and its latencies leave out the waiting."],
    ["service time", "ack_service and delivery_service count from when a message was really sent. Where they are shorter than ack and delivery, messages waited before they were sent."],
    ["lag", "How late the tester itself was. It is within all times; when it is not small beside them, the tester needs more cores."],
    ["void", "The tester was the bottleneck, so the figures say nothing about the server."],
    ["broken", "A promise was broken: a message was lost, came twice, or came out of order. That weighs more than any latency."],
    ["gate", "A condition that was set for this run. What was not measured does not pass."],
  ];
  section("How to read this", list(pairs, "reading"));
}

for (const part of [banner, breaches, gates, numbers, percentiles, timeline, figures, tallies, setup, reading]) part();
