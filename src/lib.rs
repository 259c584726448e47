//! portreeve: an SSH server that only forwards ports, every forward decided by a WebAssembly policy.
//!
//! This page is for readers of the code (`cargo doc --document-private-items`). The manual for administrators is in `docs/`, that for
//! policy authors in `docs/` and `wit/policy.wit`. Public is what the program, its tests and its benchmarks use, and no interface:
//! `fleet` is public for the benchmark that plays a thousand gateways on one Redis.
//!
//! # The one idea
//!
//! Nothing is dialled, bound or delivered without a [`Permit`](judgement::Permit) for that, and only the room [`judgement`] can
//! make one. The judgement does not return yes or no: it returns a value with exactly the addresses that it checked, and the
//! [`relay`] uses that value up and takes nothing else. Anything that is not a clear yes is a refusal: a trap, a missed deadline, a
//! malformed answer, an unknown obligation, a name without addresses, a reply that is dropped.
//!
//! # The rooms
//!
//! | room | what it is for | what it must not know |
//! |---|---|---|
//! | [`cli`] | parses the command line, handles signals, runs the command | how anything is done |
//! | `say` | the output of commands, and their exit codes | which command uses it |
//! | `origin` | the configuration that a command uses: a file, or the embedded default | what is in it |
//! | [`ctl`] | the client of a running gateway's control socket | what a gateway is made of |
//! | `top` | the live view of a running gateway, in a terminal | what a gateway is made of |
//! | [`admin`] | lets permitted users see and steer a running gateway, over HTTP | SSH, policies, how it is done |
//! | [`config`] | the configuration as typed (TOML) and as meant | SSH, policies, the network |
//! | [`embedded`] | the default configuration | |
//! | [`proxy_header`] | the client's address behind a trusted load balancer | users |
//! | [`gateway`] | bind, accept, limit, swap, reload, drain; wires the rooms | the protocol |
//! | [`handover`] | starts the process that takes this one's place, and passes it the listening sockets | what is served on them |
//! | `notify` | tells a service manager what this process does | why |
//! | `open_files` | raises the limit on open files at start, and says how many of them forwards may use | |
//! | [`shares`] | places that users share fairly | what the places are for |
//! | [`vital`] | essential tasks: restarted if they end, and reported while they are missing | what they do |
//! | [`workers`] | one thread and one runtime for each core, each connection on one of them | what runs there |
//! | [`ssh`] | the protocol; the only room that names russh | who may do what |
//! | [`auth`], [`accounts`] | `authorized_keys`, certificates, revocation; whose key it is | the SSH library, the policy |
//! | [`forwarder`] | the story of one request | packets, WebAssembly |
//! | [`confined`] | processing of untrusted bytes, in a separate process with limits | what the work is |
//! | [`judgement`] | from the switches to the addresses that may be dialled | packets, sockets |
//! | [`policy`] | load, ask and swap components; the only room that names wasmtime; rooms of its own (below) | SSH, sockets |
//! | `machine` | which addresses are this machine's own, and from which it would connect | who asks |
//! | [`names`] | look names up, through the system or at configured servers, within limits, and once for each decision | who asks |
//! | [`paths`] | follow the path of a Unix socket, and hold on to what is there | who asks |
//! | [`outbound`] | proxies, socket options and the PROXY header on the way to a target | who asks, how a connection is made |
//! | [`relay`] | dial and bind with a permit, copy both ways, keep the terms | SSH, who asks |
//! | [`signature`] | who signed a component, and whether that counts | what a component is |
//! | `rates` | bytes a second of what is counted again and again, and how people read sizes | what is counted |
//! | [`fleet`] | what several gateways share on Redis: the state of policies, counts; the only room that names redis | who asks |
//! | [`sessions`] | what is open, for whom, how much of it there may be, and how it is ended | why, and how it is carried |
//! | [`events`] | announces each fact once, to all listeners: audit log, log, status channels, administrators, observers, metrics | why it happens |
//! | [`metrics`] | counts what happens, for Prometheus | HTTP, where its numbers come from |
//! | [`history`] | the last hour in numbers, in fixed memory, without who and where | HTTP, who looks |
//! | [`page`] | the status page: HTML and charts of the history | HTTP, where its facts come from |
//! | [`audit`] | keeps lines in a file or pipe, and says whether it can | what a line says |
//! | [`locks`] | who is locked out by an administrator, kept in a file | sessions |
//! | `logging` | lines for operators on standard error, safe to show; a slow reader delays nothing | what decides |
//! | `otlp` | exports log lines and a trace for each session to an OpenTelemetry collector; only with the feature `otlp` | what depends on it: nothing |
//! | `outlet` | write to a file, pipe or terminal that may be blocked for a while | what is written |
//! | [`explain`] | the same judgement for a hypothetical request | |
//! | [`import`] | a configuration and rules from those of `sshd`, and whether they say the same | SSH, sockets |
//! | [`plugin`] | tools for policy authors | SSH, sockets |
//! | `replay` | decides recorded requests again, with other policies | the command line |
//! | `rollout` | what is learned of a policy before it decides: the last decisions, shadows, the gates | how it is put in force |
//! | `password` | the hash of a password, for a configuration | who may log in |
//! | `files` | read files that others may have put there, without blocking and within limits | what is in them |
//! | `registry` | push policies to OCI registries, pull them, and keep what was pulled | what a component is, who decides |
//! | [`request`] | types that all rooms share, without I/O | all of the above |
//!
//! Imports go one way, within [`policy`] too: no rooms import each other in a circle. `docs/rooms.md` is drawn from the code, and
//! `tests/architecture.rs` lists what each room may import.
//!
//! | room in `policy` | what it is for |
//! |---|---|
//! | `contract` | the world of `wit/policy.wit` in all versions that are served, and the translation between them |
//! | `source` | reads a component's bytes once, with their digest and signature; watches its files |
//! | `inspect` | describes a component without running it; the gates of a swap |
//! | `sandbox` | the engine, guests, their interfaces and limits; the state of policies |
//! | `compile` | compiles components in a separate process; stores compiled code under a seal |
//! | `pool` | instances prepared in advance |
//! | `load` | makes every check of a swap, and asks one guest for one decision |
//! | `history` | the generations of each plugin, kept over restarts, and what serves instead of what is configured |
//! | `serve` | the chain in force, its decisions, and its replacement as a whole |
//! | `offline` | the same for tools |
//! | `failure`, `reference` | errors; the identity of a policy |
//!
//! # One request
//!
//! 1. A callback of the SSH library becomes a [`Requested`](request::Requested), exactly as the client sent it, and a task of
//!    its own. The session continues: it never waits for a policy, a name or a target. The one exception is the request for
//!    a remote forward, because SSH has no deferred reply to it; its time limit is two seconds.
//! 2. [`Forwarder::connect`](forwarder::Forwarder::connect) takes a place among the session's tunnels and puts a
//!    [`Question`](judgement::Question) to the [`Judge`](judgement::Judge).
//! 3. [`Judge::judge`](judgement::Judge::judge): the switches of `[forwarding]`, then the limits of the key or certificate,
//!    both on what the client sent; the canonical [`Endpoint`](request::Endpoint); the policies of the
//!    [`Generation`](policy::Generation) in force, each in a fresh instance; then, on the endpoint after any rewrite, the
//!    floors; for a connection also every address of the host, by the verdict's address rules and the floors. The first
//!    refusal wins. Names are looked up once in a decision, so the addresses that a policy saw are those checked here.
//! 4. The decision is in the audit log before it has an effect: [`Judgement::record`](judgement::Judgement::record) writes the
//!    line and only then gives the permit. If the line cannot be written, nothing is forwarded.
//! 5. [`relay::dial`] connects to the addresses of the permit, in their order. Only then is the channel confirmed, so that
//!    the client learns the real reason of a failure.
//! 6. Bytes are copied until both directions have ended, or the terms, a new decision, the session or the gateway end it. An
//!    end of file closes one direction only. One line says how it ended and how many bytes went each way.
//!
//! A listener takes the same path once, and again for each connection that it accepts (`accept`).
//!
//! # Guarantees
//!
//! - **No permit, no forward.** [`Permit`](judgement::Permit) has no public constructor, comes out of recording the decision, and
//!   is good for one connection, one listener or one delivery. Explaining and judging again give none.
//! - **The relay dials the addresses that were checked**: it never looks a name up again.
//! - **Failure is not denial.** [`Refusal`](request::Refusal) keeps them apart in types, on the wire and in the log. Both refuse.
//! - **A decision is alone.** Each runs in an instance of its own, made for it or ahead of it, with a deadline, a bound on memory, and no import that the
//!   configuration has not granted. Nothing that one request leaves behind is seen by the next, but the counted state of the
//!   grant `state`.
//! - **A demanded signature is checked on the bytes that are loaded.** A [`Component`](policy::Component) is read once and takes
//!   its bytes and digest along. Only a [`Vetted`](policy::Vetted) one passes the gates, and it is made where the signature is
//!   checked. `plugin check` goes the same way.
//! - **A swap is atomic.** A candidate is read, hashed, compiled, type-checked, configured and asked once before one pointer
//!   changes; if any step fails, the old one stays in force. Policies whose files change together are one candidate. That
//!   pointer, [`Current`](judgement::Current), also holds floors, switches, users and limits, so no decision sees a mix of old
//!   and new. A decision finishes with the policy that it began with.
//! - **Removing access never waits.** While policies of a new configuration are prepared, and if they fail, both the old and
//!   the new configuration must admit a user, and the stricter floors, switches and limits apply.
//! - **Logins are checked again.** [`Standing`](accounts::Standing) keeps what a client proved and checks what it permits now.
//!   A session whose user may no longer log in ends.
//! - **Every decision has an audit line**, and every opened tunnel and listener exactly one end.
//! - **No slow reader stops another.** The session loop always reads what arrives, even while the client reads nothing;
//!   waiting bytes are counted for each tunnel and in all, and SSH's own window throttles the client. While too much waits for
//!   the client, its targets are not read.
//! - **Bounded everywhere**: connections, logins, sessions, tunnels, listeners, dials, decisions at once and in a second, look-ups,
//!   files, bytes held; by user and in all. What users share, they share fairly ([`shares`]): a user at their bound waits alone.
//! - **Doubt closes nothing.** What is open ends when it is refused, and not because the gateway could not ask, unless the
//!   configuration says so.
//!
//! # Who may lie, and what they gain by it
//!
//! - **A client that has not logged in** can send any bytes, slowly or in great number. It holds one of a limited number of
//!   places for `login-grace`. Its network gets few of them, and loses them to clients from quieter networks, so a flood from
//!   one place does not keep others out. The replies do not reveal which users exist.
//! - **A user** chooses every field of a request. Rules are compared with the canonical form, so that `127.1`, `LOCALHOST.` and
//!   `[::ffff:127.0.0.1]` match as what they mean; the originator of a connection is passed on as the client's claim. At worst a
//!   user gets what the policy allows them, up to the limits per session and per user.
//! - **A target** may send without end, not read, or hang. It occupies its own tunnel until a timeout or a limit ends it.
//! - **A policy author** decides: a policy can allow everything that the floors do not deny, and can see the users' names, addresses
//!   and claims. It cannot open a socket or a file, see a payload byte, outlive its decision, or exceed its deadline and memory. Its
//!   text is cut to length and stripped of control characters before it is shown. Everything that reads the component (parser,
//!   validator, snapshot tool, compiler) runs in a separate process ([`confined`]), with limits on time, memory, stack, nesting and
//!   output; only in that process do the author's bytes meet a large program without a sandbox. Its output, and no other compiled
//!   code, is trusted; the process has loaded it once itself, and a panic or crash there rejects the component. The tools for
//!   authors do the same.
//! - **A name server** chooses the addresses of a name. They are checked like any address, and the relay dials those that were
//!   checked; the name is not looked up again. A policy that allows by name alone trusts the name server with the choice.
//! - **A proxy** on the way to a target ([`outbound`]) can refuse, be slow, or connect to something else than what it was asked for:
//!   the administrator chose it. Its answer is bounded, and it is asked only for what was permitted.
//! - **A peer of a listener** is checked (`accept`) by their real address before the client hears of them.
//! - **A local user** of the gateway's machine sees what the system shows: listeners, and files by their modes. Keys and the
//!   audit log are created with mode 0600 in a folder of mode 0700. Every local user can reach a listener on loopback; the Unix
//!   socket of a listener has mode 0600.
//!
//! - **Write access to `policy.directory`** can slow the next start, and make the gateway forget the last version of a signed
//!   component, nothing more: compiled code loads only if it is sealed with the key there, which only the gateway's user can
//!   read, and a folder or key that other users can access is refused. The gateway's user controls the gateway anyway.
//!
//! `unsafe` is denied in this crate except in three files: the bindings that are generated from `wit/policy.wit`
//! (`policy/contract/generated.rs`), the one call that loads compiled code (`policy/compile/sealed.rs`), and the one that advises
//! the system on pages (`policy/pool/prefault.rs`). The last two say why they are sound.

#![allow(
    rustdoc::private_intra_doc_links,
    reason = "the documentation is for readers of the code, and made with --document-private-items"
)]
#![cfg_attr(
    test,
    allow(clippy::disallowed_methods, reason = "tests are clients and targets, too")
)]

mod accounts;
mod admin;
mod audit;
pub mod auth;
pub mod cli;
pub mod config;
mod confined;
mod ctl;
mod embedded;
mod events;
mod explain;
mod files;
pub mod fleet;
mod forwarder;
pub mod gateway;
mod handover;
mod history;
mod import;
mod judgement;
mod locks;
mod logging;
mod machine;
mod metrics;
pub mod names;
mod notify;
mod open_files;
mod origin;
#[cfg(feature = "otlp")]
mod otlp;
mod outbound;
mod outlet;
mod page;
mod password;
mod paths;
mod plugin;
pub mod policy;
mod proxy_header;
mod rates;
mod registry;
mod relay;
mod replay;
pub mod request;
mod rollout;
mod say;
mod sessions;
mod shares;
mod signature;
mod ssh;
mod top;
pub mod vital;
mod workers;
