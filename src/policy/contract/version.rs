//! The tracks of the contract: which one a component was built for, and whether this gateway supports it.
//!
//! A track is the versions of `wit/policy.wit` that share their types, by the rule of Cargo and of the component model: below
//! 1.0 each minor version is a separate one. The names of a component's exports say its track, and everything that it imports
//! from `portreeve:policy` must be of that track too. To add a track, add a row to this table, with its own bindings, which
//! convert requests and verdicts.

use semver::{Version, VersionReq};

use crate::policy::LoadError;

/// Versions of the contract that share their types.
#[derive(Debug, PartialEq, Eq)]
pub(in crate::policy) struct Track {
    /// The version of it that this gateway offers.
    pub(in crate::policy) version: &'static str,
    /// The versions that a component may have been built for.
    range: &'static str,
    /// Whose bindings it is served with.
    pub(in crate::policy) contract: Contract,
}

/// Which bindings serve a track.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::policy) enum Contract {
    V0_1,
    V0_2,
}

/// What this gateway serves; the last one is the newest.
const TRACKS: &[Track] = &[
    Track {
        version: "0.1.0",
        range: ">=0.1.0, <0.2.0",
        contract: Contract::V0_1,
    },
    Track {
        version: NEWEST,
        range: ">=0.2.0, <0.3.0",
        contract: Contract::V0_2,
    },
];

/// The version of `wit/policy.wit`.
pub(in crate::policy) const NEWEST: &str = "0.2.0";

/// What every policy exports.
const EXPORTED: [&str; 2] = ["lifecycle", "decision"];

impl Track {
    /// The track of a component with these exports.
    ///
    /// # Errors
    /// If it is no policy, or for a track that is not served, or for several.
    pub(in crate::policy) fn of(exports: &[&str]) -> Result<&'static Self, LoadError> {
        let [lifecycle, decision] = EXPORTED.map(|interface| {
            let found = exports
                .iter()
                .find_map(|name| ours(name).filter(|(name, _)| *name == interface));
            found.ok_or_else(|| LoadError::NotAPolicy(full(interface)))
        });
        let (_, version) = lifecycle?;
        let track = TRACKS.iter().find(|track| track.has(version));
        let track = track.ok_or_else(|| foreign(version))?;
        track.admits(decision?.1)?;
        Ok(track)
    }

    /// Refuses what a component takes from another track.
    pub(in crate::policy) fn admits(&self, version: &str) -> Result<(), LoadError> {
        if self.has(version) {
            Ok(())
        } else {
            Err(foreign(version))
        }
    }

    /// Whether its guests can ask for local times.
    pub(in crate::policy) fn has_calendar(&self) -> bool {
        self.contract != Contract::V0_1
    }

    fn has(&self, version: &str) -> bool {
        matches!(
            (VersionReq::parse(self.range), Version::parse(version)),
            (Ok(range), Ok(version)) if range.matches(&version)
        )
    }
}

/// The interface and version of a name like `portreeve:policy/log@0.2.0`.
pub(in crate::policy) fn ours(name: &str) -> Option<(&str, &str)> {
    let rest = name.strip_prefix("portreeve:policy/")?;
    Some(rest.split_once('@').unwrap_or((rest, "")))
}

/// The whole name of an interface, as the newest track has it.
pub(in crate::policy) fn full(interface: &str) -> String {
    format!("portreeve:policy/{interface}@{NEWEST}")
}

/// The whole name of an interface in each track.
pub(in crate::policy) fn full_of_each(interface: &str) -> impl Iterator<Item = String> {
    TRACKS
        .iter()
        .map(move |track| format!("portreeve:policy/{interface}@{}", track.version))
}

fn foreign(version: &str) -> LoadError {
    let ranges: Vec<_> = TRACKS.iter().map(|track| track.range).collect();
    LoadError::Version {
        found: if version.is_empty() {
            "without a version".to_owned()
        } else {
            version.to_owned()
        },
        ours: NEWEST,
        range: ranges.join(" or "),
    }
}

#[cfg(test)]
mod tests {
    use super::{TRACKS, Track, full};

    fn found(exports: &[&str]) -> Result<&'static str, String> {
        let track = Track::of(exports);
        track.map(|track| track.version).map_err(|error| error.to_string())
    }

    #[test]
    fn the_exports_say_the_track() {
        let of = |one: &str, two: &str| {
            found(&[
                "init",
                &format!("portreeve:policy/lifecycle{one}"),
                &format!("portreeve:policy/decision{two}"),
            ])
        };
        assert_eq!(of("@0.1.0", "@0.1.0"), Ok("0.1.0"));
        assert_eq!(of("@0.1.9", "@0.1.0"), Ok("0.1.0"));
        assert_eq!(of("@0.2.0", "@0.2.3"), Ok("0.2.0"));
        for (one, two, words) in [
            (
                "@0.3.0",
                "@0.3.0",
                "it was built for portreeve:policy 0.3.0; this gateway speaks 0.2.0 and runs components for >=0.1.0, <0.2.0 or >=0.2.0, <0.3.0",
            ),
            ("@0.1.0", "@0.2.0", "it was built for portreeve:policy 0.2.0"),
            ("@0.2.0", "@0.1.0", "it was built for portreeve:policy 0.1.0"),
            (
                "@0.1.0-draft",
                "@0.1.0-draft",
                "it was built for portreeve:policy 0.1.0-draft",
            ),
            ("", "", "it was built for portreeve:policy without a version"),
        ] {
            let error = of(one, two).expect_err(one);
            assert!(error.contains(words), "{error}");
        }
    }

    #[test]
    fn what_exports_no_decision_is_no_policy() {
        let error = found(&["portreeve:policy/lifecycle@0.1.0"]).expect_err("it decides nothing");
        assert!(
            error.contains("it does not export `portreeve:policy/decision@0.2.0`"),
            "{error}"
        );
        assert!(found(&["wasi:cli/run@0.2.0"]).is_err());
    }

    #[test]
    fn the_newest_track_is_that_of_the_contract() {
        let text = include_str!("../../../wit/policy.wit");
        assert!(text.contains(&format!("package portreeve:policy@{};", super::NEWEST)));
        assert!(TRACKS.last().is_some_and(|track| track.has(super::NEWEST)));
        assert!(full("log").ends_with(super::NEWEST));
    }
}
