//! The keywords of `sshd_config(5)`: `SSHD_CONFIG_ENTRIES` in OpenSSH's `servconf.h`, the deprecated ones, and what
//! distributions add; and what each is for portreeve.

use crate::config::nearest;

/// A keyword.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Keyword {
    /// As the manual page writes it.
    pub(crate) name: &'static str,
    /// Whether it may stand in a Match block.
    pub(super) in_match: bool,
    /// What becomes of it.
    pub(crate) use_: Use,
}

/// What becomes of a keyword.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Use {
    /// It becomes a key or a rule; what is left of it is said where that is made.
    Mapped,
    /// portreeve does not have what it is about: this.
    NoMeaning(&'static str),
    /// portreeve cannot say it; this is to be done instead.
    Unsaid(&'static str),
    /// OpenSSH itself ignores it by now.
    Deprecated,
}

/// The keyword that is meant, or another name for it; case does not count.
///
/// # Errors
/// A sentence with the keyword that was probably meant.
pub(super) fn find(typed: &str) -> Result<&'static Keyword, String> {
    let alias = ALIASES.iter().find(|(old, _)| old.eq_ignore_ascii_case(typed));
    let name = alias.map_or(typed, |(_, name)| name);
    if let Some(known) = KEYWORDS.iter().find(|one| one.name.eq_ignore_ascii_case(name)) {
        return Ok(known);
    }
    let lower: Vec<_> = KEYWORDS.iter().map(|one| one.name.to_ascii_lowercase()).collect();
    let names: Vec<_> = lower.iter().map(String::as_str).collect();
    let near = nearest(typed, &names);
    let near = near.and_then(|near| KEYWORDS.iter().find(|one| one.name.eq_ignore_ascii_case(near)));
    Err(match near {
        Some(near) => format!("unknown keyword `{typed}`, did you mean `{}`?", near.name),
        None => format!("unknown keyword `{typed}`: it is none of sshd_config(5)"),
    })
}

const fn mapped(name: &'static str, in_match: bool) -> Keyword {
    Keyword {
        name,
        in_match,
        use_: Use::Mapped,
    }
}

const fn void(name: &'static str, in_match: bool, why: &'static str) -> Keyword {
    Keyword {
        name,
        in_match,
        use_: Use::NoMeaning(why),
    }
}

const fn unsaid(name: &'static str, in_match: bool, instead: &'static str) -> Keyword {
    Keyword {
        name,
        in_match,
        use_: Use::Unsaid(instead),
    }
}

const fn old(name: &'static str, in_match: bool) -> Keyword {
    Keyword {
        name,
        in_match,
        use_: Use::Deprecated,
    }
}

/// May stand in a Match block (`SSHCFG_ALL`).
const ALL: bool = true;
/// May not (`SSHCFG_GLOBAL`).
const GLOBAL: bool = false;

const NO_SHELL: &str = "there is no shell";
const NO_X11: &str = "X11 is never forwarded";
const NO_GSSAPI: &str = "logins are by key, certificate or password: Kerberos and GSSAPI do not exist";
const NO_HOSTBASED: &str = "host-based logins do not exist";
const ONE_PROGRAM: &str = "it concerns sshd's own programs and files";

#[rustfmt::skip]
const KEYWORDS: &[Keyword] = &[
    void("AcceptEnv", ALL, "there is no shell to set variables for"),
    mapped("AddressFamily", GLOBAL),
    void("AllowAgentForwarding", ALL, "agents are never forwarded"),
    mapped("AllowGroups", ALL),
    mapped("AllowStreamLocalForwarding", ALL),
    mapped("AllowTcpForwarding", ALL),
    mapped("AllowUsers", ALL),
    mapped("AuthenticationMethods", ALL),
    mapped("AuthorizedKeysCommand", ALL),
    void("AuthorizedKeysCommandUser", ALL, "no command is run to find keys"),
    mapped("AuthorizedKeysFile", ALL),
    mapped("AuthorizedPrincipalsCommand", ALL),
    void("AuthorizedPrincipalsCommandUser", ALL, "no command is run to find principals"),
    mapped("AuthorizedPrincipalsFile", ALL),
    mapped("Banner", ALL),
    unsaid("CASignatureAlgorithms", ALL, "every authority with Ed25519, ECDSA or RSA from 2048 bits (never SHA-1) is accepted: remove other authorities from the files of keys"),
    mapped("ChannelTimeout", ALL),
    void("ChrootDirectory", ALL, "no process runs for a user"),
    mapped("Ciphers", GLOBAL),
    mapped("ClientAliveCountMax", ALL),
    mapped("ClientAliveInterval", ALL),
    void("Compression", GLOBAL, "nothing is compressed"),
    void("DebianBanner", GLOBAL, "the version that clients see is portreeve's"),
    mapped("DenyGroups", ALL),
    mapped("DenyUsers", ALL),
    mapped("DisableForwarding", ALL),
    void("ExposeAuthInfo", ALL, NO_SHELL),
    void("FingerprintHash", GLOBAL, "fingerprints are always SHA256"),
    mapped("ForceCommand", ALL),
    mapped("GatewayPorts", ALL),
    void("GSSAPIAuthentication", ALL, NO_GSSAPI),
    void("GSSAPICleanupCredentials", GLOBAL, NO_GSSAPI),
    void("GSSAPIDelegateCredentials", GLOBAL, NO_GSSAPI),
    void("GSSAPIEnablek5users", ALL, NO_GSSAPI),
    void("GSSAPIKexAlgorithms", GLOBAL, NO_GSSAPI),
    void("GSSAPIKeyExchange", GLOBAL, NO_GSSAPI),
    void("GSSAPIStoreCredentialsOnRekey", GLOBAL, NO_GSSAPI),
    void("GSSAPIStrictAcceptorCheck", GLOBAL, NO_GSSAPI),
    void("HostbasedAcceptedAlgorithms", ALL, NO_HOSTBASED),
    void("HostbasedAuthentication", ALL, NO_HOSTBASED),
    void("HostbasedUsesNameFromPacketOnly", ALL, NO_HOSTBASED),
    unsaid("HostCertificate", GLOBAL, "clients see plain host keys: publish them in known_hosts, or with SSHFP records"),
    mapped("HostKey", GLOBAL),
    unsaid("HostKeyAgent", GLOBAL, "host keys are read from files: name them in `server.host-keys`"),
    unsaid("HostKeyAlgorithms", GLOBAL, "the algorithms follow from the kinds of the keys in `server.host-keys`"),
    void("IgnoreRhosts", ALL, NO_HOSTBASED),
    void("IgnoreUserKnownHosts", GLOBAL, NO_HOSTBASED),
    unsaid("IPQoS", ALL, "set the class of connections to targets with `outbound.dscp`"),
    unsaid("KbdInteractiveAuthentication", ALL, "users can log in with a key, a certificate or a password: see `user.password-hash`"),
    void("KerberosAuthentication", ALL, NO_GSSAPI),
    void("KerberosGetAFSToken", GLOBAL, NO_GSSAPI),
    void("KerberosOrLocalPasswd", GLOBAL, NO_GSSAPI),
    void("KerberosTicketCleanup", GLOBAL, NO_GSSAPI),
    void("KerberosUniqueCCache", GLOBAL, NO_GSSAPI),
    void("KerberosUseKuserok", ALL, NO_GSSAPI),
    mapped("KexAlgorithms", GLOBAL),
    mapped("ListenAddress", GLOBAL),
    mapped("LoginGraceTime", GLOBAL),
    unsaid("LogLevel", ALL, "start the gateway with `serve --log-level`; who forwarded what is in the audit log at any level"),
    unsaid("LogVerbose", ALL, "start the gateway with `serve --log-level`"),
    mapped("MACs", GLOBAL),
    mapped("MaxAuthTries", ALL),
    void("MaxSessions", ALL, "it limits shells, not forwards: see `limits.tunnels-per-session`"),
    mapped("MaxStartups", GLOBAL),
    void("ModuliFile", GLOBAL, "group exchange is not offered"),
    void("PAMServiceName", ALL, "PAM is not used"),
    mapped("PasswordAuthentication", ALL),
    void("PermitEmptyPasswords", ALL, "an empty password never logs in"),
    mapped("PermitListen", ALL),
    mapped("PermitOpen", ALL),
    mapped("PermitRootLogin", ALL),
    void("PermitTTY", ALL, NO_SHELL),
    void("PermitTunnel", ALL, "tun devices are never forwarded"),
    void("PermitUserEnvironment", GLOBAL, NO_SHELL),
    void("PermitUserRC", ALL, NO_SHELL),
    mapped("PerSourceMaxStartups", GLOBAL),
    unsaid("PerSourceNetBlockSize", GLOBAL, "`limits.unauthenticated-per-source` counts by /24, and by /64 for IPv6"),
    unsaid("PerSourcePenalties", GLOBAL, "`limits.unauthenticated-per-source` bounds what one network may have before login"),
    unsaid("PerSourcePenaltyExemptList", GLOBAL, "no network is exempt from `limits.unauthenticated-per-source`"),
    void("PidFile", GLOBAL, "no file is written: a service manager is told by sd_notify"),
    mapped("Port", GLOBAL),
    void("PrintLastLog", GLOBAL, NO_SHELL),
    void("PrintMotd", GLOBAL, NO_SHELL),
    unsaid("PubkeyAcceptedAlgorithms", ALL, "keys of Ed25519, ECDSA, FIDO and RSA from 2048 bits (never SHA-1) are accepted: remove other keys from the files of keys"),
    mapped("PubkeyAuthentication", ALL),
    unsaid("PubkeyAuthOptions", ALL, "FIDO keys are accepted only with `no-touch-required`, and never with `verify-required`: see docs/configuration.md"),
    unsaid("RDomain", ALL, "targets are reached by the system's routes: see `outbound.mark`"),
    mapped("RefuseConnection", ALL),
    mapped("RekeyLimit", ALL),
    unsaid("RequiredRSASize", ALL, "RSA keys need at least 2048 bits: remove smaller ones than you want from the files of keys"),
    mapped("RevokedKeys", ALL),
    void("RSAMinSize", ALL, "RSA keys need at least 2048 bits"),
    void("SecurityKeyProvider", GLOBAL, ONE_PROGRAM),
    void("SetEnv", ALL, "there is no shell to set variables for"),
    void("SshdAuthPath", GLOBAL, ONE_PROGRAM),
    void("SshdSessionPath", GLOBAL, ONE_PROGRAM),
    unsaid("StreamLocalBindMask", ALL, "the socket of a listener always has mode 0600"),
    mapped("StreamLocalBindUnlink", ALL),
    mapped("StrictModes", GLOBAL),
    void("Subsystem", ALL, "there are no subsystems, and so no sftp"),
    unsaid("SyslogFacility", GLOBAL, "the log goes to standard error, and the audit log to `audit.file`"),
    unsaid("TCPKeepAlive", GLOBAL, "`limits.keepalive` finds clients that are gone"),
    mapped("TrustedUserCAKeys", ALL),
    mapped("UnusedConnectionTimeout", ALL),
    mapped("UseDNS", GLOBAL),
    void("UsePAM", GLOBAL, "PAM is not used"),
    void("VersionAddendum", GLOBAL, "the version that clients see is portreeve's"),
    void("X11DisplayOffset", ALL, NO_X11),
    void("X11Forwarding", ALL, NO_X11),
    void("X11MaxDisplays", ALL, NO_X11),
    void("X11UseLocalhost", ALL, NO_X11),
    void("XAuthLocation", GLOBAL, NO_X11),
    mapped("Match", ALL),
    mapped("Include", ALL),
    old("AFSTokenPassing", GLOBAL),
    old("AuthorizedKeysFile2", ALL),
    old("CheckMail", GLOBAL),
    old("KerberosTgtPassing", GLOBAL),
    old("KeyRegenerationInterval", GLOBAL),
    old("Protocol", GLOBAL),
    old("ReverseMappingCheck", GLOBAL),
    old("RhostsAuthentication", GLOBAL),
    old("RhostsRSAAuthentication", ALL),
    old("RSAAuthentication", ALL),
    old("ServerKeyBits", GLOBAL),
    old("ShowPatchLevel", GLOBAL),
    old("UseLogin", GLOBAL),
    old("UsePrivilegeSeparation", GLOBAL),
    old("VerifyReverseMapping", GLOBAL),
];

/// Names that OpenSSH still takes for others (`SSHCONF_ALIAS`).
const ALIASES: &[(&str, &str)] = &[
    ("ChallengeResponseAuthentication", "KbdInteractiveAuthentication"),
    ("DSAAuthentication", "PubkeyAuthentication"),
    ("HostbasedAcceptedKeyTypes", "HostbasedAcceptedAlgorithms"),
    ("HostDSAKey", "HostKey"),
    ("KeepAlive", "TCPKeepAlive"),
    ("PubkeyAcceptedKeyTypes", "PubkeyAcceptedAlgorithms"),
    ("SKeyAuthentication", "KbdInteractiveAuthentication"),
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_keyword_is_found_in_any_case_and_by_its_old_name() {
        for (typed, name) in [
            ("permitopen", "PermitOpen"),
            ("ALLOWTCPFORWARDING", "AllowTcpForwarding"),
            ("Macs", "MACs"),
            ("ChallengeResponseAuthentication", "KbdInteractiveAuthentication"),
            ("protocol", "Protocol"),
        ] {
            assert_eq!(find(typed).map(|found| found.name), Ok(name), "{typed}");
        }
    }

    #[test]
    fn an_unknown_keyword_is_told_from_a_mistyped_one() {
        for (typed, words) in [
            ("PermitOpne", "did you mean `PermitOpen`?"),
            ("AllowTCPForwading", "did you mean `AllowTcpForwarding`?"),
            ("Colour", "none of sshd_config(5)"),
        ] {
            let error = find(typed).expect_err(typed);
            assert!(error.contains(words), "{typed}: {error}");
        }
    }
}
