//! `portreeve ctl` with a gateway that runs, and with none.

use crate::program::Home;
use crate::serve::Served;

#[test]
fn no_gateway_on_the_socket_is_code_4() {
    let home = Home::new();
    let ran = home.run(&["ctl", "status"]);
    assert_eq!((ran.code, ran.out.as_str()), (4, ""));
    assert!(ran.err.contains("no gateway answers on"), "{}", ran.err);
    assert!(ran.err.contains(".local/state/portreeve/admin.sock"), "{}", ran.err);
    let ran = home.run(&["ctl", "--json", "status"]);
    assert_eq!(ran.code, 4);
    let said: serde_json::Value = serde_json::from_str(&ran.out).unwrap();
    assert!(said["error"].as_str().unwrap().contains("no gateway answers"), "{said}");
}

#[test]
fn the_embedded_default_is_seen_and_drained_without_a_configuration() {
    let home = Home::new();
    let mut served = Served::start(&home, &["--listen", "127.0.0.1:0"], "who you are");
    let ran = home.run(&["ctl", "status"]);
    assert_eq!(ran.code, 0, "{}", ran.err);
    let policy = ran.out.lines().find(|line| line.starts_with("policy "));
    assert!(policy.is_some_and(|line| line.contains(" rules 0.1.0 ")), "{}", ran.out);
    assert_eq!(home.run(&["ctl", "drain", "--timeout", "0s"]).out, "draining\n");
    assert_eq!(served.ended(), Some(0));
    assert_eq!(home.run(&["ctl", "status"]).code, 4);
}
