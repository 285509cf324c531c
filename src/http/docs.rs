//! The OpenAPI document: its root, what is common to all operations, and the pages that show it.
//!
//! The document is made from the same registrations that serve, so it also is the list of routes
//! by which a wrong method is told from an unknown path. A resource file offers
//! `pub fn routes(cfg: &mut utoipa_actix_web::service_config::ServiceConfig)`; the app is
//! ```text
//! docs::finish(App::new().wrap(..).into_utoipa_app().openapi(docs::root(public_url))
//!     .configure(docs::routes).configure(catalogue::routes).configure(me::routes)…)
//! ```

use std::sync::Arc;

use actix_web::{
    App, Error, HttpResponse,
    dev::{ResourceDef, ServiceFactory, ServiceRequest},
    get,
    http::header,
    web::{self, Data},
};
use url::Url;
use utoipa::{
    Modify, OpenApi,
    openapi::{
        self, Content, ObjectBuilder, PathItem, Ref, RefOr, Response, ResponseBuilder, Type,
        path::{Operation, ParameterIn},
        schema::{Schema, SchemaType},
        security::{HttpAuthScheme, HttpBuilder, SecurityScheme},
        server::Server,
    },
};
use utoipa_actix_web::{UtoipaApp, service_config::ServiceConfig};
use utoipa_swagger_ui::Config;

use super::{
    catalogue::{Code, PROBLEMS},
    document, error,
    problem::{FieldError, Problem, ProblemDocument},
    reads,
};

/// Scripts and styles come from us alone; the page makes its logo from a data URL and styles
/// itself inline.
const PAGE_POLICY: &str = "default-src 'self'; style-src 'self' 'unsafe-inline'; \
     img-src 'self' data:; frame-ancestors 'none'";

#[derive(OpenApi)]
#[openapi(
    info(title = "customer-service", description = "The service of a shop that knows its customers. What it publishes to RabbitMQ is described at `/asyncapi.json`."),
    components(schemas(ProblemDocument, FieldError)),
    modifiers(&Common)
)]
struct Root;

/// The document before any route is added, for clients that reach the API at `public_url`.
pub fn root(public_url: &Url) -> openapi::OpenApi {
    let mut document = Root::openapi();
    // Paths begin with a slash and are appended to it.
    let base = public_url.as_str().trim_end_matches('/');
    // The second is for the reference page where it is opened under another address, as operators do.
    document.servers = Some(vec![Server::new(base), Server::new("/")]);
    document
}

struct Common;

impl Modify for Common {
    fn modify(&self, document: &mut openapi::OpenApi) {
        let components = document.components.get_or_insert_default();
        let bearer = |format: &str, about: &str| {
            let scheme = HttpBuilder::new()
                .scheme(HttpAuthScheme::Bearer)
                .bearer_format(format)
                .description(Some(about));
            SecurityScheme::Http(scheme.build())
        };
        components.add_security_scheme("customer", bearer("JWT", "An access token of a sign-in."));
        let about = "An API key, `csk_<id>_<secret>`, with the scopes that the route names.";
        components.add_security_scheme("staff", bearer("csk", about));
        for (name, code) in SHARED_RESPONSES {
            components.responses.insert((*name).to_owned(), RefOr::T(problem_response(*code)));
        }
    }
}

/// Answers that many operations share, by their names in `components`.
const SHARED_RESPONSES: &[(&str, Option<Code>)] = &[
    ("Problem", None),
    ("MalformedRequest", Some(Code::MalformedRequest)),
    ("Unauthorized", Some(Code::Unauthorized)),
    ("Forbidden", Some(Code::Forbidden)),
    ("NotFound", Some(Code::NotFound)),
    ("BodyTimeout", Some(Code::BodyTimeout)),
    ("PreconditionFailed", Some(Code::PreconditionFailed)),
    ("PayloadTooLarge", Some(Code::PayloadTooLarge)),
    ("UnsupportedMediaType", Some(Code::UnsupportedMediaType)),
    ("ValidationFailed", Some(Code::ValidationFailed)),
    ("RateLimited", Some(Code::RateLimited)),
    ("Unavailable", Some(Code::Unavailable)),
];

fn problem_response(code: Option<Code>) -> Response {
    let schema = Ref::from_schema_name("Problem");
    ResponseBuilder::new()
        .description(code.map_or("Any other problem", |code| code.entry().title))
        .content("application/problem+json", Content::new(Some(schema)))
        .build()
}

/// Lists the catalogue's codes in the schema, so that clients can be generated with them.
fn name_all_codes(components: &mut openapi::Components) {
    if let Some(RefOr::T(Schema::Object(problem))) = components.schemas.get_mut("Problem") {
        let codes = ObjectBuilder::new()
            .schema_type(SchemaType::new(Type::String))
            .description(Some("The name of the problem, for programs."))
            .enum_values(Some(PROBLEMS.iter().map(|entry| entry.code)))
            .build();
        problem.properties.insert("code".to_owned(), RefOr::T(Schema::Object(codes)));
    }
}

/// The finished document and the routes in it.
pub struct Description {
    json: web::Bytes,
    routes: Vec<Route>,
}

struct Route {
    pattern: ResourceDef,
    /// Fixed paths are matched before patterns: `/a/count` is not `/a/{id}`.
    fixed: bool,
    methods: Vec<&'static str>,
}

impl Description {
    /// Completes a document with what every operation may answer.
    pub fn new(mut document: openapi::OpenApi) -> Description {
        let mut routes = Vec::new();
        for (path, item) in &mut document.paths.paths {
            let mut methods = Vec::new();
            for (method, operation) in operations(item) {
                complete(operation, method, path);
                if method == "PATCH" {
                    offer_merge_patch(operation);
                }
                methods.push(method);
                if method == "GET" {
                    methods.push("HEAD");
                }
            }
            let pattern = ResourceDef::new(path.as_str());
            routes.push(Route { pattern, fixed: !path.contains('{'), methods });
        }
        // only now: each route that names the schema has put its own copy there
        name_all_codes(document.components.get_or_insert_default());
        routes.sort_by_key(|route| !route.fixed);
        let mut document = serde_json::to_value(&document)
            .expect("an OpenAPI document is a tree of strings, lists and maps with string keys");
        document::fit(&mut document);
        Description { json: document.to_string().into(), routes }
    }

    /// The document as JSON text.
    pub fn json(&self) -> &[u8] {
        &self.json
    }

    /// Every route: its template and its methods, for tests that walk them all.
    pub fn routes(&self) -> impl Iterator<Item = (&str, &[&'static str])> {
        self.routes
            .iter()
            .map(|route| (route.pattern.pattern().unwrap_or_default(), route.methods.as_slice()))
    }

    /// The methods that a path takes; none when there is no such path.
    pub fn methods_of(&self, path: &str) -> Vec<&'static str> {
        self.route_of(path).map(|route| route.methods.clone()).unwrap_or_default()
    }

    /// The template that a path follows.
    pub fn template_of(&self, path: &str) -> Option<&str> {
        self.route_of(path).and_then(|route| route.pattern.pattern())
    }

    fn route_of(&self, path: &str) -> Option<&Route> {
        self.routes.iter().find(|route| route.pattern.is_match(path))
    }
}

fn operations(item: &mut PathItem) -> impl Iterator<Item = (&'static str, &mut Operation)> {
    let all = [
        ("GET", &mut item.get),
        ("POST", &mut item.post),
        ("PUT", &mut item.put),
        ("PATCH", &mut item.patch),
        ("DELETE", &mut item.delete),
    ];
    all.into_iter().filter_map(|(method, operation)| Some((method, operation.as_mut()?)))
}

/// Adds what follows from an operation's shape and its route: the header that reads by staff take, and
/// the answers that it does not name itself.
fn complete(operation: &mut Operation, method: &str, path: &str) {
    let mut shared = vec![("default", "Problem")];
    let of_reads = reads::parameters(method, path);
    if !of_reads.is_empty() {
        shared.push(("400", "MalformedRequest"));
        operation.parameters.get_or_insert_default().extend(of_reads.into_iter().map(RefOr::T));
    }
    if operation.request_body.is_some() {
        shared.extend([
            ("400", "MalformedRequest"),
            ("408", "BodyTimeout"),
            ("413", "PayloadTooLarge"),
            ("415", "UnsupportedMediaType"),
            ("422", "ValidationFailed"),
        ]);
    }
    if operation.security.as_ref().is_some_and(|security| !security.is_empty()) {
        shared.extend([("401", "Unauthorized"), ("403", "Forbidden")]);
    }
    let parameters =
        operation.parameters.iter().flatten().filter_map(|parameter| match parameter {
            RefOr::T(parameter) => Some(parameter),
            RefOr::Ref(_) => None,
        });
    if parameters.clone().any(|parameter| parameter.parameter_in == ParameterIn::Query) {
        shared.extend([("400", "MalformedRequest"), ("422", "ValidationFailed")]);
    }
    if parameters.clone().any(|parameter| parameter.name == "If-Match") {
        shared.push(("412", "PreconditionFailed"));
    }
    if path.contains('{') {
        shared.push(("404", "NotFound"));
    }
    if path.starts_with("/v1/") {
        shared.push(("503", "Unavailable"));
    }
    for (status, name) in shared {
        let response = RefOr::Ref(Ref::from_response_name(name));
        operation.responses.responses.entry(status.to_owned()).or_insert(response);
    }
}

/// A change may be sent under either media type; it means a merge patch in both.
fn offer_merge_patch(operation: &mut Operation) {
    if let Some(RefOr::T(body)) = &mut operation.request_body
        && let Some(content) = body.content.get("application/json").cloned()
    {
        body.content.insert("application/merge-patch+json".to_owned(), content);
    }
}

/// Completes an app whose routes are all registered: its description and its default service.
pub fn finish<T>(app: UtoipaApp<T>) -> App<T>
where
    T: ServiceFactory<ServiceRequest, Config = (), Error = Error, InitError = ()>,
{
    let (app, document) = app.split_for_parts();
    let page = Config::new(["/openapi.json"])
        .try_it_out_enabled(true)
        .persist_authorization(false)
        .validator_url("none");
    app.app_data(Data::new(Description::new(document)))
        .app_data(Data::new(ReferencePage(Arc::new(page))))
        .default_service(web::to(error::no_such_route))
}

/// The reference page's configuration.
struct ReferencePage(Arc<Config<'static>>);

/// Registers the document and the pages that show it.
pub fn routes(cfg: &mut ServiceConfig) {
    cfg.service(openapi_json).service(docs).service(docs_file);
}

/// This document.
#[utoipa::path(tag = "documentation", responses((status = 200, body = Object, content_type = "application/json")))]
#[get("/openapi.json")]
async fn openapi_json(description: Data<Description>) -> HttpResponse {
    HttpResponse::Ok().content_type("application/json").body(description.json.clone())
}

/// The way to the reference page, which needs its trailing slash.
#[utoipa::path(tag = "documentation", responses((status = 308)))]
#[get("/docs")]
async fn docs() -> HttpResponse {
    HttpResponse::PermanentRedirect().insert_header((header::LOCATION, "/docs/")).finish()
}

/// The reference page and its parts, all from this service.
#[utoipa::path(
    tag = "documentation",
    path = "/docs/{file}",
    params(("file" = String, Path, description = "a part of the page; empty for the page itself")),
    responses((status = 200, body = String, content_type = "text/html"))
)]
#[get("/docs/{file:[^/]*}")]
async fn docs_file(
    file: web::Path<String>,
    page: Data<ReferencePage>,
) -> Result<HttpResponse, Problem> {
    let file = utoipa_swagger_ui::serve(&file, page.0.clone())
        .map_err(|_| Problem::new(Code::Internal))?
        .ok_or(Problem::new(Code::NotFound))?;
    let mut response = HttpResponse::Ok();
    if file.gzpipped {
        response.insert_header(header::ContentEncoding::Gzip);
    }
    Ok(response
        .content_type(file.content_type)
        .insert_header((header::CONTENT_SECURITY_POLICY, PAGE_POLICY))
        .body(file.bytes.into_owned()))
}
