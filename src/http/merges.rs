//! `/v1/admin/customers/merge`: two customers become one (rule L10), or what would come of it; and
//! for staff who ask for the one that is no more, who has what it had.

use super::body::JsonBody;
use super::catalogue::Code;
use super::conditional::IfMatch;
use super::field::FieldFault;
use super::form::Form;
use super::idempotency::IdempotencyHeader;
use super::principal::{CustomersWrite, Staff};
use super::problem::{Problem, ProblemDocument};
use super::rejections::unexpected;
use super::request_id::RequestIdentity;
use super::services::{Services, note_replay};
use super::values::{IdempotencyParam, IfMatchParam};
use crate::actors::customers::SubmitError;
use crate::db;
use crate::domain::command::{Command, MergeCommand, MergeMails, Subject};
use crate::domain::merge::{ConsentOutcome, Ended, MergeReport, Moved, Strictness};
use crate::domain::outcome::{Outcome, Rejection};
use crate::domain::{CustomerId, MailId};
use actix_web::web::Data;
use actix_web::{HttpRequest, HttpResponse, post};
use chrono::{DateTime, Utc};
use serde::Serialize;
use utoipa::ToSchema;
use utoipa_actix_web::service_config::ServiceConfig;
use uuid::Uuid;

pub fn routes(cfg: &mut ServiceConfig) {
    cfg.service(merge);
}

/// Which customer becomes one with which.
#[derive(ToSchema)]
pub struct MergeOrder {
    /// The one that ends: what it has moves.
    from: Uuid,
    /// The one that goes on: its address, password, group and status stay.
    into: Uuid,
    /// `true`: answers what would happen, and nothing does.
    #[schema(value_type = Option<bool>, default = false)]
    dry_run: bool,
}

impl MergeOrder {
    pub(super) fn read(form: &mut Form<'_>) -> Option<MergeOrder> {
        let from = form.required("from", |raw| raw.uuid());
        let into = form.required("into", |raw| raw.uuid());
        let dry_run = form.optional("dry_run", |raw| raw.boolean());
        if from.is_some() && from == into {
            let detail = "Must be another customer than the one in `into`.";
            form.refuse("from", FieldFault::new("same_customer", detail));
        }
        Some(MergeOrder { from: from?, into: into?, dry_run: dry_run.unwrap_or(false) })
    }
}

/// What a merge did, or with `dry_run` would do.
#[derive(Serialize, ToSchema)]
#[schema(as = Merge)]
pub struct MergeView {
    pub dry_run: bool,
    /// `null` for what has not happened.
    pub merged_at: Option<DateTime<Utc>>,
    pub from: Uuid,
    pub into: Uuid,
    /// Of `into`, once it is done.
    pub version: i64,
    pub moved: MovedView,
    /// Kinds (`shipping`, `billing`) of which `into` had no default address and takes that of `from`.
    pub defaults: Vec<&'static str>,
    /// Fields of `into` that take a value of `from`, or follow from what moves.
    #[schema(example = json!(["phone", "tags", "profile.company"]))]
    pub changed: Vec<String>,
    /// Fields in which both say something else: those of `into` stay, those of `from` do not move.
    #[schema(example = json!(["email", "first_name"]))]
    pub kept: Vec<String>,
    /// Purposes and channels about which the two did not say the same.
    pub consents: Vec<ConsentOutcomeView>,
    pub ended: EndedView,
}

/// What belongs to `into` then. Addresses, wishlists, items and notes keep their ids.
#[derive(Serialize, ToSchema)]
pub struct MovedView {
    pub addresses: Vec<Uuid>,
    pub wishlists: Vec<Uuid>,
    pub wishlist_items: usize,
    /// What they come to is added to the statistics of `into`.
    pub orders: usize,
    /// Providers at which a linked account comes along.
    #[schema(example = json!(["google"]))]
    pub identities: Vec<String>,
    pub notes: usize,
    /// Tags that `into` does not bear yet.
    pub tags: usize,
    /// Codes of static segments that `into` was not in.
    pub segments: Vec<String>,
}

/// What of `from` nobody has then: nobody signs in by it.
#[derive(Serialize, ToSchema)]
pub struct EndedView {
    pub password: bool,
    pub authenticator: bool,
    pub backup_codes: usize,
    pub passkeys: usize,
    pub sessions: usize,
    pub devices: usize,
    /// Links in mails that could still be used.
    pub open_links: usize,
    /// Providers at which `into` has an account of its own.
    pub identities: Vec<String>,
}

/// One purpose and channel.
#[derive(Serialize, ToSchema)]
pub struct ConsentOutcomeView {
    #[schema(example = "marketing")]
    pub purpose: String,
    #[schema(example = "email")]
    pub channel: &'static str,
    pub outcome: OutcomeWord,
}

/// Why it is as it then is. Granted is only what both had granted.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum OutcomeWord {
    /// `into` had granted it, `from` withdrawn it: withdrawn.
    WithdrawnByFrom,
    /// `into` had granted it, `from` never did: withdrawn.
    NeverGivenByFrom,
    /// `into` had said nothing, `from` no: refused.
    RefusedByFrom,
    /// `from` had granted it, `into` withdrawn it: it stays withdrawn.
    WithdrawnByInto,
    /// `from` had granted it, `into` never did: it is not granted.
    NeverGivenByInto,
}

impl MergeView {
    fn new(report: MergeReport, dry_run: bool) -> MergeView {
        MergeView {
            dry_run,
            merged_at: report.merged_at,
            from: report.from.0,
            into: report.into.0,
            version: report.version,
            moved: report.moved.into(),
            defaults: report.defaults.into_iter().map(|kind| kind.as_str()).collect(),
            changed: report.changed,
            kept: report.kept,
            consents: report.consents.into_iter().map(Into::into).collect(),
            ended: report.ended.into(),
        }
    }
}

impl From<Moved> for MovedView {
    fn from(moved: Moved) -> MovedView {
        MovedView {
            addresses: moved.addresses.into_iter().map(|id| id.0).collect(),
            wishlists: moved.wishlists.into_iter().map(|id| id.0).collect(),
            wishlist_items: moved.wishlist_items,
            orders: moved.orders,
            identities: moved.identities,
            notes: moved.notes,
            tags: moved.tags,
            segments: moved.segments.iter().map(|code| code.as_str().to_owned()).collect(),
        }
    }
}

impl From<Ended> for EndedView {
    fn from(ended: Ended) -> EndedView {
        EndedView {
            password: ended.password,
            authenticator: ended.authenticator,
            backup_codes: ended.backup_codes,
            passkeys: ended.passkeys,
            sessions: ended.sessions,
            devices: ended.devices,
            open_links: ended.open_links,
            identities: ended.identities,
        }
    }
}

impl From<ConsentOutcome> for ConsentOutcomeView {
    fn from(told: ConsentOutcome) -> ConsentOutcomeView {
        let outcome = match told.outcome {
            Strictness::WithdrawnByFrom => OutcomeWord::WithdrawnByFrom,
            Strictness::NeverGivenByFrom => OutcomeWord::NeverGivenByFrom,
            Strictness::RefusedByFrom => OutcomeWord::RefusedByFrom,
            Strictness::WithdrawnByInto => OutcomeWord::WithdrawnByInto,
            Strictness::NeverGivenByInto => OutcomeWord::NeverGivenByInto,
        };
        let (purpose, channel) = (told.purpose.as_str().to_owned(), told.channel.as_str());
        ConsentOutcomeView { purpose, channel, outcome }
    }
}

/// Merges two customers: what `from` has moves to `into`, and `from` is a deleted customer from then
/// on. It cannot be undone; with `dry_run` it says what would happen. A repetition is answered as the
/// first time.
///
/// `If-Match` names a version of `into`.
#[utoipa::path(
    tag = "customers",
    security(("staff" = ["customers:write"])),
    params(IdempotencyParam, IfMatchParam),
    request_body = MergeOrder,
    responses(
        (status = 200, body = MergeView),
        (status = 404, body = ProblemDocument, content_type = "application/problem+json",
            description = "There is no such customer as `from` or `into`; `merged_into` tells of one \
                that was merged"),
        (status = 409, body = ProblemDocument, content_type = "application/problem+json",
            description = "`merge_not_allowed`, `tag_limit_reached`, `idempotency_in_progress`")
    )
)]
#[post("/v1/admin/customers/merge")]
async fn merge(
    staff: Staff<CustomersWrite>,
    request: HttpRequest,
    on: IfMatch,
    body: JsonBody,
    identity: RequestIdentity,
    services: Data<Services>,
) -> Result<HttpResponse, Problem> {
    let MergeOrder { from, into, dry_run } = body.read(MergeOrder::read)?;
    let key = IdempotencyHeader::of(&request, &body.sha256)?;
    let new_mail = || MailId(services.clock.new_id());
    let mails = MergeMails { phone: new_mail(), identity: new_mail(), farewell: new_mail() };
    let command = MergeCommand { from: CustomerId(from), dry_run, if_match: on.version()?, mails };
    let subject = Subject::Customer(CustomerId(into));
    // What changes nothing is asked anew each time.
    let key = key.filter(|_| !dry_run);
    let submission = services.submission(subject, &staff, &identity, Command::Merge(command), key);
    let answered = match services.customers.submit(submission).await {
        Err(SubmitError::Rejected(Rejection::NoSuchCustomer { field })) => {
            let named = if field == "from" { from } else { into };
            let problem = Problem::from(Rejection::NoSuchCustomer { field });
            return Err(told_of_heir(&services, CustomerId(named), problem).await);
        }
        other => other?,
    };
    let mut response = HttpResponse::Ok();
    note_replay(&mut response, &answered);
    match answered.outcome {
        Outcome::Merged(report) => Ok(response.json(MergeView::new(*report, dry_run))),
        other => Err(unexpected(&other)),
    }
}

/// What staff was answered about a customer, who may be one with another by now.
pub(super) async fn followed<T>(
    services: &Services,
    id: CustomerId,
    answered: Result<T, Problem>,
) -> Result<T, Problem> {
    match answered {
        Err(problem) if problem.code() == Code::NotFound => {
            Err(told_of_heir(services, id, problem).await)
        }
        other => other,
    }
}

/// The answer to staff that there is no such customer.
pub(super) async fn absent(services: &Services, id: CustomerId) -> Problem {
    told_of_heir(services, id, Rejection::NotFound.into()).await
}

/// The same problem, with the customer that has what this one had, if there is one.
async fn told_of_heir(services: &Services, id: CustomerId, problem: Problem) -> Problem {
    let read = services
        .database
        .read(move |connection| Box::pin(async move { db::merges::heir(connection, id).await }));
    match read.await {
        Ok(Some(heir)) => problem.merged_into(heir.0),
        // That it is not there is known, and enough.
        Ok(None) | Err(_) => problem,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value, json};

    fn faults(body: Value) -> Vec<(String, &'static str)> {
        let problem = Form::read(&body, MergeOrder::read).err().unwrap();
        let told = |error: &super::super::problem::FieldError| {
            (error.pointer.clone().unwrap_or_default(), error.code)
        };
        problem.errors().iter().map(told).collect()
    }

    #[test]
    fn l10_bad_orders_are_refused_with_all_their_faults() {
        const ONE: &str = "0190b4a0-0000-7000-8000-000000000001";
        const TWO: &str = "0190b4a0-0000-7000-8000-000000000002";
        for (body, expected) in [
            (json!({}), vec![("#/from", "required"), ("#/into", "required")]),
            (json!({ "from": null, "into": ONE }), vec![("#/from", "required")]),
            (json!({ "from": ONE, "into": ONE }), vec![("#/from", "same_customer")]),
            (json!({ "from": ONE.to_uppercase(), "into": ONE }), vec![("#/from", "same_customer")]),
            (
                json!({ "from": 1, "into": [ONE] }),
                vec![("#/from", "wrong_type"), ("#/into", "wrong_type")],
            ),
            (
                json!({ "from": ONE.replace('-', ""), "into": "" }),
                vec![("#/from", "malformed"), ("#/into", "malformed")],
            ),
            (
                json!({ "from": ONE, "into": TWO, "dry_run": "yes", "force": true }),
                vec![("#/dry_run", "wrong_type"), ("#/force", "unknown_field")],
            ),
        ] {
            let expected: Vec<_> =
                expected.into_iter().map(|(place, code)| (place.to_owned(), code)).collect();
            assert_eq!(faults(body.clone()), expected, "{body}");
        }
        let sound = |body: Value| Form::read(&body, MergeOrder::read).unwrap();
        assert!(!sound(json!({ "from": ONE, "into": TWO })).dry_run);
        assert!(sound(json!({ "from": ONE, "into": TWO, "dry_run": true })).dry_run);
    }
}
