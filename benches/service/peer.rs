//! The peer of the read path: a bare actix-web handler that does the same single select over the
//! same kind of pool and answers the same fields. No authentication, no limits, no request ids, no
//! metrics: what the service adds to them is what the row shows.

use actix_web::{App, HttpResponse, HttpServer, web};
use anyhow::{Context, Result};
use customer_service::db;
use customer_service::domain::CustomerId;
use diesel_async::AsyncPgConnection;
use diesel_async::pooled_connection::bb8::Pool;
use diesel_async::pooled_connection::{
    AsyncDieselConnectionManager, ManagerConfig, RecyclingMethod,
};
use serde_json::json;
use uuid::Uuid;

/// The argument that makes this program the peer.
pub const ARGUMENT: &str = "peer";

type Connections = web::Data<Pool<AsyncPgConnection>>;

/// Serves until it is told to stop.
pub fn serve() -> Result<()> {
    let variable = |name: &str| std::env::var(name).with_context(|| format!("{name} is not set"));
    let url = variable("BENCH_DATABASE_URL")?;
    let address = variable("CUSTOMER_SERVICE__HTTP__BIND")?;
    let pool_size = variable("BENCH_POOL_SIZE")?.parse()?;
    actix_web::rt::System::new().block_on(async move {
        let mut config = ManagerConfig::default();
        config.recycling_method = RecyclingMethod::Fast;
        let manager =
            AsyncDieselConnectionManager::<AsyncPgConnection>::new_with_config(url, config);
        let pool = Pool::builder().max_size(pool_size).build(manager).await?;
        let pool: Connections = web::Data::new(pool);
        HttpServer::new(move || {
            App::new()
                .app_data(pool.clone())
                .route("/ready", web::get().to(HttpResponse::Ok))
                .route("/customers/{id}", web::get().to(customer))
        })
        .bind(address)?
        .run()
        .await?;
        Ok(())
    })
}

async fn customer(pool: Connections, id: web::Path<Uuid>) -> HttpResponse {
    let Ok(connection) = pool.get().await else {
        return HttpResponse::ServiceUnavailable().finish();
    };
    match db::customers::find(&connection, CustomerId(*id)).await {
        Ok(Some(found)) => HttpResponse::Ok().json(json!({
            "id": found.id,
            "email": found.email.as_str(),
            "email_verified": found.email_verified_at.is_some(),
            "phone": found.phone.as_ref().map(|phone| phone.as_str()),
            "phone_verified": found.phone_verified_at.is_some(),
            "first_name": found.first_name.as_str(),
            "last_name": found.last_name.as_str(),
            "customer_type": found.customer_type.as_str(),
            "group": found.group.as_str(),
            "status": found.status.as_str(),
            "tags": found.tags.as_slice(),
            "accepts_marketing": found.accepts_marketing,
            "last_sign_in_at": found.last_sign_in_at,
            "created_at": found.created_at,
            "updated_at": found.updated_at,
            "version": found.version,
        })),
        Ok(None) => HttpResponse::NotFound().finish(),
        Err(_) => HttpResponse::InternalServerError().finish(),
    }
}
