package plots

import (
	"strconv"
	"strings"
	"unicode"
	"unicode/utf8"

	"gonum.org/v1/plot/text"
	"gonum.org/v1/plot/vg"
)

// Printable makes text from a file safe to show on one line: control characters and line breaks become spaces, invalid
// UTF-8 becomes U+FFFD, and what is longer than limit characters is cut with an ellipsis.
func Printable(s string, limit int) string {
	s = strings.Map(func(r rune) rune {
		if unicode.IsControl(r) || !unicode.IsPrint(r) {
			return ' '
		}
		return r
	}, strings.ToValidUTF8(s, "\uFFFD"))
	s = strings.TrimSpace(s)
	if utf8.RuneCountInString(s) > limit {
		s = strings.TrimSpace(string([]rune(s)[:limit-1])) + "…"
	}
	return s
}

// Thousands writes 10000 as "10,000".
func Thousands(n int) string {
	s := strconv.Itoa(n)
	for i := len(s) - 3; i > 0 && s[i-1] != '-'; i -= 3 {
		s = s[:i] + "," + s[i:]
	}
	return s
}

// wrap breaks s at its plain spaces into lines no wider than width, where words allow it.
func wrap(s string, style text.Style, width vg.Length) []string {
	var lines []string
	line := ""
	for _, word := range strings.Split(s, " ") {
		if line != "" && style.Width(line+" "+word) > width {
			lines = append(lines, strings.TrimSuffix(line, " ·"))
			if line = ""; word == "·" {
				continue
			}
		}
		if line != "" {
			line += " "
		}
		line += word
	}
	if line != "" {
		lines = append(lines, line)
	}
	return lines
}

// shorten cuts s with an ellipsis until it is no wider than width.
func shorten(s string, style text.Style, width vg.Length) string {
	runes := []rune(s)
	for n := len(runes); n > 0; n-- {
		short := string(runes[:n])
		if n < len(runes) {
			short = strings.TrimSpace(short) + "…"
		}
		if style.Width(short) <= width {
			return short
		}
	}
	return ""
}
