// SPDX-License-Identifier: Apache-2.0

package bus_test

import (
	"bytes"
	"encoding/binary"
	"io"
	"testing"
	"time"

	"github.com/godbus/dbus/v5"

	"github.com/accountlock/accountlock/internal/bus"
	"github.com/accountlock/accountlock/internal/lock"
)

type stream struct{ io.Reader }

func (stream) Write(p []byte) (int, error) { return len(p), nil }
func (stream) Close() error                { return nil }

func message(t testing.TB, order binary.ByteOrder, sender string, body ...any) []byte {
	t.Helper()
	m := &dbus.Message{Type: dbus.TypeMethodCall, Headers: map[dbus.HeaderField]dbus.Variant{
		dbus.FieldPath: dbus.MakeVariant(dbus.ObjectPath("/a")), dbus.FieldMember: dbus.MakeVariant("M"),
		dbus.FieldSender: dbus.MakeVariant(sender), dbus.FieldDestination: dbus.MakeVariant("org.example.D"),
	}, Body: body}
	if len(body) > 0 {
		m.Headers[dbus.FieldSignature] = dbus.MakeVariant(dbus.SignatureOf(body...))
	}
	var b bytes.Buffer
	if err := m.EncodeTo(&b, order); err != nil {
		t.Fatal(err)
	}
	raw := b.Bytes()
	order.PutUint32(raw[8:], 77) // a serial, which EncodeTo leaves to the connection
	return raw
}

func TestAMessageThatIsTooLargeIsDroppedAnsweredAndForgotten(t *testing.T) {
	for _, order := range []binary.ByteOrder{binary.LittleEndian, binary.BigEndian} {
		small := message(t, order, ":1.5", "hello")
		large := message(t, order, ":1.9", make([]byte, bus.MaxBody+1))
		var wire []byte
		for _, m := range [][]byte{small, large, small, message(t, order, ":1.9")} {
			wire = append(wire, m...)
		}
		dropped := make(chan string, 4)
		in := bus.NewBounded(stream{bytes.NewReader(wire)}, func(sender string, serial uint32) {
			if serial == 77 {
				dropped <- sender
			}
		})
		for _, want := range []string{":1.5", ":1.5", ":1.9"} {
			m, err := dbus.DecodeMessage(in)
			if err != nil {
				t.Fatal(err)
			}
			if got := m.Headers[dbus.FieldSender].Value(); got != want {
				t.Fatalf("got the message of %v, want %s", got, want)
			}
		}
		select {
		case got := <-dropped:
			if got != ":1.9" {
				t.Fatalf("told %s", got)
			}
		case <-time.After(time.Minute):
			t.Fatal("nobody was told")
		}
	}
}

func FuzzBounded(f *testing.F) {
	f.Add(message(f, binary.LittleEndian, ":1.5", "hello"))
	f.Add(message(f, binary.BigEndian, ":1.5", make([]byte, bus.MaxBody+1)))
	f.Add([]byte("l\x01\x00\x01\xff\xff\xff\xff\x01\x00\x00\x00\xff\xff\xff\xff"))
	f.Fuzz(func(t *testing.T, wire []byte) {
		in := bus.NewBounded(stream{bytes.NewReader(wire)}, func(string, uint32) {})
		got, err := io.ReadAll(in)
		if err == nil && len(got) > len(wire) {
			t.Fatal("more came out than went in")
		}
	})
}

// FuzzArguments feeds whatever a client can encode to what reads arguments.
func FuzzArguments(f *testing.F) {
	f.Add(message(f, binary.LittleEndian, ":1.5", map[string]dbus.Variant{"locale": dbus.MakeVariant("de")}))
	f.Add(message(f, binary.LittleEndian, ":1.5", map[string]dbus.Variant{"password": dbus.MakeVariant([]byte("x")), "n": dbus.MakeVariant(map[string]int32{"a": 1})}))
	f.Fuzz(func(t *testing.T, wire []byte) {
		m, err := dbus.DecodeMessage(bytes.NewReader(wire))
		if err != nil || len(m.Body) == 0 {
			return
		}
		if o, err := bus.ReadOptions(lock.KindReset, m.Body[0]); err == nil && len(o.Locale)+len(o.Region) > 100 {
			t.Fatalf("accepted %+v", o)
		}
		if in, err := bus.ReadInput(m.Body[0]); err == nil {
			in.Wipe()
		}
	})
}
