// A chart of lines as SVG: scales, axes, a legend that switches lines off, and the values under the pointer.
"use strict";

const SVG = "http://www.w3.org/2000/svg";
/** Room that a label of the x axis needs. */
const LABEL_WIDTH = 62;
const MARGIN = { top: 10, right: 14, bottom: 24, left: 58 };

/**
 * @typedef {object} Series
 * @property {string} name
 * @property {string} colour name of a custom property, without its dashes
 * @property {"solid" | "dashed" | "faint"} [style]
 * @property {boolean} [hidden]
 * @property {[number, number][]} points in the order of x
 *
 * @typedef {object} Axis
 * @property {(value: number) => string} format
 * @property {boolean} [log]
 * @property {number} [unit] steps are round numbers of this; 1 if left out
 * @property {[number, number]} [range] of the x axis: from where to where, if not as far as the lines go
 * @property {(value: number) => string} [tip] of the x axis: how the pointer's place is called
 *
 * @typedef {object} Options
 * @property {string} title
 * @property {Series[]} series
 * @property {Axis} x
 * @property {Axis} y
 * @property {number} [height]
 * @property {[number, number][]} [shade] stretches of x that do not count
 * @property {boolean} [upTo] under the pointer, take the next point to the right instead of the nearest
 */

/** An element with text, never markup. */
function element(tag, properties = {}, ...children) {
  const made = document.createElement(tag);
  for (const [name, value] of Object.entries(properties)) {
    if (name === "class") made.className = value;
    else made.setAttribute(name, value);
  }
  made.append(...children.filter((child) => child !== null && child !== undefined && child !== ""));
  return made;
}

/** The same within a drawing. */
function drawn(tag, attributes = {}, text = "") {
  const made = document.createElementNS(SVG, tag);
  for (const [name, value] of Object.entries(attributes)) made.setAttribute(name, String(value));
  if (text) made.textContent = text;
  return made;
}

/** Round numbers from `low` to `high`, about `count` of them. */
function linearTicks(low, high, count, unit) {
  const rough = Math.max((high - low) / count / unit, Number.MIN_VALUE);
  const power = 10 ** Math.floor(Math.log10(rough));
  const step = [1, 2, 5, 10].map((factor) => factor * power).find((each) => each >= rough) * unit;
  const ticks = [];
  for (let index = Math.ceil(low / step); index * step <= high * (1 + 1e-9); index += 1) ticks.push(index * step);
  return ticks;
}

/** The factors of a power of ten that a logarithmic axis has marks at: more of them where it spans little. */
const logFactors = (low, high) => (Math.log10(high / low) < 2 ? [1, 2, 5] : [1]);

/** The marks of a logarithmic axis from `low` to `high`. */
function logTicks(low, high) {
  const ticks = [];
  for (let power = Math.floor(Math.log10(low)); power <= Math.ceil(Math.log10(high)); power += 1) {
    for (const factor of logFactors(low, high)) {
      const tick = factor * 10 ** power;
      if (tick >= low * 0.999 && tick <= high * 1.001) ticks.push(tick);
    }
  }
  return ticks;
}

/** Widens a logarithmic axis to the next marks, so that it has some however little it spans. */
function logHeights(low, high) {
  const factors = logFactors(low, high);
  const marks = (value) => [-1, 0, 1].flatMap((more) => factors.map((factor) => factor * 10 ** (Math.floor(Math.log10(value)) + more)));
  const below = marks(low).filter((mark) => mark <= low * 1.001);
  const above = marks(high).filter((mark) => mark >= high * 0.999);
  return [Math.max(...below), Math.min(...above)];
}

/** From values to pixels. */
function scale(axis, low, high, from, to) {
  const place = axis.log ? Math.log : (value) => value;
  const span = place(high) - place(low) || 1;
  return (value) => from + ((place(axis.log ? Math.max(value, low) : value) - place(low)) / span) * (to - from);
}

/** The smallest and largest of some values that a scale can show. */
function bounds(values, log) {
  let [low, high] = [Infinity, -Infinity];
  for (const value of values) {
    if (log && value <= 0) continue;
    low = Math.min(low, value);
    high = Math.max(high, value);
  }
  if (low > high) return log ? [1, 10] : [0, 1];
  if (low === high) return log ? [low, low * 10] : [low, low + 1];
  return [low, high];
}

/** The same for heights: from zero, or from a mark, and widened so that a line is not an edge. */
function heights(values, log) {
  const [low, high] = bounds(values, log);
  return log ? logHeights(low, high) : [Math.min(low, 0), high * 1.06];
}

/** Puts a chart into `host`, and draws it anew when its width changes. @param {HTMLElement} host @param {Options} options */
function chart(host, options) {
  const state = { hidden: new Set(options.series.filter((each) => each.hidden).map((each) => each.name)), log: Boolean(options.y.log), at: null };
  const picture = drawn("svg", { role: "img", tabindex: 0, "aria-label": options.title });
  const tip = element("div", { class: "tip", hidden: "" });
  const legend = element("div", { class: "legend" });
  const header = element("header", {}, element("h3", {}, options.title));
  const box = element("div", { class: "chart" }, header, picture, legend, tip);
  const redraw = () => draw(picture, tip, options, state, box.clientWidth);
  if (options.series.length > 1) legend.append(...options.series.map((series) => toggle(series, state, redraw)));
  if (options.y.log !== undefined) header.append(scaleButton(state, redraw));
  host.append(box);
  follow(picture, options, state, redraw);
  redraw();
  let drawnWidth = box.clientWidth;
  const resized = () => {
    if (box.clientWidth === drawnWidth) return;
    drawnWidth = box.clientWidth;
    redraw();
  };
  // After the frame: what a drawing changes in height must not be observed within the same one.
  new ResizeObserver(() => requestAnimationFrame(resized)).observe(box);
}

function swatch(series) {
  const made = element("i", { class: `swatch ${series.style ?? "solid"}` });
  made.style.setProperty("--line", `var(--${series.colour})`);
  return made;
}

function toggle(series, state, redraw) {
  const button = element("button", { type: "button", "aria-pressed": String(!state.hidden.has(series.name)) }, swatch(series), series.name);
  button.addEventListener("click", () => {
    if (!state.hidden.delete(series.name)) state.hidden.add(series.name);
    button.setAttribute("aria-pressed", String(!state.hidden.has(series.name)));
    redraw();
  });
  return button;
}

function scaleButton(state, redraw) {
  const button = element("button", { type: "button", class: "scale", "aria-pressed": String(state.log) }, "logarithmic");
  button.addEventListener("click", () => {
    state.log = !state.log;
    button.setAttribute("aria-pressed", String(state.log));
    redraw();
  });
  return button;
}

/** Keeps `state.at`, the place that is read, where the pointer is or the arrow keys move it. */
function follow(picture, options, state, redraw) {
  const leave = () => {
    state.at = null;
    redraw();
  };
  picture.addEventListener("pointermove", (event) => {
    const frame = picture.getBoundingClientRect();
    state.at = { pixel: ((event.clientX - frame.left) / frame.width) * (picture.viewBox.baseVal.width || frame.width) };
    redraw();
  });
  picture.addEventListener("pointerleave", leave);
  picture.addEventListener("blur", leave);
  picture.addEventListener("keydown", (event) => {
    const step = { ArrowLeft: -8, ArrowRight: 8 }[event.key];
    if (!step) return;
    event.preventDefault();
    state.at = { pixel: (state.at?.pixel ?? MARGIN.left) + step };
    redraw();
  });
}

function draw(picture, tip, options, state, boxWidth) {
  const width = Math.max(boxWidth, 240);
  const height = options.height ?? 190;
  const shown = options.series.filter((series) => !state.hidden.has(series.name) && series.points.length > 0);
  const y = { ...options.y, log: state.log };
  const [left, right] = options.x.range ?? bounds(options.series.flatMap((series) => series.points.map((point) => point[0])), options.x.log);
  const [low, high] = heights(shown.flatMap((series) => series.points.map((point) => point[1])), y.log);
  const across = scale(options.x, left, right, MARGIN.left, width - MARGIN.right);
  const up = scale(y, low, high, height - MARGIN.bottom, MARGIN.top);
  picture.setAttribute("viewBox", `0 0 ${width} ${height}`);
  picture.replaceChildren();
  for (const [from, to] of options.shade ?? []) {
    const [start, end] = [across(Math.max(from, left)), across(Math.min(to, right))];
    picture.append(drawn("rect", { class: "warm", x: start, y: MARGIN.top, width: Math.max(end - start, 0), height: height - MARGIN.top - MARGIN.bottom }));
  }
  const rows = y.log ? logTicks(low, high) : linearTicks(low, high, height / 45, y.unit ?? 1);
  for (const tick of rows) {
    picture.append(drawn("line", { class: "grid", x1: MARGIN.left, x2: width - MARGIN.right, y1: up(tick), y2: up(tick) }));
    picture.append(drawn("text", { x: MARGIN.left - 6, y: up(tick) + 4, "text-anchor": "end" }, y.format(tick)));
  }
  columns(picture, options, across, [left, right], width, height);
  for (const series of shown) {
    const path = series.points.map(([x, value], index) => `${index ? "L" : "M"}${across(x).toFixed(1)},${up(value).toFixed(1)}`).join("");
    const line = drawn("path", { class: `line ${series.style ?? "solid"}`, d: path });
    line.style.setProperty("--line", `var(--${series.colour})`);
    picture.append(line);
  }
  read(picture, tip, options, state, shown, { across, up, left, right, width, height, format: y.format });
}

function columns(picture, options, across, [left, right], width, height) {
  const all = options.x.log ? logTicks(left, right) : linearTicks(left, right, width / 90, options.x.unit ?? 1);
  const every = Math.ceil((all.length * LABEL_WIDTH) / (width - MARGIN.left));
  for (const tick of all.filter((_, index) => index % every === 0)) {
    const anchor = across(tick) > width - 30 ? "end" : "middle";
    picture.append(drawn("line", { class: "grid", x1: across(tick), x2: across(tick), y1: MARGIN.top, y2: height - MARGIN.bottom }));
    const x = anchor === "end" ? width - 2 : across(tick);
    picture.append(drawn("text", { x, y: height - 7, "text-anchor": anchor }, options.x.format(tick)));
  }
}

/** The point of a series that belongs to a place. */
function pointAt(series, x, upTo) {
  const points = series.points;
  const next = points.findIndex((point) => point[0] >= x);
  if (next < 0) return points[points.length - 1];
  if (next === 0 || upTo) return points[next];
  return points[next][0] - x < x - points[next - 1][0] ? points[next] : points[next - 1];
}

/** Draws what is under the pointer. */
function read(picture, tip, options, state, shown, view) {
  tip.hidden = state.at === null || shown.length === 0;
  if (tip.hidden) return;
  const inside = Math.min(Math.max(state.at.pixel, MARGIN.left), view.width - MARGIN.right);
  const share = (inside - MARGIN.left) / (view.width - MARGIN.left - MARGIN.right);
  const wanted = options.x.log ? view.left * (view.right / view.left) ** share : view.left + (view.right - view.left) * share;
  const place = options.upTo ? wanted : pointAt(shown[0], wanted, false)[0];
  const guide = view.across(place);
  picture.append(drawn("line", { class: "guide", x1: guide, x2: guide, y1: MARGIN.top, y2: view.height - MARGIN.bottom }));
  tip.replaceChildren(element("div", { class: "soft" }, (options.x.tip ?? options.x.format)(place)));
  for (const series of shown) {
    const [x, value] = pointAt(series, place, options.upTo);
    const dot = drawn("circle", { class: "dot", cx: options.upTo ? guide : view.across(x), cy: view.up(value), r: 3 });
    dot.style.setProperty("--line", `var(--${series.colour})`);
    picture.append(dot);
    tip.append(element("div", {}, element("span", {}, swatch(series), series.name), view.format(value)));
  }
  const drawnWidth = picture.getBoundingClientRect().width / view.width;
  if (guide > view.width / 2) Object.assign(tip.style, { left: "auto", right: `${(view.width - guide + 12) * drawnWidth}px` });
  else Object.assign(tip.style, { right: "auto", left: `${(guide + 12) * drawnWidth}px` });
}
