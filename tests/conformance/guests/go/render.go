package policy

import (
	"fmt"
	"hash/fnv"
	"strings"

	. "policy/bindings/types"
	witTypes "policy/bindings/wit/types"
)

func renderRequest(request Request) string {
	principal, connection := request.Principal, request.Connection
	action := [...]string{"connect", "listen", "accept"}[request.Action]
	return strings.Join([]string{
		fmt.Sprintf("id=%s now=%d action=%s", quote(request.Id), request.Now, action),
		fmt.Sprintf("target=%s requested=%s", renderEndpoint(request.Target), renderEndpoint(request.Requested)),
		fmt.Sprintf("address=%s originator=%s", optional(request.Address, quote), optional(request.Originator, renderPeer)),
		fmt.Sprintf("user=%s groups=%s", quote(principal.User), renderList(principal.Groups, quote)),
		fmt.Sprintf("method=%s fingerprint=%s", quote(principal.Credential.Method), optional(principal.Credential.Fingerprint, quote)),
		fmt.Sprintf("certificate=%s claims=%s", optional(principal.Credential.Certificate, renderCertificate), renderPairs(principal.Claims, renderValue)),
		fmt.Sprintf("session=%s client=%s", quote(connection.Id), renderPeer(connection.Client)),
		fmt.Sprintf("server=%s software=%s", renderPeer(connection.Server), quote(connection.Software)),
		fmt.Sprintf("since=%d dry-run=%t extra=%s", connection.Since, request.DryRun, renderPairs(request.Extra, renderValue)),
	}, " ")
}

func renderCertificate(certificate Certificate) string {
	return fmt.Sprintf("(key-id=%s serial=%d issuer=%s principals=%s valid-after=%d valid-before=%d critical-options=%s extensions=%s)",
		quote(certificate.KeyId), certificate.Serial, quote(certificate.Issuer), renderList(certificate.Principals, quote),
		certificate.ValidAfter, certificate.ValidBefore,
		renderPairs(certificate.CriticalOptions, quote), renderPairs(certificate.Extensions, quote))
}

func renderEndpoint(endpoint Endpoint) string {
	if endpoint.Tag() == EndpointSocket {
		return "socket(" + quote(endpoint.Socket()) + ")"
	}
	return fmt.Sprintf("tcp(%s,%d)", quote(endpoint.Tcp().Host), endpoint.Tcp().Port)
}

func renderPeer(peer SocketAddress) string {
	return fmt.Sprintf("(%s,%d)", quote(peer.Ip), peer.Port)
}

func renderValue(value Value) string {
	switch value.Tag() {
	case ValueText:
		return "text(" + quote(value.Text()) + ")"
	case ValueTexts:
		return "texts(" + renderList(value.Texts(), quote) + ")"
	case ValueNumber:
		return fmt.Sprintf("number(%d)", value.Number())
	default:
		return fmt.Sprintf("flag(%t)", value.Flag())
	}
}

func renderList[T any](items []T, render func(T) string) string {
	out := make([]string, len(items))
	for i, item := range items {
		out[i] = render(item)
	}
	return "[" + strings.Join(out, ",") + "]"
}

func renderPairs[T any](pairs []witTypes.Tuple2[string, T], render func(T) string) string {
	return renderList(pairs, func(pair witTypes.Tuple2[string, T]) string {
		return quote(pair.F0) + "=" + render(pair.F1)
	})
}

func optional[T any](given Option[T], render func(T) string) string {
	if given.IsNone() {
		return "-"
	}
	return render(given.Some())
}

func quote(text string) string {
	return `"` + text + `"`
}

func digest(text string) string {
	hash := fnv.New32a()
	hash.Write([]byte(text))
	return fmt.Sprintf("%d bytes, fnv1a %08x", len(text), hash.Sum32())
}
