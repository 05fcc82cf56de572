//! What goes wrong with requests for objects, by verb and resource.

use std::{sync::Mutex, time::Duration};

use http::StatusCode;

use super::{access::Access, reply::Reply};

/// How a request goes wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Wrong {
    /// An HTTP error with its `Status`.
    Status(u16),
    /// No answer ever.
    Hang,
    /// The right answer after a time.
    Late(Duration),
}

/// Which requests go wrong, and how often still.
#[derive(Debug)]
struct Fault {
    verb: &'static str,
    resource: &'static str,
    left: usize,
    wrong: Wrong,
}

/// All that goes wrong at present.
#[derive(Debug, Default)]
pub(crate) struct Faults(Mutex<Vec<Fault>>);

impl Faults {
    /// From now on, so many requests of a verb for a resource go wrong; `usize::MAX` are all.
    pub(crate) fn fail(&self, verb: &'static str, resource: &'static str, times: usize, wrong: Wrong) {
        self.0.lock().unwrap().push(Fault { verb, resource, left: times, wrong });
    }

    /// From now on, all goes well.
    pub(crate) fn recover(&self) {
        self.0.lock().unwrap().clear();
    }

    /// What a request gets instead of an answer, if it is to go wrong.
    pub(super) async fn next(&self, access: &Access) -> Option<Reply> {
        match self.take(access)? {
            Wrong::Hang => std::future::pending().await,
            Wrong::Late(delay) => {
                tokio::time::sleep(delay).await;
                None
            }
            Wrong::Status(code) => Some(failure(code)),
        }
    }

    fn take(&self, access: &Access) -> Option<Wrong> {
        let mut faults = self.0.lock().unwrap();
        let mut due = faults.iter_mut();
        let fault = due.find(|it| it.left > 0 && it.verb == access.verb && it.resource == access.resource)?;
        fault.left -= 1;
        Some(fault.wrong)
    }
}

fn failure(code: u16) -> Reply {
    let reason = match code {
        403 => "Forbidden",
        404 => "NotFound",
        409 => "Conflict",
        429 => "TooManyRequests",
        _ => "InternalError",
    };
    Reply::failure(StatusCode::from_u16(code).expect("an HTTP status"), reason, "made to fail")
}
