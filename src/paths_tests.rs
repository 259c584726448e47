//! What a path leads to, with links, other names and changes in between.

use std::os::unix::fs::symlink;
use std::os::unix::net::UnixListener;

use super::*;

struct Room {
    folder: tempfile::TempDir,
}

impl Room {
    fn new() -> Self {
        Self {
            folder: tempfile::tempdir().unwrap(),
        }
    }

    fn path(&self, name: &str) -> PathBuf {
        fs::canonicalize(self.folder.path()).unwrap().join(name)
    }

    fn socket(&self, name: &str) -> SocketPath {
        SocketPath::parse(self.path(name).to_str().unwrap()).unwrap()
    }

    fn listen(&self, name: &str) -> UnixListener {
        UnixListener::bind(self.path(name)).unwrap()
    }
}

fn parsed(path: &str) -> SocketPath {
    SocketPath::parse(path).unwrap()
}

#[test]
fn every_path_of_a_socket_is_followed_to_the_one_without_a_link() {
    let room = Room::new();
    let _listener = room.listen("denied");
    fs::create_dir(room.path("folder")).unwrap();
    symlink(room.path("denied"), room.path("link")).unwrap();
    symlink("denied", room.path("relative")).unwrap();
    symlink(room.path("link"), room.path("twice")).unwrap();
    symlink(room.path(""), room.path("above")).unwrap();
    symlink("../denied", room.path("folder/up")).unwrap();
    let denied = room.socket("denied");
    let paths = [
        denied.to_string(),
        room.path("link").display().to_string(),
        room.path("relative").display().to_string(),
        room.path("twice").display().to_string(),
        room.path("above/denied").display().to_string(),
        room.path("above/above/link").display().to_string(),
        room.path("folder/up").display().to_string(),
        format!("/proc/self/root{denied}"),
        format!("/proc/thread-self/root{denied}"),
        format!("/proc/{}/root{denied}", std::process::id()),
    ];
    for path in paths {
        let Ok(path) = SocketPath::parse(&path) else { continue };
        let found = Socket::follow(&path).unwrap_or_else(|error| panic!("{path}: {error}"));
        assert_eq!(found.path(), &denied, "{path}");
        UnixStream::connect(found.held().unwrap()).unwrap_or_else(|error| panic!("{path}: {error}"));
    }
}

#[test]
fn what_was_found_is_connected_to_whatever_is_there_later() {
    let room = Room::new();
    let (first, second) = (room.listen("a"), room.listen("b"));
    symlink(room.path("a"), room.path("link")).unwrap();
    let found = Socket::follow(&room.socket("link")).unwrap();
    fs::remove_file(room.path("link")).unwrap();
    symlink(room.path("b"), room.path("link")).unwrap();
    fs::rename(room.path("b"), room.path("a")).unwrap();
    second.set_nonblocking(true).unwrap();
    let connected = UnixStream::connect(found.held().unwrap());
    assert!(second.accept().is_err(), "the other one was not reached");
    drop((connected, first));
}

#[test]
fn a_path_that_leads_nowhere_is_followed_as_far_as_it_leads() {
    let room = Room::new();
    fs::create_dir(room.path("folder")).unwrap();
    symlink(room.path("folder"), room.path("link")).unwrap();
    symlink(room.path("gone"), room.path("dangling")).unwrap();
    symlink(room.path("loop"), room.path("loop")).unwrap();
    fs::write(room.path("file"), "").unwrap();
    #[rustfmt::skip]
    let table = [
        ("link/none",     "folder/none",   nix::libc::ENOENT),
        ("link/no/where", "folder/no/where", nix::libc::ENOENT),
        ("dangling",      "dangling",      nix::libc::ENOENT),
        ("loop",          "loop",          nix::libc::ELOOP),
        ("file/x",        "file/x",        nix::libc::ENOTDIR),
    ];
    for (asked, judged, errno) in table {
        let found = Socket::follow(&room.socket(asked)).unwrap();
        assert_eq!(found.path(), &room.socket(judged), "{asked}");
        assert_eq!(found.held().unwrap_err().raw_os_error(), Some(errno), "{asked}");
    }
    assert_eq!(
        Socket::follow(&parsed("/nowhere-at-all/x")).unwrap().path(),
        &parsed("/nowhere-at-all/x")
    );
}

#[test]
fn a_socket_with_a_second_name_is_refused() {
    let room = Room::new();
    let _listener = room.listen("denied");
    fs::hard_link(room.path("denied"), room.path("other")).unwrap();
    for name in ["denied", "other"] {
        let refused = Socket::follow(&room.socket(name)).map(|_| ()).unwrap_err();
        let (path, names) = (room.socket(name), 2);
        assert_eq!(refused, PathError::HardLinks { path, names }, "{name}");
    }
}

#[test]
fn a_socket_is_made_in_the_folder_that_was_judged() {
    let room = Room::new();
    for folder in ["one", "two"] {
        fs::create_dir(room.path(folder)).unwrap();
    }
    symlink(room.path("one"), room.path("link")).unwrap();
    let place = Place::follow(&room.socket("link/new")).unwrap();
    assert_eq!(place.path(), &room.socket("one/new"));
    fs::remove_file(room.path("link")).unwrap();
    symlink(room.path("two"), room.path("link")).unwrap();
    let _listener = UnixListener::bind(place.held().unwrap()).unwrap();
    assert!(room.path("one/new").exists() && !room.path("two/new").exists());
    let none = Place::follow(&room.socket("none/new")).unwrap();
    assert_eq!(none.held().unwrap_err().kind(), io::ErrorKind::NotFound);
}

#[test]
fn only_a_socket_that_was_left_behind_is_removed() {
    let room = Room::new();
    let _served = room.listen("served");
    drop(room.listen("left"));
    let busy = room.listen("busy");
    let datagrams = std::os::unix::net::UnixDatagram::bind(room.path("datagrams")).unwrap();
    fs::write(room.path("file"), "").unwrap();
    fs::create_dir(room.path("folder")).unwrap();
    symlink(room.path("left"), room.path("link")).unwrap();
    // Fill the queue: one that cannot be connected to at once is served all the same.
    let waiting: Vec<_> = std::iter::repeat_with(|| connect_at_once(&room.path("busy")))
        .take(10_000)
        .take_while(io::Result::is_ok)
        .collect();
    #[rustfmt::skip]
    let table = [
        ("served",    false),
        ("busy",      false),
        ("datagrams", false),
        ("file",      false),
        ("folder",    false),
        ("link",      false),
        ("left",      true),
        ("none",      true),
    ];
    for (name, free) in table {
        let cleared = Place::follow(&room.socket(name)).unwrap().clear();
        assert_eq!(cleared.is_ok(), free, "{name}: {cleared:?}");
        let there = fs::symlink_metadata(room.path(name)).is_ok();
        assert_eq!(there, !free, "{name}");
    }
    drop((waiting, busy, datagrams));
}
