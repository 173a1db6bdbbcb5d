#!/usr/bin/env bash
# Package: Go module `sigs.k8s.io/yaml` v1.6.0, package kyaml (kubectl 1.37's `-o kyaml`).
# Question: a ConfigMap holds a text with Windows line ends and a blank line, "a\r\n\r\nb\r\n". It is printed as
#   KYAML and read again, by the same module. Is it the same text?
# One would guess: yes. Strings are always quoted, unprintable characters always escaped, and KYAML was made so that
#   nothing is ambiguous. Without the blank line it is the same.
# Seen: the blank line's carriage return comes back as the two characters \ and r, so what was read with `-o kyaml`
#   and applied is another text. The same for any line that begins with a space that is not printable: the no-break
#   space of a text from a web page comes back as \_, the form feed as \f, the ideographic space as \u3000. A line
#   that begins with a blank or a tab is right, and so is the compact form, which has one line.
# Why: after a line break the encoder puts a backslash before a space, so that it is kept when the lines are folded.
#   Whether it is a space it asks with unicode.IsSpace, and then writes the character as it writes all others: if
#   that is an escape, which begins with a backslash of its own, the two are an escaped backslash.
set -euo pipefail
tmp=$(mktemp -d)
trap 'rm -rf "$tmp"' EXIT
cd "$tmp"
export GOFLAGS=-mod=mod

cat > go.mod <<'E'
module ask

go 1.26.0

require sigs.k8s.io/yaml v1.6.0
E
cat > main.go <<'E'
package main

import (
	"bytes"
	"fmt"

	"sigs.k8s.io/yaml"
	"sigs.k8s.io/yaml/kyaml"
)

func check(err error) {
	if err != nil {
		panic(err)
	}
}

func printedAndRead(text string, compact bool) string {
	var printed bytes.Buffer
	encoder := kyaml.Encoder{Compact: compact}
	check(encoder.FromObject(map[string]string{"text": text}, &printed))
	var read map[string]string
	check(yaml.Unmarshal(printed.Bytes(), &read))
	if read["text"] == text {
		return "the same"
	}
	return fmt.Sprintf("%q", read["text"])
}

func main() {
	for _, text := range []string{
		"a\r\nb\r\n", "a\r\n\r\nb\r\n", "a\n\u00a0b", "a\n\u3000b", "a\n\fb", "a\n  b", "a\n\tb",
	} {
		fmt.Printf("%q: %s, compact %s\n", text, printedAndRead(text, false), printedAndRead(text, true))
	}
}
E
go run . 2> log | tee seen || { cat log >&2; exit 1; }

cat > expected <<'E'
"a\r\nb\r\n": the same, compact the same
"a\r\n\r\nb\r\n": "a\r\n\\r\nb\r\n", compact the same
"a\n\u00a0b": "a\n\\_b", compact the same
"a\n\u3000b": "a\n\\u3000b", compact the same
"a\n\fb": "a\n\\fb", compact the same
"a\n  b": the same, compact the same
"a\n\tb": the same, compact the same
E
diff -u expected seen
