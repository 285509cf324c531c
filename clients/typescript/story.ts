// The demo's story, told with the generated TypeScript client: register, read the mail, verify, keep a
// record, be looked after by staff, leave. Every answer has the document's own type, problems too.
//
//   node out/story.js RUN_JSON      what `make run` wrote: base_url, staff_key, mail_dir

import { randomUUID } from "node:crypto";
import { readFileSync, readdirSync } from "node:fs";
import { join } from "node:path";
import { setTimeout } from "node:timers/promises";

import createClient from "openapi-fetch";

import type { components, paths } from "./schema.js";

type Schemas = components["schemas"];
type Api = ReturnType<typeof createClient<paths>>;

const PASSWORD = "seven green lanterns over Hoi An";
const PATIENCE_MS = 10_000;

interface Answer<T> {
  data?: T;
  error?: Schemas["Problem"];
  response: Response;
}

/** The answer, which must have this status. */
async function right<T>(what: string, call: Promise<Answer<T>>, status = 200): Promise<NonNullable<T>> {
  const { data, error, response } = await call;
  console.log(`  ${what}: ${response.status}`);
  if (response.status !== status || data === undefined || data === null) {
    throw new Error(`${what}: ${response.status} ${JSON.stringify(error)}`);
  }
  return data;
}

/** The problem, which must be this one. */
async function refused<T>(
  what: string,
  call: Promise<Answer<T>>,
  code: Schemas["Problem"]["code"],
): Promise<Schemas["Problem"]> {
  const { error, response } = await call;
  console.log(`  ${what}: ${response.status} ${code}`);
  if (error?.code !== code) throw new Error(`${what}: ${response.status} ${JSON.stringify(error)}`);
  return error;
}

async function empty<T>(what: string, call: Promise<Answer<T>>): Promise<void> {
  const { response } = await call;
  console.log(`  ${what}: ${response.status}`);
  if (response.status !== 204) throw new Error(`${what}: ${response.status}`);
}

function must(holds: boolean, what: string): void {
  if (!holds) throw new Error(what);
}

async function tokenFromMail(folder: string, address: string): Promise<string> {
  for (const end = Date.now() + PATIENCE_MS; Date.now() < end; await setTimeout(50)) {
    for (const name of readdirSync(folder)) {
      if (!name.endsWith(".eml")) continue;
      const mail = readFileSync(join(folder, name), "utf8").replace(/=\r?\n/g, "").replaceAll("=3D", "=");
      const token = /token=([A-Za-z0-9_-]+)/.exec(mail)?.[1];
      if (token !== undefined && mail.includes(address)) return token;
    }
  }
  throw new Error(`no mail to ${address} arrived in ${folder}`);
}

function clientOf(baseUrl: string, token?: string): Api {
  const headers = token === undefined ? {} : { authorization: `Bearer ${token}` };
  return createClient<paths>({ baseUrl, headers });
}

async function tell(baseUrl: string, staffKey: string, mails: string): Promise<void> {
  const email = `lan.${randomUUID()}@typescript.example`;
  const anybody = clientOf(baseUrl);
  const body = { email, password: PASSWORD, first_name: "Lan", last_name: "Nguyễn", locale: "vi-VN" };
  await right("register", anybody.POST("/v1/auth/register", { body }), 202);
  const link = { body: { token: await tokenFromMail(mails, email) } };
  const first = await right("verify", anybody.POST("/v1/auth/email/verify", link));
  must(first.customer.email === email && first.customer.status === "active", "the first session");
  await refused("the link works once", anybody.POST("/v1/auth/email/verify", link), "token_invalid");

  const login = { body: { email, password: PASSWORD } };
  const entrance = await right("log in", anybody.POST("/v1/auth/login", login));
  // a union that the compiler tells apart
  if (!("refresh_token" in entrance)) throw new Error(`a second factor is asked for: ${entrance.methods}`);
  const again = { body: { refresh_token: entrance.refresh_token } };
  const pair = await right("refresh", anybody.POST("/v1/auth/refresh", again));

  const lan = clientOf(baseUrl, pair.access_token);
  await keepARecord(lan, anybody);
  await lookAfter(clientOf(baseUrl, staffKey), lan, email);
}

async function keepARecord(lan: Api, anybody: Api): Promise<void> {
  const renamed = await right("change me", lan.PATCH("/v1/me", { body: { first_name: "Thị Lan" } }));
  must(renamed.first_name === "Thị Lan", "the new name");
  const filled = { date_of_birth: "1994-05-17", bio: "Xin chào", custom: { shoe_size: 37 } };
  await right("profile", lan.PATCH("/v1/me/profile", { body: filled }));
  // RFC 7396: null clears, what is left out stays
  await right("clear bio", lan.PATCH("/v1/me/profile", { body: { bio: null } }));
  const profile = await right("read profile", lan.GET("/v1/me/profile"));
  must(profile.bio === null && profile.date_of_birth === "1994-05-17", "the merge patch");
  const wishes = { currency: "VND", channels: { sms: true }, topics: ["sales"] };
  const preferences = await right("preferences", lan.PATCH("/v1/me/preferences", { body: wishes }));
  must(preferences.currency === "VND" && preferences.channels.sms, "the preferences");

  const vietnam = { params: { path: { country: "VN" } } };
  const { regions } = await right("country", anybody.GET("/v1/countries/{country}", vietnam));
  const hanoi = regions.find((region) => region.code === "VN-HN");
  if (hanoi === undefined) throw new Error("VN-HN is not there");
  const home: Schemas["NewAddress"] = {
    recipient: "Nguyễn Thị Lan", line1: "1 Hùng Vương", city: "Ba Đình", country: "VN",
    region: "VN-HN", postal_code: "11120", phone: "0912 345 678",
  };
  const kept = await right("address", lan.POST("/v1/me/addresses", { body: home }), 201);
  must(kept.region === hanoi.written && kept.region_code === "VN-HN", "the region");
  must(kept.phone === "+84912345678", "the phone");
  const office = { recipient: "Lan", line1: "5 Bạch Đằng", city: "Đà Nẵng", country: "VN", label: "Office" };
  const other = await right("another", lan.POST("/v1/me/addresses", { body: office }), 201);
  const toOther = { params: { path: { id: other.id } }, body: { kind: "shipping" } };
  await right("default", lan.PUT("/v1/me/addresses/{id}/default", toOther));
  const at = { params: { path: { id: kept.id } } };
  const wrong = { ...at, body: { postal_code: "12", country: "US", region: "Atlantis" } };
  const problem = await refused("a wrong patch", lan.PATCH("/v1/me/addresses/{id}", wrong), "validation_failed");
  const pointers = problem.errors?.map((fault) => fault.pointer).sort().join(" ");
  must(pointers === "#/postal_code #/region", `the faults: ${pointers}`);
  await empty("delete", lan.DELETE("/v1/me/addresses/{id}", at));
  await refused("it is gone", lan.GET("/v1/me/addresses/{id}", at), "not_found");

  const wishlist = await right("wishlist", lan.POST("/v1/me/wishlists", { body: { name: "Sinh nhật" } }), 201);
  const list = { params: { path: { id: wishlist.id } } };
  const lantern = { sku: "LANTERN-7", quantity: 2, price_seen: { amount: 120_000, currency: "VND" } };
  const item = await right("item", lan.POST("/v1/me/wishlists/{id}/items", { ...list, body: lantern }), 201);
  must(item.quantity === 2, "the item");
  const shared = await right("share", lan.PATCH("/v1/me/wishlists/{id}", { ...list, body: { shared: true } }));
  if (typeof shared.share_token !== "string") throw new Error("no link");
  const open = { params: { path: { token: shared.share_token } } };
  const seen = await right("open the link", anybody.GET("/v1/wishlists/shared/{token}", open));
  must(seen.items.length === 1, "the shared list");

  const marketing = { params: { path: { purpose: "marketing" } } };
  const consent = { ...marketing, body: { granted: true, channel: "email", text_version: "1" } };
  await right("consent", lan.PUT("/v1/me/consents/{purpose}", consent));
  const ledger = await right("ledger", lan.GET("/v1/me/consents/{purpose}/ledger", marketing));
  must(ledger.items[0]?.granted === true, "the ledger");
  const whole = { params: { query: { expand: "profile,addresses" } } };
  const me = await right("me", lan.GET("/v1/me", whole));
  must(me.accepts_marketing && me.addresses?.length === 1, "the whole record");
}

async function lookAfter(staff: Api, lan: Api, email: string): Promise<void> {
  const search = { params: { query: { email } } };
  const found = await right("search", staff.GET("/v1/admin/customers", search));
  const id = found.items[0]?.id;
  if (id === undefined) throw new Error("nobody was found");
  const her = { params: { path: { id } } };
  const code = `ts_${randomUUID().slice(-12)}`;
  await right("group", staff.POST("/v1/admin/groups", { body: { code, name: "Bạn bè" } }), 201);
  const groups = await right("groups", staff.GET("/v1/admin/groups", { params: { query: { limit: 100 } } }));
  must(groups.items.some((group) => group.code === code), "the group");
  await empty("delete group", staff.DELETE("/v1/admin/groups/{code}", { params: { path: { code } } }));
  const tagged = await right("tag", staff.POST("/v1/admin/customers/{id}/tags", { ...her, body: { tag: "vip" } }));
  must(tagged.tags.join() === "vip", "the tag");
  const text = { text: "Thích đèn lồng" };
  const note = await right("note", staff.POST("/v1/admin/customers/{id}/notes", { ...her, body: text }), 201);
  const notes = await right("notes", staff.GET("/v1/admin/customers/{id}/notes", her));
  must(notes.items.length === 1 && notes.items[0]?.id === note.id, "the notes");
  const timeline = await right("timeline", staff.GET("/v1/admin/customers/{id}/timeline", her));
  must(timeline.items.length > 0, "the timeline");
  await refused("staff only", lan.GET("/v1/admin/customers"), "unauthorized");
  await empty("delete", staff.DELETE("/v1/admin/customers/{id}", her));
  await refused("she is gone", staff.GET("/v1/admin/customers/{id}", her), "not_found");
}

const run = JSON.parse(readFileSync(process.argv[2] ?? ".local/run.json", "utf8")) as Record<string, string>;
const { base_url: baseUrl, staff_key: staffKey, mail_dir: mails } = run;
if (baseUrl === undefined || staffKey === undefined || mails === undefined) throw new Error("no run.json");
await tell(baseUrl, staffKey, mails);
console.log("The story is told, in TypeScript.");
