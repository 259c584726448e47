//! The only name server of these namespaces: it knows what ends in `.answered.test`, and says nothing to anything else.

use std::fs;
use std::net::UdpSocket;
use std::path::Path;
use std::process::Command;
use std::thread;

/// Makes it the one that the system asks.
pub fn serve(folder: &Path) {
    let file = folder.join("resolv.conf");
    fs::write(&file, "nameserver 127.0.0.1\n").unwrap();
    let bound = Command::new("mount")
        .arg("--bind")
        .arg(&file)
        .arg("/etc/resolv.conf")
        .status();
    assert!(
        bound.is_ok_and(|status| status.success()),
        "mount --bind over /etc/resolv.conf"
    );
    let socket = UdpSocket::bind("127.0.0.1:53").unwrap();
    thread::spawn(move || {
        let mut packet = [0; 512];
        while let Ok((length, from)) = socket.recv_from(&mut packet) {
            if let Some(answer) = answer(&packet[..length]) {
                let _ = socket.send_to(&answer, from);
            }
        }
    });
}

/// 127.0.0.1 for questions for an IPv4 address, and nothing for others (RFC 1035 section 4).
fn answer(question: &[u8]) -> Option<Vec<u8>> {
    let labels = question.get(12..)?;
    let end = labels.iter().position(|byte| *byte == 0)?;
    if !labels[..end].ends_with(b"\x08answered\x04test") {
        return None;
    }
    let asked = labels.get(..end + 5)?;
    let is_address = asked[end + 2] == 1;
    let mut answer = question[..2].to_vec();
    answer.extend([0x81, 0x80, 0, 1, 0, u8::from(is_address), 0, 0, 0, 0]);
    answer.extend(asked);
    if is_address {
        answer.extend([0xc0, 12, 0, 1, 0, 1, 0, 0, 0, 0, 0, 4, 127, 0, 0, 1]);
    }
    Some(answer)
}
