//! The disk of PostgreSQL is full, and before that nearly.
//!
//! The server's data lie on a file system of their own in memory (mounted, which takes root), and
//! a file beside them takes all that is left.

use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use reqwest::Method;
use serde_json::json;
use tokio::time::sleep;

use crate::ground::Ground;
use crate::harness::db::TestDatabase;
use crate::harness::servers::PrivateServer;
use crate::harness::{Node, Shop, unique};
use crate::load::Load;
use crate::report::{Report, ms};

/// Room of the server, in MiB: its own files take some hundred of it.
const DISK_MIB: u32 = 600;

/// A file system in memory; gone with the value.
struct Mount(PathBuf);

impl Mount {
    /// `None` where this user may not mount.
    fn new() -> Option<Self> {
        let folder = std::env::temp_dir().join(unique("it-disk"));
        std::fs::create_dir_all(&folder).unwrap();
        let options = format!("size={DISK_MIB}m,mode=0755");
        let mut command = Command::new("mount");
        command.args(["-t", "tmpfs", "-o", &options, "tmpfs"]).arg(&folder);
        let mounted = command.output().is_ok_and(|output| output.status.success());
        if !mounted {
            std::fs::remove_dir(&folder).ok();
        }
        mounted.then_some(Self(folder))
    }

    /// Takes all that is left, however often some becomes free.
    fn fill(&self) {
        let ballast = self.0.join("ballast");
        let mut file = std::fs::File::options().create(true).append(true).open(ballast).unwrap();
        for size in [1 << 20, 1 << 12] {
            let block = vec![0; size];
            while file.write_all(&block).is_ok() {}
        }
    }

    fn relieve(&self) {
        std::fs::remove_file(self.0.join("ballast")).ok();
    }
}

impl Drop for Mount {
    fn drop(&mut self) {
        Command::new("umount").arg("-l").arg(&self.0).status().ok();
        std::fs::remove_dir(&self.0).ok();
    }
}

fn runs(pid: &str) -> bool {
    Path::new(&format!("/proc/{pid}")).exists()
}

/// See the module.
pub async fn full(ground: &Ground, report: &mut Report) {
    let Some(disk) = Mount::new() else {
        report.must(false, "the disk: not played, mounting a file system takes root");
        return;
    };
    let state = disk.0.join("state");
    let postgres = tokio::task::block_in_place(|| PrivateServer::start_at("postgres", state, &[]));
    let settings = [
        ("REDIS__URL", ground.redis.url.as_str()),
        ("RABBIT__URL", ground.rabbit.url.as_str()),
        ("CUSTOMERS__ADDRESS_LIMIT", "1000"),
    ];
    let shop = Shop::with(TestDatabase::on(&postgres.url).await, &settings).await;
    let consumer = shop.consumer().await;
    let node = shop.node().await;
    let load = Load::begin(&shop, &[node.api()], 12, 80).await;
    sleep(Duration::from_secs(2)).await;
    tight(&shop, report).await;

    let lasts = ground.seconds(8, 25);
    let began = Instant::now();
    while began.elapsed() < lasts {
        disk.fill();
        sleep(Duration::from_millis(50)).await;
    }
    let refused = node.log().contains("No space left on device");
    disk.relieve();
    // It may have ended for want of room for its log: then an operator starts it again.
    let ended = !runs(&postgres.pid());
    if ended {
        tokio::task::block_in_place(|| postgres.start_again());
    }
    let works = load.works_again(Duration::from_secs(60)).await;
    sleep(Duration::from_secs(2)).await;
    let told = load.end().await;
    let bad = told.attempts.iter().filter(|one| one.status == Some(503)).count();
    report.must(
        bad > 0 && told.odd.is_empty(),
        format!(
            "disk full for {}: {}, nothing but 503 with Retry-After beside them {:?}; refused by a \
             full disk: {refused}; PostgreSQL ended for it: {ended}",
            ms(lasts),
            told.statuses(),
            told.odd
        ),
    );
    report.must(
        works.is_some_and(|took| took <= Duration::from_secs(10)),
        format!("works again {works:.1?} after there was room"),
    );
    told.judge(&shop, &consumer, report).await;
    consumer.close().await;
    drop((node, shop));
}

/// The database has taken 80 % of the room that it may take: that is told, imports wait, all else goes
/// on.
async fn tight(shop: &Shop, report: &mut Report) {
    let size = shop.database.count("SELECT pg_database_size(current_database())").await;
    let room = (size >> 20).max(1).to_string();
    let began = Instant::now();
    let node = shop.node_with(&[("DATABASE__ROOM_MIB", &room)]).await;
    let told = loop {
        if noted(&node).await {
            break Some(began.elapsed());
        }
        if began.elapsed() > Duration::from_secs(30) {
            break None;
        }
        sleep(Duration::from_millis(50)).await;
    };
    report.must(
        told.is_some_and(|told| told <= Duration::from_secs(10)),
        format!("80 % of the room taken: told {told:.1?} after the start"),
    );
    let file = b"email,first_name,last_name\nanna@shop.example,Anna,Tran\n".to_vec();
    let import = node.call(Method::POST, "/v1/admin/imports").body("text/csv", file);
    let import = import.bearer(&shop.staff_key).idempotency_key(&unique("key")).send().await;
    let shopper = crate::harness::Shopper::new(shop, &node).await;
    let named = shopper.patch(&node, "/v1/me", json!({ "first_name": "Ánh" })).send().await;
    let hinted = !import.header("retry-after").is_empty();
    report.must(
        import.status == 503 && hinted && named.status == 200,
        format!("an import is told {} {}, a name is changed", import.status, import.code()),
    );
}

async fn noted(node: &Node) -> bool {
    node.get("/health/ready").send().await.text().contains("80 % of its room")
}
