//! The results in JUnit's format, which build servers read.

use std::fmt::Write;

use super::run::{CaseResult, Results};

/// One suite for each case file.
pub(super) fn text(results: &Results) -> String {
    let mut out = "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n".to_owned();
    let _ = writeln!(
        out,
        "<testsuites name=\"portreeve plugin test\" tests=\"{}\" failures=\"{}\" time=\"{:.3}\">",
        results.cases.len(),
        results.failed(),
        results.took.as_secs_f64()
    );
    for cases in results.cases.chunk_by(|one, other| one.file == other.file) {
        let Some(first) = cases.first() else { continue };
        let failed = cases.iter().filter(|case| !case.passed()).count();
        let _ = writeln!(
            out,
            "  <testsuite name=\"{}\" tests=\"{}\" failures=\"{failed}\">",
            escaped(&first.file),
            cases.len()
        );
        for one in cases {
            case(&mut out, one);
        }
        out.push_str("  </testsuite>\n");
    }
    out.push_str("</testsuites>\n");
    out
}

fn case(out: &mut String, case: &CaseResult) {
    let _ = write!(
        out,
        "    <testcase classname=\"{}\" name=\"{}\" file=\"{}\" line=\"{}\" time=\"{:.6}\"",
        escaped(&case.component),
        escaped(&case.name),
        escaped(&case.file),
        case.line,
        case.took.as_secs_f64()
    );
    if case.passed() {
        out.push_str("/>\n");
        return;
    }
    let unasked = [&case.unloaded, &case.broken_off];
    let mut words: Vec<_> = unasked.into_iter().flatten().cloned().collect();
    for difference in &case.differences {
        words.push(format!(
            "{}: expected {}, found {}",
            difference.what, difference.expected, difference.found
        ));
    }
    let first = words.first().cloned().unwrap_or_default();
    let _ = writeln!(
        out,
        ">\n      <failure message=\"{}\">{}</failure>\n    </testcase>",
        escaped(&first),
        escaped(&words.join("\n"))
    );
}

fn escaped(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for character in text.chars() {
        match character {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '"' => out.push_str("&quot;"),
            '\n' | '\t' => {
                let _ = write!(out, "&#{};", u32::from(character));
            }
            // XML 1.0 cannot hold them at all.
            _ if character.is_control() || matches!(character, '\u{fffe}' | '\u{ffff}') => out.push(' '),
            _ => out.push(character),
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_xml_cannot_hold_is_replaced() {
        assert_eq!(
            escaped("a\u{1b}\u{0}\u{fffe}\u{ffff}\u{fffd}\u{1fffe}<\n"),
            "a    \u{fffd}\u{1fffe}&lt;&#10;"
        );
    }
}
