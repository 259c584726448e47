//! The operators' log on standard error: the same facts, each in a sentence.

use super::{Decided, Event, Subject};
use crate::request::VerdictWord;

/// Writes the fact to the log, if it is one that operators want to read there.
pub(super) fn tell(subject: &Subject, event: &Event) {
    let Subject {
        session,
        user,
        client,
        forward,
    } = subject;
    let client = client.map(tracing::field::display);
    match event {
        Event::AuthSucceeded(_) => tracing::info!(session, user, client, "logged in"),
        Event::AuthFailed {
            method,
            reason,
            repeated,
            ..
        } => {
            tracing::info!(session, user, client, method, reason, repeated, "login refused");
        }
        Event::NegotiationFailed {
            kind,
            ours,
            theirs,
            repeated,
        } => {
            let (ours, theirs) = (ours.join(","), theirs.join(","));
            let key = match *kind {
                "kex" | "cipher" => " (algorithms.preset)",
                "host-key" => " (server.host-keys)",
                _ => "",
            };
            tracing::info!(
                client,
                kind,
                ours,
                theirs,
                repeated,
                "the client offers no accepted algorithm{key}"
            );
        }
        Event::ForwardDecided(decided) if decided.told.is_some() => refusal(subject, decided),
        // Where there is no address, the decision says so.
        Event::ConnectFailed(failed) if !failed.has_no_address() => {
            let (target, reason) = (failed.effective.to_string(), &failed.reason);
            tracing::info!(forward, user, target, reason, "could not connect to the target");
        }
        Event::PolicySwapped(swap) => {
            let policy = &swap.policy.policy;
            let (generation, by, reason) = (swap.generation, &swap.by, &swap.reason);
            tracing::info!(
                policy = policy.name,
                sha256 = policy.sha256,
                settings_sha256 = policy.settings_sha256,
                generation,
                by,
                reason,
                "policy swapped"
            );
        }
        Event::PolicyRejected { name, reason, .. } => {
            tracing::error!(policy = name, reason, "policy rejected; the current one stays in force");
        }
        Event::ConfigReloaded {
            applied,
            needs_restart,
            reason,
            ..
        } => reloaded(applied, needs_restart, reason.as_deref()),
        Event::GatewayUpgraded { process, reason, .. } => match reason {
            None => tracing::info!(
                process,
                "upgraded: the new program serves; this one serves what it has to its end"
            ),
            Some(reason) => tracing::error!(reason, "not upgraded: this program goes on"),
        },
        Event::AdminAction {
            action, admin, reason, ..
        } => tracing::info!(action, admin, reason, "an administrator changed something"),
        _ => {}
    }
}

fn reloaded(applied: &[&str], needs_restart: &[&str], fault: Option<&str>) {
    match fault {
        None => tracing::info!(applied = applied.join(" "), "configuration reloaded"),
        Some(reason) => tracing::error!("configuration not reloaded, the current policies stay in force:\n{reason}"),
    }
    if !needs_restart.is_empty() {
        let keys = needs_restart.join(", ");
        tracing::warn!(keys, "some changed configuration keys apply only after a restart");
    }
}

fn refusal(subject: &Subject, decided: &Decided) {
    let (forward, user) = (&subject.forward, &subject.user);
    let requested = decided.requested.to_string();
    let action = decided.action.as_str();
    let code = decided.code.as_deref().unwrap_or_default();
    let reason = decided.reason.as_deref().unwrap_or_default();
    let repeated = decided.repeated;
    match decided.verdict {
        VerdictWord::Failed => {
            let words = "the policy failed to decide";
            tracing::warn!(forward, user, action, requested, code, reason, repeated, "{words}");
        }
        VerdictWord::Deny => tracing::info!(forward, user, action, requested, code, reason, repeated, "refused"),
        VerdictWord::Allow | VerdictWord::Rewrite => {
            let words = "there is no address to connect to";
            tracing::info!(forward, user, action, requested, repeated, "{words}");
        }
    }
}
