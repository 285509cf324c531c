//! Reading the mails that a node wrote as `.eml` files.

use std::path::{Path, PathBuf};
use std::time::Duration;

use base64::{Engine, engine::general_purpose::STANDARD};

use super::eventually;

/// One mail as a test looks at it.
#[derive(Clone, Debug)]
pub struct Mail {
    /// The template's name, from `X-Template`.
    pub kind: String,
    /// The whole file.
    pub raw: String,
}

impl Mail {
    /// The text for people without HTML, decoded.
    pub fn text(&self) -> String {
        let (_, part) = self.raw.split_once("Content-Type: text/plain").expect("a text part");
        let (head, body) = part.split_once("\r\n\r\n").expect("a body after its header");
        let body = body.split("\r\n--").next().unwrap_or_default();
        let bytes = if head.contains("base64") {
            STANDARD.decode(body.replace("\r\n", "")).expect("base64")
        } else {
            assert!(!head.contains("quoted-printable"), "not expected of our mails: {head}");
            body.as_bytes().to_vec()
        };
        String::from_utf8(bytes).expect("UTF-8")
    }

    /// The token in the mail's link.
    pub fn token(&self) -> String {
        let text = self.text();
        let (_, after) = text.split_once("token=").expect("the mail has a link with a token");
        let end = |c: char| !(c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.'));
        after.split(end).next().unwrap_or_default().to_owned()
    }
}

/// The mails to `address` so far, oldest first.
pub fn mails_to(folder: &Path, address: &str) -> Vec<Mail> {
    let mut files: Vec<PathBuf> = std::fs::read_dir(folder)
        .map(|entries| entries.filter_map(|entry| Some(entry.ok()?.path())).collect())
        .unwrap_or_default();
    files.retain(|file| file.extension().is_some_and(|extension| extension == "eml"));
    // Their names begin with the mail's time-ordered id.
    files.sort();
    let read = files.iter().filter_map(|file| std::fs::read_to_string(file).ok());
    read.filter(|raw| field(raw, "To").is_some_and(|to| to.contains(address)))
        .map(|raw| Mail { kind: field(&raw, "X-Template").unwrap_or_default(), raw })
        .collect()
}

/// Waits for the `number`-th mail to `address`, counted from 1; notices of new devices and of
/// locks, which come with any sign-in of a test, are not counted.
pub async fn mail_to(folder: &Path, address: &str, number: usize) -> Mail {
    let what = format!("mail {number} to {address}");
    eventually(&what, Duration::from_secs(20), async || {
        let counted = mails_to(folder, address)
            .into_iter()
            .filter(|mail| !["new_device", "sign_in_locked"].contains(&mail.kind.as_str()));
        counted.into_iter().nth(number - 1)
    })
    .await
}

fn field(raw: &str, name: &str) -> Option<String> {
    let head = raw.split("\r\n\r\n").next()?;
    let value = head.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'))?;
    Some(value.trim().to_owned())
}
