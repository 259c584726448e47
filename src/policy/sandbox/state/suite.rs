//! What a policy may rely on, wherever its state is kept.

use std::cell::Cell;
use std::time::{Duration, Instant};

use super::{MAX_BYTES, MAX_ENTRIES, MAX_KEY, MAX_VALUE, Remembers, StateError};

/// A place where state is kept, and how time passes there.
pub(crate) struct Bench<'a> {
    kept: &'a dyn Remembers,
    now: Cell<Instant>,
    /// Tells the namespaces of one run from those of others.
    run: String,
}

/// Long enough for what must not end while the suite runs.
const HOUR: Duration = Duration::from_secs(3600);
/// Short enough to wait for its end, long enough to see that it was there.
const SHORT: Duration = Duration::from_millis(700);

impl<'a> Bench<'a> {
    pub(crate) fn new(kept: &'a dyn Remembers, run: &str) -> Self {
        Self {
            kept,
            now: Cell::new(Instant::now()),
            run: run.to_owned(),
        }
    }

    /// Everything that a policy may rely on.
    pub(crate) async fn all(&self) {
        self.values_end_with_their_time().await;
        self.a_window_begins_with_the_first_addition().await;
        self.a_window_of_no_time_counts_nothing().await;
        self.sums_stay_in_their_range().await;
        self.a_value_and_a_counter_of_one_name_are_two().await;
        self.namespaces_do_not_see_each_other().await;
        self.any_bytes_are_a_key().await;
        self.what_is_too_large_is_refused().await;
        self.a_full_namespace_refuses_until_something_ends().await;
        self.a_value_that_does_not_fit_leaves_what_was_there().await;
    }

    fn space(&self, name: &str) -> String {
        format!("{} {name}", self.run)
    }

    async fn get(&self, space: &str, key: &str) -> Option<Vec<u8>> {
        let space = self.space(space);
        self.kept.get(&space, key.to_owned(), self.now.get()).await.unwrap()
    }

    async fn put(&self, space: &str, key: &str, bytes: &[u8], ttl: Duration) -> Result<(), StateError> {
        let space = self.space(space);
        self.kept
            .put(&space, key.to_owned(), bytes.to_vec(), ttl, self.now.get())
            .await
    }

    async fn add(&self, space: &str, key: &str, delta: i64, window: Duration) -> Result<i64, StateError> {
        let space = self.space(space);
        self.kept
            .add(&space, key.to_owned(), delta, window, self.now.get())
            .await
    }

    /// Lets a moment pass: on the clock of the caller at once, and elsewhere in truth.
    async fn pass(&self) {
        let step = Duration::from_millis(20);
        if self.kept.is_elsewhere() {
            tokio::time::sleep(step).await;
            return self.now.set(Instant::now());
        }
        self.now.set(self.now.get() + step);
    }

    async fn values_end_with_their_time(&self) {
        self.put("a", "k", b"1", SHORT).await.unwrap();
        self.put("a", "stays", b"2", HOUR).await.unwrap();
        assert_eq!(self.get("a", "k").await, Some(b"1".to_vec()));
        while self.get("a", "k").await.is_some() {
            self.pass().await;
        }
        assert_eq!(self.get("a", "stays").await, Some(b"2".to_vec()));
        self.put("a", "stays", b"", HOUR).await.unwrap();
        assert_eq!(self.get("a", "stays").await, Some(Vec::new()), "no bytes are a value");
        self.put("a", "stays", b"3", Duration::ZERO).await.unwrap();
        assert_eq!(self.get("a", "stays").await, None);
        assert_eq!(self.get("a", "never").await, None);
    }

    async fn a_window_begins_with_the_first_addition(&self) {
        let began = if self.kept.is_elsewhere() {
            Instant::now()
        } else {
            self.now.get()
        };
        assert_eq!(self.add("b", "k", 2, SHORT).await, Ok(2));
        assert_eq!(
            self.add("b", "k", 3, HOUR).await,
            Ok(5),
            "a longer window later is none"
        );
        while self.add("b", "k", 0, SHORT).await != Ok(0) {
            self.pass().await;
        }
        assert!(
            self.now.get() - began >= SHORT - Duration::from_millis(100),
            "it ended early"
        );
        assert_eq!(self.add("b", "k", -7, HOUR).await, Ok(-7));
    }

    async fn a_window_of_no_time_counts_nothing(&self) {
        for _ in 0..3 {
            assert_eq!(self.add("c", "k", 4, Duration::ZERO).await, Ok(4));
        }
        assert_eq!(self.add("c", "k", 1, HOUR).await, Ok(1));
        assert_eq!(
            self.add("c", "k", 1, Duration::ZERO).await,
            Ok(2),
            "the window is the first one's"
        );
    }

    async fn sums_stay_in_their_range(&self) {
        #[rustfmt::skip]
        let table = [
            // first     then       the sum
            (i64::MAX,   1,         i64::MAX),
            (i64::MAX,   i64::MAX,  i64::MAX),
            (i64::MIN,   -1,        i64::MIN),
            (i64::MIN,   i64::MAX,  -1),
            (1 << 53,    1,         (1 << 53) + 1),
            (i64::MAX,   -1,        i64::MAX - 1),
        ];
        for (index, (first, then, sum)) in table.into_iter().enumerate() {
            let key = index.to_string();
            assert_eq!(self.add("d", &key, first, HOUR).await, Ok(first), "{first}");
            assert_eq!(self.add("d", &key, then, HOUR).await, Ok(sum), "{first} and {then}");
            assert_eq!(self.add("d", &key, 0, HOUR).await, Ok(sum), "{first} and {then}, again");
        }
    }

    async fn a_value_and_a_counter_of_one_name_are_two(&self) {
        self.put("e", "k", b"1", HOUR).await.unwrap();
        assert_eq!(self.add("e", "k", 7, HOUR).await, Ok(7));
        assert_eq!(self.get("e", "k").await, Some(b"1".to_vec()));
        self.put("e", "k", b"", Duration::ZERO).await.unwrap();
        assert_eq!(self.get("e", "k").await, None);
        assert_eq!(self.add("e", "k", 1, HOUR).await, Ok(8));
    }

    async fn namespaces_do_not_see_each_other(&self) {
        let spaces = ["f", "f}", "{f", "{f}", "f}:t", "f:t", "f%7D", "F", "f\0", "f ", "é", ""];
        for (index, space) in spaces.iter().enumerate() {
            let number = i64::try_from(index).unwrap() + 1;
            assert_eq!(self.add(space, "k", number, HOUR).await, Ok(number), "{space:?}");
            self.put(space, "k", space.as_bytes(), HOUR).await.unwrap();
        }
        for space in spaces {
            assert_eq!(self.get(space, "k").await, Some(space.as_bytes().to_vec()), "{space:?}");
        }
    }

    async fn any_bytes_are_a_key(&self) {
        let keys = [
            "",
            " ",
            "a b",
            "\r\n",
            "$1\r\nX",
            "\0",
            "{a}",
            "*",
            "ä",
            "v",
            "b",
            "vk",
            "a\u{10ffff}",
            "\u{7f}",
        ];
        for key in keys {
            self.put("g", key, key.as_bytes(), HOUR).await.unwrap();
            self.add("g", key, 1, HOUR).await.unwrap();
        }
        for key in keys {
            assert_eq!(self.get("g", key).await, Some(key.as_bytes().to_vec()), "{key:?}");
            assert_eq!(self.add("g", key, 1, HOUR).await, Ok(2), "{key:?}");
        }
        let every: Vec<u8> = (0..=255).collect();
        self.put("g", "every", &every, HOUR).await.unwrap();
        assert_eq!(self.get("g", "every").await, Some(every));
    }

    async fn what_is_too_large_is_refused(&self) {
        let (key, value) = ("k".repeat(MAX_KEY), vec![7; MAX_VALUE]);
        assert_eq!(self.put("h", &key, &value, HOUR).await, Ok(()));
        assert_eq!(self.get("h", &key).await, Some(value));
        assert_eq!(self.add("h", &key, 1, HOUR).await, Ok(1));
        let long = "k".repeat(MAX_KEY + 1);
        let (small, large) = ([0], vec![0; MAX_VALUE + 1]);
        assert_eq!(self.put("h", "k", &large, HOUR).await, Err(StateError::TooLarge));
        assert_eq!(self.put("h", &long, &small, HOUR).await, Err(StateError::TooLarge));
        assert_eq!(
            self.put("h", &long, &[], Duration::ZERO).await,
            Err(StateError::TooLarge)
        );
        assert_eq!(self.add("h", &long, 1, HOUR).await, Err(StateError::TooLarge));
        assert_eq!(self.get("h", &long).await, None);
    }

    async fn a_full_namespace_refuses_until_something_ends(&self) {
        let full = vec![0; MAX_VALUE];
        for index in 0..MAX_BYTES / MAX_VALUE - 2 {
            let key = format!("{index:03}");
            self.put("i", &key, &full, HOUR).await.unwrap();
        }
        self.put("i", "short", &full, SHORT).await.unwrap();
        assert_eq!(self.put("i", "more", &full, HOUR).await, Err(StateError::OverBudget));
        while self.put("i", "more", &full, HOUR).await.is_err() {
            self.pass().await;
        }
        assert_eq!(self.get("i", "short").await, None, "there was room for both");
        assert_eq!(self.get("i", "000").await, Some(full.clone()));
        assert_eq!(
            self.put("i", "even more", &full, HOUR).await,
            Err(StateError::OverBudget)
        );
        self.put("i", "000", &[], Duration::ZERO).await.unwrap();
        assert_eq!(
            self.put("i", "even more", &full, HOUR).await,
            Ok(()),
            "what is removed makes room"
        );
    }

    async fn a_value_that_does_not_fit_leaves_what_was_there(&self) {
        let full = vec![0; MAX_VALUE];
        self.put("j", "k", b"1", HOUR).await.unwrap();
        for index in 0..MAX_BYTES / MAX_VALUE - 1 {
            let key = format!("{index:03}");
            self.put("j", &key, &full, HOUR).await.unwrap();
        }
        assert_eq!(self.put("j", "k", &full, HOUR).await, Err(StateError::OverBudget));
        assert_eq!(self.get("j", "k").await, Some(b"1".to_vec()));
        assert_eq!(self.put("j", "k", b"2", HOUR).await, Ok(()));
        let key = "n".repeat(MAX_KEY);
        let mut counters = 0;
        while self.add("j", &format!("{counters}{}", &key[10..]), 1, HOUR).await == Ok(1) {
            counters += 1;
            assert!(counters < 1000, "counters take room, too");
        }
        assert_eq!(
            self.add("j", &format!("0{}", &key[10..]), 1, HOUR).await,
            Ok(2),
            "what is there is still counted"
        );
    }

    /// So many entries are slow to make elsewhere one by one, so several at a time.
    pub(crate) async fn entries_are_bounded(&self) {
        let numbers: Vec<_> = (0..MAX_ENTRIES).collect();
        for some in numbers.chunks(64) {
            let added = some.iter().map(|number| async move {
                assert_eq!(self.add("k", &number.to_string(), 1, HOUR).await, Ok(1));
            });
            futures_util::future::join_all(added).await;
        }
        assert_eq!(self.add("k", "more", 1, HOUR).await, Err(StateError::OverBudget));
        assert_eq!(self.put("k", "7", b"", HOUR).await, Err(StateError::OverBudget));
        assert_eq!(self.add("k", "7", 1, HOUR).await, Ok(2));
    }
}

#[tokio::test]
async fn memory_keeps_to_the_contract() {
    let state = super::State::default();
    let bench = Bench::new(&state, "run");
    bench.all().await;
    bench.entries_are_bounded().await;
}
