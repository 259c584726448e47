//! The results for people, and for programs.

use std::fmt::Write;

use serde_json::{Value as Json, json};

use super::run::{CaseResult, Results};
use crate::say::{Paint, plain, thousands};

/// A line for each case, and below it what differs.
pub(super) fn text(results: &Results) -> String {
    let paint = Paint::of_stdout();
    let mut out = String::new();
    for policy in &results.policies {
        let digest = policy.sha256.get(..12).unwrap_or_default();
        let _ = writeln!(
            out,
            "policy {} {} (sha256 {digest}…)",
            plain(&policy.name),
            plain(&policy.version)
        );
    }
    let width = results.cases.iter().map(|case| case.name.chars().count()).max();
    let width = width.unwrap_or(0).min(60);
    let mut told: Option<&str> = None;
    for cases in results.cases.chunk_by(|one, other| one.file == other.file) {
        let Some(first) = cases.first() else { continue };
        let _ = writeln!(out, "\n{}", plain(&first.file));
        for case in cases {
            if case.passed() {
                let _ = writeln!(
                    out,
                    "  {}    {:<width$}  {:>11} fuel{}",
                    paint.good("ok"),
                    plain(&case.name),
                    case.fuel().map_or_else(|| "-".to_owned(), thousands),
                    if case.recorded { "  (recorded)" } else { "" }
                );
            } else {
                let _ = writeln!(
                    out,
                    "  {}  {} (line {})",
                    paint.bad("FAIL"),
                    plain(&case.name),
                    case.line
                );
                differences(&mut out, case, &mut told);
            }
        }
    }
    out.push('\n');
    for covered in &results.coverage {
        let _ = write!(out, "rules that decided: {} of {}", covered.decided, covered.rules);
        if !covered.never.is_empty() {
            let _ = write!(out, "; never: {}", plain(&covered.never.join(", ")));
        }
        if results.coverage.len() > 1 {
            let _ = write!(out, " ({}, {})", plain(&covered.policy), plain(&covered.file));
        }
        out.push('\n');
    }
    let failed = results.failed();
    let _ = writeln!(
        out,
        "{} passed, {failed} failed in {:.2} s",
        results.cases.len() - failed,
        results.took.as_secs_f64()
    );
    out
}

fn differences<'a>(out: &mut String, case: &'a CaseResult, told: &mut Option<&'a str>) {
    if let Some(words) = &case.unloaded {
        if *told == Some(words) {
            let _ = writeln!(out, "        {} does not load either", plain(&case.component));
        } else {
            let _ = writeln!(
                out,
                "        {} does not load: {}",
                plain(&case.component),
                indented(words)
            );
        }
        *told = Some(words);
    }
    if let Some(words) = &case.broken_off {
        let _ = writeln!(out, "        {}", indented(words));
    }
    for difference in &case.differences {
        let step = match difference.step {
            0 => String::new(),
            number => format!("then[{}] ", number - 1),
        };
        let what = format!("{step}{}", difference.what);
        let _ = writeln!(out, "        {what:<10} expected {}", indented(&difference.expected));
        let _ = writeln!(out, "        {:<10} found    {}", "", indented(&difference.found));
    }
    answers(out, case);
}

/// What the policy said where a case failed: the reason of each answer, and its lines.
fn answers(out: &mut String, case: &CaseResult) {
    for (number, answer) in case.answers.iter().enumerate() {
        let differs = case.differences.iter().any(|difference| difference.step == number);
        if !differs {
            continue;
        }
        let step = if number == 0 {
            String::new()
        } else {
            format!("then[{}] ", number - 1)
        };
        let mut say = |what: &str, words: &str| {
            let what = format!("{step}{what}");
            let _ = writeln!(out, "        {what:<10} {}", indented(words));
        };
        let compared = |what: &str| {
            case.differences
                .iter()
                .any(|one| one.step == number && one.what == what)
        };
        if let Some(code) = answer.code.as_deref().filter(|_| !compared("code")) {
            say("code", code);
        }
        if let Some(reason) = answer.reason.as_deref().filter(|_| !compared("reason")) {
            say("reason", reason);
        }
        if !compared("log") {
            for line in &answer.log {
                say("log", &line.to_string());
            }
        }
    }
}

fn indented(text: &str) -> String {
    let lines: Vec<_> = text.split('\n').map(plain).collect();
    lines.join(&format!("\n{:28}", ""))
}

/// Everything, for programs.
pub(super) fn json(results: &Results) -> String {
    let cases: Vec<Json> = results.cases.iter().map(case).collect();
    let value = json!({
        "ok": results.failed() == 0,
        "passed": results.cases.len() - results.failed(),
        "failed": results.failed(),
        "policies": results.policies,
        "coverage": results.coverage,
        "cases": cases,
    });
    format!("{value:#}\n")
}

fn case(case: &CaseResult) -> Json {
    let mut value = json!({
        "file": case.file,
        "line": case.line,
        "name": case.name,
        "component": case.component,
        "ok": case.passed(),
        "recorded": case.recorded,
        "fuel": case.fuel(),
        "answers": case.answers,
    });
    if let Some(object) = value.as_object_mut() {
        if !case.differences.is_empty() {
            object.insert("differences".to_owned(), json!(case.differences));
        }
        if let Some(words) = case.unloaded.as_ref().or(case.broken_off.as_ref()) {
            object.insert("error".to_owned(), json!(words));
        }
    }
    value
}
