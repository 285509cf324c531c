//! The peer of the intake of orders: pgbench, writing one fact in a transaction of its own with the
//! service's own statements: fact, two items, statistics, the customer's sequence, the message, the
//! audit entry. What it reads is the least that it needs; each client keeps to one customer, as in the
//! peer of the write path.

use super::database::{ID_END, shard_of};
use super::pgbench::{CUSTOMER, LOCK_CUSTOMER, NEW_ID, filled, none, of_client, one, text_of};
use anyhow::Result;
use customer_service::db::statements::{
    AppendToOutbox, InsertAuditEntries, SaveOrderFacts, SaveOrderItems, SaveOrderStatistics,
    TouchCustomers,
};

/// A name that no other order has.
const ORDER: &str = "('P-' || :client_id || '-' || :random)";

/// The statistics as they are; zeros where there are none.
const STATISTICS: &str = "SELECT coalesce(max(placed), 0) AS placed, \
    coalesce(max(spent_amount), 0) AS spent, coalesce(max(version), 0) AS version \
    FROM order_statistics WHERE customer_id = ";

/// The script of one fact for clients whose customers are given by number.
pub fn script(customers: &[u32]) -> Result<String> {
    let sequence = ":c_sequence::bigint + 1";
    let touch = filled(
        &text_of(&TouchCustomers::default()),
        &[
            one(CUSTOMER, "uuid"),
            none("timestamptz"),
            one("now()", "timestamptz"),
            one(":c_version::bigint", "bigint"),
            one(sequence, "bigint"),
        ],
    )?;
    let fact = filled(
        &text_of(&SaveOrderFacts::default()),
        &[
            one(CUSTOMER, "uuid"),
            one(ORDER, "text"),
            one("1", "bigint"),
            one("'placed'", "text"),
            one("now()", "timestamptz"),
            none("timestamptz"),
            one("'EUR'", "text"),
            one("1000", "bigint"),
            one("0", "bigint"),
            one("now()", "timestamptz"),
        ],
    )?;
    let two = |first: &str, second: &str, kind: &str| format!("ARRAY[{first}, {second}]::{kind}[]");
    let items = filled(
        &text_of(&SaveOrderItems::default()),
        &[
            two(CUSTOMER, CUSTOMER, "uuid"),
            two(ORDER, ORDER, "text"),
            two("'LAMP-1'", "'LAMP-2'", "text"),
            two("1", "2", "integer"),
        ],
    )?;
    let zero = || one("0", "integer");
    let statistics = filled(
        &text_of(&SaveOrderStatistics::default()),
        &[
            one(CUSTOMER, "uuid"),
            one("'EUR'", "text"),
            one(":s_placed::integer + 1", "integer"),
            zero(),
            zero(),
            zero(),
            one(":s_spent::bigint + 1000", "bigint"),
            one("0", "bigint"),
            one("now()", "timestamptz"),
            one("now()", "timestamptz"),
            one(":s_version::bigint + 1", "bigint"),
            one("now()", "timestamptz"),
        ],
    )?;
    let changed = "[\"orders.placed\", \"orders.total\", \"spent\", \"last_order_at\"]";
    let data = format!(
        "('{{\"order_id\": \"P-' || :client_id || '-' || :random || '\", \"status\": \"placed\", \
         \"version\": 1, \"changed\": {changed}}}')"
    );
    let entry = filled(
        &text_of(&InsertAuditEntries::default()),
        &[
            one(NEW_ID, "uuid"),
            one(":shard::smallint", "smallint"),
            one(CUSTOMER, "uuid"),
            one("'service'", "text"),
            none("text"),
            one("'order.recorded'", "text"),
            one(&data, "jsonb"),
            one(&format!("{NEW_ID}::text"), "text"),
            one("now()", "timestamptz"),
        ],
    )?;
    let message = format!(
        "('{{\"customer_id\": \"' || lpad(:n::text, 8, '0') || '{ID_END}\", \"order_id\": \"P-' \
         || :client_id || '-' || :random || '\", \"currency\": \"EUR\", \"changed\": {changed}, \
         \"cause\": \"fact\", \"version\": ' || :s_version::text || '}}')"
    );
    let outbox = filled(
        &text_of(&AppendToOutbox::default()),
        &[
            one(":shard::smallint", "smallint"),
            one(NEW_ID, "uuid"),
            one(CUSTOMER, "uuid"),
            one(sequence, "bigint"),
            one("'statistics.updated'", "text"),
            one("now()", "timestamptz"),
            none("text"),
            one(&message, "jsonb"),
        ],
    )?;
    let lock = filled(LOCK_CUSTOMER, &[one(CUSTOMER, "uuid")])?;
    Ok(format!(
        "\\set n {}\n\\set shard {}\n\\set random random(1, 9000000000000000000)\n\
         BEGIN;\n{lock} \\gset c_\n{STATISTICS}{CUSTOMER} \\gset s_\n{touch};\n{fact};\n{items};\n\
         {statistics};\n{entry};\n{outbox};\nCOMMIT;\n",
        of_client(customers, |number| number.to_string()),
        of_client(customers, |number| shard_of(number).to_string()),
    ))
}
