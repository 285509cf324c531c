//! `/v1/admin/customers/{id}/data_key`: the key that opens what is sealed in a customer's messages, for
//! services that may. Each answer is an entry of the audit trail.

use super::principal::{CustomersUnseal, Staff};
use super::problem::Problem;
use super::request_id::RequestIdentity;
use super::services::{Principal, Services};
use super::values::PathId;
use crate::domain::CustomerId;
use crate::domain::outcome::Rejection;
use crate::security::envelopes::ALGORITHM;
use actix_web::get;
use actix_web::web::{self, Data};
use serde::Serialize;
use utoipa::ToSchema;
use utoipa_actix_web::service_config::ServiceConfig;

pub fn routes(cfg: &mut ServiceConfig) {
    cfg.service(show);
}

/// What opens the `sealed` values in messages about one customer.
#[derive(Serialize, ToSchema)]
pub struct DataKeyView {
    /// As `sealed` names it. A customer has one key as long as it lives.
    #[schema(example = "9f1d6a3b70c2e845")]
    pub kid: String,
    /// AES-256 in GCM.
    #[schema(example = "A256GCM")]
    pub alg: &'static str,
    /// 32 bytes in base64url without padding. Not to be kept where backups are made of it.
    #[schema(example = "sQ1p0Yc2m8vJr5aX7tKdWb3Hf9Nz6Lq4Eg0Uo2Ti1Ry")]
    pub key: String,
}

/// The key that opens what is sealed in messages about a customer, also of one that is deleted. After the
/// erasure of the customer there is none any more: `404`, and nobody opens what was told. Keep it in
/// memory alone, and ask again when `sealed` names another.
#[utoipa::path(
    tag = "customers",
    operation_id = "show_data_key",
    security(("staff" = ["customers:unseal"])),
    params(("id" = Uuid, Path)),
    responses((status = 200, body = DataKeyView))
)]
#[get("/v1/admin/customers/{id}/data_key")]
async fn show(
    staff: Staff<CustomersUnseal>,
    id: web::Path<PathId>,
    identity: RequestIdentity,
    services: Data<Services>,
) -> Result<web::Json<DataKeyView>, Problem> {
    let context = services.context(staff.actor(), &identity);
    let key = services.customer_keys.tell(CustomerId(id.0), "customer_key.told", &context).await?;
    let key = key.ok_or(Rejection::NotFound)?;
    let messages = key.messages();
    Ok(web::Json(DataKeyView {
        kid: messages.kid().to_owned(),
        alg: ALGORITHM,
        key: messages.told().to_string(),
    }))
}
