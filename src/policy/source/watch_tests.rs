//! What counts as one change, with the time and the files made up.

use std::cell::RefCell;
use std::collections::HashMap;

use super::*;

/// A folder that exists only in the test: what each file is now.
#[derive(Default)]
struct Folder(RefCell<HashMap<PathBuf, u64>>);

impl Folder {
    fn write(&self, name: &str, content: u64) {
        self.0.borrow_mut().insert(name.into(), content);
    }

    fn remove(&self, name: &str) {
        self.0.borrow_mut().remove(Path::new(name));
    }

    fn mark(&self, path: &Path) -> Option<Mark> {
        let content = *self.0.borrow().get(path)?;
        Some(Mark {
            device: 1,
            inode: content,
            size: 1,
            modified: (0, 0),
            changed: (0, 0),
        })
    }
}

/// A watch of `a`, which has two files, of `b` and of `c`, a look of which takes place every 100 ms.
struct Test {
    folder: Folder,
    watch: Watch,
    now: Instant,
}

impl Test {
    fn new() -> Self {
        let folder = Folder::default();
        let now = Instant::now();
        let mut files = Vec::new();
        for (name, plugin) in [("a.wasm", "a"), ("a.toml", "a"), ("b.toml", "b"), ("c.toml", "c")] {
            folder.write(name, 1);
            let mark = folder.mark(Path::new(name));
            files.push(Watched {
                reported: mark,
                last: mark,
                changed: now,
                began: None,
                path: name.into(),
                plugins: BTreeSet::from([plugin.to_owned()]),
            });
        }
        Self {
            folder,
            watch: Watch { files },
            now,
        }
    }

    /// Looks once more, 100 ms later.
    fn look(&mut self) -> String {
        self.now += Duration::from_millis(100);
        let names = self.watch.look(self.now, |path| self.folder.mark(path));
        names.into_iter().collect::<Vec<_>>().join(" ")
    }

    /// Looks so often, and answers what was reported and by which look.
    fn looks(&mut self, times: usize) -> Vec<(usize, String)> {
        let all = (1..=times).map(|number| (number, self.look()));
        all.filter(|(_, names)| !names.is_empty()).collect()
    }
}

#[test]
fn what_changes_together_is_reported_together_and_once() {
    let mut test = Test::new();
    assert_eq!(test.looks(5), []);
    test.folder.write("a.toml", 2);
    test.folder.write("b.toml", 2);
    assert_eq!(test.looks(30), [(3, "a b".to_owned())]);
    test.folder.write("c.toml", 2);
    assert_eq!(test.looks(30), [(3, "c".to_owned())]);
}

#[test]
fn a_change_waits_for_every_file_that_is_still_being_written() {
    let mut test = Test::new();
    test.folder.write("a.toml", 2);
    for content in 2..10 {
        test.folder.write("b.toml", content);
        assert_eq!(test.look(), "", "{content}");
    }
    assert_eq!(test.looks(30), [(2, "a b".to_owned())]);
}

#[test]
fn a_change_that_begins_a_moment_later_belongs_to_it() {
    let mut test = Test::new();
    test.folder.write("a.wasm", 2);
    assert_eq!(test.look(), "");
    test.folder.write("b.toml", 2);
    assert_eq!(test.look(), "");
    test.folder.write("a.toml", 2);
    assert_eq!(test.looks(30), [(3, "a b".to_owned())]);
}

#[test]
fn a_file_that_is_written_without_end_holds_up_others_for_a_while_only() {
    let mut test = Test::new();
    test.folder.write("a.toml", 2);
    let mut reported = Vec::new();
    for content in 2..200 {
        test.folder.write("b.toml", content);
        let names = test.look();
        if !names.is_empty() {
            reported.push((content, names));
        }
    }
    assert_eq!(reported, [(52, "a".to_owned())]);
    // Others go ahead, and still go together.
    test.folder.write("a.toml", 3);
    test.folder.write("b.toml", 200);
    assert_eq!(test.look(), "");
    test.folder.write("c.toml", 2);
    test.folder.write("b.toml", 201);
    assert_eq!(test.look(), "");
    test.folder.write("b.toml", 202);
    assert_eq!(test.look(), "");
    test.folder.write("b.toml", 203);
    assert_eq!(test.look(), "a c");
    assert_eq!(test.looks(30), [(2, "b".to_owned())]);
}

#[test]
fn a_file_that_is_gone_is_reported_once_and_again_when_it_is_back() {
    let mut test = Test::new();
    test.folder.remove("a.wasm");
    assert_eq!(test.looks(30), [(11, "a".to_owned())]);
    test.folder.write("a.wasm", 1);
    assert_eq!(test.looks(30), [(3, "a".to_owned())]);
}

#[test]
fn a_file_that_is_replaced_by_removal_and_writing_is_reported_once() {
    let mut test = Test::new();
    test.folder.remove("a.wasm");
    test.folder.write("b.toml", 2);
    assert_eq!(test.looks(5), []);
    test.folder.write("a.wasm", 2);
    assert_eq!(test.looks(30), [(3, "a b".to_owned())]);
}

#[test]
fn a_file_of_two_plugins_is_a_change_of_both() {
    let mut test = Test::new();
    test.watch.files[3].plugins.insert("d".to_owned());
    test.folder.write("c.toml", 2);
    assert_eq!(test.looks(30), [(3, "c d".to_owned())]);
}
