//! What `check` printed, and how it ended.

use std::{
    process::Command,
    time::{Duration, Instant},
};

use serde_json::Value;

/// One run.
#[derive(Debug)]
pub(crate) struct Screen {
    pub(crate) text: String,
    pub(crate) code: i32,
    pub(crate) took: Duration,
}

impl Screen {
    pub(crate) fn of(command: &mut Command) -> Self {
        let begun = Instant::now();
        let output = command.output().expect("the program runs");
        let text = String::from_utf8(output.stdout).expect("UTF-8");
        let errors = String::from_utf8_lossy(&output.stderr);
        assert!(errors.is_empty(), "check is silent on standard error: {errors}");
        let took = begun.elapsed();
        Self { text, code: output.status.code().expect("it ends by itself"), took }
    }

    /// Shows it with `--no-capture`, and checks that it is one screen.
    pub(crate) fn shown(self, title: &str) -> Self {
        eprintln!("=== {title} (exit code {}, {:.1?})\n{}", self.code, self.took, self.text);
        assert!(self.text.lines().count() <= 40, "more than a screen: {}", self.text);
        self
    }

    /// The line with a verdict and a step's name, and these words.
    pub(crate) fn says(&self, verdict: &str, step: &str, words: &[&str]) -> &Self {
        let mut current = "";
        let found = self.text.lines().any(|line| {
            let (head, rest) = (line.get(..8).unwrap_or(line), line.get(8..).unwrap_or_default());
            let name = rest.get(..13).unwrap_or(rest).trim();
            if !name.is_empty() && !head.trim().is_empty() {
                current = name;
            }
            head.trim() == verdict && current == step && words.iter().all(|word| line.contains(word))
        });
        assert!(found, "no line {verdict} {step} {words:?} in\n{}", self.text);
        self
    }

    /// A line that tells what to do, with these words.
    pub(crate) fn advises(&self, words: &[&str]) -> &Self {
        let found = self
            .text
            .lines()
            .any(|line| line.trim_start().starts_with('→') && words.iter().all(|word| line.contains(word)));
        assert!(found, "no advice {words:?} in\n{}", self.text);
        self
    }

    pub(crate) fn ends(&self, code: i32) -> &Self {
        assert_eq!(self.code, code, "{}", self.text);
        self
    }

    pub(crate) fn json(&self) -> Value {
        serde_json::from_str(&self.text).unwrap_or_else(|error| panic!("{error}: {}", self.text))
    }
}
