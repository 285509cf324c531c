//! `/v1/admin/exports/…`: all customers, or the members of a segment, as a stream.

use super::admission::Class;
use super::catalogue::Code;
use super::imports::errors::{FormatParam, format, media_type};
use super::principal::{CustomersWrite, Scope, SegmentsRead, Staff};
use super::problem::Problem;
use super::services::Services;
use crate::actors::exports::{Export, MemberExport, Pages};
use crate::actors::imports::settings::Format;
use crate::db;
use crate::domain::outcome::Rejection;
use crate::domain::segment::record::SegmentName;
use actix_web::http::header::{self, ContentEncoding};
use actix_web::web::{self, Data};
use actix_web::{HttpRequest, HttpResponse, get};
use bytes::Bytes;
use futures_util::stream;
use utoipa_actix_web::service_config::ServiceConfig;

pub fn routes(cfg: &mut ServiceConfig) {
    cfg.service(customers).service(members);
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
    let export = Export::new(services.database.clone(), format);
    Ok(streamed(Stream { export, staff, services }, "customers", format))
}

/// The members of a segment: `customer_id, since, cause`, in the order of their ids. Not one snapshot: a
/// customer that belongs to it all the time is in it exactly once, one that joins or leaves meanwhile
/// perhaps. It breaks off as the export of customers does.
#[utoipa::path(
    tag = "segments",
    operation_id = "export_segment_members",
    security(("staff" = ["segments:read"])),
    params(("id" = String, Path, description = "The segment's id, or its code."), FormatParam),
    responses((status = 200, content((String = "application/x-ndjson"), (String = "text/csv"))))
)]
#[get("/v1/admin/exports/segments/{id}")]
async fn members(
    staff: Staff<SegmentsRead>,
    id: web::Path<String>,
    request: HttpRequest,
    services: Data<Services>,
) -> Result<HttpResponse, Problem> {
    let format = format(request.query_string(), Format::Ndjson)?;
    let name = SegmentName::parse(&id).ok_or(Rejection::NotFound)?;
    let read = services.database.read(move |connection| {
        let name = name.clone();
        Box::pin(async move { db::segment_book::find(connection, &name).await })
    });
    let segment = read.await?.ok_or(Rejection::NotFound)?;
    let export = MemberExport::new(services.lists.clone(), segment.id, format);
    Ok(streamed(Stream { export, staff, services }, segment.code.as_str(), format))
}

fn streamed<E: Pages + 'static, S: Scope>(
    stream: Stream<E, S>,
    name: &str,
    format: Format,
) -> HttpResponse {
    let name = format!("attachment; filename=\"{name}.{}\"", format.as_str());
    let pages = stream::try_unfold(stream, |mut stream| async move {
        Ok::<_, Problem>(stream.next().await?.map(|page| (page, stream)))
    });
    HttpResponse::Ok()
        .content_type(media_type(format))
        .insert_header((header::CONTENT_DISPOSITION, name))
        .insert_header(ContentEncoding::Identity)
        .streaming(pages)
}

struct Stream<E, S> {
    export: E,
    staff: Staff<S>,
    services: Data<Services>,
}

impl<E: Pages, S: Scope> Stream<E, S> {
    /// The next page, to who still may have it.
    async fn next(&mut self) -> Result<Option<Bytes>, Problem> {
        self.services.admission.rest(Class::Export).await;
        if self.services.readiness.is_stopping() {
            return Err(Problem::new(Code::Unavailable));
        }
        self.staff.prove_again(&self.services).await?;
        Ok(self.export.next().await?)
    }
}
