// Asks the demo once a second and shows what changed. Rows are kept by their key, so that the focus and
// what a person has unfolded stay where they are. Every text goes through textContent.
"use strict";

const EVERY = 1000;
const at = (id) => document.getElementById(id);
const chart = new Chart(at("chart"), at("chart-reading"));
let chosen = false; // whether the person has chosen an asset: until then the newest case does
let cases = [];

function element(name, attributes = {}, ...children) {
  const node = document.createElement(name);
  for (const [key, value] of Object.entries(attributes)) node.setAttribute(key, value);
  node.append(...children);
  return node;
}

function set(node, text) {
  if (node.textContent !== text) node.textContent = text;
}

const whole = (value) => (value === null || value === undefined ? "–" : value.toLocaleString("en"));

// Make the children of `parent` those of `items`, in order: kept by key, made anew only when they changed.
function keep(parent, items, keyOf, make) {
  const known = new Map([...parent.children].map((child) => [child.dataset.key, child]));
  items.forEach((item, position) => {
    const key = keyOf(item), state = JSON.stringify(item);
    let node = known.get(key);
    known.delete(key);
    if (!node || node.dataset.state !== state) {
      const fresh = make(item, node);
      fresh.dataset.key = key;
      fresh.dataset.state = state;
      if (node) {
        const inside = node.contains(document.activeElement) && document.activeElement.dataset.part;
        const open = node.querySelector("details")?.open;
        node.replaceWith(fresh);
        if (open) fresh.querySelector("details").open = true;
        if (inside) fresh.querySelector(`[data-part="${inside}"]`)?.focus();
      }
      node = fresh;
    }
    if (parent.children[position] !== node) parent.insertBefore(node, parent.children[position] ?? null);
  });
  for (const gone of known.values()) gone.remove();
}

function showGate(gate) {
  set(at("total-sessions"), whole(gate.sessions));
  for (const name of ["allowed", "refused"]) {
    set(at(`total-${name}`), whole(gate[name]));
    set(at(`gate-${name}`), whole(gate[name]));
    at("balance").querySelector(`.${name}`).style.flexGrow = gate[name] ?? 0;
  }
  const most = Math.max(1, ...gate.reasons.map(({ count }) => count));
  keep(at("reasons").tBodies[0], gate.reasons, ({ reason }) => reason, ({ reason, meaning, count }) => {
    const bar = element("span", { class: "bar" });
    bar.style.width = `${Math.max(2, (100 * count) / most)}%`;
    const head = element("th", { scope: "row" }, element("code", {}, reason), ...(meaning ? [element("small", {}, meaning)] : []), bar);
    return element("tr", {}, head, element("td", {}, whole(count)));
  });
}

function option(select, items) {
  const state = JSON.stringify(items);
  if (select.dataset.state === state) return;
  select.dataset.state = state;
  const before = select.value;
  select.replaceChildren(...items.map(([value, label]) => element("option", { value }, label)));
  if (items.some(([value]) => value === before)) select.value = before;
}

function showChoice(devices) {
  option(at("asset"), devices.map(({ id, name, flagged }) => [id, `${flagged ? "● " : ""}${name || id}`]));
  const device = devices.find(({ id }) => id === at("asset").value);
  option(at("metric"), (device?.metrics ?? []).map((name) => [name, name.replaceAll("_", " ")]));
}

function choose(asset, metric) {
  at("asset").value = asset;
  showChoice(latest.devices);
  if (metric && [...at("metric").options].some(({ value }) => value === metric)) at("metric").value = metric;
}

function caseRow(item) {
  const word = item.closed ? "closed" : "open";
  const ink = item.closed ? "" : item.kind === "opportunity" ? "idea" : "bad";
  const show = element("button", { type: "button", class: "link", "data-part": "show", title: "Show it in the chart" }, item.device || item.asset);
  show.addEventListener("click", () => {
    chosen = true;
    choose(item.asset, item.metric);
    refreshChart();
    at("chart").scrollIntoView({ block: "nearest", behavior: matchMedia("(prefers-reduced-motion: reduce)").matches ? "auto" : "smooth" });
  });
  const what = element("td", {}, item.title, element("small", {}, [item.detail, item.kind, item.severity].filter(Boolean).join(" · ")));
  if (item.evidence.length) {
    what.append(element("details", {}, element("summary", { "data-part": "evidence" }, `evidence (${item.evidence.length})`),
      element("ul", {}, ...item.evidence.map((line) => element("li", {}, line)))));
  }
  return element("tr", {},
    element("td", {}, element("span", { class: `pill ${ink}` }, word)),
    element("th", { scope: "row" }, show, element("small", {}, element("code", {}, item.asset))),
    what,
    element("td", { class: "seen" }, item.seen),
    element("td", {}, item.expected),
    element("td", {}, element("code", { class: "nowrap" }, item.rule), element("small", {}, `version ${item.version}`)),
    element("td", { class: "nowrap" }, clock(item.opened), ...(item.closed ? [element("small", {}, `closed ${clock(item.closed)}`)] : [])),
    element("td", { class: "number" }, item.took === null ? "–" : `${item.took.toFixed(2)} s`));
}

function showCases(found) {
  cases = found;
  at("no-cases").hidden = found.length > 0;
  at("cases").hidden = found.length === 0;
  keep(at("cases").tBodies[0], found, (item) => item.id, caseRow);
}

let latest = { devices: [] };

async function ask(path) {
  const answer = await fetch(path, { headers: { Accept: "application/json" }, cache: "no-store", signal: AbortSignal.timeout(4000) });
  if (!answer.ok) throw new Error(`${answer.status} ${answer.statusText}`);
  return answer.json();
}

async function refreshChart() {
  const asset = at("asset").value, metric = at("metric").value;
  if (!asset || !metric) return;
  const series = await ask(`api/series?${new URLSearchParams({ asset, metric })}`);
  if (asset !== at("asset").value || metric !== at("metric").value) return; // another one was chosen meanwhile
  chart.show(series);
  const label = at("asset").selectedOptions[0].textContent.replace("● ", "");
  const last = series.points.at(-1);
  const episodes = series.marks.length;
  set(at("chart-summary"), last
    ? `${metric.replaceAll("_", " ")} of ${label}: ${series.points.length} samples, now ${short(last[1])}${series.unit ? " " + series.unit : ""}, ${episodes === 0 ? "no anomaly" : episodes === 1 ? "one anomaly" : `${episodes} anomalies`}`
    : `No samples of ${metric} from ${label} yet.`);
}

async function refresh() {
  try {
    latest = await ask("api/state");
    showGate(latest.gate);
    set(at("total-samples"), whole(latest.stream.samples));
    set(at("total-dead"), whole(latest.stream.dead));
    set(at("total-open"), whole(latest.cases.filter((item) => !item.closed).length));
    showCases(latest.cases);
    showChoice(latest.devices);
    const newest = latest.cases.find((item) => item.metric && item.kind === "case") ?? latest.cases.find((item) => item.metric);
    if (!chosen && newest && at("asset").dataset.followed !== newest.id) {
      at("asset").dataset.followed = newest.id;
      choose(newest.asset, newest.metric);
    }
    await refreshChart();
    at("contact").className = "pill good";
    set(at("contact"), "live");
  } catch {
    at("contact").className = "pill bad";
    set(at("contact"), "the demo does not answer");
  } finally {
    setTimeout(refresh, EVERY);
  }
}

for (const id of ["asset", "metric"]) {
  at(id).addEventListener("change", () => {
    chosen = true;
    showChoice(latest.devices);
    refreshChart().catch(() => {});
  });
}
at("choice").addEventListener("submit", (event) => event.preventDefault());
refresh();
