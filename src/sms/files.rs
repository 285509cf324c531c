//! Text messages as files in a folder: `{"id", "to", "text", "created_at"}`, one each.

use std::path::{Path, PathBuf};

use chrono::SecondsFormat;
use futures_util::future::BoxFuture;
use serde_json::json;
use tokio::io::AsyncWriteExt;

use super::{Gateway, TextFault, TextMessage};

/// The folder; made when the first message comes.
pub(super) struct Files {
    folder: PathBuf,
}

impl Files {
    pub fn new(folder: PathBuf) -> Self {
        Self { folder }
    }
}

impl Gateway for Files {
    fn send<'a>(&'a self, message: &'a TextMessage) -> BoxFuture<'a, Result<(), TextFault>> {
        Box::pin(async {
            let written = write(&self.folder, message).await;
            written.map_err(|error| {
                TextFault::Transient(format!("folder of text messages: {}", error.kind()))
            })
        })
    }
}

/// Writes beside the target and renames, so that a reader never sees half a message. The name
/// sorts by time and is the same on every attempt.
async fn write(folder: &Path, message: &TextMessage) -> std::io::Result<()> {
    let time = message.created_at.format("%Y%m%dT%H%M%S%.6fZ");
    let name = format!("{time}-{}.json", message.id);
    let target = folder.join(&name);
    if tokio::fs::try_exists(&target).await? {
        return Ok(());
    }
    let content = json!({
        "id": message.id,
        "to": message.to,
        "text": message.text,
        "created_at": message.created_at.to_rfc3339_opts(SecondsFormat::Micros, true),
    });
    tokio::fs::create_dir_all(folder).await?;
    // Two processes on one folder do not write the same draft.
    let draft = folder.join(format!(".{name}.{}", std::process::id()));
    let mut file = tokio::fs::OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(true)
        .mode(0o600)
        .open(&draft)
        .await?;
    file.write_all(format!("{content:#}\n").as_bytes()).await?;
    file.sync_all().await?;
    tokio::fs::rename(&draft, &target).await
}

#[cfg(test)]
mod tests {
    use super::*;
    use chrono::DateTime;
    use uuid::Uuid;

    #[tokio::test]
    async fn a_message_sent_twice_is_one_file() {
        let id = Uuid::from_u128(0x5a5);
        let folder = std::env::temp_dir().join(format!("sms-{}-{id}", std::process::id()));
        let message = TextMessage {
            id,
            to: "+84912345678".to_owned(),
            text: "012345 là mã".to_owned(),
            created_at: DateTime::from_timestamp(1_800_000_000, 0).unwrap(),
        };
        let files = Files::new(folder.clone());
        for _ in 0..2 {
            files.send(&message).await.unwrap();
        }
        let entries: Vec<_> = std::fs::read_dir(&folder).unwrap().flatten().collect();
        let [entry] = &entries[..] else { panic!("one file, not {}", entries.len()) };
        let text = std::fs::read_to_string(entry.path()).unwrap();
        let json: serde_json::Value = serde_json::from_str(&text).unwrap();
        assert_eq!(
            (json["to"].as_str(), json["text"].as_str()),
            (Some("+84912345678"), Some("012345 là mã"))
        );
        std::fs::remove_dir_all(&folder).unwrap();
    }

    #[tokio::test]
    async fn a_folder_that_cannot_be_is_trouble_for_now() {
        let message = TextMessage {
            id: Uuid::nil(),
            to: "+84912345678".to_owned(),
            text: String::new(),
            created_at: DateTime::UNIX_EPOCH,
        };
        let fault = Files::new("/dev/null/sms".into()).send(&message).await.unwrap_err();
        assert!(matches!(&fault, TextFault::Transient(_)), "{fault}");
        assert!(!fault.to_string().contains("912"), "{fault}");
    }
}
