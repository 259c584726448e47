package types

import witTypes "policy/bindings/wit/types"

// Option is a value that may be absent; its zero value is absent.
type Option[T any] = witTypes.Option[T]

// Some is a value that is there.
func Some[T any](value T) Option[T] {
	return witTypes.Some(value)
}

// None is the absence of a value.
func None[T any]() Option[T] {
	return witTypes.None[T]()
}

// IsSet tells whether a verdict was ever set. The zero value was not: it is not an answer, and the request is refused.
func (self Verdict) IsSet() bool {
	return self.value != nil
}

// Allow allows on no terms.
func Allow() Verdict {
	return MakeVerdictAllow()
}

// AllowWith allows on terms; the zero value of each means: the gateway's default.
func AllowWith(terms Terms) Verdict {
	return MakeVerdictAllowWith(terms)
}

// Deny refuses. The code is a stable name for the rule, the reason is for the audit log, and the user sees `tellUser`, or a
// general sentence where it is empty.
func Deny(code, reason, tellUser string) Verdict {
	denial := Denial{Code: code, Reason: reason}
	if tellUser != "" {
		denial.TellUser = Some(tellUser)
	}
	return MakeVerdictDeny(denial)
}

// RewriteTo connects or listens elsewhere (`rewrite = true` in policy.toml and in the gateway's configuration).
func RewriteTo(host string, port uint16, reason string) Verdict {
	to := MakeEndpointTcp(HostPort{Host: host, Port: port})
	return MakeVerdictRewrite(Redirect{To: to, Reason: reason})
}

// Tag is a tag of terms; it is copied to the audit record.
func Tag(name, value string) witTypes.Tuple2[string, string] {
	return witTypes.Tuple2[string, string]{F0: name, F1: value}
}

// Claim is a fact about the user that the administrator configured.
func Claim(request Request, name string) (Value, bool) {
	for _, claim := range request.Principal.Claims {
		if claim.F0 == name {
			return claim.F1, true
		}
	}
	return Value{}, false
}
