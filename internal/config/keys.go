// SPDX-License-Identifier: Apache-2.0

package config

import (
	"encoding/base64"
	"errors"
	"fmt"
	"math"
	"net/url"
	"path"
	"slices"
	"strings"
	"time"

	"github.com/accountlock/accountlock/internal/lock"
)

// The bounds of values.
const (
	maxURL         = 2048
	maxPath        = 4096
	maxPins        = 16
	maxUIDs        = 64
	maxIdentity    = 16
	maxIdleExit    = 24 * time.Hour
	minCheckIn     = time.Second
	maxCheckIn     = 7 * 24 * time.Hour
	pinPrefix      = "sha256/"
	pinSize        = 32
	noUser         = math.MaxUint32 // (uid_t) -1
	swtpmPrefix    = "swtpm:"
	identityPrefix = "file:"
)

// validate checks every value that the file sets. The error names each key that
// is wrong, not the first one alone.
func (d *document) validate() error {
	var errs []error
	check := func(key string, err error) {
		if err != nil {
			errs = append(errs, fmt.Errorf("%s: %w", key, err))
		}
	}
	check("account_api.url", given(d.AccountAPI.URL, validURL))
	check("account_api.ca_file", given(d.AccountAPI.CAFile, validPath))
	check("account_api.key_set", given(d.AccountAPI.KeySet, validPath))
	check("account_api.pins", given(d.AccountAPI.Pins, validPins))
	check("record.store", given(d.Record.Store, validStore))
	check("state.directory", given(d.State.Directory, validPath))
	check("runtime.directory", given(d.Runtime.Directory, validPath))
	check("device.identity", given(d.Device.Identity, validIdentity))
	check("device.enrolment_token_file", given(d.Device.TokenFile, validPath))
	check("policy.missing_record", given(d.Policy.MissingRecord, oneOf(lock.RequireOnline, lock.AllowOffline)))
	check("authorization.mode", given(d.Authorization.Mode, oneOf(AuthorizePolkit, AuthorizeUID)))
	check("authorization.uids", given(d.Authorization.UIDs, validUIDs))
	check("tpm.mode", given(d.TPM.Mode, oneOf(TPMAuto, TPMRequire, TPMOff)))
	check("tpm.device", given(d.TPM.Device, validTPM))
	check("daemon.idle_exit", given(d.Daemon.IdleExit, between(0, maxIdleExit)))
	check("daemon.check_in_interval", given(d.Daemon.CheckInInterval, between(minCheckIn, maxCheckIn)))
	check("gate.mode", given(d.Gate.Mode, oneOf(GateSystemd, GateNone)))
	return errors.Join(errs...)
}

func given[T any](v *T, valid func(T) error) error {
	if v == nil {
		return nil
	}
	return valid(*v)
}

func oneOf[T ~string](words ...T) func(T) error {
	return func(v T) error {
		if slices.Contains(words, v) {
			return nil
		}
		return fmt.Errorf("%q is none of %q", v, words)
	}
}

func between(least, most time.Duration) func(duration) error {
	return func(d duration) error {
		if !d.set {
			return errors.New("an empty table is no duration")
		}
		if d.err != nil {
			return d.err
		}
		if d.value < least || d.value > most {
			return fmt.Errorf("%s is not between %s and %s", d.value, least, most)
		}
		return nil
	}
}

// validURL takes the empty URL too: it says that there is no account service.
func validURL(v string) error {
	if v == "" {
		return nil
	}
	if len(v) > maxURL {
		return fmt.Errorf("longer than %d bytes", maxURL)
	}
	u, err := url.Parse(v)
	switch {
	case err != nil:
		return fmt.Errorf("%q is no URL", v)
	case u.Scheme != "https":
		return fmt.Errorf("%q does not begin with https://", v)
	case u.Hostname() == "" || u.Opaque != "":
		return fmt.Errorf("%q names no host", v)
	case u.User != nil:
		return errors.New("a URL with a user name or a password is not taken")
	case u.RawQuery != "" || u.ForceQuery || u.Fragment != "" || strings.HasSuffix(v, "#"):
		return fmt.Errorf("%q has a query or a fragment", v)
	}
	return nil
}

func validPath(v string) error {
	switch {
	case len(v) > maxPath:
		return fmt.Errorf("longer than %d bytes", maxPath)
	case strings.ContainsRune(v, 0):
		return errors.New("a path cannot hold a zero byte")
	case !path.IsAbs(v):
		return fmt.Errorf("%q is no absolute path", v)
	}
	return nil
}

func validStore(v string) error {
	scheme, p, found := strings.Cut(v, ":")
	if !found || !slices.Contains([]string{"file", "block", "pdb"}, scheme) {
		return fmt.Errorf("%q is none of file:PATH, block:PATH, pdb:PATH", v)
	}
	return validPath(p)
}

func validTPM(v string) error { return validPath(strings.TrimPrefix(v, swtpmPrefix)) }

func validIdentity(v []string) error {
	if len(v) == 0 || len(v) > maxIdentity {
		return fmt.Errorf("%d sources, where 1 to %d are taken", len(v), maxIdentity)
	}
	for i, s := range v {
		if slices.Contains(v[:i], s) {
			return fmt.Errorf("%q stands there twice", s)
		}
		if p, isFile := strings.CutPrefix(s, identityPrefix); isFile {
			if err := validPath(p); err != nil {
				return err
			}
			continue
		}
		if err := oneOf("tpm", "devicetree", "dmi", "record")(s); err != nil {
			return fmt.Errorf("%w and no file:PATH", err)
		}
	}
	return nil
}

func validPins(v []string) error {
	if len(v) > maxPins {
		return fmt.Errorf("%d pins, where at most %d are taken", len(v), maxPins)
	}
	for _, p := range v {
		b64, found := strings.CutPrefix(p, pinPrefix)
		sum, err := base64.StdEncoding.Strict().DecodeString(b64)
		if !found || err != nil || len(sum) != pinSize {
			return fmt.Errorf("%q is not %s and the base64 of %d bytes", p, pinPrefix, pinSize)
		}
	}
	return nil
}

func validUIDs(v []uint32) error {
	if len(v) > maxUIDs {
		return fmt.Errorf("%d users, where at most %d are taken", len(v), maxUIDs)
	}
	if slices.Contains(v, noUser) {
		return fmt.Errorf("%d is nobody's user ID", uint32(noUser))
	}
	return nil
}

// directory returns a directory that systemd gives the service by an environment
// variable: the first of its list, where that is an absolute path.
func directory(lookup Lookup, name, otherwise string) string {
	if lookup == nil {
		return otherwise
	}
	v, _ := lookup(name)
	if first, _, _ := strings.Cut(v, ":"); first != "" && validPath(first) == nil {
		return first
	}
	return otherwise
}
