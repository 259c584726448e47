//! What is open is judged again, by what its user's login gives now. That yields no permit.

use super::*;

fn open(action: Action, target: &str, requested: &str) -> ForwardRequest {
    let mut request = ForwardRequest::dry("alice", action, target.parse().unwrap());
    if let Asked::Connect(asked) = asked("connect", requested) {
        request.requested = asked.requested;
    }
    request.originator = Some("192.0.2.99:5".parse().unwrap());
    request
}

#[tokio::test]
async fn it_is_judged_in_the_order_of_every_judgement() {
    let judge = judge("").await;
    let socket = "unix:/nowhere/socket";
    #[rustfmt::skip]
    let table = [
        // the key now                  what is open                                              what holds now
        ("",                            Action::Connect, "ten.test:80",     "ten.test:80",        "allow 10.0.0.1:80"),
        ("",                            Action::Connect, "ten.test:23",     "ten.test:23",        "deny policy closed"),
        ("",                            Action::Connect, "meta.test:80",    "meta.test:80",       "deny floor deny"),
        ("restrict",                    Action::Connect, "ten.test:80",     "ten.test:80",        "deny key no-port-forwarding"),
        ("permitopen=\"ten.test:81\"",  Action::Connect, "ten.test:80",     "ten.test:80",        "deny key permitopen"),
        ("",                            Action::Connect, "nowhere.test:80", "nowhere.test:80",    "allow, unreachable"),
        // A socket that is connected is not looked for again.
        ("",                            Action::Connect, socket,            socket,               "allow"),
        ("restrict",                    Action::Connect, socket,            socket,               "deny key no-port-forwarding"),
        ("",                            Action::Listen,  "localhost:8080",  "localhost:8080",     "allow 127.0.0.1:8080 [::1]:8080"),
        ("permitlisten=\"1\"",          Action::Listen,  "localhost:8080",  "localhost:8080",     "deny key permitlisten"),
        // A delivery is judged at the listener, as it was asked for: the key was asked about the listener.
        ("",                            Action::Accept,  "localhost:8080",  "localhost:0",        "allow"),
        ("",                            Action::Accept,  "localhost:7009",  "localhost:0",        "deny policy no-visitors"),
    ];
    for (options, action, target, requested, expected) in table {
        let request = open(action, target, requested);
        let (current, rights) = (judge.current(), rights(options));
        let again = judge.judge_again(&current, &request, &rights, "swap");
        let explanation = again.await;
        assert_eq!(told(&explanation), expected, "{options}: {action:?} {target}");
        let line = explanation.line();
        assert_eq!(line.again, Some("swap"));
        assert_eq!(
            line.originator,
            (action != Action::Listen).then_some(request.originator).flatten()
        );
    }
}

#[tokio::test]
async fn a_socket_that_is_connected_is_judged_where_it_is_and_not_where_its_path_leads_now() {
    let judge = judge("").await;
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().canonicalize().unwrap().join("socket");
    let elsewhere = folder.path().join("elsewhere");
    let _listener = std::os::unix::net::UnixListener::bind(&elsewhere).unwrap();
    std::os::unix::fs::symlink(&elsewhere, &path).unwrap();
    let socket = format!("unix:{}", path.display());
    let request = open(Action::Connect, &socket, &socket);
    let current = judge.current();
    let explanation = judge.judge_again(&current, &request, &rights(""), "swap").await;
    let allowed = explanation.outcome().unwrap();
    assert_eq!(allowed.effective, request.target);
}
