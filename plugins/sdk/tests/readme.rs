//! The policy that the README and the guide show does what they say.

include!("readme/only_ports.rs");

#[test]
fn a_port_of_the_settings_is_open_and_others_are_not() {
    let read = |text: &str| portreeve_policy::settings::read::<Settings>(text);
    let settings = read(r#"{ "ports": [8000] }"#).expect("settings");
    let decide = |target: &str| decide(&portreeve_policy::testing::connect(target).build(), &settings);
    assert!(decide("127.0.0.1:8000").is_allow());
    assert_eq!(decide("127.0.0.1:8001").code(), Some("other-port"));
    let problems = read(r#"{ "prots": [8000] }"#).err().expect("a fault");
    assert_eq!(
        (problems[0].at.as_str(), problems[0].message.as_str()),
        ("/prots", "unknown field `prots`, expected `ports`")
    );
}
