//! `GET /v1/admin/customers`: staff's search.

use super::customer_view::CustomerView;
use super::field::FieldFault;
use super::pages::{Page, PageRequest};
use super::principal::{CustomersRead, Staff};
use super::problem::Problem;
use super::query::{Parameter, Query};
use super::services::Services;
use super::values::PageParams;
use crate::db;
use crate::db::customer_search::{Filter, Held, Word};
use crate::domain::Fault;
use crate::domain::attribute::{AttributeKey, Definition, Part};
use crate::domain::customer::GroupCode;
use crate::domain::email::EmailAddress;
use crate::domain::ids::SegmentId;
use crate::domain::phone::PhoneNumber;
use crate::domain::segment::record::SegmentName;
use crate::domain::status::Status;
use crate::domain::text::{Label, line};
use actix_web::web::{self, Data};
use actix_web::{HttpRequest, get};
use chrono::{DateTime, Utc};
use serde_json::{Map, Value};
use unicode_normalization::UnicodeNormalization;
use utoipa::IntoParams;
use utoipa_actix_web::service_config::ServiceConfig;
use uuid::Uuid;

pub fn routes(cfg: &mut ServiceConfig) {
    cfg.service(list);
}

/// What the list may be asked for; every condition must hold.
#[derive(IntoParams)]
#[into_params(parameter_in = Query)]
#[expect(dead_code, reason = "describes parameters; `filter` reads them")]
struct FilterParams {
    /// Words, all of which must be found where a first name, a last name or the e-mail address
    /// begins, whatever their accents and case: `nguyen` finds Nguyễn. A word after `*` is found
    /// anywhere in them (`*guye`) and needs three characters. At most 5 words, 100 characters.
    #[param(required = false, example = "nguyen anh")]
    q: Option<String>,
    /// The whole e-mail address, in any spelling.
    #[param(required = false, example = "anh@example.org")]
    email: Option<String>,
    /// With country code; `+` is written `%2B`.
    #[param(required = false, example = "+84912345678")]
    phone: Option<String>,
    /// `pending`, `active`, `inactive`, `suspended` or `deletion_scheduled`.
    #[param(required = false)]
    status: Option<String>,
    /// The code of a group.
    #[param(required = false)]
    group: Option<String>,
    #[param(required = false)]
    tag: Option<String>,
    /// The code or the id of a segment that the customer must belong to.
    #[param(required = false, example = "regulars")]
    segment: Option<String>,
    /// The key of a custom attribute of which a value must be held, whichever.
    #[param(required = false, example = "shoe_size")]
    has_attribute: Option<String>,
    /// Created at this instant or later (RFC 3339).
    #[param(required = false, example = "2026-01-01T00:00:00Z")]
    created_from: Option<DateTime<Utc>>,
    /// Created before this instant.
    #[param(required = false)]
    created_to: Option<DateTime<Utc>>,
}

const STATUSES: [(&str, Status); 5] = [
    ("pending", Status::Pending),
    ("active", Status::Active),
    ("inactive", Status::Inactive),
    ("suspended", Status::Suspended),
    ("deletion_scheduled", Status::DeletionScheduled),
];

fn filter(query: &mut Query<'_>) -> Filter {
    Filter {
        // filled in once they are looked up
        attributes: Vec::new(),
        segment: None,
        words: query.optional("q", words).unwrap_or_default(),
        email: query.optional("email", |raw| {
            text(raw, EmailAddress::parse).map(|email| email.canonical().to_owned())
        }),
        phone: query.optional("phone", |raw| {
            text(raw, PhoneNumber::parse).map(|phone| phone.as_str().to_owned())
        }),
        status: query.optional("status", |raw| raw.one_of(&STATUSES)),
        group: query.optional("group", |raw| {
            text(raw, GroupCode::parse).map(|group| group.as_str().to_owned())
        }),
        tag: query.optional("tag", |raw| text(raw, |tag| line(tag, Label::MAX))),
        created_from: query.optional("created_from", Parameter::instant),
        created_to: query.optional("created_to", Parameter::instant),
    }
}

/// What is asked for of custom attributes, before their definitions are known.
#[derive(Default)]
struct Asked {
    /// Each with the text of the value that it must have.
    values: Vec<(AttributeKey, String)>,
    /// One of which any value will do.
    held: Option<AttributeKey>,
}

/// Before the key of a custom attribute.
const ATTRIBUTE: &str = "attribute.";
/// Most attributes in one question.
const ATTRIBUTES_MAX: usize = 5;

/// The attributes that a query asks for, whatever they are.
fn attributes(query: &mut Query<'_>) -> Asked {
    let held = query.optional("has_attribute", |raw| {
        AttributeKey::parse(raw.text()).map_err(|_| unknown_attribute())
    });
    let mut values = Vec::new();
    for (key, text) in query.beginning(ATTRIBUTE) {
        let room = values.len() < ATTRIBUTES_MAX;
        match AttributeKey::parse(key) {
            Ok(key) if room => values.push((key, text.text().to_owned())),
            Ok(_) => {
                let detail = format!("At most {ATTRIBUTES_MAX} attributes.");
                query.refuse_one_of(ATTRIBUTE, key, FieldFault::new("too_many", detail));
            }
            // what cannot be a key is nobody's
            Err(_) => query.refuse_one_of(ATTRIBUTE, key, unknown_attribute()),
        }
    }
    Asked { values, held }
}

fn unknown_attribute() -> FieldFault {
    FieldFault::new("unknown_attribute", "There is no attribute of this key.")
}

/// Reads the definitions of the attributes that are asked for, and by them the values.
///
/// # Errors
/// 422 with each that is unknown, not searchable, or whose value is of another type.
async fn look_up(services: &Services, asked: Asked) -> Result<Vec<(Part, Held)>, Problem> {
    let named = asked.values.iter().map(|(key, _)| key).chain(&asked.held);
    let keys: Vec<_> = named.map(|key| key.as_str().to_owned()).collect();
    if keys.is_empty() {
        return Ok(Vec::new());
    }
    let read = services.database.read(move |connection| {
        let keys = keys.clone();
        Box::pin(async move { db::attributes::find_many(connection, &keys).await })
    });
    let definitions = read.await?;
    let defined = |key: &AttributeKey| definitions.iter().find(|one| one.key == *key);
    let (mut profile, mut preferences) = (Map::new(), Map::new());
    let (mut conditions, mut faults) = (Vec::new(), Vec::new());
    for (key, text) in asked.values {
        match value_sought(defined(&key), &text) {
            Ok((Part::Profile, value)) => {
                profile.insert(key.as_str().to_owned(), value);
            }
            Ok((Part::Preferences, value)) => {
                preferences.insert(key.as_str().to_owned(), value);
            }
            Err(fault) => faults.push(fault.of_parameter(format!("{ATTRIBUTE}{}", key.as_str()))),
        }
    }
    if let Some(key) = asked.held {
        // Also of one that is not searchable: who wants it gone must find its values.
        match defined(&key) {
            Some(one) => conditions.push((one.part, Held::Any(key.as_str().to_owned()))),
            None => faults.push(unknown_attribute().of_parameter("has_attribute")),
        }
    }
    if !faults.is_empty() {
        return Err(Problem::invalid(faults));
    }
    // All of one part in one condition, which is one step into its index.
    let parts = [(Part::Profile, profile), (Part::Preferences, preferences)];
    let parts = parts.into_iter().filter(|(_, values)| !values.is_empty());
    conditions.extend(parts.map(|(part, values)| (part, Held::These(values))));
    Ok(conditions)
}

/// Whom the segment is that is asked for.
///
/// # Errors
/// 422 where there is none of this name.
async fn find_segment(
    services: &Services,
    name: Option<SegmentName>,
) -> Result<Option<SegmentId>, Problem> {
    let Some(name) = name else { return Ok(None) };
    let read = services.database.read(move |connection| {
        let name = name.clone();
        Box::pin(async move { db::segment_book::find(connection, &name).await })
    });
    let found = read.await?.map(|segment| segment.id);
    let unknown = || Problem::invalid(vec![unknown_segment().of_parameter("segment")]);
    found.map(Some).ok_or_else(unknown)
}

fn unknown_segment() -> FieldFault {
    FieldFault::new("unknown_segment", "There is no segment of this name.")
}

fn value_sought(definition: Option<&Definition>, text: &str) -> Result<(Part, Value), FieldFault> {
    let definition = definition.ok_or_else(unknown_attribute)?;
    if !definition.searchable {
        return Err(FieldFault::new("not_searchable", "The attribute is not searchable."));
    }
    Ok((definition.part, definition.rule.sought(text)?))
}

/// The most that `q` may hold.
const QUERY_MAX: usize = 100;
const WORDS_MAX: usize = 5;
/// What the index of trigrams needs to be of use.
const ANYWHERE_MIN: usize = 3;

/// The words of `q`. In its compatibility form, in which also the column is folded.
fn words(raw: Parameter<'_>) -> Result<Vec<Word>, FieldFault> {
    let text: String = line(raw.text(), QUERY_MAX)?.nfkc().collect();
    let words: Vec<Word> = text
        .split_whitespace()
        .map(|word| match word.strip_prefix('*') {
            Some(inner) => Word { text: inner.to_owned(), anywhere: true },
            None => Word { text: word.to_owned(), anywhere: false },
        })
        .collect();
    if words.len() > WORDS_MAX {
        return Err(FieldFault::new("too_long", format!("At most {WORDS_MAX} words.")));
    }
    if words.iter().any(|word| word.anywhere && word.text.chars().count() < ANYWHERE_MIN) {
        let detail = format!("At least {ANYWHERE_MIN} characters after *.");
        return Err(FieldFault::new("too_short", detail));
    }
    Ok(words)
}

fn text<T>(
    raw: Parameter<'_>,
    parse: impl FnOnce(&str) -> Result<T, Fault>,
) -> Result<T, FieldFault> {
    parse(raw.text()).map_err(Into::into)
}

/// Customers, newest first. Of custom attributes those that are searchable can be asked for by
/// `attribute.<key>=<value>`, as in `attribute.shoe_size=42`, at most five of them: the value must be
/// the same, or in the list.
#[utoipa::path(
    tag = "customers",
    security(("staff" = ["customers:read"])),
    params(FilterParams, PageParams),
    responses((status = 200, body = Page<CustomerView>))
)]
#[get("/v1/admin/customers")]
async fn list(
    _staff: Staff<CustomersRead>,
    request: HttpRequest,
    services: Data<Services>,
) -> Result<web::Json<Page<CustomerView>>, Problem> {
    let (page, mut filter, asked, segment) = Query::read(request.query_string(), |query| {
        let page = PageRequest::<(DateTime<Utc>, Uuid)>::read(query, "customers");
        let (filter, asked) = (filter(query), attributes(query));
        let segment = query
            .optional("segment", |raw| SegmentName::parse(raw.text()).ok_or_else(unknown_segment));
        Some((page?, filter, asked, segment))
    })?;
    filter.attributes = look_up(&services, asked).await?;
    filter.segment = find_segment(&services, segment).await?;
    let (after, limit) = (page.after, page.fetch());
    let read = services.lists.read(move |connection| {
        let filter = filter.clone();
        Box::pin(async move { db::customer_search::page(connection, &filter, after, limit).await })
    });
    let position =
        |customer: &crate::domain::customer::Customer| (customer.created_at, customer.id.0);
    Ok(web::Json(page.page(read.await?, position, CustomerView::from)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn told(read: Result<Filter, Problem>) -> Vec<(String, &'static str)> {
        let problem = read.err().unwrap();
        let errors = problem.errors().iter();
        errors.map(|error| (error.parameter.clone().unwrap_or_default(), error.code)).collect()
    }

    fn pairs(expected: &[(&str, &'static str)]) -> Vec<(String, &'static str)> {
        expected.iter().map(|(parameter, code)| ((*parameter).to_owned(), *code)).collect()
    }

    #[test]
    fn filters_are_parsed_as_the_values_they_look_for() {
        let read = |query: &str| Query::read(query, |query| Some(filter(query)));
        let filter = read(
            "email=ANH%40Example.org&phone=%2B84%20912%20345%20678&status=active&group=vip\
             &tag=a%20%20b&q=Nguy%E1%BB%85n%20*anh&created_from=2026-01-01T07:00:00%2B07:00",
        )
        .unwrap();
        assert_eq!(filter.email.as_deref(), Some("anh@example.org"));
        assert_eq!(filter.phone.as_deref(), Some("+84912345678"));
        assert_eq!(filter.status, Some(Status::Active));
        assert_eq!(filter.tag.as_deref(), Some("a b"));
        let words: Vec<_> = filter.words.iter().map(|it| (it.text.as_str(), it.anywhere)).collect();
        assert_eq!(words, [("Nguyễn", false), ("anh", true)]);
        assert_eq!(filter.created_from.unwrap().to_rfc3339(), "2026-01-01T00:00:00+00:00");
        assert_eq!(
            told(read("email=x&phone=1&status=erased&group=A%20B&tag=&created_to=today&q=*ab&w=x")),
            pairs(&[
                ("q", "too_short"),
                ("email", "invalid_email"),
                ("phone", "invalid_phone"),
                ("status", "unknown_value"),
                ("group", "invalid_group"),
                ("tag", "required"),
                ("created_to", "malformed"),
                ("w", "unknown_parameter"),
            ])
        );
    }

    #[test]
    fn attributes_are_asked_for_by_key() {
        let read = |query: &str| Query::read(query, |query| Some(attributes(query)));
        let asked = read("attribute.size=L%20%20x&has_attribute=tier&attribute.points=7").unwrap();
        assert_eq!(asked.held, AttributeKey::parse("tier").ok());
        let asked: Vec<_> =
            asked.values.iter().map(|(key, text)| (key.as_str(), text.as_str())).collect();
        assert_eq!(asked, [("size", "L  x"), ("points", "7")]);
        let many: String = (0..6).map(|n| format!("attribute.a{n}=1&")).collect();
        for (query, expected) in [
            ("attribute.=1", ("attribute.", "unknown_attribute")),
            ("attribute.Size=1", ("attribute.Size", "unknown_attribute")),
            ("attribute=1", ("attribute", "unknown_parameter")),
            ("has_attribute=A", ("has_attribute", "unknown_attribute")),
            (many.as_str(), ("attribute.a5", "too_many")),
        ] {
            let faults = read(query).err().unwrap();
            let fault = &faults.errors()[0];
            assert_eq!((fault.parameter.as_deref().unwrap(), fault.code), expected, "{query}");
        }
    }

    #[test]
    fn values_are_sought_by_what_they_are_defined_as() {
        use crate::domain::attribute::{Audience, Kind, Limits, Rule};
        let defined = |kind, searchable| Definition {
            id: crate::domain::ids::AttributeId(Uuid::nil()),
            key: AttributeKey::parse("a").unwrap(),
            part: Part::Preferences,
            rule: Rule::new(kind, Limits::default()).unwrap(),
            write: Audience::Staff,
            read: Audience::Staff,
            title: Label::parse("A").unwrap(),
            description: None,
            searchable,
            created_at: DateTime::UNIX_EPOCH,
            updated_at: DateTime::UNIX_EPOCH,
            version: 1,
        };
        let sought = |definition: Option<Definition>, text| {
            value_sought(definition.as_ref(), text).map_err(|fault| fault.code)
        };
        let seven = sought(Some(defined(Kind::Integer, true)), "7");
        assert_eq!(seven, Ok((Part::Preferences, Value::from(7))));
        assert_eq!(sought(Some(defined(Kind::Integer, true)), "x"), Err("malformed"));
        assert_eq!(sought(Some(defined(Kind::Integer, false)), "7"), Err("not_searchable"));
        assert_eq!(sought(None, "7"), Err("unknown_attribute"));
    }
}
