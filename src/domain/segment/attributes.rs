//! The one list of what conditions may ask about a customer: each attribute with its type, what it
//! depends on, what asking it costs, a line for people and an example. The checker, both evaluators
//! and the table in `docs/segments.md` are made from it.

use crate::domain::attribute::Part;
use crate::domain::consent::Channel;
use serde::Serialize;

/// What is read of a customer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Field {
    AddedAt,
    FirstOrderAt,
    LastOrderAt,
    LastSignInAt,
    BirthDate,
    EmailVerifiedAt,
    PhoneVerifiedAt,
    /// In this currency.
    Spent(String),
    /// In this currency.
    Average(String),
    NumberOfOrders,
    NumberOfAddresses,
    WishlistItems,
    Status,
    /// To marketing by this channel.
    Subscription(Channel),
    CustomerType,
    RfmGroup,
    SpendTier,
    Tags,
    Cities,
    Regions,
    Countries,
    PostalCodes,
    Topics,
    EmailDomain,
    Language,
    Locale,
    Currency,
    TimeZone,
    Group,
    EmailVerified,
    PhoneVerified,
    MfaEnabled,
    AcceptsMarketing,
    /// May be contacted by this channel.
    Contact(Channel),
    Custom {
        part: Part,
        key: String,
    },
    /// By this channel; `None`: by any.
    Consent {
        purpose: String,
        channel: Option<Channel>,
    },
}

/// What changes of a customer, as far as conditions care: what a change marks, so that only segments
/// which read it are evaluated again.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Mark {
    /// It came to be; every segment is evaluated.
    Created,
    Email,
    EmailVerified,
    PhoneVerified,
    CustomerType,
    Group,
    Status,
    Tags,
    SignIn,
    SecondFactor,
    DateOfBirth,
    Locale,
    TimeZone,
    Currency,
    Channels,
    Topics,
    Consents,
    Addresses,
    Wishlists,
    Orders,
    /// A custom attribute, by its key.
    Custom(String),
    /// It joined or left a segment, by the segment's name.
    Segment(String),
    /// New cut points of RFM scores; of all customers at once.
    CutPoints,
    /// New models of purchases; of all customers at once.
    Models,
}

/// The type of an attribute.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// An instant, asked for by local days.
    Moment,
    /// A calendar day.
    Day,
    /// A whole number, not below zero.
    Count,
    /// An amount in a currency's main unit, such as 99.50.
    Money,
    Text,
    /// One of these.
    Choice(&'static [&'static str]),
    Flag,
    /// Texts without an order; never absent, but perhaps empty.
    List,
    /// As the definition of the custom attribute says.
    Custom,
}

impl Kind {
    pub fn name(self) -> &'static str {
        match self {
            Self::Moment | Self::Day => "date",
            Self::Count => "number",
            Self::Money => "amount",
            Self::Text => "text",
            Self::Choice(_) => "choice",
            Self::Flag => "boolean",
            Self::List => "list",
            Self::Custom => "by definition",
        }
    }
}

/// What an entry of the list stands for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Template {
    One(Field),
    /// One of each currency: that of record without a suffix.
    Spent,
    Average,
    /// One of each definition.
    Custom,
    /// One of each purpose, and of each of its channels.
    Consent,
}

/// An entry of the list.
#[derive(Debug)]
pub struct Attribute {
    pub name: &'static str,
    pub(super) template: Template,
    pub kind: Kind,
    /// Whose customers have no value; `None`: everybody has one.
    pub absent: Option<&'static str>,
    pub marks: &'static [Mark],
    /// What one question costs, as [`cost`](super::cost) counts.
    pub cost: u32,
    /// Whether it changes by time alone, whatever it is compared with.
    pub timed: bool,
    /// What it is.
    pub about: &'static str,
    /// A condition that reads it.
    pub example: &'static str,
}

/// A column of the customer itself.
const COLUMN: u32 = 1;
/// A column of another row of the customer.
const ROW: u32 = 2;
/// Several rows.
const ROWS: u32 = 4;

const STATUSES: &[&str] =
    &["pending", "active", "inactive", "suspended", "deletion_scheduled", "erased"];
const SUBSCRIPTIONS: &[&str] = &["subscribed", "unsubscribed", "not_subscribed"];
const TYPES: &[&str] = &["individual", "business"];
const TIERS: &[&str] = &["top", "high", "middle", "low"];
pub(super) const ORDER_STATUSES: &[&str] = &["placed", "completed", "cancelled", "refunded"];
const GROUPS: &[&str] = &[
    "champions",
    "loyal",
    "potential_loyalists",
    "new",
    "promising",
    "need_attention",
    "about_to_sleep",
    "at_risk",
    "cannot_lose_them",
    "hibernating",
    "lost",
];

const fn one(
    name: &'static str,
    field: Field,
    kind: Kind,
    marks: &'static [Mark],
    cost: u32,
    (about, example): (&'static str, &'static str),
) -> Attribute {
    let template = Template::One(field);
    Attribute { name, template, kind, absent: None, marks, cost, timed: false, about, example }
}

impl Attribute {
    const fn absent(mut self, whose: &'static str) -> Self {
        self.absent = Some(whose);
        self
    }

    const fn timed(mut self) -> Self {
        self.timed = true;
        self
    }

    const fn of(name: &'static str, template: Template, kind: Kind) -> Self {
        let (about, example) = ("", "");
        let marks = &[];
        Self { name, template, kind, absent: None, marks, cost: ROW, timed: false, about, example }
    }

    const fn told(mut self, about: &'static str, example: &'static str) -> Self {
        self.about = about;
        self.example = example;
        self
    }

    const fn marked(mut self, marks: &'static [Mark]) -> Self {
        self.marks = marks;
        self
    }
}

/// All attributes, by what they tell.
#[rustfmt::skip]
pub static ATTRIBUTES: [Attribute; 38] = [
    one("customer_added_date", Field::AddedAt, Kind::Moment, &[], COLUMN,
        ("When the customer came to be.", "customer_added_date >= -30d")),
    one("customer_account_status", Field::Status, Kind::Choice(STATUSES), &[Mark::Status], COLUMN,
        ("Where the account stands.", "customer_account_status = 'active'")),
    one("customer_type", Field::CustomerType, Kind::Choice(TYPES), &[Mark::CustomerType], COLUMN,
        ("Whether the customer buys as a person or as a company.", "customer_type = 'business'")),
    one("group", Field::Group, Kind::Text, &[Mark::Group], COLUMN,
        ("The code of its customer group.", "group IN ('retail', 'vip')")),
    one("customer_tags", Field::Tags, Kind::List, &[Mark::Tags], COLUMN,
        ("Staff's labels.", "customer_tags CONTAINS 'wholesale'")),
    one("customer_email_domain", Field::EmailDomain, Kind::Text, &[Mark::Email], COLUMN,
        ("What follows the @ of the e-mail address, in lower case.", "customer_email_domain = 'example.com'")),
    one("email_verified", Field::EmailVerified, Kind::Flag, &[Mark::EmailVerified], COLUMN,
        ("Whether the owner proved to receive mail there.", "email_verified = true")),
    one("email_verified_date", Field::EmailVerifiedAt, Kind::Moment, &[Mark::EmailVerified], COLUMN,
        ("When that was.", "email_verified_date >= -7d")).absent("without a verified address"),
    one("phone_verified", Field::PhoneVerified, Kind::Flag, &[Mark::PhoneVerified], COLUMN,
        ("Whether the owner proved to receive codes at the number.", "phone_verified = true")),
    one("phone_verified_date", Field::PhoneVerifiedAt, Kind::Moment, &[Mark::PhoneVerified], COLUMN,
        ("When that was.", "phone_verified_date < -1y")).absent("without a verified number"),
    one("mfa_enabled", Field::MfaEnabled, Kind::Flag, &[Mark::SecondFactor], ROWS,
        ("Whether a second factor is asked for at sign-in: an authenticator, or a passkey set up as one.", "mfa_enabled = false")),
    one("last_sign_in_date", Field::LastSignInAt, Kind::Moment, &[Mark::SignIn], COLUMN,
        ("When the newest session began.", "last_sign_in_date < -90d OR last_sign_in_date IS NULL")).absent("who never signed in"),
    one("date_of_birth", Field::BirthDate, Kind::Day, &[Mark::DateOfBirth], ROW,
        ("Day of birth.", "anniversary(date_of_birth) BETWEEN today AND +7d")).absent("who did not tell it"),
    one("customer_language", Field::Language, Kind::Text, &[Mark::Locale], ROW,
        ("The language of the locale: `vi` of `vi-VN`.", "customer_language = 'vi'")),
    one("customer_locale", Field::Locale, Kind::Text, &[Mark::Locale], ROW,
        ("The locale as a language tag.", "customer_locale = 'vi-VN'")),
    one("customer_time_zone", Field::TimeZone, Kind::Text, &[Mark::TimeZone], ROW,
        ("IANA time zone of the preferences.", "customer_time_zone = 'Asia/Ho_Chi_Minh'")),
    one("customer_currency", Field::Currency, Kind::Text, &[Mark::Currency], ROW,
        ("Currency of the preferences, ISO 4217.", "customer_currency = 'VND'")),
    one("topics", Field::Topics, Kind::List, &[Mark::Topics], ROW,
        ("Topics followed.", "topics CONTAINS 'new_arrivals'")),
    one("accepts_marketing", Field::AcceptsMarketing, Kind::Flag, &[Mark::Consents], COLUMN,
        ("Whether advertising may be sent: what the consents to marketing come to.", "accepts_marketing = true")),
    one("accepts_email", Field::Contact(Channel::Email), Kind::Flag, &[Mark::Channels], ROW,
        ("Whether the preferences allow contact by e-mail.", "accepts_email = true")),
    one("accepts_sms", Field::Contact(Channel::Sms), Kind::Flag, &[Mark::Channels], ROW,
        ("The same by text message.", "accepts_sms = true")),
    one("accepts_push", Field::Contact(Channel::Push), Kind::Flag, &[Mark::Channels], ROW,
        ("The same by push notification.", "accepts_push = false")),
    one("email_subscription_status", Field::Subscription(Channel::Email), Kind::Choice(SUBSCRIPTIONS), &[Mark::Consents], ROW,
        ("The consent to marketing by e-mail: given, withdrawn or refused, never asked.", "email_subscription_status = 'subscribed'")),
    one("sms_subscription_status", Field::Subscription(Channel::Sms), Kind::Choice(SUBSCRIPTIONS), &[Mark::Consents], ROW,
        ("The same by text message.", "sms_subscription_status != 'unsubscribed'")),
    one("push_subscription_status", Field::Subscription(Channel::Push), Kind::Choice(SUBSCRIPTIONS), &[Mark::Consents], ROW,
        ("The same by push notification.", "push_subscription_status = 'subscribed'")),
    Attribute::of("consent", Template::Consent, Kind::Flag)
        .marked(&[Mark::Consents])
        .told("Whether a consent to a purpose is in force: `consent.<purpose>` by any channel, `consent.<purpose>.<channel>` by this one.",
            "consent.personalisation = true"),
    one("number_of_addresses", Field::NumberOfAddresses, Kind::Count, &[Mark::Addresses], ROWS,
        ("Addresses in its book.", "number_of_addresses = 0")),
    one("customer_cities", Field::Cities, Kind::List, &[Mark::Addresses], ROWS,
        ("Cities of its addresses.", "customer_cities CONTAINS 'Đà Nẵng'")),
    one("customer_regions", Field::Regions, Kind::List, &[Mark::Addresses], ROWS,
        ("Regions of its addresses, as they are written and by their codes of ISO 3166-2.", "customer_regions CONTAINS 'US-NY'")),
    one("customer_postal_codes", Field::PostalCodes, Kind::List, &[Mark::Addresses], ROWS,
        ("Postal codes of its addresses.", "customer_postal_codes CONTAINS '10115'")),
    one("customer_countries", Field::Countries, Kind::List, &[Mark::Addresses], ROWS,
        ("Countries of its addresses, ISO 3166-1 alpha-2.", "customer_countries CONTAINS 'VN'")),
    one("wishlist_items", Field::WishlistItems, Kind::Count, &[Mark::Wishlists], ROWS,
        ("Items on its wishlists together.", "wishlist_items >= 5")),
    one("number_of_orders", Field::NumberOfOrders, Kind::Count, &[Mark::Orders], ROWS,
        ("Orders that were not cancelled, in all currencies.", "number_of_orders >= 2")),
    Attribute::of("amount_spent", Template::Spent, Kind::Money)
        .marked(&[Mark::Orders])
        .told("What was paid for them and kept, in the currency of record; in another one: `amount_spent.EUR`. In the main unit: 99.50.",
            "amount_spent > 500"),
    Attribute::of("average_order_value", Template::Average, Kind::Money)
        .marked(&[Mark::Orders])
        .absent("without orders in the currency")
        .told("That by the number of orders, to the nearest minor unit; in another currency: `average_order_value.EUR`.",
            "average_order_value >= 80"),
    one("first_order_date", Field::FirstOrderAt, Kind::Moment, &[Mark::Orders], ROWS,
        ("When the first of them was placed, in any currency.", "first_order_date >= -30d")).absent("without orders"),
    one("last_order_date", Field::LastOrderAt, Kind::Moment, &[Mark::Orders], ROWS,
        ("When the last one was.", "last_order_date < -6m")).absent("without orders"),
    one("rfm_group", Field::RfmGroup, Kind::Choice(GROUPS), &[Mark::Orders, Mark::CutPoints], ROW,
        ("The group that recency, frequency and value of its orders in the currency of record come to.", "rfm_group IN ('champions', 'loyal')"))
        .absent("without orders in the currency of record").timed(),
];

/// Those whose value is not a part of the customer's rows alone.
#[rustfmt::skip]
pub static COMPUTED: [Attribute; 2] = [
    one("predicted_spend_tier", Field::SpendTier, Kind::Choice(TIERS), &[Mark::Orders, Mark::Models], ROWS,
        ("The tier of its predicted lifetime value, by the newest models and as of their date.", "predicted_spend_tier = 'top'"))
        .absent("without orders in the currency of record"),
    Attribute::of("custom", Template::Custom, Kind::Custom)
        .absent("who hold no value of it")
        .told("A custom attribute, `custom.<key>`, of the type of its definition.", "custom.shoe_size >= 42"),
];

/// All entries of the list.
pub fn all() -> impl Iterator<Item = &'static Attribute> {
    ATTRIBUTES.iter().chain(&COMPUTED)
}

/// What conditions ask of several facts at once.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Function {
    OrdersPlaced,
    ProductsPurchased,
    SignedIn,
}

/// What a parameter of a function restricts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Param {
    Date,
    Amount,
    Status,
    Sku,
    Quantity,
    /// Of which currency; not a test of its own.
    Currency,
    /// How many facts match.
    Count,
    SumAmount,
    SumQuantity,
}

impl Param {
    pub fn name(self) -> &'static str {
        match self {
            Self::Date => "date",
            Self::Amount => "amount",
            Self::Status => "status",
            Self::Sku => "sku",
            Self::Quantity => "quantity",
            Self::Currency => "currency",
            Self::Count => "count",
            Self::SumAmount => "sum_amount",
            Self::SumQuantity => "sum_quantity",
        }
    }

    pub fn kind(self) -> Kind {
        match self {
            Self::Date => Kind::Moment,
            Self::Amount | Self::SumAmount => Kind::Money,
            Self::Status => Kind::Choice(ORDER_STATUSES),
            Self::Sku | Self::Currency => Kind::Text,
            Self::Quantity | Self::Count | Self::SumQuantity => Kind::Count,
        }
    }
}

/// An entry of the list of functions.
#[derive(Debug)]
pub struct FunctionEntry {
    pub name: &'static str,
    pub function: Function,
    pub params: &'static [Param],
    pub mark: Mark,
    pub cost: u32,
    pub about: &'static str,
    pub example: &'static str,
}

/// All functions.
pub static FUNCTIONS: [FunctionEntry; 3] = [
    FunctionEntry {
        name: "orders_placed",
        function: Function::OrdersPlaced,
        params: &[
            Param::Date,
            Param::Amount,
            Param::Status,
            Param::Sku,
            Param::Currency,
            Param::Count,
            Param::SumAmount,
        ],
        mark: Mark::Orders,
        cost: 20,
        about: "Orders: all that were not cancelled, or those of the statuses that are asked for. Amounts are what was paid and kept, and are of orders in the currency of record unless another one is named. An order has the skus of its items.",
        example: "orders_placed MATCHES (date >= -90d, sum_amount > 200, count >= 2)",
    },
    FunctionEntry {
        name: "products_purchased",
        function: Function::ProductsPurchased,
        params: &[Param::Sku, Param::Quantity, Param::Date, Param::Count, Param::SumQuantity],
        mark: Mark::Orders,
        cost: 30,
        about: "Products in orders that were not cancelled, each order's apart.",
        example: "products_purchased MATCHES (sku IN ('tee-1', 'tee-2'), date >= -30d, sum_quantity >= 3)",
    },
    FunctionEntry {
        name: "signed_in",
        function: Function::SignedIn,
        params: &[Param::Date, Param::Count],
        mark: Mark::SignIn,
        cost: 20,
        about: "Sign-ins, as far back as the audit trail goes.",
        example: "signed_in MATCHES (date >= -30d, count >= 5)",
    },
];
