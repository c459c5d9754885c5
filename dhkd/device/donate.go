package device

import (
	"bytes"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync/atomic"
)

// donors matches a parameter of a program that is a variable of the scopes given to [DonateVariables].
var donors atomic.Pointer[regexp.Regexp]

// DonateVariables says in which top-level scopes of a model's store the variables are that programs replace. GoMLX gives
// their memory to the program that does, but go-xla does not tell XLA that results may take it: so each step would have
// all variables twice. With this programs for the CPU under Linux that are compiled from then on put new values in place
// of old ones. A program that only reads such a variable leaves it as it is. A later call's scopes take the place of an
// earlier one's.
//
// A variable of less than 64 KiB is not worth it: XLA then copies it before a step and after, to keep the old value from
// the new one, and compiles a program for each copy. Of MobileNetV2's step that was a fifth of the time to compile it.
func DonateVariables(scopes ...string) {
	quoted := make([]string, len(scopes))
	for i, scope := range scopes {
		quoted[i] = regexp.QuoteMeta(scope)
	}
	// go-xla writes a variable's path "/scope/name" as an identifier. In a program for several devices attributes follow.
	donors.Store(regexp.MustCompile(`%_(?:` + strings.Join(quoted, "|") + `)_\w+: tensor<((?:\d+x)*)[^>]*>(?: \{)?`))
}

// leastDonated is how many values a variable that is donated has.
const leastDonated = 64 << 10 / 4

// values is the product of dimensions that are written as "64x3x3x".
func values(dimensions []byte) int {
	n := 1
	for _, d := range bytes.Split(bytes.TrimSuffix(dimensions, []byte("x")), []byte("x")) {
		if size, err := strconv.Atoi(string(d)); err == nil {
			n *= size
		}
	}
	return n
}

// markDonors returns the StableHLO text with the variables marked whose memory results may take, or nil if there are
// none.
func markDonors(code []byte) []byte {
	pattern, signature := donors.Load(), []byte("func.func @main(")
	start := bytes.Index(code, signature)
	if pattern == nil || start < 0 {
		return nil
	}
	end := start + bytes.IndexByte(code[start:], '\n')
	if end < start || !pattern.Match(code[start:end]) {
		return nil
	}
	line := pattern.ReplaceAllFunc(code[start:end], func(parameter []byte) []byte {
		if values(pattern.FindSubmatch(parameter)[1]) < leastDonated {
			return parameter
		}
		if bytes.HasSuffix(parameter, []byte(" {")) {
			return append(slices.Clip(parameter), " jax.buffer_donor = true,"...)
		}
		return append(slices.Clip(parameter), " {jax.buffer_donor = true}"...)
	})
	return bytes.Join([][]byte{code[:start], line, code[end:]}, nil)
}
