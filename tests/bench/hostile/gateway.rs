//! The gateway under test, with two users and the rules for both.

use std::fs;
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

pub struct Running {
    pub port: u16,
    folder: PathBuf,
    target: u16,
    process: Child,
}

impl Running {
    pub fn start(program: &str, folder: &Path, target: u16) -> Self {
        let port = free_port();
        for user in ["honest", "hostile"] {
            let made = Command::new("ssh-keygen")
                .args(["-q", "-t", "ed25519", "-N", "", "-f"])
                .arg(folder.join(user))
                .status();
            assert!(made.is_ok_and(|status| status.success()), "ssh-keygen");
        }
        let line = |user: &str| fs::read_to_string(folder.join(user).with_extension("pub")).unwrap();
        let user = |user: &str| {
            let line = line(user);
            format!("[[user]]\nname = \"{user}\"\nauthorized-keys = [\"{}\"]\n", line.trim())
        };
        let config = format!(
            "[server]\nlisten = [\"127.0.0.1:{port}\"]\n{}{}[policy]\ndirectory = \"policies\"\n[[policy.plugin]]\n\
             name = \"rules\"\ncomponent = \"builtin:rules\"\ngrants = [\"names\"]\nsettings-file = \"rules.toml\"\n\
             [audit]\nfile = \"audit.jsonl\"\n",
            user("honest"),
            user("hostile"),
        );
        fs::write(folder.join("portreeve.toml"), config).unwrap();
        write_rules(folder, target, "");
        let process = Command::new(program)
            .args(["serve", "--config"])
            .arg(folder.join("portreeve.toml"))
            .env("XDG_STATE_HOME", folder)
            .stdout(Stdio::null())
            .stderr(fs::File::create(folder.join("log")).unwrap())
            .spawn()
            .unwrap();
        let running = Self {
            port,
            folder: folder.to_owned(),
            target,
            process,
        };
        let deadline = Instant::now() + Duration::from_secs(60);
        while TcpStream::connect((Ipv4Addr::LOCALHOST, port)).is_err() {
            assert!(
                Instant::now() < deadline,
                "{}",
                fs::read_to_string(folder.join("log")).unwrap()
            );
            thread::sleep(Duration::from_millis(20));
        }
        running
    }

    pub fn key(&self, user: &str) -> String {
        self.folder.join(user).display().to_string()
    }

    /// Other rules that mean the same: all that is open is judged again.
    pub fn change_rules(&self) {
        let more = "[[rules]]\nname = \"more\"\nhosts = \"nowhere.test\"\noutcome = \"allow\"\n";
        write_rules(&self.folder, self.target, more);
    }

    /// What it used, and what it wrote.
    pub fn costs(&self) -> String {
        let status = fs::read_to_string(format!("/proc/{}/status", self.process.id())).unwrap_or_default();
        let line = |key: &str| {
            let found = status.lines().find_map(|line| line.strip_prefix(key));
            found.unwrap_or("?").trim().to_owned()
        };
        let log = fs::metadata(self.folder.join("audit.jsonl")).map_or(0, |found| found.len() >> 20);
        let swaps = fs::read_to_string(self.folder.join("audit.jsonl")).unwrap_or_default();
        let swaps = swaps.matches("\"policy-swapped\"").count();
        format!("memory at most {}, audit log {log} MiB, {swaps} swaps", line("VmHWM:"))
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// `granted` names are asked for by the policy, `plain` ones by the gateway after it.
fn write_rules(folder: &Path, target: u16, more: &str) {
    let rules = format!(
        "[[rules]]\nname = \"granted\"\nhosts = \"*.granted.test\"\naddresses = \"10.0.0.0/8\"\noutcome = \"allow\"\n\
         [[rules]]\nname = \"plain\"\nhosts = \"*.plain.test\"\noutcome = \"allow\"\n\
         [[rules]]\nname = \"named\"\nhosts = \"*.answered.test\"\naddresses = \"127.0.0.0/8\"\nports = {target}\noutcome = \
         \"allow\"\nterms = {{ recheck-seconds = 2 }}\n\
         [[rules]]\nname = \"target\"\nhosts = \"127.0.0.1\"\nports = {target}\noutcome = \"allow\"\nterms = {{ \
         recheck-seconds = 2 }}\n{more}"
    );
    let next = folder.join("next");
    fs::write(&next, rules).unwrap();
    fs::rename(next, folder.join("rules.toml")).unwrap();
}

fn free_port() -> u16 {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    listener.local_addr().unwrap().port()
}
