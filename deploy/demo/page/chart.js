// One time series as SVG: value line, limits, episodes and their flags, and a reading under the cursor.
// Every text goes through textContent: names and ids are input.
"use strict";

const SVG = "http://www.w3.org/2000/svg";
const MARGIN = { top: 24, right: 14, bottom: 24, left: 50 };

function draw(parent, name, attributes, text) {
  const node = parent.appendChild(document.createElementNS(SVG, name));
  for (const [key, value] of Object.entries(attributes)) node.setAttribute(key, value);
  if (text !== undefined) node.textContent = text;
  return node;
}

// Round steps (1, 2, 5 times a power of ten) that give at most `count` lines.
function ticks(low, high, count) {
  const rough = (high - low) / count;
  const power = 10 ** Math.floor(Math.log10(rough));
  const step = [1, 2, 5, 10].map((factor) => factor * power).find((size) => size >= rough);
  const found = [];
  for (let value = Math.ceil(low / step) * step; value <= high; value += step) found.push(Number(value.toPrecision(12)));
  return found;
}

const clock = (ms) => new Date(ms).toLocaleTimeString([], { hour12: false });
const short = (value) => (Math.abs(value) >= 1e5 || (value && Math.abs(value) < 1e-2) ? value.toExponential(1) : String(Number(value.toFixed(2))));

class Chart {
  constructor(svg, reading) {
    this.svg = svg;
    this.reading = reading;
    this.series = null;
    this.at = null; // index of the sample that is read out
    svg.addEventListener("pointermove", (event) => this.point(event.offsetX));
    svg.addEventListener("pointerleave", () => this.read(null));
    svg.addEventListener("blur", () => this.read(null));
    svg.addEventListener("keydown", (event) => this.key(event));
    new ResizeObserver(() => this.show(this.series)).observe(svg);
  }

  show(series) {
    this.series = series;
    const { svg } = this;
    svg.replaceChildren();
    const width = svg.clientWidth, height = svg.clientHeight;
    svg.setAttribute("viewBox", `0 0 ${width} ${height}`);
    if (!series || series.points.length < 2 || !width) return;
    const times = series.points.map((point) => point[0]), values = series.points.map((point) => point[1]);
    const from = times[0], to = Math.max(times.at(-1), series.now);
    // A limit belongs into view when the values come near it; one far away would flatten the line.
    const spread = Math.max(...values) - Math.min(...values) || Math.abs(values[0]) || 1;
    const near = series.limits.filter(({ value }) => value <= Math.max(...values) + 1.5 * spread && value >= Math.min(...values) - 1.5 * spread);
    let low = Math.min(...values, ...near.map(({ value }) => value)), high = Math.max(...values, ...near.map(({ value }) => value));
    const air = (high - low || Math.abs(high) || 1) * 0.1;
    [low, high] = [low - air, high + air];
    const x = (time) => MARGIN.left + ((time - from) / (to - from)) * (width - MARGIN.left - MARGIN.right);
    const y = (value) => MARGIN.top + ((high - value) / (high - low)) * (height - MARGIN.top - MARGIN.bottom);
    this.x = x; this.y = y;

    for (const value of ticks(low, high, 5)) {
      draw(svg, "line", { class: "grid", x1: MARGIN.left, x2: width - MARGIN.right, y1: y(value), y2: y(value) });
      draw(svg, "text", { x: MARGIN.left - 8, y: y(value) + 4, "text-anchor": "end" }, short(value));
    }
    const columns = Math.max(2, Math.floor(width / 150));
    for (let i = 0; i <= columns; i++) {
      const time = from + ((to - from) * i) / columns;
      draw(svg, "text", { x: x(time), y: height - 6, "text-anchor": i === 0 ? "start" : i === columns ? "end" : "middle" }, clock(time));
    }
    for (const mark of series.marks) {
      const start = Math.max(mark.from, from), end = Math.min(mark.to ?? to, to);
      if (end < start) continue;
      draw(svg, "rect", { class: `episode ${mark.kind === "opportunity" ? "idea" : ""}`, x: x(start), y: MARGIN.top, width: Math.max(2, x(end) - x(start)), height: height - MARGIN.top - MARGIN.bottom });
    }
    // A pause of the device is a pause of the line, never a bridge over it.
    const gaps = times.slice(1).map((time, i) => time - times[i]).sort((a, b) => a - b);
    const pause = 4 * Math.max(gaps[gaps.length >> 1], 250);
    let path = "", area = "", start = 0;
    for (let i = 0; i < times.length; i++) {
      const begins = i === 0 || times[i] - times[i - 1] > pause;
      if (begins) start = i;
      path += `${begins ? "M" : "L"}${x(times[i]).toFixed(1)} ${y(values[i]).toFixed(1)}`;
      const ends = i === times.length - 1 || times[i + 1] - times[i] > pause;
      if (ends) {
        const run = times.slice(start, i + 1).map((time, k) => `${x(time).toFixed(1)} ${y(values[start + k]).toFixed(1)}`).join("L");
        area += `M${x(times[start]).toFixed(1)} ${height - MARGIN.bottom}L${run}L${x(times[i]).toFixed(1)} ${height - MARGIN.bottom}Z`;
      }
    }
    draw(svg, "path", { class: "area", d: area });
    for (const limit of near) {
      draw(svg, "line", { class: "limit", x1: MARGIN.left, x2: width - MARGIN.right, y1: y(limit.value), y2: y(limit.value) });
      draw(svg, "text", { class: "limit-label", x: MARGIN.left + 4, y: y(limit.value) - 5 }, limit.label);
    }
    draw(svg, "path", { class: "value", d: path });
    for (const mark of series.marks) {
      if (mark.from < from && (mark.to ?? to) < from) continue;
      const left = x(Math.max(mark.from, from)), idea = mark.kind === "opportunity" ? "idea" : "";
      draw(svg, "line", { class: `opened ${idea}`, x1: left, x2: left, y1: MARGIN.top - 4, y2: height - MARGIN.bottom });
      draw(svg, "path", { class: `flag ${idea}`, d: `M${left} ${MARGIN.top - 12}l5 6l-5 6l-5 -6z` });
      const right = left > width * 0.6;
      draw(svg, "text", { class: "flag-label", x: left + (right ? -10 : 10), y: MARGIN.top - 8, "text-anchor": right ? "end" : "start" }, mark.label);
    }
    this.cursor = draw(svg, "g", { visibility: "hidden" });
    draw(this.cursor, "line", { class: "cursor", y1: MARGIN.top, y2: height - MARGIN.bottom });
    draw(this.cursor, "circle", { class: "dot", r: 4.5 });
    this.read(this.at);
  }

  point(offset) {
    if (!this.series || this.series.points.length < 2) return;
    let best = 0;
    this.series.points.forEach((point, i) => {
      if (Math.abs(this.x(point[0]) - offset) < Math.abs(this.x(this.series.points[best][0]) - offset)) best = i;
    });
    this.read(best);
  }

  key(event) {
    const count = this.series?.points.length ?? 0;
    const step = { ArrowLeft: -1, ArrowRight: 1, PageUp: -10, PageDown: 10 }[event.key];
    if (count < 2 || !(step || ["Home", "End", "Escape"].includes(event.key))) return;
    event.preventDefault();
    if (event.key === "Escape") this.read(null);
    else if (event.key === "Home") this.read(0);
    else if (event.key === "End") this.read(count - 1);
    else this.read(Math.min(count - 1, Math.max(0, (this.at ?? count) + step)));
  }

  read(index) {
    const points = this.series?.points ?? [];
    this.at = index !== null && index < points.length ? index : null;
    if (!this.cursor) return;
    this.cursor.setAttribute("visibility", this.at === null ? "hidden" : "visible");
    this.reading.textContent = "";
    if (this.at === null) return;
    const [time, value] = points[this.at];
    const [line, dot] = this.cursor.children;
    line.setAttribute("x1", this.x(time)); line.setAttribute("x2", this.x(time));
    dot.setAttribute("cx", this.x(time)); dot.setAttribute("cy", this.y(value));
    this.reading.textContent = `${clock(time)}  ${short(value)}${this.series.unit ? " " + this.series.unit : ""}`;
  }
}
