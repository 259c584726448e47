//go:build observing

// Package observer is the export `on-ended` of a component, where policy.toml has `world = "observing-policy"`.
package observer

import (
	"fmt"

	"policy"
	"policy/bindings/log"
	"policy/bindings/types"
)

// OnEnded tells the policy; a panic there is a line in the log.
func OnEnded(event types.Ended) {
	defer func() {
		if fault := recover(); fault != nil {
			log.Write(log.LevelError, fmt.Sprint("the policy panicked: ", fault))
		}
	}()
	policy.OnEnded(event)
}
