// Package lifecycle is the exports `describe` and `configure` of a component.
package lifecycle

import (
	"fmt"

	"policy"
	"policy/bindings/types"
	witTypes "policy/bindings/wit/types"
)

// Describe answers for the policy.
func Describe() types.Description {
	return policy.Describe()
}

// Configure answers for the policy; a panic there is a problem of the settings.
func Configure(settings string) (accepted witTypes.Result[witTypes.Unit, []types.Problem]) {
	defer func() {
		if fault := recover(); fault != nil {
			accepted = refused([]types.Problem{{At: "", Message: fmt.Sprint("the policy panicked: ", fault)}})
		}
	}()
	if problems := policy.Configure(settings); len(problems) > 0 {
		return refused(problems)
	}
	return witTypes.Ok[witTypes.Unit, []types.Problem](witTypes.Unit{})
}

func refused(problems []types.Problem) witTypes.Result[witTypes.Unit, []types.Problem] {
	return witTypes.Err[witTypes.Unit](problems)
}
