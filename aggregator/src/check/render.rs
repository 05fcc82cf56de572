//! A report as one screen of text.

use std::fmt::Write as _;

use super::finding::{Finding, Report, Step, Verdict};

/// Most findings shown of one step.
const FINDINGS: usize = 4;

/// Most characters shown of one text: what peers and clusters say may be long.
const TEXT: usize = 400;

/// Width of the column of verdicts and of the column of names.
const VERDICT: usize = 8;
const NAME: usize = 13;

/// How it is shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Style {
    /// With colours.
    pub colour: bool,
    /// With the worst step first; otherwise in the order of the chain.
    pub worst_first: bool,
}

/// The text, with a line break at its end.
#[must_use]
pub fn render(report: &Report, style: Style) -> String {
    let mut steps: Vec<&Step> = report.steps.iter().collect();
    if style.worst_first {
        // What was not asked comes after what could not be told. The sort keeps the order of the chain.
        steps.sort_by_key(|step| {
            std::cmp::Reverse(step.verdict().map_or((Verdict::Unknown, 0), |verdict| (verdict, 1)))
        });
    }
    let mut text = format!("{}\n\n", report.target);
    for step in steps {
        write_step(&mut text, step, style);
    }
    let _ = writeln!(text, "\n{}", conclusion(report));
    text
}

fn write_step(text: &mut String, step: &Step, style: Style) {
    if let Some(why) = &step.not_asked {
        write_line(text, ("-", None), step.name, &format!("not asked: {why}"), style);
        return;
    }
    let mut lacks: Vec<&Finding> =
        step.findings.iter().filter(|finding| finding.verdict > Verdict::Ok).collect();
    lacks.sort_by_key(|finding| std::cmp::Reverse(finding.verdict));
    if lacks.is_empty() {
        let messages: Vec<&str> = step.findings.iter().map(|finding| finding.message.as_str()).collect();
        write_line(text, word(Verdict::Ok), step.name, &messages.join("; "), style);
        return;
    }
    let mut name = step.name;
    for finding in lacks.iter().take(FINDINGS) {
        write_line(text, word(finding.verdict), name, &finding.message, style);
        if let Some(remedy) = &finding.remedy {
            let indent = VERDICT + NAME;
            let _ = writeln!(text, "{:indent$}→ {}", "", shortened(remedy));
        }
        name = "";
    }
    if lacks.len() > FINDINGS {
        write_line(
            text,
            ("", None),
            "",
            &format!("and {} more (--output=json has all)", lacks.len() - FINDINGS),
            style,
        );
    }
}

fn write_line(
    text: &mut String,
    (word, colour): (&str, Option<u8>),
    name: &str,
    message: &str,
    style: Style,
) {
    let padded = format!("{word:VERDICT$}");
    let verdict = match colour.filter(|_| style.colour) {
        Some(colour) => format!("\x1b[{colour}m{padded}\x1b[0m"),
        None => padded,
    };
    let _ = writeln!(text, "{verdict}{name:NAME$}{}", shortened(message));
}

/// How a verdict is shown, and its colour (ECMA-48).
fn word(verdict: Verdict) -> (&'static str, Option<u8>) {
    match verdict {
        Verdict::Ok => ("ok", Some(32)),
        Verdict::Note => ("note", Some(36)),
        Verdict::Unknown => ("unknown", Some(33)),
        Verdict::Broken => ("BROKEN", Some(31)),
    }
}

/// On one line, without control characters: some of it was said by others.
fn shortened(text: &str) -> String {
    let mut shown: String = text.chars().map(|c| if c.is_control() { ' ' } else { c }).take(TEXT).collect();
    if text.chars().nth(TEXT).is_some() {
        shown.push('…');
    }
    shown
}

fn conclusion(report: &Report) -> String {
    let of = |verdict| report.steps.iter().filter(move |step| step.verdict() == Some(verdict));
    let names = |verdict| of(verdict).map(|step| step.name).collect::<Vec<_>>().join(", ");
    match report.verdict {
        Verdict::Ok => "all well".to_owned(),
        Verdict::Note => format!("all well, with notes: {}", names(Verdict::Note)),
        Verdict::Unknown => format!("could not be told: {}", names(Verdict::Unknown)),
        // What is earlier in the chain is the cause of what is later.
        Verdict::Broken => format!("broken: {}", names(Verdict::Broken)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PLAIN: Style = Style { colour: false, worst_first: false };

    fn report() -> Report {
        let steps = vec![
            Step::new("API server", vec![Finding::ok("a", "v1.36.0"), Finding::ok("b", "as root")]),
            Step::new(
                "service",
                vec![
                    Finding::ok("c", "there"),
                    Finding::note("d", "1 of 2 pods ready"),
                    Finding::broken("e", "no port\u{1b}[31m 443\nreally").then("kubectl edit service"),
                ],
            ),
            Step::not_asked("answer", "the service is broken"),
        ];
        Report::new("pod a/b".to_owned(), steps)
    }

    #[test]
    fn the_chain_is_shown_in_order_with_what_is_lacking_and_what_to_do() {
        let expected = "\
pod a/b

ok      API server   v1.36.0; as root
BROKEN  service      no port [31m 443 really
                     → kubectl edit service
note                 1 of 2 pods ready
-       answer       not asked: the service is broken

broken: service
";
        assert_eq!(render(&report(), PLAIN), expected);
    }

    #[test]
    fn the_worst_comes_first_and_colours_are_for_terminals() {
        let text = render(&report(), Style { colour: true, worst_first: true });
        let names: Vec<&str> = ["service", "answer", "API server"]
            .into_iter()
            .map(|name| (text.find(&format!("{name:NAME$}")).unwrap(), name))
            .collect::<std::collections::BTreeMap<_, _>>()
            .into_values()
            .collect();
        assert_eq!(names, ["service", "answer", "API server"]);
        assert!(text.contains("\u{1b}[31mBROKEN  \u{1b}[0m"));
        assert!(!render(&report(), PLAIN).contains('\u{1b}'));
    }

    #[test]
    fn many_findings_and_long_texts_are_cut() {
        let findings = (0..10).map(|n| Finding::broken("x", format!("{n}{}", "x".repeat(1000)))).collect();
        let text = render(&Report::new("cluster".to_owned(), vec![Step::new("agents", findings)]), PLAIN);
        assert!(text.contains("and 6 more"), "{text}");
        assert!(text.lines().all(|line| line.chars().count() <= TEXT + VERDICT + NAME + 1));
    }

    #[test]
    fn the_exit_code_tells_broken_from_unknown() {
        let code = |findings| Report::new(String::new(), vec![Step::new("x", findings)]).verdict.exit_code();
        assert_eq!(code(vec![Finding::ok("a", ""), Finding::note("b", "")]), 0);
        assert_eq!(code(vec![Finding::unknown("a", ""), Finding::broken("b", "")]), 1);
        assert_eq!(code(vec![Finding::unknown("a", ""), Finding::note("b", "")]), 2);
    }
}
