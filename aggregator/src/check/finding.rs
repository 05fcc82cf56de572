//! What `check` says: steps of the chain, each with what was found, and what to do.

use serde::Serialize;

/// What was found out about one thing; the later ones are worse.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Verdict {
    /// As it should be.
    Ok,
    /// It works, and somebody should know of it.
    Note,
    /// It could not be told.
    Unknown,
    /// Numbers are missing or wrong, or soon will be.
    Broken,
}

impl Verdict {
    /// Exit code of a program whose worst finding this is: 0 all well, 1 broken, 2 could not be told.
    #[must_use]
    pub fn exit_code(self) -> u8 {
        match self {
            Self::Ok | Self::Note => 0,
            Self::Broken => 1,
            Self::Unknown => 2,
        }
    }
}

/// One thing that was found.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Finding {
    /// How bad it is.
    pub verdict: Verdict,
    /// For programs; never changes its meaning.
    pub reason: &'static str,
    /// For people: the thing, and what is the matter with it.
    pub message: String,
    /// What to do, or where to look: a command or a file.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub remedy: Option<String>,
}

impl Finding {
    /// As it should be.
    #[must_use]
    pub fn ok(reason: &'static str, message: impl Into<String>) -> Self {
        Self { verdict: Verdict::Ok, reason, message: message.into(), remedy: None }
    }

    /// Worth knowing.
    #[must_use]
    pub fn note(reason: &'static str, message: impl Into<String>) -> Self {
        Self { verdict: Verdict::Note, ..Self::ok(reason, message) }
    }

    /// Could not be told.
    #[must_use]
    pub fn unknown(reason: &'static str, message: impl Into<String>) -> Self {
        Self { verdict: Verdict::Unknown, ..Self::ok(reason, message) }
    }

    /// Not as it should be.
    #[must_use]
    pub fn broken(reason: &'static str, message: impl Into<String>) -> Self {
        Self { verdict: Verdict::Broken, ..Self::ok(reason, message) }
    }

    /// With what to do.
    #[must_use]
    pub fn then(self, remedy: impl Into<String>) -> Self {
        Self { remedy: Some(remedy.into()), ..self }
    }
}

/// One link of the chain.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Step {
    /// Its name.
    pub name: &'static str,
    /// What was found; at least one unless it was not asked.
    pub findings: Vec<Finding>,
    /// Why nothing was asked: an earlier link makes this one meaningless.
    #[serde(rename = "notAsked", skip_serializing_if = "Option::is_none")]
    pub not_asked: Option<String>,
}

impl Step {
    /// With what was found. Nothing at all is not well: then it could not be told.
    #[must_use]
    pub fn new(name: &'static str, mut findings: Vec<Finding>) -> Self {
        if findings.is_empty() {
            findings.push(Finding::unknown("nothing_found", "there is nothing to judge by"));
        }
        Self { name, findings, not_asked: None }
    }

    /// Not asked, and why.
    #[must_use]
    pub fn not_asked(name: &'static str, why: impl Into<String>) -> Self {
        Self { name, findings: Vec::new(), not_asked: Some(why.into()) }
    }

    /// The worst of what was found; none when it was not asked.
    #[must_use]
    pub fn verdict(&self) -> Option<Verdict> {
        self.findings.iter().map(|finding| finding.verdict).max()
    }
}

/// The whole answer.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Report {
    /// What was asked about: `cluster`, `pod NAMESPACE/NAME` or `node NAME`.
    pub target: String,
    /// The worst of all steps.
    pub verdict: Verdict,
    /// From kube-apiserver to the kernel.
    pub steps: Vec<Step>,
}

impl Report {
    /// Of these steps.
    #[must_use]
    pub fn new(target: String, steps: Vec<Step>) -> Self {
        let verdict = steps.iter().filter_map(Step::verdict).max().unwrap_or(Verdict::Unknown);
        Self { target, verdict, steps }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_step_without_findings_is_not_taken_for_well() {
        assert_eq!(Step::new("x", Vec::new()).verdict(), Some(Verdict::Unknown));
        assert_eq!(Step::not_asked("x", "").verdict(), None);
        assert_eq!(Report::new(String::new(), Vec::new()).verdict, Verdict::Unknown);
    }
}
