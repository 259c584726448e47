// Package decision is the export `decide` of a component: it calls `Decide` of the policy.
package decision

import (
	"fmt"

	"policy"
	"policy/bindings/log"
	"policy/bindings/types"
)

// Decide answers for the policy. A panic there is a line in the log and a deny, never an instance that ends without a word.
func Decide(request types.Request) (verdict types.Verdict) {
	defer func() {
		if fault := recover(); fault != nil {
			log.Write(log.LevelError, fmt.Sprint("the policy panicked: ", fault))
			verdict = types.Deny("policy-error", fmt.Sprint("the policy panicked: ", fault), "")
		}
	}()
	return policy.Decide(request)
}
