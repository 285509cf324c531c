//! A customer as answers show it, and the parts that `?expand=` adds, read in one round trip.

use super::addresses::AddressView;
use super::conditional::etag;
use super::consents::{ConsentView, page as consents_page};
use super::custom_values::keep_shown;
use super::notes::NoteView;
use super::orders::StatsView;
use super::pages::{LIMIT_DEFAULT, Page, PageRequest};
use super::preferences::PreferencesView;
use super::problem::Problem;
use super::profile::ProfileView;
use super::query::Query;
use super::rejections::unexpected;
use super::services::{Services, note_replay};
use super::sessions::SessionView;
use super::social::IdentityView;
use super::wishlists::view::WishlistView;
use crate::actors::customers::Answered;
use crate::db;
use crate::db::segment_members::Member;
use crate::db::whole::{Parts, Whole};
use crate::domain::customer::Customer;
use crate::domain::outcome::{Outcome, Rejection};
use crate::domain::{CustomerId, SessionId};
use actix_web::{HttpResponse, HttpResponseBuilder};
use chrono::{DateTime, Utc};
use serde::Serialize;
use utoipa::ToSchema;
use uuid::Uuid;

/// A customer.
#[derive(Serialize, ToSchema)]
#[schema(as = Customer)]
pub struct CustomerView {
    pub id: Uuid,
    #[schema(example = "anh@example.org")]
    pub email: String,
    pub email_verified: bool,
    /// E.164.
    #[schema(example = "+84912345678")]
    pub phone: Option<String>,
    pub phone_verified: bool,
    #[schema(example = "Thị Ánh")]
    pub first_name: String,
    #[schema(example = "Nguyễn")]
    pub last_name: String,
    /// `individual` or `business`.
    #[schema(example = "individual")]
    pub customer_type: &'static str,
    #[schema(example = "individual")]
    pub group: String,
    /// `pending`, `active`, `inactive`, `suspended`, `deletion_scheduled` or `erased`.
    #[schema(example = "active")]
    pub status: &'static str,
    pub tags: Vec<String>,
    pub accepts_marketing: bool,
    pub last_sign_in_at: Option<DateTime<Utc>>,
    pub created_at: DateTime<Utc>,
    pub updated_at: DateTime<Utc>,
    /// Rises with each change of the customer, its profile or its preferences; the `ETag`.
    pub version: i64,
    /// With `?expand=profile`.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(required = false)]
    pub profile: Option<ProfileView>,
    /// With `?expand=preferences`.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(required = false)]
    pub preferences: Option<PreferencesView>,
    /// With `?expand=addresses`: all of them, in the order of their creation.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(required = false)]
    pub addresses: Option<Vec<AddressView>>,
    /// With `?expand=wishlists`: the first page of `…/wishlists`, where its cursor leads on.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(required = false)]
    pub wishlists: Option<Page<WishlistView>>,
    /// With `?expand=consents`: the first page of `…/consents`.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(required = false)]
    pub consents: Option<Page<ConsentView>>,
    /// With `?expand=identities`: all of them, one of each provider at most.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(required = false)]
    pub identities: Option<Vec<IdentityView>>,
    /// With `?expand=sessions`: the first page of `…/sessions`.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(required = false)]
    pub sessions: Option<Page<SessionView>>,
    /// With `?expand=stats`: what the customer's orders come to.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(required = false)]
    pub stats: Option<StatsView>,
    /// With `?expand=segments`: all that the customer belongs to, in the order of their codes.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(required = false)]
    pub segments: Option<Vec<OfSegment>>,
    /// With `?expand=notes`, for staff: the first page of `…/notes`.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(required = false)]
    pub notes: Option<Page<NoteView>>,
}

impl From<Customer> for CustomerView {
    fn from(customer: Customer) -> CustomerView {
        CustomerView {
            id: customer.id.0,
            email: customer.email.as_str().to_owned(),
            email_verified: customer.email_verified_at.is_some(),
            phone: customer.phone.map(|phone| phone.as_str().to_owned()),
            phone_verified: customer.phone_verified_at.is_some(),
            first_name: customer.first_name.as_str().to_owned(),
            last_name: customer.last_name.as_str().to_owned(),
            customer_type: customer.customer_type.as_str(),
            group: customer.group.as_str().to_owned(),
            status: customer.status.as_str(),
            tags: customer.tags.as_slice().to_vec(),
            accepts_marketing: customer.accepts_marketing,
            last_sign_in_at: customer.last_sign_in_at,
            created_at: customer.created_at,
            updated_at: customer.updated_at,
            version: customer.version,
            profile: None,
            preferences: None,
            addresses: None,
            wishlists: None,
            consents: None,
            identities: None,
            sessions: None,
            stats: None,
            segments: None,
            notes: None,
        }
    }
}

/// A segment that a customer belongs to.
#[derive(Serialize, ToSchema)]
#[schema(as = CustomerSegment)]
pub struct OfSegment {
    pub segment_id: Uuid,
    /// Its code.
    #[schema(example = "regulars")]
    pub segment: String,
    /// Since when without a break.
    pub since: DateTime<Utc>,
}

impl From<Member> for OfSegment {
    fn from(member: Member) -> Self {
        Self {
            segment_id: member.segment_id.0,
            segment: member.code.as_str().to_owned(),
            since: member.held.since,
        }
    }
}

/// Who looks at a customer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Viewer {
    /// The customer itself, in this session.
    Owner(SessionId),
    Staff,
}

impl CustomerView {
    /// The customer with its parts. Lists that may go on are the first page of their own routes,
    /// whose cursors lead on there.
    fn of_whole(mut whole: Whole, viewer: Viewer, services: &Services) -> CustomerView {
        if viewer != Viewer::Staff {
            let shown = whole.shown_attributes.take().unwrap_or_default();
            let profile = whole.profile.as_mut().map(|profile| &mut profile.custom);
            let preferences = whole.preferences.as_mut().map(|preferences| &mut preferences.custom);
            profile.into_iter().chain(preferences).for_each(|custom| keep_shown(custom, &shown));
        }
        let (session, sessions) = match viewer {
            Viewer::Owner(session) => (Some(session), "sessions"),
            Viewer::Staff => (None, "customer_sessions"),
        };
        let wishlist = |list| match viewer {
            Viewer::Owner(_) => WishlistView::to_owner(list, &services.sharing),
            Viewer::Staff => WishlistView::to_staff(list),
        };
        let wishlists =
            whole.wishlists.map(|all| first("wishlists", all, |list| list.id.0, wishlist));
        let session = |one| SessionView::new(one, session);
        let sessions = whole.sessions.map(|all| first(sessions, all, |one| one.id.0, session));
        let notes =
            whole.notes.map(|all| first("customer_notes", all, |note| note.id.0, NoteView::from));
        let consents = whole.consents.map(|consents| {
            let page = PageRequest { list: "consents", limit: LIMIT_DEFAULT, after: None };
            consents_page(&page, &consents, &services.purposes)
        });
        let identities = whole.identities.map(|all| all.into_iter().map(Into::into).collect());
        let addresses = whole.addresses.map(|all| all.into_iter().map(Into::into).collect());
        CustomerView {
            profile: whole.profile.map(Into::into),
            preferences: whole.preferences.map(Into::into),
            addresses,
            wishlists,
            consents,
            identities,
            sessions,
            stats: whole.stats.map(StatsView::new),
            segments: whole.segments.map(|all| all.into_iter().map(Into::into).collect()),
            notes,
            ..whole.customer.into()
        }
    }
}

/// The first page of a list, as its own route gives it by default.
fn first<R, T>(
    list: &'static str,
    rows: Vec<R>,
    position: impl Fn(&R) -> Uuid,
    item: impl FnMut(R) -> T,
) -> Page<T> {
    PageRequest { list, limit: LIMIT_DEFAULT, after: None }.page(rows, position, item)
}

#[derive(Clone, Copy)]
enum Part {
    Profile,
    Preferences,
    Addresses,
    Wishlists,
    Consents,
    Identities,
    Sessions,
    Stats,
    Segments,
    Notes,
}

/// The last is for staff alone.
const PARTS: [(&str, Part); 10] = [
    ("profile", Part::Profile),
    ("preferences", Part::Preferences),
    ("addresses", Part::Addresses),
    ("wishlists", Part::Wishlists),
    ("consents", Part::Consents),
    ("identities", Part::Identities),
    ("sessions", Part::Sessions),
    ("stats", Part::Stats),
    ("segments", Part::Segments),
    ("notes", Part::Notes),
];

/// Reads from a query string which parts to add.
///
/// # Errors
/// 422 that names the parts there are.
pub fn expand(query: &str, viewer: Viewer) -> Result<Parts, Problem> {
    let known = match viewer {
        Viewer::Staff => &PARTS[..],
        Viewer::Owner(_) => &PARTS[..PARTS.len() - 1],
    };
    let words = Query::read(query, |query| {
        Some(query.optional("expand", |raw| raw.words(known)).unwrap_or_default())
    })?;
    let mut parts = Parts::default();
    for word in words {
        match word {
            Part::Profile => parts.profile = true,
            Part::Preferences => parts.preferences = true,
            Part::Addresses => parts.addresses = true,
            Part::Wishlists => parts.wishlists = true,
            Part::Consents => parts.consents = true,
            Part::Identities => parts.identities = true,
            Part::Sessions => parts.sessions = true,
            Part::Stats => parts.stats = true,
            Part::Segments => parts.segments = true,
            Part::Notes => parts.notes = true,
        }
    }
    let custom = parts.profile || parts.preferences;
    parts.shown_attributes = custom && viewer != Viewer::Staff;
    Ok(parts)
}

/// The answer to a read of a customer. Never 304: the time of the last sign-in changes, as
/// addresses do, without a new version.
///
/// # Errors
/// 404 when there is no such living customer; those of the read.
pub async fn show(
    services: &Services,
    id: CustomerId,
    parts: Parts,
    viewer: Viewer,
) -> Result<HttpResponse, Problem> {
    let now = services.clock.now();
    let read = services.database.read(move |connection| {
        // one more than a page holds tells whether another follows
        let found = db::whole::find(connection, id, parts, now, LIMIT_DEFAULT + 1);
        Box::pin(found)
    });
    let whole = read.await?.ok_or(Rejection::NotFound)?;
    let view = CustomerView::of_whole(whole, viewer, services);
    Ok(HttpResponse::Ok().insert_header(etag(view.version)).json(view))
}

/// The answer to a change of a customer, or to a creation with `HttpResponse::Created`.
///
/// # Errors
/// 500 when the command came to something else than a customer.
pub fn answer(
    mut response: HttpResponseBuilder,
    answered: Answered,
) -> Result<HttpResponse, Problem> {
    note_replay(&mut response, &answered);
    match answered.outcome {
        Outcome::Customer(customer) => {
            response.insert_header(etag(customer.version));
            Ok(response.json(CustomerView::from(*customer)))
        }
        other => Err(unexpected(&other)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const OWNER: Viewer = Viewer::Owner(SessionId(Uuid::nil()));

    #[test]
    fn parts_are_named_between_commas() {
        let parts = |query: &str| expand(query, Viewer::Staff).unwrap();
        assert_eq!(parts(""), Parts::default());
        let two = Parts { profile: true, addresses: true, ..Parts::default() };
        assert_eq!(parts("expand=profile,addresses"), two);
        assert_eq!(parts("expand=addresses%2Cprofile,profile"), two);
        let all: Vec<_> = PARTS.iter().map(|(name, _)| *name).collect();
        let all = parts(&format!("expand={}", all.join(",")));
        assert_eq!(all, Parts { shown_attributes: false, ..Parts::ALL });
        // the owner's eyes: by which attributes it may see
        let own = expand("expand=profile", OWNER).unwrap();
        assert_eq!(own, Parts { profile: true, shown_attributes: true, ..Parts::default() });
        assert!(!expand("expand=sessions", OWNER).unwrap().shown_attributes);
    }

    #[test]
    fn an_unknown_part_is_refused_with_those_there_are() {
        for query in ["expand=segment", "expand=", "expand=profile,", "expand=Profile"] {
            for viewer in [OWNER, Viewer::Staff] {
                let problem = expand(query, viewer).unwrap_err();
                assert_eq!(problem.status(), 422, "{query}");
                assert_eq!(problem.errors()[0].parameter.as_deref(), Some("expand"));
                let detail = &problem.errors()[0].detail;
                assert!(detail.contains("profile, preferences, addresses, wishlists, consents"));
                assert_eq!(detail.contains("notes"), viewer == Viewer::Staff);
            }
        }
        let notes = expand("expand=notes", OWNER).unwrap_err();
        assert_eq!(notes.errors()[0].code, "unknown_value");
        let misspelt = expand("expnd=profile", OWNER).unwrap_err();
        assert_eq!(misspelt.errors()[0].code, "unknown_parameter");
    }
}
