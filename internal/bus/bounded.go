// SPDX-License-Identifier: Apache-2.0

package bus

import (
	"bufio"
	"bytes"
	"encoding/binary"
	"io"
	"sync/atomic"

	"github.com/godbus/dbus/v5"
)

const (
	// maxBody bounds, in bytes, the body of a message that is taken; the bus
	// itself lets 32 MiB and more through. Nothing here needs a tenth of it.
	maxBody   = 256 << 10
	maxHeader = 64 << 10
)

// bounded is the daemon's end of the bus's socket. It drops the body of a
// message that is too large before a byte of it is kept, and has the call
// answered, so that memory stays bounded whatever a client sends.
type bounded struct {
	io.ReadWriteCloser
	in *bufio.Reader
	// framed is set once authentication is over and messages follow.
	framed atomic.Bool
	// rest is what is left of the message being handed on.
	head []byte
	rest int
	// tooLarge is told of each call that was dropped.
	tooLarge func(sender string, serial uint32)
}

func newBounded(rwc io.ReadWriteCloser, tooLarge func(string, uint32)) *bounded {
	return &bounded{ReadWriteCloser: rwc, in: bufio.NewReaderSize(rwc, 8<<10), tooLarge: tooLarge}
}

// Write hands on; with BEGIN, authentication is over (D-Bus specification,
// 'Authentication Protocol').
func (b *bounded) Write(p []byte) (int, error) {
	if !b.framed.Load() && bytes.HasPrefix(p, []byte("BEGIN")) {
		b.framed.Store(true)
	}
	return b.ReadWriteCloser.Write(p)
}

// Read hands on whole messages, less those that are too large.
func (b *bounded) Read(p []byte) (int, error) {
	if !b.framed.Load() {
		return b.in.Read(p)
	}
	for len(b.head) == 0 && b.rest == 0 {
		if err := b.next(); err != nil {
			return 0, err
		}
	}
	if len(b.head) > 0 {
		n := copy(p, b.head)
		b.head = b.head[n:]
		return n, nil
	}
	n, err := b.in.Read(p[:min(len(p), b.rest)])
	b.rest -= n
	return n, err
}

// next reads the fixed part of a message's header (D-Bus specification,
// 'Message Format'): byte order, type, flags, version, body length, serial, and
// the length of the header fields.
func (b *bounded) next() error {
	fixed := make([]byte, 16)
	if _, err := io.ReadFull(b.in, fixed); err != nil {
		return err
	}
	var order binary.ByteOrder = binary.LittleEndian
	if fixed[0] == 'B' {
		order = binary.BigEndian
	}
	body, fields := order.Uint32(fixed[4:]), order.Uint32(fixed[12:])
	padded := (uint64(fields) + 7) &^ 7
	if body <= maxBody && fields <= maxHeader {
		b.head, b.rest = fixed, int(padded+uint64(body)) //nolint:gosec // both are bounded just above
		return nil
	}
	return b.drop(fixed, order, padded, uint64(body))
}

func (b *bounded) drop(fixed []byte, order binary.ByteOrder, padded, body uint64) error {
	if padded > maxHeader {
		_, err := io.CopyN(io.Discard, b.in, int64(padded+body)) //nolint:gosec // two 32-bit lengths
		return err
	}
	fields := make([]byte, padded)
	if _, err := io.ReadFull(b.in, fields); err != nil {
		return err
	}
	if _, err := io.CopyN(io.Discard, b.in, int64(body)); err != nil { //nolint:gosec // a 32-bit length
		return err
	}
	const noReply = 1
	if fixed[1] == byte(dbus.TypeMethodCall) && fixed[2]&noReply == 0 {
		if sender, ok := senderOf(fields, order); ok {
			go b.tooLarge(sender, order.Uint32(fixed[8:]))
		}
	}
	return nil
}

// senderOf finds the sender among the header fields, an a(yv) in which values
// are strings, object paths, signatures and 32-bit integers (D-Bus
// specification, 'Header Fields').
func senderOf(fields []byte, order binary.ByteOrder) (string, bool) {
	for at := 0; ; {
		at = (at + 7) &^ 7
		if at+4 > len(fields) || fields[at+1] != 1 {
			return "", false
		}
		code, kind := fields[at], fields[at+2]
		at += 4 // code, signature with its length and NUL
		switch kind {
		case 'u':
			at += 4
		case 'g':
			if at >= len(fields) {
				return "", false
			}
			at += int(fields[at]) + 2
		case 's', 'o':
			if at+4 > len(fields) {
				return "", false
			}
			n := int(order.Uint32(fields[at:]))
			if n > len(fields)-at-4 {
				return "", false
			}
			if code == byte(dbus.FieldSender) {
				return string(fields[at+4 : at+4+n]), true
			}
			at += 4 + n + 1
		default:
			return "", false
		}
	}
}
