//! Compiles components, away from everything else.
//!
//! A compiler cannot be interrupted, and a component can be made to keep it busy for minutes, to take all memory, or to
//! recurse until the stack is full. So all that reads one happens in a separate process ([`confined`](crate::confined)):
//! this file has both ends, [`Compiler`] in the gateway and [`perform`] in that process.

use std::time::Duration;

use futures_util::FutureExt;
use serde::{Deserialize, Serialize};
use wasmtime::Engine;
use wasmtime_wizer::Wizer;

use super::rehearsal::rehearse;
use super::sealed::Code;
use super::state_image::{Frames, StateImage};
use super::{counts, nesting};
use crate::confined::{Confinement, Failed, Order, Sealed, Task, Wrong};
use crate::policy::inspect::Parts;
use crate::policy::sandbox::{Meter, Sandbox, settings};

/// Where components are compiled.
#[derive(Clone, Debug)]
pub struct Compiler(Confinement);

/// What is to be done with a component.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Work {
    /// Compile it as it is.
    Compile(Target),
    /// Compile it so that the state of an instance can be read.
    Instrument(Target),
    /// Compile it so that its instances begin with the state that comes with it.
    Freeze(Target),
    /// Say what its parts are.
    Read,
}

/// The engine that is compiled for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct Target {
    /// Bytes of memory of an instance.
    memory: u64,
    /// Whether what guests compute is counted.
    fuel: bool,
    /// Whether it is made by a process of its own, which can then try what it made.
    rehearse: bool,
}

impl Target {
    /// What is compiled to run there.
    pub(super) fn of(sandbox: &Sandbox) -> Self {
        Self {
            memory: sandbox.memory,
            fuel: sandbox.meter == Meter::Fuel,
            rehearse: true,
        }
    }

    /// An engine that compiles for it, and can load what it compiled.
    fn engine(self) -> Result<Engine, String> {
        let mut settings = settings(self.memory, None);
        settings.consume_fuel(self.fuel);
        Engine::new(&settings).map_err(|error| format!("{error:#}"))
    }
}

impl Compiler {
    /// In this process, without bounds on memory and time: for tests, and components that are trusted.
    #[must_use]
    pub fn in_process() -> Self {
        Self(Confinement::in_process())
    }

    /// In processes of this very program, also if its file was replaced since it was started.
    #[must_use]
    pub fn this_program() -> Self {
        Self(Confinement::this_program())
    }

    /// In processes of the portreeve program at that path, of the same version as this library.
    #[must_use]
    pub fn program(path: impl Into<std::path::PathBuf>) -> Self {
        Self(Confinement::program(path))
    }

    /// How its processes are started, for other work that is done apart.
    #[must_use]
    pub(crate) fn confinement(&self) -> Confinement {
        self.0.clone()
    }

    /// How long a component may take the processor, default 60 s; on a busy machine that may last four
    /// times as long. Has no effect in this process.
    #[must_use]
    pub fn within(self, patience: Duration) -> Self {
        Self(self.0.within(patience))
    }

    /// Compiles it as it is; this thread waits for it.
    pub(super) fn compile(&self, target: Target, component: &[u8]) -> Result<Code, Failed> {
        let input = Sealed::of(component).map_err(broken)?;
        self.made(Work::Compile(target), "compiling", input)
    }

    /// Compiles it so that the state of its instances can be read. [`Failed::Unsuited`] if that cannot be done with it.
    pub(super) fn instrument(&self, target: Target, component: &[u8]) -> Result<Code, Failed> {
        let input = Sealed::of(component).map_err(broken)?;
        self.made(Work::Instrument(target), "compiling", input)
    }

    /// Compiles the component of `image` so that its instances begin with the state in there.
    pub(super) fn freeze(&self, target: Target, image: StateImage) -> Result<Code, Failed> {
        self.made(Work::Freeze(target), "compiling its snapshot", image.into_sealed())
    }

    /// Says what the parts of a component are, without compiling it.
    ///
    /// # Errors
    /// Why it cannot be said.
    pub fn inspect(&self, component: &[u8]) -> Result<Parts, String> {
        let input = Sealed::of(component).map_err(|error| error.to_string())?;
        let read = self.run(Work::Read, "reading", MAX_PARTS, input);
        let read = read
            .map_err(Failed::words)?
            .to_vec()
            .map_err(|error| error.to_string())?;
        serde_json::from_slice(&read).map_err(|error| format!("the compiler's answer cannot be read: {error}"))
    }

    fn made(&self, work: Work, doing: &str, input: Sealed) -> Result<Code, Failed> {
        self.run(work, doing, MAX_CODE, input).map(Code::from_compiler)
    }

    fn run(&self, work: Work, doing: &str, most: u64, input: Sealed) -> Result<Sealed, Failed> {
        let task = Task {
            room: ROOM,
            work: &work,
            doing,
            most,
        };
        self.0.run(&task, input, move |input| perform(work.here(), &input))
    }
}

impl Work {
    /// What a process makes of an order, if it is one of this room.
    #[must_use]
    pub fn ordered(order: &Order) -> Option<Self> {
        order.of_room(ROOM)
    }

    /// The same in a process that goes on afterwards.
    fn here(self) -> Self {
        let here = |target| Target {
            rehearse: false,
            ..target
        };
        match self {
            Self::Compile(target) => Self::Compile(here(target)),
            Self::Instrument(target) => Self::Instrument(here(target)),
            Self::Freeze(target) => Self::Freeze(here(target)),
            Self::Read => Self::Read,
        }
    }
}

/// Does the work: what comes in is what was handed to [`Compiler`], what goes out is what it gives back.
///
/// # Errors
/// What is wrong with the component, or why it cannot be done.
pub fn perform(work: Work, input: &[u8]) -> Result<Vec<u8>, Wrong> {
    match work {
        Work::Read => {
            bounded(input)?;
            serde_json::to_vec(&Parts::of(input)).map_err(Wrong::faulty)
        }
        Work::Compile(target) => {
            bounded(input)?;
            compiled(target, input)
        }
        Work::Instrument(target) => {
            bounded(input)?;
            let instrumented = Wizer::new().instrument_component(input);
            let (_, instrumented) = instrumented.map_err(|error| Wrong::Unsuited(format!("{error:#}")))?;
            compiled(target, &instrumented)
        }
        Work::Freeze(target) => {
            let mut frames = Frames::new(input)?;
            let component = frames.component;
            let (context, _) = Wizer::new().instrument_component(component).map_err(Wrong::faulty)?;
            let frozen = Wizer::new().snapshot_component(&context, &mut frames).now_or_never();
            let frozen = frozen.ok_or_else(|| Wrong::Broken("the snapshot waits for something".to_owned()))?;
            compiled(target, &frozen.map_err(Wrong::faulty)?)
        }
    }
}

/// What recurses or takes memory for each part of a component comes after this.
fn bounded(component: &[u8]) -> Result<(), Wrong> {
    nesting::check(component)?;
    counts::check(component)
}

fn compiled(target: Target, component: &[u8]) -> Result<Vec<u8>, Wrong> {
    let engine = target.engine().map_err(Wrong::Broken)?;
    let code = engine.precompile_component(component).map_err(Wrong::faulty)?;
    if target.rehearse {
        rehearse(&engine, &code)?;
    }
    Ok(code)
}

fn broken(error: std::io::Error) -> Failed {
    Failed::Broken(format!("the compiler cannot be started: {error}"))
}

const ROOM: &str = "policy";
const MAX_CODE: u64 = 512 << 20;
/// What is said of the parts of a component.
const MAX_PARTS: u64 = 4 << 20;
