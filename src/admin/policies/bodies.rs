//! The bodies of what changes a plugin: each takes what its action heeds, and nothing else.

use std::path::{Path, PathBuf};
use std::time::Duration;

use axum::http::StatusCode;
use serde::Deserialize;
use serde::de::DeserializeOwned;
use utoipa::ToSchema;

use super::Load;
use crate::admin::peer::Administrator;
use crate::admin::routes::{Answer, Failed};
use crate::admin::time::Time;

/// The body of a load.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = PolicyLoad)]
pub(super) struct LoadBody {
    /// A component, as an absolute path or `builtin:rules`; absent: the one in force.
    #[schema(nullable = false)]
    component: Option<String>,
    /// The absolute path of a file with settings; absent: those in force.
    #[schema(value_type = Option<String>, nullable = false)]
    settings: Option<PathBuf>,
    /// It is taken back unless it is confirmed within this time.
    #[schema(nullable = false)]
    confirm_within: Option<Time>,
    /// A gate that would refuse is passed.
    #[serde(default)]
    force: bool,
    /// The gates are tried, and nothing changes.
    #[serde(default)]
    dry_run: bool,
    /// Why, for the audit log.
    #[schema(nullable = false)]
    reason: Option<String>,
}

/// The body of a new shadow.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = PolicyShadow)]
pub(super) struct ShadowBody {
    /// A component, as an absolute path or `builtin:rules`; absent: the one in force.
    #[schema(nullable = false)]
    component: Option<String>,
    /// The absolute path of a file with settings; absent: those in force.
    #[schema(value_type = Option<String>, nullable = false)]
    settings: Option<PathBuf>,
    /// Why, for the audit log.
    #[schema(nullable = false)]
    reason: Option<String>,
}

/// The body of a promotion.
#[derive(Default, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = PolicyPromotion)]
pub(super) struct PromoteBody {
    /// It is taken back unless it is confirmed within this time.
    #[schema(nullable = false)]
    confirm_within: Option<Time>,
    /// A gate that would refuse is passed.
    #[serde(default)]
    force: bool,
    /// Why, for the audit log.
    #[schema(nullable = false)]
    reason: Option<String>,
}

/// The body of a confirmation.
#[derive(Default, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = PolicyConfirmation)]
pub(super) struct ConfirmBody {
    /// Why, for the audit log.
    #[schema(nullable = false)]
    reason: Option<String>,
}

/// The body of a rollback.
#[derive(Default, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = PolicyRollback)]
pub(super) struct RollbackBody {
    /// The generation to go back to; absent: the one before.
    #[schema(nullable = false)]
    to: Option<u64>,
    /// Why, for the audit log.
    #[schema(nullable = false)]
    reason: Option<String>,
}

/// A body, where none is needed.
///
/// # Errors
/// 422 for one that says something else.
pub(super) fn or_default<B: Default + DeserializeOwned>(body: &[u8]) -> Answer<B> {
    if body.trim_ascii().is_empty() {
        return Ok(B::default());
    }
    serde_json::from_slice(body).map_err(|error| Failed::new(StatusCode::UNPROCESSABLE_ENTITY, error.to_string()))
}

impl LoadBody {
    /// # Errors
    /// 400 where nothing is named, a path is relative, or the time is too long.
    pub(super) fn load(self, administrator: &Administrator) -> Answer<Load> {
        check_paths("nothing to load", self.component.as_deref(), self.settings.as_deref())?;
        Ok(Load {
            component: self.component,
            settings: self.settings,
            confirm_within: within(self.confirm_within)?,
            force: self.force,
            dry_run: self.dry_run,
            by: administrator.name.clone(),
            reason: self.reason,
        })
    }
}

impl ShadowBody {
    /// # Errors
    /// 400 where nothing is named, or a path is relative.
    pub(super) fn load(self, administrator: &Administrator) -> Answer<Load> {
        check_paths("no candidate", self.component.as_deref(), self.settings.as_deref())?;
        Ok(Load {
            component: self.component,
            settings: self.settings,
            by: administrator.name.clone(),
            reason: self.reason,
            ..Load::default()
        })
    }
}

impl PromoteBody {
    /// # Errors
    /// 400 where the time is too long.
    pub(super) fn load(self, administrator: &Administrator) -> Answer<Load> {
        Ok(Load {
            confirm_within: within(self.confirm_within)?,
            force: self.force,
            by: administrator.name.clone(),
            reason: self.reason,
            ..Load::default()
        })
    }
}

impl ConfirmBody {
    pub(super) fn load(self, administrator: &Administrator) -> Load {
        Load {
            by: administrator.name.clone(),
            reason: self.reason,
            ..Load::default()
        }
    }
}

impl RollbackBody {
    /// The generation to go back to, and how.
    pub(super) fn load(self, administrator: &Administrator) -> (Option<u64>, Load) {
        let load = Load {
            by: administrator.name.clone(),
            reason: self.reason,
            ..Load::default()
        };
        (self.to, load)
    }
}

fn within(time: Option<Time>) -> Answer<Option<Duration>> {
    time.map(|time| time.within("confirm_within", LONGEST)).transpose()
}

fn check_paths(nothing: &str, component: Option<&str>, settings: Option<&Path>) -> Answer<()> {
    let named = [component.map(Path::new), settings];
    let mut named = named.into_iter().flatten().peekable();
    if named.peek().is_none() {
        let words = format!("{nothing} was named: expected `component`, `settings` or both");
        return Err(Failed::new(StatusCode::BAD_REQUEST, words));
    }
    let mut relative = named.filter(|path| path.is_relative());
    match relative.find(|path| path.as_os_str() != "builtin:rules") {
        Some(path) => {
            let words = format!("{}: expected an absolute path: the gateway reads it", path.display());
            Err(Failed::new(StatusCode::BAD_REQUEST, words))
        }
        None => Ok(()),
    }
}

/// As long as an administrator may want to look at a policy.
const LONGEST: Duration = Duration::from_secs(30 * 24 * 60 * 60);
