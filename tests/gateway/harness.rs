//! A gateway in this process, real OpenSSH clients around it, and servers behind it. Nothing here sleeps to let something
//! happen: whatever is waited for is looked at until it is there, and its absence is a failure after [`PATIENCE`].

use std::fmt::Display;
use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{Ipv4Addr, Shutdown, SocketAddr, TcpListener, TcpStream};
use std::ops::Deref;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::sync::{Arc, Condvar, Mutex, OnceLock, mpsc};
use std::thread;
use std::time::{Duration, Instant};

use portreeve::config::{self, Config, Draft, Faults};
use portreeve::gateway::{Gateway, Origin, StartError};
use portreeve::policy::Compiler;
use portreeve::vital::Vital;
use serde_json::Value;
use tempfile::TempDir;
use tokio::runtime::Runtime;

use super::guests::{Guest, allows};

/// How long anything may take here. Only a failing test waits for so long.
pub const PATIENCE: Duration = Duration::from_secs(40);

/// Looks again and again until there is something.
pub fn eventually<T>(what: impl Display, mut look: impl FnMut() -> Option<T>) -> T {
    let deadline = Instant::now() + PATIENCE;
    loop {
        if let Some(found) = look() {
            return found;
        }
        assert!(Instant::now() < deadline, "it never came: {what}");
        thread::sleep(Duration::from_millis(5));
    }
}

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

    fn spawn(
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

/// Puts a copy of a program in `program`, at once and executable.
///
/// Another process writes it: a file that this one has open for writing is open for a moment in each process that
/// another test starts just then, and the system runs no program that somebody can write (`ETXTBSY`, execve(2)).
pub fn install(from: &Path, program: &Path) {
    let next = program.with_extension("next");
    let copied = Command::new("install").args(["-m", "755"]).args([from, &next]).status();
    assert!(copied.expect("`install` of coreutils").success());
    fs::rename(next, program).expect("the program's place");
}

/// Puts a shell script in `program`, as [`install`] does.
pub fn install_script(text: &str, program: &Path) {
    let source = program.with_extension("sh");
    fs::write(&source, format!("#!/bin/sh\n{text}\n")).expect("a script");
    install(&source, program);
}

/// What the program says first.
fn listens(child: &mut Child) -> SocketAddr {
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

/// The program beside this test.
pub fn compiler() -> Compiler {
    Compiler::program(env!("CARGO_BIN_EXE_portreeve"))
}

/// Compiled code is kept for all tests of this program, which make the same policies again and again.
fn kept() -> &'static Path {
    static KEPT: OnceLock<TempDir> = OnceLock::new();
    KEPT.get_or_init(|| TempDir::new().expect("a folder")).path()
}

/// Keys take a while to make, so each kind is made once for all tests.
fn copy_key(name: &str, folder: &Path) {
    static MADE: OnceLock<TempDir> = OnceLock::new();
    let made = MADE.get_or_init(|| {
        let folder = TempDir::new().expect("a folder");
        for name in ["id", "host"] {
            make_key(&folder.path().join(name), "ed25519");
        }
        folder
    });
    for name in [name.to_owned(), format!("{name}.pub")] {
        fs::copy(made.path().join(&name), folder.join(&name)).expect("copy a key");
    }
}

pub fn make_key(path: &Path, kind: &str) {
    let path = path.to_str().expect("a plain path");
    ssh_keygen(&["-q", "-t", kind, "-N", "", "-C", "test", "-f", path]);
}

pub fn ssh_keygen(arguments: &[&str]) {
    let made = Command::new("ssh-keygen").args(arguments).output();
    let made = made.expect("ssh-keygen runs: these tests need the OpenSSH client (Debian: openssh-client)");
    assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
}

/// A gateway that serves, in this process.
pub struct Running {
    gateway: Gateway,
    runtime: Option<Runtime>,
    reached: Reached,
}

impl Deref for Running {
    type Target = Reached;

    fn deref(&self) -> &Reached {
        &self.reached
    }
}

impl Running {
    /// How many users are in.
    pub fn sessions(&self) -> usize {
        self.gateway.sessions().count()
    }

    /// How many tunnels and listeners are open.
    pub fn open(&self) -> usize {
        self.gateway.sessions().forwards().len()
    }

    /// Which of its essential tasks do not run.
    pub fn absent(&self) -> Vec<Vital> {
        self.gateway.absent()
    }

    /// How many tasks it has.
    pub fn tasks(&self) -> usize {
        self.gateway.tasks()
    }

    /// How many bytes it holds for targets that do not take them.
    pub fn buffered(&self) -> usize {
        self.gateway.buffered()
    }

    /// Where monitoring reaches it.
    pub fn monitored(&self) -> Option<SocketAddr> {
        self.gateway.admin().http
    }

    /// Waits until an administrator asks for the end.
    pub async fn asked_to_drain(&self) {
        self.gateway.asked_to_drain().await;
    }

    /// Runs something where the gateway runs.
    pub fn block_on<F: Future>(&self, future: F) -> F::Output {
        self.runtime.as_ref().expect("it runs").block_on(future)
    }

    /// What SIGHUP does.
    pub fn reload(&self) -> Result<(), String> {
        self.block_on(self.gateway.reload())
            .map_err(|faults| faults.to_string())
    }

    /// As SIGHUP does it: nobody waits for it.
    pub fn reload_in_background(&self) {
        let _inside = self.runtime.as_ref().expect("it runs").enter();
        self.gateway.reload_in_background();
    }

    /// Drains; nothing may be left open.
    pub fn stop(mut self) -> Vec<Value> {
        let runtime = self.runtime.take().expect("it runs");
        runtime.block_on(self.gateway.drain());
        assert_eq!(self.open(), 0, "something is open after the drain");
        let lines = self.audit();
        assert_eq!(lines.last().expect("lines")["event"], "gateway-stopped");
        runtime.shutdown_timeout(Duration::from_secs(5));
        lines
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_background();
        }
    }
}

/// The program, in a process of its own: what is counted of it is nobody else's.
pub struct Process {
    child: Child,
    reached: Reached,
}

impl Deref for Process {
    type Target = Reached;

    fn deref(&self) -> &Reached {
        &self.reached
    }
}

impl Process {
    /// Ends it without a warning, and starts it again with the files that are there.
    pub fn killed_and_started(&mut self) {
        self.kill();
        self.start_again();
    }

    /// Ends it without a warning.
    pub fn kill(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }

    /// Starts it again after its end, with the files that are there.
    pub fn start_again(&mut self) {
        let started = self.reached.setup.spawn(&[], Stdio::piped(), Stdio::null(), listens);
        (self.child, self.reached.address) = started;
    }

    pub fn id(&self) -> u32 {
        self.child.id()
    }

    pub fn signal(&self, name: &str) {
        signal(self.child.id(), name);
    }

    /// Waits for its end, and answers its exit code.
    pub fn ended(&mut self) -> Option<i32> {
        eventually("the end of the program", || self.child.try_wait().expect("its state")).code()
    }

    /// Sends it a signal again and again until it ends, and answers its exit code. Of two that come at once it sees one.
    pub fn ended_by(&mut self, signal: &str) -> Option<i32> {
        let end = eventually("the end of the program", || {
            self.signal(signal);
            self.child.try_wait().expect("its state")
        });
        end.code()
    }

    /// How many files it has open.
    pub fn files(&self) -> usize {
        self.entries("fd")
    }

    /// How many threads it has.
    pub fn threads(&self) -> usize {
        self.entries("task")
    }

    fn entries(&self, folder: &str) -> usize {
        let path = format!("/proc/{}/{folder}", self.child.id());
        fs::read_dir(path).expect("a running process").count()
    }

    /// Bytes that are in memory and no file's.
    pub fn memory(&self) -> usize {
        let text = fs::read_to_string(format!("/proc/{}/status", self.child.id())).expect("a running process");
        let line = text
            .lines()
            .find(|line| line.starts_with("RssAnon:"))
            .expect("its memory");
        let kibibytes = line
            .split_whitespace()
            .nth(1)
            .and_then(|word| word.parse::<usize>().ok());
        kibibytes.expect("a number") << 10
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
        // Those that took its place; another process may have the number of one that has ended.
        let text = fs::read_to_string(self.reached.path("audit.jsonl")).unwrap_or_default();
        let lines = text.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok());
        for line in lines.filter(|line| line["event"] == "gateway-started") {
            let process = line["process"].to_string();
            let words = fs::read(format!("/proc/{process}/cmdline")).unwrap_or_default();
            let folder = self.reached.setup.folder.path().to_string_lossy().into_owned();
            if String::from_utf8_lossy(&words).contains(&folder) {
                let _ = Command::new("kill").args(["-s", "KILL", &process]).status();
            }
        }
    }
}

/// A gateway as one reaches it from outside: its address, its files and its log.
pub struct Reached {
    pub setup: Setup,
    address: SocketAddr,
}

impl Reached {
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.setup.path(name)
    }

    /// Puts another policy in the place of the one that serves, by rename, and waits until it serves or was rejected.
    pub fn swap(&self, guest: &Guest) -> Value {
        self.swap_bytes(&guest.build())
    }

    pub fn swap_bytes(&self, bytes: &[u8]) -> Value {
        self.after_swap(|| {
            let next = self.path("policy.next");
            fs::write(&next, bytes).expect("write the next policy");
            fs::rename(&next, self.path("policy.wasm")).expect("rename it");
        })
    }

    /// Does something that leads to a swap, and answers its audit line.
    pub fn after_swap(&self, change: impl FnOnce()) -> Value {
        let before = self.swaps().len();
        change();
        eventually("the swap", || self.swaps().into_iter().nth(before))
    }

    fn swaps(&self) -> Vec<Value> {
        let mut lines = self.audit();
        lines.retain(|line| line["event"] == "policy-swapped" || line["event"] == "policy-rejected");
        lines
    }

    /// The audit log as it is now.
    pub fn audit(&self) -> Vec<Value> {
        let text = fs::read_to_string(self.path("audit.jsonl")).unwrap_or_default();
        let whole = text.rfind('\n').map_or("", |end| &text[..end]);
        whole
            .lines()
            .map(|line| serde_json::from_str(line).expect("a JSON object a line"))
            .collect()
    }

    /// Waits for an audit line.
    pub fn audited(&self, what: &str, fits: impl Fn(&Value) -> bool) -> Value {
        eventually(what, || self.audit().into_iter().find(&fits))
    }

    /// Waits for an event.
    pub fn event(&self, event: &str) -> Value {
        self.audited(event, |line| line["event"] == event)
    }

    /// Waits for the decision on what was requested.
    pub fn decision(&self, requested: &str) -> Value {
        self.audited(&format!("a decision on {requested}"), |line| {
            line["event"] == "forward-decided" && line["requested"] == requested
        })
    }

    /// The lines of an event so far.
    pub fn events(&self, event: &str) -> Vec<Value> {
        let mut lines = self.audit();
        lines.retain(|line| line["event"] == event);
        lines
    }

    /// Whether a new forward is allowed now; a policy that refuses it says so in these words.
    pub fn allows_new(&self) -> bool {
        let target = Server::named("the target");
        let answer = self.through(&target.address());
        assert!(
            answer.stdout == "the target" || answer.errors.contains("the new policy says no"),
            "{answer:?}"
        );
        answer.stdout == "the target"
    }

    /// An `ssh` to this gateway, without any forward yet.
    pub fn ssh(&self) -> Ssh {
        self.ssh_with_key(&self.path("id"))
    }

    pub fn ssh_with_key(&self, key: &Path) -> Ssh {
        let mut command = Command::new("ssh");
        let known = self.path("known_hosts");
        let log = [
            "-F",
            "none",
            "-o",
            "BatchMode=yes",
            "-o",
            "StrictHostKeyChecking=no",
            "-o",
            "LogLevel=VERBOSE",
        ];
        command
            .args(log)
            .arg("-o")
            .arg(format!("UserKnownHostsFile={}", known.display()));
        command
            .args(["-o", "IdentitiesOnly=yes", "-o", "ConnectTimeout=40", "-i"])
            .arg(key);
        command.env_remove("SSH_AUTH_SOCK").env_remove("DISPLAY");
        Ssh {
            command,
            destination: "alice@127.0.0.1".to_owned(),
            port: self.address().port(),
        }
    }

    /// `ssh -N -L` from a socket in the folder to `target`; ready to be connected to.
    pub fn local(&self, target: &str) -> Local {
        let socket = self.path(&format!("local-{}", unique()));
        let forward = format!("{}:{target}", socket.display());
        let client = self.ssh().args(["-N", "-L", &forward]).start();
        Local { client, socket }
    }

    /// `ssh -N -R` with the given argument, which the gateway granted.
    pub fn remote(&self, forward: &str) -> Client {
        let before = self.events("listener-opened").len();
        let client = self.ssh().args(["-N", "-R", forward]).start();
        eventually("a listener", || {
            (self.events("listener-opened").len() > before).then_some(())
        });
        client
    }

    /// `ssh -W`: what the target sends, and what ssh says.
    pub fn through(&self, target: &str) -> Answer {
        self.ssh().args(["-W", target]).run(b"")
    }

    /// `ssh -J` through this gateway to a gateway that ssh is told to find at `host`, and from there to `target`.
    pub fn jump(&self, host: &str, port: u16, target: &str) -> Answer {
        let config = format!(
            "IdentityFile {id}\nIdentitiesOnly yes\nBatchMode yes\nStrictHostKeyChecking no\nUserKnownHostsFile /dev/null\n",
            id = self.path("id").display()
        );
        fs::write(self.path("ssh_config"), config).expect("write the configuration of ssh");
        let jump = format!("alice@127.0.0.1:{}", self.address().port());
        let mut command = Command::new("ssh");
        command
            .arg("-F")
            .arg(self.path("ssh_config"))
            .args(["-J", &jump, "-W", target]);
        command.env_remove("SSH_AUTH_SOCK");
        let destination = format!("alice@{host}");
        Ssh {
            command,
            destination,
            port,
        }
        .run(b"")
    }

    /// `ssh -N -D`: as many new forwards as one likes, through one connection.
    pub fn dynamic(&self) -> Dynamic {
        // `ssh` takes no port 0 here, so the kernel is asked first; another process may be faster.
        eventually("a SOCKS proxy", || {
            let port = free_port();
            let client = self
                .ssh()
                .args(["-N", "-o", "ExitOnForwardFailure=yes", "-D", &port.to_string()])
                .start();
            let deadline = Instant::now() + PATIENCE;
            while Instant::now() < deadline && !client.said("Entering interactive session") {
                if client.said("Address already in use") {
                    return None;
                }
                if is_socks5(port) {
                    break;
                }
                thread::sleep(Duration::from_millis(5));
            }
            let client = Arc::new(client);
            Some(Dynamic { client, port })
        })
    }
}

/// Whether a SOCKS proxy listens there: whoever was faster may have something else there.
fn is_socks5(port: u16) -> bool {
    let greeted = TcpStream::connect((Ipv4Addr::LOCALHOST, port)).and_then(|mut stream| {
        stream.set_read_timeout(Some(Duration::from_secs(1)))?;
        stream.write_all(&[5, 1, 0])?;
        let mut answer = [0; 2];
        stream.read_exact(&mut answer).map(|()| answer)
    });
    greeted.is_ok_and(|answer| answer == [5, 0])
}

/// Sends a process a signal.
pub fn signal(process: u32, name: &str) {
    let sent = Command::new("kill").args(["-s", name, &process.to_string()]).status();
    assert!(sent.expect("kill runs").success());
}

/// A number that no other call gets.
pub fn unique() -> usize {
    use std::sync::atomic::{AtomicUsize, Ordering};
    static NEXT: AtomicUsize = AtomicUsize::new(0);
    NEXT.fetch_add(1, Ordering::Relaxed)
}

/// A port that nothing listened on a moment ago.
pub fn free_port() -> u16 {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a port");
    listener.local_addr().expect("its address").port()
}

/// An `ssh` command line.
pub struct Ssh {
    command: Command,
    destination: String,
    port: u16,
}

impl Ssh {
    pub fn args<'a>(mut self, arguments: impl IntoIterator<Item = &'a str>) -> Self {
        self.command.args(arguments);
        self
    }

    pub fn option(self, option: &str) -> Self {
        self.args(["-o", option])
    }

    pub fn to(mut self, destination: &str) -> Self {
        destination.clone_into(&mut self.destination);
        self
    }

    /// Connects to this port, and not to that of the gateway.
    pub fn at(mut self, port: u16) -> Self {
        self.port = port;
        self
    }

    /// Its arguments, for who starts it otherwise.
    pub fn words(&self) -> Vec<String> {
        let own = self.command.get_args().map(|word| word.to_str().unwrap().to_owned());
        let last = ["-p".to_owned(), self.port.to_string(), self.destination.clone()];
        own.chain(last).collect()
    }

    /// Starts it, with its input open.
    pub fn start(self) -> Client {
        self.start_with(&[])
    }

    pub fn start_with(mut self, program: &[&str]) -> Client {
        self.command
            .args(["-p", &self.port.to_string()])
            .arg(&self.destination)
            .args(program);
        self.command
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        let spawned = self.command.spawn();
        let mut child = spawned.expect("ssh runs: these tests need the OpenSSH client (Debian: openssh-client)");
        let said = Arc::new(Said::default());
        let heard = Arc::clone(&said);
        let mut errors = child.stderr.take().expect("it is piped");
        thread::spawn(move || {
            let mut buffer = [0; 4096];
            while let Ok(length @ 1..) = errors.read(&mut buffer) {
                heard.push(&String::from_utf8_lossy(&buffer[..length]));
            }
            heard.end();
        });
        Client {
            stdin: child.stdin.take(),
            stdout: child.stdout.take(),
            child,
            said,
        }
    }

    /// Runs it to its end with this input.
    pub fn run(self, input: &[u8]) -> Answer {
        self.start().finish(input)
    }
}

/// What a process has said so far on its standard error.
#[derive(Default)]
struct Said {
    text: Mutex<(String, bool)>,
    more: Condvar,
}

impl Said {
    fn push(&self, text: &str) {
        self.text.lock().expect("not poisoned").0.push_str(text);
        self.more.notify_all();
    }

    fn end(&self) {
        self.text.lock().expect("not poisoned").1 = true;
        self.more.notify_all();
    }

    fn so_far(&self) -> String {
        self.text.lock().expect("not poisoned").0.clone()
    }

    fn wait(&self, done: impl Fn(&(String, bool)) -> bool) -> String {
        let text = self.text.lock().expect("not poisoned");
        let waited = self.more.wait_timeout_while(text, PATIENCE, |text| !done(text));
        let (text, _) = waited.expect("not poisoned");
        text.0.clone()
    }
}

/// A running `ssh`; killed when it is dropped.
pub struct Client {
    child: Child,
    pub stdin: Option<ChildStdin>,
    pub stdout: Option<ChildStdout>,
    said: Arc<Said>,
}

impl Client {
    pub fn said(&self, words: &str) -> bool {
        self.said.so_far().contains(words)
    }

    /// How often it has said this.
    pub fn count(&self, words: &str) -> usize {
        self.said.so_far().matches(words).count()
    }

    /// Waits until it has said this, and answers all it said.
    pub fn says(&self, words: &str) -> String {
        let text = self.said.wait(|(text, ended)| *ended || text.contains(words));
        assert!(text.contains(words), "ssh never said {words:?}, but:\n{text}");
        text
    }

    /// It is there and does nothing any more: what it is sent stays in the buffers of the system.
    pub fn pause(&self) {
        let paused = Command::new("kill")
            .args(["-s", "STOP", &self.child.id().to_string()])
            .status();
        assert!(paused.expect("kill runs").success());
    }

    /// As `kill -9` does it.
    pub fn kill(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }

    /// Gives it its last input and waits for its end.
    pub fn finish(mut self, input: &[u8]) -> Answer {
        if let Some(mut stdin) = self.stdin.take() {
            let _ = stdin.write_all(input);
        }
        let (heard, hearing) = mpsc::channel();
        let out = self.stdout.take();
        thread::spawn(move || {
            let mut stdout = Vec::new();
            if let Some(mut out) = out {
                let _ = out.read_to_end(&mut stdout);
            }
            let _ = heard.send(stdout);
        });
        let stdout = hearing.recv_timeout(PATIENCE).expect("ssh ends its output");
        let errors = self.said.wait(|(_, ended)| *ended);
        let status = eventually("the end of ssh", || self.child.try_wait().expect("its state"));
        Answer {
            code: status.code(),
            stdout: String::from_utf8_lossy(&stdout).into_owned(),
            errors,
        }
    }
}

impl Drop for Client {
    fn drop(&mut self) {
        self.kill();
    }
}

/// What came of a command.
#[derive(Debug)]
pub struct Answer {
    pub code: Option<i32>,
    pub stdout: String,
    pub errors: String,
}

/// The near end of a local forward.
pub struct Local {
    pub client: Client,
    socket: PathBuf,
}

impl Local {
    pub fn connect(&self) -> UnixStream {
        let stream = eventually("a local forward", || UnixStream::connect(&self.socket).ok());
        stream.set_read_timeout(Some(PATIENCE)).expect("a timeout");
        stream
    }
}

/// A SOCKS proxy; it ends with its client.
pub struct Dynamic {
    pub client: Arc<Client>,
    pub port: u16,
}

impl Dynamic {
    /// The same proxy, for another thread.
    pub fn again(&self) -> Self {
        Self {
            client: Arc::clone(&self.client),
            port: self.port,
        }
    }

    pub fn socks4(&self, address: Ipv4Addr, port: u16) -> Option<TcpStream> {
        let mut greeting = vec![4, 1];
        greeting.extend(port.to_be_bytes());
        greeting.extend(address.octets());
        greeting.extend(b"me\0");
        self.ask_version_4(&greeting)
    }

    pub fn socks4a(&self, host: &str, port: u16) -> Option<TcpStream> {
        let mut greeting = vec![4, 1];
        greeting.extend(port.to_be_bytes());
        greeting.extend([0, 0, 0, 1]);
        greeting.extend(b"me\0");
        greeting.extend(host.as_bytes());
        greeting.push(0);
        self.ask_version_4(&greeting)
    }

    fn ask_version_4(&self, greeting: &[u8]) -> Option<TcpStream> {
        let mut stream = self.connect();
        stream.write_all(greeting).ok()?;
        let mut reply = [0; 8];
        stream.read_exact(&mut reply).ok()?;
        (reply[1] == 90).then_some(stream)
    }

    /// A new forward; none where it was refused.
    pub fn socks5(&self, host: &str, port: u16) -> Option<TcpStream> {
        self.granted5(self.ask5(host, port))
    }

    /// Asks, and leaves the answer for later.
    pub fn ask5(&self, host: &str, port: u16) -> TcpStream {
        let mut stream = self.connect();
        stream.write_all(&[5, 1, 0]).expect("the proxy listens");
        stream.read_exact(&mut [0; 2]).expect("the proxy answers");
        let mut ask = vec![5, 1, 0, 3, u8::try_from(host.len()).expect("a short name")];
        ask.extend(host.as_bytes());
        ask.extend(port.to_be_bytes());
        stream.write_all(&ask).expect("the proxy listens");
        stream
    }

    /// The answer.
    pub fn granted5(&self, mut stream: TcpStream) -> Option<TcpStream> {
        let mut reply = [0; 10];
        stream.read_exact(&mut reply).ok()?;
        (reply[1] == 0).then_some(stream)
    }

    fn connect(&self) -> TcpStream {
        let stream = TcpStream::connect((Ipv4Addr::LOCALHOST, self.port)).expect("the proxy");
        stream.set_read_timeout(Some(PATIENCE)).expect("a timeout");
        stream
    }
}

/// A stream of either kind.
pub trait Duplex: Read + Write + Send + 'static {
    fn end_writing(&self);
    fn again(&self) -> Self;
}

impl Duplex for TcpStream {
    fn end_writing(&self) {
        let _ = self.shutdown(Shutdown::Write);
    }

    fn again(&self) -> Self {
        self.try_clone().expect("a second handle")
    }
}

impl Duplex for UnixStream {
    fn end_writing(&self) {
        let _ = self.shutdown(Shutdown::Write);
    }

    fn again(&self) -> Self {
        self.try_clone().expect("a second handle")
    }
}

/// Everything that comes after the last word was said; empty where nobody is there.
pub fn hear<D: Duplex>(mut stream: D) -> String {
    stream.end_writing();
    let mut heard = Vec::new();
    let _ = stream.read_to_end(&mut heard);
    String::from_utf8_lossy(&heard).into_owned()
}

/// Says a line and waits for its echo: the tunnel is open both ways.
pub fn ping<D: Duplex>(stream: &mut D) -> bool {
    let mut back = [0; 5];
    stream.write_all(b"ping\n").is_ok() && stream.read_exact(&mut back).is_ok() && back == *b"ping\n"
}

/// A server behind the gateway: it says its name where it has one, then returns what it gets, and ends when its peer does.
pub struct Server {
    pub port: u16,
}

impl Server {
    pub fn echo() -> Self {
        Self::named("")
    }

    pub fn named(name: &str) -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a port");
        let port = listener.local_addr().expect("its address").port();
        let name = name.to_owned();
        thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                serve(stream, name.clone());
            }
        });
        Self { port }
    }

    /// The same on a Unix socket.
    pub fn at(path: &Path, name: &str) {
        let listener = UnixListener::bind(path).expect("a socket");
        let name = name.to_owned();
        thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                serve(stream, name.clone());
            }
        });
    }

    pub fn address(&self) -> String {
        format!("127.0.0.1:{}", self.port)
    }
}

fn serve<D: Duplex>(mut stream: D, name: String) {
    thread::spawn(move || {
        let _ = stream.write_all(name.as_bytes());
        let mut reader = stream.again();
        let _ = std::io::copy(&mut reader, &mut stream);
        stream.end_writing();
    });
}

/// A client of the protocol itself, for what no `ssh` would send.
pub mod wire {
    use std::sync::Arc;

    use russh::client::{self, Handle, Handler};
    use russh::keys::{PrivateKeyWithHashAlg, PublicKeyOrCertificate, load_secret_key};
    use tokio::io::{AsyncRead, AsyncWrite};

    pub struct Anyone;

    impl Handler for Anyone {
        type Error = russh::Error;

        async fn check_server_key(&mut self, _: &PublicKeyOrCertificate) -> Result<bool, russh::Error> {
            Ok(true)
        }
    }

    pub async fn connect(gateway: &super::Reached) -> Handle<Anyone> {
        connect_as(gateway, client::Config::default()).await
    }

    async fn connect_as(gateway: &super::Reached, config: client::Config) -> Handle<Anyone> {
        let connected = client::connect(Arc::new(config), gateway.address(), Anyone).await;
        connected.expect("an SSH server")
    }

    pub async fn log_in(gateway: &super::Reached) -> Handle<Anyone> {
        log_in_as(gateway, client::Config::default()).await
    }

    pub async fn log_in_as(gateway: &super::Reached, config: client::Config) -> Handle<Anyone> {
        let client = connect_as(gateway, config).await;
        enter(gateway, client).await
    }

    /// Through a socket of one's own.
    pub async fn log_in_over<S>(gateway: &super::Reached, socket: S) -> Handle<Anyone>
    where
        S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    {
        let connected = client::connect_stream(Arc::default(), socket, Anyone).await;
        enter(gateway, connected.expect("an SSH server")).await
    }

    async fn enter(gateway: &super::Reached, mut client: Handle<Anyone>) -> Handle<Anyone> {
        let key = load_secret_key(gateway.path("id"), None).expect("the user's key");
        let key = PrivateKeyWithHashAlg::new(Arc::new(key), None);
        let entered = client.authenticate_publickey("alice", key).await.expect("an answer");
        assert!(entered.success());
        client
    }
}
