//! A gateway that serves, in this process or in one of its own, and what can be asked of it.

use std::fs;
use std::io::{Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::ops::Deref;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use portreeve::gateway::Gateway;
use portreeve::vital::Vital;
use serde_json::Value;
use tokio::runtime::Runtime;

use super::clients::{Answer, Client, Ssh};
use super::forwards::{Dynamic, Local};
use super::programs::signal;
use super::servers::Server;
use super::setup::{Setup, listens};
use super::{PATIENCE, eventually, free_port, unique};
use crate::guests::Guest;

/// A gateway that serves, in this process.
pub struct Running {
    pub(super) gateway: Gateway,
    pub(super) runtime: Option<Runtime>,
    pub(super) reached: Reached,
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
    pub(super) child: Child,
    pub(super) reached: Reached,
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
    pub(super) address: SocketAddr,
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
