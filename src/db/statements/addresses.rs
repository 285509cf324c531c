//! The bulk statements of the table `addresses`.

use super::*;

bulk! {
    SaveAddresses [
        "INSERT INTO addresses (id, customer_id, label, recipient, company, line1, line2, city, region, postal_code, \
         country, phone, default_shipping, default_billing, created_at, updated_at, last_used_at, version, region_code) \
         SELECT * FROM unnest(",
        ") ON CONFLICT (customer_id, id) DO UPDATE SET label = excluded.label, recipient = excluded.recipient, \
         company = excluded.company, line1 = excluded.line1, line2 = excluded.line2, city = excluded.city, \
         region = excluded.region, postal_code = excluded.postal_code, country = excluded.country, \
         phone = excluded.phone, default_shipping = excluded.default_shipping, \
         default_billing = excluded.default_billing, updated_at = excluded.updated_at, \
         last_used_at = excluded.last_used_at, version = excluded.version, region_code = excluded.region_code"
    ] {
        id: SqlUuid = Uuid,
        customer_id: SqlUuid = Uuid,
        label: Nullable<Text> = Option<String>,
        recipient: Text = String,
        company: Nullable<Text> = Option<String>,
        line1: Text = String,
        line2: Nullable<Text> = Option<String>,
        city: Text = String,
        region: Nullable<Text> = Option<String>,
        postal_code: Nullable<Text> = Option<String>,
        country: Text = String,
        phone: Nullable<Text> = Option<String>,
        default_shipping: Bool = bool,
        default_billing: Bool = bool,
        created_at: Timestamptz = DateTime<Utc>,
        updated_at: Timestamptz = DateTime<Utc>,
        last_used_at: Timestamptz = DateTime<Utc>,
        version: BigInt = i64,
        region_code: Nullable<Text> = Option<String>,
    }

    DeleteAddresses [
        "DELETE FROM addresses AS t USING unnest(",
        ") AS u (customer_id, id) WHERE t.customer_id = u.customer_id AND t.id = u.id"
    ] {
        customer_id: SqlUuid = Uuid,
        id: SqlUuid = Uuid,
    }
}
