//! What a gateway without policies of its own would do: ask a server on the same machine over HTTP, JSON both ways, on a
//! connection that stays open.

use std::io::{BufRead, BufReader, Write};
use std::net::TcpListener;
use std::thread;

use portreeve::request::ForwardRequest;
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

/// A connection to a server that decides, in a thread of this process.
pub(crate) struct Webhook {
    stream: TcpStream,
    answer: Vec<u8>,
}

impl Webhook {
    pub(crate) async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        thread::spawn(move || {
            let (stream, _) = listener.accept().unwrap();
            stream.set_nodelay(true).unwrap();
            let mut reader = BufReader::new(stream.try_clone().unwrap());
            let mut writer = stream;
            while let Some(body) = read(&mut reader) {
                let answer = decide(&serde_json::from_slice(&body).unwrap()).to_string();
                let head = format!(
                    "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: {}\r\n\r\n",
                    answer.len()
                );
                writer.write_all((head + &answer).as_bytes()).unwrap();
            }
        });
        let stream = TcpStream::connect(address).await.unwrap();
        stream.set_nodelay(true).unwrap();
        Self {
            stream,
            answer: Vec::new(),
        }
    }

    /// Whether the server allows it.
    pub(crate) async fn ask(&mut self, request: &ForwardRequest) -> bool {
        let body = words(request).to_string();
        let head = format!(
            "POST /decide HTTP/1.1\r\nhost: 127.0.0.1\r\ncontent-type: application/json\r\ncontent-length: {}\r\n\r\n",
            body.len()
        );
        self.stream.write_all((head + &body).as_bytes()).await.unwrap();
        self.answer.clear();
        loop {
            self.stream.read_buf(&mut self.answer).await.unwrap();
            let Some(end) = self.answer.windows(4).position(|four| four == b"\r\n\r\n") else {
                continue;
            };
            let head = std::str::from_utf8(&self.answer[..end]).unwrap();
            let length = head.lines().find_map(|line| line.strip_prefix("content-length: "));
            let body = &self.answer[end + 4..];
            if body.len() == length.unwrap().parse::<usize>().unwrap() {
                let answer: Value = serde_json::from_slice(body).unwrap();
                return answer["verdict"] == "allow";
            }
        }
    }
}

/// One request from the connection; none at its end.
fn read(reader: &mut impl BufRead) -> Option<Vec<u8>> {
    let mut length = 0;
    loop {
        let mut line = String::new();
        if reader.read_line(&mut line).ok()? == 0 {
            return None;
        }
        if let Some(value) = line.strip_prefix("content-length: ") {
            length = value.trim().parse().unwrap();
        }
        if line == "\r\n" {
            break;
        }
    }
    let mut body = vec![0; length];
    reader.read_exact(&mut body).ok()?;
    Some(body)
}

/// As little as a policy can do.
fn decide(request: &Value) -> Value {
    if request["target"]["port"] == 22 {
        json!({ "verdict": "deny", "code": "closed", "reason": "port 22 is closed" })
    } else {
        json!({ "verdict": "allow" })
    }
}

/// The facts that a policy is told, as JSON.
fn words(request: &ForwardRequest) -> Value {
    let (principal, connection) = (&request.principal, &request.connection);
    let target = request.target.to_string();
    let (host, port) = target.rsplit_once(':').unwrap();
    json!({
        "id": request.id,
        "now": request.now.as_millisecond(),
        "action": request.action,
        "target": { "host": host, "port": port.parse::<u16>().unwrap() },
        "requested": request.requested.to_string(),
        "principal": {
            "user": principal.user,
            "groups": principal.groups,
            "method": principal.credential.method,
            "fingerprint": principal.credential.fingerprint,
        },
        "connection": {
            "id": connection.id,
            "client": connection.client,
            "server": connection.server,
            "software": connection.software,
            "since": connection.since.as_second(),
        },
        "dry-run": request.dry_run,
    })
}
