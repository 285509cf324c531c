//! An upgrade as docs/operations.md has it: two nodes behind a balancer, the next version's
//! `migrate` beside them, then one node after the other; and the way back, on the new schema.
//!
//! `FAULTS_BEFORE` names the program of an earlier version (`make upgrade` builds it): it makes the
//! schema, serves at first, and again in the end. Without it this program plays both, and what is
//! migrated is made up, as in [`crate::migration`].

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use tokio::time::sleep;

use crate::balancer::Balancer;
use crate::ground::Ground;
use crate::harness::db::SERVICE_ROLE;
use crate::harness::shop::ALL_SCOPES;
use crate::harness::{Node, Shop};
use crate::load::{Load, Route, Told};
use crate::report::{Report, ms};
use crate::stories::{self, Stories};
use crate::{Scenario, migration, played};

pub const SCENARIOS: &[Scenario] = &[Scenario {
    id: "F33",
    fault: "an upgrade under load: the next version's migrations, then two nodes restarted in turn; and back again",
    criterion: "failed requests 0, each request sent once; errors in the logs 0; both nodes ready on the new schema; nothing lost, in order",
    play: played!(upgraded),
    short: false,
}];

/// A node that is told to end accepts for so long: fifteen questions of the balancer.
const SETTINGS: &[(&str, &str)] =
    &[("CUSTOMERS__ADDRESS_LIMIT", "1000"), ("HTTP__DRAIN_DELAY_MS", "1500")];

async fn upgraded(ground: &Ground, report: &mut Report) {
    let before = std::env::var_os("FAULTS_BEFORE").map(PathBuf::from);
    let present = Path::new(env!("CARGO_BIN_EXE_customer-service"));
    let mut shop = match &before {
        Some(program) => of_before(ground, program, report).await,
        None => ground.shop(SETTINGS).await,
    };
    let consumer = shop.consumer().await;
    let mut nodes = vec![shop.node().await, shop.node().await];
    let apis: Vec<_> = nodes.iter().map(|node| node.api()).collect();
    let route = Route::to(&apis);
    let balancer = Balancer::of(&apis, &route);
    let load = Load::along(route.clone(), &shop, 8, 60).await;
    let stories = Stories::begin(&route, &shop, 4);
    sleep(ground.seconds(1, 5)).await;

    let left = stories.leaves().await;
    change_to(&mut shop, present);
    let began = Instant::now();
    let applied = match &before {
        Some(_) => migrate(&shop).await,
        None => migration::migrate(&shop).await,
    };
    let took = ms(began.elapsed());
    report.must(applied.is_ok(), format!("migrated in {took} beside them: {applied:?}"));
    sleep(ground.seconds(1, 5)).await;

    let mut rolled = Rolled {
        versions: 1 + usize::from(before.is_some()),
        away: Vec::new(),
        errors: Vec::new(),
    };
    rolled.roll(&shop, &mut nodes, &balancer, report).await;
    stories.comes_back(left).await;
    sleep(ground.seconds(1, 5)).await;
    if let Some(program) = &before {
        let left = stories.leaves().await;
        change_to(&mut shop, program);
        rolled.roll(&shop, &mut nodes, &balancer, report).await;
        stories.comes_back(left).await;
        sleep(ground.seconds(1, 5)).await;
    }
    balancer.leads_to(nodes.len()).await;
    let (lives, told) = (stories.end().await, load.end().await);
    nodes.iter().for_each(|node| rolled.look_at(node));
    rolled.judge(&told, &lives, report);
    told.judge(&shop, &consumer, report).await;
    consumer.close().await;
}

/// A shop as the version before made it.
async fn of_before(ground: &Ground, program: &Path, report: &mut Report) -> Shop {
    let mut shop = ground.bare_shop(SETTINGS).await;
    change_to(&mut shop, program);
    report.note(format!("the version before does not know {:?}", shop.left_out));
    let made = migrate(&shop).await.unwrap_or_else(|error| panic!("{error}"));
    report.note(format!("it made a schema of {} migrations", made.len()));
    shop.staff_key = shop.key(ALL_SCOPES).1;
    shop
}

/// From now on nodes and commands are of this program, with the settings that it knows: it refuses to
/// start with those of a later version.
fn change_to(shop: &mut Shop, program: &Path) {
    shop.program = program.to_owned();
    shop.left_out.clear();
    let told = shop.run(&["check-config"]).stderr;
    let told = String::from_utf8_lossy(&told).into_owned();
    let unknown = |line: &str| {
        let (_, origin) = line.split_once(" is not a key of this service (from ")?;
        Some(origin.strip_suffix(')')?.to_owned())
    };
    shop.left_out = told.lines().filter_map(unknown).collect();
}

/// `customer-service migrate`, as the owner of the tables; answers with the versions applied.
async fn migrate(shop: &Shop) -> Result<Vec<String>, String> {
    let owner = ("DATABASE__MIGRATION_URL", shop.database.url.as_str());
    let mut command = shop.command(&[owner, ("DATABASE__APPLICATION_ROLE", SERVICE_ROLE)]);
    command.env("CUSTOMER_SERVICE__TELEMETRY__FORMAT", "json").arg("migrate");
    let output = tokio::task::spawn_blocking(move || command.output()).await.unwrap().unwrap();
    let log = String::from_utf8_lossy(&output.stderr).into_owned();
    if !output.status.success() {
        return Err(log);
    }
    let version = |line: &str| {
        let record: serde_json::Value = serde_json::from_str(line).ok()?;
        let fields = [&record["version"], &record["fields"]["version"]];
        fields.into_iter().find_map(|field| Some(field.as_str()?.to_owned()))
    };
    Ok(log.lines().filter_map(version).collect())
}

/// What was seen of the nodes.
struct Rolled {
    /// One, or the version before as well.
    versions: usize,
    /// From when to when a node was away: told to end, until another process was ready in its place.
    away: Vec<(Instant, Instant)>,
    /// What they logged as errors.
    errors: Vec<String>,
}

impl Rolled {
    /// Ends each node and starts the shop's program in its place, the next one once it is ready.
    async fn roll(
        &mut self,
        shop: &Shop,
        nodes: &mut Vec<Node>,
        balancer: &Balancer,
        report: &mut Report,
    ) {
        for number in 1..=nodes.len() {
            let mut node = nodes.remove(0);
            let began = Instant::now();
            node.sigterm();
            let status = node.ended(Duration::from_secs(30)).await;
            let ended = began.elapsed();
            self.look_at(&node);
            let next = shop.node().await;
            self.away.push((began, Instant::now()));
            balancer.replace(&node, &next);
            let started = ms(began.elapsed() - ended);
            let told = format!("node {number} ended after {}, ready {started} later", ms(ended));
            report.must(status.success(), told);
            nodes.push(next);
            balancer.leads_to(nodes.len()).await;
        }
    }

    fn look_at(&mut self, node: &Node) {
        let log = node.log();
        let bad = log.lines().filter(|line| line.contains(" ERROR ") || line.contains("panicked"));
        self.errors.extend(bad.map(str::to_owned));
    }

    fn judge(&self, told: &Told, lives: &stories::Told, report: &mut Report) {
        let bad = |status: Option<u16>| status.is_none_or(|status| status >= 400);
        let bad = told.attempts.iter().filter(|one| bad(one.status)).count();
        let mut all: Vec<_> = told.attempts.iter().map(|one| (one.began, one.took)).collect();
        all.extend(&lives.calls);
        let failed = bad + lives.failed.len();
        let some: Vec<_> = lives.failed.iter().take(5).collect();
        report.must(
            failed == 0,
            format!("failed {failed} of {} requests ({}) {some:?}", all.len(), told.statuses()),
        );
        report.must(lives.whole > 0, format!("{} stories told to their end", lives.whole));
        let (forgotten, back) = (lives.forgotten, lives.back);
        // What one version began and another ends may come out as the changelog says.
        let two = self.versions == 2;
        let figure =
            format!("{back} cancelled a deletion, of {forgotten} the consent was forgotten");
        report.must(forgotten == 0 || two, figure);
        let errors = self.errors.len();
        report.must(errors == 0, format!("{errors} errors in the logs {:?}", self.errors.first()));
        let slowest = |away: bool| {
            let meets = |began: Instant, ended: Instant| {
                self.away.iter().any(|(from, to)| began <= *to && ended >= *from)
            };
            let those = all.iter().filter(|(began, took)| meets(*began, *began + *took) == away);
            ms(those.map(|(_, took)| *took).max().unwrap_or_default())
        };
        let (during, else_) = (slowest(true), slowest(false));
        report.note(format!("slowest call {during} while a node was away, {else_} otherwise"));
    }
}
