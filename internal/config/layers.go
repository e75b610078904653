// SPDX-License-Identifier: Apache-2.0

package config

import (
	"reflect"
	"slices"
)

// over puts every key that the file sets into c.
func (d *document) over(c *Config) {
	for _, k := range d.keys(c, c) {
		k.set()
	}
}

// add puts what the file may add to a vendor's configuration into c and returns
// what it may not. Sections that cannot weaken the lock are free. In the others
// the vendor's value stands, and so does the default of a key that the vendor
// did not set: leaving `missing_record` out is not leaving it to /etc. What may
// be added there can only make the lock stricter. Of several files under /etc the
// last one counts, each being held against the vendor's.
func (d *document) add(c, vendor *Config, file string) []Warning {
	var out []Warning
	for _, k := range d.keys(c, vendor) {
		if k.mayAdd {
			k.set()
			continue
		}
		// fails locked: the vendor's value stands.
		out = append(out, Warning{file, k.name, "not taken: the vendor's configuration in /usr/lib stands, which /etc may add to but not change"})
	}
	return out
}

// key is one key that a file sets, beside its place in a Config.
type key struct {
	name string
	set  func()
	// mayAdd: /etc may set it although the vendor's configuration names an
	// account service.
	mayAdd bool
}

// keys returns the keys that the file sets, for their places in c. It is the one
// list of them, and of what /etc may add to the vendor's configuration.
func (d *document) keys(c, vendor *Config) []key {
	const free, never = true, false
	a, b, v := &d.AccountAPI, &c.AccountAPI, &vendor.AccountAPI
	all := [][]key{
		bind("account_api.url", a.URL, &b.URL, v.URL, never),
		bind("account_api.key_set", a.KeySet, &b.KeySet, v.KeySet, never),
		// One's own certificate authority instead of all those of the system.
		bind("account_api.ca_file", a.CAFile, &b.CAFile, v.CAFile, v.CAFile == ""),
		// Certain keys instead of any.
		bind("account_api.pins", a.Pins, &b.Pins, v.Pins, len(v.Pins) == 0),
		bind("record.store", d.Record.Store, &c.Record.Store, vendor.Record.Store, never),
		// A marker in a directory that no reset wipes would be no marker.
		bind("state.directory", d.State.Directory, &c.State.Directory, vendor.State.Directory, never),
		bind("runtime.directory", d.Runtime.Directory, &c.Runtime.Directory, vendor.Runtime.Directory, free),
		// More names by which the account service knows the device again.
		bind("device.identity", d.Device.Identity, &c.Device.Identity, vendor.Device.Identity, extends(d.Device.Identity, vendor.Device.Identity)),
		bind("device.enrolment_token_file", d.Device.TokenFile, &c.Device.TokenFile, vendor.Device.TokenFile, never),
		bind("policy.missing_record", d.Policy.MissingRecord, &c.Policy.MissingRecord, vendor.Policy.MissingRecord, never),
		// Nothing that D-Bus allows opens a device without the account's secret.
		bind("authorization.mode", d.Authorization.Mode, &c.Authorization.Mode, vendor.Authorization.Mode, free),
		bind("authorization.uids", d.Authorization.UIDs, &c.Authorization.UIDs, vendor.Authorization.UIDs, free),
		bind("tpm.mode", d.TPM.Mode, &c.TPM.Mode, vendor.TPM.Mode, vendor.TPM.Mode == TPMAuto && d.TPM.Mode != nil && *d.TPM.Mode == TPMRequire),
		bind("tpm.device", d.TPM.Device, &c.TPM.Device, vendor.TPM.Device, never),
		bind("daemon.idle_exit", d.Daemon.IdleExit.in(), &c.Daemon.IdleExit, vendor.Daemon.IdleExit, free),
		bind("daemon.check_in_interval", d.Daemon.CheckInInterval.in(), &c.Daemon.CheckInInterval, vendor.Daemon.CheckInInterval, free),
		bind("gate.mode", d.Gate.Mode, &c.Gate.Mode, vendor.Gate.Mode, never),
	}
	return slices.Concat(all...)
}

// bind returns the key, or nothing where the file does not set it. Saying what
// the vendor says is always allowed.
func bind[T any](name string, from, to *T, vendor T, mayAdd bool) []key {
	if from == nil {
		return nil
	}
	return []key{{name: name, set: func() { *to = *from }, mayAdd: mayAdd || reflect.DeepEqual(*from, vendor)}}
}

// extends reports whether more holds all of what stands.
func extends(more *[]string, stands []string) bool {
	return more != nil && !slices.ContainsFunc(stands, func(s string) bool { return !slices.Contains(*more, s) })
}
