//! Gives no verdict, in many ways: by the port that is asked for.

use portreeve_policy::{Request, Verdict, policy};

fn decide(request: &Request) -> Verdict {
    let port = request.port().unwrap_or(0);
    match port {
        1 => Verdict::allow(),
        12 => panic!("x"),
        13 => std::panic::catch_unwind(|| panic!("x")).map_or_else(|_| Verdict::allow(), |()| Verdict::allow()),
        14 => std::process::exit(0),
        15 => std::process::abort(),
        21 if port / (port - 21) > 0 => Verdict::allow(),
        22 if [0; 4][usize::from(port)] == 0 => Verdict::allow(),
        23 if deeper(port.into()) > 0 => Verdict::allow(),
        24 => Verdict::deny("", ""),
        _ => unreachable!("port {port}"),
    }
}

#[allow(unconditional_recursion, reason = "it is to have no end")]
fn deeper(n: u64) -> u64 {
    std::hint::black_box(deeper(std::hint::black_box(n) + 1) + 1)
}

policy!(name: "unset", summary: "gives no verdict, in many ways", decide: decide);
