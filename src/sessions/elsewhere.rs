//! Sessions and forwards on other gateways, as far as they count here.

use futures_util::future::BoxFuture;

/// Counts together with other gateways.
pub(crate) trait Elsewhere: Send + Sync {
    /// What is open here of a user has changed. Must not wait.
    fn changed(&self, user: &str);
    /// Whether a user has no more than `most` sessions everywhere, with those here.
    fn admits<'a>(&'a self, user: &'a str, most: usize) -> BoxFuture<'a, bool>;
    /// Whether new sessions and forwards must be refused, because the other gateways cannot be reached.
    fn refuses_new(&self) -> bool;
}
