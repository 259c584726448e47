// Package policy decides which ports may be forwarded. bindings/types has all types and short forms.
package policy

import (
	"encoding/json"
	"slices"
	"strings"

	. "policy/bindings/types"
)

var settings = struct {
	Ports []uint16 `json:"ports"`
}{
	Ports: []uint16{22},
}

// Describe says what this policy is.
func Describe() Description {
	return Description{Name: "{{name}}", Version: "0.1.0", Summary: "connections to some ports"}
}

// Configure reads the settings, a JSON document. It is called once, before anything is decided.
func Configure(document string) []Problem {
	reader := json.NewDecoder(strings.NewReader(document))
	reader.DisallowUnknownFields()
	if err := reader.Decode(&settings); err != nil {
		return []Problem{{At: "", Message: err.Error()}}
	}
	return nil
}

// Decide answers one request.
func Decide(request Request) Verdict {
	if request.Action != ActionConnect {
		return Deny("only-connections", "not a connection", "only connections can be forwarded here")
	}
	if request.Target.Tag() == EndpointTcp && slices.Contains(settings.Ports, request.Target.Tcp().Port) {
		return Allow()
	}
	return Deny("other-port", "not a port of the settings", "this port cannot be reached from here")
}
