//! How many requests may be under way, and who is refused when there are so many. Pure: what is
//! decided follows from numbers that are handed in, so that it can be told in tables.
//!
//! The limit is no guess of how much a node can do. It begins as high as there may be connections, so
//! that nobody meets it, and falls only while work *waits before it is begun* for longer than is
//! allowed. When nothing waits any more it grows again: slowly while it still turns somebody away, fast
//! when it does not. What waits tells of overload whatever a request costs; how long a request takes does not, since
//! a sign-in takes a hundred times as long as a read on an idle machine, too.
//!
//! A request is held against those under way of its own class and of the classes above it, and each
//! class is refused at a lower fill than the one before. So while a lower class is admitted there is room
//! for every higher one, and a storm of one class takes nothing from those above it.

use super::class::Class;
use crate::config::Config;
use std::time::Duration;

/// How often the limit is looked at.
pub const WINDOW: Duration = Duration::from_millis(100);

/// So many windows in a row must be bad before anybody is refused: a burst that is worked off by itself
/// is no overload.
const PATIENCE: u32 = 5;

/// So many windows without a refusal, and there is no overload any more.
const CALM: u32 = 10;

/// What one window leaves of the limit where work waited a little too long, in hundredths: so little is
/// taken that the ceiling of the class above stays over what is under way.
const TRIMMED: usize = 95;

/// The same where it waited more than twice as long as it may.
const CUT: usize = 70;

/// `Retry-After` never asks for more: by then somebody has looked, or it is over.
const RETRY_MOST: Duration = Duration::from_secs(60);

/// The bounds of the limit, and when it falls.
#[derive(Clone, Copy, Debug)]
pub struct Settings {
    /// Longest that work may wait before it is begun.
    pub delay: Duration,
    /// Nobody is refused while fewer requests are under way.
    pub least: usize,
    /// As many as there may be connections.
    pub most: usize,
}

impl From<&Config> for Settings {
    fn from(config: &Config) -> Self {
        let connections =
            config.http.max_connections.saturating_mul(config.http.workers_or_cores());
        Self {
            delay: config.overload.delay_ms.duration(),
            least: config.overload.in_flight_min,
            most: connections,
        }
    }
}

/// From how many on, of the class and those above it, a request of the class is refused. `None`: never.
pub fn ceiling(class: Class, limit: usize) -> Option<usize> {
    let eighths = match class {
        Class::Health => return None,
        Class::Refresh => 8,
        Class::Reads => 7,
        Class::Writes => 6,
        Class::SignIn => 5,
        Class::Export => 4,
    };
    Some(limit.saturating_mul(eighths).div_ceil(8))
}

/// Whether a request of the class may begin beside so many of its own class and those above.
pub fn admits(class: Class, beside: usize, limit: usize) -> bool {
    ceiling(class, limit).is_none_or(|ceiling| beside < ceiling)
}

/// What was seen in one window.
#[derive(Clone, Copy, Debug)]
pub struct Window {
    /// How long work waited before it was begun.
    pub delay: Duration,
    /// The most requests that were under way.
    pub peak: usize,
    pub refused: u64,
}

/// The limit, as it follows what is seen.
#[derive(Clone, Debug)]
pub struct Limit {
    settings: Settings,
    now: usize,
    /// Windows in a row in which work waited too long.
    bad: u32,
    /// Windows since somebody was refused.
    quiet: u32,
}

impl Limit {
    pub fn new(settings: Settings) -> Self {
        let most = settings.most.max(settings.least);
        let settings = Settings { most, ..settings };
        Self { settings, now: most, bad: 0, quiet: CALM }
    }

    pub fn now(&self) -> usize {
        self.now
    }

    /// Whether somebody was refused lately.
    pub fn refuses(&self) -> bool {
        self.quiet < CALM
    }

    /// Takes one window into account; gives the limit for the next.
    pub fn observe(&mut self, window: Window) -> usize {
        let Settings { delay, least, most } = self.settings;
        self.quiet = if window.refused > 0 { 0 } else { self.quiet.saturating_add(1) };
        if window.delay <= delay {
            self.bad = 0;
            let step = if self.refuses() { self.now / 32 } else { self.now / 4 };
            self.now = self.now.saturating_add(step + 1).min(most);
            return self.now;
        }
        self.bad = self.bad.saturating_add(1);
        let patience = if self.refuses() { 1 } else { PATIENCE };
        // With so few under way it is not ours to mend: somebody else has the machine.
        if self.bad >= patience && window.peak > least {
            let kept = if window.delay > delay * 2 { CUT } else { TRIMMED };
            // A limit that is far above what is under way says nothing, and comes down at once; where
            // the lowest class meets it, half of it is under way.
            let met = self.now.min(window.peak.saturating_mul(2));
            self.now = (met.saturating_mul(kept) / 100).clamp(least, most);
        }
        self.now
    }
}

/// What a refusal knows of the state of things.
#[derive(Clone, Copy, Debug)]
pub struct Refusal {
    /// How many must end before one of the class may begin.
    pub excess: usize,
    /// How many end in a second.
    pub per_second: f64,
    /// For how long the class has been refused by now.
    pub lasted: Duration,
    /// The how manieth of the class it is: those who are refused together do not come back together.
    pub number: u64,
}

/// When to come again, in whole seconds. Not before the excess is worked off; and of an overload that
/// has lasted for a while the best guess is that it lasts for a while longer, so half of that. Spread up
/// to the double, evenly.
pub fn retry_after(refusal: Refusal) -> Duration {
    let Refusal { excess, per_second, lasted, number } = refusal;
    #[expect(clippy::cast_precision_loss, reason = "far below 2^52")]
    let room = if per_second > 0.0 { excess as f64 / per_second } else { 1.0 };
    let most = RETRY_MOST.as_secs_f64() / 2.0;
    let wait = room.max(lasted.as_secs_f64() / 2.0).clamp(1.0, most);
    Duration::from_secs_f64((wait * (1.0 + spread(number))).round())
}

/// From 0 to 1, evenly for numbers that follow each other: multiples of the golden ratio.
fn spread(number: u64) -> f64 {
    let turned = number.wrapping_mul(0x9e37_79b9_7f4a_7c15);
    #[expect(clippy::cast_precision_loss, reason = "32 bits")]
    let share = (turned >> 32) as f64 / (1_u64 << 32) as f64;
    share
}

#[cfg(test)]
mod tests;
