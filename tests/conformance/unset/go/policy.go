// Package policy gives no verdict, in many ways: by the port that is asked for.
package policy

import (
	"os"
	"runtime"

	. "policy/bindings/types"
)

// Describe says what this policy is.
func Describe() Description {
	return Description{Name: "unset", Version: "0.1.0", Summary: "gives no verdict, in many ways"}
}

// Configure has no settings.
func Configure(string) []Problem { return nil }

// Decide answers by the port.
func Decide(request Request) (verdict Verdict) {
	if request.Target.Tag() != EndpointTcp {
		return
	}
	var nowhere *Request
	var nothing map[string]int
	numbers := make([]int, 4)
	port := int(request.Target.Tcp().Port)
	switch port {
	case 1:
		return Allow()
	case 10:
		return
	case 11:
		return Verdict{}
	case 12:
		panic("x")
	case 13:
		defer func() { _ = recover() }()
		panic("x")
	case 14:
		os.Exit(0)
	case 15:
		runtime.Goexit()
	case 16:
		return MakeVerdictRewrite(Redirect{Reason: "nowhere"})
	case 17:
		return AllowWith(Terms{AddressRules: []AddressRule{{Cidr: "10.0.0.0/8"}}})
	case 18:
		return MakeVerdictDeny(Denial{})
	case 20:
		if nowhere.Id == "" {
			return Allow()
		}
	case 21:
		if port/len(nothing) == 0 {
			return Allow()
		}
	case 22:
		if numbers[port] == 0 {
			return Allow()
		}
	case 23:
		if deeper(port) > 0 {
			return Allow()
		}
	case 24:
		nothing["a"] = 1
		return Allow()
	}
	return
}

func deeper(n int) int { return deeper(n+1) + 1 }
