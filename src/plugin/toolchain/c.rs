//! C and C++: clang, with Debian's wasi-libc and libc++.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use super::failure::BuildError;
use super::{Sources, component, tool};
use crate::plugin::language::Language;

/// Builds the component.
///
/// # Errors
/// If a compiler is missing or refuses the sources.
pub(super) fn build(sources: &Sources<'_>) -> Result<Vec<u8>, BuildError> {
    let bindings = sources.bindings()?;
    let plus = sources.language == Language::Cpp;
    let c = Compiler::find(false).ok_or_else(|| missing(plus))?;
    let plus_plus = if plus {
        Some(Compiler::find(true).ok_or_else(|| missing(plus))?)
    } else {
        None
    };
    let linker = plus_plus.as_ref().unwrap_or(&c);
    let mut objects = vec![c.compile(sources, &bindings.join("policy.c"), &bindings, Whose::Ours)?];
    let checks = bindings.join("checks.c");
    // Bindings that a project has from an earlier version are without: there the checks trap without a word.
    let said = checks.is_file();
    if said {
        objects.push(c.compile(sources, &checks, &bindings, Whose::Ours)?);
    }
    for source in own(sources, plus)? {
        let compiler = if source.extension().is_some_and(|ending| ending == "c") {
            &c
        } else {
            linker
        };
        objects.push(compiler.compile(sources, &source, &bindings, Whose::Authors { said })?);
    }
    let module = sources.scratch.join("policy.module.wasm");
    let mut link = linker.command();
    link.args(["-mexec-model=reactor", STACK, STACK_FIRST, "-Wl,--strip-debug", "-o"])
        .arg(&module)
        .args(objects);
    tool::run(&mut link, "")?;
    component::embed(
        &fs::read(&module).map_err(BuildError::file(&module))?,
        sources.contract,
        sources.world,
    )
}

/// The author's own files.
fn own(sources: &Sources<'_>, plus: bool) -> Result<Vec<PathBuf>, BuildError> {
    let endings: &[&str] = if plus { &["c", "cpp", "cc", "cxx"] } else { &["c"] };
    let found = sources.files(endings)?;
    if found.is_empty() {
        let folder = sources.folder.display();
        return Err(BuildError::Sources(format!(
            "{folder}: no source file: expected one that ends in .{}",
            endings.join(", .")
        )));
    }
    Ok(found)
}

/// Whose source is compiled.
#[derive(Clone, Copy)]
enum Whose {
    /// That of the bindings.
    Ours,
    /// The author's: what the language leaves undefined is checked there, and said before it traps if the bindings can.
    Authors { said: bool },
}

struct Compiler {
    program: PathBuf,
    plus: bool,
}

impl Compiler {
    /// The newest clang that can compile for WebAssembly.
    fn find(plus: bool) -> Option<Self> {
        let base = if plus { "clang++" } else { "clang" };
        let numbered: Vec<String> = VERSIONS.iter().map(|version| format!("{base}-{version}")).collect();
        let names = [base].into_iter().chain(numbered.iter().map(String::as_str));
        let able = names
            .filter_map(|name| tool::on_path(&[name]))
            .find(|program| Self::able(program, plus));
        able.map(|program| Self { program, plus })
    }

    /// Whether it knows the target and has the libraries for it.
    fn able(program: &Path, plus: bool) -> bool {
        let knows = tool::printed(program, &["--print-targets"]).is_some_and(|targets| targets.contains("wasm32"));
        let has = |library: &str| {
            let asked = format!("-print-file-name={library}");
            tool::printed(program, &[TARGET, &asked]).is_some_and(|path| Path::new(&path).is_absolute())
        };
        let runtime = tool::printed(program, &[TARGET, "-print-libgcc-file-name"]);
        knows && has("libc.a") && (!plus || has("libc++.a")) && runtime.is_some_and(|path| Path::new(&path).is_file())
    }

    fn command(&self) -> Command {
        let mut command = Command::new(&self.program);
        command.args([TARGET, "-Oz", "-flto", "-Wno-deprecated"]);
        if self.plus {
            command.args(["-std=c++20", "-fno-exceptions", "-fno-rtti"]);
        }
        command
    }

    fn compile(
        &self,
        sources: &Sources<'_>,
        file: &Path,
        bindings: &Path,
        whose: Whose,
    ) -> Result<PathBuf, BuildError> {
        let from = file
            .strip_prefix(&sources.folder)
            .or_else(|_| file.strip_prefix(bindings))
            .unwrap_or(file);
        let flat = from.to_string_lossy().replace(['/', '\\'], "-");
        let object = sources.scratch.join(match whose {
            Whose::Authors { .. } => format!("{flat}.o"),
            Whose::Ours => format!("bindings-{flat}.o"),
        });
        let mut compile = self.command();
        // The checks name types by the path of their header, as it is given here.
        let near = bindings.strip_prefix(&sources.folder).unwrap_or(bindings);
        compile
            .current_dir(&sources.folder)
            .arg("-c")
            .arg(file)
            .arg("-I")
            .arg(near)
            .arg("-o")
            .arg(&object);
        // Paths of this machine are no part of a policy.
        let folder = sources.folder.to_string_lossy();
        compile.arg(format!("-ffile-prefix-map={folder}=."));
        if sources.observes() {
            compile.arg("-DPOLICY_OBSERVES");
        }
        if let Whose::Authors { said } = whose {
            compile.args(["-Wall", "-Wextra", "-Wno-unused-parameter"]);
            compile.args(["-fsanitize=undefined", "-fno-sanitize-recover=undefined", FILE_NAMES]);
            if !said {
                compile.arg("-fsanitize-trap=undefined");
            }
        }
        tool::run(&mut compile, "")?;
        Ok(object)
    }
}

fn missing(plus: bool) -> BuildError {
    let library = if plus {
        " libc++-22-dev-wasm32 libc++abi-22-dev-wasm32"
    } else {
        ""
    };
    BuildError::Missing {
        what: format!(
            "clang for WebAssembly with wasi-libc{}",
            if plus { " and libc++" } else { "" }
        ),
        how: format!("  Debian: apt-get install clang-22 lld-22 wasi-libc libclang-rt-22-dev-wasm32{library}"),
    }
}

/// As Debian's wasi-libc names its folder; a newer clang would rather hear `wasm32-wasip1`, and says so.
const TARGET: &str = "--target=wasm32-wasi";
const VERSIONS: [u8; 9] = [22, 21, 20, 19, 18, 17, 16, 15, 14];
/// A decision needs little stack, and a small one keeps the instance small.
const STACK: &str = "-Wl,-z,stack-size=65536";
/// In what a check says, the name of the file and not its path, which is of this machine.
const FILE_NAMES: &str = "-fsanitize-undefined-strip-path-components=-1";
/// Below all data, so that a stack that overflows traps and writes over nothing.
const STACK_FIRST: &str = "-Wl,--stack-first";
