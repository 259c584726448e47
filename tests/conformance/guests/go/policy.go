// Package policy is the conformance guest in Go. What it answers: tests/conformance/README.md.
package policy

import (
	"fmt"
	"math"
	"strconv"
	"strings"

	"policy/bindings/calendar"
	"policy/bindings/log"
	"policy/bindings/names"
	"policy/bindings/state"
	. "policy/bindings/types"
	"policy/bindings/view"
	witTypes "policy/bindings/wit/types"
)

var greeting = "-"

// Describe says what this policy is.
func Describe() Description {
	return Description{
		Name:           "conformance",
		Version:        "0.1.0",
		Summary:        "answers what the suite expects: ключ 日本語 🚪",
		SettingsSchema: Some(`{"type":"object"}`),
	}
}

// Configure looks for two keys.
func Configure(settings string) []Problem {
	if strings.Contains(settings, `"refuse"`) {
		return []Problem{{At: "/refuse", Message: "refused"}, {At: "/ключ", Message: "日本語 🚪"}}
	}
	if _, rest, found := strings.Cut(settings, `"greeting":"`); found {
		greeting, _, _ = strings.Cut(rest, `"`)
	}
	return nil
}

// Decide answers by the first label of the host.
func Decide(request Request) Verdict {
	word, number := label(request.Target)
	switch word {
	case "allow":
		return Allow()
	case "nothing":
		return AllowWith(Terms{})
	case "terms":
		return AllowWith(fullTerms())
	case "largest":
		return AllowWith(Terms{
			MaxSeconds: Some(uint32(math.MaxUint32)),
			MaxBytes:   Some(uint64(math.MaxUint64)),
			Hints:      []pair{hint("least", MakeValueNumber(math.MinInt64)), hint("most", MakeValueNumber(math.MaxInt64))},
		})
	case "rules":
		return AllowWith(Terms{AddressRules: rules(number)})
	case "tags":
		return AllowWith(Terms{Tags: tags(number)})
	case "badcidr":
		return AllowWith(Terms{AddressRules: []AddressRule{{Cidr: "10.0.0.0/33", Effect: EffectPermit}}})
	case "obligation":
		return AllowWith(Terms{Obligations: []pair{hint("launch", MakeValueNumber(1))}})
	case "deny":
		return Deny("conformance", "denied", "")
	case "tell":
		return Deny("conformance", "told", "ключ 日本語 🚪")
	case "empty":
		return MakeVerdictDeny(Denial{Code: "conformance", Reason: "", TellUser: Some("")})
	case "badcode":
		return Deny("not a word", "", "")
	case "words":
		return Deny("words", strings.Repeat("x", number), "")
	case "rewrite":
		return RewriteTo("elsewhere.internal", 8443, "moved")
	case "rewriteterms":
		to := MakeEndpointTcp(HostPort{Host: "elsewhere.internal", Port: 8443})
		return MakeVerdictRewrite(Redirect{To: to, Reason: "moved", Terms: Some(fullTerms())})
	case "rewritesocket":
		return MakeVerdictRewrite(Redirect{To: MakeEndpointSocket("/run/elsewhere.sock"), Reason: "moved"})
	case "panic":
		panic("asked to")
	case "spin":
		for {
		}
	case "settings":
		return Deny("settings", greeting, "")
	case "log":
		log.Write(log.LevelDebug, "debug line")
		log.Write(log.LevelInfo, "info line")
		log.Write(log.LevelWarn, "warn line")
		log.Write(log.LevelError, "error line: ключ 日本語 🚪")
		return Allow()
	case "lines":
		for i := 1; i <= number; i++ {
			log.Write(log.LevelInfo, fmt.Sprint("line ", i))
		}
		return Allow()
	case "names":
		return Deny("names", askNames(request.Target, number), "")
	case "state":
		return Deny("state", askState(number), "")
	case "large":
		return Deny("large", "put="+put(state.Put("big", make([]byte, 65537), 60)), "")
	case "calendar":
		return Deny("calendar", askCalendar(request.Now, number), "")
	case "methods":
		return Deny("methods", renderList(request.Principal.Credential.Methods, quote), "")
	case "view":
		return Deny("view", askView(request.Principal.User), "")
	case "digest":
		return Deny("digest", digest(renderRequest(request)), "")
	}
	return Deny("echo", renderRequest(request), "")
}

// OnEnded writes the event to the log.
func OnEnded(event Ended) {
	log.Write(log.LevelInfo, fmt.Sprintf("ended id=%s cause=%s milliseconds=%d bytes-up=%d bytes-down=%d dialled=%s",
		quote(event.Id), quote(event.Cause), event.Milliseconds, event.BytesUp, event.BytesDown, optional(event.Dialled, renderPeer)))
}

func label(target Endpoint) (string, int) {
	var name string
	if target.Tag() == EndpointTcp {
		name = target.Tcp().Host
	} else {
		path := target.Socket()
		name = path[strings.LastIndex(path, "/")+1:]
	}
	word, _, _ := strings.Cut(name, ".")
	if hyphen := strings.LastIndex(word, "-"); hyphen >= 0 {
		if number, err := strconv.Atoi(word[hyphen+1:]); err == nil {
			return word[:hyphen], number
		}
	}
	return word, 0
}

type pair = witTypes.Tuple2[string, Value]

func hint(name string, value Value) pair {
	return pair{F0: name, F1: value}
}

func fullTerms() Terms {
	return Terms{
		MaxSeconds:     Some(uint32(60)),
		IdleSeconds:    Some(uint32(30)),
		MaxBytes:       Some(uint64(9007199254740991)),
		BytesPerSecond: Some(uint64(65536)),
		AddressRules:   []AddressRule{{Cidr: "10.0.0.0/8", Effect: EffectPermit}, {Cidr: "::/0", Effect: EffectRefuse}},
		RecheckSeconds: Some(uint32(15)),
		ReuseSeconds:   Some(uint32(5)),
		Tags:           []witTypes.Tuple2[string, string]{Tag("rule", "terms"), Tag("ключ", "日本語 🚪")},
		Obligations:    []pair{hint("replace-socket", MakeValueFlag(true))},
		Hints: []pair{
			hint("text", MakeValueText("words")),
			hint("texts", MakeValueTexts([]string{"one", "two"})),
			hint("number", MakeValueNumber(-7)),
			hint("flag", MakeValueFlag(false)),
		},
	}
}

func rules(count int) []AddressRule {
	made := make([]AddressRule, count)
	for i := range made {
		effect := EffectPermit
		if i%2 == 1 {
			effect = EffectRefuse
		}
		made[i] = AddressRule{Cidr: fmt.Sprintf("10.%d.%d.0/24", i/256, i%256), Effect: effect}
	}
	return made
}

func tags(count int) []witTypes.Tuple2[string, string] {
	made := make([]witTypes.Tuple2[string, string], count)
	for i := range made {
		made[i] = Tag(fmt.Sprint("tag-", i), fmt.Sprint(i))
	}
	return made
}

func askNames(target Endpoint, number int) string {
	if number == 0 {
		_, host, _ := strings.Cut(target.Tcp().Host, ".")
		return resolved(host)
	}
	var answer string
	for i := 1; i <= number; i++ {
		answer = resolved(fmt.Sprintf("n%d.internal", i))
	}
	return answer
}

func resolved(host string) string {
	answer := names.Resolve(host)
	if answer.IsOk() {
		return renderList(answer.Ok(), quote)
	}
	switch failure := answer.Err(); failure.Tag() {
	case names.LookupErrorNotGranted:
		return "err(not-granted)"
	case names.LookupErrorNoSuchName:
		return "err(no-such-name)"
	case names.LookupErrorTimedOut:
		return "err(timed-out)"
	case names.LookupErrorOverBudget:
		return "err(over-budget)"
	default:
		return "err(failed " + quote(failure.Failed()) + ")"
	}
}

func askState(number int) string {
	if number == 0 {
		text := got("text")
		stored := put(state.Put("key", []byte{0, 1, 255}, 60))
		key := got("key")
		up, down := added("counter", 2), added("counter", -5)
		return fmt.Sprintf("text=%s put=%s key=%s add=%s add=%s", text, stored, key, up, down)
	}
	var answer string
	for range number {
		answer = added("n", 1)
	}
	return answer
}

func got(key string) string {
	answer := state.Get(key)
	if answer.IsErr() {
		return failed(answer.Err())
	}
	if answer.Ok().IsNone() {
		return "-"
	}
	return fmt.Sprintf("%x", answer.Ok().Some())
}

func put(answer witTypes.Result[witTypes.Unit, state.StateError]) string {
	if answer.IsErr() {
		return failed(answer.Err())
	}
	return "ok"
}

func added(key string, delta int64) string {
	answer := state.Add(key, delta, 60)
	if answer.IsErr() {
		return failed(answer.Err())
	}
	return fmt.Sprint(answer.Ok())
}

func failed(failure state.StateError) string {
	words := [...]string{"not-granted", "over-budget", "too-large", "unavailable"}
	return "err(" + words[failure.Tag()] + ")"
}

func askView(user string) string {
	var out strings.Builder
	fmt.Fprintf(&out, "open=%d", view.OpenForwards(user))
	for _, name := range []string{"text", "texts", "number", "flag", "absent"} {
		fmt.Fprintf(&out, " %s=%s", name, optional(view.Fact(name), renderValue))
	}
	return out.String()
}

func askCalendar(now uint64, number int) string {
	zone := "Asia/Kathmandu"
	if number > 0 {
		zone = "Mars/Olympus"
	}
	answer := calendar.Local(now, zone)
	if answer.IsErr() {
		return []string{"err(unknown-zone)", "err(out-of-range)", "err(over-budget)"}[answer.Err()]
	}
	at := answer.Ok()
	return fmt.Sprintf("%d-%d-%d %d:%d:%d %d %d", at.Year, at.Month, at.Day, at.Hour, at.Minute, at.Second, at.Weekday, at.UtcOffset)
}
