//! How long the models take to be fitted to as many customers as one likes, and how much memory:
//! `cargo run --release --example fit -- 100000`. The customers are made by the model itself, so that
//! what is found can be compared with what they were made from.

use std::time::Instant;

use customer_service::domain::analytics::history::History;
use customer_service::domain::analytics::model::{Outlook, fit};

/// What the customers are made from: CDNOW's parameters, over two years.
const R: f64 = 0.243;
const ALPHA: f64 = 4.414;
const A: f64 = 0.793;
const B: f64 = 2.426;
const P: f64 = 6.25;
const Q: f64 = 3.74;
const GAMMA: f64 = 1_544.0;
const DAYS: f64 = 730.0;

fn main() -> anyhow::Result<()> {
    let customers: usize = std::env::args().nth(1).unwrap_or("100000".to_owned()).parse()?;
    let mut dice = Dice(42);
    let histories: Vec<History> = (0..customers).map(|_| customer(&mut dice)).collect();
    let before = peak_kib();
    let began = Instant::now();
    let outlook = Outlook { months: 12, discount_rate: 0.1 };
    let fitted = fit(histories, outlook, &|_| true)?;
    let took = began.elapsed();
    let found = fitted.models.purchases;
    println!("customers  {} ({} bought again)", fitted.customers, fitted.repeaters);
    println!(
        "purchases  r {:.4} alpha {:.4} a {:.4} b {:.4}",
        found.r, found.alpha, found.a, found.b
    );
    println!("made from  r {R} alpha {ALPHA} a {A} b {B}");
    if let (Some(value), Ok(fit)) = (fitted.models.value, fitted.value) {
        println!(
            "value      p {:.3} q {:.3} gamma {:.1} of {}",
            value.p, value.q, value.gamma, fit.customers
        );
        println!("made from  p {P} q {Q} gamma {GAMMA}");
    }
    println!(
        "time       {:.2} s, {} evaluations",
        took.as_secs_f64(),
        fitted.purchases.evaluations
    );
    println!(
        "memory     {} MiB at most, {} MiB before the fit",
        peak_kib() / 1_024,
        before / 1_024
    );
    Ok(())
}

/// The most memory that this process has had, in KiB; 0 where the system does not tell.
fn peak_kib() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    line.and_then(|line| line.trim().trim_end_matches(" kB").parse().ok()).unwrap_or(0)
}

/// Numbers that look random and are the same each time (splitmix64).
struct Dice(u64);

impl Dice {
    fn uniform(&mut self) -> f64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^= mixed >> 31;
        ((mixed >> 11) as f64 + 0.5) / (1_u64 << 53) as f64
    }

    fn exponential(&mut self) -> f64 {
        -self.uniform().ln()
    }

    fn normal(&mut self) -> f64 {
        (2.0 * self.exponential()).sqrt() * (std::f64::consts::TAU * self.uniform()).cos()
    }

    /// Marsaglia and Tsang.
    fn gamma(&mut self, shape: f64) -> f64 {
        if shape < 1.0 {
            return self.gamma(shape + 1.0) * self.uniform().powf(1.0 / shape);
        }
        let d = shape - 1.0 / 3.0;
        loop {
            let x = self.normal();
            let v = (1.0 + x / (9.0 * d).sqrt()).powi(3);
            if v > 0.0 && self.uniform().ln() < 0.5 * x * x + d - d * v + d * v.ln() {
                return d * v;
            }
        }
    }

    fn beta(&mut self, a: f64, b: f64) -> f64 {
        let (a, b) = (self.gamma(a), self.gamma(b));
        a / (a + b)
    }
}

/// Somebody who came at some time within two years, and bought by the model ever since.
fn customer(dice: &mut Dice) -> History {
    let age = (DAYS * dice.uniform()).floor();
    let (rate, gone) = (dice.gamma(R) / ALPHA / 7.0, dice.beta(A, B));
    let mean = P * GAMMA / dice.gamma(Q);
    let (mut repeats, mut last, mut at, mut sum) = (0, 0.0, 0.0, 0.0);
    loop {
        at += dice.exponential() / rate;
        if at > age {
            break;
        }
        // orders of one day are one purchase
        if at.floor() > last {
            repeats += 1;
            last = at.floor();
            sum += mean * dice.gamma(P) / P;
        }
        if dice.uniform() < gone {
            break;
        }
    }
    History {
        repeats,
        last: last as u32,
        age: age as u32,
        mean: if repeats == 0 { 0.0 } else { sum / f64::from(repeats) },
    }
}
