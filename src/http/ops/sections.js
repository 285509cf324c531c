// ---- the sections of the board, each from one overview

const SECTIONS = [
  ["dependencies", "Dependencies"], ["hour", "Last hour"], ["shards", "Shards"], ["workers", "Workers"],
  ["outbox", "Outbox"], ["letters", "Dead letters"], ["pools", "Pools"], ["waiting", "Waiting"],
  ["signin", "Sign-in"], ["customers", "One customer"],
];
const cards = (section) => at(section).querySelector(".cards");

// An answer of the database that is older than this is told as old.
const OLD_AFTER = 12;

function stateOf(one) {
  if (one.pause) return ["paused", "warn"];
  const kinds = { running: "good", failed: "bad", restarting: "warn", draining: "warn" };
  return [one.state, kinds[one.state] || ""];
}

// What somebody should look at, in a few words; empty where all is well.
function complaint(one) {
  const recent = one.last_error && one.last_error.seconds_ago < 60;
  const full = one.queue_limit !== null && one.queue_depth > one.queue_limit / 2;
  if (one.state !== "running") return one.state;
  if (one.pause) return "paused";
  if (recent) return "failed within the last minute";
  return full ? "its queue is more than half full" : "";
}

function dependencies(overview) {
  const all = overview.readiness.dependencies;
  for (const [name, one] of Object.entries(all)) {
    const kind = one.state === "up" ? "good" : one.state === "down" ? (one.needed ? "bad" : "warn") : "";
    const rows = [["needed", one.needed ? "yes" : "no"], ["latency", time(one.latency_ms / 1000)]];
    const made = card(cards("dependencies"), name, name, words(one.state), kind, rows);
    remark(made, one.reason, "bad");
    remark(made, one.without && "Without it: " + one.without + ".", "", true);
  }
  only(cards("dependencies"), Object.keys(all));
  const notes = overview.readiness.notes || [], list = at("dependencies").querySelector(".notes");
  for (const note of notes) keep(list, note, () => element("li", note, "warn"));
  only(list, notes);
}

function actorCard(parent, one, rows) {
  const [state, kind] = stateOf(one);
  const made = card(parent, one.name, one.name, state, kind, rows, "#/actor/" + encodeURIComponent(one.name));
  const failed = one.last_error && one.last_error.text + " (" + time(one.last_error.seconds_ago) + " ago)";
  remark(made, failed, "bad");
  remark(made, pauseText(one), "warn", true);
}

function pauseText(one) {
  if (!one.pause) return "";
  const clock = (text) => text.slice(11, 19);
  return "Paused by key " + one.pause.by + " since " + clock(one.pause.since) + ", until " +
    clock(one.pause.until) + " UTC.";
}

function queueRow(one) {
  const full = one.queue_limit !== null && one.queue_depth > one.queue_limit / 2;
  return ["queue", one.queue_depth + (one.queue_limit === null ? "" : " of " + one.queue_limit), full ? "bad" : ""];
}

function actors(overview) {
  const groups = { shard: cards("shards"), worker: cards("workers") };
  for (const one of overview.actors) {
    const mean = one.runs && one.batch_size_total ? (one.batch_size_total / one.runs).toFixed(1) : "–";
    const restarts = ["restarts, panics", one.restarts + ", " + one.panics, one.panics ? "bad" : one.restarts ? "warn" : ""];
    const rows = one.kind === "shard"
      ? [queueRow(one), ["oldest waiting", time(one.oldest_waiting_seconds)], ["batch, mean", one.batch_size_last + ", " + mean],
        ["pace", one.handled_per_second.toFixed(1) + " / s"], ["turned away", one.shed, one.shed ? "warn" : ""], restarts]
      : [["runs", one.runs], ["handled", one.handled], ["last run took", time(one.run_last_seconds)], restarts];
    actorCard(groups[one.kind] || groups.worker, one, rows);
  }
  for (const [kind, parent] of Object.entries(groups)) {
    only(parent, overview.actors.filter((one) => one.kind === kind).map((one) => one.name));
  }
  const wrong = overview.actors.map((one) => [one.name, complaint(one)]).filter(([, what]) => what);
  put(at("trouble"), wrong.map(([name, what]) => name + ": " + what).join("; "), wrong.length ? "warn" : "");
}

// Commands for each logical shard in the last ten seconds.
function heat(overview) {
  const box = at("heat"), now = overview.shards, before = seen[Math.max(seen.length - 11, 0)].shards;
  const rose = now.commands.map((all, shard) => Math.max(all - (before.commands[shard] || 0), 0));
  const total = rose.reduce((sum, one) => sum + one, 0), most = Math.max(...rose, 1);
  rose.forEach((one, shard) => {
    const cell = keep(box, "s" + shard, () => element("span"));
    put(cell, "", one ? "heat-" + Math.max(1, Math.ceil((one / most) * 5)) : "");
    cell.title = "shard " + shard + " (" + now.actors[shard] + "): " + one;
  });
  const order = rose.map((one, shard) => [one, shard]).filter(([one]) => one).sort((a, b) => b[0] - a[0]);
  const name = ([one, shard]) => "shard " + shard + " on " + now.actors[shard] + " with " + one + " (" +
    Math.round((one / total) * 100) + " %)";
  put(at("hottest"), total
    ? "Commands in the last ten seconds by logical shard: " + total + ", in " + order.length +
      " of 64. Hottest: " + order.slice(0, 3).map(name).join(", ") + "."
    : "No commands in the last ten seconds.");
}

// ---- what the database was asked

function installation(overview) {
  const { answer, age_seconds: age, trouble } = overview.installation;
  const old = age === null || age > OLD_AFTER || Boolean(trouble);
  const text = age === null ? (trouble ? trouble + "." : "The database is being asked.")
    : old ? "What the database says is " + time(age) + " old" + (trouble ? ": " + trouble : "") + "."
      : "Asked of the database " + time(age) + " ago.";
  for (const node of document.querySelectorAll("#board .age")) put(node, text, old ? "age bad" : "age");
  return answer || {};
}

function outbox(overview, stored) {
  const now = (name, fits) => figure(overview, name, fits);
  const groups = stored.outbox || [];
  const lag = groups.length ? Math.max(...groups.map((one) => one.lag_seconds)) : null;
  const owned = now("outbox_groups_owned");
  card(cards("outbox"), "all", "Published by this node", "", "", [
    ["lag of the installation", time(lag), lag > 30 ? "bad" : lag > 5 ? "warn" : ""],
    ["groups of this node", owned + " of 8"],
    ["not confirmed", now("outbox_backlog")],
    ["published, last minute", count(risen("outbox_published_total"))],
    ["refused for now, last minute", count(risen("outbox_refused_total")), risen("outbox_refused_total") ? "warn" : ""],
    ["unrouted, last minute", count(risen("outbox_unrouted_total"))],
    ["customers held back", now("outbox_held_customers"), now("outbox_held_customers") ? "warn" : ""],
  ]);
  table(at("outbox").querySelector("table"), ["group", "relayed by", "lag", "cursor moved"], groups.map((one) => [
    [one.group], [(one.owner || "nobody yet") + (one.owner === overview.node ? " (this node)" : "")],
    [time(one.lag_seconds), one.lag_seconds > 30 ? "bad" : one.lag_seconds > 5 ? "warn" : ""],
    [one.idle_seconds === null ? "never" : time(one.idle_seconds) + " ago"],
  ]));
}

function letters(stored) {
  const kept = stored.dead_letters || { counts: {} }, waits = kept.counts.parked;
  card(cards("letters"), "all", "Messages that could not be published", waits ? "somebody should look" : "",
    waits ? "bad" : "", [
      ["wait for staff", count(waits, 10000), waits ? "bad" : ""],
      ["the first since", kept.oldest_seconds === null ? "–" : time(kept.oldest_seconds)],
      ["wait behind them", count(kept.counts.behind, 10000)],
      ["still being tried", count(kept.counts.trying, 10000)],
      ["released", count(kept.counts.released, 10000)],
    ]);
}

function pools(overview) {
  const now = (name, fits) => figure(overview, name, fits);
  const waits = now("password_hash_queue_depth"), limit = now("password_hash_queue_limit");
  const shed = risen("password_hash_shed_total");
  card(cards("pools"), "hashing", "Hashing", shed ? "refuses" : "", "bad", [
    ["waiting", waits + " of " + limit, waits > limit / 2 ? "bad" : ""],
    ["oldest waiting", time(now("password_hash_oldest_seconds"))], ["threads", now("password_hash_threads")],
    ["verified, last minute", count(risen("password_verifications_total"))],
    ["refused, last minute", count(shed), shed ? "bad" : ""],
  ]);
  const names = (overview.figures.db_client_connection_max || []).map((one) => one.labels.db_client_connection_pool_name);
  for (const pool of names) {
    const of = { db_client_connection_pool_name: pool };
    const used = now("db_client_connection_count", { ...of, db_client_connection_state: "used" });
    const most = now("db_client_connection_max", of), late = risen("db_client_connection_timeouts_total", of);
    card(cards("pools"), pool, "Connections: " + words(pool), late ? "too few" : "", "bad", [
      ["in use", used + " of " + most, used >= most ? "bad" : ""],
      ["idle", now("db_client_connection_count", { ...of, db_client_connection_state: "idle" })],
      ["had to wait, last minute", count(risen("db_client_connection_waits_total", of))],
      ["got none in time, last minute", count(late), late ? "bad" : ""],
    ]);
  }
  const room = now("database_room_bytes"), taken = now("database_size_bytes");
  card(cards("pools"), "size", "Database", "", "", [
    ["takes", size(taken), room && taken > room * 0.8 ? "bad" : ""], ["may take", room ? size(room) : "not told"],
  ]);
  only(cards("pools"), ["hashing", ...names, "size"]);
}

function waiting(overview, stored) {
  const now = (name, fits) => figure(overview, name, fits), box = cards("waiting");
  for (const [key, title, metric] of [["mails", "Mails", "mails_total"], ["text_messages", "Text messages", "text_messages_total"]]) {
    const one = stored[key] || {}, late = one.oldest_seconds > 60;
    const failed = risen(metric, { outcome: "put_off" }) + risen(metric, { outcome: "given_up" });
    card(box, key, title, "", "", [
      ["waiting", count(one.waiting, 10000), late ? "warn" : ""], ["the first since", time(one.oldest_seconds), late ? "warn" : ""],
      ["sent, last minute", count(risen(metric, { outcome: "sent" }))],
      ["failed, last minute", count(failed), failed ? "warn" : ""],
    ]);
  }
  const parked = (reason) => (stored.parked_orders || []).find((one) => one.reason === reason) || {};
  const oldest = now("order_facts_oldest_seconds"), stopped = now("order_intake_paused");
  card(box, "orders", "Order intake", stopped ? "waits" : "", "warn", [
    ["oldest fact here", time(oldest), oldest > 30 ? "warn" : ""],
    ["in flight", now("order_facts_in_flight") + " of " + now("order_facts_in_flight_limit")],
    ["recorded, last minute", count(risen("order_facts_total", { outcome: "recorded" }))],
    ["wait for their customer", count(parked("unknown_customer").count, 1000)],
    ["given up", count(parked("poison").count, 1000), parked("poison").count ? "bad" : ""],
    ["dead letters, last minute", count(risen("order_facts_dead_letters_total"))],
  ]);
  const segments = stored.segments || { walks: {} }, flip = segments.next_flip_in_seconds;
  const behind = now("segment_backlog_seconds");
  card(box, "segments", "Segments", "", "", [
    ["oldest change not judged", time(behind), behind > 30 ? "warn" : ""],
    ["next turned by time", flip === null || flip === undefined ? "none" : flip < 0 ? time(-flip) + " ago" : "in " + time(flip),
      flip < -60 ? "warn" : ""],
    ["turned within the hour", count(segments.flips_within_hour)],
    ["walks", segments.walks.open ? segments.walks.open + ": " + segments.walks.looked_at + " of about " + segments.walks.total : "none"],
    ["unreadable definitions", now("segments_unreadable"), now("segments_unreadable") ? "bad" : ""],
  ]);
  const late = now("erasures_overdue"), steps = (stored.erasures || []).map((one) => {
    const when = one.first_seconds_ago < 0 ? "in " + time(-one.first_seconds_ago) : time(one.first_seconds_ago) + " ago";
    return [words(one.step) + ", " + one.state, count(one.count, 1000) + ", first " + when, one.state === "failed" ? "bad" : ""];
  });
  card(box, "erasures", "Erasures", late ? "overdue" : "", "bad",
    [...(steps.length ? steps : [["under way", "none"]]), ["overdue", late, late ? "bad" : ""]]);
}

function signin(overview, stored) {
  const box = cards("signin"), now = (name, fits) => figure(overview, name, fits);
  const ways = ["password", "second_factor", "passkey", "social"];
  const failures = (outcome) => risen("gate_passages_total", (labels) =>
    ways.includes(labels.path) && (outcome ? labels.outcome === outcome : labels.outcome !== "passed"));
  const locks = stored.locks || {}, braking = now("stuffing_brake_engaged");
  card(box, "failures", "Sign-ins, last minute", braking ? "brake engaged" : "", "bad", [
    ["let in", count(failures("passed"))], ["failed", count(failures())],
    ["of these, locked", count(failures("locked")), failures("locked") ? "warn" : ""],
    ["of these, wrong", count(failures("invalid_credentials"))],
    ["of these, too many tries", count(failures("rate_limited"))],
    ["locked now, of the latest " + count(locks.looked_at), count(locks.locked), locks.locked ? "warn" : ""],
    ["sessions ended lately", now("sessions_revoked_known")],
  ]);
  const code = (code) => risen("http_problems_total", { code });
  const texts = risen("text_messages_refused_total"), shed = overview.actors.reduce((sum, one) => sum + one.shed, 0);
  const limits = [
    ["429, too many requests", code("rate_limited")], ["503, too busy", code("overloaded")],
    ["503, not available", code("unavailable")], ["limiter without Redis", risen("rate_limiter_failures_total")],
    ["held by the brake", risen("stuffing_brake_refusals_total")], ["texts over their budget", texts],
  ];
  card(box, "limits", "Refused, last minute", "", "", [
    ...limits.map(([term, value]) => [term, count(value), value ? "warn" : ""]),
    ["turned away by shards, ever", shed, shed ? "warn" : ""],
    ["Redis left alone", now("redis_breaker_open") ? "yes" : "no", now("redis_breaker_open") ? "bad" : ""],
    ["requests under way", now("http_server_active_requests")],
  ]);
  admission(overview, box);
}

function admission(overview, box) {
  const classes = ["refresh", "reads", "writes", "sign_in", "export"];
  const now = (name, fits) => figure(overview, name, fits), refused = (name) => risen("admission_refused_total", { class: name });
  const full = classes.some((name) => refused(name)), customers = classes.slice(0, 3).some((name) => refused(name));
  const slow = ["http", "runtime", "connection", "shard"].map((cause) => [cause, now("admission_delay_seconds", { cause })]);
  const [cause, delay] = slow.reduce((worst, one) => one[1] > worst[1] ? one : worst);
  card(box, "admission", "Admitted, last minute", full ? "refuses" : "", customers ? "bad" : "warn", [
    ...classes.map((name) => [words(name), count(risen("admission_admitted_total", { class: name })) + ", refused " + count(refused(name)),
      refused(name) ? customers ? "bad" : "warn" : ""]),
    ["under way", classes.reduce((sum, name) => sum + now("admission_under_way", { class: name }), 0) + " of " + now("admission_limit")],
    ["waits before it is begun", delay ? time(delay) + " for: " + words(cause) : "nothing"],
  ]);
}

// ---- the last hour

const LINES = {
  requests_per_second: ["Requests / s", (value) => value.toFixed(1)],
  changes_per_second: ["Changes / s", (value) => value.toFixed(1)],
  errors_per_second: ["Errors (5xx) / s", (value) => value.toFixed(1)],
  sign_in_failures_per_second: ["Failed sign-ins / s", (value) => value.toFixed(1)],
  outbox_lag_seconds: ["Outbox lag", time],
  queue_depth: ["Waiting in shards", (value) => value.toFixed(0)],
};
const hour = { series: [], points: [], places: 360 };

function drawHour() {
  hour.series.forEach((name, index) => {
    const [title, show] = LINES[name] || [words(name), String];
    spark(cards("hour"), name, title, hour.points.map((point) => point[index + 1]), hour.places, show);
  });
}
