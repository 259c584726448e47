//! Cases that every chain of policies must answer as they say: the gate `invariants` of a running gateway.
//!
//! They are case files as of a policy's own tests. Component and settings are those of the chain that is asked, whatever a file
//! says; what is compared is the verdict with its code, reason, target, terms and tags.

use std::path::PathBuf;

use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use std::sync::Arc;

use super::super::answer::Answer;
use super::case::{self, Asks, Case};
use super::{find, run};
use crate::config::Source;
use crate::gateway::Invariants;
use crate::names::Lookups;
use crate::policy::{Asked, Generation, HostSide, Observed};

/// Reads case files and asks chains.
pub(crate) struct CaseFiles;

impl Invariants for CaseFiles {
    fn check<'a>(&self, paths: &'a [PathBuf], chain: &'a Generation) -> BoxFuture<'a, Result<usize, String>> {
        check(paths, chain).boxed()
    }
}

async fn check(paths: &[PathBuf], chain: &Generation) -> Result<usize, String> {
    let read = paths.to_vec();
    let files = tokio::task::spawn_blocking(move || {
        let component = Source::Builtin("rules".to_owned());
        let files = find::files(&read).map_err(|wrong| wrong.words)?;
        let cases = files.iter().map(|file| case::read(file, Some(&component)));
        cases
            .collect::<Result<Vec<_>, _>>()
            .map_err(|faults| faults.to_string())
    });
    let files = files.await.map_err(|error| error.to_string())??;
    let (mut count, mut broken) = (0, Vec::new());
    for file in files {
        for case in &file.cases {
            count += 1;
            // Others run on this thread.
            tokio::task::yield_now().await;
            if let Some(words) = broken_by(chain, case).await {
                broken.push(format!(
                    "{}:{}: `{}`: {words}",
                    file.path.display(),
                    case.line,
                    case.name
                ));
            }
        }
    }
    match broken.as_slice() {
        [] => Ok(count),
        [first] => Err(format!("it breaks a case: {first}")),
        [first, others @ ..] => Err(format!(
            "it breaks {} of {count} cases: {first}, and {} more",
            broken.len(),
            others.len()
        )),
    }
}

/// How the chain's answer is not that of the case.
async fn broken_by(chain: &Generation, case: &Case) -> Option<String> {
    let mut host = HostSide::default();
    let began = case.steps.first()?.now;
    for (number, step) in case.steps.iter().enumerate() {
        let Asks::Verdict(request) = &step.asks else { continue };
        let since = step.now.duration_since(began);
        host.state.move_to(since.try_into().unwrap_or_default());
        for policy in chain.policies() {
            if let Err(words) = run::tell(&mut host, step, &policy.name) {
                return Some(words);
            }
        }
        let asked = chain.before(&host);
        let opinion = asked
            .decide(Arc::clone(request), Lookups::new(host.resolver.clone()))
            .await;
        let answer = Answer::of(&Asked {
            verdict: opinion.verdict,
            observed: Observed::default(),
            took: opinion.took,
        });
        let expected = step.expected.as_ref()?;
        let differences = expected.differences(number, &answer);
        let compared = |what: &str| !matches!(what, "log" | "calls" | "fuel");
        if let Some(difference) = differences.iter().find(|one| compared(one.what)) {
            let (what, expected, found) = (difference.what, &difference.expected, &difference.found);
            return Some(format!("{what}: expected {expected}, found {found}"));
        }
    }
    None
}
