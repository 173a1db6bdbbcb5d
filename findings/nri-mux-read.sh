#!/usr/bin/env bash
# Package: Go module `github.com/containerd/nri` v0.12.5, pkg/net/multiplex.
# Question: Mux.Open gives a net.Conn. 5,000 bytes are written at one end in one Write; the other end reads
#   with a buffer of 4,096 bytes, directly or through a bufio.Reader. What comes?
# One would guess: 4,096 bytes, and the other 904 with the next Read, as from any stream connection and as
#   io.Reader says.
# Seen: no byte and the errno ENOMEM, "cannot allocate memory", and the whole frame is lost: the next Read
#   goes on with what was written after it. A bufio.Reader of the usual size fails alike on a frame over
#   4,096 bytes. A peer in another language must thus cut its frames (ttrpc for Go reads heads through such
#   a reader); Go's own writer never trips over it, since its bufio.Writer cuts the same way.
# Why: Read takes one frame off the connection's queue and compares its length with the buffer's *capacity*;
#   what does not fit is given up, not kept. The connection is one of messages, though its type is net.Conn.
set -euo pipefail
tmp=$(mktemp -d)
trap 'rm -rf "$tmp"' EXIT
cd "$tmp"
export GOFLAGS=-mod=mod

cat > go.mod <<'E'
module ask

go 1.26.0

require github.com/containerd/nri v0.12.5
E
cat > main.go <<'E'
package main

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"net"
	"syscall"

	"github.com/containerd/nri/pkg/net/multiplex"
)

func write(conn net.Conn, data []byte) {
	if _, err := conn.Write(data); err != nil {
		panic(err)
	}
}

func main() {
	here, there := net.Pipe()
	writer, err := multiplex.Multiplex(here).Open(1)
	if err != nil {
		panic(err)
	}
	reader, err := multiplex.Multiplex(there).Open(1)
	if err != nil {
		panic(err)
	}
	buffer := make([]byte, 4096)

	write(writer, make([]byte, 5000))
	write(writer, []byte("next"))
	n, err := reader.Read(buffer)
	fmt.Println("4,096 of 5,000 bytes:", n, errors.Is(err, syscall.ENOMEM))
	n, err = reader.Read(buffer)
	fmt.Printf("then: %q %v\n", buffer[:n], err)

	write(writer, make([]byte, 5000))
	n, err = reader.Read(buffer[:4096:4096])
	fmt.Println("a slice of a longer buffer, cut in capacity too:", n, errors.Is(err, syscall.ENOMEM))

	buffered := bufio.NewReader(reader)
	write(writer, []byte("next"))
	_, err = io.ReadFull(buffered, buffer[:4])
	fmt.Printf("through bufio: %q %v\n", buffer[:4], err)
	write(writer, make([]byte, 5000))
	n, err = io.ReadFull(buffered, buffer[:4])
	fmt.Println("4 of 5,000 bytes through bufio:", n, errors.Is(err, syscall.ENOMEM))
	write(writer, make([]byte, 4096))
	write(writer, make([]byte, 904))
	n, err = io.ReadFull(bufio.NewReader(reader), make([]byte, 5000))
	fmt.Println("5,000 bytes in two frames through bufio:", n, err)
}
E
go run . 2> log | tee seen || { cat log >&2; exit 1; }

cat > expected <<'E'
4,096 of 5,000 bytes: 0 true
then: "next" <nil>
a slice of a longer buffer, cut in capacity too: 0 true
through bufio: "next" <nil>
4 of 5,000 bytes through bufio: 0 true
5,000 bytes in two frames through bufio: 5000 <nil>
E
diff -u expected seen
