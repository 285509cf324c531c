//! `/v1/me`: the signed-in customer's own record.

use super::body::JsonBody;
use super::conditional::IfMatch;
use super::customer_view::{self, CustomerView, Viewer};
use super::form::Form;
use super::principal::Owner;
use super::problem::Problem;
use super::request_id::RequestIdentity;
use super::services::Services;
use super::values::{ExpandParam, IfMatchParam, given, parsed};
use crate::domain::command::{Command, CustomerChange};
use crate::domain::text::PersonName;
use actix_web::web::Data;
use actix_web::{HttpRequest, HttpResponse, get, patch};
use utoipa::ToSchema;
use utoipa_actix_web::service_config::ServiceConfig;

pub fn routes(cfg: &mut ServiceConfig) {
    cfg.service(show).service(change);
}

/// A change of one's own record. Status, group and the like are the shop's; e-mail address and
/// phone number change by confirmation.
#[derive(ToSchema)]
pub struct MePatch {
    #[schema(nullable = false, value_type = Option<String>, max_length = 100, example = "Thị Ánh")]
    first_name: Option<PersonName>,
    #[schema(nullable = false, value_type = Option<String>, max_length = 100, example = "Nguyễn")]
    last_name: Option<PersonName>,
    /// Consent to marketing: `true` grants the channels that the shop has configured for it, `false`
    /// withdraws all. `/v1/me/consents/marketing` does the same channel by channel.
    #[schema(nullable = false)]
    accepts_marketing: Option<bool>,
}

impl MePatch {
    pub(super) fn read(form: &mut Form<'_>) -> Option<MePatch> {
        let first_name = form.patch_required("first_name", |raw| parsed(raw, PersonName::parse));
        let last_name = form.patch_required("last_name", |raw| parsed(raw, PersonName::parse));
        let accepts_marketing = form.patch_required("accepts_marketing", |raw| raw.boolean());
        Some(MePatch {
            first_name: given(first_name),
            last_name: given(last_name),
            accepts_marketing: given(accepts_marketing),
        })
    }
}

/// Who I am.
#[utoipa::path(
    tag = "me",
    security(("customer" = [])),
    params(ExpandParam),
    responses((status = 200, body = CustomerView))
)]
#[get("/v1/me")]
async fn show(
    owner: Owner,
    request: HttpRequest,
    services: Data<Services>,
) -> Result<HttpResponse, Problem> {
    let viewer = Viewer::Owner(owner.session_id);
    let parts = customer_view::expand(request.query_string(), viewer)?;
    customer_view::show(&services, owner.customer_id, parts, viewer).await
}

/// Changes my name or whether I accept marketing.
#[utoipa::path(
    tag = "me",
    security(("customer" = [])),
    params(IfMatchParam),
    request_body = MePatch,
    responses((status = 200, body = CustomerView))
)]
#[patch("/v1/me")]
async fn change(
    owner: Owner,
    on: IfMatch,
    body: JsonBody,
    identity: RequestIdentity,
    services: Data<Services>,
) -> Result<HttpResponse, Problem> {
    let patch = body.read(MePatch::read)?;
    let change = CustomerChange {
        first_name: patch.first_name,
        last_name: patch.last_name,
        marketing: patch.accepts_marketing.map(|accepts| services.purposes.marketing(accepts)),
        ..CustomerChange::default()
    };
    let command = Command::UpdateCustomer { change: Box::new(change), if_match: on.version()? };
    let answered = services.submit(&owner, &identity, owner.customer_id, command, None).await?;
    customer_view::answer(HttpResponse::Ok(), answered)
}
