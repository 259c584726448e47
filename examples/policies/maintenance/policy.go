// Package policy closes the gateway during maintenance, and bounds what one user has open.
package policy

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"

	. "policy/bindings/types"
	"policy/bindings/view"
)

var settings struct {
	// Groups that may go on during maintenance.
	OpenFor []string `json:"open-for"`
	// How many tunnels and listeners a user may have open; 0: any number.
	MostForwards uint32 `json:"most-forwards"`
}

// Describe says what this policy is.
func Describe() Description {
	return Description{
		Name:           "maintenance",
		Version:        "0.1.0",
		Summary:        "closed while the fact `maintenance` is true",
		SettingsSchema: Some(schema),
	}
}

const schema = `{
  "type": "object",
  "properties": {
    "open-for": { "type": "array", "items": { "type": "string" } },
    "most-forwards": { "type": "integer", "minimum": 0 }
  },
  "additionalProperties": false
}`

// Configure reads the settings.
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
	user := request.Principal
	if underMaintenance() && !slices.ContainsFunc(user.Groups, isOpenFor) {
		return Deny("maintenance", "maintenance is going on", "closed for maintenance: try again later")
	}
	if open := view.OpenForwards(user.User); settings.MostForwards > 0 && open >= settings.MostForwards {
		words := fmt.Sprintf("you have %d forwards open, and may have no more", open)
		return Deny("too-many", fmt.Sprintf("%d forwards are open", open), words)
	}
	return Allow()
}

// A fact that is there and is not plainly false closes.
func underMaintenance() bool {
	fact := view.Fact("maintenance")
	return fact.IsSome() && (fact.Some().Tag() != ValueFlag || fact.Some().Flag())
}

func isOpenFor(group string) bool {
	return slices.Contains(settings.OpenFor, group)
}
