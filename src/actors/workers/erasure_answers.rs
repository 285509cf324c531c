//! The answers of other services to the commands of erasures: read from their queue, one after the
//! other, and acknowledged when what they say is committed. A copy changes nothing; what nobody can use
//! is buried with its reason.

use crate::actors::customers::{Customers, SubmitError};
use crate::actors::worker::{Done, Worker};
use crate::brokers::rabbit::{DeadLetter, DeadLetters, Feed, Letter, Source};
use crate::clock::Clock;
use crate::db::{self, Database};
use crate::domain::command::Subject;
use crate::domain::erasure::{DeletionCommand, RetryPolicy, StepAnswer};
use crate::domain::outcome::Rejection;
use crate::domain::{Actor, Command, Context, CustomerId, ErasureId, StepId, Submission};
use crate::faults;
use anyhow::bail;
use metrics::counter;
use serde::Deserialize;
use std::sync::Arc;
use std::time::Duration;
use tokio::time::{Instant, timeout_at};
use uuid::Uuid;

/// An answer is two ids and two words.
const BODY_MAX: usize = 8 * 1024;

/// A run hands back after this long, so that a stop or a pause is heard.
const RUN_TIME_MAX: Duration = Duration::from_secs(1);

/// How often everything is declared again while it is read.
const DECLARE_PERIOD: Duration = Duration::from_secs(30);

/// What is told of a failure without a code.
const UNSPECIFIED: &str = "unspecified";

/// What answers are recorded with.
#[derive(Clone)]
pub struct AnswerParts {
    pub source: Source,
    pub dead_letters: DeadLetters,
    pub database: Database,
    pub customers: Customers,
    pub clock: Arc<dyn Clock>,
    pub policy: RetryPolicy,
}

/// The worker; see the module. Not to be started without a broker.
pub struct ErasureAnswers {
    parts: AnswerParts,
    feed: Option<Feed>,
    declare_at: Instant,
}

/// An answer as it is sent; later senders may add members.
#[derive(Debug, Deserialize)]
struct Sent {
    erasure_id: Uuid,
    step_id: Uuid,
    result: SentResult,
    #[serde(default)]
    detail: Option<String>,
}

#[derive(Debug, Clone, Copy, Deserialize)]
#[serde(rename_all = "snake_case")]
enum SentResult {
    Done,
    Failed,
}

/// What a message says.
#[derive(Debug, PartialEq, Eq)]
struct Said {
    erasure: ErasureId,
    step: StepId,
    answer: StepAnswer,
}

/// Why a message cannot be used: a stable code, and words without a value of the message.
#[derive(Debug, PartialEq, Eq)]
struct Unusable(&'static str, &'static str);

/// Reads an answer. Of a failure only a code is kept: words of another service may name the very person
/// that is to be forgotten.
fn read(body: &[u8]) -> Result<Said, Unusable> {
    if body.len() > BODY_MAX {
        return Err(Unusable("too_large", "an answer has at most 8 KiB"));
    }
    let value: serde_json::Value =
        serde_json::from_slice(body).map_err(|_| Unusable("not_json", "the body is no JSON"))?;
    let shape = "an answer is erasure_id, step_id, result (done or failed) and detail";
    if !value.is_object() {
        return Err(Unusable("wrong_shape", shape));
    }
    let sent: Sent = serde_json::from_value(value).map_err(|_| Unusable("wrong_shape", shape))?;
    let answer = match sent.result {
        SentResult::Done => StepAnswer::Done,
        SentResult::Failed => StepAnswer::Failed(
            sent.detail.filter(|it| is_code(it)).unwrap_or(UNSPECIFIED.to_owned()),
        ),
    };
    Ok(Said { erasure: ErasureId(sent.erasure_id), step: StepId(sent.step_id), answer })
}

fn is_code(text: &str) -> bool {
    let plain = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'_';
    (1..=64).contains(&text.len()) && text.bytes().all(plain)
}

impl ErasureAnswers {
    pub fn new(parts: AnswerParts) -> Self {
        Self { parts, feed: None, declare_at: Instant::now() }
    }

    /// Sees to it that there is a feed, and what it is fed by.
    async fn attend(&mut self) -> anyhow::Result<()> {
        match &self.feed {
            None => self.feed = Some(self.parts.source.open().await?),
            Some(feed) if Instant::now() >= self.declare_at => {
                self.parts.source.declare(feed).await?;
            }
            Some(_) => return Ok(()),
        }
        self.declare_at = Instant::now() + DECLARE_PERIOD;
        Ok(())
    }

    async fn run(&mut self) -> anyhow::Result<usize> {
        self.attend().await?;
        let until = Instant::now() + RUN_TIME_MAX;
        let mut handled = 0;
        while let Some(feed) = &mut self.feed {
            let Ok(letter) = timeout_at(until, feed.next()).await else { break };
            let letter = letter?;
            faults::at("answers.taken");
            self.handle(&letter).await?;
            faults::at("answers.recorded");
            letter.acknowledge().await?;
            faults::at("answers.acknowledged");
            handled += 1;
        }
        Ok(handled)
    }

    /// An error: it comes again with the next feed.
    async fn handle(&self, letter: &Letter) -> anyhow::Result<()> {
        let said = match read(&letter.body) {
            Ok(said) => said,
            Err(unusable) => return self.bury(letter, &unusable).await,
        };
        let step = said.step;
        let found = self.parts.database.read(move |connection| {
            Box::pin(async move { db::erasures::step(connection, step).await })
        });
        match found.await? {
            None => {
                let unusable = Unusable("unknown_step", "there is no step of this id");
                self.bury(letter, &unusable).await
            }
            Some((_, erasure, _)) if erasure != said.erasure => {
                let unusable = Unusable("wrong_erasure", "the step is of another erasure");
                self.bury(letter, &unusable).await
            }
            // A copy, or too late to matter.
            Some((_, _, true)) => {
                counter!("erasure_answers_total", "outcome" => "known").increment(1);
                Ok(())
            }
            Some((customer, _, false)) => self.record(customer, said, letter).await,
        }
    }

    async fn record(
        &self,
        customer: CustomerId,
        said: Said,
        letter: &Letter,
    ) -> anyhow::Result<()> {
        let Said { erasure, step, answer } = said;
        let failed = answer != StepAnswer::Done;
        let policy = self.parts.policy;
        let command = DeletionCommand::Answer { erasure, step, answer, policy };
        let context = Context {
            actor: Actor::Service,
            now: self.parts.clock.now(),
            request_id: self.parts.clock.new_id().to_string(),
            traceparent: None,
        };
        let submission = Submission {
            subject: Subject::Customer(customer),
            command: Command::Deletion(command),
            context,
            idempotency: None,
        };
        match self.parts.customers.submit(submission).await {
            Ok(_) => {
                counter!("erasure_answers_total", "outcome" => "recorded").increment(1);
                if failed {
                    tracing::warn!(%erasure, %step, "a service did not forget a customer; it is told again");
                }
                Ok(())
            }
            // Done by somebody else between the look and now.
            Err(SubmitError::Rejected(Rejection::NotFound)) => {
                counter!("erasure_answers_total", "outcome" => "known").increment(1);
                Ok(())
            }
            // By a rule, so again at each try: it must not keep the answers behind it waiting. The step
            // stays open, and is commanded anew.
            Err(SubmitError::Rejected(_)) => {
                self.bury(letter, &Unusable("refused", "a rule refuses to record the answer")).await
            }
            Err(error) => bail!("an answer was not recorded: {error}"),
        }
    }

    async fn bury(&self, letter: &Letter, unusable: &Unusable) -> anyhow::Result<()> {
        let Unusable(reason, detail) = *unusable;
        let dead = DeadLetter {
            routing_key: &letter.routing_key,
            body: &letter.body,
            message_id: letter.message_id.as_deref(),
            reason,
            detail,
            first_seen: self.parts.clock.now(),
            tries: 1,
        };
        self.parts.dead_letters.bury(&dead).await?;
        faults::at("answers.buried");
        counter!("erasure_answers_total", "outcome" => "buried").increment(1);
        tracing::warn!(reason, detail, "an answer about an erasure cannot be used");
        Ok(())
    }
}

impl Worker for ErasureAnswers {
    fn name(&self) -> &'static str {
        "erasure_answers"
    }

    fn period(&self) -> Duration {
        RUN_TIME_MAX
    }

    async fn run_once(&mut self) -> anyhow::Result<Done> {
        match self.run().await {
            Ok(handled) => Ok(Done { handled, more: true }),
            Err(error) => {
                // What was read and not acknowledged comes again with the next feed.
                self.feed = None;
                Err(error)
            }
        }
    }

    async fn on_stop(&mut self) -> anyhow::Result<()> {
        if let Some(feed) = self.feed.take() {
            feed.close().await;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value, json};

    fn sent(change: impl FnOnce(&mut Value)) -> Vec<u8> {
        let mut body = json!({
            "erasure_id": Uuid::from_u128(1), "step_id": Uuid::from_u128(2), "result": "done",
        });
        change(&mut body);
        body.to_string().into_bytes()
    }

    #[test]
    fn p2_an_answer_is_done_or_failed_with_a_code() {
        let read = |change: fn(&mut Value)| read(&sent(change)).unwrap().answer;
        assert_eq!(read(|_| {}), StepAnswer::Done);
        assert_eq!(read(|body| body["later"] = json!(7)), StepAnswer::Done);
        let failed = |code: &str| StepAnswer::Failed(code.to_owned());
        assert_eq!(read(|body| body["result"] = json!("failed")), failed("unspecified"));
        let with = |detail: &str| {
            let mut body = json!({ "result": "failed", "detail": detail });
            body["erasure_id"] = json!(Uuid::from_u128(1));
            body["step_id"] = json!(Uuid::from_u128(2));
            super::read(body.to_string().as_bytes()).unwrap().answer
        };
        assert_eq!(with("database_down"), failed("database_down"));
        // M6: words may name the very person.
        for words in ["no mails for anna@example.org", "Anna", "", &"x".repeat(65)] {
            assert_eq!(with(words), failed("unspecified"), "{words}");
        }
    }

    #[test]
    fn p2_what_is_no_answer_has_a_reason() {
        let reason = |body: &[u8]| read(body).unwrap_err().0;
        assert_eq!(reason(b"{"), "not_json");
        assert_eq!(reason(b"[]"), "wrong_shape");
        assert_eq!(reason(&vec![b' '; BODY_MAX + 1]), "too_large");
        assert_eq!(reason(&sent(|body| body["result"] = json!("perhaps"))), "wrong_shape");
        assert_eq!(reason(&sent(|body| body["step_id"] = json!("7"))), "wrong_shape");
        assert_eq!(reason(&sent(|body| body["erasure_id"] = Value::Null)), "wrong_shape");
    }
}
