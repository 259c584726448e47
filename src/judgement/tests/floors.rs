//! `floors.deny`: judged on the addresses, whatever they are called and whatever the policies say.

use super::*;

#[tokio::test]
async fn no_name_and_no_policy_leads_to_a_denied_address() {
    let judge = judge("").await;
    #[rustfmt::skip]
    let table = [
        // asked                                   what comes of it
        ("10.0.0.1:80",                            "allow 10.0.0.1:80"),
        ("127.0.0.1:80",                           "allow 127.0.0.1:80"),
        ("localhost:80",                           "allow 127.0.0.1:80 [::1]:80"),
        ("169.254.169.254:80",                     "deny floor deny"),
        ("0xa9fea9fe:80",                          "deny floor deny"),
        ("2852039166:80",                          "deny floor deny"),
        ("169.254.43518:80",                       "deny floor deny"),
        ("::ffff:169.254.169.254:80",              "deny floor deny"),
        ("fe80::1:80",                             "deny floor deny"),
        ("febf::1:80",                             "deny floor deny"),
        ("fec0::1:80",                             "allow [fec0::1]:80"),
        ("224.0.0.1:80",                           "deny floor deny"),
        ("239.255.255.255:80",                     "deny floor deny"),
        ("ff02::1:80",                             "deny floor deny"),
        ("0.0.0.0:80",                             "deny floor deny"),
        ("0:80",                                   "deny floor deny"),
        (":::80",                                  "deny floor deny"),
        ("255.255.255.255:80",                     "deny floor deny"),
        ("meta.test:80",                           "deny floor deny"),
        ("META.test.:80",                          "deny floor deny"),
        // A translator or a tunnel on the way would send these to an IPv4 address.
        ("64:ff9b::a9fe:a9fe:80",                  "deny floor deny"),
        ("64:ff9b::10.0.0.1:80",                   "allow [64:ff9b::a00:1]:80"),
        ("2002:a9fe:a9fe::1:80",                   "deny floor deny"),
        ("2002:a00:1::1:80",                       "allow [2002:a00:1::1]:80"),
        ("::169.254.169.254:80",                   "deny floor deny"),
        ("::ffff:0:169.254.169.254:80",            "deny floor deny"),
        ("::1:80",                                 "allow [::1]:80"),
        // What is left of a name may be dialled.
        ("mixed.test:80",                          "allow 192.0.2.7:80"),
        ("many.test:80",                           "allow 10.0.0.1:80 192.0.2.7:80"),
        ("six.test:80",                            "allow [2001:db8::1]:80"),
        // A policy may lead there, and it is refused all the same.
        ("ten.test:7002",                          "deny floor deny"),
        ("ten.test:7001",                          "rewrite ten.test:80 10.0.0.1:80"),
        ("nowhere.test:80",                        "allow, unreachable"),
        ("ten.test:7010",                          "rewrite, unreachable"),
    ];
    for (endpoint, expected) in table {
        assert_eq!(judge.says("connect", endpoint).await, expected, "{endpoint}");
    }
}

#[tokio::test]
async fn the_list_is_the_administrators() {
    #[rustfmt::skip]
    let table = [
        ("[]",                                  "169.254.169.254:80",  "allow 169.254.169.254:80"),
        ("[\"10.0.0.0/8\"]",                    "169.254.169.254:80",  "allow 169.254.169.254:80"),
        ("[\"10.0.0.0/8\"]",                    "ten.test:80",         "deny floor deny"),
        ("[\"10.0.0.0/8\"]",                    "many.test:80",        "allow 192.0.2.7:80"),
        ("[\"10.0.0.0/8\", \"192.0.2.7\"]",     "many.test:80",        "deny floor deny"),
        ("[\"2001:db8::/32\"]",                 "six.test:80",         "deny floor deny"),
    ];
    for (deny, endpoint, expected) in table {
        let judge = judge(&format!("[floors]\ndeny = {deny}")).await;
        assert_eq!(judge.says("connect", endpoint).await, expected, "{deny}: {endpoint}");
    }
}
