// What a consumer remembers, in a file that is only appended to: each line holds a message, so its
// number and what it changes are durable together or not at all. A line that a crash cut short is
// cut off; its message was not acknowledged and comes again.

import { closeSync, existsSync, fdatasyncSync, ftruncateSync, openSync, readFileSync, writeSync } from "node:fs";

export type Data = { readonly [name: string]: unknown };
export type Message = { customer: string; sequence: number; kind: string; data: Data };
type Line = { message: Message } | { anew: { customer: string; sequence: number; addresses: string[] } };

type Customer = { last: number; addresses: Set<string>; waiting: Map<number, Message> };
export type Gap = { customer: string; first: number; last: number };

/** Which addresses each customer has, as far as its messages have told. */
export class Book {
  readonly seen = { applied: 0, copies: 0, early: 0, asked: 0, read: 0 };
  private readonly customers = new Map<string, Customer>();
  private readonly file: number;

  constructor(path: string) {
    const text = existsSync(path) ? readFileSync(path, "utf8") : "";
    const whole = text.slice(0, text.lastIndexOf("\n") + 1);
    for (const line of whole.split("\n").filter(Boolean)) this.replay(JSON.parse(line) as Line);
    this.file = openSync(path, "a+");
    ftruncateSync(this.file, Buffer.byteLength(whole));
    Object.assign(this.seen, { applied: 0, copies: 0, early: 0 });
  }

  /** One message. A copy changes nothing, not even the file. */
  take(message: Message): void {
    const { last, waiting } = this.customer(message.customer);
    if (message.sequence <= last || waiting.has(message.sequence)) {
      this.seen.copies += 1;
      return;
    }
    this.write({ message });
    this.admit(message);
  }

  /** From what the service says now; what waits goes on from there. Nothing where the gap was filled
   *  meanwhile: what is missing then may be newer than what the service said. */
  startAnew({ customer, last }: Gap, addresses: string[]): void {
    if (!this.gaps().some((gap) => gap.customer === customer && gap.last === last)) return;
    this.write({ anew: { customer, sequence: last, addresses } });
    this.begin(customer, last, addresses);
    this.seen.read += 1;
  }

  gaps(): Gap[] {
    return [...this.customers].flatMap(([customer, { last, waiting }]) =>
      waiting.size === 0 ? [] : [{ customer, first: last + 1, last: Math.min(...waiting.keys()) - 1 }],
    );
  }

  state() {
    const all = [...this.customers.values()];
    const sum = (of: (customer: Customer) => number) => all.reduce((total, one) => total + of(one), 0);
    return {
      messages: sum((one) => one.last),
      customers: all.filter((one) => one.last > 0).length,
      addresses: sum((one) => one.addresses.size),
      waiting: sum((one) => one.waiting.size),
      ...this.seen,
    };
  }

  close(): void {
    closeSync(this.file);
  }

  private replay(line: Line): void {
    if ("message" in line) this.admit(line.message);
    else this.begin(line.anew.customer, line.anew.sequence, line.anew.addresses);
  }

  private admit(message: Message): void {
    const known = this.customer(message.customer);
    if (message.sequence > known.last + 1) this.seen.early += 1;
    known.waiting.set(message.sequence, message);
    this.goOn(known);
  }

  private begin(customer: string, sequence: number, addresses: string[]): void {
    const known = this.customer(customer);
    known.last = sequence;
    known.addresses = new Set(addresses);
    this.goOn(known);
  }

  /** What waits and is next. */
  private goOn(known: Customer): void {
    for (let next; (next = known.waiting.get(known.last + 1)); ) {
      known.waiting.delete(next.sequence);
      this.apply(known, next);
    }
  }

  /** A type that is not known here changes nothing. */
  private apply(known: Customer, { sequence, kind, data }: Message): void {
    if (kind === "address.created") known.addresses.add(String(data["address_id"]));
    else if (kind === "address.deleted") known.addresses.delete(String(data["address_id"]));
    else if (kind === "customer.deleted") known.addresses.clear();
    known.last = sequence;
    this.seen.applied += 1;
  }

  private customer(id: string): Customer {
    let known = this.customers.get(id);
    if (!known) this.customers.set(id, (known = { last: 0, addresses: new Set(), waiting: new Map() }));
    return known;
  }

  /** Durable before the broker hears that the message is done. */
  private write(line: Line): void {
    writeSync(this.file, JSON.stringify(line) + "\n");
    fdatasyncSync(this.file);
  }
}
