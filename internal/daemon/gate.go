// SPDX-License-Identifier: Apache-2.0

package daemon

import (
	"context"
	"errors"

	"github.com/accountlock/accountlock/internal/config"
	"github.com/accountlock/accountlock/internal/flow"
	"github.com/accountlock/accountlock/internal/gate"
)

// newGate returns the gate that `[gate] mode` names.
func newGate(c config.Config) flow.Gate {
	if c.Gate.Mode == config.GateNone {
		return noGate{}
	}
	return gate.Channel{Dir: c.Runtime.Directory}
}

// tellGate asks the gate to decide again where its last word is another than ours: a
// daemon that was killed after it wrote the record, or a gate that failed on the way,
// has left it so. It is nothing but two looks otherwise.
func (p *parts) tellGate(ctx context.Context) {
	channel, ok := p.gate.(gate.Channel)
	if !ok || channel.Knows(p.keeper.Snapshot().Status.Open()) {
		return
	}
	p.log.Warn("the gate goes by an older record and is asked to decide again")
	if err := channel.Poke(ctx); err != nil {
		p.log.Error("cannot tell the gate to decide again", "error", err)
	}
}

// noGate is `[gate] mode = "none"`: nothing is held back from booting.
type noGate struct{}

// Poke implements flow.Gate.
func (noGate) Poke(context.Context) error { return nil }

// newResetter returns the way to a factory reset, which goes by the gate's units.
// Without them it is the vendor's to begin, as the gate is.
func newResetter(c config.Config) flow.Resetter {
	if c.Gate.Mode == config.GateNone {
		return flow.ResetElsewhere{}
	}
	return resetter{gate.Resetter{Root: "/", Dir: c.Runtime.Directory}}
}

type resetter struct{ gate.Resetter }

// Begins implements flow.Resetter.
func (resetter) Begins() bool { return true }

// Ready implements flow.Resetter.
func (r resetter) Ready() error {
	err := r.Resetter.Ready()
	if errors.Is(err, gate.ErrNoReset) {
		return errors.Join(flow.ErrNoReset, err)
	}
	return err
}
