//! Reading the text messages that a node wrote as files.

use std::path::{Path, PathBuf};
use std::time::Duration;

use serde_json::Value;

use super::eventually;

/// One text message as a test looks at it.
#[derive(Clone, Debug)]
pub struct Text {
    pub text: String,
}

impl Text {
    /// The code, which comes first.
    pub fn code(&self) -> String {
        self.text.chars().take(6).collect()
    }
}

/// The text messages to `number` so far, oldest first.
pub fn texts_to(folder: &Path, number: &str) -> Vec<Text> {
    let mut files: Vec<PathBuf> = std::fs::read_dir(folder)
        .map(|entries| entries.filter_map(|entry| Some(entry.ok()?.path())).collect())
        .unwrap_or_default();
    files.retain(|file| file.extension().is_some_and(|extension| extension == "json"));
    // Their names begin with the time of the decision.
    files.sort();
    let read = files.iter().filter_map(|file| std::fs::read_to_string(file).ok());
    read.filter_map(|json| serde_json::from_str::<Value>(&json).ok())
        .filter(|message| message["to"] == number)
        .map(|message| Text { text: message["text"].as_str().expect("a text").to_owned() })
        .collect()
}

/// Waits for the `count`-th text message to `number`, counted from 1.
pub async fn text_to(folder: &Path, number: &str, count: usize) -> Text {
    let what = format!("text message {count} to {number}");
    eventually(&what, Duration::from_secs(20), async || {
        texts_to(folder, number).into_iter().nth(count - 1)
    })
    .await
}
