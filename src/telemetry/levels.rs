//! Log levels by module, changed while the service runs.
//!
//! The configured levels come back by themselves after a while, and with every start. Modules of the
//! service may be set to any level. Everything else goes no further than `info`: libraries tell at
//! `debug` what passes through them, values of statements and headers of requests among it, and that is
//! for nobody to switch on from afar.

use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use chrono::{DateTime, Utc};
use tracing_subscriber::EnvFilter;

/// Most directives of one list, and most characters of it.
const DIRECTIVES_MAX: usize = 50;
const CHARACTERS_MAX: usize = 2_000;

/// The least telling first.
const LEVELS: [&str; 6] = ["off", "error", "warn", "info", "debug", "trace"];

/// The most telling level of what is not ours.
const OF_OTHERS: &str = "info";

const OURS: &str = "customer_service";

/// Puts a filter in the place of the one before; false when there is no log any more.
pub type Reload = Box<dyn Fn(EnvFilter) -> bool + Send + Sync>;

/// The levels of this process. Cheap to clone.
#[derive(Clone)]
pub struct Levels(Arc<Inner>);

struct Inner {
    reload: Reload,
    configured: String,
    now: Mutex<Now>,
}

struct Now {
    directives: String,
    /// When the configured ones come back; `None`: they are in effect.
    until: Option<DateTime<Utc>>,
    /// Counts the changes: the end of an earlier one must not undo a later one.
    change: u64,
}

/// What is wrong with a list of levels, one sentence for each directive that is at fault.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Unreadable(pub Vec<String>);

impl fmt::Display for Unreadable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0.join(" "))
    }
}

impl Levels {
    /// The configured ones, which are in effect.
    pub fn new(configured: &str, reload: Reload) -> Self {
        let configured = configured.to_owned();
        let now = Mutex::new(Now { directives: configured.clone(), until: None, change: 0 });
        Self(Arc::new(Inner { reload, configured, now }))
    }

    /// Those of the configuration.
    pub fn configured(&self) -> &str {
        &self.0.configured
    }

    /// Those in effect, and until when; `None`: for good.
    pub fn current(&self) -> (String, Option<DateTime<Utc>>) {
        let now = self.now();
        (now.directives.clone(), now.until)
    }

    /// Puts others into effect, for whoever undoes it then. Answers with the number of this change, for
    /// [`Levels::undo`].
    ///
    /// # Errors
    /// Everything that is wrong with them; nothing has changed then.
    pub fn change(&self, directives: &str, until: DateTime<Utc>) -> Result<u64, Unreadable> {
        let directives = parse(directives)?;
        let mut now = self.now();
        self.put(&directives)?;
        now.directives = directives;
        now.until = Some(until);
        now.change += 1;
        Ok(now.change)
    }

    /// Back to the configured ones, unless they were changed anew meanwhile. Whether it did.
    pub fn undo(&self, change: u64) -> bool {
        let mut now = self.now();
        let mine = now.change == change && self.put(&self.0.configured).is_ok();
        if mine {
            now.directives.clone_from(&self.0.configured);
            now.until = None;
            now.change += 1;
        }
        mine
    }

    /// Undoes a change after a while.
    pub async fn undo_after(self, rest: Duration, change: u64) {
        tokio::time::sleep(rest).await;
        if self.undo(change) {
            tracing::warn!("log levels are those of the configuration again");
        }
    }

    /// Back to the configured ones, whatever is in effect.
    pub fn reset(&self) {
        let change = self.now().change;
        self.undo(change);
    }

    fn put(&self, directives: &str) -> Result<(), Unreadable> {
        let filter = filter(directives).map_err(|error| Unreadable(vec![error.to_string()]))?;
        if !(self.0.reload)(filter) {
            return Err(Unreadable(vec!["The log has ended.".to_owned()]));
        }
        Ok(())
    }

    /// Nothing panics under this lock.
    fn now(&self) -> MutexGuard<'_, Now> {
        self.0.now.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The filter of these directives, with what is never for an operator to switch on.
pub(super) fn filter(directives: &str) -> anyhow::Result<EnvFilter> {
    // It quotes whole messages, also those with addresses.
    let never = crate::brokers::rabbit::LOG_DIRECTIVE.parse()?;
    Ok(EnvFilter::try_new(directives)?.add_directive(never))
}

/// A list of `level` and `module=level`, as the filter takes it: without spaces, which it does not know.
/// It takes more, too: any word for a module at `trace`, so that `inof` would be no mistake.
///
/// # Errors
/// Everything that is wrong with it.
pub fn parse(directives: &str) -> Result<String, Unreadable> {
    let all: Vec<_> = directives.split(',').map(str::trim).collect();
    if directives.chars().count() > CHARACTERS_MAX || all.len() > DIRECTIVES_MAX {
        let most = format!("At most {DIRECTIVES_MAX} of them, in {CHARACTERS_MAX} characters.");
        return Err(Unreadable(vec![most]));
    }
    let faults: Vec<_> = all.iter().filter_map(|directive| fault(directive)).collect();
    if !faults.is_empty() {
        return Err(Unreadable(faults));
    }
    let tight = |directive: &&str| match directive.split_once('=') {
        Some((module, level)) => format!("{}={}", module.trim(), level.trim()),
        None => (*directive).to_owned(),
    };
    Ok(all.iter().map(tight).collect::<Vec<_>>().join(","))
}

fn fault(directive: &str) -> Option<String> {
    let (module, level) = match directive.split_once('=') {
        Some((module, level)) => (Some(module.trim()), level.trim()),
        None => (None, directive),
    };
    let known = |level: &str| LEVELS.iter().position(|known| known.eq_ignore_ascii_case(level));
    let Some(rank) = known(level) else {
        // What was sent is not repeated: it may be anything.
        return Some(format!(
            "Write a level ({}) or module=level, as in info,{OURS}::actors=debug; one is neither.",
            LEVELS.join(", ")
        ));
    };
    let name = |c: char| c.is_ascii_alphanumeric() || c == '_' || c == ':';
    if module.is_some_and(|module| module.is_empty() || !module.chars().all(name)) {
        return Some("A module is a path such as customer_service::actors::shard.".to_owned());
    }
    let ours = module.is_some_and(|module| {
        module.strip_prefix(OURS).is_some_and(|rest| rest.is_empty() || rest.starts_with("::"))
    });
    let most = known(OF_OTHERS).unwrap_or_default();
    (!ours && rank > most).then(|| {
        format!(
            "Only modules of {OURS} go beyond {OF_OTHERS}: libraries tell there what passes through \
             them, values of customers too. Start the service with telemetry.log for it."
        )
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use tracing_subscriber::layer::SubscriberExt;
    use tracing_subscriber::{Registry, reload};

    fn levels(log: &str) -> (Levels, reload::Layer<EnvFilter, Registry>) {
        let (layer, handle) = reload::Layer::new(filter(log).unwrap());
        (Levels::new(log, Box::new(move |filter| handle.reload(filter).is_ok())), layer)
    }

    fn then() -> DateTime<Utc> {
        DateTime::from_timestamp(1_800_000_000, 0).unwrap()
    }

    #[test]
    fn levels_are_changed_and_come_back() {
        let (levels, layer) = levels("info");
        let told = || {
            let info = tracing::enabled!(target: "customer_service::actors", tracing::Level::INFO);
            let debug =
                tracing::enabled!(target: "customer_service::actors", tracing::Level::DEBUG);
            let other = tracing::enabled!(target: "customer_service::db", tracing::Level::DEBUG);
            (info, debug, other)
        };
        tracing::subscriber::with_default(Registry::default().with(layer), || {
            assert_eq!(told(), (true, false, false));
            let first = levels.change("warn, customer_service::actors=debug", then()).unwrap();
            assert_eq!(told(), (true, true, false));
            let second = levels.change("warn", then()).unwrap();
            assert_eq!(told(), (false, false, false));
            assert!(!levels.undo(first), "a later change holds");
            assert_eq!(levels.current(), ("warn".to_owned(), Some(then())));
            assert!(levels.undo(second));
            assert_eq!(told(), (true, false, false));
            assert_eq!(levels.current(), ("info".to_owned(), None));
            levels.change("error", then()).unwrap();
            levels.reset();
            assert_eq!(levels.current().0, levels.configured());
        });
    }

    #[tokio::test(start_paused = true)]
    async fn a_change_ends_by_itself_unless_another_one_followed() {
        let (levels, _layer) = levels("info");
        let hour = Duration::from_secs(3_600);
        let first = levels.change("warn", then()).unwrap();
        let ended = tokio::spawn(levels.clone().undo_after(hour, first));
        tokio::time::sleep(hour - Duration::from_secs(1)).await;
        assert_eq!(levels.current().0, "warn");
        let second = levels.change("error", then()).unwrap();
        ended.await.unwrap();
        assert_eq!(levels.current().0, "error");
        levels.clone().undo_after(hour, second).await;
        assert_eq!(levels.current(), ("info".to_owned(), None));
    }

    #[test]
    fn what_is_no_list_of_levels_changes_nothing_and_says_why() {
        let (levels, _layer) = levels("info");
        for (list, word) in [
            ("", "neither"),
            ("inof", "neither"),
            ("info,,warn", "neither"),
            ("customer_service=loud", "neither"),
            ("customer_service[request{id=1}]=debug", "neither"),
            ("=debug", "path"),
            ("customer service=debug", "path"),
            ("debug", "libraries"),
            ("trace", "libraries"),
            ("tokio_postgres=debug", "libraries"),
            ("customer_services=debug", "libraries"),
            (&"info,".repeat(60), "At most"),
        ] {
            let faults = levels.change(list, then()).unwrap_err().to_string();
            assert!(faults.contains(word), "{list}: {faults}");
            assert_eq!(levels.current().0, "info");
        }
        let faults = levels.change("inof,debug,customer_service=trace", then()).unwrap_err();
        assert_eq!(faults.0.len(), 2, "every one of them");
        for list in ["off", "WARN", "info,lapin=error", " customer_service::http = TRACE "] {
            levels.change(list, then()).unwrap_or_else(|faults| panic!("{list}: {faults}"));
        }
    }

    #[test]
    fn what_quotes_whole_messages_stays_off() {
        let (target, _) = crate::brokers::rabbit::LOG_DIRECTIVE.split_once('=').unwrap();
        let text = filter("customer_service=trace").unwrap().to_string();
        assert!(text.contains(target), "{text}");
    }
}
