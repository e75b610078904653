// SPDX-License-Identifier: Apache-2.0

package keys

import (
	"crypto/ed25519"
	"crypto/rand"
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"sort"
	"strings"

	"github.com/accountlock/accountlock/internal/accountapi"
	"github.com/accountlock/accountlock/internal/service/files"
)

// The names in a keys directory. root.key may be moved off the machine once the
// first set stands: a rotation is signed by a key of the set before.
const (
	rootKeyFile    = "root.key"
	rootPublicFile = "root.json"
	keySuffix      = ".key"
	setPrefix      = "set-"
	setSuffix      = ".jws"
)

// maxFile bounds, in bytes, what is read of one file of the directory.
const maxFile = 32 << 10

// content is what a keys directory held at one moment.
type content struct {
	root    ed25519.PublicKey
	sets    []string
	newest  accountapi.KeySet
	signing ed25519.PrivateKey
	signer  *accountapi.Signer
}

// Init makes the directory, the root key and the first set where there are
// none; a directory that has them is left as it is.
func Init(dir string) error {
	if err := files.Folder(dir); err != nil {
		return err
	}
	if names, err := setNames(dir); err != nil || len(names) > 0 {
		return err
	}
	root, err := readKey(filepath.Join(dir, rootKeyFile))
	if errors.Is(err, fs.ErrNotExist) {
		root, err = newKey(filepath.Join(dir, rootKeyFile))
	}
	if err != nil {
		return err
	}
	pub, _ := root.Public().(ed25519.PublicKey)
	jwk, err := json.Marshal(accountapi.NewJWK(pub))
	if err != nil {
		return fmt.Errorf("cannot encode the root key: %w", err)
	}
	if err := files.Write(filepath.Join(dir, rootPublicFile), append(jwk, '\n'), files.Public); err != nil {
		return err
	}
	_, err = addSet(dir, accountapi.KeySet{}, root)
	return err
}

// addSet makes a new key and writes the set after old, signed by signer: the
// set's file is the moment from which the new key counts. It returns the set.
func addSet(dir string, old accountapi.KeySet, signer ed25519.PrivateKey) (accountapi.KeySet, error) {
	number := old.Number + 1
	if number > MaxSets {
		return accountapi.KeySet{}, fmt.Errorf("cannot rotate the keys: there are %d sets already", MaxSets)
	}
	_, private, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		return accountapi.KeySet{}, fmt.Errorf("cannot make a key: %w", err)
	}
	pub, _ := private.Public().(ed25519.PublicKey)
	if err := writeKey(filepath.Join(dir, accountapi.Thumbprint(pub)+keySuffix), private); err != nil {
		return accountapi.KeySet{}, err
	}
	next := accountapi.KeySet{Number: number, Keys: []accountapi.JWK{accountapi.NewJWK(pub)}}
	if len(old.Keys) > 0 {
		// What was signed a moment ago, and by servers that have not seen the
		// rotation yet, still verifies.
		next.Keys = append(next.Keys, old.Keys[0])
	}
	token, err := accountapi.Sign(next, accountapi.TypeKeySet, signer)
	if err != nil {
		return accountapi.KeySet{}, err
	}
	name := fmt.Sprintf("%s%06d%s", setPrefix, number, setSuffix)
	if err := files.Create(filepath.Join(dir, name), []byte(token+"\n"), files.Public); err != nil {
		return accountapi.KeySet{}, err
	}
	return next, nil
}

// read returns what the directory holds, the chain verified.
func read(dir string) (*content, error) {
	c := &content{}
	b, err := files.Read(filepath.Join(dir, rootPublicFile), maxFile)
	if err != nil {
		return nil, err
	}
	var jwk accountapi.JWK
	if err := json.Unmarshal(b, &jwk); err != nil {
		return nil, fmt.Errorf("cannot read the root key: %w", err)
	}
	if c.root, err = jwk.PublicKey(); err != nil {
		return nil, fmt.Errorf("cannot read the root key: %w", err)
	}
	names, err := setNames(dir)
	if err != nil {
		return nil, err
	}
	if len(names) == 0 {
		return nil, fmt.Errorf("cannot use the keys in %s: %w", dir, fs.ErrNotExist)
	}
	for _, name := range names {
		b, err := files.Read(filepath.Join(dir, name), maxFile)
		if err != nil {
			return nil, err
		}
		c.sets = append(c.sets, strings.TrimSpace(string(b)))
	}
	if c.newest, err = Follow(c.root, c.sets); err != nil {
		return nil, fmt.Errorf("cannot use the keys in %s: %w", dir, err)
	}
	first, err := c.newest.Keys[0].PublicKey()
	if err != nil {
		return nil, err
	}
	c.signing, err = readKey(filepath.Join(dir, accountapi.Thumbprint(first)+keySuffix))
	if err != nil {
		return nil, err
	}
	if !first.Equal(c.signing.Public()) {
		return nil, fmt.Errorf("cannot use the keys in %s: a key file does not hold the key of its name", dir)
	}
	if c.signer, err = accountapi.NewSigner(c.signing); err != nil {
		return nil, err
	}
	return c, nil
}

func setNames(dir string) ([]string, error) {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return nil, fmt.Errorf("cannot list the keys: %w", err)
	}
	var names []string
	for _, e := range entries {
		if strings.HasPrefix(e.Name(), setPrefix) && strings.HasSuffix(e.Name(), setSuffix) {
			names = append(names, e.Name())
		}
	}
	sort.Strings(names)
	return names, nil
}

func newKey(path string) (ed25519.PrivateKey, error) {
	_, private, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		return nil, fmt.Errorf("cannot make a key: %w", err)
	}
	return private, writeKey(path, private)
}

func writeKey(path string, key ed25519.PrivateKey) error {
	der, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		return fmt.Errorf("cannot encode a key: %w", err)
	}
	defer clear(der)
	b := pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der})
	defer clear(b)
	return files.Create(path, b, files.Private)
}

func readKey(path string) (ed25519.PrivateKey, error) {
	b, err := files.Read(path, maxFile)
	if err != nil {
		return nil, err
	}
	defer clear(b)
	block, _ := pem.Decode(b)
	if block == nil {
		return nil, fmt.Errorf("cannot read the key %s: it is not PEM", path)
	}
	defer clear(block.Bytes)
	any, err := x509.ParsePKCS8PrivateKey(block.Bytes)
	if err != nil {
		return nil, fmt.Errorf("cannot read the key %s: %w", path, err)
	}
	key, ok := any.(ed25519.PrivateKey)
	if !ok {
		return nil, fmt.Errorf("cannot read the key %s: it is not an Ed25519 key", path)
	}
	return key, nil
}
