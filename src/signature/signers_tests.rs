//! The lines of an allowed-signers file.

use super::*;

const KEY: &str = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAINeq1q2UHWOiofHWo3o7mlNRgIcRSGImWFtTdN+oza4v";

fn line(text: &str) -> Result<Option<SignerLine>, String> {
    parse_line(1, &text.replace("KEY", KEY)).map_err(|error| error.to_string())
}

#[test]
fn a_line_is_read_as_ssh_keygen_reads_it() {
    let read = line("security@example.org KEY a comment").unwrap().unwrap();
    assert!(read.principals.matches("security@example.org"));
    assert!(!read.authority && read.namespaces.is_none());
    let options = "cert-authority,namespaces=\"policy@*,file\",valid-after=\"20200101Z\",valid-before=\"21000101Z\"";
    let read = line(&format!("\"a b@x,*@example.org,!eve@example.org\" {options} KEY"))
        .unwrap()
        .unwrap();
    assert!(read.authority);
    assert_eq!(read.valid_after.unwrap().to_string(), "2020-01-01T00:00:00Z");
    assert_eq!(read.valid_before.unwrap().to_string(), "2100-01-01T00:00:00Z");
    let namespaces = read.namespaces.unwrap();
    assert!(namespaces.matches("policy@portreeve") && namespaces.matches("file") && !namespaces.matches("git"));
    for (principal, fits) in [
        ("a b@x", true),
        ("bob@example.org", true),
        ("eve@example.org", false),
        ("bob@else", false),
    ] {
        assert_eq!(read.principals.matches(principal), fits, "{principal}");
    }
    for nothing in ["", "   ", "# security@example.org KEY"] {
        assert!(line(nothing).unwrap().is_none());
    }
}

#[test]
fn a_faulty_line_says_what_and_where() {
    #[rustfmt::skip]
    let table = [
        // the line                                            what is said of it
        ("a@x",                                                "column 4: expected a public key"),
        ("a@x ssh-new AAAA",                                   "key type `ssh-new` is not accepted"),
        ("a@x ssh-ed25519 AAA!",                               "column 17: the key is not valid base64"),
        ("a@x restrict KEY",                                   "column 5: unknown option `restrict`"),
        ("a@x namespaces=git KEY",                             "column 16: `namespaces` needs a value in double quotes"),
        ("a@x valid-before=\"tomorrow\" KEY",                  "column 18: `tomorrow` is not a time"),
        ("a@x namespaces=\"a\",namespaces=\"b\" KEY",          "`namespaces` may be given only once"),
        ("a@x valid-after=\"20300101\",valid-before=\"20200101\" KEY", "it is never valid"),
        ("\"a@x KEY",                                          "has no closing quote"),
    ];
    for (text, said) in table {
        let error = line(text).unwrap_err();
        assert!(error.contains(said), "{text}: {error}");
    }
}

#[test]
fn one_faulty_line_spoils_the_file() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("allowed_signers");
    let read = |text: &str| {
        std::fs::write(&path, text.replace("KEY", KEY)).unwrap();
        AllowedSigners::read(&path)
            .map(|signers| signers.lines.len())
            .map_err(|error| error.to_string())
    };
    assert_eq!(read("# who\na@x KEY\n\nb@x KEY\n"), Ok(2));
    assert!(
        read("a@x KEY\nb@x ssh-dss AAAA\n")
            .unwrap_err()
            .contains("allowed_signers:2: column 5: DSA")
    );
    assert!(read("# nobody\n").unwrap_err().contains("lists no signer"));
    std::fs::remove_file(&path).unwrap();
    assert!(
        AllowedSigners::read(&path)
            .unwrap_err()
            .to_string()
            .contains("No such file")
    );
}
