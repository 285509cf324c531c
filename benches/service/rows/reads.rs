//! Row c: reading oneself, beside a bare handler with the same select.

use super::{Bench, Stretch};
use crate::database::id_of;
use crate::load::{Load, request};
use crate::peer;
use crate::service::Program;
use crate::stats::{Row, Target, median, spread};
use anyhow::Result;
use serde_json::json;

const CONNECTIONS: usize = 64;
const SECONDS: u64 = 5;
/// The service's default, given to the peer as well.
const POOL_SIZE: u32 = 16;

pub async fn measure(bench: &Bench) -> Result<Vec<Row>> {
    println!("\nc: GET /v1/me, {CONNECTIONS} clients");
    let seconds = bench.seconds(SECONDS);
    let running = bench.serve(&[]).await?;
    let program = Program {
        path: std::env::current_exe()?,
        environment: vec![
            ("BENCH_DATABASE_URL".to_owned(), bench.server.url.to_string()),
            ("BENCH_POOL_SIZE".to_owned(), POOL_SIZE.to_string()),
        ],
        log: bench.folder.join("peer.log"),
    };
    let peer = program.start(&[peer::ARGUMENT], &[], "/ready").await?;
    let bare: Vec<_> = bench
        .holders
        .iter()
        .take(CONNECTIONS)
        .map(|holder| {
            vec![request("GET", &format!("/customers/{}", id_of(holder.number)), None, None)]
        })
        .collect();
    let (mut service, mut handler, mut micros) = (Vec::new(), Vec::new(), [Vec::new(), Vec::new()]);
    for _ in 0..bench.rounds() {
        let load = Load::closed(running.address, bench.reads(CONNECTIONS)).await?;
        let stretch = Stretch::of(load, bench, running.pid(), seconds).await?.all_well()?;
        service.push(stretch.per_second());
        micros[0].push(stretch.micros_each());
        let load = Load::closed(peer.address, bare.clone()).await?;
        let stretch = Stretch::of(load, bench, peer.pid(), seconds).await?.all_well()?;
        handler.push(stretch.per_second());
        micros[1].push(stretch.micros_each());
    }
    running.stop().await?;
    peer.stop().await?;
    for (name, rates, micros) in
        [("service", &service, &micros[0]), ("bare handler", &handler, &micros[1])]
    {
        let each = |whose: usize| median(&micros.iter().map(|m| m[whose]).collect::<Vec<_>>());
        println!(
            "  {name:<13} {}/s; CPU µs each: database {:.0}, server {:.0}, generator {:.0}",
            spread(rates, 0),
            each(0),
            each(1),
            each(2)
        );
    }
    Ok(vec![Row {
        name: "c",
        what: "GET /v1/me per second ÷ a bare actix-web handler's".to_owned(),
        figure: median(&service) / median(&handler),
        unit: "×",
        target: Target::AtLeast(0.8),
        details: json!({ "service": service, "bare": handler, "cpu_micros_each": micros }),
    }])
}
