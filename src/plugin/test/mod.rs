//! `portreeve plugin test`: requests with the answers that are expected of a policy.

mod case;
mod coverage;
mod expect;
mod find;
mod junit;
mod report;
mod run;

use std::path::PathBuf;

use clap::Args;

use crate::cli::{self, FAILED, INVALID};
use crate::config::Faults;

/// Ask a policy the requests of case files, and compare its answers.
#[derive(Args)]
pub struct Test {
    /// Project folders (with a `policy.toml`), folders of case files, or case files.
    #[arg(required = true, value_name = "DIR|FILE")]
    paths: Vec<PathBuf>,
    /// Test this component instead of those that the files name; `builtin:rules` is one, too.
    #[arg(long, value_name = "FILE")]
    component: Option<String>,
    /// Only cases whose name contains this.
    #[arg(long, value_name = "WORDS")]
    filter: Option<String>,
    /// Print the results as JSON.
    #[arg(long)]
    json: bool,
    /// Write the results to a file in JUnit's format, too.
    #[arg(long, value_name = "FILE")]
    junit: Option<PathBuf>,
}

/// Asks, compares and prints.
pub(super) async fn run(test: Test) -> u8 {
    let files = match find::files(&test.paths) {
        Ok(files) => files,
        Err(words) => return cli::fail(INVALID, &words),
    };
    let mut read = Vec::new();
    let mut faulty = Vec::new();
    for file in files {
        match case::read(&file, test.component.as_deref()) {
            Ok(cases) => read.push(cases),
            Err(faults) => faulty.push(faults),
        }
    }
    if !faulty.is_empty() {
        return faults(&faulty, test.json);
    }
    if let Some(words) = &test.filter {
        for file in &mut read {
            file.cases.retain(|case| case.name.contains(words.as_str()));
        }
        read.retain(|file| !file.cases.is_empty());
    }
    if read.iter().all(|file| file.cases.is_empty()) {
        return cli::fail(INVALID, "there is no case to run");
    }
    let results = match run::all(read).await {
        Ok(results) => results,
        Err(error) => return cli::fail(FAILED, &error.to_string()),
    };
    if let Some(path) = &test.junit
        && let Err(error) = std::fs::write(path, junit::text(&results))
    {
        return cli::fail(FAILED, &format!("{}: {error}", path.display()));
    }
    let text = if test.json {
        report::json(&results)
    } else {
        report::text(&results)
    };
    match cli::print(&text) {
        0 if results.failed() > 0 => FAILED,
        code => code,
    }
}

fn faults(faulty: &[Faults], json: bool) -> u8 {
    if json {
        let all: Vec<_> = faulty.iter().flat_map(|faults| &faults.faults).collect();
        cli::print(&format!("{:#}\n", serde_json::json!({ "ok": false, "faults": all })));
        return INVALID;
    }
    for faults in faulty {
        cli::invalid(faults);
    }
    INVALID
}
