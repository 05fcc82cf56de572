//! An answer, or why there is none.

use std::time::Duration;

use super::finding::Finding;
use crate::causes::with_causes;

/// What came of a question.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Asked<T> {
    /// The answer.
    Got(T),
    /// There is no such thing.
    Absent,
    /// Whoever asks may not.
    Forbidden(String),
    /// No answer, or none that could be understood.
    Failed(String),
}

impl<T> Asked<T> {
    /// The answer, if there is one.
    pub(super) fn got(&self) -> Option<&T> {
        match self {
            Self::Got(answer) => Some(answer),
            _ => None,
        }
    }

    pub(super) fn map<U>(self, change: impl FnOnce(T) -> U) -> Asked<U> {
        match self {
            Self::Got(answer) => Asked::Got(change(answer)),
            Self::Absent => Asked::Absent,
            Self::Forbidden(why) => Asked::Forbidden(why),
            Self::Failed(why) => Asked::Failed(why),
        }
    }

    /// What to say of a thing when it could not be read; none when it was, or when it is absent.
    pub(super) fn unreadable(&self, what: &str, command: &str) -> Option<Finding> {
        match self {
            Self::Got(_) | Self::Absent => None,
            Self::Forbidden(why) => Some(
                Finding::unknown("forbidden", format!("{what}: {why}"))
                    .then(format!("ask as somebody who may: {command}")),
            ),
            Self::Failed(why) => {
                Some(Finding::unknown("no_answer", format!("{what}: {why}")).then(command.to_owned()))
            }
        }
    }
}

impl<T> Asked<Option<T>> {
    /// What was answered, but is nothing, is absent.
    pub(super) fn or_absent(self) -> Asked<T> {
        match self {
            Self::Got(Some(answer)) => Asked::Got(answer),
            Self::Got(None) | Self::Absent => Asked::Absent,
            Self::Forbidden(why) => Asked::Forbidden(why),
            Self::Failed(why) => Asked::Failed(why),
        }
    }
}

/// The outcome of a call to the API server that was given so much time.
pub(super) async fn asked<T>(
    patience: Duration,
    call: impl Future<Output = Result<T, kube::Error>>,
) -> Asked<T> {
    match tokio::time::timeout(patience, call).await {
        Err(_) => Asked::Failed(no_answer(patience)),
        Ok(Ok(answer)) => Asked::Got(answer),
        Ok(Err(kube::Error::Api(status))) => match status.code {
            404 => Asked::Absent,
            403 => Asked::Forbidden(status.message.clone()),
            401 => Asked::Forbidden("the credentials are not accepted (401)".to_owned()),
            code => Asked::Failed(format!("{} ({code})", said(&status.message, &status.reason))),
        },
        Ok(Err(error)) => Asked::Failed(with_causes(&error)),
    }
}

pub(super) fn no_answer(patience: Duration) -> String {
    format!("no answer within {}", humantime::format_duration(patience))
}

fn said<'a>(message: &'a str, reason: &'a str) -> &'a str {
    if message.is_empty() { reason } else { message }
}
