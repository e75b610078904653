// SPDX-License-Identifier: Apache-2.0

package reader

import (
	"encoding/binary"
	"errors"
	"fmt"
)

// Everything on the wire is big-endian; a TPM2B has its length in two bytes before
// it.

// message is a command, or a part of one, as it grows.
type message []byte

func (m message) u8(v uint8) message   { return append(m, v) }
func (m message) u16(v uint16) message { return binary.BigEndian.AppendUint16(m, v) }
func (m message) u32(v uint32) message { return binary.BigEndian.AppendUint32(m, v) }

// sized appends a TPM2B. What is sent here is always short.
func (m message) sized(b []byte) message {
	return append(m.u16(uint16(len(b))), b...) //nolint:gosec // see above
}

var errShort = errors.New("an answer of the TPM is too short")

// answer is what is left of an answer. Reading beyond its end gives zeros, and
// err then says so.
type answer struct {
	b   []byte
	err error
}

func (a *answer) take(n int) []byte {
	if n > len(a.b) {
		a.b, a.err = nil, errShort
	}
	if a.err != nil {
		return nil
	}
	out := a.b[:n:n]
	a.b = a.b[n:]
	return out
}

func (a *answer) u16() uint16 {
	if b := a.take(2); b != nil {
		return binary.BigEndian.Uint16(b)
	}
	return 0
}

func (a *answer) u32() uint32 {
	if b := a.take(4); b != nil {
		return binary.BigEndian.Uint32(b)
	}
	return 0
}

func (a *answer) sized() []byte { return a.take(int(a.u16())) }

// code is a response code that is no success.
type code uint32

// The codes that are told apart (TPM 2.0 Part 2, TPM_RC).
const (
	rcHandle          code = 0x08b
	rcAuthFail        code = 0x08e
	rcBadAuth         code = 0x0a2
	rcAuthMissing     code = 0x125
	rcAuthUnavailable code = 0x12f
	rcObjectMemory    code = 0x902
	rcSessionMemory   code = 0x903
	rcSessionHandles  code = 0x905
	rcLockout         code = 0x921

	formatOne   code = 0x080
	ofParameter code = 0x040
)

// Error implements error.
func (c code) Error() string { return fmt.Sprintf("the TPM answers with code %#x", uint32(c)) }

// Is implements the interface of errors.Is: which handle, parameter or session is
// meant does not matter.
func (c code) Is(target error) bool {
	t, ok := target.(code)
	if ok && c&formatOne != 0 {
		c &= formatOne | 0x3f
	}
	return ok && c == t
}

// foreign reports whether the TPM does not take an object for one of its own:
// errors over the parameters, which are the blob, and not over the parent.
func foreign(err error) bool {
	var c code
	return errors.As(err, &c) && c&formatOne != 0 && c&ofParameter != 0
}

// The commands that are sent (TPM 2.0 Part 2, TPM_CC).
const (
	ccCreatePrimary    = 0x131
	ccNVRead           = 0x14e
	ccLoad             = 0x157
	ccUnseal           = 0x15e
	ccFlushContext     = 0x165
	ccNVReadPublic     = 0x169
	ccReadPublic       = 0x173
	ccStartAuthSession = 0x176
	ccGetCapability    = 0x17a
)

const (
	tagPlain, tagSessions = 0x8001, 0x8002

	rhOwner  = 0x40000001
	rhNull   = 0x40000007
	password = 0x40000009 // TPM_RS_PW

	algRSA, algAES, algSHA256, algNull, algECC, algCFB = 0x0001, 0x0006, 0x000b, 0x0010, 0x0023, 0x0043

	curveP256 = 0x0003
)

// emptyPassword is the authorisation by an empty password.
var emptyPassword = message(nil).u32(password).sized(nil).u8(0).sized(nil)

// frame is one command: handles, authorisation (nil is none) and parameters.
func frame(cc uint32, handles []uint32, authorisation, parameters message) []byte {
	tag := uint16(tagPlain)
	var body message
	for _, h := range handles {
		body = body.u32(h)
	}
	if authorisation != nil {
		tag = tagSessions
		body = append(body.u32(uint32(len(authorisation))), authorisation...) //nolint:gosec // some 70 bytes
	}
	body = append(body, parameters...)
	return append(message(nil).u16(tag).u32(uint32(10+len(body))).u32(cc), body...) //nolint:gosec // less than a page
}

// parsed is an answer in its parts.
type parsed struct {
	handle     uint32
	parameters answer
	// authorisation is empty where the command had none.
	authorisation answer
}

// parse takes an answer apart; its error is a code where the TPM says no.
func parse(b []byte, hasHandle, hasSession bool) (*parsed, error) {
	a := answer{b: b}
	tag, size, rc := a.u16(), a.u32(), code(a.u32())
	switch {
	case a.err != nil, int64(size) != int64(len(b)):
		return nil, errShort
	case rc != 0:
		return nil, rc
	case hasSession != (tag == tagSessions), !hasSession && tag != tagPlain:
		return nil, errors.New("an answer of the TPM has the wrong tag")
	}
	p := &parsed{}
	if hasHandle {
		p.handle = a.u32()
	}
	if hasSession {
		n := a.u32()
		if int64(n) > int64(len(a.b)) {
			return nil, errShort
		}
		p.parameters.b = a.take(int(n))
		p.authorisation.b = a.b
	} else {
		p.parameters.b = a.b
	}
	return p, a.err
}
