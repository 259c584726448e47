//! `portreeve plugin test`: runs test cases, which are requests with the answers that are expected.

mod case;
mod coverage;
mod expect;
mod find;
mod invariants;
mod junit;
mod report;
mod run;
mod update;
mod written;

use std::path::{Path, PathBuf};
use std::sync::Arc;

use clap::Args;

use super::bench::Asking;
use super::project::named;
use super::wrong::{Unready, Wrong, fail, invalid};

use crate::config::{Plugin, Source};
use crate::files::{self, MOST_TEXT};
use crate::policy::HostSide;
use crate::say::{self, FAILED, INVALID};
use case::Asks;
pub(crate) use invariants::CaseFiles;
use run::Results;

/// Run a policy's test cases.
#[derive(Args)]
pub(crate) struct Test {
    /// Project folders (with a `policy.toml`), folders of case files, or case files.
    #[arg(required = true, value_name = "DIR|FILE")]
    paths: Vec<PathBuf>,
    /// Component to test instead of the ones that the files name; `builtin:rules` works too.
    #[arg(long, value_name = "FILE")]
    component: Option<String>,
    /// Run only cases whose name contains this.
    #[arg(long, value_name = "WORDS")]
    filter: Option<String>,
    /// Write the policy's answers into the case files where they differ from what is expected.
    #[arg(long)]
    update: bool,
    /// Print the results as JSON.
    #[arg(long)]
    json: bool,
    /// Also write the results to this file, in JUnit format.
    #[arg(long, value_name = "FILE")]
    junit: Option<PathBuf>,
}

/// The first request of a case, with what the host answers to it; for `bench`.
///
/// # Errors
/// Every fault of the file, or that it has no such case.
pub(super) fn asking(path: &Path, case: Option<&str>, plugin: &Plugin) -> Result<Asking, Unready> {
    let file = case::read(path, Some(&plugin.component))?;
    let mut cases = file.cases.iter();
    let found = match case {
        Some(name) => cases.find(|one| one.name == name),
        None => cases.next(),
    };
    let wrong = |words: String| Unready::Usage(format!("{}: {words}", path.display()));
    let Some(case) = found else {
        return Err(wrong(format!("no case is called `{}`", case.unwrap_or_default())));
    };
    let mut requests = case.steps.iter().filter_map(|step| match &step.asks {
        Asks::Verdict(request) => Some((step, Arc::clone(request))),
        Asks::Ear(_) => None,
    });
    let Some((step, request)) = requests.next() else {
        let words = format!("the case `{}` contains no request: name another with --case", case.name);
        return Err(wrong(words));
    };
    let mut host = HostSide::default();
    run::tell(&mut host, step, &plugin.name).map_err(Unready::Usage)?;
    Ok(Asking { request, host })
}

/// Asks, compares and prints.
pub(super) async fn run(test: Test) -> u8 {
    let component = match test.component.as_deref().map(named).transpose() {
        Ok(component) => component,
        Err(words) => return fail(INVALID, &words, test.json),
    };
    let files = match find::files(&test.paths) {
        Ok(files) => files,
        Err(wrong) => return wrong.report(INVALID, test.json),
    };
    let mut read = Vec::new();
    let mut faulty = Vec::new();
    for file in files {
        match case::read(&file, component.as_ref()) {
            Ok(cases) => read.push(cases),
            Err(faults) => faulty.push(faults),
        }
    }
    if !faulty.is_empty() {
        return invalid(&faulty, test.json);
    }
    if let Some(words) = &test.filter {
        for file in &mut read {
            file.cases.retain(|case| case.name.contains(words.as_str()));
        }
        read.retain(|file| !file.cases.is_empty());
    }
    if read.iter().all(|file| file.cases.is_empty()) {
        return fail(INVALID, "no case to run", test.json);
    }
    let mut results = match run::all(read).await {
        Ok(results) => results,
        Err(error) => return fail(FAILED, &error.to_string(), test.json),
    };
    if test.update
        && let Err(wrong) = record(&mut results, component.as_ref())
    {
        return wrong.report(FAILED, test.json);
    }
    if let Some(path) = &test.junit
        && let Err(error) = std::fs::write(path, junit::text(&results))
    {
        return Wrong::file(path, error).report(FAILED, test.json);
    }
    let text = if test.json {
        report::json(&results)
    } else {
        report::text(&results)
    };
    match say::print(&text) {
        // As in every other command, a component that is not there is wrong input.
        0 if results.cases.iter().any(|case| case.unread) => INVALID,
        0 if results.failed() > 0 => FAILED,
        code => code,
    }
}

/// Writes the answers that differ into their files; those cases are then as expected.
fn record(results: &mut Results, component: Option<&Source>) -> Result<(), Wrong> {
    for cases in results.cases.chunk_by_mut(|one, other| one.file == other.file) {
        let Some(file) = cases.first().map(|case| PathBuf::from(&case.file)) else {
            continue;
        };
        let mut recorded = Vec::new();
        for case in cases.iter() {
            for (step, answer) in case.answers.iter().enumerate() {
                let differs = |one: &&expect::Difference| one.step == step && one.what != "fuel";
                if case.differences.iter().any(|one| differs(&one)) {
                    recorded.push(update::Recorded {
                        case: case.index,
                        step,
                        name: &case.name,
                        answer,
                    });
                }
            }
        }
        if recorded.is_empty() {
            continue;
        }
        rewrite(&file, &recorded, component)?;
        for case in cases {
            case.recorded = case.differences.iter().any(|one| one.what != "fuel");
            case.differences.retain(|one| one.what == "fuel");
        }
    }
    Ok(())
}

/// Writes answers into a file, where it can be read afterwards and then expects them; else it stays as it was.
fn rewrite(file: &Path, recorded: &[update::Recorded<'_>], component: Option<&Source>) -> Result<(), Wrong> {
    let untouched = |words: &dyn std::fmt::Display| {
        Wrong::file(
            file,
            format_args!("nothing was recorded, the file is unchanged: {words}"),
        )
    };
    // A link stays one.
    let place = file.canonicalize().map_err(|error| untouched(&error))?;
    let before = files::read_text(&place, MOST_TEXT).map_err(|error| untouched(&error))?;
    let after = update::text(&before, recorded).map_err(|words| untouched(&words))?;
    let read = case::parse(file, &after, component).map_err(|faults| untouched(&faults))?;
    for one in recorded {
        if !read.expects(one.case, one.step, one.answer) {
            let name = one.name;
            let words = format!("the answer in case `{name}` cannot be recorded there: write this `expect` by hand");
            return Err(untouched(&words));
        }
    }
    let permissions = place.metadata().map(|there| there.permissions());
    let permissions = permissions.map_err(|error| untouched(&error))?;
    files::replace(&place, &after, Some(permissions)).map_err(|error| untouched(&error))
}
