//! What is read and compiled in a process of its own, and what that process is held to.

use std::fs::File;
use std::process::Stdio;

use crate::guests::{Guest, allows};
use crate::program::{Home, Ran};

/// A component with so many instance types in each other.
fn nested(levels: usize) -> Vec<u8> {
    let mut content = vec![1];
    (0..levels).for_each(|_| content.extend([0x42, 1, 1]));
    content.extend([0x42, 0]);
    let mut out = b"\0asm\x0d\0\x01\0\x07".to_vec();
    let mut length = content.len();
    while length >= 0x80 {
        out.push((length & 0x7f) as u8 | 0x80);
        length >>= 7;
    }
    out.push(length as u8);
    out.extend(content);
    out
}

#[test]
fn a_component_that_is_nested_too_deeply_is_told_so() {
    let home = Home::new();
    for (levels, words) in [
        (550, "it is nested 552 levels deep; the limit is 100"),
        (1_000_000, "it is nested too deeply: reading overflowed the stack"),
    ] {
        let file = home.file("policy.wasm", nested(levels));
        for command in ["inspect", "check"] {
            let ran = home.run_for_a_while(&["plugin", command, &file]);
            assert_eq!(ran.code, 1, "{command}: {ran:?}");
            assert!(ran.out.contains(words), "{command}: {ran:?}");
        }
        let ran = home.run_for_a_while(&["plugin", "run", &file]);
        assert!(ran.code == 1 || ran.code == 2 || ran.code == 11, "{ran:?}");
        let config = home.asking(&nested(levels), "");
        let ran = home.run_for_a_while(&["check", "--config", &config]);
        assert_eq!(ran.code, 2, "{ran:?}");
        assert!(
            ran.err.contains("nested") && ran.err.contains("policy.plugin[0]"),
            "{ran:?}"
        );
    }
}

#[test]
fn a_module_over_which_the_tools_fail_is_told_so_by_a_process_of_its_own() {
    let home = Home::new();
    #[rustfmt::skip]
    let table: [(&str, &[u8], i32); 4] = [
        // work      input                                    code
        ("encode",   b"hello",                                 65),
        ("encode",   b"\0asm\x01\0\0\0\x01\x05",                65),
        ("imports",  b"\0asm\x0d\0\x01\0\x07",                  65),
        ("imports",  &nested(1_000_000),                       -1),
    ];
    for (work, input, code) in table {
        let input = home.file("input", input);
        let mut program = home.portreeve();
        program.args(["work-for-parent", "--room=plugin", &format!("--work=\"{work}\"")]);
        program.args(["--address-space=4294967296", "--seconds=20", "--output=1000000"]);
        let output = program.stdin(Stdio::from(File::open(input).unwrap())).output().unwrap();
        assert_eq!(output.status.code().unwrap_or(-1), code, "{work}: {output:?}");
        assert!(!output.stderr.is_empty(), "{work}: it says nothing");
    }
}

/// With less address space than the compiling process would take.
fn with_address_space(home: &Home, kibibytes: u64, command: &str) -> Ran {
    let mut shell = std::process::Command::new("sh");
    let program = env!("CARGO_BIN_EXE_portreeve");
    shell.args(["-c", &format!("ulimit -v {kibibytes}; exec {program} {command}")]);
    shell
        .env("HOME", home.0.path())
        .env_remove("XDG_STATE_HOME")
        .current_dir(home.0.path());
    Ran::from(shell.output().unwrap())
}

#[test]
fn a_lower_limit_of_address_space_stays() {
    let home = Home::new();
    let config = home.asking(&Guest::that(allows()).build(), "");
    let ran = with_address_space(&home, 3 << 20, &format!("check --config {config}"));
    assert_eq!(ran.code, 0, "{ran:?}");
    assert!(ran.out.contains("the configuration is valid"), "{ran:?}");
}

/// As `MemoryDenyWriteExecute=yes` of systemd does it; ends with 99 where the kernel knows no such thing (before Linux 6.3).
const WITHOUT_EXECUTABLE_MEMORY: &str = "\
import ctypes, os, sys
PR_SET_MDWE, REFUSE_EXEC_GAIN = 65, 1
if ctypes.CDLL(None).prctl(PR_SET_MDWE, REFUSE_EXEC_GAIN, 0, 0, 0) != 0:
    sys.exit(99)
os.execv(sys.argv[1], sys.argv[1:])
";

#[test]
fn a_system_that_forbids_executable_memory_is_named_with_the_fix() {
    let home = Home::new();
    let config = home.asking(&Guest::that(allows()).build(), "");
    let mut python = std::process::Command::new("python3");
    python.args(["-c", WITHOUT_EXECUTABLE_MEMORY, env!("CARGO_BIN_EXE_portreeve")]);
    python.args(["check", "--config", &config]);
    python.env("HOME", home.0.path()).env_remove("XDG_STATE_HOME");
    let ran = Ran::from(python.output().unwrap());
    if ran.code == 99 {
        return;
    }
    assert_eq!(ran.code, 2, "{ran:?}");
    for words in [
        "compiled code cannot be run",
        "MemoryDenyWriteExecute",
        "policy.plugin[0]",
    ] {
        assert!(ran.err.contains(words), "{words}: {ran:?}");
    }
}
