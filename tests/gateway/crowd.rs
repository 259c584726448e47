//! Much at once: new keys in mid-transfer, answers far larger than questions, and ends of every kind.

use std::io::{Read, Write};
use std::net::{Ipv4Addr, Shutdown, TcpListener, TcpStream};
use std::os::unix::net::UnixListener;
use std::thread;

use sha2::{Digest, Sha256};

use crate::harness::{PATIENCE, Running, Server, Setup, eventually, hear, ping, wire};

/// A stream of bytes that never repeats itself, told by its seed.
pub struct Noise(pub u64);

impl Noise {
    pub fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed ^ (mixed >> 29)
    }

    fn fill(&mut self, buffer: &mut [u8]) {
        for part in buffer.chunks_mut(8) {
            part.copy_from_slice(&self.next().to_le_bytes()[..part.len()]);
        }
    }
}

/// Sends so much noise, and answers its digest.
pub fn sends(stream: &mut impl Write, seed: u64, length: usize) -> [u8; 32] {
    let (mut noise, mut digest, mut left) = (Noise(seed), Sha256::new(), length);
    let mut buffer = vec![0; 1 << 16];
    while left > 0 {
        let piece = &mut buffer[..left.min(1 << 16)];
        noise.fill(piece);
        digest.update(&*piece);
        stream.write_all(piece).expect("everything is taken");
        left -= piece.len();
    }
    digest.finalize().into()
}

pub fn hears(stream: &mut impl Read) -> (usize, [u8; 32]) {
    let (mut digest, mut length) = (Sha256::new(), 0);
    let mut buffer = vec![0; 1 << 16];
    loop {
        match stream.read(&mut buffer).expect("it ends well") {
            0 => return (length, digest.finalize().into()),
            part => {
                digest.update(&buffer[..part]);
                length += part;
            }
        }
    }
}

/// So much each way at once through one tunnel, compared by digest.
fn both_ways(mut near: TcpStream, far: &TcpListener, length: usize) {
    let (mut far, _) = far.accept().unwrap();
    let far_side = thread::spawn(move || {
        let mut writer = far.try_clone().unwrap();
        let sending = thread::spawn(move || {
            let sent = sends(&mut writer, 1, length);
            writer.shutdown(Shutdown::Write).unwrap();
            sent
        });
        let heard = hears(&mut far);
        (sending.join().unwrap(), heard)
    });
    let mut writer = near.try_clone().unwrap();
    let sending = thread::spawn(move || {
        let sent = sends(&mut writer, 2, length);
        writer.shutdown(Shutdown::Write).unwrap();
        sent
    });
    let heard = hears(&mut near);
    let (far_sent, far_heard) = far_side.join().unwrap();
    assert_eq!(heard, (length, far_sent));
    assert_eq!(far_heard, (length, sending.join().unwrap()));
}

/// `PORTREEVE_REKEY_MIB=1024` is the whole of what is promised.
fn rekey_length() -> usize {
    let mebibytes = std::env::var("PORTREEVE_REKEY_MIB").ok();
    mebibytes.map_or(64, |text| text.parse().expect("a number of MiB")) << 20
}

fn transfer_with_new_keys(gateway: &Running, options: &[&str]) -> usize {
    let far = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let port = crate::harness::free_port();
    let forward = format!("{port}:{}", far.local_addr().unwrap());
    let client = gateway
        .ssh()
        .args(["-v", "-N", "-L", &forward])
        .args(options.iter().copied())
        .start();
    let near = eventually("a local forward", || {
        TcpStream::connect((Ipv4Addr::LOCALHOST, port)).ok()
    });
    both_ways(near, &far, rekey_length());
    client
        .says("SSH2_MSG_NEWKEYS received")
        .matches("SSH2_MSG_NEWKEYS received")
        .count()
}

#[test]
fn a_client_that_takes_new_keys_every_8_mib_loses_nothing() {
    let gateway = Setup::allowing().start();
    let exchanges = transfer_with_new_keys(&gateway, &["-o", "RekeyLimit=8M"]);
    assert!(exchanges > rekey_length() >> 24, "{exchanges} exchanges of keys");
}

#[test]
fn new_keys_on_our_own_account_lose_nothing() {
    let gateway = Setup::allowing().tables("[limits]\nrekey-bytes = \"8MiB\"").start();
    let exchanges = transfer_with_new_keys(&gateway, &[]);
    assert!(exchanges > rekey_length() >> 24, "{exchanges} exchanges of keys");
}

#[test]
fn new_keys_after_a_time_lose_nothing() {
    let gateway = Setup::allowing().tables("[limits]\nrekey-time = \"1s\"").start();
    let target = Server::echo();
    let port = crate::harness::free_port();
    let forward = format!("{port}:{}", target.address());
    let client = gateway.ssh().args(["-v", "-N", "-L", &forward]).start();
    let mut talk = eventually("a local forward", || {
        TcpStream::connect((Ipv4Addr::LOCALHOST, port)).ok()
    });
    eventually("new keys", || {
        assert!(ping(&mut talk));
        let said = client.says("SSH2_MSG_NEWKEYS received");
        (said.matches("SSH2_MSG_NEWKEYS received").count() >= 3).then_some(())
    });
}

#[test]
fn a_target_that_says_much_for_each_byte_locks_nothing_up() {
    const QUESTIONS: usize = 1 << 14;
    const ANSWER: usize = 4 << 10;
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let gateway = Setup::allowing().start();
    let proxy = gateway.dynamic();
    let mut near = proxy
        .socks5("127.0.0.1", listener.local_addr().unwrap().port())
        .unwrap();
    let (mut far, _) = listener.accept().unwrap();
    let answering = thread::spawn(move || {
        let (mut noise, mut question, mut answer) = (Noise(3), [0], vec![0; ANSWER]);
        while far.read(&mut question).unwrap() == 1 {
            noise.fill(&mut answer);
            far.write_all(&answer).unwrap();
        }
    });
    // All questions before the first answer is heard.
    near.write_all(&[b'?'; QUESTIONS]).unwrap();
    near.shutdown(Shutdown::Write).unwrap();
    let expected = sends(&mut std::io::sink(), 3, QUESTIONS * ANSWER);
    assert_eq!(hears(&mut near), (QUESTIONS * ANSWER, expected));
    answering.join().unwrap();
}

#[test]
fn what_a_target_said_before_it_was_gone_is_heard() {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let gateway = Setup::allowing().start();
    let proxy = gateway.dynamic();
    let near = proxy
        .socks5("127.0.0.1", listener.local_addr().unwrap().port())
        .unwrap();
    let (mut far, _) = listener.accept().unwrap();
    far.write_all(&[b'x'; 1 << 20]).unwrap();
    drop(far);
    assert_eq!(hear(near).len(), 1 << 20);
}

#[test]
fn what_a_client_said_before_it_closed_is_heard() {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let gateway = Setup::allowing().start();
    let proxy = gateway.dynamic();
    let mut near = proxy
        .socks5("127.0.0.1", listener.local_addr().unwrap().port())
        .unwrap();
    let (mut far, _) = listener.accept().unwrap();
    near.write_all(&[b'x'; 1 << 20]).unwrap();
    drop(near);
    assert_eq!(hears(&mut far).0, 1 << 20);
}

#[test]
fn data_for_a_target_that_takes_no_more_does_not_close_the_clients_window() {
    let gateway = Setup::allowing().start();
    let path = gateway.path("target.sock");
    let listener = UnixListener::bind(&path).unwrap();
    let local = gateway.local(path.to_str().unwrap());
    let mut near = local.connect();
    let (mut far, _) = listener.accept().unwrap();
    far.shutdown(Shutdown::Read).unwrap();
    // Far more than a window: it goes nowhere, and it is taken.
    near.set_write_timeout(Some(PATIENCE)).unwrap();
    near.write_all(&vec![7; 40 << 20]).unwrap();
    far.write_all(b"still here").unwrap();
    drop(far);
    let mut heard = String::new();
    near.read_to_string(&mut heard).unwrap();
    assert_eq!(heard, "still here");
}

#[test]
fn a_request_on_a_forward_channel_is_answered_no_and_the_tunnel_goes_on() {
    let (gateway, target) = (Setup::allowing().start(), Server::echo());
    gateway.block_on(async {
        let client = wire::log_in(&gateway).await;
        let port = target.port.into();
        let mut channel = client
            .channel_open_direct_tcpip("127.0.0.1", port, "127.0.0.1", 1)
            .await
            .unwrap();
        channel.exec(true, "keepalive@openssh.com").await.unwrap();
        channel.data_bytes("").await.unwrap();
        channel.data_bytes("ping").await.unwrap();
        let (mut failed, mut heard) = (false, Vec::new());
        while !(failed && heard == b"ping") {
            match channel.wait().await.expect("the channel stays open") {
                russh::ChannelMsg::Failure => failed = true,
                russh::ChannelMsg::Data { data } => heard.extend_from_slice(&data),
                _ => {}
            }
        }
    });
}
