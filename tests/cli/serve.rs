//! `portreeve serve` as a command.

use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{Shutdown, TcpListener};
use std::os::unix::net::UnixStream;
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use crate::guests::{Guest, allows};
use crate::program::{Home, eventually};

/// `portreeve serve`, with what it has printed.
pub struct Served {
    child: Child,
    lines: Vec<String>,
}

impl Served {
    pub fn start(home: &Home, arguments: &[&str], last: &str) -> Self {
        Self::started(home.portreeve(), arguments, last)
    }

    fn started(mut command: Command, arguments: &[&str], last: &str) -> Self {
        command
            .arg("serve")
            .args(arguments)
            .stdout(Stdio::piped())
            .stderr(Stdio::null());
        let mut child = command.spawn().unwrap();
        let mut lines = Vec::new();
        for line in BufReader::new(child.stdout.take().unwrap()).lines() {
            lines.push(line.unwrap());
            if lines.last().unwrap().contains(last) {
                break;
            }
        }
        Self { child, lines }
    }

    fn signal(&self, name: &str) {
        let sent = Command::new("kill")
            .args(["-s", name, &self.child.id().to_string()])
            .status();
        assert!(sent.unwrap().success());
    }

    /// The exit code, once it has ended by itself.
    pub fn ended(&mut self) -> Option<i32> {
        self.child.wait().unwrap().code()
    }

    /// The exit code.
    fn end(&mut self) -> Option<i32> {
        self.signal("TERM");
        self.child.wait().unwrap().code()
    }

    /// The `ssh` command that was printed with these words in it, for a test to run.
    fn command(&self, words: &str) -> String {
        let found = self
            .lines
            .iter()
            .find(|line| line.starts_with("ssh ") && line.contains(words));
        found
            .expect(words)
            .replacen("ssh ", "ssh -F none -o BatchMode=yes -o IdentitiesOnly=yes ", 1)
    }
}

impl Drop for Served {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// The process that compiles for this one, once it has been at it for a while.
fn compiler_of(parent: u32) -> Option<u32> {
    let processes = fs::read_dir("/proc").unwrap().flatten();
    let numbers = processes.filter_map(|entry| entry.file_name().to_str()?.parse().ok());
    numbers
        .filter_map(|process| Some((process, stat(process)?)))
        .find(|(_, stat)| stat.parent == parent && stat.ticks > 20)
        .map(|(process, _)| process)
}

struct Stat {
    state: String,
    parent: u32,
    /// Of the processor, hundredths of a second.
    ticks: u64,
}

/// What the system says of a process that is there. proc(5) counts its fields from 1, and the name is the second.
fn stat(process: u32) -> Option<Stat> {
    let text = fs::read_to_string(format!("/proc/{process}/stat")).ok()?;
    let fields: Vec<_> = text.rsplit_once(')')?.1.split_whitespace().collect();
    Some(Stat {
        state: fields[0].to_owned(),
        parent: fields[1].parse().unwrap(),
        ticks: fields[11].parse().unwrap(),
    })
}

/// Ends a process that should be gone, where it is not.
struct Ends(u32);

impl Drop for Ends {
    fn drop(&mut self) {
        let _ = Command::new("kill")
            .args(["-9", &self.0.to_string()])
            .stderr(Stdio::null())
            .status();
    }
}

#[test]
fn a_compiler_does_not_outlive_its_gateway() {
    let home = Home::new();
    let config = home.asking(&Guest::that(allows()).hard_to_compile().build(), "");
    let mut gateway = home.portreeve();
    gateway.args(["serve", "--config", &config]);
    let mut gateway = gateway.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
    let compiler = eventually("a compiler at work", || compiler_of(gateway.id()));
    let ends = Ends(compiler);
    // SIGKILL: it has no time to clear up.
    gateway.kill().unwrap();
    gateway.wait().unwrap();
    let done = stat(compiler).map_or(0, |stat| stat.ticks);
    eventually("the end of the compiler", || {
        // Nobody may be there to take note of its end.
        let stat = stat(compiler).filter(|stat| stat.state != "Z");
        let goes_on = stat.as_ref().is_some_and(|stat| stat.ticks > done + 100);
        assert!(!goes_on, "it goes on compiling");
        stat.is_none().then_some(())
    });
    std::mem::forget(ends);
}

fn shell(command: &str) -> Child {
    let mut shell = Command::new("sh");
    shell
        .arg("-c")
        .arg(format!("exec {command}"))
        .env_remove("SSH_AUTH_SOCK");
    shell
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap()
}

/// Says `hello` to whoever connects.
fn greeter() -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    thread::spawn(move || {
        for mut stream in listener.incoming().flatten() {
            let _ = stream.write_all(b"hello");
        }
    });
    port
}

#[test]
fn the_commands_that_serve_prints_do_what_it_says_of_them() {
    let home = Home::new();
    let mut served = Served::start(&home, &["--listen", "127.0.0.1:0"], "who you are");
    let target = greeter();
    for (forward, near) in [
        ("8080:localhost:8000", "allowed"),
        ("8081:hello.portreeve:8000", "rewritten"),
    ] {
        let near = home.path(near);
        let host = forward.split(':').nth(1).unwrap();
        let ours = format!("{}:{host}:{target}", near.display());
        let mut ssh = shell(&served.command(forward).replace(forward, &ours));
        let deadline = Instant::now() + Duration::from_secs(40);
        let mut stream = loop {
            match UnixStream::connect(&near) {
                Ok(stream) => break stream,
                Err(error) => assert!(Instant::now() < deadline, "{forward}: {error}"),
            }
            thread::sleep(Duration::from_millis(5));
        };
        stream.shutdown(Shutdown::Write).unwrap();
        let mut heard = String::new();
        stream.read_to_string(&mut heard).unwrap();
        assert_eq!(heard, "hello", "{forward}");
        ssh.kill().unwrap();
        ssh.wait().unwrap();
    }
    let refused = shell(&served.command("-W localhost:25")).wait_with_output().unwrap();
    let words = String::from_utf8(refused.stderr).unwrap();
    assert!(
        words.contains("mail ports are closed here: try a web server such as localhost:8000 [ref f-"),
        "{words}"
    );
    assert_eq!(served.end(), Some(0));
    let log = std::fs::read_to_string(home.path(".local/state/portreeve/audit.jsonl")).unwrap();
    for verdict in ["allow", "rewrite", "deny"] {
        assert!(log.contains(&format!("\"verdict\":\"{verdict}\"")), "{verdict}");
    }
    assert!(log.trim_end().lines().last().unwrap().contains("gateway-stopped"));
}

/// Listens, says where, and becomes the program as a service manager would make it: sd_listen_fds(3).
const MANAGER: &str = r#"
import os, socket, sys
listener = socket.create_server(("127.0.0.1", 0))
port = listener.getsockname()[1]
config = sys.argv[1]
text = open(config).read().replace("PORT", str(port))
open(config, "w").write(text)
os.dup2(listener.fileno(), 3)
# Where it has that number already, nothing was copied, and it would be closed.
os.set_inheritable(3, True)
os.environ.update(LISTEN_PID=str(os.getpid()), LISTEN_FDS="1")
os.execv(sys.argv[2], sys.argv[2:])
"#;

const REST: &str = "[audit]\nfile = \"audit.jsonl\"\n[policy]\ndirectory = \"policies\"\n\
                    [[policy.plugin]]\nname = \"rules\"\ncomponent = \"builtin:rules\"\nsettings = { rules = [] }\n";

#[test]
fn it_serves_on_the_sockets_of_a_service_manager() {
    #[rustfmt::skip]
    let table = [
        ("[server]\nlisten = [\"127.0.0.1:PORT\"]\n", None),
        ("[server]\nlisten = [\"127.0.0.1:0\"]\n[admin]\nhttp = \"127.0.0.1:PORT\"\n", None),
        ("[server]\nlisten = [\"127.0.0.1:0\"]\n", Some("neither server.listen nor admin.http names its address")),
    ];
    for (text, refused) in table {
        let home = Home::new();
        home.file("gw.toml", format!("{text}{REST}"));
        let program = home.portreeve();
        let mut python = Command::new("python3");
        python.args(["-c", MANAGER, "gw.toml"]).arg(program.get_program());
        python
            .args(["serve", "--config", "gw.toml"])
            .current_dir(program.get_current_dir().unwrap());
        for (name, value) in program.get_envs() {
            match value {
                Some(value) => python.env(name, value),
                None => python.env_remove(name),
            };
        }
        let mut child = python.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        let mut said = String::new();
        let _ = BufReader::new(child.stdout.take().unwrap()).read_line(&mut said);
        let file = fs::read_to_string(home.path("gw.toml")).unwrap();
        let port = file
            .split("127.0.0.1:")
            .skip(1)
            .filter_map(|rest| rest.split('"').next())
            .find(|port| *port != "0");
        if let Some(words) = refused {
            assert_eq!(child.wait().unwrap().code(), Some(3));
            let mut errors = String::new();
            let _ = child.stderr.take().unwrap().read_to_string(&mut errors);
            assert!(errors.contains(words), "{errors}");
            continue;
        }
        let mut stream = std::net::TcpStream::connect(format!("127.0.0.1:{}", port.unwrap())).unwrap();
        let asked = if text.contains("http") {
            "GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n"
        } else {
            ""
        };
        stream.write_all(asked.as_bytes()).unwrap();
        let mut answer = [0; 8];
        stream.read_exact(&mut answer).unwrap();
        let expected = if text.contains("http") {
            b"HTTP/1.1"
        } else {
            b"SSH-2.0-"
        };
        assert_eq!(&answer, expected, "{said}");
        let _ = child.kill();
        let _ = child.wait();
    }
}

#[test]
fn a_second_start_keeps_the_host_key() {
    let home = Home::new();
    let key = || std::fs::read(home.path(".local/state/portreeve/ssh_host_ed25519_key")).unwrap();
    let mut keys = Vec::new();
    for _ in 0..2 {
        let mut served = Served::start(&home, &["--listen", "127.0.0.1:0"], "who you are");
        keys.push(key());
        assert_eq!(served.end(), Some(0));
    }
    assert_eq!(keys[0], keys[1]);
    let mode = std::fs::metadata(home.path(".local/state/portreeve/ssh_host_ed25519_key")).unwrap();
    assert_eq!(
        std::os::unix::fs::PermissionsExt::mode(&mode.permissions()) & 0o777,
        0o600
    );
}

#[test]
fn a_hangup_reads_the_configuration_again() {
    let home = Home::new();
    let guest = crate::guests::Guest::that(crate::guests::allows()).build();
    let file = home.asking(&guest, "");
    let mut served = Served::start(&home, &["--config", &file], "listens on 127.0.0.1:");
    let log = || std::fs::read_to_string(home.path("audit.jsonl")).unwrap();
    for (content, words) in [(None, "\"ok\":true"), (Some("nonsense ="), "\"ok\":false")] {
        if let Some(content) = content {
            std::fs::write(&file, content).unwrap();
        }
        // The handler is in place once the address is printed only if the signal is awaited by then.
        let deadline = Instant::now() + Duration::from_secs(40);
        while !log().contains(words) {
            served.signal("HUP");
            assert!(Instant::now() < deadline, "{words}: {}", log());
            thread::sleep(Duration::from_millis(100));
        }
    }
    assert_eq!(served.end(), Some(0));
}

#[test]
fn as_many_files_may_be_open_as_the_system_lets_it() {
    let home = Home::new();
    let program = home.portreeve();
    let mut command = Command::new("sh");
    command
        .args(["-c", "ulimit -Sn 200; exec \"$0\" \"$@\""])
        .arg(program.get_program());
    command.env("HOME", home.0.path()).env_remove("XDG_STATE_HOME");
    let mut served = Served::started(command, &["--listen", "127.0.0.1:0"], "listens on");
    let limits = std::fs::read_to_string(format!("/proc/{}/limits", served.child.id())).unwrap();
    let files = limits.lines().find(|line| line.starts_with("Max open files")).unwrap();
    let [soft, hard] = [3, 4].map(|column| files.split_whitespace().nth(column).unwrap());
    assert_eq!(soft, hard);
    assert_eq!(served.end(), Some(0));
}
