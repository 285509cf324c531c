//! Where scenarios play: one private server of each kind, which they may kill and freeze, the scale
//! of the run, and dice whose seed is told.

use std::sync::Mutex;
use std::time::Duration;

use customer_service::clock::{Clock, SystemClock};
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};

use crate::harness::Shop;
use crate::harness::db::TestDatabase;
use crate::harness::servers::PrivateServer;

/// See the module.
pub struct Ground {
    pub postgres: PrivateServer,
    pub rabbit: PrivateServer,
    pub redis: PrivateServer,
    /// The whole suite, or the short form of it.
    pub full: bool,
    pub seed: u64,
    dice: Mutex<StdRng>,
}

impl Ground {
    /// Starts the servers: 15 s.
    pub fn prepare(full: bool, seed: u64) -> Self {
        let [postgres, rabbit, redis] = std::thread::scope(|scope| {
            ["postgres", "rabbitmq", "redis"]
                .map(|name| scope.spawn(move || PrivateServer::start(name)))
                .map(|starting| starting.join().expect("a private server starts"))
        });
        let dice = Mutex::new(StdRng::seed_from_u64(seed));
        Self { postgres, rabbit, redis, full, seed, dice }
    }

    /// A shop on these servers, with settings that differ.
    pub async fn shop(&self, settings: &[(&str, &str)]) -> Shop {
        let database = TestDatabase::on(&self.postgres.url).await;
        Shop::with(database, &self.settings(settings)).await
    }

    /// A shop on a database without a table.
    pub async fn bare_shop(&self, settings: &[(&str, &str)]) -> Shop {
        let database = TestDatabase::empty_on(&self.postgres.url).await;
        Shop::before_any_key(database, &self.settings(settings))
    }

    /// Those of these servers, and those that differ.
    fn settings<'a>(&'a self, differ: &[(&'a str, &'a str)]) -> Vec<(&'a str, &'a str)> {
        let usual = [
            ("REDIS__URL", &*self.redis.url),
            ("RABBIT__URL", &*self.rabbit.url),
            // Some scenarios last longer than a token does by default, and no caller refreshes.
            ("SESSIONS__ACCESS_TOKEN_MINUTES", "60"),
        ];
        usual.into_iter().chain(differ.iter().copied()).collect()
    }

    /// One of two: as it is in the short form, or in the whole suite.
    pub fn either<T>(&self, short: T, full: T) -> T {
        if self.full { full } else { short }
    }

    pub fn seconds(&self, short: u64, full: u64) -> Duration {
        Duration::from_secs(self.either(short, full))
    }

    /// A number below `limit`, by the run's seed.
    pub fn roll(&self, limit: u64) -> u64 {
        self.dice.lock().unwrap().next_u64() % limit
    }
}

/// `FAULTS_SEED`, or one of the system's.
pub fn seed() -> u64 {
    let given = std::env::var("FAULTS_SEED").ok();
    given.map_or_else(
        || {
            let mut bytes = [0; 4];
            SystemClock.random(&mut bytes);
            u32::from_le_bytes(bytes).into()
        },
        |text| text.parse().expect("FAULTS_SEED is a number"),
    )
}
