// ---- the connection: who watches, what was told last, and how old that is

const KEY = "ops_key";
// A stream that says nothing for so long is taken for cut, in milliseconds.
const SILENT_AFTER = 10000;
const STALE_AFTER = 3000;
let running = null;
let heard = 0;
let latest = null;

function say(text, kind) {
  put(at("status"), text, kind || "");
}

function show(overview) {
  const ready = overview.readiness;
  const kinds = { ready: "good", degraded: "warn", not_ready: "bad", stopping: "warn" };
  say(words(ready.status), kinds[ready.status]);
  put(at("version"), overview.version);
  put(at("at"), overview.node + " · " + overview.at.slice(11, 19) + " UTC");
  remember(overview);
  latest = overview;
  dependencies(overview);
  actors(overview);
  heat(overview);
  const stored = installation(overview);
  outbox(overview, stored);
  letters(stored);
  pools(overview);
  waiting(overview, stored);
  signin(overview, stored);
  showActor();
}

function told(name, data) {
  heard = performance.now();
  if (name === "overview") show(data);
  if (name === "hour") {
    hour.series = data.series;
    hour.points = data.points;
    hour.places = Math.round(3600 / data.step_seconds);
    forget();
  }
  if (name === "points") hour.points = [...hour.points, ...data].slice(-hour.places);
  if (name !== "overview") drawHour();
  stale();
}

// How old what is shown is, as soon as it is older than it should be.
function stale() {
  const age = performance.now() - heard, old = running && latest && age > STALE_AFTER;
  at("stale").hidden = !old;
  if (old) put(at("stale-age"), "The data is " + Math.round(age / 1000) + " s old.");
}
setInterval(stale, 500);

async function read(response, mine) {
  const reader = response.body.pipeThrough(new TextDecoderStream()).getReader();
  let text = "";
  for (;;) {
    let timer;
    const silence = new Promise((resolve) => { timer = setTimeout(resolve, SILENT_AFTER, { done: true }); });
    const { value, done } = await Promise.race([reader.read(), silence]);
    clearTimeout(timer);
    if (done || running !== mine) return reader.cancel();
    text += value;
    let end;
    while ((end = text.indexOf("\n\n")) >= 0) {
      const lines = text.slice(0, end).split("\n");
      const part = (name) => lines.filter((line) => line.startsWith(name)).map((line) => line.slice(name.length)).join("\n");
      text = text.slice(end + 2);
      if (part("data: ")) told(part("event: "), JSON.parse(part("data: ")));
    }
  }
}

function leave(text) {
  sessionStorage.removeItem(KEY);
  if (running) running.abort();
  running = latest = null;
  forget();
  for (const id of ["board", "actor", "timeline", "leave", "stale"]) at(id).hidden = true;
  at("enter").hidden = false;
  say(text, text === "not connected" ? "" : "bad");
  at("key").focus();
}

async function watch(key) {
  const mine = running = new AbortController();
  at("enter").hidden = true;
  at("leave").hidden = false;
  route();
  for (let pause = 500; running === mine; pause = Math.min(pause * 2, 10000)) {
    try {
      const response = await ask("/ops/stream", { signal: mine.signal }, key);
      if (response.status === 401) return leave("this key is not known");
      if (response.status === 403) return leave("this key lacks the scope ops:read");
      if (response.ok) {
        pause = 500;
        await read(response, mine);
      }
    } catch (error) {
      if (running !== mine) return;
    }
    if (running !== mine) return;
    say("no connection; trying again", "bad");
    await new Promise((resolve) => setTimeout(resolve, pause));
  }
}

function ask(path, more, key) {
  const headers = { authorization: "Bearer " + (key || sessionStorage.getItem(KEY)), ...(more && more.headers) };
  return fetch(path, { cache: "no-store", ...more, headers });
}

// ---- asking for what is no stream: what went wrong, in words for people

async function problem(response) {
  try {
    const document = await response.json();
    const fields = (document.errors || []).map((one) => one.detail);
    return [document.detail || document.title, ...fields].join(" ");
  } catch (error) {
    return "The answer was " + response.status + ".";
  }
}

async function act(path, body) {
  const more = { method: "POST", headers: { "content-type": "application/json" }, body: JSON.stringify(body) };
  try {
    const response = await ask(path, body === undefined ? { method: "POST" } : more);
    return response.ok ? { done: await response.json() } : { failed: await problem(response) };
  } catch (error) {
    return { failed: "No answer came. It may have been done: look, and do it again if not." };
  }
}

// Asks whether somebody is sure; the answer is true or false.
function sure(title, text, verb) {
  put(at("sure-title"), title);
  put(at("sure-text"), text);
  put(at("sure-yes"), verb);
  at("sure").showModal();
  at("sure-no").focus();
  return new Promise((resolve) => { decided = resolve; });
}

// Who waits for the answer to the question that is open. The event "close" alone will not do: that of one
// question may come when the next is open already, and would be taken for its answer.
let decided = null;

function decide(yes) {
  const tell = decided;
  decided = null;
  at("sure").close();
  if (tell) tell(yes);
}
at("sure-yes").addEventListener("click", () => decide(true));
at("sure-no").addEventListener("click", () => decide(false));
at("sure").addEventListener("cancel", () => decide(false));
at("sure").addEventListener("close", () => { if (!at("sure").open) decide(false); });

// ---- where one is: the board, an actor, a customer

let place = { view: "board" };
const trail = { name: "", pace: [], depth: [] };

function route() {
  const [, view, rest] = /^#\/(actor|customer|at)\/(.+)$/.exec(location.hash) || [];
  place = { view: view && view !== "at" ? view : "board", name: view && decodeURIComponent(rest) };
  if (!running) return;
  at("board").hidden = place.view !== "board";
  at("actor").hidden = place.view !== "actor";
  at("timeline").hidden = place.view !== "customer";
  if (place.view === "actor") {
    put(at("h-actor"), place.name);
    put(at("actor-said"), "");
    showActor();
    at("h-actor").focus();
  }
  if (place.view === "customer") begin(place.name);
  if (view === "at" && at("h-" + place.name)) at("h-" + place.name).focus();
}
addEventListener("hashchange", route);

// ---- one actor

function showActor() {
  if (place.view !== "actor" || !latest) return;
  const one = latest.actors.find((actor) => actor.name === place.name);
  for (const id of ["actor-acts", "actor-lines", "actor-numbers"]) at(id).hidden = !one;
  if (!one) return put(at("actor-error"), "This node has no actor of this name.");
  if (trail.name !== one.name) Object.assign(trail, { name: one.name, at: "", pace: [], depth: [] });
  if (trail.at !== latest.at) {
    trail.at = latest.at;
    trail.pace = [...trail.pace, one.handled_per_second].slice(-300);
    trail.depth = [...trail.depth, one.queue_depth].slice(-300);
  }
  const [state, kind] = stateOf(one), worker = one.kind === "worker";
  put(at("h-actor"), one.name + ": " + state, kind);
  put(at("actor-pause"), pauseText(one), "warn");
  put(at("actor-error"), one.last_error ? one.last_error.text + " (" + time(one.last_error.seconds_ago) + " ago)" : "");
  spark(at("actor-lines"), "pace", (worker ? "Runs" : "Works") + " / s", trail.pace, 300, (value) => value.toFixed(1));
  if (!worker) spark(at("actor-lines"), "depth", "Queue", trail.depth, 300, (value) => value.toFixed(0));
  only(at("actor-lines"), worker ? ["pace"] : ["pace", "depth"]);
  fill(at("actor-all"), [
    ["kind", one.kind], ["incarnation", one.generation], ["restarts", one.restarts], ["panics", one.panics],
    queueRow(one), ["oldest waiting", time(one.oldest_waiting_seconds)], ["in flight", one.in_flight],
    ["turned away", one.shed], ["last batch", one.batch_size_last],
    ["batch, mean", one.runs && one.batch_size_total ? (one.batch_size_total / one.runs).toFixed(1) : "–"],
    ["runs", one.runs], ["handled", one.handled], ["pace", one.handled_per_second.toFixed(1) + " / s"],
    ["last run took", time(one.run_last_seconds)], ["heartbeat", time(one.heartbeat_seconds)],
  ]);
  at("minutes-of").hidden = at("pause").hidden = !worker;
  at("resume").hidden = !worker || !one.pause;
  put(at("pause"), one.pause ? "Pause anew…" : "Pause…");
}

async function onActor(title, text, verb, path, body, done) {
  const name = place.name, of = "/ops/actors/" + encodeURIComponent(name) + "/" + path;
  if (!(await sure(title, text, verb))) return;
  const answer = await act(of, body);
  const waits = answer.done && path === "restart" && answer.done.actor.generation === body.generation;
  const outcome = waits ? "It was told to, and begins anew once its thread is free." : done;
  put(at("actor-said"), answer.failed || outcome, answer.failed ? "bad" : "good");
}

at("restart").addEventListener("click", () => {
  const one = latest.actors.find((actor) => actor.name === place.name);
  const text = one.kind === "worker"
    ? "A run under way is cut off, and a fresh worker begins at once. It takes up what is due; what was under way may be done twice, which it bears."
    : "Calls that wait in its queue are answered 503 and may be repeated at once; a batch under way goes on, and its callers are told its outcome.";
  onActor("Restart " + one.name + "?", text, "Restart it", "restart", { generation: one.generation }, "It was restarted.");
});
at("pause").addEventListener("click", () => {
  const minutes = Number(at("minutes").value);
  const text = "On this node it rests for " + minutes + " minutes, after the run under way, and then goes on by itself. Other nodes go on.";
  onActor("Pause " + place.name + "?", text, "Pause it", "pause", { minutes }, "It rests.");
});
at("resume").addEventListener("click", () => {
  onActor("Resume " + place.name + "?", "It goes on at once.", "Resume it", "resume", undefined, "It goes on.");
});

// ---- dead letters

const LETTERS = "/v1/admin/events/dead_letters";

function letterRow(one) {
  const row = element("li"), button = element("button", "Replay…");
  button.type = "button";
  button.setAttribute("aria-label", "Replay " + one.type + " " + one.id);
  const customer = element("a", "its customer");
  customer.href = "#/customer/" + one.customer_id;
  row.append(element("span", one.type + ": " + words(one.reason) + (one.detail ? ", " + one.detail : "")), customer, button,
    element("small", one.id + ", of " + one.occurred_at.slice(0, 19) + ", tried " + one.tries + " times"));
  button.addEventListener("click", async () => {
    const text = "The message " + one.id + " is published again, and after it those of its customer that wait behind it.";
    if (!(await sure("Replay this message?", text, "Replay it"))) return;
    button.disabled = true;
    const answer = await act(LETTERS + "/" + one.id + "/replay");
    button.disabled = false;
    put(at("letters-said"), answer.failed || "Released: the relay publishes it within about a second.", answer.failed ? "bad" : "good");
    if (!answer.failed) {
      row.remove();
      at("letters-show").focus();
    }
  });
  return row;
}

at("letters-show").addEventListener("click", async () => {
  const response = await ask(LETTERS + "?state=parked&limit=20").catch(() => null);
  if (!response || !response.ok) {
    return put(at("letters-said"), response ? await problem(response) : "No answer came.", "bad");
  }
  const { items, next_cursor: more } = await response.json();
  at("letters-list").replaceChildren(...items.map(letterRow));
  const text = items.length ? "The first " + items.length + (more ? "; there are more." : ".") : "None waits for staff.";
  put(at("letters-said"), text, "");
});

// ---- one customer's timeline

const past = { customer: "", cursor: null };

function moment(one) {
  const row = element("li");
  const what = one.kind === "entry" ? one.action + " by " + one.actor.kind + (one.actor.id ? " " + one.actor.id : "")
    : "message " + one.type + ", number " + one.sequence;
  row.append(element("span", what), element("time", one.occurred_at.slice(0, 19).replace("T", " ")));
  if (one.request_id) row.append(element("small", "request " + one.request_id));
  return row;
}

async function older() {
  const query = "?limit=25" + (past.cursor ? "&cursor=" + encodeURIComponent(past.cursor) : "");
  const path = "/v1/admin/customers/" + encodeURIComponent(past.customer) + "/timeline" + query;
  const customer = past.customer, response = await ask(path).catch(() => null);
  if (customer !== past.customer) return;
  if (!response || !response.ok) {
    const text = response && response.status === 404 ? "There is no customer of this id." : response ? await problem(response) : "No answer came.";
    return put(at("timeline-said"), text, "bad");
  }
  const page = await response.json();
  at("moments").append(...page.items.map(moment));
  past.cursor = page.next_cursor;
  at("more").hidden = !past.cursor;
  put(at("timeline-said"), at("moments").children.length ? "Newest first, times in UTC." : "Nothing is known.", "");
}

function begin(customer) {
  Object.assign(past, { customer, cursor: null });
  put(at("timeline-of"), customer);
  put(at("timeline-said"), "Asking …", "");
  at("moments").replaceChildren();
  at("more").hidden = true;
  at("h-timeline").focus();
  older();
}
at("more").addEventListener("click", older);
at("find").addEventListener("submit", (event) => {
  event.preventDefault();
  location.hash = "#/customer/" + encodeURIComponent(at("customer").value.trim());
});

// ---- the beginning

for (const [id, name] of SECTIONS) {
  const link = element("a", name);
  link.href = "#/at/" + id;
  at("sections").append(link);
}
at("enter").addEventListener("submit", (event) => {
  event.preventDefault();
  const key = at("key").value.trim();
  at("key").value = "";
  sessionStorage.setItem(KEY, key);
  watch(key);
});
at("leave").addEventListener("click", () => leave("not connected"));
const kept = sessionStorage.getItem(KEY);
if (kept) watch(kept);
