// SPDX-License-Identifier: Apache-2.0

package keys_test

import (
	"crypto"
	"crypto/ed25519"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/accountlock/accountlock/internal/accountapi"
	"github.com/accountlock/accountlock/internal/service/keys"
)

func open(t *testing.T, dir string, now func() time.Time) *keys.Ring {
	t.Helper()
	if err := keys.Init(dir); err != nil {
		t.Fatal(err)
	}
	r, err := keys.Open(dir, now)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

func fixed() time.Time { return time.Unix(1_900_000_000, 0) }

// signedBy reports whether a fresh word of the ring verifies under the keys.
func signedBy(t *testing.T, r *keys.Ring, set []accountapi.JWK) bool {
	t.Helper()
	word, err := r.Sign(accountapi.Claims{Aud: "x"}, accountapi.TypeGrant)
	if err != nil {
		t.Fatal(err)
	}
	trusted := map[string]crypto.PublicKey{}
	for _, k := range set {
		pub, err := k.PublicKey()
		if err != nil {
			t.Fatal(err)
		}
		trusted[accountapi.Thumbprint(pub)] = pub
	}
	var c accountapi.Claims
	return accountapi.Open(word, accountapi.TypeGrant, trusted, &c) == nil
}

func image(t *testing.T, r *keys.Ring) keys.DeviceFile {
	t.Helper()
	f, err := r.DeviceFile()
	if err != nil {
		t.Fatal(err)
	}
	return f
}

func TestADeviceThatSleptThroughRotationsCatchesUp(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "keys")
	r := open(t, dir, fixed)
	first := image(t, r)
	if first.Number != 1 || len(first.Keys) != 1 || !signedBy(t, r, first.Keys) {
		t.Fatalf("the first set: %+v", first)
	}
	for want := int64(2); want <= 5; want++ {
		before := image(t, r).Keys
		number, err := r.Rotate()
		if err != nil || number != want {
			t.Fatalf("rotation gave %d, %v; want %d", number, err, want)
		}
		now := image(t, r)
		if !signedBy(t, r, now.Keys[:1]) || signedBy(t, r, before) {
			t.Errorf("set %d: the new key does not sign", want)
		}
		if len(now.Keys) != 2 || now.Keys[1].X != before[0].X {
			t.Errorf("set %d does not keep the key before: %+v", want, now.Keys)
		}
	}
	root, err := first.Root.PublicKey()
	if err != nil {
		t.Fatal(err)
	}
	sets, err := r.Sets(0)
	if err != nil || len(sets) != 5 {
		t.Fatalf("%d sets, %v", len(sets), err)
	}
	newest, err := keys.Follow(root, sets)
	if err != nil || newest.Number != 5 {
		t.Fatalf("the chain leads to %+v, %v", newest, err)
	}
	t.Run("but not through a chain that was tampered with", func(t *testing.T) {
		_, stranger, err := ed25519.GenerateKey(nil)
		if err != nil {
			t.Fatal(err)
		}
		forged, err := accountapi.Sign(accountapi.KeySet{Number: 6, Keys: newest.Keys}, accountapi.TypeKeySet, stranger)
		if err != nil {
			t.Fatal(err)
		}
		for name, chain := range map[string][]string{
			"with one left out":       {sets[0], sets[1], sets[3], sets[4]},
			"with one twice":          {sets[0], sets[1], sets[1]},
			"that begins in between":  sets[1:],
			"with one of a stranger":  append(append([]string{}, sets...), forged),
			"with one cut off":        {sets[0], sets[1][:len(sets[1])-4]},
			"with two the other way":  {sets[1], sets[0]},
			"with a grant among them": {sets[0], mustSign(t, r)},
		} {
			if _, err := keys.Follow(root, chain); !errors.Is(err, keys.ErrBrokenChain) {
				t.Errorf("%s: %v", name, err)
			}
		}
	})
	t.Run("and old private keys are gone", func(t *testing.T) {
		entries, err := os.ReadDir(dir)
		if err != nil {
			t.Fatal(err)
		}
		private := 0
		for _, e := range entries {
			info, err := e.Info()
			if err != nil {
				t.Fatal(err)
			}
			if strings.HasSuffix(e.Name(), ".key") {
				private++
				if info.Mode().Perm() != 0o600 {
					t.Errorf("%s has mode %s", e.Name(), info.Mode())
				}
			}
		}
		if private != 3 {
			t.Errorf("%d private keys are left, want the root's and two of the newest set", private)
		}
	})
	t.Run("and none is needed of the root any more", func(t *testing.T) {
		if err := os.Remove(filepath.Join(dir, "root.key")); err != nil {
			t.Fatal(err)
		}
		if n, err := open(t, dir, fixed).Rotate(); err != nil || n != 6 {
			t.Errorf("rotation gave %d, %v", n, err)
		}
	})
}

func mustSign(t *testing.T, r *keys.Ring) string {
	t.Helper()
	word, err := r.Sign(accountapi.KeySet{Number: 2}, accountapi.TypeGrant)
	if err != nil {
		t.Fatal(err)
	}
	return word
}

func TestARotationByAnotherProcessIsFollowed(t *testing.T) {
	dir := t.TempDir()
	now := fixed()
	server := open(t, dir, func() time.Time { return now })
	if _, err := open(t, dir, fixed).Rotate(); err != nil {
		t.Fatal(err)
	}
	if got := image(t, server).Number; got != 1 {
		t.Errorf("within the second the server is at %d already: it looks all the time", got)
	}
	now = now.Add(2 * time.Second)
	if got := image(t, server); got.Number != 2 || !signedBy(t, server, got.Keys[:1]) {
		t.Errorf("the server is at set %d", got.Number)
	}
}

func TestKeysThatCannotBeUsed(t *testing.T) {
	if _, err := keys.Open(t.TempDir(), fixed); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("an empty folder: %v", err)
	}
	for name, c := range map[string]struct {
		do   func(dir string) error
		want error
	}{
		"a set that is damaged": {func(dir string) error {
			return os.WriteFile(filepath.Join(dir, "set-000001.jws"), []byte("x.y.z"), 0o600)
		}, keys.ErrBrokenChain},
		"another root": {func(dir string) error {
			return copyFile(t, filepath.Join(otherDir(t), "root.json"), filepath.Join(dir, "root.json"))
		}, keys.ErrBrokenChain},
		"a signing key that is absent": {func(dir string) error { return os.Remove(signingKey(t, dir)) }, fs.ErrNotExist},
		"a signing key of another set": {func(dir string) error { return copyFile(t, signingKey(t, otherDir(t)), signingKey(t, dir)) }, nil},
		"a signing key that is none":   {func(dir string) error { return os.WriteFile(signingKey(t, dir), []byte("x"), 0o600) }, nil},
	} {
		t.Run(name, func(t *testing.T) {
			dir := otherDir(t)
			if err := c.do(dir); err != nil {
				t.Fatal(err)
			}
			_, err := keys.Open(dir, fixed)
			if err == nil || (c.want != nil && !errors.Is(err, c.want)) {
				t.Errorf("got %v, want %v", err, c.want)
			}
		})
	}
}

func otherDir(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	if err := keys.Init(dir); err != nil {
		t.Fatal(err)
	}
	return dir
}

func signingKey(t *testing.T, dir string) string {
	t.Helper()
	all, err := filepath.Glob(filepath.Join(dir, "*.key"))
	if err != nil {
		t.Fatal(err)
	}
	for _, path := range all {
		if filepath.Base(path) != "root.key" {
			return path
		}
	}
	t.Fatal("no signing key")
	return ""
}

func copyFile(t *testing.T, from, to string) error {
	t.Helper()
	b, err := os.ReadFile(from)
	if err != nil {
		return err
	}
	return os.WriteFile(to, b, 0o600)
}
