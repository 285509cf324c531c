//! Customers who come, sign in, agree, make lists, want to be deleted and think better of it, seen by
//! staff meanwhile: most of what a version may have changed. Each request is sent once, over
//! connections that are kept, and what is not answered as it should be has failed.

use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use tokio::task::JoinSet;
use tokio::time::sleep;

use crate::harness::api::Call;
use crate::harness::shopper::{self, PASSWORD};
use crate::harness::{Answer, Api, Shop, Shopper, mailbox};
use crate::load::Route;

/// Between two requests of one customer.
const PACE: Duration = Duration::from_millis(40);

const DELETION: &str = "/v1/me/privacy/deletion";

/// What the tellers share.
struct Shared {
    route: Route,
    mails: PathBuf,
    staff_key: String,
    ended: AtomicBool,
    told: Mutex<Told>,
    whole: AtomicUsize,
}

/// What came of all stories.
#[derive(Default)]
pub struct Told {
    /// When each call began and how long it took.
    pub calls: Vec<(Instant, Duration)>,
    pub failed: Vec<String>,
    /// Who cancelled a deletion, and whose consent to advertising was forgotten by that.
    pub back: usize,
    pub forgotten: usize,
    /// Stories told to their end.
    pub whole: usize,
}

/// Stories that are being told; see the module.
pub struct Stories {
    shared: Arc<Shared>,
    tellers: JoinSet<()>,
}

impl Stories {
    /// So many customers at a time.
    pub fn begin(route: &Route, shop: &Shop, tellers: usize) -> Self {
        let shared = Arc::new(Shared {
            route: route.clone(),
            mails: shop.folder().join("mail"),
            staff_key: shop.staff_key.clone(),
            ended: AtomicBool::new(false),
            told: Mutex::default(),
            whole: AtomicUsize::new(0),
        });
        let mut running = JoinSet::new();
        for _ in 0..tellers {
            let shared = shared.clone();
            running.spawn(async move {
                while !shared.ended.load(Ordering::Acquire) {
                    let whole = shared.story().await.is_some();
                    shared.whole.fetch_add(usize::from(whole), Ordering::AcqRel);
                }
            });
        }
        Self { shared, tellers: running }
    }

    /// Somebody comes and asks to be deleted; answers with the address.
    pub async fn leaves(&self) -> Option<String> {
        let me = self.shared.comes().await?;
        self.shared.leaves(&me).await?;
        Some(me.email)
    }

    /// Who left some time ago, and perhaps another version, comes back.
    pub async fn comes_back(&self, email: Option<String>) {
        if let Some(email) = email {
            self.shared.comes_back(&email).await;
        }
    }

    /// Ends it once each story that has begun is told.
    pub async fn end(mut self) -> Told {
        self.shared.ended.store(true, Ordering::Release);
        while let Some(teller) = self.tellers.join_next().await {
            teller.expect("a story ends");
        }
        let told = std::mem::take(&mut *self.shared.told.lock().unwrap());
        Told { whole: self.shared.whole.load(Ordering::Acquire), ..told }
    }
}

impl Shared {
    /// Asks whoever serves, once.
    async fn ask(&self, status: u16, call: impl FnOnce(&Api) -> Call) -> Option<Answer> {
        sleep(PACE).await;
        let began = Instant::now();
        let answer = call(&self.route.next()).try_send().await;
        let mut told = self.told.lock().unwrap();
        told.calls.push((began, began.elapsed()));
        match answer {
            Ok(answer) if answer.status == status => Some(answer),
            Ok(answer) => {
                let problem: Value = serde_json::from_slice(&answer.body).unwrap_or_default();
                let (code, instance) = (&problem["code"], &problem["instance"]);
                told.failed.push(format!("{} {code} {instance}", answer.status));
                None
            }
            Err(error) => {
                told.failed.push(format!("{error:?}"));
                None
            }
        }
    }

    /// One customer's; `None` once something failed.
    async fn story(&self) -> Option<()> {
        let me = self.comes().await?;
        let list = json!({ "name": "For later" });
        let list = self.ask(201, |api| me.post(api, "/v1/me/wishlists", list)).await?;
        let items = format!("{}/items", list.header("location"));
        self.ask(201, |api| me.post(api, &items, json!({ "sku": "LAMP-7" }))).await?;
        let seen = format!("/v1/admin/customers/{}", me.id);
        self.ask(200, |api| api.get(&seen).bearer(&self.staff_key)).await?;
        let pair = self.ask(200, |api| shopper::refresh_call(api, &me.refresh)).await?;
        let me = Shopper::of(&me.email, &pair);
        self.ask(200, |api| me.get(api, "/v1/me/sessions")).await?;
        self.leaves(&me).await?;
        let back = self.comes_back(&me.email).await?;
        let session = json!({ "refresh_token": back.refresh });
        self.ask(204, |api| api.post("/v1/auth/logout", session)).await?;
        Some(())
    }

    /// A customer who agrees to advertising.
    async fn comes(&self) -> Option<Shopper> {
        let email = shopper::address();
        self.ask(202, |api| api.post("/v1/auth/register", shopper::registration(&email))).await?;
        let token = mailbox::mail_to(&self.mails, &email, 1).await.token();
        let verify = json!({ "token": token });
        let pair = self.ask(200, |api| api.post("/v1/auth/email/verify", verify)).await?;
        let me = Shopper::of(&email, &pair);
        let grant = json!({ "granted": true, "channel": "email", "text_version": "1" });
        self.ask(200, |api| me.put(api, "/v1/me/consents/marketing", grant)).await?;
        Some(me)
    }

    /// Asks to be deleted.
    async fn leaves(&self, me: &Shopper) -> Option<()> {
        let proof = json!({ "password": PASSWORD });
        self.ask(202, |api| me.post(api, DELETION, proof)).await.map(drop)
    }

    /// Thinks better of it, and finds all as it was.
    async fn comes_back(&self, email: &str) -> Option<Shopper> {
        let inside = self.sign_in(email).await?;
        self.ask(204, |api| inside.delete(api, DELETION)).await?;
        let back = self.sign_in(email).await?;
        let profile = self.ask(200, |api| back.get(api, "/v1/me")).await?.json();
        let mut told = self.told.lock().unwrap();
        told.back += 1;
        told.forgotten += usize::from(profile["accepts_marketing"] != true);
        Some(back)
    }

    async fn sign_in(&self, email: &str) -> Option<Shopper> {
        let body = json!({ "email": email, "password": PASSWORD });
        let pair = self.ask(200, |api| api.post("/v1/auth/login", body)).await?;
        Some(Shopper::of(email, &pair))
    }
}
