//! The errors of an import as a file: a line for each, which says where in the uploaded file it is.

use super::find;
use crate::actors::imports::settings::Format;
use crate::db;
use crate::db::Database;
use crate::db::imports::RowError;
use crate::domain::ImportId;
use crate::http::principal::{CustomersWrite, Staff};
use crate::http::problem::Problem;
use crate::http::query::Query;
use crate::http::services::Services;
use crate::http::values::PathId;
use actix_web::http::header::{self, ContentEncoding};
use actix_web::web::{self, Data};
use actix_web::{HttpRequest, HttpResponse, get};
use bytes::Bytes;
use futures_util::stream;
use serde_json::json;
use utoipa::IntoParams;

/// Errors of one page.
const PAGE: i64 = 1_000;

/// How a file is to be written.
#[derive(IntoParams)]
#[into_params(parameter_in = Query)]
#[expect(dead_code, reason = "describes a parameter; `format` reads it")]
pub struct FormatParam {
    /// `csv` or `ndjson`.
    #[param(required = false, example = "csv")]
    format: Option<String>,
}

/// Reads `format`.
///
/// # Errors
/// 422 for another one.
pub fn format(query: &str, default: Format) -> Result<Format, Problem> {
    let choices = Format::ALL.map(|format| (format.as_str(), format));
    let format =
        Query::read(query, |query| Some(query.optional("format", |raw| raw.one_of(&choices))))?;
    Ok(format.unwrap_or(default))
}

/// The media type of a format.
pub fn media_type(format: Format) -> &'static str {
    match format {
        Format::Csv => "text/csv; charset=utf-8; header=present",
        Format::Ndjson => "application/x-ndjson",
    }
}

/// What was wrong with the rows so far: `line, field, code, detail`. The line is where the row
/// begins in the file; no value of a row is ever in it.
#[utoipa::path(
    tag = "imports",
    security(("staff" = ["customers:write"])),
    params(("id" = Uuid, Path), FormatParam),
    responses((status = 200, content((String = "text/csv"), (String = "application/x-ndjson"))))
)]
#[get("/v1/admin/imports/{id}/errors")]
pub async fn download(
    _staff: Staff<CustomersWrite>,
    id: web::Path<PathId>,
    request: HttpRequest,
    services: Data<Services>,
) -> Result<HttpResponse, Problem> {
    let format = format(request.query_string(), Format::Csv)?;
    let id = ImportId(id.0);
    find(&services, id).await?;
    let errors = Errors {
        database: services.database.clone(),
        import: id,
        format,
        after: (0, -1),
        over: false,
    };
    let name = format!("attachment; filename=\"import-{id}-errors.{}\"", format.as_str());
    let pages = stream::try_unfold(errors, |mut errors| async move {
        Ok::<_, db::Error>(errors.next().await?.map(|page| (page, errors)))
    });
    Ok(HttpResponse::Ok()
        .content_type(media_type(format))
        .insert_header((header::CONTENT_DISPOSITION, name))
        .insert_header(ContentEncoding::Identity)
        .streaming(pages))
}

/// The errors that are still to be told.
struct Errors {
    database: Database,
    import: ImportId,
    format: Format,
    after: (i64, i32),
    over: bool,
}

impl Errors {
    async fn next(&mut self) -> Result<Option<Bytes>, db::Error> {
        if self.over {
            return Ok(None);
        }
        let (import, after) = (self.import, self.after);
        let read = self.database.read(move |connection| {
            Box::pin(async move { db::imports::errors(connection, import, after, PAGE).await })
        });
        let page = read.await?;
        self.over = (page.len() as i64) < PAGE;
        let first = after == (0, -1);
        if let Some(last) = page.last() {
            self.after = (last.line, last.number);
        }
        Ok(Some(text(self.format, first, &page)))
    }
}

/// A page of errors; the first one of CSV begins with the header.
pub fn text(format: Format, first: bool, page: &[RowError]) -> Bytes {
    let mut text = Vec::with_capacity(page.len() * 80 + 32);
    match format {
        Format::Ndjson => {
            for error in page {
                let RowError { line, field, code, detail, .. } = error;
                let object =
                    json!({ "line": line, "field": field, "code": code, "detail": detail });
                text.extend_from_slice(object.to_string().as_bytes());
                text.push(b'\n');
            }
        }
        Format::Csv => {
            let mut writer = csv::Writer::from_writer(&mut text);
            let whole = "memory takes every row, and all rows are of one length";
            if first {
                writer.write_record(["line", "field", "code", "detail"]).expect(whole);
            }
            for error in page {
                let line = error.line.to_string();
                let field = error.field.as_deref().unwrap_or_default();
                writer.write_record([&line, field, &error.code, &error.detail]).expect(whole);
            }
            writer.flush().expect("memory takes what is left");
            drop(writer);
        }
    }
    text.into()
}
