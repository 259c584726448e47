//! What is shown of policies, as it is sent.

use std::collections::BTreeMap;

use jiff::Timestamp;
use serde::Serialize;
use serde_json::Value;
use utoipa::ToSchema;

use crate::admin::view::{shown, shown_or_none};

/// A plugin of `GET /v1/policies`.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Plugin)]
pub(crate) struct PluginView {
    /// The name under which it is configured.
    pub plugin: String,
    /// In the order in which they last served; the one in force is the last but a shadow.
    pub generations: Vec<GenerationView>,
    /// Until when the one in force must be confirmed.
    #[serde(skip_serializing_if = "Option::is_none", serialize_with = "shown_or_none")]
    #[schema(nullable = false)]
    pub confirm_by: Option<Timestamp>,
    /// What became of the last candidate.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    pub gates: Option<GatesView>,
    /// What was rolled back and is not kept any more.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub quarantined: Vec<QuarantinedView>,
}

/// One generation of a plugin, or its shadow.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Generation)]
pub(crate) struct GenerationView {
    /// Its number; a shadow has none yet.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    pub generation: Option<u64>,
    /// `active`, `shadow`, `previous` or `quarantined`.
    pub state: &'static str,
    /// The version that the component states.
    pub version: String,
    /// SHA-256 of the component.
    pub sha256: String,
    /// SHA-256 of the settings.
    pub settings_sha256: String,
    /// Who signed it, where that was demanded.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    pub signer: Option<String>,
    /// `start`, `file`, `reload`, `rollback` or an administrator's name.
    pub loaded_by: String,
    /// Since when it serves, or last served.
    #[serde(serialize_with = "shown")]
    pub since: Timestamp,
    /// Until when it served.
    #[serde(skip_serializing_if = "Option::is_none", serialize_with = "shown_or_none")]
    #[schema(nullable = false)]
    pub until: Option<Timestamp>,
    /// Since the gateway started.
    pub decisions: u64,
    /// Refusals among them.
    pub denials: u64,
    /// No answers among them.
    pub failures: u64,
    /// Why it was rolled back.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    pub reason: Option<String>,
}

/// What was rolled back.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Quarantined)]
pub(crate) struct QuarantinedView {
    /// SHA-256 of the component, or `builtin:NAME`.
    pub component: String,
    /// SHA-256 of the settings.
    pub settings_sha256: String,
    /// Since when.
    #[serde(serialize_with = "shown")]
    pub since: Timestamp,
    /// Why.
    pub reason: String,
}

/// What became of a candidate.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Gates)]
pub(crate) struct GatesView {
    /// Who wanted it.
    pub by: String,
    /// When.
    #[serde(serialize_with = "shown")]
    pub time: Timestamp,
    /// SHA-256 of the component, or `builtin:NAME`; absent where it did not load.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    pub component: Option<String>,
    /// SHA-256 of the settings.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    pub settings_sha256: Option<String>,
    /// In their order, as far as it came.
    pub gates: Vec<GateView>,
}

/// What came of one gate.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Gate)]
pub(crate) struct GateView {
    /// Its name.
    pub gate: &'static str,
    /// `passed`, `refused`, `forced` or `waiting`.
    pub result: &'static str,
    /// In words.
    pub words: String,
    /// How long it took.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    pub millis: Option<u64>,
}

/// What two chains decide otherwise.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Differences)]
pub(crate) struct DifferencesView {
    /// Decisions that were asked.
    pub asked: u64,
    /// Decisions that the shadow was not asked, because it was behind.
    pub skipped: u64,
    /// Those that differ.
    pub different: u64,
    /// Since when it is asked.
    #[serde(skip_serializing_if = "Option::is_none", serialize_with = "shown_or_none")]
    #[schema(nullable = false)]
    pub since: Option<Timestamp>,
    /// By what changed and by which rules, the most frequent first.
    pub groups: Vec<GroupView>,
    /// By user, the most concerned first.
    pub users: Vec<UserView>,
    /// The first ones.
    pub examples: Vec<ExampleView>,
}

/// Differences of one kind.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Group)]
pub(crate) struct GroupView {
    /// Such as `allow → deny`.
    pub change: String,
    /// The rule that decided, or the code.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    pub before: Option<String>,
    /// The rule that would decide.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    pub after: Option<String>,
    /// How often.
    pub count: u64,
    /// The first of them.
    pub first: String,
}

/// Differences of one user.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = User)]
pub(crate) struct UserView {
    /// Whose.
    pub user: String,
    /// How often.
    pub count: u64,
    /// By what changed.
    pub changes: BTreeMap<String, u64>,
}

/// One difference.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Example)]
pub(crate) struct ExampleView {
    /// The `forward` of the audit log.
    pub forward: String,
    /// When it was decided.
    #[serde(serialize_with = "shown")]
    pub time: Timestamp,
    /// Who asked.
    pub user: String,
    /// What.
    pub asked: String,
    /// What was decided.
    pub before: String,
    /// What would be.
    pub after: String,
}

/// `GET /v1/policies/{plugin}/diff`.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Diff)]
pub(crate) struct DiffView {
    /// The number of the one.
    pub from: u64,
    /// The number of the other.
    pub to: u64,
    /// Whether they are the same component.
    pub same_component: bool,
    /// What only the second imports.
    pub imports_added: Vec<String>,
    /// What only the first imports.
    pub imports_removed: Vec<String>,
    /// Settings that differ.
    pub settings: Vec<SettingView>,
    /// Of the last decisions.
    pub differences: DifferencesView,
}

/// A setting that differs.
#[derive(Debug, PartialEq, Eq, Serialize, ToSchema)]
#[schema(as = Setting)]
pub(crate) struct SettingView {
    /// A JSON pointer.
    pub at: String,
    /// In the first; absent where it is not there.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    pub before: Option<Value>,
    /// In the second.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    pub after: Option<Value>,
}

/// Settings that differ, by their place.
pub(crate) fn settings_that_differ(before: &Value, after: &Value) -> Vec<SettingView> {
    let mut found = Vec::new();
    compare(String::new(), Some(before), Some(after), &mut found);
    found
}

fn compare(at: String, before: Option<&Value>, after: Option<&Value>, found: &mut Vec<SettingView>) {
    match (before, after) {
        (Some(before), Some(after)) if before == after => {}
        (Some(Value::Object(one)), Some(Value::Object(other))) => {
            let keys: std::collections::BTreeSet<_> = one.keys().chain(other.keys()).collect();
            for key in keys {
                let escaped = key.replace('~', "~0").replace('/', "~1");
                compare(format!("{at}/{escaped}"), one.get(key), other.get(key), found);
            }
        }
        (Some(Value::Array(one)), Some(Value::Array(other))) => {
            for index in 0..one.len().max(other.len()) {
                compare(format!("{at}/{index}"), one.get(index), other.get(index), found);
            }
        }
        (before, after) => found.push(SettingView {
            at,
            before: before.cloned(),
            after: after.cloned(),
        }),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn settings_are_compared_by_their_places() {
        #[rustfmt::skip]
        let table = [
            // before                        after                          what differs
            (json!({}),                      json!({}),                     vec![]),
            (json!({"a": 1}),                json!({"a": 2}),               vec![("/a", Some(json!(1)), Some(json!(2)))]),
            (json!({"a": 1}),                json!({"b": 1}),               vec![("/a", Some(json!(1)), None), ("/b", None, Some(json!(1)))]),
            (json!({"a": [1, 2]}),           json!({"a": [1, 3, 4]}),       vec![("/a/1", Some(json!(2)), Some(json!(3))), ("/a/2", None, Some(json!(4)))]),
            (json!({"a/b": {"~": true}}),    json!({"a/b": {"~": false}}),  vec![("/a~1b/~0", Some(json!(true)), Some(json!(false)))]),
            (json!({"a": {}}),               json!({"a": []}),              vec![("/a", Some(json!({})), Some(json!([])))]),
        ];
        for (before, after, differs) in table {
            let found = settings_that_differ(&before, &after);
            let found: Vec<_> = found.into_iter().map(|one| (one.at, one.before, one.after)).collect();
            let differs: Vec<_> = differs
                .into_iter()
                .map(|(at, one, other)| (at.to_owned(), one, other))
                .collect();
            assert_eq!(found, differs);
        }
    }
}
