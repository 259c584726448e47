//! portreeve: an SSH server that only forwards ports, every forward decided by a WebAssembly policy.
//!
//! This is the manual for those who read or change the code. Administrators find theirs in
//! `docs/`, policy authors in `docs/` and `wit/policy.wit`.
//!
//! # The one idea
//!
//! Nothing is dialled, bound or delivered without a [`Permit`](judgement::Permit), and only the room [`judgement`] can make
//! one. The judgement does not answer yes or no: it hands over a value that names the very addresses that were judged, and
//! the [`relay`] takes that value and nothing else. Whatever is not a clear yes is a refusal: a trap, a missed deadline, an
//! answer that cannot be read, an unknown obligation, a name without addresses, a reply that is dropped.
//!
//! # The rooms
//!
//! | room | what it is for | what it must not know |
//! |---|---|---|
//! | [`cli`] | the grammar of the command line; signals; which command runs | how anything is done |
//! | `say` | what commands print, and the codes with which they end | which command says it |
//! | `origin` | which configuration a command is about: a file, or the embedded default | what is in it |
//! | [`ctl`] | the client of a running gateway's control socket | what a gateway is made of |
//! | [`admin`] | who may see and steer a running gateway, over HTTP | SSH, policies, how it is done |
//! | [`config`] | the configuration as typed (TOML) and as meant | SSH, policies, the network |
//! | [`embedded`] | the configuration of those who have none | |
//! | [`proxy_header`] | who the client of a trusted load balancer is | who that is to us |
//! | [`gateway`] | bind, accept, limit, swap, reload, drain; wires the rooms | the protocol |
//! | `open_files` | the limit of open files, raised at the start, and how many of them forwards may have | |
//! | [`shares`] | places that users share fairly | what the places are for |
//! | [`vital`] | tasks that must live: started again, and named while they are not there | what they do |
//! | [`workers`] | one thread and one runtime a core, a connection on one of them | what runs there |
//! | [`ssh`] | the protocol; the only room that names russh | who may what |
//! | [`auth`], [`accounts`] | `authorized_keys`, certificates, revocation; whose key it is | the SSH library, the policy |
//! | [`forwarder`] | the story of one request | packets, WebAssembly |
//! | [`confined`] | work on bytes that others wrote, in a process of its own with bounds | what the work is |
//! | [`judgement`] | from the switches to the addresses that may be dialled | packets, sockets |
//! | [`policy`] | load, ask and swap components; the only room that names wasmtime; rooms of its own (below) | SSH, sockets |
//! | [`names`] | look names up, bounded, and once for each decision | who asks |
//! | [`paths`] | follow the path of a Unix socket, and hold on to what is there | who asks |
//! | [`relay`] | dial and bind with a permit, copy both ways, keep the terms | SSH, who asks |
//! | [`signature`] | who signed a component, and whether that counts | what a component is |
//! | [`registry`] | what is open, and how it is closed | why |
//! | [`events`] | what happens, announced once, and who listens: audit log, log, status channels, administrators, observers | why it happens |
//! | [`audit`] | keeps lines in a file or pipe, and says whether it can | what a line says |
//! | `logging` | lines for operators on standard error, made fit to be shown; a reader that is slow holds up nothing | what decides |
//! | `outlet` | write to a file, pipe or terminal that may take nothing for a while | what is written |
//! | [`explain`] | the same judgement for a request that nobody made | |
//! | [`plugin`] | tools for those who write policies | SSH, sockets |
//! | `replay` | recorded decisions, asked again of other policies | the command line |
//! | `password` | the hash of a password, for a configuration | who may log in |
//! | `files` | read what others put in a file's place, without waiting and within bounds | what is in it |
//! | [`request`] | the words that all rooms share, without I/O | all of the above |
//!
//! Imports go one way, within [`policy`] too: no rooms import each other in a circle. `docs/rooms.md` is drawn from the code, and
//! `tests/architecture.rs` has what each room may import.
//!
//! | room in `policy` | what it is for |
//! |---|---|
//! | `contract` | the world of `wit/policy.wit` in all versions that are served, and the translation between them |
//! | `source` | a component's bytes, read once, with their digest and signature; the watch on its files |
//! | `inspect` | what a component is without running it, and the gates of a swap |
//! | `sandbox` | the engine, a guest, what it can reach, and its bounds; what policies remember |
//! | `compile` | from a component to code, in a process of its own; compiled code kept under a seal |
//! | `pool` | instances made ahead of decisions |
//! | `load` | every gate that a component passes before it serves, and one question to it |
//! | `serve` | the chain in force, what it decides, and its replacement as a whole |
//! | `offline` | the same for tools, where nothing serves |
//! | `failure`, `reference` | what can go wrong; which policy it was |
//!
//! # One request
//!
//! 1. A callback of the SSH library becomes a [`Requested`](request::Requested), exactly as the client sent it, and a task of
//!    its own. The session goes on: it never waits for a policy, a name or a target. The one exception is the request for a
//!    remote forward, to which SSH has no reply that may come later; its patience is two seconds.
//! 2. [`Desk::connect`](forwarder::Desk::connect) takes a place among the session's tunnels and puts a
//!    [`Question`](judgement::Question) to the [`Judge`](judgement::Judge).
//! 3. [`Judge::judge`](judgement::Judge::judge): the switches of `[forwarding]`, then the limits of the key or certificate,
//!    both on what the client sent; the canonical [`Endpoint`](request::Endpoint); the policies of the
//!    [`Generation`](policy::Generation) in force, each in a fresh instance; then, on what they made of the endpoint, the
//!    floors; for a connection every address of the host by the verdict's address rules and the floors. The first refusal
//!    wins. What a policy was told of a name is what is judged here: names are looked up once in a decision.
//! 4. The decision is in the audit log before it has an effect: where it cannot be written, nothing is forwarded.
//! 5. [`relay::dial`] connects to the addresses of the permit, in their order. Only then is the channel confirmed, so that
//!    the client learns the true reason of a failure.
//! 6. Bytes are copied until both directions have ended, or the terms, a new decision, the session or the gateway end it. An
//!    end of file closes one direction only. One line says how it ended and how many bytes went each way.
//!
//! A listener goes the same way once, and again for each connection that it accepts (`accept`).
//!
//! # Guarantees
//!
//! - **No permit, no forward.** [`Permit`](judgement::Permit) has no public constructor.
//! - **What was judged is what is dialled**: an address, never a name a second time.
//! - **Failure is not denial.** [`Refusal`](request::Refusal) keeps them apart in types, on the wire and in the log. Both refuse.
//! - **A decision is alone.** Each runs in an instance of its own, made for it or ahead of it, with a deadline, a bound on memory, and no import that the
//!   configuration has not granted. Nothing that one request leaves behind is seen by the next, but the counted state of the
//!   grant `state`.
//! - **A demanded signature is checked on the bytes that are loaded.** A [`Component`](policy::Component) is read once and takes
//!   its bytes and digest along. Only a [`Vetted`](policy::Vetted) one passes the gates, and it is made where the signature is
//!   checked. `plugin check` goes the same way.
//! - **A swap is whole or not at all.** A candidate is read, hashed, compiled, type-checked, configured and asked once
//!   before one pointer changes; whatever fails leaves the old one in force. Policies whose files change together are one
//!   candidate. That pointer, [`Current`](judgement::Current), also holds floors, switches, users and limits, so no decision
//!   sees some of a new configuration and some of the old. A decision ends on what it began with.
//! - **Taking access away never waits.** While policies of a new configuration are prepared, and if they fail, a user must be
//!   let in by the old and the new configuration, and the narrower floors, switches and limits count.
//! - **A login is asked again.** [`Standing`](accounts::Standing) keeps what a client proved and asks what that gives now. A
//!   session whose user may no longer log in ends.
//! - **Every decision has a line**, and every tunnel and listener that was opened exactly one end.
//! - **No slow reader stops another.** The session loop always takes in what arrives, even while the client takes nothing;
//!   what waits is counted by tunnel and in all, and the client is throttled by SSH's own window. While much waits for the
//!   client, its targets are not read.
//! - **Bounded everywhere**: connections, logins, sessions, tunnels, listeners, dials, decisions at once and in a second, look-ups,
//!   files, bytes held; by user and in all. What users share, they share fairly ([`shares`]): a user at their bound waits alone.
//! - **Doubt closes nothing.** What is open ends when it is refused, and not because the gateway could not ask, unless the
//!   configuration says so.
//!
//! # Who may lie, and what it gains them
//!
//! - **A client that has not logged in** can send any bytes, slowly or in great number. It holds one of a bounded number of
//!   places for `login-grace`. Its network gets few of them, and has to make room for clients from quieter ones, so a flood
//!   from one place does not keep others out. Which users exist does not show in the replies.
//! - **A user** chooses every field of a request. What is compared with a rule is the canonical form, so that `127.1`,
//!   `LOCALHOST.` and `[::ffff:127.0.0.1]` are what they mean; the originator of a connection is the client's claim and is
//!   passed on as that. At worst a user has what the policy allows them, up to the limits of a session and of a user.
//! - **A target** may send without end, not read, or hang. It occupies its own tunnel until a timeout or a limit ends it.
//! - **The author of a policy** decides: a policy can allow everything above the floors, and can see names, addresses and
//!   claims of who asks. It cannot open a socket or a file, see a byte of payload, outlive its decision, or exceed its
//!   deadline and memory. What it says is cut to length and stripped of control characters before anybody reads it.
//!   Whatever reads the component (parser, validator, snapshot tool, compiler) runs in a process of its own ([`confined`]), with bounds on
//!   time, memory, stack, nesting and output; that process is the one place where the author's bytes meet a program that is neither
//!   sandboxed nor small. What it gives is trusted, and nothing else that is compiled; it has loaded it itself before, and a panic or a
//!   crash there is a rejection. The tools for authors do the same.
//! - **A name server** chooses the addresses of a name. They are judged like any address, and dialled as judged; a second,
//!   different answer is not asked for. A policy that allows by name alone trusts the name server with the choice.
//! - **Whoever connects to a listener** is judged (`accept`) by their true address before the client hears of them.
//! - **A local user** of the gateway's machine sees what the system shows: listeners, and files by their modes. Keys and the
//!   audit log are made with mode 0600 in a folder of mode 0700. What listens on loopback can be reached by every local user;
//!   a Unix socket that a listener is bound to has mode 0600.
//!
//! - **Whoever can write to `policy.directory`** can make the next start slower, and make the gateway forget which version
//!   of a signed component served last, and no more: compiled code is loaded if it is
//!   sealed with the key there, which only the gateway's user can read, and a folder or key that others can reach is refused.
//!   The gateway's user can do as they like with the gateway anyway.
//!
//! `unsafe` is denied in this crate except in three files: the bindings that are generated from `wit/policy.wit`
//! (`policy/contract/generated.rs`), the one call that loads compiled code (`policy/compile/sealed.rs`), and the one that advises
//! the system on pages (`policy/pool/prefault.rs`). The last two say why they are sound.

pub mod accounts;
pub mod admin;
pub mod audit;
pub mod auth;
pub mod cli;
pub mod config;
pub mod confined;
pub mod ctl;
pub mod embedded;
pub mod events;
pub mod explain;
mod files;
pub mod forwarder;
pub mod gateway;
pub mod judgement;
mod logging;
pub mod names;
mod open_files;
mod origin;
mod outlet;
mod password;
pub mod paths;
pub mod plugin;
pub mod policy;
pub mod proxy_header;
pub mod registry;
pub mod relay;
mod replay;
pub mod request;
mod say;
pub mod shares;
pub mod signature;
pub mod ssh;
pub mod vital;
pub mod workers;
