"""A consumer of customer-service's messages: which addresses does each customer have?

It shows what a consumer owes to "at least once, in order": the number of the last message of each
customer is kept in one transaction with what the message changed, so a copy changes nothing; a
message that comes before its turn waits, and those before it are asked for again.

    python consumer.py RUN_JSON STATE_DB [--queue example.python]
"""

import argparse
import json
import signal
import sqlite3
import time
import urllib.error
import urllib.request
from collections import Counter
from typing import Any

import pika
import pika.exceptions

from sealed import Unsealer

EXCHANGE = "customer.events"
# Messages that the broker hands out before it hears of the first one's end.
PREFETCH = 100
# Seconds until messages that were asked for again are asked for once more.
PATIENCE = 5.0
# Then the customer is read instead, as at once where the service says that it keeps them no more.
TRIES = 3

SCHEMA = """
CREATE TABLE IF NOT EXISTS customers (id TEXT PRIMARY KEY, last INTEGER NOT NULL);
CREATE TABLE IF NOT EXISTS addresses (customer TEXT NOT NULL, id TEXT NOT NULL, PRIMARY KEY (customer, id));
CREATE TABLE IF NOT EXISTS waiting (customer TEXT NOT NULL, sequence INTEGER NOT NULL, kind TEXT NOT NULL,
    data TEXT NOT NULL, PRIMARY KEY (customer, sequence));
"""


class Service:
    """What is asked of the service, with a key of the scopes customers:read, ops:write and, for what is
    sealed, customers:unseal."""

    def __init__(self, base_url: str, key: str) -> None:
        self.base_url, self.key = base_url, key

    def ask(self, method: str, path: str, body: Any = None) -> Any:
        """The answer; None where there is no such thing. Other refusals are raised."""
        request = urllib.request.Request(self.base_url + path, method=method)
        request.add_header("Authorization", f"Bearer {self.key}")
        data = None
        if body is not None:
            request.add_header("Content-Type", "application/json")
            data = json.dumps(body).encode()
        try:
            with urllib.request.urlopen(request, data, timeout=10) as answer:
                return json.loads(answer.read() or b"null")
        except urllib.error.HTTPError as refusal:
            if refusal.code == 404:
                return None
            raise

    def replay(self, customer: str, first: int, last: int, queue: str) -> bool:
        """Messages of one customer once more, to one queue and nobody else's. False where some
        of them are no longer kept."""
        body = {"from_sequence": first, "to_sequence": last, "queue": queue}
        told = self.ask("POST", f"/v1/admin/customers/{customer}/messages/replay", body)
        return not (told and told["missing"])

    def addresses(self, customer: str) -> list[str]:
        """The addresses that a customer has now; none where it was deleted."""
        path, addresses = f"/v1/admin/customers/{customer}/addresses?limit=100", []
        page = self.ask("GET", path)
        while page is not None:
            addresses += [address["id"] for address in page["items"]]
            cursor = page["next_cursor"]
            page = self.ask("GET", f"{path}&cursor={cursor}") if cursor else None
        return addresses


class Book:
    """Which addresses each customer has, as far as its messages have told."""

    def __init__(self, path: str) -> None:
        self.database = sqlite3.connect(path, isolation_level=None)
        # Durable before the broker hears that a message is done.
        self.database.execute("PRAGMA journal_mode = WAL")
        self.database.execute("PRAGMA synchronous = FULL")
        self.database.executescript(SCHEMA)
        self.seen: Counter[str] = Counter()

    def take(self, customer: str, sequence: int, kind: str, data: dict[str, Any]) -> None:
        """One message, in one transaction."""
        with self.transaction():
            last = self.last(customer)
            if sequence <= last:
                self.seen["copies"] += 1
            elif sequence == last + 1:
                self.apply(customer, sequence, kind, data)
                self.apply_waiting(customer)
            else:
                self.seen["early"] += 1
                row = (customer, sequence, kind, json.dumps(data))
                self.database.execute("INSERT OR IGNORE INTO waiting VALUES (?, ?, ?, ?)", row)

    def apply_waiting(self, customer: str) -> None:
        """What waited and is next now."""
        while row := self.database.execute(
            "DELETE FROM waiting WHERE customer = ? AND sequence = ? RETURNING sequence, kind, data",
            (customer, self.last(customer) + 1),
        ).fetchone():
            self.apply(customer, row[0], row[1], json.loads(row[2]))
        self.database.execute(
            "DELETE FROM waiting WHERE customer = ? AND sequence <= ?", (customer, self.last(customer))
        )

    def apply(self, customer: str, sequence: int, kind: str, data: dict[str, Any]) -> None:
        """What the message changes, and its number. A type that is not known here changes nothing."""
        if kind == "address.created":
            row = (customer, data["address_id"])
            self.database.execute("INSERT OR IGNORE INTO addresses VALUES (?, ?)", row)
        elif kind == "address.deleted":
            row = (customer, data["address_id"])
            self.database.execute("DELETE FROM addresses WHERE customer = ? AND id = ?", row)
        elif kind == "customer.deleted":
            self.database.execute("DELETE FROM addresses WHERE customer = ?", (customer,))
        self.number(customer, sequence)
        self.seen["applied"] += 1

    def number(self, customer: str, sequence: int) -> None:
        self.database.execute(
            "INSERT INTO customers VALUES (?, ?) ON CONFLICT (id) DO UPDATE SET last = excluded.last",
            (customer, sequence),
        )

    def start_anew(self, customer: str, addresses: list[str]) -> None:
        """From what the service says now; what waits goes on from there. Addresses that later
        messages tell of once more are the same addresses."""
        with self.transaction():
            first = self.gaps()[customer][1] + 1
            self.database.execute("DELETE FROM addresses WHERE customer = ?", (customer,))
            rows = [(customer, address) for address in addresses]
            self.database.executemany("INSERT INTO addresses VALUES (?, ?)", rows)
            self.number(customer, first - 1)
            self.apply_waiting(customer)
            self.seen["read"] += 1

    def last(self, customer: str) -> int:
        row = self.database.execute("SELECT last FROM customers WHERE id = ?", (customer,)).fetchone()
        return row[0] if row else 0

    def gaps(self) -> dict[str, tuple[int, int]]:
        """What is missing, by customer: from which number to which."""
        rows = self.database.execute(
            "SELECT w.customer, coalesce(c.last, 0) + 1, min(w.sequence) - 1 FROM waiting AS w"
            " LEFT JOIN customers AS c ON c.id = w.customer GROUP BY w.customer"
        )
        return {customer: (first, last) for customer, first, last in rows}

    def transaction(self) -> "Transaction":
        return Transaction(self.database)

    def state(self) -> dict[str, int]:
        count = lambda table: self.database.execute(f"SELECT count(*) FROM {table}").fetchone()[0]
        told = self.database.execute("SELECT coalesce(sum(last), 0) FROM customers").fetchone()[0]
        tables = {name: count(name) for name in ("customers", "addresses", "waiting")}
        return {"messages": told, **tables, **self.seen}


class Transaction:
    def __init__(self, database: sqlite3.Connection) -> None:
        self.database = database

    def __enter__(self) -> None:
        self.database.execute("BEGIN IMMEDIATE")

    def __exit__(self, kind: object, *_: object) -> None:
        self.database.execute("COMMIT" if kind is None else "ROLLBACK")


class Consumer:
    def __init__(self, service: Service, book: Book, queue: str) -> None:
        self.service, self.book, self.queue = service, book, queue
        # The last number of the gap of a customer that was asked for, when, and how often; after a
        # restart: at once. What comes of a gap makes its first number higher, and leaves the last.
        self.asked: dict[str, tuple[int, float, int]] = {}
        self.unsealer = Unsealer(service.ask)

    def declare(self, channel: Any) -> None:
        """A queue of our own with every type: a number that was left out by the binding would
        look like a message that was lost."""
        channel.queue_declare(self.queue, durable=True, arguments={"x-queue-type": "quorum"})
        channel.exchange_declare(EXCHANGE, "topic", durable=True)
        channel.queue_bind(self.queue, EXCHANGE, "#")
        channel.basic_qos(prefetch_count=PREFETCH)

    def take(self, properties: Any, body: bytes) -> None:
        headers = properties.headers or {}
        data = json.loads(body)
        customer = headers["cloudEvents:subject"]
        # Some messages are about a definition that staff keeps; they have numbers of their own.
        if data.get("customer_id") == customer:
            kind, sequence = headers["cloudEvents:type"], headers["cloudEvents:sequence"]
            # Looked at and not kept: whoever keeps personal values has to erase them, too.
            self.unsealer.values(customer, headers["cloudEvents:id"], data)
            self.book.take(customer, sequence, kind, data)

    def mend(self) -> None:
        """Asks for what is missing; reads the customer where asking does not help."""
        gaps, now = self.book.gaps(), time.monotonic()
        self.asked = {customer: known for customer, known in self.asked.items() if customer in gaps}
        for customer, (first, last) in gaps.items():
            asked, since, tries = self.asked.get(customer, (last, 0.0, 0))
            if asked != last:
                tries = 0  # another gap, which is not to blame for the one before
            if tries and now - since < PATIENCE:
                continue
            self.asked[customer] = (last, now, min(tries + 1, TRIES))
            try:
                if tries < TRIES:
                    print(f"gap: {customer} lacks {first} to {last}: asked for again", flush=True)
                    self.book.seen["asked"] += 1
                    if self.service.replay(customer, first, last, self.queue):
                        continue
                print(f"gap: {customer} lacks {first} to {last} for good: read anew", flush=True)
                self.book.start_anew(customer, self.service.addresses(customer))
            except OSError as trouble:  # refused or not reached: the next try mends it
                print(f"gap: asking failed: {trouble}", flush=True)

    def state(self) -> dict[str, int]:
        sealed = {"opened": len(self.unsealer.opened), "shut": len(self.unsealer.shut)}
        return {**self.book.state(), **sealed}

    def run(self, channel: Any, going_on: Any) -> None:
        """Until told to stop. A message is acknowledged when what it changed is durable."""
        told: dict[str, int] = {}
        for method, properties, body in channel.consume(self.queue, inactivity_timeout=0.5):
            if method is not None:
                self.take(properties, body)
                channel.basic_ack(method.delivery_tag)
            self.mend()
            if method is None and (state := self.state()) != told:
                told = state
                print(json.dumps(told), flush=True)
            if not going_on():
                return


def main() -> None:
    arguments = argparse.ArgumentParser()
    arguments.add_argument("run", help="run.json, as `make run` writes it")
    arguments.add_argument("state", help="the database file to keep")
    arguments.add_argument("--queue", default="example.python")
    given = arguments.parse_args()
    with open(given.run, encoding="utf-8") as file:
        run = json.load(file)
    stopping: list[int] = []
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda number, _: stopping.append(number))
    consumer = Consumer(Service(run["base_url"], run["staff_key"]), Book(given.state), given.queue)
    while not stopping:
        try:
            connection = pika.BlockingConnection(pika.URLParameters(run["amqp_url"]))
            channel = connection.channel()
            consumer.declare(channel)
            print("ready", flush=True)
            consumer.run(channel, lambda: not stopping)
            # What was handed out and not begun goes back.
            connection.close()
        except (pika.exceptions.AMQPError, OSError) as trouble:
            # What was not acknowledged comes again.
            print(f"the broker or the service is away: {type(trouble).__name__}", flush=True)
            time.sleep(1)


if __name__ == "__main__":
    main()
