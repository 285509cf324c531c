//! What the world may ask. One resource, one file; this one lists them all.
//!
//! The public routes are for shoppers, staff and other services; the operator routes for those
//! who run the service. They can listen on two addresses. [`app`] puts either set, or both, under
//! the same layers: every request has an id, a limit and an answer, and every route stands in the
//! OpenAPI document that it is served with.

pub mod activity;
pub mod addresses;
pub mod admission;
pub mod analytics;
pub mod asyncapi;
pub mod attributes;
pub mod auth;
pub mod body;
pub mod catalogue;
pub mod client_address;
pub mod conditional;
pub mod consents;
pub mod countries;
pub mod custom_values;
pub mod customer_parts;
pub mod customer_search;
pub mod customer_view;
pub mod customers;
pub mod data_keys;
pub mod dead_letters;
pub mod deletions;
pub mod docs;
pub mod document;
pub mod email_change;
pub mod erasures;
pub mod error;
pub mod exports;
pub mod field;
pub mod form;
pub mod groups;
pub mod health;
pub mod idempotency;
pub mod imports;
pub mod json;
pub mod log_levels;
pub mod me;
pub mod merges;
pub mod metrics;
pub mod mfa;
pub mod notes;
pub mod ops;
pub mod orders;
pub mod pages;
pub mod parked_orders;
pub mod passkeys;
pub mod passwords;
pub mod phone;
pub mod pointer;
pub mod preferences;
pub mod principal;
pub mod privacy_exports;
pub mod problem;
pub mod profile;
pub mod query;
pub mod rate_limit;
pub mod readiness;
pub mod reads;
pub mod reconciliations;
pub mod rejections;
pub mod request_id;
pub mod retention;
pub mod segments;
pub mod services;
pub mod sessions;
pub mod social;
pub mod staff_keys;
pub mod tags;
pub mod timeline;
pub mod token_pair;
pub mod unread;
pub mod values;
pub mod well_known;
pub mod wishlists;

#[cfg(test)]
mod example;
#[cfg(test)]
mod tests;

use crate::config::HttpConfig;
use actix_cors::Cors;
use actix_web::body::BoxBody;
use actix_web::dev::{ServiceFactory, ServiceRequest, ServiceResponse};
use actix_web::http::{Method, header};
use actix_web::middleware::from_fn;
use actix_web::web::Data;
use actix_web::{App, Error};
use asyncapi::Contract;
use body::BodyLimits;
use client_address::TrustedProxies;
use idempotency::{IDEMPOTENCY_KEY, REPLAYED};
use request_id::{RequestLayer, X_REQUEST_ID};
use services::Services;
use utoipa_actix_web::AppExt;
use utoipa_actix_web::service_config::ServiceConfig;

/// How long a browser may remember what it is allowed to send, in seconds.
const CORS_MAX_AGE: usize = 3_600;

/// Which routes an address serves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Surface {
    public: bool,
    operators: bool,
}

impl Surface {
    /// The public routes; with those of operators where these have no address of their own.
    pub fn public(with_operators: bool) -> Surface {
        Surface { public: true, operators: with_operators }
    }

    /// The operator routes alone.
    pub fn operators() -> Surface {
        Surface { public: false, operators: true }
    }
}

/// The application of one HTTP worker.
pub fn app(
    services: Services,
    surface: Surface,
) -> App<
    impl ServiceFactory<
        ServiceRequest,
        Config = (),
        Response = ServiceResponse<BoxBody>,
        Error = Error,
        InitError = (),
    >,
> {
    let http = &services.config.http;
    let limits =
        BodyLimits { bytes: http.body_limit_bytes, deadline: http.body_timeout_ms.duration() };
    let proxies = TrustedProxies::new(http.trusted_proxies.clone());
    let public_url = http.public_url.clone();
    let contract = Contract::new(&services.config);
    let clock = services.clock.clone();
    let layer = RequestLayer::new(move || clock.new_id(), http.request_timeout_ms.duration())
        .with_upload(imports::PATH, services.config.imports.upload_minutes.duration());
    if surface.public {
        services.admission.watch_this_thread();
    }
    let app = App::new()
        .wrap(from_fn(reads::note))
        .wrap(from_fn(admission::admit))
        .wrap(cors(http))
        .wrap(layer)
        .app_data(limits)
        .app_data(Data::new(proxies))
        .app_data(Data::new(contract))
        .app_data(Data::new(services))
        .into_utoipa_app()
        .openapi(docs::root(&public_url))
        .configure(|cfg| configure(cfg, surface));
    docs::finish(app)
}

/// Registers the routes of an address, with the descriptions and the problem pages that every one
/// has.
pub fn configure(cfg: &mut ServiceConfig, surface: Surface) {
    cfg.configure(docs::routes).configure(asyncapi::routes).configure(catalogue::routes);
    if surface.public {
        configure_public(cfg);
    }
    if surface.operators {
        configure_operators(cfg);
    }
    if surface.operators && !surface.public {
        // The page for operators asks its own address alone.
        cfg.configure(dead_letters::routes).configure(timeline::routes);
    }
}

fn configure_public(cfg: &mut ServiceConfig) {
    cfg.configure(auth::routes)
        .configure(passwords::routes)
        .configure(email_change::routes)
        .configure(me::routes)
        .configure(activity::routes)
        .configure(privacy_exports::routes)
        .configure(phone::routes)
        .configure(mfa::routes)
        .configure(profile::routes)
        .configure(preferences::routes)
        .configure(addresses::routes)
        .configure(countries::routes)
        .configure(consents::routes)
        .configure(sessions::routes)
        .configure(social::routes)
        .configure(passkeys::routes)
        .configure(wishlists::routes)
        .configure(customers::routes)
        .configure(customer_search::routes)
        .configure(customer_parts::routes)
        .configure(merges::routes)
        .configure(tags::routes)
        .configure(notes::routes)
        .configure(orders::routes)
        .configure(timeline::routes)
        .configure(data_keys::routes)
        .configure(groups::routes)
        .configure(attributes::routes)
        .configure(segments::routes)
        .configure(imports::routes)
        .configure(exports::routes)
        .configure(analytics::routes)
        .configure(parked_orders::routes)
        .configure(reconciliations::routes)
        .configure(dead_letters::routes)
        .configure(deletions::routes)
        .configure(erasures::routes)
        .configure(retention::routes)
        .configure(well_known::routes);
}

fn configure_operators(cfg: &mut ServiceConfig) {
    cfg.configure(health::routes)
        .configure(metrics::routes)
        .configure(ops::routes)
        .configure(log_levels::routes);
}

/// Which pages of other origins may call us from a browser: those that are configured, by default
/// none. No cookies are used, so none are allowed.
fn cors(http: &HttpConfig) -> Cors {
    let allowed = [
        header::AUTHORIZATION,
        header::CONTENT_TYPE,
        header::IF_MATCH,
        header::IF_NONE_MATCH,
        IDEMPOTENCY_KEY,
        X_REQUEST_ID,
        reads::X_PURPOSE,
        header::HeaderName::from_static("traceparent"),
    ];
    let exposed = [
        header::ETAG,
        header::LOCATION,
        header::RETRY_AFTER,
        header::WWW_AUTHENTICATE,
        X_REQUEST_ID,
        REPLAYED.0,
        header::HeaderName::from_static("ratelimit"),
        header::HeaderName::from_static("ratelimit-policy"),
    ];
    let methods = [Method::GET, Method::HEAD, Method::POST, Method::PUT, Method::PATCH];
    let cors = Cors::default()
        .allowed_methods(methods.into_iter().chain([Method::DELETE]))
        .allowed_headers(allowed)
        .expose_headers(exposed)
        .max_age(CORS_MAX_AGE);
    http.cors_origins.iter().fold(cors, |cors, origin| cors.allowed_origin(origin.as_str()))
}
