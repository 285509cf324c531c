// A consumer of customer-service's messages: which addresses does each customer have? It drops copies,
// lets a message that comes before its turn wait, and asks for those before it again.
//
//     node out/consumer.js RUN_JSON STATE_FILE [QUEUE]

import { connect, type Channel, type ConsumeMessage } from "amqplib";
import { readFileSync } from "node:fs";
import { setTimeout as sleep } from "node:timers/promises";
import { Book, type Data, type Gap } from "./journal.js";
import { Unsealer, type Key } from "./sealed.js";

const EXCHANGE = "customer.events";
// Messages that the broker hands out before it hears of the first one's end.
const PREFETCH = 100;
// Milliseconds until messages that were asked for again are asked for once more.
const PATIENCE = 5_000;
// Then the customer is read instead, as at once where the service says that it keeps them no more.
const TRIES = 3;

const [runPath, statePath, queue = "example.typescript"] = process.argv.slice(2);
if (!runPath || !statePath) throw new Error("usage: consumer RUN_JSON STATE_FILE [QUEUE]");
const run = JSON.parse(readFileSync(runPath, "utf8")) as { [name: string]: string };
const setting = (name: string): string => {
  const value = run[name];
  if (!value) throw new Error(`run.json lacks ${name}`);
  return value;
};

const book = new Book(statePath);
// The last number of the gap of a customer that was asked for, when, and how often; after a restart:
// at once. What comes of a gap makes its first number higher, and leaves the last.
let asked = new Map<string, { last: number; since: number; tries: number }>();
let stopping = false;
for (const signal of ["SIGTERM", "SIGINT"] as const) process.on(signal, () => (stopping = true));

/** Asks the service, with a key of the scopes customers:read, ops:write and, for what is sealed,
 *  customers:unseal. */
async function ask(method: string, path: string, body?: object): Promise<unknown> {
  const headers = { authorization: `Bearer ${setting("staff_key")}`, "content-type": "application/json" };
  const signal = AbortSignal.timeout(10_000);
  const init = { method, headers, signal, ...(body && { body: JSON.stringify(body) }) };
  const answer = await fetch(setting("base_url") + path, init);
  if (answer.status === 404) return undefined;
  const text = await answer.text();
  if (!answer.ok) throw new Error(`${method} was answered ${answer.status}`);
  return text ? JSON.parse(text) : undefined;
}

/** The key of a customer; nothing where we may not have it, and where the customer was erased. */
async function keyOf(customer: string): Promise<Key | undefined> {
  try {
    return (await ask("GET", `/v1/admin/customers/${customer}/data_key`)) as Key | undefined;
  } catch (trouble) {
    if (trouble instanceof Error && trouble.message.endsWith(" 403")) return undefined;
    throw trouble;
  }
}
const unsealer = new Unsealer(keyOf);

/** The addresses that a customer has now; none where it was deleted. */
async function addresses(customer: string): Promise<string[]> {
  type Page = { items: { id: string }[]; next_cursor: string | null } | undefined;
  const path = `/v1/admin/customers/${customer}/addresses?limit=100`;
  const found: string[] = [];
  let page = (await ask("GET", path)) as Page;
  while (page) {
    found.push(...page.items.map((address) => address.id));
    page = page.next_cursor ? ((await ask("GET", `${path}&cursor=${page.next_cursor}`)) as Page) : undefined;
  }
  return found;
}

/** Asks for what is missing; reads the customer where asking does not help. */
async function mend(gap: Gap): Promise<void> {
  const { customer, first, last } = gap;
  const known = asked.get(customer);
  // Another gap of the customer's is not to blame for the one before.
  const { since, tries } = known?.last === last ? known : { since: 0, tries: 0 };
  if (tries > 0 && Date.now() - since < PATIENCE) return;
  asked.set(customer, { last, since: Date.now(), tries: Math.min(tries + 1, TRIES) });
  try {
    if (tries < TRIES) {
      console.log(`gap: ${customer} lacks ${first} to ${last}: asked for again`);
      book.seen.asked += 1;
      const body = { from_sequence: first, to_sequence: last, queue };
      const told = await ask("POST", `/v1/admin/customers/${customer}/messages/replay`, body);
      const missing = (told as { missing: unknown[] } | undefined)?.missing ?? [];
      if (missing.length === 0) return;
    }
    console.log(`gap: ${customer} lacks ${first} to ${last} for good: read anew`);
    book.startAnew(gap, await addresses(customer));
  } catch (trouble) {
    // Refused or not reached: the next try mends it.
    console.log(`gap: asking failed: ${trouble instanceof Error ? trouble.message : "?"}`);
  }
}

async function take(message: ConsumeMessage): Promise<void> {
  const headers = message.properties.headers ?? {};
  const data = JSON.parse(message.content.toString()) as Data;
  const customer = String(headers["cloudEvents:subject"]);
  // Some messages are about a definition that staff keeps; they have numbers of their own.
  if (data["customer_id"] !== customer) return;
  const sequence = Number(headers["cloudEvents:sequence"]);
  // Looked at and not kept: whoever keeps personal values has to erase them, too.
  await unsealer.values(customer, String(headers["cloudEvents:id"]), data);
  book.take({ customer, sequence, kind: String(headers["cloudEvents:type"]), data });
}

/** A queue of our own with every type: a number that was left out by the binding would look like a
 *  message that was lost. */
async function declare(channel: Channel): Promise<void> {
  await channel.assertQueue(queue, { durable: true, arguments: { "x-queue-type": "quorum" } });
  await channel.assertExchange(EXCHANGE, "topic", { durable: true });
  await channel.bindQueue(queue, EXCHANGE, "#");
  await channel.prefetch(PREFETCH);
}

/** Until the connection ends or we are told to stop. */
async function consume(): Promise<void> {
  const connection = await connect(setting("amqp_url"));
  let open = true;
  connection.on("error", () => (open = false)).on("close", () => (open = false));
  const channel = await connection.createChannel();
  channel.on("error", () => (open = false)).on("close", () => (open = false));
  await declare(channel);
  let turn = Promise.resolve();
  await channel.consume(queue, (message) => {
    if (!message) {
      open = false; // the queue was deleted
      return;
    }
    // One after the other, although opening one may have to wait for its key.
    turn = turn.then(async () => {
      if (stopping || !open) return; // goes back to the queue
      await take(message);
      channel.ack(message);
    });
    turn.catch(() => (open = false));
  });
  console.log("ready");
  let told = "";
  while (open && !stopping) {
    const gaps = book.gaps();
    asked = new Map([...asked].filter(([customer]) => gaps.some((gap) => gap.customer === customer)));
    for (const gap of gaps) await mend(gap);
    const sealed = { opened: unsealer.opened.size, shut: unsealer.shut.size };
    const state = JSON.stringify({ ...book.state(), ...sealed });
    if (state !== told) console.log((told = state));
    await sleep(200);
  }
  if (open) await connection.close();
}

while (!stopping) {
  try {
    await consume();
  } catch (trouble) {
    console.log(`the broker or the service is away: ${trouble instanceof Error ? trouble.name : "?"}`);
    await sleep(1_000);
  }
}
book.close();
