// The page asks for the status and the motes every few seconds, and keeps one stream of live
// messages open. What it shows of a mote's past is what has come in since it was opened.
"use strict";

const every = 5000;       // ms between two looks at the status
const keepMessages = 200; // lines of the log
const keepSamples = 120;  // points of a mote's curve

const byID = (id) => document.getElementById(id);
const samples = new Map(); // MAC -> the latest temperatures
const inputs = new Map();  // name -> state
const leds = new Map();    // MAC -> state, of the motes' LEDs
let motes = [];            // as the gateway told them last, with what has come in since
let paused = false;

// make gives an element with a class and children; text never becomes HTML.
function make(tag, className, ...children) {
  const e = document.createElement(tag);
  if (className) e.className = className;
  e.append(...children);
  return e;
}

async function ask(path, body) {
  const answer = await fetch("api/v1/" + path, body && { method: "POST", body: JSON.stringify(body) });
  const json = await answer.json();
  if (!answer.ok) throw new Error(json.error || answer.statusText);
  return json;
}

// ago tells how long ago a time was, in its two largest parts at most.
function ago(time) {
  const s = Math.max(0, Math.round((Date.now() - new Date(time)) / 1000));
  if (s < 60) return s + " s";
  if (s < 3600) return Math.floor(s / 60) + " min";
  if (s < 86400) return Math.floor(s / 3600) + " h " + Math.floor(s % 3600 / 60) + " min";
  return Math.floor(s / 86400) + " d " + Math.floor(s % 86400 / 3600) + " h";
}

function size(bytes) {
  const units = ["B", "KiB", "MiB", "GiB"];
  let i = 0;
  for (; bytes >= 1024 && i < units.length - 1; i++) bytes /= 1024;
  return (i ? bytes.toFixed(1) : bytes) + " " + units[i];
}

let toastTimer;
function toast(text) {
  const t = byID("toast");
  t.textContent = text;
  t.hidden = false;
  clearTimeout(toastTimer);
  toastTimer = setTimeout(() => { t.hidden = true; }, 5000);
}

function away(error) {
  byID("away").hidden = !error;
  if (error) byID("away").textContent = "The gateway does not answer (" + error.message + "). Trying again.";
}

// look shows the status and the motes.
async function look() {
  try {
    const [status, all] = await Promise.all([ask("status"), ask("motes")]);
    away();
    showStatus(status);
    motes = all.filter((m) => !m.ap);
    showMotes();
  } catch (error) {
    byID("lamp").className = "dot";
    away(error);
  }
  setTimeout(look, every);
}

function showStatus(s) {
  document.title = (s.ok ? "" : "! ") + s.id + " · meshgate";
  byID("id").textContent = s.id;
  byID("lamp").className = "dot " + (s.ok ? "good" : "bad");
  const oldest = s.spool.oldest ? ", the oldest " + ago(s.spool.oldest) + " old" : "";
  const dropped = Object.entries(s.spool.dropped || {}).filter(([, n]) => n).map(([why, n]) => ", " + n + " dropped (" + why + ")").join("");
  byID("summary").textContent = "version " + s.version + ", up " + ago(s.since) + "; " +
    (s.spool.records ? s.spool.records + " records wait on the disk (" + size(s.spool.bytes) + oldest + ")" : "nothing waits on the disk") + dropped;
  const own = (l) => l.kind !== "output" && l.kind !== "input";
  byID("chain").replaceChildren(...s.links.filter(own).map(link));
  showOutputs(s);
  for (const l of s.links) if (l.kind === "input" && !inputs.has(l.name)) inputs.set(l.name, l.detail);
  showInputs();
}

function link(l) {
  const name = l.kind === l.name ? l.kind : l.kind + " " + l.name;
  return make("li", l.up ? "good" : "bad", make("span", "dot"), " ", make("b", "", name),
    make("small", "", l.up ? l.detail : l.error || "not up yet"));
}

function showMotes() {
  byID("no-motes").hidden = motes.length > 0;
  fill("motes", motes.map(moteCard));
}

// fill draws a list anew; the button that had the focus keeps it.
function fill(list, children) {
  const focused = document.activeElement && document.activeElement.id;
  byID(list).replaceChildren(...children);
  if (focused && document.activeElement === document.body) byID(focused)?.focus();
}

let redraw; // is due
function temperature(mac, reading) {
  const list = samples.get(mac) || [];
  list.push(reading.value);
  samples.set(mac, list.slice(-keepSamples));
  const m = motes.find((m) => m.mac === mac);
  if (m) Object.assign(m, { temperature: reading.value, last_seen: new Date(), fresh: "fresh" });
  redraw ??= requestAnimationFrame(() => { redraw = undefined; showMotes(); });
}

function moteCard(m) {
  const colour = { fresh: "", late: " warn", lost: " bad" }[m.fresh] ?? "";
  const facts = [m.fresh === "fresh" ? m.state : m.fresh];
  if (m.last_seen) facts.push(ago(m.last_seen) + " ago");
  if (m.battery_mv !== undefined) facts.push((m.battery_mv / 1000).toFixed(2) + " V");
  if (m.neighbors !== undefined) facts.push(m.neighbors + " neighbours");
  const value = make("div", "value", m.temperature === undefined ? "–" : m.temperature.toFixed(2) + " °C");
  const card = make("li", "card" + colour, make("div", "top", make("span", "mac", m.mac), ledButton(m)), value, curve(m.mac));
  card.append(make("small", "", facts.join(" · ")));
  return card;
}

function ledButton(m) {
  const on = leds.get(m.mac) === "on";
  const b = make("button", on ? "lit" : "", "LED");
  b.id = m.mac + "/led";
  b.title = "switch this mote's LED " + (on ? "off" : "on");
  b.addEventListener("click", () => set(b, b.id, on ? "off" : "on"));
  return b;
}

// curve draws the temperatures that came in, over their own range but never less than 1 degree.
function curve(mac) {
  const ns = "http://www.w3.org/2000/svg";
  const svg = document.createElementNS(ns, "svg");
  const points = samples.get(mac) || [];
  svg.setAttribute("viewBox", "0 0 100 20");
  svg.setAttribute("preserveAspectRatio", "none");
  svg.setAttribute("aria-hidden", "true");
  if (points.length > 1) {
    const low = Math.min(...points), middle = (low + Math.max(...points)) / 2;
    const span = Math.max(1, 2 * (middle - low));
    const line = document.createElementNS(ns, "polyline");
    line.setAttribute("points", points.map((v, i) =>
      (100 * i / (points.length - 1)).toFixed(2) + "," + (10 - 18 * (v - middle) / span).toFixed(2)).join(" "));
    svg.append(line);
  }
  return svg;
}

function showOutputs(s) {
  const errors = new Map(s.links.filter((l) => l.kind === "output").map((l) => [l.name, l.error]));
  byID("outputs-section").hidden = !(s.outputs || []).length;
  fill("outputs", (s.outputs || []).map((o) => {
    const b = make("button", "");
    b.id = "output/" + o.name;
    b.setAttribute("role", "switch");
    b.setAttribute("aria-checked", String(o.state === "on"));
    b.setAttribute("aria-label", o.name);
    b.addEventListener("click", () => set(b, o.name, o.state === "on" ? "off" : "on"));
    const error = errors.get(o.name);
    return make("li", "card" + (error ? " bad" : ""), make("div", "top", make("b", "", o.name), b),
      make("small", "", error || o.state + (o.time ? " for " + ago(o.time) : "")));
  }));
}

function showInputs() {
  byID("inputs-section").hidden = !inputs.size;
  fill("inputs", [...inputs].map(([name, state]) =>
    make("li", "card", make("div", "top", make("b", "", name), make("span", "", state)))));
}

async function set(button, name, state) {
  button.disabled = true;
  try {
    const r = await ask("set", { name, state });
    toast(name + ": " + r.stage + (r.error ? ", " + r.error : ""));
    showStatus(await ask("status"));
  } catch (error) {
    toast(name + ": " + error.message);
  }
  button.disabled = false;
  byID(button.id)?.focus(); // it lost it while it was disabled
}

// follow keeps the stream of messages open.
async function follow() {
  for (let wait = 1000; ; wait = Math.min(wait * 2, 30000)) {
    try {
      const answer = await fetch("api/v1/watch");
      wait = 500;
      await lines(answer.body.pipeThrough(new TextDecoderStream()).getReader(), (l) => arrived(JSON.parse(l)));
    } catch (error) {
      console.warn("messages:", error.message); // look() tells the reader of the page
    }
    await new Promise((done) => setTimeout(done, wait));
  }
}

// matches is MQTT's: + is one level, # what is left, also none.
function matches(filter, topic) {
  const have = topic.split("/");
  const want = filter.split("/");
  for (let i = 0; i < want.length; i++) {
    if (want[i] === "#") return true;
    if (i >= have.length || want[i] !== "+" && want[i] !== have[i]) return false;
  }
  return have.length === want.length;
}

async function lines(reader, take) {
  for (let rest = ""; ;) {
    const { value, done } = await reader.read();
    if (done) return;
    const parts = (rest + value).split("\n");
    rest = parts.pop();
    parts.filter(Boolean).forEach(take);
  }
}

function arrived(m) {
  const [kind, name, what] = m.topic.split("/");
  if (kind === "mote" && what === "temperature") temperature(name, JSON.parse(m.payload));
  if (kind === "mote" && what === "led" && m.topic.endsWith("/state")) leds.set(name, JSON.parse(m.payload).state);
  if (kind === "input" && what === "state") {
    inputs.set(name, JSON.parse(m.payload).state);
    showInputs();
  }
  if (paused || !matches(byID("filter").value || "#", m.topic)) return;
  const line = make("li", "", make("time", "", new Date().toTimeString().slice(0, 8)), make("b", "", m.topic), make("span", "", m.payload));
  const log = byID("log");
  log.prepend(line);
  while (log.children.length > keepMessages) log.lastChild.remove();
}

byID("filter-form").addEventListener("submit", (event) => event.preventDefault());
byID("filter").addEventListener("change", () => byID("log").replaceChildren());
byID("pause").addEventListener("click", (event) => {
  paused = !paused;
  event.target.setAttribute("aria-pressed", String(paused));
  event.target.textContent = paused ? "Go on" : "Pause";
});
look();
follow();
