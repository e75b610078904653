// SPDX-License-Identifier: Apache-2.0

package reader

import (
	"bytes"
	"crypto/aes"
	"crypto/ecdh"
	"crypto/hmac"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"math/big"
)

// saltKey is the storage root key as a session is salted by it: P-256 or RSA, its
// name by SHA-256.
type saltKey struct {
	ec  *ecdh.PublicKey
	rsa *rsa.PublicKey
}

// parseKey reads a TPMT_PUBLIC.
func parseKey(public []byte) (saltKey, error) {
	a := &answer{b: public}
	kind, name := a.u16(), a.u16()
	a.u32()                 // attributes
	a.sized()               // policy
	if a.u16() != algNull { // a symmetric cipher for its children
		a.take(4)
	}
	scheme := a.u16()
	if a.err != nil || name != algSHA256 || scheme != algNull {
		return saltKey{}, errors.New("the key is of another kind")
	}
	switch kind {
	case algECC:
		return parseP256(a)
	case algRSA:
		return parseRSA(a)
	default:
		return saltKey{}, errors.New("the key is of another kind")
	}
}

func parseP256(a *answer) (saltKey, error) {
	if curve, kdf := a.u16(), a.u16(); curve != curveP256 || kdf != algNull {
		return saltKey{}, errors.New("the key is not on P-256")
	}
	x, y := a.sized(), a.sized()
	if a.err != nil || len(x) > 32 || len(y) > 32 {
		return saltKey{}, errors.New("the key is not on P-256")
	}
	// A TPM may leave zeros in front out.
	point := make([]byte, 65)
	point[0] = 4
	copy(point[33-len(x):], x)
	copy(point[65-len(y):], y)
	key, err := ecdh.P256().NewPublicKey(point)
	return saltKey{ec: key}, err
}

func parseRSA(a *answer) (saltKey, error) {
	a.u16() // its size in bits, which the modulus says
	exponent := a.u32()
	if exponent == 0 {
		exponent = 65537
	}
	modulus := a.sized()
	if a.err != nil || len(modulus) < 256 || exponent > 1<<31-1 {
		return saltKey{}, errors.New("the RSA key is of another kind")
	}
	return saltKey{rsa: &rsa.PublicKey{N: new(big.Int).SetBytes(modulus), E: int(exponent)}}, nil
}

// salt returns a new salt, and what only the TPM can read it from (TPM 2.0 Part
// 1, annexes B and C).
func (k saltKey) salt() (salt, encrypted []byte, err error) {
	if k.rsa != nil {
		salt = make([]byte, sha256.Size)
		if _, err := rand.Read(salt); err != nil {
			return nil, nil, err
		}
		encrypted, err = rsa.EncryptOAEP(sha256.New(), rand.Reader, k.rsa, salt, []byte("SECRET\x00"))
		return salt, encrypted, err
	}
	ephemeral, err := ecdh.P256().GenerateKey(rand.Reader)
	if err != nil {
		return nil, nil, err
	}
	z, err := ephemeral.ECDH(k.ec)
	if err != nil {
		return nil, nil, err
	}
	ours, theirs := ephemeral.PublicKey().Bytes(), k.ec.Bytes()
	x, y := ours[1:33], ours[33:]
	// KDFe, whose one round has as many bits as are needed (Part 1, 11.4).
	sum := sha256.Sum256(bytes.Join([][]byte{{0, 0, 0, 1}, z, []byte("SECRET\x00"), x, theirs[1:33]}, nil))
	return sum[:], message(nil).sized(x).sized(y), nil
}

// kdfa is KDFa by SHA-256 for 256 bits, which is one round of it (Part 1, 11.4).
func kdfa(key []byte, label string, u, v []byte) []byte {
	h := hmac.New(sha256.New, key)
	h.Write([]byte{0, 0, 0, 1})
	h.Write(append([]byte(label), 0))
	h.Write(u)
	h.Write(v)
	h.Write([]byte{0, 0, 1, 0})
	return h.Sum(nil)
}

// session is one that encrypts the first parameter of an answer, and authorises by
// an empty password. It is for one command.
type session struct {
	handle     uint32
	key        []byte
	ours, tpms []byte // the nonces
}

// encrypts is the only attribute of a session here; not continuing it, the TPM
// ends it with a success (TPM 2.0 Part 2, TPMA_SESSION).
const encrypts = 1 << 6

func (s *Session) startSession(p *parent) (*session, error) {
	salt, encrypted, err := p.key.salt()
	if err != nil {
		return nil, err
	}
	out := &session{ours: make([]byte, 16)}
	if _, err := rand.Read(out.ours); err != nil {
		return nil, err
	}
	const hmacSession = 0
	parameters := message(nil).sized(out.ours).sized(encrypted).u8(hmacSession).u16(algAES).u16(128).u16(algCFB).u16(algSHA256)
	started, err := s.loading(ccStartAuthSession, []uint32{p.handle, rhNull}, nil, parameters, true)
	if err != nil {
		return nil, err
	}
	out.handle, out.tpms = started.handle, started.parameters.sized()
	if started.parameters.err != nil {
		return nil, started.parameters.err
	}
	out.key = kdfa(salt, "ATH", out.tpms, out.ours)
	return out, nil
}

// authorise is the authorisation of a command without parameters, on an object of
// that name (Part 1, 19.6).
func (s *session) authorise(cc uint32, name []byte) message {
	h := sha256.New()
	h.Write(message(nil).u32(cc))
	h.Write(name)
	mac := s.mac(h.Sum(nil), s.ours, s.tpms, encrypts)
	return message(nil).u32(s.handle).sized(s.ours).u8(encrypts).sized(mac)
}

// open verifies an answer and decrypts its only parameter. Whoever stands between
// us and the TPM can neither make one nor read it.
func (s *session) open(cc uint32, p *parsed) ([]byte, error) {
	nonce, attributes, mac := p.authorisation.sized(), p.authorisation.take(1), p.authorisation.sized()
	if p.authorisation.err != nil {
		return nil, p.authorisation.err
	}
	h := sha256.New()
	h.Write(binary.BigEndian.AppendUint32(message(nil).u32(0), cc))
	h.Write(p.parameters.b)
	if !hmac.Equal(mac, s.mac(h.Sum(nil), nonce, s.ours, attributes[0])) || attributes[0]&encrypts == 0 {
		return nil, errors.New("somebody has changed the TPM's answer")
	}
	out := bytes.Clone(p.parameters.sized())
	if p.parameters.err != nil {
		return nil, p.parameters.err
	}
	both := kdfa(s.key, "CFB", nonce, s.ours)
	return out, decrypt(both[:16], both[16:], out)
}

func (s *session) mac(hash, newer, older []byte, attributes byte) []byte {
	h := hmac.New(sha256.New, s.key)
	h.Write(hash)
	h.Write(newer)
	h.Write(older)
	h.Write([]byte{attributes})
	return h.Sum(nil)
}

// decrypt is AES in CFB mode (NIST SP 800-38A), which a TPM has for this. What
// keeps it from being changed is the session's HMAC.
func decrypt(key, iv, b []byte) error {
	block, err := aes.NewCipher(key)
	if err != nil {
		return err
	}
	pad, last := make([]byte, aes.BlockSize), bytes.Clone(iv)
	for len(b) > 0 {
		block.Encrypt(pad, last)
		n := copy(last, b)
		for i := range n {
			b[i] ^= pad[i]
		}
		b = b[n:]
	}
	return nil
}
