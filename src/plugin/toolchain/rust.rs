//! Rust: cargo, with the target's standard library if the compiler has it, else built from its sources.
//!
//! Debian's compiler is of the second kind, and `plugins/build.sh`, which makes the component that is embedded in this very
//! program, finds and uses it the same way.

use std::env;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use serde::Deserialize;

use super::failure::BuildError;
use super::{Sources, component, flags, tool};

/// Builds the component.
///
/// # Errors
/// If cargo or a compiler is missing or refuses the sources.
pub(super) fn build(sources: &Sources<'_>) -> Result<Vec<u8>, BuildError> {
    let cargo = tool::on_path(&["cargo"]).ok_or_else(no_cargo)?;
    let compiler = Compiler::find()?;
    let project = Project::ask(&cargo, &sources.folder)?;
    let flags = compiler.flags();
    compiler.compile(&cargo, sources, &project, &flags)?;
    // The first build of a machine makes the registry's folder, whose name is not known before.
    let known = compiler.flags();
    if known != flags {
        compiler.compile(&cargo, sources, &project, &known)?;
    }
    let module = project.module();
    component::encode(&fs::read(&module).map_err(BuildError::file(&module))?)
}

struct Compiler {
    program: PathBuf,
    sysroot: PathBuf,
    /// Where the standard library has to be built: what links it.
    linker: Option<PathBuf>,
}

impl Compiler {
    /// The first that brings the standard library for the target, else the first that has the sources of it.
    fn find() -> Result<Self, BuildError> {
        let debian = Path::new("/usr/bin/rustc").to_owned();
        let all: Vec<_> = tool::all_on_path("rustc")
            .chain(Some(debian).filter(|file| tool::runs(file)))
            .collect();
        let with_sysroot = all.iter().filter_map(|program| {
            let sysroot = tool::printed(program, &["--print", "sysroot"])?;
            Some((program.clone(), PathBuf::from(sysroot)))
        });
        let all: Vec<_> = with_sysroot.collect();
        let holds = |part: &'static str| {
            all.iter()
                .find(move |(_, sysroot)| sysroot.join("lib/rustlib").join(part).is_dir())
        };
        if let Some((program, sysroot)) = holds("wasm32-unknown-unknown/lib") {
            return Ok(Self {
                program: program.clone(),
                sysroot: sysroot.clone(),
                linker: None,
            });
        }
        let (program, sysroot) = holds("src/rust/library/std").ok_or_else(no_target)?;
        let linker = linker(all.iter().map(|(_, sysroot)| sysroot.as_path())).ok_or_else(no_linker)?;
        Ok(Self {
            program: program.clone(),
            sysroot: sysroot.clone(),
            linker: Some(linker),
        })
    }

    fn compile(
        &self,
        cargo: &Path,
        sources: &Sources<'_>,
        project: &Project,
        flags: &[String],
    ) -> Result<(), BuildError> {
        let mut command = Command::new(cargo);
        command.current_dir(&sources.folder).args([
            "rustc",
            "--lib",
            "--crate-type",
            "cdylib",
            "--profile",
            PROFILE,
            "--target",
            TARGET,
        ]);
        if !project.has_profile()? {
            for setting in SETTINGS {
                command.arg("--config").arg(format!("profile.{PROFILE}.{setting}"));
            }
        }
        for variable in [
            "RUSTFLAGS",
            "CARGO_BUILD_RUSTFLAGS",
            "RUSTC_WRAPPER",
            "RUSTC_WORKSPACE_WRAPPER",
        ] {
            command.env_remove(variable);
        }
        command
            .env("RUSTC", &self.program)
            .env_remove("CARGO_ENCODED_RUSTFLAGS")
            .arg("--config")
            .arg(flags::configured(&sources.folder, flags));
        if let Some(linker) = &self.linker {
            command
                .env("RUSTC_BOOTSTRAP", "1")
                .env("CARGO_TARGET_WASM32_UNKNOWN_UNKNOWN_LINKER", linker);
            command.arg("-Zbuild-std=std,panic_abort");
        }
        tool::run_shown(&mut command)
    }

    /// Paths of this machine get into the messages of panics, so each gets a fixed name.
    fn flags(&self) -> Vec<String> {
        let mut flags = vec![
            STACK.to_owned(),
            format!(
                "--remap-path-prefix={}/lib/rustlib/src/rust=/rust",
                self.sysroot.display()
            ),
        ];
        let home = env::var_os("CARGO_HOME").map(PathBuf::from);
        let home = home.or_else(|| env::var_os("HOME").map(|home| Path::new(&home).join(".cargo")));
        let registry = home.map(|home| home.join("registry/src"));
        let sources = registry
            .and_then(|registry| fs::read_dir(registry).ok())
            .into_iter()
            .flatten()
            .flatten();
        let mut folders: Vec<_> = sources.map(|entry| entry.path()).collect();
        folders.sort();
        flags.extend(
            folders
                .iter()
                .map(|folder| format!("--remap-path-prefix={}=/registry", folder.display())),
        );
        flags
    }
}

/// A compiler without the target has no linker for it either: rustup's toolchains bring one.
fn linker<'a>(sysroots: impl Iterator<Item = &'a Path>) -> Option<PathBuf> {
    let hosts = sysroots
        .filter_map(|sysroot| fs::read_dir(sysroot.join("lib/rustlib")).ok())
        .flatten()
        .flatten();
    let theirs = hosts
        .map(|host| host.path().join("bin/rust-lld"))
        .find(|file| tool::runs(file));
    theirs.or_else(|| {
        tool::on_path(&[
            "rust-lld",
            "wasm-ld",
            "wasm-ld-22",
            "wasm-ld-21",
            "wasm-ld-19",
            "wasm-ld-14",
        ])
    })
}

/// What cargo says of the project.
#[derive(Deserialize)]
struct Project {
    packages: Vec<Package>,
    target_directory: PathBuf,
    workspace_root: PathBuf,
    #[serde(skip)]
    library: String,
}

#[derive(Deserialize)]
struct Package {
    manifest_path: PathBuf,
    targets: Vec<Target>,
}

#[derive(Deserialize)]
struct Target {
    name: String,
    crate_types: Vec<String>,
}

impl Project {
    fn ask(cargo: &Path, folder: &Path) -> Result<Self, BuildError> {
        let manifest = folder.join("Cargo.toml");
        let mut metadata = Command::new(cargo);
        metadata
            .args(["metadata", "--no-deps", "--format-version", "1", "--manifest-path"])
            .arg(&manifest);
        let output = metadata.output().map_err(BuildError::file(cargo))?;
        if !output.status.success() {
            return Err(BuildError::Sources(
                String::from_utf8_lossy(&output.stderr).trim().to_owned(),
            ));
        }
        let unread = |error: serde_json::Error| {
            BuildError::Sources(format!("cannot read the output of cargo metadata: {error}"))
        };
        let mut project: Self = serde_json::from_slice(&output.stdout).map_err(unread)?;
        let package = project
            .packages
            .iter()
            .find(|package| package.manifest_path == manifest);
        let library = package.and_then(|package| package.targets.iter().find(|target| target.is_component()));
        let library = library.map(|target| target.name.replace('-', "_"));
        project.library = library.ok_or_else(|| {
            BuildError::Sources(format!(
                "{}: not a component library: write crate-type = [\"cdylib\"] under [lib]",
                manifest.display()
            ))
        })?;
        Ok(project)
    }

    /// Whether the workspace says how its policies are optimised.
    fn has_profile(&self) -> Result<bool, BuildError> {
        let path = self.workspace_root.join("Cargo.toml");
        let text = fs::read_to_string(&path).map_err(BuildError::file(&path))?;
        let manifest: toml::Table = text
            .parse()
            .map_err(|error| BuildError::Sources(format!("{}: {error}", path.display())))?;
        let profiles = manifest.get("profile").and_then(toml::Value::as_table);
        Ok(profiles.is_some_and(|profiles| profiles.contains_key(PROFILE)))
    }

    fn module(&self) -> PathBuf {
        self.target_directory
            .join(TARGET)
            .join(PROFILE)
            .join(format!("{}.wasm", self.library))
    }
}

impl Target {
    fn is_component(&self) -> bool {
        self.crate_types.iter().any(|kind| kind == "cdylib")
    }
}

fn no_cargo() -> BuildError {
    BuildError::Missing {
        what: "cargo".to_owned(),
        how: "  install Rust from https://rustup.rs, then run: rustup target add wasm32-unknown-unknown".to_owned(),
    }
}

fn no_target() -> BuildError {
    BuildError::Missing {
        what: format!("a Rust compiler for {TARGET}"),
        how: format!(
            "  with rustup: rustup target add {TARGET}\n  Debian: apt-get install --no-install-recommends rustc-web rust-web-src"
        ),
    }
}

fn no_linker() -> BuildError {
    BuildError::Missing {
        what: "a linker for WebAssembly".to_owned(),
        how: "  a toolchain of rustup brings one\n  Debian: apt-get install lld".to_owned(),
    }
}

const TARGET: &str = "wasm32-unknown-unknown";
/// A workspace may define it; where it does not, these are its settings.
const PROFILE: &str = "guest";
const SETTINGS: [&str; 6] = [
    "inherits=\"release\"",
    "opt-level=\"s\"",
    "lto=true",
    "codegen-units=1",
    "panic=\"abort\"",
    "strip=\"debuginfo\"",
];
/// A decision needs little stack, and a small one keeps the instance small.
const STACK: &str = "-Clink-arg=-zstack-size=65536";
