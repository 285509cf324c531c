//! The bulk statements of the tables `order_facts`, `order_items` and `order_statistics`.

use super::*;

bulk! {
    /// A later version takes the place of an earlier one, and never the other way round.
    SaveOrderFacts [
        "INSERT INTO order_facts AS t (customer_id, order_id, version, status, placed_at, completed_at, currency, \
         total_amount, refunded_amount, recorded_at) SELECT * FROM unnest(",
        ") ON CONFLICT (customer_id, order_id) DO UPDATE SET version = excluded.version, status = excluded.status, \
         placed_at = excluded.placed_at, completed_at = excluded.completed_at, currency = excluded.currency, \
         total_amount = excluded.total_amount, refunded_amount = excluded.refunded_amount, \
         recorded_at = excluded.recorded_at WHERE t.version < excluded.version"
    ] {
        customer_id: SqlUuid = Uuid,
        order_id: Text = String,
        version: BigInt = i64,
        status: Text = String,
        placed_at: Timestamptz = DateTime<Utc>,
        completed_at: Nullable<Timestamptz> = Option<DateTime<Utc>>,
        currency: Text = String,
        total_amount: BigInt = i64,
        refunded_amount: BigInt = i64,
        recorded_at: Timestamptz = DateTime<Utc>,
    }

    SaveOrderItems [
        "INSERT INTO order_items (customer_id, order_id, sku, quantity) SELECT * FROM unnest(",
        ") ON CONFLICT (customer_id, order_id, sku) DO UPDATE SET quantity = excluded.quantity"
    ] {
        customer_id: SqlUuid = Uuid,
        order_id: Text = String,
        sku: Text = String,
        quantity: Integer = i32,
    }

    DeleteOrderItems [
        "DELETE FROM order_items AS t USING unnest(",
        ") AS u (customer_id, order_id, sku) \
         WHERE t.customer_id = u.customer_id AND t.order_id = u.order_id AND t.sku = u.sku"
    ] {
        customer_id: SqlUuid = Uuid,
        order_id: Text = String,
        sku: Text = String,
    }

    SaveOrderStatistics [
        "INSERT INTO order_statistics (customer_id, currency, placed, completed, cancelled, refunded, spent_amount, \
         refunded_amount, first_order_at, last_order_at, version, updated_at) SELECT * FROM unnest(",
        ") ON CONFLICT (customer_id, currency) DO UPDATE SET placed = excluded.placed, \
         completed = excluded.completed, cancelled = excluded.cancelled, refunded = excluded.refunded, \
         spent_amount = excluded.spent_amount, refunded_amount = excluded.refunded_amount, \
         first_order_at = excluded.first_order_at, last_order_at = excluded.last_order_at, \
         version = excluded.version, updated_at = excluded.updated_at"
    ] {
        customer_id: SqlUuid = Uuid,
        currency: Text = String,
        placed: Integer = i32,
        completed: Integer = i32,
        cancelled: Integer = i32,
        refunded: Integer = i32,
        spent_amount: BigInt = i64,
        refunded_amount: BigInt = i64,
        first_order_at: Nullable<Timestamptz> = Option<DateTime<Utc>>,
        last_order_at: Nullable<Timestamptz> = Option<DateTime<Utc>>,
        version: BigInt = i64,
        updated_at: Timestamptz = DateTime<Utc>,
    }

    /// Of a customer that became one with another.
    DeleteOrderStatistics [
        "DELETE FROM order_statistics AS t USING unnest(",
        ") AS u (customer_id, currency) WHERE t.customer_id = u.customer_id AND t.currency = u.currency"
    ] {
        customer_id: SqlUuid = Uuid,
        currency: Text = String,
    }

    /// All orders of one customer to another, unread; their items follow by their key.
    MoveOrders [
        "UPDATE order_facts AS t SET customer_id = u.into_id FROM unnest(",
        ") AS u (from_id, into_id) WHERE t.customer_id = u.from_id"
    ] {
        from_id: SqlUuid = Uuid,
        into_id: SqlUuid = Uuid,
    }

    /// The items of orders.
    FindOrderItems [
        "SELECT t.customer_id, t.order_id, t.sku, t.quantity FROM unnest(",
        ") AS u (customer_id, order_id) JOIN order_items AS t \
         ON t.customer_id = u.customer_id AND t.order_id = u.order_id"
    ] {
        customer_id: SqlUuid = Uuid,
        order_id: Text = String,
    }
}

impl diesel::query_builder::Query for FindOrderItems {
    type SqlType = (SqlUuid, Text, Text, Integer);
}

/// The statistics of customers, each with the first and the last order that counts among those that
/// are not sought: by two looks at the ends of an index, however many orders there are.
#[derive(Debug, Default, QueryId)]
pub struct FindOrderStatistics {
    pub customer_id: Vec<Uuid>,
    pub sought: Vec<String>,
}

/// A row of `order_statistics` in the order of its columns, then the first and the last order.
pub type StatisticsColumns = (
    SqlUuid,
    Text,
    Integer,
    Integer,
    Integer,
    Integer,
    BigInt,
    BigInt,
    Nullable<Timestamptz>,
    Nullable<Timestamptz>,
    BigInt,
    Timestamptz,
    Nullable<Timestamptz>,
    Nullable<Timestamptz>,
);

impl diesel::query_builder::Query for FindOrderStatistics {
    type SqlType = StatisticsColumns;
}

impl QueryFragment<Pg> for FindOrderStatistics {
    fn walk_ast<'b>(&'b self, mut out: AstPass<'_, 'b, Pg>) -> QueryResult<()> {
        // The currency between itself and itself, and in the order: so the one index that has all of
        // this in order is entered at the very row. For an order by time alone the planner may take
        // that of all orders by time, and pass over everybody else's.
        const OTHERS: &str = " LEFT JOIN LATERAL (SELECT f.placed_at FROM order_facts AS f \
             WHERE f.customer_id = t.customer_id AND f.currency >= t.currency AND f.currency <= t.currency \
             AND f.status <> 'cancelled' AND f.order_id <> ALL (";
        out.push_sql(
            "SELECT t.customer_id, t.currency, t.placed, t.completed, t.cancelled, t.refunded, t.spent_amount, \
             t.refunded_amount, t.first_order_at, t.last_order_at, t.version, t.updated_at, first.placed_at, \
             last.placed_at FROM order_statistics AS t",
        );
        out.push_sql(OTHERS);
        out.push_bind_param::<Array<Text>, Vec<String>>(&self.sought)?;
        out.push_sql(") ORDER BY f.currency, f.placed_at LIMIT 1) AS first ON true");
        out.push_sql(OTHERS);
        out.push_bind_param::<Array<Text>, Vec<String>>(&self.sought)?;
        out.push_sql(
            ") ORDER BY f.currency DESC, f.placed_at DESC LIMIT 1) AS last ON true WHERE t.customer_id = ANY (",
        );
        out.push_bind_param::<Array<SqlUuid>, Vec<Uuid>>(&self.customer_id)?;
        out.push_sql(")");
        Ok(())
    }
}
