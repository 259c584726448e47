//! Which key files are read: owners, modes and links, as `StrictModes` of OpenSSH.

use std::fs::Permissions;
use std::os::unix::fs::{PermissionsExt as _, chown, symlink};

use super::*;

const KEY: &str = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIAcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcH";

/// `outer/inner/keys` with one key, each private to us.
struct Folder {
    root: tempfile::TempDir,
}

impl Folder {
    fn new() -> Self {
        let folder = Self {
            root: tempfile::tempdir().expect("a temporary directory"),
        };
        std::fs::create_dir_all(folder.path("outer/inner")).expect("directories");
        std::fs::write(folder.keys(), format!("{KEY} one\nnonsense\n")).expect("a file");
        for name in ["outer", "outer/inner", "outer/inner/keys"] {
            folder.chmod(name, 0o700);
        }
        folder
    }

    fn path(&self, name: &str) -> PathBuf {
        self.root.path().canonicalize().expect("a real path").join(name)
    }

    fn keys(&self) -> PathBuf {
        self.path("outer/inner/keys")
    }

    fn chmod(&self, name: &str, mode: u32) {
        std::fs::set_permissions(self.path(name), Permissions::from_mode(mode)).expect("chmod");
    }
}

fn me() -> User {
    User::from_uid(Uid::effective())
        .expect("the user database")
        .expect("an account")
}

#[test]
fn a_key_file_gives_its_keys_and_its_void_lines() {
    let folder = Folder::new();
    for (keys, void) in [
        read_keys(&folder.keys()),
        read_keys_of(&folder.keys(), &me().name, Modes::Checked),
    ]
    .map(|read| read.expect("trusted"))
    {
        assert_eq!(keys.len(), 1);
        assert_eq!(void.first().map(|(line, _)| *line), Some(2));
    }
}

#[test]
fn a_missing_file_has_no_keys() {
    let folder = Folder::new();
    let (keys, void) = read_keys(&folder.path("outer/none/keys")).expect("no keys");
    assert!(keys.is_empty() && void.is_empty());
}

#[test]
fn what_others_can_write_is_refused_with_the_chmod_that_fixes_it() {
    #[rustfmt::skip]
    let table = [
        // name               mode    refused
        ("outer/inner/keys",  0o644,  false),
        ("outer/inner/keys",  0o620,  true),
        ("outer/inner/keys",  0o602,  true),
        ("outer/inner/keys",  0o1602, true),
        ("outer/inner",       0o755,  false),
        ("outer/inner",       0o775,  true),
        ("outer",             0o757,  true),
        ("outer",             0o777,  true),
        ("outer",             0o1777, false),
    ];
    for (name, mode, refused) in table {
        let folder = Folder::new();
        folder.chmod(name, mode);
        match read_keys(&folder.keys()) {
            Ok(_) => assert!(!refused, "{name} {mode:o}"),
            Err(error) => {
                assert!(refused, "{name} {mode:o}: {error}");
                let fix = format!("`chmod go-w {}`", folder.path(name).display());
                assert!(error.to_string().contains(&fix), "{error}");
            }
        }
    }
}

#[test]
fn a_link_is_judged_by_where_it_leads() {
    let folder = Folder::new();
    let link = folder.path("link");
    symlink(folder.keys(), &link).expect("a link");
    assert!(read_keys(&link).is_ok());
    folder.chmod("outer", 0o777);
    assert!(matches!(read_keys(&link), Err(ReadError::Writable { path, .. }) if path == folder.path("outer")));
}

#[test]
fn what_is_not_a_small_regular_file_is_refused() {
    let folder = Folder::new();
    assert!(matches!(read_keys(&folder.path("outer")), Err(ReadError::NotAFile(_))));
    let fifo = folder.path("fifo");
    assert!(
        std::process::Command::new("mkfifo")
            .arg(&fifo)
            .status()
            .expect("mkfifo")
            .success()
    );
    assert!(matches!(read_keys(&fifo), Err(ReadError::NotAFile(_))));
    let padding = |size: u64| " ".repeat(usize::try_from(size).expect("small"));
    std::fs::write(folder.keys(), padding(LARGEST)).expect("a file");
    assert!(read_keys(&folder.keys()).is_ok());
    std::fs::write(folder.keys(), padding(LARGEST + 1)).expect("a file");
    assert!(matches!(read_keys(&folder.keys()), Err(ReadError::TooLarge(_))));
}

#[test]
fn bytes_that_are_not_utf8_are_harmless_in_a_comment_only() {
    let folder = Folder::new();
    let text = [KEY.as_bytes(), b" Jos\xe9\nfrom=\"10.*,\xe9\" ", KEY.as_bytes()].concat();
    std::fs::write(folder.keys(), text).expect("a file");
    let (keys, void) = read_keys(&folder.keys()).expect("trusted");
    assert_eq!((keys.len(), void.len()), (1, 1));
}

/// As a volume of a ConfigMap is laid out: a folder open to all, and links of mode 0777 to the folder in force.
#[test]
fn modes_are_looked_at_unless_that_is_switched_off() {
    let folder = Folder::new();
    let volume = folder.path("outer/volume");
    std::fs::create_dir_all(volume.join("..2030")).expect("folders");
    std::fs::copy(folder.keys(), volume.join("..2030/alice")).expect("a file");
    symlink("..2030", volume.join("..data")).expect("a link");
    symlink("..data/alice", volume.join("alice")).expect("a link");
    folder.chmod("outer/volume", 0o777);
    let keys = volume.join("alice");
    for user in [me().name.as_str(), "no such user"] {
        assert!(
            matches!(
                read_keys_of(&keys, user, Modes::Checked),
                Err(ReadError::Writable { .. })
            ),
            "{user}"
        );
        let (lines, void) = read_keys_of(&keys, user, Modes::Unchecked).expect("it is read");
        assert_eq!((lines.len(), void.len()), (1, 1), "{user}");
    }
    folder.chmod("outer/volume/..2030/alice", 0o666);
    assert!(read_keys_of(&keys, "alice", Modes::Unchecked).is_ok());
    assert!(matches!(
        read_keys_of(&volume, "alice", Modes::Unchecked),
        Err(ReadError::NotAFile(_))
    ));
}

/// Giving files away takes root, as in CI's containers; elsewhere there is nothing to test with.
#[test]
fn somebody_elses_file_is_refused() {
    if !Uid::effective().is_root() {
        return;
    }
    let (one, other) = (60_001, 60_002);
    #[rustfmt::skip]
    let table = [
        // owner of: file, directory    read by path alone
        (None,        Some(one),        true),
        (Some(one),   None,             true),
        (Some(one),   Some(one),        true),
        (Some(one),   Some(other),      false),
    ];
    for (file, directory, readable) in table {
        let folder = Folder::new();
        chown(folder.keys(), file, None).expect("chown");
        chown(folder.path("outer"), directory, None).expect("chown");
        assert_eq!(read_keys(&folder.keys()).is_ok(), readable, "{file:?} {directory:?}");
        for user in ["root", "no such user"] {
            let refused = read_keys_of(&folder.keys(), user, Modes::Checked)
                .expect_err("another's file")
                .to_string();
            assert!(
                refused.contains("belongs to uid 6000") && refused.contains("run `chown root "),
                "{refused}"
            );
        }
    }
}

#[test]
fn a_path_is_made_of_the_user_and_the_account() {
    let account = me();
    let (user, home, uid) = (
        account.name.as_str(),
        account.dir.display().to_string(),
        account.uid.to_string(),
    );
    #[rustfmt::skip]
    let table = [
        ("/etc/keys/%u",             "no such user", Some("/etc/keys/no such user".to_owned())),
        ("/etc/keys/%u.%%u%%",       "x",            Some("/etc/keys/x.%u%".to_owned())),
        ("/etc/%%h",                 "x",            Some("/etc/%h".to_owned())),
        ("%%%u",                     "no such user", None),
        ("%h/.ssh/authorized_keys",  "no such user", None),
        (".ssh/authorized_keys",     "no such user", None),
        ("/etc/%U",                  "no such user", None),
        ("%h/.ssh/authorized_keys",  user,           Some(format!("{home}/.ssh/authorized_keys"))),
        (".ssh/authorized_keys",     user,           Some(format!("{home}/.ssh/authorized_keys"))),
        ("/etc/%U/%u",               user,           Some(format!("/etc/{uid}/{user}"))),
        ("/%%%u",                    user,           Some(format!("/%{user}"))),
        ("",                         "no such user", None),
    ];
    for (pattern, user, expected) in table {
        let path = authorized_keys_path(pattern, user).expect(pattern);
        assert_eq!(path, expected.map(PathBuf::from), "{pattern} for {user}");
    }
}

#[test]
fn a_user_name_that_leads_elsewhere_is_refused() {
    for user in ["", ".", "..", "a/b", "/", "../root", "a\0b"] {
        assert!(
            matches!(authorized_keys_path("/etc/keys/%u", user), Err(PathError::UserName(_))),
            "{user:?}"
        );
    }
    assert!(authorized_keys_path("/etc/keys/%u", "..a").is_ok());
}

#[test]
fn an_unknown_token_is_refused_whoever_asks() {
    for pattern in ["/etc/%x", "/etc/%", "%h/%", "/etc/%%%", "/%é"] {
        for user in ["no such user", me().name.as_str()] {
            assert!(
                matches!(authorized_keys_path(pattern, user), Err(PathError::Token(..))),
                "{pattern} {user}"
            );
        }
    }
}
