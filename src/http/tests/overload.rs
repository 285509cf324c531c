//! What a request meets when there is no room for it, and that its place comes back however it ends.

use super::super::admission::class::tests::idle_rules;
use super::super::admission::{Permit, admit};
use super::super::request_id::RequestLayer;
use super::*;
use actix_web::middleware::from_fn;
use actix_web::web::{self, Data};
use actix_web::{App, HttpResponse};

/// So few that a test can hold them all: 16 connections on one thread.
const FEW: &[(&str, &str)] = &[
    ("CUSTOMER_SERVICE__HTTP__WORKERS", "1"),
    ("CUSTOMER_SERVICE__HTTP__MAX_CONNECTIONS", "16"),
    ("CUSTOMER_SERVICE__OVERLOAD__IN_FLIGHT_MIN", "8"),
    ("CUSTOMER_SERVICE__HTTP__CORS_ORIGINS", "https://shop.example"),
];

/// Takes every place that the class may have.
fn fill(world: &World, class: Class) -> Vec<Permit> {
    std::iter::from_fn(|| world.services.admission.enter(class).ok()).collect()
}

#[actix_web::test]
async fn every_route_has_a_class_and_every_rule_a_route() {
    let document = world(&[]).document().await;
    let requests: Vec<_> =
        operations(&document).into_iter().map(|(method, path, _)| (method, path)).collect();
    assert!(requests.len() >= 190, "{}", requests.len());
    for (method, path) in &requests {
        let class = Class::of(method, path);
        assert!(class.is_some(), "{method} {path} has no class: see http/admission/class.rs");
        // asked for, it is what its template is
        let asked: Vec<_> =
            path.split('/').map(|part| if part.starts_with('{') { "7" } else { part }).collect();
        assert_eq!(Class::of(method, &asked.join("/")), class, "{method} {path}");
    }
    assert_eq!(idle_rules(&requests), [0_usize; 0], "rules that name no route, by their place");
}

#[actix_web::test]
async fn what_there_is_no_room_for_is_refused_and_told_when_to_come_again() {
    let world = world(FEW);
    world.nothing_revoked();
    let held = fill(&world, Class::Reads);
    let read = TestRequest::get()
        .uri("/v1/me")
        .insert_header((header::AUTHORIZATION, format!("Bearer {}", world.token(5))))
        .insert_header((header::ORIGIN, "https://shop.example"));
    let answer = world.send(read).await;
    assert_eq!(answer.problem(), is(503, "overloaded"));
    let wait: u64 = answer.header("retry-after").unwrap().parse().unwrap();
    assert!((1..=2).contains(&wait), "{wait}");
    assert_eq!(answer.json()["request_id"], answer.header("x-request-id").unwrap());
    assert_eq!(answer.header("cache-control"), Some("no-store"));
    // a page of another origin may read that, too
    assert_eq!(answer.header("access-control-allow-origin"), Some("https://shop.example"));
    // who is signed in stays so, and who watches the node sees it
    let refresh = TestRequest::post().uri("/v1/auth/refresh").set_json(json!({}));
    assert_eq!(world.send(refresh).await.problem(), is(422, "validation_failed"));
    assert_eq!(world.get("/health/live").await.status, 200);
    assert_eq!(world.get("/metrics").await.status, 200);
    // what is no route goes first
    assert_eq!(world.get("/v1/nothing").await.problem(), is(503, "overloaded"));
    drop(held);
    assert_eq!(world.get("/v1/nothing").await.problem(), is(404, "not_found"));
    let read = world.get_as("/v1/me", &world.token(5)).await;
    assert_eq!(read.problem(), is(503, "unavailable"), "let in; the database is gone");
}

#[actix_web::test]
async fn lower_classes_are_refused_before_higher_ones() {
    let world = world(FEW);
    let sign_in = || TestRequest::post().uri("/v1/auth/login").set_json(json!({}));
    let change = || TestRequest::patch().uri("/v1/me").set_json(json!({}));
    let export = || TestRequest::get().uri("/v1/admin/exports/customers");
    let code = async |request: TestRequest| world.send(request).await.problem().1;
    let held = fill(&world, Class::SignIn);
    assert_eq!(code(export()).await, "overloaded");
    assert_eq!(code(sign_in()).await, "overloaded");
    assert_eq!(code(change()).await, "unauthorized");
    drop(held);
    let _held = fill(&world, Class::Writes);
    assert_eq!(code(sign_in()).await, "overloaded");
    assert_eq!(code(change()).await, "overloaded");
    assert_eq!(world.get("/v1/me").await.problem().1, "unauthorized");
}

#[actix_web::test]
async fn a_place_comes_back_however_the_request_ends() {
    let world = world(FEW);
    let (clock, services) = (world.clock.clone(), Data::new(world.services.clone()));
    let sleeps = || async {
        tokio::time::sleep(Duration::from_secs(60)).await;
        HttpResponse::Ok().finish()
    };
    let panics = || async {
        if std::hint::black_box(true) {
            panic!("injected: a handler");
        }
        HttpResponse::Ok().finish()
    };
    let layer = RequestLayer::new(move || clock.new_id(), Duration::from_millis(100));
    let app = App::new()
        .wrap(from_fn(admit))
        .wrap(layer)
        .app_data(services)
        .route("/v1/me/sleeps", web::get().to(sleeps))
        .route("/v1/me/panics", web::get().to(panics));
    let app = init_service(app).await;
    let rooms = || fill(&world, Class::Reads).len();
    assert_eq!(rooms(), 14);
    let ask = |uri: &str| TestRequest::get().uri(uri).to_request();
    assert!(try_call_service(&app, ask("/v1/me/panics")).await.is_err());
    assert_eq!(rooms(), 14, "after a panic");
    assert!(try_call_service(&app, ask("/v1/me/sleeps")).await.is_err());
    assert_eq!(rooms(), 14, "after its time");
    let mut gone = Box::pin(try_call_service(&app, ask("/v1/me/sleeps")));
    let begun = tokio::time::timeout(Duration::from_millis(20), &mut gone).await;
    assert!(begun.is_err());
    assert_eq!(rooms(), 13, "under way");
    drop(gone);
    assert_eq!(rooms(), 14, "after its caller went away");
}
