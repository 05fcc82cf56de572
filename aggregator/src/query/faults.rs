//! What is wrong with a request: all of it at once, each with the field it is about.

use std::fmt::{Display, Write as _};

use tonic::{Code, Status};
use tonic_types::{ErrorDetails, FieldViolation, StatusExt as _};

/// So many faults are told, each in so many characters: they travel twice in the response's trailers, of which some
/// clients take no more than 8 KiB.
const TOLD: usize = 8;
const LONGEST: usize = 160;

/// The faults found so far.
#[derive(Debug, Default)]
pub struct Faults {
    found: Vec<FieldViolation>,
    /// Those that are not told.
    more: usize,
}

impl Faults {
    /// Notes one; `field` is its path in the request, such as `selection.label_selector`.
    pub fn add(&mut self, field: impl Into<String>, what: impl Display) {
        if self.found.len() < TOLD {
            let what: String = what.to_string().chars().take(LONGEST).collect();
            self.found.push(FieldViolation::new(field, what));
        } else {
            self.more += 1;
        }
    }

    /// Whether there is none so far.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.found.is_empty()
    }

    /// The value, or `None` and a fault.
    pub fn take<T, E: Display>(&mut self, field: &str, outcome: Result<T, E>) -> Option<T> {
        outcome.map_err(|what| self.add(field, what)).ok()
    }

    /// `INVALID_ARGUMENT` with google.rpc.BadRequest, unless there is none.
    pub fn check(self) -> Result<(), Status> {
        if self.found.is_empty() {
            return Ok(());
        }
        let one = |fault: &FieldViolation| format!("{}: {}", fault.field, fault.description);
        let mut message = self.found.iter().map(one).collect::<Vec<_>>().join("; ");
        if self.more > 0 {
            let _infallible = write!(message, "; and {} more", self.more);
        }
        let details = ErrorDetails::with_bad_request(self.found);
        Err(Status::with_error_details(Code::InvalidArgument, message, details))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_fault_is_told_with_its_field_and_the_answer_stays_small() {
        assert!(Faults::default().check().is_ok());
        let mut faults = Faults::default();
        assert_eq!(faults.take::<u8, _>("window", Err("too short")), None);
        for nth in 0..1000 {
            faults.add(format!("selection.names[{nth}]"), "not a name");
        }
        let status = faults.check().unwrap_err();
        assert_eq!(status.code(), Code::InvalidArgument);
        let told = status.get_details_bad_request().unwrap().field_violations;
        assert_eq!((told.len(), told.first().unwrap().field.as_str()), (TOLD, "window"));
        assert!(status.message().starts_with("window: too short; selection.names[0]: not a name"));
        assert!(status.message().ends_with("; and 993 more"), "{}", status.message());
    }
}
