//! More checks on a signed component: it must be the policy that is expected here, and not older than the last one in force.
//!
//! A signature says who made some bytes, not what for. With a valid signature alone, an old component of the same author could
//! replace a newer one, and so could any other component of that author. The name and version that a component reports
//! (`describe`) are part of the signed bytes, so they can be compared with the configuration and with the last one in force.

use semver::Version;
use serde::{Deserialize, Serialize};

use crate::config::Plugin;
use crate::policy::LoadError;

/// What a component says of itself.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(in crate::policy) struct Lineage {
    /// The name in its description.
    pub(in crate::policy) component: String,
    /// The version in its description.
    pub(in crate::policy) version: String,
}

/// Whether a signed component may serve as this plugin, where `served` is what did last, if that is known.
///
/// # Errors
/// If it is another policy, or an older version and going back is not meant.
pub(in crate::policy) fn check(plugin: &Plugin, found: &Lineage, served: Option<&Lineage>) -> Result<(), LoadError> {
    let wanted = plugin.component_name.as_deref().unwrap_or(&plugin.name);
    if found.component != wanted {
        return Err(LoadError::AnotherPolicy {
            found: found.component.clone(),
            wanted: wanted.to_owned(),
        });
    }
    match served {
        Some(served) if !plugin.allow_downgrade && served.component == found.component => {
            if is_no_older(&found.version, &served.version) {
                return Ok(());
            }
            Err(LoadError::Downgrade {
                found: found.version.clone(),
                served: served.version.clone(),
            })
        }
        _ => Ok(()),
    }
}

/// Versions that cannot be compared are none that is newer: only the same text is no older.
fn is_no_older(found: &str, served: &str) -> bool {
    found == served
        || match (version(found), version(served)) {
            (Some(found), Some(served)) => found.cmp_precedence(&served).is_ge(),
            _ => false,
        }
}

/// A semantic version, also one that leaves out numbers at its end or has a `v` in front.
fn version(text: &str) -> Option<Version> {
    let text = text.strip_prefix(['v', 'V']).unwrap_or(text);
    let numbers = text.find(['-', '+']).unwrap_or(text.len());
    let (numbers, rest) = text.split_at_checked(numbers)?;
    let missing = 3usize.checked_sub(numbers.split('.').count())?;
    Version::parse(&format!("{numbers}{}{rest}", ".0".repeat(missing))).ok()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::config::{OnChange, Source, Wasi};

    fn plugin(component_name: Option<&str>, allow_downgrade: bool) -> Plugin {
        Plugin {
            name: "office".to_owned(),
            component: Source::File("office.wasm".into()),
            component_name: component_name.map(str::to_owned),
            allow_downgrade,
            sha256: None,
            signers: Vec::new(),
            grants: Vec::new(),
            rewrite: false,
            wasi: Wasi::Refuse,
            settings: json!({}),
            settings_file: None,
            settings_may_be_empty: false,
            watch: OnChange::Swap,
        }
    }

    fn lineage(component: &str, version: &str) -> Lineage {
        Lineage {
            component: component.to_owned(),
            version: version.to_owned(),
        }
    }

    #[test]
    fn a_component_must_be_the_policy_that_is_meant() {
        #[rustfmt::skip]
        let table = [
            // component-name    the component  may it serve?
            (None,               "office",      true),
            (None,               "Office",      false),
            (None,               "office ",     false),
            (None,               "",            false),
            (None,               "other",       false),
            (Some("hours"),      "hours",       true),
            (Some("hours"),      "office",      false),
        ];
        for (wanted, component, expected) in table {
            for downgrade in [false, true] {
                let checked = check(&plugin(wanted, downgrade), &lineage(component, "1.0.0"), None);
                assert_eq!(checked.is_ok(), expected, "{component} for {wanted:?}");
            }
        }
    }

    #[test]
    fn a_component_must_not_be_older_than_what_served() {
        #[rustfmt::skip]
        let table = [
            // served         found           may it serve?
            ("1.2.3",         "1.2.3",        true),
            ("1.2.3",         "1.2.4",        true),
            ("1.2.3",         "1.10.0",       true),
            ("1.10.0",        "1.9.9",        false),
            ("2.0.0",         "1.99.0",       false),
            ("1.2.3",         "1.2.3-rc.1",   false),
            ("1.2.3-rc.1",    "1.2.3-rc.2",   true),
            ("1.2.3-rc.2",    "1.2.3-rc.1",   false),
            ("1.2.3-rc.2",    "1.2.3",        true),
            ("1.2.3+b2",      "1.2.3+b1",     true), // the same version
            ("1.2",           "1.2.1",        true),
            ("1.2.1",         "1.2",          false),
            ("v2",            "1.9",          false),
            ("1.9",           "v2",           true),
            ("2026-01",       "2026-01",      true),
            ("2026-01-05",    "january",      false),
            ("january",       "february",     false),
            ("1.0.0",         "",             false),
            ("1.0.0",         "01.0.0",       false),
            ("1.0.0",         "1.0.0.1",      false),
        ];
        for (served, found, expected) in table {
            let (served, found) = (lineage("office", served), lineage("office", found));
            let checked = check(&plugin(None, false), &found, Some(&served));
            assert_eq!(checked.is_ok(), expected, "{found:?} after {served:?}");
            assert!(check(&plugin(None, true), &found, Some(&served)).is_ok(), "it is meant");
            assert!(check(&plugin(None, false), &found, None).is_ok(), "nothing served");
        }
        let served = lineage("another", "9.0.0");
        let found = lineage("office", "1.0.0");
        assert!(
            check(&plugin(None, false), &found, Some(&served)).is_ok(),
            "another policy served"
        );
    }
}
