//! Host keys: made, read and refused.

use std::fs::{self, Permissions};
use std::os::unix::fs::{PermissionsExt as _, chown};
use std::process::Command;

use nix::unistd::Uid;

use super::*;

/// A folder with one key of each kind.
struct Folder(tempfile::TempDir);

impl Folder {
    fn new() -> Self {
        Self(tempfile::tempdir().expect("a folder"))
    }

    fn path(&self) -> PathBuf {
        self.0.path().join("host")
    }

    fn keygen(&self, arguments: &[&str]) -> String {
        let _ = fs::remove_file(self.path());
        let mut command = Command::new("ssh-keygen");
        command.args(["-q", "-f"]).arg(self.path()).args(arguments);
        assert!(command.status().expect("ssh-keygen runs").success(), "{arguments:?}");
        fs::read_to_string(self.path()).expect("a key")
    }

    fn load(&self, text: &str) -> Result<PrivateKey, String> {
        fs::write(self.path(), text).expect("written");
        fs::set_permissions(self.path(), Permissions::from_mode(0o600)).expect("chmod");
        load(&self.path()).map_err(|error| error.to_string())
    }
}

#[test]
fn what_stands_around_a_key_is_passed_over() {
    let folder = Folder::new();
    let key = folder.keygen(&["-t", "ed25519", "-N", ""]);
    let windows = key.replace('\n', "\r\n");
    #[rustfmt::skip]
    let table = [
        key.clone(),
        key.trim_end().to_owned(),
        format!("{key}\n"),
        format!("{key}\n\n\n"),
        format!("{key}# made for gw-1\n"),
        format!("{key}  \t\n"),
        format!("\n{key}"),
        format!("# made for gw-1\n\n{key}\n# until 2030\n"),
        windows.clone(),
        format!("{windows}\r\n\r\n"),
    ];
    let expected = folder.load(&key).expect("the key").fingerprint(HashAlg::Sha256);
    for text in table {
        let found = folder.load(&text).map(|key| key.fingerprint(HashAlg::Sha256));
        assert_eq!(found, Ok(expected), "{text}");
    }
}

#[test]
fn a_key_in_another_form_is_told_how_to_convert() {
    let folder = Folder::new();
    #[rustfmt::skip]
    let made: [(&[&str], &str, &str); 5] = [
        (&["-t", "rsa", "-b", "2048", "-N", "", "-m", "PEM"],     "PEM form",     "ssh-keygen -p -N '' -f "),
        (&["-t", "ecdsa", "-N", "", "-m", "PEM"],                 "PEM form",     "ssh-keygen -p -N '' -f "),
        (&["-t", "rsa", "-b", "2048", "-N", "", "-m", "PKCS8"],   "PKCS 8 form",  "ssh-keygen -p -N '' -f "),
        (&["-t", "ecdsa", "-N", "12345", "-m", "PKCS8"],          "PKCS 8 form",  "ssh-keygen -p -N '' -f "),
        (&["-t", "ed25519", "-N", "12345"],                       "passphrase",   "ssh-keygen -p -N '' -f "),
    ];
    for (arguments, named, fix) in made {
        let text = folder.keygen(arguments);
        let refused = folder.load(&text).expect_err("another form");
        assert!(
            refused.contains(named) && refused.contains(fix),
            "{arguments:?}: {refused}"
        );
    }
    let public = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIAcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcH";
    #[rustfmt::skip]
    let written = [
        (public,                                            "a public key"),
        ("---- BEGIN SSH2 PUBLIC KEY ----\n",               "a public key"),
        ("PuTTY-User-Key-File-3: ssh-ed25519\n",            "puttygen"),
        ("",                                                "it is empty"),
        ("\n \n",                                           "it is empty"),
        ("nonsense",                                        "does not begin with"),
        ("-----BEGIN OPENSSH PRIVATE KEY-----\nAAAA\n",     "not an OpenSSH private key"),
        ("-----BEGIN OPENSSH PRIVATE KEY-----\nAAAA\n-----END OPENSSH PRIVATE KEY-----\n", "not an OpenSSH private key"),
    ];
    for (text, named) in written {
        let refused = folder.load(text).expect_err(text);
        assert!(refused.contains(named), "{text}: {refused}");
    }
}

/// The command that is recommended does it.
#[test]
fn a_converted_key_is_the_same_key() {
    let folder = Folder::new();
    for form in ["PEM", "PKCS8"] {
        folder.keygen(&["-t", "rsa", "-b", "2048", "-N", "", "-m", form]);
        let mut command = Command::new("ssh-keygen");
        command.args(["-q", "-p", "-N", "", "-f"]).arg(folder.path());
        assert!(command.status().expect("ssh-keygen runs").success(), "{form}");
        assert!(load(&folder.path()).is_ok(), "{form}");
    }
}

/// Giving files away takes root, as in CI's containers; elsewhere only our own key is tried.
#[test]
fn a_key_is_read_by_its_owner_or_by_the_group_of_a_key_of_root() {
    let folder = Folder::new();
    folder.keygen(&["-t", "ed25519", "-N", ""]);
    let owners: &[u32] = if Uid::effective().is_root() {
        &[0, 60_001]
    } else {
        &[Uid::effective().as_raw()]
    };
    #[rustfmt::skip]
    let table = [
        // mode    of root   of another
        (0o400,    true,     true),
        (0o600,    true,     true),
        (0o440,    true,     false),
        (0o640,    true,     false),
        (0o460,    false,    false),
        (0o660,    false,    false),
        (0o444,    false,    false),
        (0o644,    false,    false),
        (0o604,    false,    false),
        (0o450,    false,    false),
        (0o777,    false,    false),
    ];
    for (mode, of_root, of_another) in table {
        fs::set_permissions(folder.path(), Permissions::from_mode(mode)).expect("chmod");
        for owner in owners {
            chown(folder.path(), Some(*owner), None).expect("chown");
            let expected = if *owner == 0 { of_root } else { of_another };
            match load(&folder.path()) {
                Ok(_) => assert!(expected, "{mode:o} of {owner}"),
                Err(error) => {
                    let fix = format!("chmod 6{}0", if *owner == 0 { 4 } else { 0 });
                    assert!(
                        !expected && error.to_string().contains(&fix),
                        "{mode:o} of {owner}: {error}"
                    );
                }
            }
        }
    }
}
