//! One call of kubectl and what is expected of it.

use std::{
    path::Path,
    process::{Command, Output},
};

use crate::versions::Kubectl;

/// A call and its outcome. Words are compared, not the blanks between them.
#[derive(Debug, Clone)]
pub(crate) struct Row {
    arguments: Vec<&'static str>,
    /// The oldest minor version at hand that has it (none between 1.20 and 1.27 is); older ones refuse it.
    since: u32,
    code: i32,
    stdout: Vec<Expected>,
    stderr: Vec<Expected>,
}

/// What a screen must show.
#[derive(Debug, Clone)]
enum Expected {
    /// Exactly these lines.
    Lines(Vec<&'static str>),
    /// This somewhere.
    Part(&'static str),
    /// This nowhere.
    Not(&'static str),
    /// Nothing at all.
    Nothing,
}

/// A call that ends well and says nothing on stderr.
pub(crate) fn row(arguments: &'static str) -> Row {
    Row {
        arguments: arguments.split(' ').collect(),
        since: 0,
        code: 0,
        stdout: Vec::new(),
        stderr: vec![Expected::Nothing],
    }
}

/// A call that ends with 1, printing nothing but why.
pub(crate) fn refused(arguments: &'static str, why: &'static str) -> Row {
    Row { code: 1, stdout: vec![Expected::Nothing], stderr: vec![Expected::Part(why)], ..row(arguments) }
}

impl Row {
    /// Only from this minor version on; before, the flag or its value is unknown.
    pub(crate) fn since(self, minor: u32) -> Self {
        Self { since: minor, ..self }
    }

    /// With one more argument, which may have blanks.
    pub(crate) fn and(mut self, argument: &'static str) -> Self {
        self.arguments.push(argument);
        self
    }

    pub(crate) fn lines(mut self, lines: &[&'static str]) -> Self {
        self.stdout.push(Expected::Lines(lines.to_vec()));
        self
    }

    pub(crate) fn part(mut self, part: &'static str) -> Self {
        self.stdout.push(Expected::Part(part));
        self
    }

    pub(crate) fn not(mut self, part: &'static str) -> Self {
        self.stdout.push(Expected::Not(part));
        self
    }

    /// Says this on stderr, and nothing on stdout.
    pub(crate) fn says(self, text: &'static str) -> Self {
        Self { stdout: vec![Expected::Nothing], stderr: vec![Expected::Lines(vec![text])], ..self }
    }

    /// Ends with this.
    pub(crate) fn ends(self, code: i32) -> Self {
        Self { code, ..self }
    }

    /// Says this on stderr, whatever else.
    pub(crate) fn complains(self, why: &'static str) -> Self {
        Self { stderr: vec![Expected::Part(why)], ..self }
    }

    /// Whatever it says on stderr, for texts of kubectl's own that change.
    pub(crate) fn whatever_it_says(self) -> Self {
        Self { stderr: Vec::new(), ..self }
    }

    /// Runs it, and says what was wrong.
    pub(crate) fn check(&self, kubectl: &Kubectl, kubeconfig: &Path, home: &Path) -> Result<(), String> {
        let mut command = Command::new(&kubectl.program);
        // What it discovers is kept below the home directory.
        command.args(&self.arguments).env("KUBECONFIG", kubeconfig).env("HOME", home);
        let output = command.output().expect("kubectl runs");
        let fault =
            if kubectl.minor < self.since { self.refuses_flag(&output) } else { self.differs(&output) };
        fault.map_or(Ok(()), |fault| {
            let (stdout, stderr) = (text(&output.stdout), text(&output.stderr));
            let (minor, arguments) = (kubectl.minor, self.arguments.join(" "));
            Err(format!("1.{minor} {arguments}: {fault}\n--- stdout:\n{stdout}--- stderr:\n{stderr}---"))
        })
    }

    fn refuses_flag(&self, output: &Output) -> Option<String> {
        let said = text(&output.stderr);
        let refused = said.contains("unknown flag") || said.contains("unrecognized condition");
        let refused = refused && output.status.code() == Some(1);
        (!refused).then(|| format!("the flag is known before 1.{}", self.since))
    }

    fn differs(&self, output: &Output) -> Option<String> {
        if output.status.code() != Some(self.code) {
            return Some(format!("ended with {:?}, expected {}", output.status.code(), self.code));
        }
        let on = |name: &str, found: &[u8], expected: &[Expected]| {
            let found = text(found);
            let missed = expected.iter().find(|expected| !expected.is_met(&found))?;
            Some(format!("expected on {name}: {missed:?}"))
        };
        on("stdout", &output.stdout, &self.stdout).or_else(|| on("stderr", &output.stderr, &self.stderr))
    }
}

impl Expected {
    fn is_met(&self, found: &str) -> bool {
        let words = |line: &str| line.split_whitespace().map(str::to_owned).collect::<Vec<_>>();
        match self {
            Self::Lines(lines) => {
                let found: Vec<_> = found.lines().map(words).filter(|words| !words.is_empty()).collect();
                found == lines.iter().map(|line| words(line)).collect::<Vec<_>>()
            }
            Self::Part(part) => words(found).join(" ").contains(part),
            Self::Not(part) => !words(found).join(" ").contains(part),
            Self::Nothing => found.trim().is_empty(),
        }
    }
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}
