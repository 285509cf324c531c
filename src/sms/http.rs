//! A gateway that takes messages by `POST`: any provider, by configuration alone.
//!
//! What its answers mean: a configured success status (and, where configured, a text in its answer)
//! is success. 400, 413 and 422 judge this one message, so it is given up. 408, 425 and 429 ask for
//! patience. All else (redirects, 401, 404, 5xx, silence) is trouble of the installation or of the
//! gateway, and no message is condemned for it. A time-out may hide a success: the repetition carries
//! the same idempotency key.

use std::time::Duration;

use futures_util::future::BoxFuture;
use reqwest::header::{AUTHORIZATION, CONTENT_TYPE, HeaderName, HeaderValue};
use reqwest::redirect::Policy;
use reqwest::{Client, Response, StatusCode};
use secrecy::{ExposeSecret, SecretString};
use url::Url;

use super::{Gateway, SetupFault, TextFault, TextMessage};
use crate::config::{BodyTemplate, Filling};

/// So much of an answer is read; gateways say less.
const ANSWER_BYTES_MAX: usize = 64 * 1024;

/// Connections kept for the next message.
const IDLE_CONNECTIONS: usize = 4;

/// How to talk to the gateway.
#[derive(Clone, Debug)]
pub struct HttpSettings {
    pub url: Url,
    /// Value of `Authorization`, with `{secret}` where the secret goes; none: no such header.
    pub authorization: Option<String>,
    pub secret: SecretString,
    pub body: BodyTemplate,
    /// Header that tells the gateway a repetition from a new message.
    pub id_header: String,
    pub success_statuses: Vec<u16>,
    /// Text that a successful answer holds, for gateways that answer 200 to everything.
    pub success_text: Option<String>,
    /// For one message: connection, TLS, request and answer.
    pub timeout: Duration,
}

pub(super) struct HttpGateway {
    client: Client,
    settings: HttpSettings,
    authorization: Option<HeaderValue>,
    id_header: HeaderName,
}

impl HttpGateway {
    /// # Errors
    /// Header settings that are none, and what the HTTP client says of the machine's TLS roots.
    pub fn new(settings: HttpSettings) -> Result<Self, SetupFault> {
        let secret = Filling { to: "", text: "", id: "", secret: settings.secret.expose_secret() };
        let authorization = settings.authorization.as_deref().map(|template| {
            let mut value = HeaderValue::try_from(secret.fill(template))
                .map_err(|_| SetupFault::Authorization)?;
            value.set_sensitive(true);
            Ok(value)
        });
        let client = Client::builder()
            .timeout(settings.timeout)
            .pool_max_idle_per_host(IDLE_CONNECTIONS)
            // A redirect would carry the secret and the code to an address that nobody configured.
            .redirect(Policy::none())
            // Where messages go is in the configuration, not in the environment.
            .no_proxy()
            .user_agent(concat!("customer-service/", env!("CARGO_PKG_VERSION")))
            .build()
            .map_err(|error| SetupFault::Client(error.to_string()))?;
        Ok(Self {
            client,
            authorization: authorization.transpose()?,
            id_header: HeaderName::try_from(settings.id_header.as_str())
                .map_err(|_| SetupFault::IdHeader)?,
            settings,
        })
    }

    async fn post(&self, message: &TextMessage) -> Result<(), TextFault> {
        let id = message.id.to_string();
        let body = self.settings.body.fill(Filling {
            to: &message.to,
            text: &message.text,
            id: &id,
            secret: self.settings.secret.expose_secret(),
        });
        let mut request = self
            .client
            .post(self.settings.url.clone())
            .header(CONTENT_TYPE, self.settings.body.content_type())
            .header(&self.id_header, &id)
            .body(body);
        if let Some(authorization) = &self.authorization {
            request = request.header(AUTHORIZATION, authorization.clone());
        }
        let answer = request.send().await.map_err(|error| unreachable_for(&error))?;
        let status = answer.status();
        if self.settings.success_statuses.contains(&status.as_u16()) {
            self.read(answer).await
        } else {
            Err(refusal(status))
        }
    }

    /// Looks for the text of success; reading to the end also frees the connection for the next one.
    async fn read(&self, mut answer: Response) -> Result<(), TextFault> {
        let mut read = Vec::new();
        while read.len() < ANSWER_BYTES_MAX {
            match answer.chunk().await {
                Ok(Some(chunk)) => read.extend_from_slice(&chunk),
                Ok(None) => break,
                // Its head was a success; nothing else is asked of it.
                Err(_) if self.settings.success_text.is_none() => break,
                Err(error) => return Err(unreachable_for(&error)),
            }
        }
        match &self.settings.success_text {
            Some(text) if !String::from_utf8_lossy(&read).contains(text) => Err(
                TextFault::Transient("the SMS gateway's answer lacks sms.success_text".to_owned()),
            ),
            _ => Ok(()),
        }
    }
}

impl Gateway for HttpGateway {
    fn send<'a>(&'a self, message: &'a TextMessage) -> BoxFuture<'a, Result<(), TextFault>> {
        Box::pin(self.post(message))
    }
}

/// Status only: gateways repeat the recipient's number in their texts.
fn refusal(status: StatusCode) -> TextFault {
    let text = format!("the SMS gateway answered {}", status.as_u16());
    match status.as_u16() {
        400 | 413 | 422 => TextFault::Permanent(text),
        408 | 425 | 429 => TextFault::Transient(text),
        _ => TextFault::Unreachable(text),
    }
}

/// Kind only: the library's texts hold the address, in which a key may stand.
fn unreachable_for(error: &reqwest::Error) -> TextFault {
    let text = if error.is_timeout() {
        "the SMS gateway did not answer in time"
    } else if error.is_connect() {
        "the SMS gateway cannot be reached"
    } else {
        "the connection to the SMS gateway broke"
    };
    TextFault::Unreachable(text.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_answers_about_the_message_condemn_it() {
        for (status, permanent, transient) in [
            (400, true, false),
            (413, true, false),
            (422, true, false),
            (408, false, true),
            (429, false, true),
            (301, false, false),
            (401, false, false),
            (403, false, false),
            (404, false, false),
            (500, false, false),
            (503, false, false),
        ] {
            let fault = refusal(StatusCode::from_u16(status).unwrap());
            let found = (
                matches!(fault, TextFault::Permanent(_)),
                matches!(fault, TextFault::Transient(_)),
            );
            assert_eq!(found, (permanent, transient), "{status}");
        }
    }
}
