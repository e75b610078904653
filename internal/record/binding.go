// SPDX-License-Identifier: Apache-2.0

package record

import (
	"crypto/aes"
	"crypto/cipher"
	"crypto/hkdf"
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"

	"github.com/accountlock/accountlock/internal/lock"
)

// The payload of version 2, a record that is bound to a TPM 2.0. All integers
// are big-endian, offsets from the start of the payload:
//
//	offset  size  field
//	     0    32  HMAC-SHA-256 over the first 24 bytes of the frame and the payload
//	              from offset 32 on
//	    32     8  value of the NV counter that this copy belongs to
//	    40     2  length k of the sealed key
//	    42     2  length s of the encrypted secrets
//	    44     k  the root key, 32 bytes, sealed by the TPM
//	  44+k     s  nonce (12 bytes), AES-256-GCM of the JSON object of lock.Secrets, tag (16 bytes)
//	44+k+s        the JSON object of lock.Record, without its secrets
//
// Both keys are HKDF-SHA-256 of the root key, without a salt, under the names
// macInfo and secretsInfo.
const (
	boundVersion = 2
	boundHead    = 44

	rootSize    = 32
	macInfo     = "accountlock record mac v1"
	secretsInfo = "accountlock record secrets v1"
)

// bound is what a slot of version 2 holds besides the record.
type bound struct {
	counter uint64
	blob    []byte // the sealed root key
	mac     []byte
	covered []byte // what the MAC is over
	secrets []byte // encrypted
	// vouched: the MAC was found right.
	vouched bool
}

// parseBound reads the payload of version 2 in the slot b. The record that it
// returns has no secrets yet, and nobody has looked at the MAC.
func parseBound(b []byte, length int) (lock.Record, *bound, error) {
	p := b[headerSize : headerSize+length]
	if len(p) < boundHead {
		return lock.Record{}, nil, errors.New("the payload is too short for a bound record")
	}
	k, s := int(binary.BigEndian.Uint16(p[40:])), int(binary.BigEndian.Uint16(p[42:]))
	if boundHead+k+s > len(p) {
		return lock.Record{}, nil, errors.New("the parts of the bound record do not fit into its payload")
	}
	r, err := decodePayload(p[boundHead+k+s:])
	if err != nil {
		return lock.Record{}, nil, err
	}
	// Copies: the buffer that b lies in is wiped.
	bd := &bound{
		counter: binary.BigEndian.Uint64(p[32:]),
		mac:     append([]byte(nil), p[:sha256.Size]...),
		covered: append(append([]byte(nil), b[:sumAt]...), p[sha256.Size:]...),
	}
	rest := bd.covered[sumAt+boundHead-sha256.Size:]
	bd.blob, bd.secrets = rest[:k], rest[k:k+s]
	return r, bd, nil
}

// keys are what is derived from a root key.
type keys struct {
	blob    []byte // the root key, sealed
	mac     []byte
	secrets cipher.AEAD
}

func newKeys(root, blob []byte) (*keys, error) {
	mac, err := hkdf.Key(sha256.New, root, nil, macInfo, sha256.Size)
	if err != nil {
		return nil, fmt.Errorf("cannot derive the record's key: %w", err)
	}
	enc, err := hkdf.Key(sha256.New, root, nil, secretsInfo, 32)
	if err != nil {
		return nil, fmt.Errorf("cannot derive the key of the record's secrets: %w", err)
	}
	defer clear(enc)
	block, err := aes.NewCipher(enc)
	if err != nil {
		return nil, fmt.Errorf("cannot use the key of the record's secrets: %w", err)
	}
	aead, err := cipher.NewGCMWithRandomNonce(block)
	if err != nil {
		return nil, fmt.Errorf("cannot use the key of the record's secrets: %w", err)
	}
	return &keys{blob: blob, mac: mac, secrets: aead}, nil
}

func (k *keys) wipe() {
	if k != nil {
		clear(k.mac)
	}
}

// verify reports whether the MAC of b is right.
func (k *keys) verify(b *bound) bool {
	h := hmac.New(sha256.New, k.mac)
	h.Write(b.covered)
	return hmac.Equal(h.Sum(nil), b.mac)
}

// open returns the secrets of b.
func (k *keys) open(b *bound) (lock.Secrets, error) {
	var s lock.Secrets
	plain, err := k.secrets.Open(nil, nil, b.secrets, nil)
	if err != nil {
		return s, errors.New("the secrets cannot be decrypted")
	}
	defer clear(plain)
	if json.Unmarshal(plain, &s) != nil {
		// Its text may quote the secrets.
		return lock.Secrets{}, errors.New("the secrets are none in JSON")
	}
	return s, nil
}

// encodeBound returns the slot that holds r under the sequence number, bound to
// the counter's value.
func encodeBound(r lock.Record, sequence uint64, k *keys, counter uint64) ([]byte, error) {
	rest, secrets := r.Split()
	plain, err := json.Marshal(secrets)
	if err != nil {
		return nil, fmt.Errorf("cannot encode the record's secrets: %w", err)
	}
	defer clear(plain)
	text, err := json.Marshal(rest)
	if err != nil {
		return nil, fmt.Errorf("cannot encode the record: %w", err)
	}
	sealed := k.secrets.Seal(nil, nil, plain, nil) //nolint:gosec // NewGCMWithRandomNonce takes none and draws it
	length := boundHead + len(k.blob) + len(sealed) + len(text)
	if length > maxPayload {
		return nil, fmt.Errorf("%w: %d bytes, of which %d fit", ErrTooLarge, length, maxPayload)
	}
	p := make([]byte, boundHead, length)
	binary.BigEndian.PutUint64(p[32:], counter)
	binary.BigEndian.PutUint16(p[40:], uint16(len(k.blob))) //nolint:gosec // less than maxPayload
	binary.BigEndian.PutUint16(p[42:], uint16(len(sealed))) //nolint:gosec // less than maxPayload
	p = append(append(append(p, k.blob...), sealed...), text...)
	return frameMAC(boundVersion, sequence, p, k.mac), nil
}

// frameMAC is frame, with the MAC in the first bytes of the payload.
func frameMAC(v uint32, sequence uint64, payload, key []byte) []byte {
	b := newFrame(v, sequence, payload)
	h := hmac.New(sha256.New, key)
	h.Write(b[:sumAt])
	h.Write(payload[sha256.Size:])
	copy(b[headerSize:], h.Sum(nil))
	return seal(b, len(payload))
}

// newRoot returns a new root key.
func newRoot() ([]byte, error) {
	root := make([]byte, rootSize)
	if _, err := rand.Read(root); err != nil {
		return nil, fmt.Errorf("cannot make a key for the record: %w", err)
	}
	return root, nil
}
