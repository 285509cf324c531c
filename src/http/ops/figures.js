// ---- helpers: elements that are kept and changed only where they differ, so that neither focus nor a
// reader of the screen loses its place, and figures over the time that this page has watched

const at = (id) => document.getElementById(id);

function element(tag, text, kind) {
  const made = document.createElement(tag);
  if (text !== undefined && text !== null) made.textContent = text;
  if (kind) made.className = kind;
  return made;
}

function put(node, text, kind) {
  text = String(text ?? "");
  if (node.textContent !== text) node.textContent = text;
  if (kind !== undefined && node.className !== kind) node.className = kind;
}

// The child that was made for this key, or a new one.
function keep(parent, key, make) {
  for (const child of parent.children) if (child.dataset.key === key) return child;
  const made = make();
  made.dataset.key = key;
  parent.append(made);
  return made;
}

function only(parent, keys) {
  for (const child of [...parent.children]) if (!keys.includes(child.dataset.key)) child.remove();
}

// A list of terms; rows are [term, value, kind].
function fill(list, rows) {
  const terms = rows.map((row) => row[0]).join("\n");
  if (list.dataset.terms !== terms) {
    list.replaceChildren(...rows.flatMap(([term]) => [element("dt", term), element("dd")]));
    list.dataset.terms = terms;
  }
  const values = list.querySelectorAll("dd");
  rows.forEach(([, value, kind], index) => put(values[index], value, kind || ""));
}

// A card with a title, a state and rows; `link` leads to more.
function card(parent, key, title, state, kind, rows, link) {
  const made = keep(parent, key, () => {
    const one = element("div", null, "card");
    const head = element("h3");
    const name = link ? element("a") : element("span");
    head.append(name, element("span"));
    one.append(head, element("dl"), element("p", null, "error"), element("p", null, "error"));
    return one;
  });
  const [name, mark] = made.firstChild.children;
  put(name, title);
  if (link && name.getAttribute("href") !== link) name.setAttribute("href", link);
  put(mark, state, kind || "");
  fill(made.querySelector("dl"), rows);
  return made;
}

function remark(card, text, kind, second) {
  put(card.querySelectorAll("p")[second ? 1 : 0], text, "error " + (kind || ""));
}

function table(node, head, rows) {
  let body = node.querySelector("tbody");
  if (!body) {
    const top = element("tr");
    for (const text of head) {
      const cell = element("th", text);
      cell.scope = "col";
      top.append(cell);
    }
    const thead = element("thead");
    thead.append(top);
    body = element("tbody");
    node.append(thead, body);
  }
  while (body.children.length > rows.length) body.lastChild.remove();
  while (body.children.length < rows.length) {
    const row = element("tr");
    for (const _ of head) row.append(element("td"));
    body.append(row);
  }
  rows.forEach((row, index) => {
    row.forEach(([text, kind], column) => put(body.children[index].children[column], text, kind || ""));
  });
}

function time(seconds) {
  if (seconds === null || seconds === undefined) return "–";
  if (seconds === 0) return "0 s";
  if (seconds < 0.001) return (seconds * 1e6).toFixed(0) + " µs";
  if (seconds < 1) return (seconds * 1e3).toFixed(0) + " ms";
  if (seconds < 120) return seconds.toFixed(1) + " s";
  if (seconds < 7200) return (seconds / 60).toFixed(0) + " min";
  if (seconds < 172800) return (seconds / 3600).toFixed(1) + " h";
  return (seconds / 86400).toFixed(0) + " days";
}

function count(value, most) {
  if (value === null || value === undefined) return "–";
  return most && value >= most ? most + " or more" : String(Math.round(value * 10) / 10);
}

function size(bytes) {
  if (!bytes) return "–";
  return bytes < 1 << 30 ? (bytes / (1 << 20)).toFixed(0) + " MiB" : (bytes / 2 ** 30).toFixed(1) + " GiB";
}

const words = (text) => text.replaceAll("_", " ");

// ---- what was told within the last minute, for what only rises

const WINDOW = 61;
const seen = [];

function remember(overview) {
  seen.push(overview);
  if (seen.length > WINDOW) seen.shift();
}

function forget() {
  seen.length = 0;
}

// The sum of a figure over the series that fit, such as { path: "password" } or a function.
function figure(overview, name, fits) {
  let sum = 0;
  for (const one of overview.figures[name] || []) {
    const labels = one.labels || {};
    const fit = typeof fits === "function" ? fits(labels)
      : Object.entries(fits || {}).every(([label, word]) => labels[label] === word);
    if (fit) sum += one.value;
  }
  return sum;
}

// By how much it rose while we watched, a minute at most; a process that began anew counts from 0.
function risen(name, fits) {
  if (!seen.length) return 0;
  const now = figure(seen[seen.length - 1], name, fits), then = figure(seen[0], name, fits);
  return now < then ? now : now - then;
}

// How long we have watched, for who reads what rose.
function watched() {
  if (seen.length < 2) return 0;
  return (Date.parse(seen[seen.length - 1].at) - Date.parse(seen[0].at)) / 1000;
}

// ---- sparklines

const SVG = "http://www.w3.org/2000/svg";

function drawing(tag, attributes) {
  const made = document.createElementNS(SVG, tag);
  for (const [name, value] of Object.entries(attributes)) made.setAttribute(name, value);
  return made;
}

// A path through the values, with gaps where nothing is known, over `most` places.
function line(values, most) {
  const top = Math.max(...values.filter((value) => value !== null), 0) || 1;
  const left = most - values.length;
  let path = "", broken = true;
  values.forEach((value, index) => {
    if (value === null) { broken = true; return; }
    const x = (((left + index) / Math.max(most - 1, 1)) * 300).toFixed(1);
    const y = (48 - (value / top) * 44).toFixed(1);
    path += (broken ? "M" : "L") + x + " " + y;
    broken = false;
  });
  return path;
}

// A card with a sparkline; `show` writes a value.
function spark(parent, key, title, values, most, show) {
  const made = keep(parent, key, () => {
    const one = element("div", null, "card");
    const head = element("h3");
    head.append(element("span", title), element("span"));
    const svg = drawing("svg", { class: "spark", viewBox: "0 0 300 50", preserveAspectRatio: "none", role: "img" });
    svg.append(drawing("line", { x1: 0, y1: 48, x2: 300, y2: 48 }), drawing("path", { d: "" }));
    one.append(head, svg);
    return one;
  });
  const known = values.filter((value) => value !== null);
  const last = values.length ? values[values.length - 1] : null;
  const highest = known.length ? Math.max(...known) : null;
  const text = (value) => (value === null || value === undefined ? "–" : show(value));
  put(made.firstChild.children[1], text(last));
  const svg = made.querySelector("svg");
  svg.querySelector("path").setAttribute("d", line(values, most));
  svg.setAttribute("aria-label", title + ": now " + text(last) + ", highest " + text(highest));
}
