//! Asks a policy with Kubewarden's SDK as Kubewarden's evaluator does, and prints what that takes.
//!
//! `evaluator GUEST PAYLOAD SECONDS`: the module, a file with a request, and how long. The module is compiled once; each request
//! gets a fresh instance from the prepared one (`WasmtimeEngineProviderPre::rehydrate`), with a deadline in epochs, and the
//! policy its settings and the request as JSON. Instances come from a pool, which is wasmtime's fastest way to make one.

use std::error::Error;
use std::time::{Duration, Instant};
use std::{env, fs, thread};

use wapc::WapcHost;
use wasmtime_provider::wasmtime::{Config, Engine, InstanceAllocationStrategy, Module};
use wasmtime_provider::{EpochDeadlines, WasmtimeEngineProviderBuilder};

fn main() -> Result<(), Box<dyn Error>> {
    let arguments: Vec<String> = env::args().skip(1).collect();
    let [guest, payload, seconds] = arguments.as_slice() else {
        return Err("usage: evaluator GUEST PAYLOAD SECONDS".into());
    };
    let payload = fs::read(payload)?;
    let mut config = Config::new();
    config
        .epoch_interruption(true)
        .allocation_strategy(InstanceAllocationStrategy::pooling());
    let engine = Engine::new(&config)?;
    let ticking = engine.clone();
    thread::spawn(move || {
        loop {
            thread::sleep(Duration::from_secs(1));
            ticking.increment_epoch();
        }
    });
    let deadlines = EpochDeadlines {
        wapc_init: 2,
        wapc_func: 2,
    };
    let prepared = WasmtimeEngineProviderBuilder::new()
        .module(Module::from_file(&engine, guest)?)
        .engine(engine)
        .build_pre()?;
    let ask = || -> Result<Vec<u8>, Box<dyn Error>> {
        let instance = prepared.rehydrate(Some(deadlines))?;
        let host = WapcHost::new(
            Box::new(instance),
            Some(Box::new(|_, _, _, _, _| Err("no call to the host".into()))),
        )?;
        Ok(host.call("validate", &payload)?)
    };
    let answer = String::from_utf8(ask()?)?;
    if !answer.contains("\"accepted\":true") {
        return Err(format!("the policy does not allow it: {answer}").into());
    }
    let end = Instant::now() + Duration::from_secs(seconds.parse()?);
    let mut times = Vec::new();
    while Instant::now() < end {
        let began = Instant::now();
        ask()?;
        times.push(began.elapsed());
    }
    times.sort();
    let micros = |part: usize| times[times.len() * part / 100].as_secs_f64() * 1e6;
    println!("{} {}", micros(50), micros(99));
    Ok(())
}
