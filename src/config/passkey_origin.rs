//! Where passkeys may be used: web origins like those of browsers, and Android apps.

use super::values::{ListItem, Origin, Wrong, web_address, wrong};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use url::Url;

/// Where a passkey may be used: a web origin, or an Android app by the hash of its signing key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PasskeyOrigin(Url);

impl PasskeyOrigin {
    /// What an Android app calls its origin begins with this; a SHA-256 in base64url follows.
    const APP: &str = "android:apk-key-hash:";

    /// As the origin stands in what the authenticator signs.
    pub fn url(&self) -> &Url {
        &self.0
    }

    /// False for an app.
    pub fn is_web(&self) -> bool {
        self.0.has_host()
    }
}

impl ListItem for PasskeyOrigin {
    fn parse_item(text: &str) -> Result<Self, Wrong> {
        let Some(hash) = text.strip_prefix(Self::APP) else {
            // an origin as it was understood is a web address as well
            let origin = Origin::parse_item(text)?;
            return web_address(origin.as_str()).map(PasskeyOrigin);
        };
        match (URL_SAFE_NO_PAD.decode(hash), Url::parse(text)) {
            (Ok(bytes), Ok(url)) if bytes.len() == 32 => Ok(PasskeyOrigin(url)),
            _ => wrong(
                format!("contains \"{text}\", which names no app"),
                "write the SHA-256 of the app's signing certificate in base64url after it",
            ),
        }
    }

    fn show_item(&self) -> String {
        if self.is_web() { self.0.origin().ascii_serialization() } else { self.0.to_string() }
    }
}
