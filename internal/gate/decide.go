// SPDX-License-Identifier: Apache-2.0

package gate

import (
	"github.com/accountlock/accountlock/internal/config"
	"github.com/accountlock/accountlock/internal/lock"
)

// Parts are what the gate is wired to.
type Parts struct {
	// Config reads the configuration: the one file named, or the layers of
	// /usr/lib and /etc where path is empty.
	Config func(path string) (config.Config, error)
	// Record opens the record store that `[record] store` names, with the TPM that
	// `[tpm]` does. An error means that this program cannot open such a store.
	Record func(config.Config) (RecordReader, error)
	// Marker returns the reset marker in the state directory, and in a folder that a
	// reboot wipes (SpareDir).
	Marker func(dir, spare string) MarkerReader

	// The rest is for the generator and the service alone.

	// Root is the root of the filesystem, "/" on a device.
	Root string
	// Getenv finds a variable of the environment, as os.LookupEnv does.
	Getenv config.Lookup
	// Systemctl runs systemctl with these arguments and waits for it.
	Systemctl func(args ...string) error
	// Run runs a program without arguments and waits for it.
	Run func(program string) error
}

// Verdict is the decision with what it rests on. It holds no secret.
type Verdict struct {
	Status lock.Status
	// Rule is the row of the decision table that gave it.
	Rule string
	// Provisioned: an account service is configured.
	Provisioned bool
	// Store is what the record store held; empty where it was not looked at.
	Store lock.Store
	// Ungated: `[gate] mode = "none"`, nothing is held back from booting.
	Ungated bool
	// OneCopy: one slot is whole and the other one is not.
	OneCopy bool
	// Settle: the record allows a reset, which is the daemon's to take back in this very
	// boot.
	Settle bool
	// TPM is what the TPM says about the record.
	TPM lock.TPM
	// Problems are what went wrong on the way, and wishes of /etc that were not
	// granted.
	Problems []string
}

// decide reads the configuration, gathers the evidence and decides.
func (p Parts) decide(path string) Verdict {
	cfg, err := p.Config(path)
	if err != nil {
		// fails locked: the file that cannot be read may be the one that names the
		// account service, and a device without one is open. Damaging a file under
		// /etc must not be a way in; where there is no file at all, there was no
		// lock (config.LoadLayers gives no error then).
		return locked("the configuration cannot be read, so nobody can tell whether there is a lock", err)
	}
	if !cfg.Provisioned() {
		d := lock.Decide(lock.Evidence{})
		return verdict(d, lock.Evidence{}, cfg, nil)
	}
	store, err := p.Record(cfg)
	if err != nil {
		// fails locked: a store that this program does not know is not readable.
		v := locked("the record store cannot be opened", err)
		v.Provisioned, v.Ungated = true, cfg.Gate.Mode == config.GateNone
		return v
	}
	e, problems := Evidence(cfg, store, p.Marker(cfg.State.Directory, SpareDir(cfg)))
	return verdict(lock.Decide(e), e, cfg, problems)
}

func verdict(d lock.Decision, e lock.Evidence, cfg config.Config, problems []error) Verdict {
	v := Verdict{
		Status: d.Status, Rule: d.Rule, Provisioned: e.Provisioned, Ungated: cfg.Gate.Mode == config.GateNone,
		Store: e.Store, OneCopy: e.OneCopy, TPM: e.TPM, Settle: e.Record.Reset.Allowed,
	}
	for _, err := range problems {
		v.Problems = append(v.Problems, err.Error())
	}
	for _, w := range cfg.Warnings {
		v.Problems = append(v.Problems, w.String())
	}
	return v
}

// locked is the verdict where there is not even evidence.
func locked(rule string, err error) Verdict {
	return Verdict{Status: lock.LockedFor(lock.RecordDamaged), Rule: rule, Problems: []string{err.Error()}}
}

// passes reports whether the boot may go on.
func (v Verdict) passes() bool { return v.Status.Open() || v.Ungated }

// words are the two words of the answer: `open` or `locked`, and why.
func (v Verdict) words() (decision, reason string) {
	if v.Status.Open() {
		return "open", string(v.Status.State)
	}
	return "locked", string(v.Status.Reason)
}
