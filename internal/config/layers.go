// SPDX-License-Identifier: Apache-2.0

package config

import (
	"reflect"
	"slices"
	"time"
)

// over puts every key that the file sets into c.
func (d *document) over(c *Config) {
	for _, k := range d.keys(c) {
		k.set()
	}
}

// add puts what the file may add to a vendor's configuration into c and returns
// what it may not. Sections that cannot weaken the lock are free. In the others
// the vendor's value stands, and so does the default of a key that the vendor
// did not set: leaving `missing_record` out is not leaving it to /etc. What may
// be added there can only make the lock stricter.
func (d *document) add(c *Config, file string) []Warning {
	var out []Warning
	for _, k := range d.keys(c) {
		switch {
		case k.same:
		case k.mayAdd:
			k.set()
		default:
			// fails locked: the vendor's value stands.
			out = append(out, Warning{file, k.name, "not taken: the vendor's configuration in /usr/lib stands, which /etc may add to but not change"})
		}
	}
	return out
}

// key is one key that a file sets, beside its place in a Config.
type key struct {
	name string
	set  func()
	// same: the file says what stands already.
	same bool
	// mayAdd: /etc may set it although the vendor's configuration names an
	// account service.
	mayAdd bool
}

// keys returns the keys that the file sets. It is the one list of them, and of
// what /etc may add.
func (d *document) keys(c *Config) []key {
	const free, never = true, false
	a, b := &d.AccountAPI, &c.AccountAPI
	all := [][]key{
		bind("account_api.url", a.URL, &b.URL, never),
		bind("account_api.key_set", a.KeySet, &b.KeySet, never),
		// One's own certificate authority instead of all those of the system.
		bind("account_api.ca_file", a.CAFile, &b.CAFile, b.CAFile == ""),
		// Certain keys instead of any.
		bind("account_api.pins", a.Pins, &b.Pins, len(b.Pins) == 0),
		bind("record.store", d.Record.Store, &c.Record.Store, never),
		// A marker in a directory that no reset wipes would be no marker.
		bind("state.directory", d.State.Directory, &c.State.Directory, never),
		bind("runtime.directory", d.Runtime.Directory, &c.Runtime.Directory, free),
		// More names by which the account service knows the device again.
		bind("device.identity", d.Device.Identity, &c.Device.Identity, extends(d.Device.Identity, c.Device.Identity)),
		bind("policy.missing_record", d.Policy.MissingRecord, &c.Policy.MissingRecord, never),
		// Nothing that D-Bus allows opens a device without the account's secret.
		bind("authorization.mode", d.Authorization.Mode, &c.Authorization.Mode, free),
		bind("authorization.uids", d.Authorization.UIDs, &c.Authorization.UIDs, free),
		bind("tpm.mode", d.TPM.Mode, &c.TPM.Mode, c.TPM.Mode == TPMAuto && d.TPM.Mode != nil && *d.TPM.Mode == TPMRequire),
		bind("tpm.device", d.TPM.Device, &c.TPM.Device, never),
		bind("daemon.idle_exit", (*time.Duration)(d.Daemon.IdleExit), &c.Daemon.IdleExit, free),
		bind("daemon.check_in_interval", (*time.Duration)(d.Daemon.CheckInInterval), &c.Daemon.CheckInInterval, free),
		bind("gate.mode", d.Gate.Mode, &c.Gate.Mode, never),
	}
	return slices.Concat(all...)
}

// bind returns the key, or nothing where the file does not set it.
func bind[T any](name string, from, to *T, mayAdd bool) []key {
	if from == nil {
		return nil
	}
	return []key{{name: name, set: func() { *to = *from }, same: reflect.DeepEqual(*from, *to), mayAdd: mayAdd}}
}

// extends reports whether more holds all of what stands.
func extends(more *[]string, stands []string) bool {
	return more != nil && !slices.ContainsFunc(stands, func(s string) bool { return !slices.Contains(*more, s) })
}
