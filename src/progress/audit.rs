//! `customer-service audit …` as people see it.

use crate::{AuditCommand, Failure, time};
use customer_service::actors::audit_trail::{Shown, Verdict, hash, hex};
use customer_service::app::audit;
use customer_service::config::Config;
use customer_service::domain::audit_chain::{Broken, Hash};
use customer_service::security::audit_seal::AuditPublicKey;
use serde_json::json;
use std::process::ExitCode;

/// Something is broken.
const EXIT_BROKEN: u8 = 3;

/// Carries a command out.
pub fn run(config: &Config, command: AuditCommand) -> Result<ExitCode, Failure> {
    match command {
        AuditCommand::Verify { trust, checkpoint, json } => {
            let verdict = audit::verify(config, trust, checkpoint, |_| {})?;
            if json {
                tell_json(&verdict)
            } else {
                tell(&verdict)
            }
            let broken = verdict.broken.is_some();
            Ok(if broken { ExitCode::from(EXIT_BROKEN) } else { ExitCode::SUCCESS })
        }
        AuditCommand::Proof { entry } => match audit::prove(config, entry)? {
            Shown::Proof(proof) => {
                println!("{proof:#}");
                Ok(ExitCode::SUCCESS)
            }
            Shown::Broken(broken) => {
                eprintln!("{}", words(&broken));
                Ok(ExitCode::from(EXIT_BROKEN))
            }
            Shown::Unknown => Err(anyhow::anyhow!("there is no such entry").into()),
            Shown::Unsealed => {
                Err(anyhow::anyhow!("no checkpoint covers it yet: ask again in a minute").into())
            }
        },
        AuditCommand::Key => {
            println!("{}", audit::key(config));
            Ok(ExitCode::SUCCESS)
        }
    }
}

fn tell(verdict: &Verdict) {
    if let Some((number, hash, sealed_at)) = &verdict.last {
        println!("checkpoint  {number}:{}  of {}", hex(hash), time(*sealed_at));
    }
    println!("intact      {} entries, {} deleted for their age", verdict.intact, verdict.expired);
    println!("unsealed    {} entries", verdict.unsealed);
    if let Some(broken) = &verdict.broken {
        println!("BROKEN      {}", words(broken));
    }
}

fn tell_json(verdict: &Verdict) {
    let last = verdict.last.as_ref().map(|(number, hash, sealed_at)| {
        json!({ "number": number, "hash": hex(hash), "sealed_at": time(*sealed_at) })
    });
    let broken = verdict.broken.as_ref().map(|broken| {
        let words = words(broken);
        match broken {
            Broken::Checkpoint { number, .. } => {
                json!({ "kind": "checkpoint", "number": number, "detail": words })
            }
            Broken::Block { shard, number, .. } => {
                json!({ "kind": "block", "shard": shard, "number": number, "detail": words })
            }
            Broken::Entry { seq, id, harm } => json!({
                "kind": "entry", "seq": seq, "id": id, "harm": harm.as_str(), "detail": words,
            }),
        }
    });
    let told = json!({
        "checkpoint": last, "intact": verdict.intact, "expired": verdict.expired,
        "unsealed": verdict.unsealed, "broken": broken,
    });
    println!("{told}");
}

fn words(broken: &Broken) -> String {
    match broken {
        Broken::Checkpoint { number, why } => format!("checkpoint {number} {why}"),
        Broken::Block { shard, number, why } => format!("block {number} of shard {shard} {why}"),
        Broken::Entry { seq, id, harm } => {
            let id = id.map_or_else(String::new, |id| format!(" ({id})"));
            format!("the entry at place {seq}{id} was {}", harm.as_str())
        }
    }
}

/// A public key at the command line.
pub fn key(text: &str) -> Result<AuditPublicKey, String> {
    AuditPublicKey::parse(text).map_err(|error| error.to_string())
}

/// A checkpoint at the command line, as `verify` prints it.
pub fn noted(text: &str) -> Result<(i64, Hash), String> {
    let noted = text.split_once(':').and_then(|(number, digits)| {
        Some((number.parse().ok().filter(|number| *number > 0)?, hash(digits)?))
    });
    noted.ok_or_else(|| "a number, a colon and 64 hexadecimal digits".to_owned())
}
