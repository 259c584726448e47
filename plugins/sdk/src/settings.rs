//! The settings of a policy: JSON, read by serde.
//!
//! Derive [`serde::Deserialize`] with `#[serde(deny_unknown_fields, rename_all = "kebab-case")]`: then a key that is written
//! wrongly is a fault that is named, and not a rule that is silently missing.

use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_path_to_error::{Path, Segment};

use crate::Problem;

/// Reads settings, as the component does when it is configured.
///
/// # Errors
/// The first fault: where, as a JSON pointer (empty: the whole), and what.
pub fn read<S: DeserializeOwned>(text: &str) -> Result<S, Vec<Problem>> {
    let mut json = serde_json::Deserializer::from_str(text);
    let settings = serde_path_to_error::deserialize(&mut json)
        .map_err(|error| vec![problem(pointer(error.path()), words(error.inner()))])?;
    json.end().map_err(|error| vec![problem("", words(&error))])?;
    Ok(settings)
}

/// A fault in the settings, for [`policy!`](crate::policy!)'s `check`: where (a JSON pointer such as `/rules/0/port`) and what.
pub fn problem(at: impl Into<String>, message: impl Into<String>) -> Problem {
    Problem {
        at: at.into(),
        message: message.into(),
    }
}

/// The settings of a policy that has none: an empty table.
#[doc(hidden)]
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub struct NoSettings {}

fn pointer(path: &Path) -> String {
    let mut pointer = String::new();
    for segment in path {
        match segment {
            Segment::Map { key } | Segment::Enum { variant: key } => {
                pointer.push('/');
                pointer.push_str(&key.replace('~', "~0").replace('/', "~1"));
            }
            Segment::Seq { index } => {
                pointer.push('/');
                pointer.push_str(&index.to_string());
            }
            Segment::Unknown => break,
        }
    }
    pointer
}

/// Without line and column: the gateway hands over JSON in one line, which nobody has written.
fn words(error: &serde_json::Error) -> String {
    let text = error.to_string();
    match text.rsplit_once(" at line ") {
        Some((words, _)) => words.to_owned(),
        None => text,
    }
}

#[cfg(test)]
mod tests {
    use super::{NoSettings, read};
    use crate::Network;
    use serde::Deserialize;

    #[derive(Debug, Deserialize)]
    #[serde(deny_unknown_fields, rename_all = "kebab-case")]
    #[allow(dead_code)]
    struct Settings {
        rules: Vec<Rule>,
        #[serde(default)]
        by_name: std::collections::HashMap<String, u16>,
    }

    #[derive(Debug, Deserialize)]
    #[serde(deny_unknown_fields, rename_all = "kebab-case")]
    #[allow(dead_code)]
    struct Rule {
        ports: Vec<u16>,
        #[serde(default)]
        networks: Vec<Network>,
        #[serde(default)]
        effect: Effect,
    }

    #[derive(Debug, Default, Deserialize)]
    #[serde(rename_all = "kebab-case")]
    #[allow(dead_code)]
    enum Effect {
        #[default]
        Permit,
        AtMost {
            seconds: u32,
        },
    }

    #[test]
    fn a_fault_has_a_place_and_words() {
        #[rustfmt::skip]
        let table = [
            (r#"{}"#,                                                             "",                          "missing field `rules`"),
            (r#"{ "rules": [], "rulse": [] }"#,                                   "/rulse",                    "unknown field `rulse`, expected `rules` or `by-name`"),
            (r#"{ "rules": [{ "ports": [22, "23"] }] }"#,                         "/rules/0/ports/1",          "invalid type: string \"23\", expected u16"),
            (r#"{ "rules": [{ "ports": [22] }, { "ports": [70000] }] }"#,         "/rules/1/ports/0",          "invalid value: integer `70000`, expected u16"),
            (r#"{ "rules": [{}] }"#,                                              "/rules/0",                  "missing field `ports`"),
            (r#"{ "rules": {} }"#,                                                "/rules",                    "invalid type: map, expected a sequence"),
            (r#"{ "rules": [{ "ports": [], "networks": ["10.0.0.1/8"] }] }"#,     "/rules/0/networks/0",       "`10.0.0.1/8` is no network: write `10.0.0.0/8`, without bits behind the prefix"),
            (r#"{ "rules": [{ "ports": [], "effect": "allow" }] }"#,              "/rules/0/effect",           "unknown variant `allow`, expected `permit` or `at-most`"),
            (r#"{ "rules": [{ "ports": [], "effect": { "at-most": { "seconds": -1 } } }] }"#, "/rules/0/effect/at-most/seconds", "invalid value: integer `-1`, expected u32"),
            (r#"{ "rules": [], "by-name": { "a/b~c": true } }"#,                  "/by-name/a~1b~0c",          "invalid type: boolean `true`, expected u16"),
            (r#"[1] 2"#,                                                          "/0",                        "invalid type: integer `1`, expected a sequence"),
            (r#"{ "rules": [] } x"#,                                              "",                          "trailing characters"),
        ];
        for (text, at, message) in table {
            let problems = read::<Settings>(text).expect_err(text);
            let found: Vec<_> = problems
                .iter()
                .map(|one| (one.at.as_str(), one.message.as_str()))
                .collect();
            assert_eq!(found, [(at, message)], "{text}");
        }
    }

    #[test]
    fn a_policy_without_settings_takes_none() {
        assert!(read::<NoSettings>("{}").is_ok());
        let problems = read::<NoSettings>(r#"{ "ports": [22] }"#).err().expect("it takes none");
        assert_eq!(problems[0].at, "/ports");
        assert_eq!(problems[0].message, "unknown field `ports`, there are no fields");
    }
}
