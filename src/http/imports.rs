//! `/v1/admin/imports`: customers from another system, in a file of CSV or NDJSON.

pub mod errors;
mod view;

use super::catalogue::Code;
use super::field::FieldFault;
use super::idempotency::{IdempotencyHeader, REPLAYED};
use super::pages::{Page, PageRequest};
use super::principal::{CustomersWrite, Staff};
use super::problem::{Problem, ProblemDocument};
use super::query::{Parameter, Query};
use super::services::{Principal, Services};
use super::values::{IdempotencyParam, PageParams, PathId};
use crate::actors::imports::settings::{DELIMITERS, Format, HashParameters, Settings};
use crate::actors::imports::{Accepted, Refused, Upload, Wish};
use crate::config::Config;
use crate::db;
use crate::db::timeline::Place;
use crate::domain::ImportId;
use crate::domain::import::fields::Mapping;
use actix_web::http::header::{self, HeaderValue};
use actix_web::web::{self, Data, Payload};
use actix_web::{HttpMessage, HttpRequest, HttpResponse, get, post};
use futures_util::StreamExt;
use sha2::{Digest, Sha256};
use std::time::Duration;
use utoipa::IntoParams;
use utoipa_actix_web::service_config::ServiceConfig;
use view::ImportView;

/// Where files are sent.
pub const PATH: &str = "/v1/admin/imports";

/// When to come again while the database has little room: somebody has to make some.
const NO_ROOM_RETRY: Duration = Duration::from_secs(60);

/// The header with what hashes of a whole system were made with. It holds a key, which has no
/// business in an address.
const HASH_PARAMETERS: &str = "password-hash-parameters";

pub fn routes(cfg: &mut ServiceConfig) {
    cfg.service(create).service(list).service(show).service(cancel).service(errors::download);
}

/// How the file is to be read.
#[derive(IntoParams)]
#[into_params(parameter_in = Query)]
#[expect(dead_code, reason = "describes parameters; `asked` reads them")]
struct ImportParams {
    /// Which columns stand for which fields: `column=field` between commas, such as
    /// `First Name=first_name,Notes=-`; `-` is a column to read over, and `\,` a comma within a
    /// name. Columns that are called like a field need none.
    #[param(required = false, max_length = 4000)]
    map: Option<String>,
    /// Whether columns that are no field are read over instead of refused.
    #[param(required = false, default = false)]
    ignore_unknown: Option<bool>,
    /// Between the columns of CSV: a comma, a semicolon, a tab or a bar.
    #[param(required = false, default = ",", max_length = 1)]
    delimiter: Option<String>,
    /// Judges every row and imports none.
    #[param(required = false, default = false)]
    dry_run: Option<bool>,
    /// What to call the import, such as the name of the file.
    #[param(required = false, max_length = 200)]
    name: Option<String>,
}

/// A header of the upload.
#[derive(IntoParams)]
#[into_params(parameter_in = Header)]
#[expect(dead_code, reason = "describes a header; `hash_parameters` reads it")]
struct HashParam {
    /// For hashes of Firebase: `ln=14,r=8,sep=Bw==,key=…`, its `mem_cost`, `rounds`,
    /// `base64_salt_separator` and `base64_signer_key`. Rows then give `password_hash` and
    /// `password_salt`.
    #[param(rename = "Password-Hash-Parameters", required = false)]
    password_hash_parameters: Option<String>,
}

/// What was asked for, but for the file.
struct Asked {
    mapping: Mapping,
    delimiter: char,
    dry_run: bool,
    name: Option<String>,
}

fn asked(query: &mut Query<'_>) -> Option<Asked> {
    let ignore_unknown = query.optional("ignore_unknown", Parameter::boolean).unwrap_or(false);
    let mapping = query.optional("map", |raw| mapping(raw.text()));
    let delimiter = query.optional("delimiter", |raw| {
        let mut signs = raw.text().chars();
        let sign = signs.next().filter(|sign| DELIMITERS.contains(sign) && signs.next().is_none());
        let words = "Must be a comma, a semicolon, a tab or a bar.";
        sign.ok_or_else(|| FieldFault::new("unknown_value", words))
    });
    let dry_run = query.optional("dry_run", Parameter::boolean).unwrap_or(false);
    let name = query.optional("name", |raw| {
        crate::domain::text::Line::parse(raw.text()).map_err(FieldFault::from)
    });
    Some(Asked {
        mapping: Mapping { ignore_unknown, ..mapping.unwrap_or_default() },
        delimiter: delimiter.unwrap_or(','),
        dry_run,
        name: name.map(|name| name.as_str().to_owned()),
    })
}

/// `column=field` between commas.
fn mapping(text: &str) -> Result<Mapping, FieldFault> {
    let mut mapping = Mapping::default();
    // A comma within a name, while the others are looked for.
    let pairs = text.replace("\\,", "\u{1}");
    for pair in pairs.split(',').filter(|pair| !pair.trim().is_empty()) {
        mapping.add(&pair.replace('\u{1}', ",")).map_err(|wrong| {
            let mut words = wrong.chars();
            let first: String = words.next().into_iter().flat_map(char::to_uppercase).collect();
            FieldFault::new("malformed", format!("{first}{}.", words.as_str()))
        })?;
    }
    Ok(mapping)
}

/// Takes in a file, which a worker then imports row by row: look at the import for how far it is.
/// The file is read as it comes; one that cannot be read at all is refused with its first bytes.
/// Unless the whole body arrives, nothing of it stays.
#[utoipa::path(
    tag = "imports",
    security(("staff" = ["customers:write"])),
    params(ImportParams, HashParam, IdempotencyParam),
    request_body(
        description = "The file, UTF-8. CSV begins with a header; NDJSON is one object a line.",
        content((String = "text/csv"), (String = "application/x-ndjson"))
    ),
    responses(
        (status = 202, body = ImportView, headers(("Location" = String))),
        (status = 409, body = ProblemDocument, content_type = "application/problem+json",
            description = "`conflict`: the upload was deleted while it came in")
    )
)]
#[post("/v1/admin/imports")]
async fn create(
    staff: Staff<CustomersWrite>,
    request: HttpRequest,
    body: Payload,
    services: Data<Services>,
) -> Result<HttpResponse, Problem> {
    let format = format(&request)?;
    let asked = Query::read(request.query_string(), asked)?;
    let parameters = hash_parameters(&request)?;
    // A malformed key is told before the file is taken in.
    IdempotencyHeader::of(&request, &[0; 32])?;
    let limit = u64::from(services.config.imports.upload_limit_mib) << 20;
    refuse_too_long(&request, limit)?;
    let wish = Wish {
        format,
        settings: Settings::new(asked.mapping, asked.delimiter, parameters),
        name: asked.name,
        dry_run: asked.dry_run,
        actor: staff.actor(),
    };
    let mut upload = services.imports.upload(wish).await?;
    take(&mut upload, body, limit, &services.config).await?;
    let key = IdempotencyHeader::of(&request, &upload.sha256())?;
    let accepted = upload.finish(key.map(|key| (key.key, key.request_hash))).await?;
    let mut response = HttpResponse::Accepted();
    let row = match accepted {
        Accepted::New(row) => row,
        Accepted::Before(row) => {
            response.insert_header(REPLAYED);
            row
        }
    };
    response.insert_header((header::LOCATION, format!("{PATH}/{}", row.id)));
    Ok(response.json(ImportView::from(row)))
}

fn format(request: &HttpRequest) -> Result<Format, Problem> {
    let refused = || {
        Problem::new(Code::UnsupportedMediaType)
            .detail("Send the file as text/csv or application/x-ndjson, UTF-8, not compressed.")
            .header(header::ACCEPT, HeaderValue::from_static("text/csv, application/x-ndjson"))
    };
    let plain = request
        .headers()
        .get_all(header::CONTENT_ENCODING)
        .all(|encoding| encoding.as_bytes().eq_ignore_ascii_case(b"identity"));
    let once = request.headers().get_all(header::CONTENT_TYPE).count() == 1;
    let mime = request.mime_type().ok().flatten().filter(|_| plain && once).ok_or_else(refused)?;
    if mime.get_param("charset").is_some_and(|charset| charset != "utf-8") {
        return Err(refused());
    }
    match mime.essence_str() {
        "text/csv" => Ok(Format::Csv),
        "application/x-ndjson" => Ok(Format::Ndjson),
        _ => Err(refused()),
    }
}

/// The header's text is put before each hash, so it is looked at like one.
fn hash_parameters(request: &HttpRequest) -> Result<Option<HashParameters>, Problem> {
    let Some(value) = request.headers().get(HASH_PARAMETERS) else { return Ok(None) };
    let sound = |text: &&str| {
        let sign = |b: u8| b.is_ascii_alphanumeric() || b"=,+/".contains(&b);
        (1..=300).contains(&text.len()) && text.bytes().all(sign) && text.starts_with("ln=")
    };
    let text = value.to_str().ok().map(str::trim).filter(sound).ok_or_else(|| {
        Problem::new(Code::MalformedHeader)
            .detail("Password-Hash-Parameters must be ln=…,r=…,sep=…,key=… of Firebase.")
    })?;
    Ok(Some(HashParameters(format!("$firebase-scrypt${text}"))))
}

fn refuse_too_long(request: &HttpRequest, limit: u64) -> Result<(), Problem> {
    let announced = request.headers().get(header::CONTENT_LENGTH);
    let announced = announced.and_then(|value| value.to_str().ok()?.parse::<u64>().ok());
    if announced.is_some_and(|length| length > limit) { Err(too_large(limit)) } else { Ok(()) }
}

fn too_large(limit: u64) -> Problem {
    let mib = limit >> 20;
    Problem::new(Code::PayloadTooLarge).detail(format!("At most {mib} MiB are taken."))
}

/// Takes the body in, piece by piece.
async fn take(
    upload: &mut Upload,
    mut body: Payload,
    limit: u64,
    config: &Config,
) -> Result<(), Problem> {
    let patience = config.http.body_timeout_ms.duration();
    loop {
        let piece = tokio::time::timeout(patience, body.next()).await;
        match piece.map_err(|_| Problem::new(Code::BodyTimeout))? {
            None => return Ok(()),
            Some(Ok(bytes)) => {
                if upload.bytes() + bytes.len() as u64 > limit {
                    return Err(too_large(limit));
                }
                upload.take(bytes).await?;
            }
            Some(Err(_)) => {
                return Err(Problem::new(Code::MalformedRequest)
                    .detail("The body ended too early; nothing of it was kept."));
            }
        }
    }
}

impl From<Refused> for Problem {
    fn from(refused: Refused) -> Self {
        match refused {
            Refused::Unreadable(reason) => {
                let fault = FieldFault::new(reason.code(), reason.to_string());
                Problem::invalid(vec![fault.at("#")])
            }
            Refused::Gone => {
                Problem::new(Code::Conflict).detail("The upload was deleted meanwhile.")
            }
            Refused::NoRoom => Problem::new(Code::Unavailable)
                .detail("The database has little room left: imports wait.")
                .retry_after(NO_ROOM_RETRY),
            Refused::KeyReused => Problem::new(Code::IdempotencyKeyReused),
            Refused::Database(error) => error.into(),
        }
    }
}

/// Imports, newest first.
#[utoipa::path(
    tag = "imports",
    security(("staff" = ["customers:write"])),
    params(PageParams),
    responses((status = 200, body = Page<ImportView>))
)]
#[get("/v1/admin/imports")]
async fn list(
    _staff: Staff<CustomersWrite>,
    request: HttpRequest,
    services: Data<Services>,
) -> Result<web::Json<Page<ImportView>>, Problem> {
    let page =
        Query::read(request.query_string(), |query| PageRequest::<Place>::read(query, "imports"))?;
    let (before, limit) = (page.after, page.fetch());
    let read = services.database.read(move |connection| {
        Box::pin(async move { db::imports::page(connection, before, limit).await })
    });
    let position = |row: &db::imports::Row| (row.created_at, row.id);
    Ok(web::Json(page.page(read.await?, position, ImportView::from)))
}

/// How far an import is.
#[utoipa::path(
    tag = "imports",
    security(("staff" = ["customers:write"])),
    params(("id" = Uuid, Path)),
    responses((status = 200, body = ImportView))
)]
#[get("/v1/admin/imports/{id}")]
async fn show(
    _staff: Staff<CustomersWrite>,
    id: web::Path<PathId>,
    services: Data<Services>,
) -> Result<web::Json<ImportView>, Problem> {
    let row = find(&services, ImportId(id.0)).await?;
    Ok(web::Json(ImportView::from(row)))
}

async fn find(services: &Services, id: ImportId) -> Result<db::imports::Row, Problem> {
    let read = services
        .database
        .read(move |connection| Box::pin(async move { db::imports::find(connection, id).await }));
    read.await?.ok_or(Problem::new(Code::NotFound))
}

/// Ends an import before its time; what it imported so far stays. Repeating it changes nothing.
#[utoipa::path(
    tag = "imports",
    security(("staff" = ["customers:write"])),
    params(("id" = Uuid, Path), IdempotencyParam),
    responses(
        (status = 200, body = ImportView),
        (status = 409, body = ProblemDocument, content_type = "application/problem+json",
            description = "`import_over`")
    )
)]
#[post("/v1/admin/imports/{id}/cancel")]
async fn cancel(
    staff: Staff<CustomersWrite>,
    id: web::Path<PathId>,
    request: HttpRequest,
    services: Data<Services>,
) -> Result<web::Json<ImportView>, Problem> {
    // Safe to repeat by itself: the key is judged and not needed.
    IdempotencyHeader::of(&request, &Sha256::digest([]).into())?;
    let id = ImportId(id.0);
    let (ended, row) = services.imports.cancel(id).await?.ok_or(Problem::new(Code::NotFound))?;
    if ended {
        tracing::info!(import = %id, key = staff.key_id(), "an import was cancelled");
    } else if row.state != "cancelled" {
        return Err(Problem::new(Code::ImportOver));
    }
    Ok(web::Json(ImportView::from(row)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(query: &str) -> Result<Asked, Vec<(String, &'static str)>> {
        Query::read(query, asked).map_err(|problem| {
            let errors = problem.errors().iter();
            errors.map(|e| (e.parameter.clone().unwrap_or_default(), e.code)).collect()
        })
    }

    #[test]
    fn a_mapping_is_read_from_the_query() {
        let asked = read(
            "map=First+Name%3Dfirst_name,Note%5C,+long%3D-,a%3Db%3Dtags&delimiter=%3B&dry_run=true\
             &name=shop.csv&ignore_unknown=true",
        );
        let asked = asked.unwrap_or_else(|told| panic!("{told:?}"));
        let field = |name| asked.mapping.field(name).map(|field| field.name());
        assert_eq!(field("First Name").as_deref(), Some("first_name"));
        assert_eq!(field("Note, long").as_deref(), Some("-"));
        assert_eq!(field("a=b").as_deref(), Some("tags"));
        assert_eq!((asked.delimiter, asked.dry_run), (';', true));
        assert_eq!(asked.name.as_deref(), Some("shop.csv"));
        assert!(asked.mapping.ignore_unknown);
        let told = read("map=x%3Dmail&delimiter=;;&dry_run=1&format=csv").err().unwrap();
        let codes = [
            ("map", "malformed"),
            ("delimiter", "unknown_value"),
            ("dry_run", "malformed"),
            ("format", "unknown_parameter"),
        ];
        assert_eq!(told, codes.map(|(name, code)| (name.to_owned(), code)));
    }
}
