// Package decision is the export `decide` of a component: it calls `Decide` of the policy.
package decision

import (
	"fmt"

	"policy"
	"policy/bindings/log"
	"policy/bindings/types"
)

// Decide answers for the policy. A panic there is a line in the log and a deny, never an instance that ends without a word. So
// is a verdict that was never set: `var verdict types.Verdict`, or what a function returns that recovered from a panic.
func Decide(request types.Request) (verdict types.Verdict) {
	defer func() {
		if fault := recover(); fault != nil {
			log.Write(log.LevelError, fmt.Sprint("the policy panicked: ", fault))
			verdict = types.Deny("policy-error", fmt.Sprint("the policy panicked: ", fault), "")
		}
		if !verdict.IsSet() {
			log.Write(log.LevelError, unset)
			verdict = types.Deny("no-verdict", unset, "")
		}
	}()
	return policy.Decide(request)
}

// SayPanic writes a panic into the log and lets it go on: one that comes of handing over a verdict with a part that was never
// set, such as an endpoint without a host. It ends the instance, which refuses the request.
func SayPanic() {
	if fault := recover(); fault != nil {
		log.Write(log.LevelError, fmt.Sprint("the verdict cannot be handed over, a part of it was never set: ", fault))
		panic(fault)
	}
}

const unset = "Decide returned a verdict that was never set: return types.Allow(), types.Deny(...) or another of their kind"
