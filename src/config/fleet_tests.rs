//! The tables of a fleet: `[fleet]` and `[oci]`.

use std::time::Duration;

use super::*;

/// A node as `host:port`.
fn nodes(text: &str) -> Vec<RedisNode> {
    list(text, 1).unwrap()
}

#[test]
fn a_url_says_where_redis_is() {
    let one = |text: &str| Topology::One(nodes(text).remove(0));
    let sentinel = |text: &str, service: &str| Topology::Sentinel {
        nodes: nodes(text),
        service: service.to_owned(),
    };
    #[rustfmt::skip]
    let table = [
        // the URL                                    servers                                TLS    user           database
        ("redis://redis.internal",                    one("redis.internal:6379"),            false, None,          0),
        ("redis://gate@10.0.0.1:7000/3",              one("10.0.0.1:7000"),                  false, Some("gate"),  3),
        ("rediss://a%40b@[fd00::1]/0",                one("[fd00::1]:6379"),                 true,  Some("a@b"),   0),
        ("rediss://[fd00::1]:7000",                   one("[fd00::1]:7000"),                 true,  None,          0),
        ("redis+unix:///run/redis.sock",              Topology::Socket("/run/redis.sock".into()), false, None,     0),
        ("unix:///run/redis.sock?db=2",               Topology::Socket("/run/redis.sock".into()), false, None,     2),
        ("redis+cluster://a:7000,b",                  Topology::Cluster(nodes("a:7000,b:6379")),  false, None,     0),
        ("rediss+cluster://u@a,b/0",                  Topology::Cluster(nodes("a:6379,b:6379")),  true,  Some("u"), 0),
        ("redis+sentinel://s1,s2:7/main/4",           sentinel("s1:26379,s2:7", "main"),     false, None,          4),
        ("redis-sentinel://s1/4#main",                sentinel("s1:26379", "main"),          false, None,          4),
        ("rediss+sentinel://u@s1/main",               sentinel("s1:26379", "main"),          true,  Some("u"),     0),
    ];
    for (url, topology, tls, user, database) in table {
        let expected = RedisServers {
            topology,
            tls,
            user: user.map(str::to_owned),
            database,
        };
        assert_eq!(parse(url), Ok(expected), "{url}");
    }
}

#[test]
fn a_wrong_url_gets_the_fix() {
    #[rustfmt::skip]
    let table = [
        ("redis.internal:6379",             "must begin with redis://"),
        ("http://redis.internal",           "must begin with redis://"),
        ("redis+pool://a",                  "must begin with redis://"),
        ("redis://",                        "must name its servers"),
        ("redis://a:0",                     "must name its servers"),
        ("redis://a:b",                     "must name its servers"),
        ("redis://a:65536",                 "must name its servers"),
        ("redis://[fd00::1",                "must name its servers"),
        ("redis://[a]",                     "must name its servers"),
        ("redis://a b",                     "must name its servers"),
        ("redis://a,b",                     "must name one server"),
        ("redis://a/x",                     "number of a database"),
        ("redis://a/+1",                    "number of a database"),
        ("redis://a/0/1",                   "number of a database"),
        ("redis://a?ssl=true",              "unknown query"),
        ("redis://a#b",                     "must not have a `#` part"),
        ("redis://u:secret@a",              "fleet.redis-password-file"),
        ("redis://:secret@a",               "fleet.redis-password-file"),
        ("redis://%zz@a",                   "hexadecimal"),
        ("rediss+unix:///run/a",            "no TLS"),
        ("redis+unix://run/a",              "absolute path"),
        ("redis+cluster://a/1",             "only database 0"),
        ("redis+sentinel://a",              "must name the primary"),
    ];
    for (url, words) in table {
        let error = parse(url).unwrap_err();
        assert!(error.contains(words), "{url}: {error}");
        assert!(!error.contains("secret"), "{url}: {error}");
    }
}

#[test]
fn the_table_has_its_defaults_and_its_faults_their_places() {
    let read = |text: &str| {
        let text = format!("{text}\n[[policy.plugin]]\nname = \"rules\"\ncomponent = \"builtin:rules\"\n");
        crate::config::parse(&text, std::path::Path::new("/etc/portreeve/portreeve.toml"))
    };
    assert_eq!(read("").unwrap().fleet, Fleet::default());
    let all = "[fleet]\nname = \"gw-1\"\nredis = \"redis://a\"\nredis-password-file = \"secret\"\ntimeout = \"7ms\"\n\
               lease = \"3s\"\nwhen-cut-off = \"refuse-new\"";
    let meant = read(all).unwrap().fleet;
    assert_eq!(meant.name.as_deref(), Some("gw-1"));
    assert_eq!(meant.redis.unwrap().to_string(), "redis://a:6379/0");
    assert_eq!(meant.redis_password_file, Some("/etc/portreeve/secret".into()));
    assert_eq!(
        (meant.timeout, meant.lease),
        (Duration::from_millis(7), Duration::from_secs(3))
    );
    assert_eq!(meant.when_cut_off, WhenCutOff::RefuseNew);
    #[rustfmt::skip]
    let wrong = [
        ("[fleet]\nname = \"a b\"",                          2, 8, "at most 64 letters"),
        ("[fleet]\ntimeout = \"5ms\"",                       2, 1, "needs `redis`"),
        ("[fleet]\nredis = \"redis://a\"\ntimeout = \"0\"",  3, 11, "from 1ms to 5s"),
        ("[fleet]\nredis = \"redis://a\"\nlease = \"1h\"",   3, 9, "from 1s to 5m"),
        ("[fleet]\nredis = \"redis://u:p@a\"",               2, 9, "redis-password-file"),
        ("[fleet]\nredis = \"redis://a\"\nwhen-cut-off = \"refuse\"", 3, 16, "serve, refuse-new"),
    ];
    for (text, line, column, words) in wrong {
        let faults = read(text).unwrap_err().faults;
        let places: Vec<_> = faults.iter().map(|fault| (fault.line, fault.column)).collect();
        assert_eq!(places, [(line, column)], "{text}: {faults:?}");
        assert!(faults[0].message.contains(words), "{text}: {}", faults[0].message);
    }
}
