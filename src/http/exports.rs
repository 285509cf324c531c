//! `/v1/admin/exports/customers`: all customers as a stream.

use super::catalogue::Code;
use super::imports::errors::{FormatParam, format, media_type};
use super::principal::{CustomersWrite, Staff};
use super::problem::Problem;
use super::services::Services;
use crate::actors::exports::Export;
use crate::actors::imports::settings::Format;
use actix_web::http::header::{self, ContentEncoding};
use actix_web::web::Data;
use actix_web::{HttpRequest, HttpResponse, get};
use bytes::Bytes;
use futures_util::stream;
use utoipa_actix_web::service_config::ServiceConfig;

pub fn routes(cfg: &mut ServiceConfig) {
    cfg.service(customers);
}

/// Every customer with profile, preferences and addresses, by the names that an import reads;
/// password hashes, sessions and second factors stay here. Not one snapshot: a customer that is
/// there all the time is in it exactly once, one that comes or goes meanwhile perhaps. It breaks
/// off when the key is revoked or the service stops; NDJSON that ends with a whole line and the
/// end of the answer is whole.
#[utoipa::path(
    tag = "imports",
    security(("staff" = ["customers:write"])),
    params(FormatParam),
    responses((status = 200, content((String = "application/x-ndjson"), (String = "text/csv"))))
)]
#[get("/v1/admin/exports/customers")]
async fn customers(
    staff: Staff<CustomersWrite>,
    request: HttpRequest,
    services: Data<Services>,
) -> Result<HttpResponse, Problem> {
    let format = format(request.query_string(), Format::Ndjson)?;
    let stream = Stream { export: Export::new(services.database.clone(), format), staff, services };
    let name = format!("attachment; filename=\"customers.{}\"", format.as_str());
    let pages = stream::try_unfold(stream, |mut stream| async move {
        Ok::<_, Problem>(stream.next().await?.map(|page| (page, stream)))
    });
    Ok(HttpResponse::Ok()
        .content_type(media_type(format))
        .insert_header((header::CONTENT_DISPOSITION, name))
        .insert_header(ContentEncoding::Identity)
        .streaming(pages))
}

struct Stream {
    export: Export,
    staff: Staff<CustomersWrite>,
    services: Data<Services>,
}

impl Stream {
    /// The next page, to who still may have it.
    async fn next(&mut self) -> Result<Option<Bytes>, Problem> {
        if self.services.readiness.is_stopping() {
            return Err(Problem::new(Code::Unavailable));
        }
        self.staff.prove_again(&self.services).await?;
        Ok(self.export.next().await?)
    }
}
