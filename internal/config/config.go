// SPDX-License-Identifier: Apache-2.0

// Package config owns the configuration of the programs on the device:
// accountlockd, accountlock-gate and `accountlockctl doctor`. It knows every
// key, its default and its bounds, and which file may set what.
//
// It must not open anything that the configuration names, nor act on it, and
// reads no environment of its own.
package config

import (
	"time"

	"github.com/accountlock/accountlock/internal/lock"
)

// Config is a whole, valid configuration.
type Config struct {
	AccountAPI    AccountAPI
	Record        Record
	State         State
	Runtime       Runtime
	Device        Device
	Policy        Policy
	Authorization Authorization
	TPM           TPM
	Daemon        Daemon
	Gate          Gate

	// Sources are the files that were read, the first one having the least to say.
	Sources []string
	// Warnings are what files under /etc asked for and did not get; see LoadLayers.
	Warnings []Warning
}

// Provisioned reports whether an account service is configured. Where none is,
// there is no lock.
func (c Config) Provisioned() bool { return c.AccountAPI.URL != "" }

// AccountAPI is `[account_api]`: the account service and what proves it.
type AccountAPI struct {
	// URL is the https URL of the account service; empty where none is configured.
	URL string
	// CAFile is the PEM file of the certificate authorities to trust; empty means
	// those of the system.
	CAFile string
	// KeySet is the JSON file with the root key and the first key set that the
	// service signs under: `{"root": JWK, "number": N, "keys": [JWK, …]}`. Never
	// empty where URL is set.
	KeySet string
	// Pins are public keys, as `sha256/BASE64` over the SubjectPublicKeyInfo, one
	// of which must be in the service's certificate chain; at most 16.
	Pins []string
}

// Record is `[record]`: where the lock record lies.
type Record struct {
	// Store is `file:PATH`, `block:PATH` or `pdb:PATH`, the path absolute. Which
	// of them this program can open is for internal/record to say.
	Store string
}

// State is `[state]`: the directory that a factory reset wipes.
type State struct{ Directory string }

// Runtime is `[runtime]`: the directory that a reboot wipes.
type Runtime struct{ Directory string }

// Device is `[device]`.
type Device struct {
	// Identity are the sources of the device's identity: `tpm`, `devicetree`,
	// `dmi`, `record` and `file:PATH`; 1 to 16, each once.
	Identity []string
	// TokenFile holds the vendor's enrolment token; empty is none.
	TokenFile string
}

// Policy is `[policy]`.
type Policy struct {
	// MissingRecord says what a blank record store means.
	MissingRecord lock.MissingPolicy
}

// Authorization is `[authorization]`: who may change what over D-Bus.
type Authorization struct {
	// Mode is AuthorizePolkit or AuthorizeUID.
	Mode string
	// UIDs are the users that may, with AuthorizeUID; at most 64.
	UIDs []uint32
}

// The values of Authorization.Mode.
const (
	AuthorizePolkit = "polkit"
	AuthorizeUID    = "uid"
)

// TPM is `[tpm]`.
type TPM struct {
	// Mode is TPMAuto, TPMRequire or TPMOff.
	Mode string
	// Device is the path of a TPM's device, or `swtpm:` and that of a socket.
	Device string
}

// The values of TPM.Mode.
const (
	// TPMAuto uses a TPM where there is one.
	TPMAuto = "auto"
	// TPMRequire locks a device whose TPM is absent or cannot be used.
	TPMRequire = "require"
	// TPMOff uses none.
	TPMOff = "off"
)

// Daemon is `[daemon]`.
type Daemon struct {
	// IdleExit is how long the daemon stays with nothing to do; 0 is for ever, at
	// most a day.
	IdleExit time.Duration
	// CheckInInterval is the time between two check-ins with the account service,
	// from a second (for trying things out) to a week.
	CheckInInterval time.Duration
}

// Gate is `[gate]`.
type Gate struct {
	// Mode is GateSystemd or GateNone.
	Mode string
}

// The values of Gate.Mode.
const (
	GateSystemd = "systemd"
	GateNone    = "none"
)

// Lookup finds a variable of the environment, as os.LookupEnv does.
type Lookup func(name string) (value string, found bool)

// Default returns the configuration without any file: not provisioned. It is the
// one place where defaults stand. lookup finds $STATE_DIRECTORY and
// $RUNTIME_DIRECTORY, which systemd sets; nil finds nothing.
func Default(lookup Lookup) Config {
	return Config{
		Record:        Record{Store: "file:/persist/accountlock/record"},
		State:         State{Directory: directory(lookup, "STATE_DIRECTORY", "/var/lib/accountlock")},
		Runtime:       Runtime{Directory: directory(lookup, "RUNTIME_DIRECTORY", "/run/accountlock")},
		Device:        Device{Identity: []string{"tpm", "devicetree", "dmi", "record"}},
		Policy:        Policy{MissingRecord: lock.RequireOnline},
		Authorization: Authorization{Mode: AuthorizePolkit, UIDs: []uint32{0}},
		TPM:           TPM{Mode: TPMAuto, Device: "/dev/tpmrm0"},
		Daemon:        Daemon{IdleExit: 30 * time.Second, CheckInInterval: 15 * time.Minute},
		Gate:          Gate{Mode: GateSystemd},
	}
}
