//! A gateway that is yet to be started: its configuration, keys and policy.

use std::fs;
use std::io::{BufRead, BufReader};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::OnceLock;

use portreeve::config::{self, Config, Draft, Faults};
use portreeve::gateway::{Gateway, Origin, StartError};
use portreeve::policy::Compiler;
use tempfile::TempDir;

use super::gateways::{Process, Reached, Running};
use super::programs::{compiler, copy_key};
use crate::guests::{Guest, allows};

/// A gateway that is yet to be started: its files are in a folder of its own.
pub struct Setup {
    pub folder: TempDir,
    key_options: String,
    listed_key: bool,
    user_lines: String,
    policy_lines: String,
    component: String,
    rewrite: bool,
    plugin_lines: String,
    tables: String,
    audit_file: String,
    directory: PathBuf,
    compiler: Compiler,
    program: PathBuf,
    variables: Vec<(String, String)>,
    arguments: Vec<String>,
}

impl Setup {
    /// A gateway that asks this policy.
    pub fn asking(guest: &Guest) -> Self {
        let folder = TempDir::new().expect("a folder");
        fs::write(folder.path().join("policy.wasm"), guest.build()).expect("write the policy");
        for name in ["id", "host"] {
            copy_key(name, folder.path());
        }
        Self {
            folder,
            key_options: String::new(),
            listed_key: true,
            user_lines: String::new(),
            policy_lines: String::new(),
            component: "policy.wasm".to_owned(),
            rewrite: true,
            plugin_lines: String::new(),
            tables: String::new(),
            audit_file: "audit.jsonl".to_owned(),
            directory: kept().to_owned(),
            compiler: compiler(),
            program: env!("CARGO_BIN_EXE_portreeve").into(),
            variables: Vec::new(),
            arguments: Vec::new(),
        }
    }

    /// A gateway that allows everything.
    pub fn allowing() -> Self {
        Self::asking(&Guest::that(allows()))
    }

    /// Options in front of the user's key.
    pub fn key_options(mut self, options: &str) -> Self {
        options.clone_into(&mut self.key_options);
        self
    }

    /// The user's key lets nobody in by itself.
    pub fn without_listed_key(mut self) -> Self {
        self.listed_key = false;
        self
    }

    /// Lines of the user's table.
    pub fn user(mut self, lines: &str) -> Self {
        self.user_lines.push_str(lines);
        self.user_lines.push('\n');
        self
    }

    /// Lines of the table `[policy]`.
    pub fn policy(mut self, lines: &str) -> Self {
        self.policy_lines.push_str(lines);
        self.policy_lines.push('\n');
        self
    }

    /// Lines of the plugin's table.
    pub fn plugin(mut self, lines: &str) -> Self {
        self.plugin_lines.push_str(lines);
        self.plugin_lines.push('\n');
        self
    }

    pub fn component(mut self, component: &str) -> Self {
        component.clone_into(&mut self.component);
        self
    }

    /// The policy may not rewrite.
    pub fn without_rewrite(mut self) -> Self {
        self.rewrite = false;
        self
    }

    /// Further tables.
    pub fn tables(mut self, lines: &str) -> Self {
        self.tables.push_str(lines);
        self.tables.push('\n');
        self
    }

    pub fn audit_file(mut self, file: &str) -> Self {
        file.clone_into(&mut self.audit_file);
        self
    }

    /// What is kept of policies is kept here, and for nobody else.
    pub fn directory(mut self, path: &Path) -> Self {
        path.clone_into(&mut self.directory);
        self
    }

    /// Compiles by other means.
    pub fn compiler(mut self, compiler: Compiler) -> Self {
        self.compiler = compiler;
        self
    }

    /// Starts the program that is there, if it is started in a process of its own.
    pub fn program(mut self, path: &Path) -> Self {
        path.clone_into(&mut self.program);
        self
    }

    /// A variable of its environment then.
    pub fn variable(mut self, name: &str, value: &str) -> Self {
        self.variables.push((name.to_owned(), value.to_owned()));
        self
    }

    /// Further arguments of `serve`.
    pub fn arguments(mut self, arguments: &[&str]) -> Self {
        self.arguments
            .extend(arguments.iter().map(|&argument| argument.to_owned()));
        self
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn config(&self) -> String {
        let key = fs::read_to_string(self.path("id.pub")).expect("the user's key");
        let line = format!("{} {}", self.key_options, key.trim());
        let lines = if self.listed_key {
            format!("{:?}", line.trim())
        } else {
            String::new()
        };
        format!(
            r#"
[server]
listen = ["127.0.0.1:0"]
host-keys = ["host"]

[[user]]
name = "alice"
groups = ["dba"]
authorized-keys = [{lines}]
{user}
[policy]
directory = {directory:?}
{policy}
[[policy.plugin]]
name = "test"
component = "{component}"
rewrite = {rewrite}
{plugin}
[audit]
file = "{audit}"
{tables}
"#,
            user = self.user_lines,
            directory = self.directory,
            policy = self.policy_lines,
            component = self.component,
            rewrite = self.rewrite,
            plugin = self.plugin_lines,
            audit = self.audit_file,
            tables = self.tables,
        )
    }

    pub fn start(self) -> Running {
        self.try_start()
            .map_err(|error| error.to_string())
            .expect("the gateway starts")
    }

    /// Its configuration, in a file.
    pub fn written(&self) -> PathBuf {
        let file = self.path("portreeve.toml");
        fs::write(&file, self.config()).expect("write the configuration");
        file
    }

    pub fn try_start(self) -> Result<Running, StartError> {
        let file = self.written();
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(2)
            .enable_all()
            .build()
            .expect("a runtime");
        let compiler = self.compiler.clone();
        let gateway = runtime.block_on(Gateway::start(FromFile { file, compiler }))?;
        let address = gateway.addresses()[0];
        Ok(Running {
            gateway,
            runtime: Some(runtime),
            reached: Reached { setup: self, address },
        })
    }

    /// Starts the program, in a process of its own.
    pub fn start_program(self) -> Process {
        self.start_program_under(&[])
    }

    /// Starts the program by another one, which becomes it.
    pub fn start_program_under(self, words: &[&str]) -> Process {
        self.run_program(words, Stdio::piped(), Stdio::null(), listens)
    }

    /// Starts the program with these streams; `address` finds out where it listens.
    pub fn start_program_to(
        self,
        out: Stdio,
        errors: Stdio,
        address: impl FnOnce(&mut Child) -> SocketAddr,
    ) -> Process {
        self.run_program(&[], out, errors, address)
    }

    fn run_program(
        self,
        words: &[&str],
        out: Stdio,
        errors: Stdio,
        address: impl FnOnce(&mut Child) -> SocketAddr,
    ) -> Process {
        let file = self.path("portreeve.toml");
        fs::write(&file, self.config()).expect("write the configuration");
        let (child, address) = self.spawn(words, out, errors, address);
        Process {
            child,
            reached: Reached { setup: self, address },
        }
    }

    pub(super) fn spawn(
        &self,
        words: &[&str],
        out: Stdio,
        errors: Stdio,
        address: impl FnOnce(&mut Child) -> SocketAddr,
    ) -> (Child, SocketAddr) {
        let file = self.path("portreeve.toml");
        let portreeve = self.program.to_str().expect("a plain path");
        let mut words = words.iter().copied().chain([portreeve]);
        let mut program = Command::new(words.next().expect("a program"));
        program.args(words);
        program.args(["serve", "--config"]).arg(&file).env("RUST_LOG", "warn");
        program.args(&self.arguments);
        program.env("XDG_RUNTIME_DIR", self.folder.path());
        program.envs(self.variables.iter().map(|(name, value)| (name, value)));
        // The allocator gives back at once what is freed, so that its memory is what it holds.
        program.env("MIMALLOC_PURGE_DELAY", "0");
        program.stdin(Stdio::null()).stdout(out).stderr(errors);
        let mut child = program.spawn().expect("the program runs");
        let address = address(&mut child);
        (child, address)
    }
}

/// What the program says first.
pub(super) fn listens(child: &mut Child) -> SocketAddr {
    let mut line = String::new();
    let out = child.stdout.take().expect("it is piped");
    let _ = BufReader::new(out).read_line(&mut line);
    let address = line.trim_end().rsplit(' ').next().and_then(|word| word.parse().ok());
    address.expect("the address on which it listens")
}

struct FromFile {
    file: PathBuf,
    compiler: Compiler,
}

impl Origin for FromFile {
    fn file(&self) -> &Path {
        &self.file
    }

    fn load(&self) -> Result<Config, Faults> {
        config::load(&self.file)
    }

    fn draft(&self) -> Result<Draft, Faults> {
        config::draft(&self.file)
    }

    fn compiler(&self) -> Compiler {
        self.compiler.clone()
    }
}

/// Compiled code is kept for all tests of this program, which make the same policies again and again.
fn kept() -> &'static Path {
    static KEPT: OnceLock<TempDir> = OnceLock::new();
    KEPT.get_or_init(|| TempDir::new().expect("a folder")).path()
}
