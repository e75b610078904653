// SPDX-License-Identifier: Apache-2.0

// Package daemon wires accountlockd together and lives its life: settle the
// state, export, take the name, be ready; stay while there is something to
// stay for; leave.
//
// It must not decide about the lock, nor know a flow.
package daemon

import (
	"context"
	"crypto/rand"
	"errors"
	"log/slog"
	"os"
	"time"

	"golang.org/x/sys/unix"

	"github.com/accountlock/accountlock/internal/bus"
	"github.com/accountlock/accountlock/internal/config"
	"github.com/accountlock/accountlock/internal/device"
	"github.com/accountlock/accountlock/internal/flow"
	"github.com/accountlock/accountlock/internal/gate"
	"github.com/accountlock/accountlock/internal/journal"
	"github.com/accountlock/accountlock/internal/lock"
	"github.com/accountlock/accountlock/internal/machine"
	"github.com/accountlock/accountlock/internal/record"
	"github.com/accountlock/accountlock/internal/tpm"
)

// Options are what Run is told from outside.
type Options struct {
	Config  config.Config
	Version string
	// BusAddress is DBUS_SYSTEM_BUS_ADDRESS; empty is the system bus.
	BusAddress string
	Log        *slog.Logger
}

// ErrBusLost is the error of a daemon that lost the bus or its name: what is
// in progress is in the journal, and systemd starts it again.
var ErrBusLost = errors.New("the connection to the bus, or the name on it, was lost")

// settleTime is how long a locked device's first question to the account
// service may hold up the name: a released device then never shows the locked
// screen, and one without a network does not wait noticeably.
const settleTime = 3 * time.Second

// Run lives until ctx ends, the daemon is idle, or the bus is lost. A nil error is
// a daemon that left because it had nothing to do or was told to.
func Run(ctx context.Context, o Options) error {
	noDumps(o.Log)
	if err := os.MkdirAll(o.Config.State.Directory, 0o700); err != nil {
		// Not the end: the device can still be unlocked, and says what failed.
		o.Log.Error("cannot make the state directory", "error", err)
	}
	work, stop := context.WithCancel(context.WithoutCancel(ctx))
	defer stop()
	p, err := newParts(work, o)
	if err != nil {
		return err
	}
	defer p.close(stop)
	server, err := bus.Connect(ctx, bus.Config{
		Address: o.BusAddress, Version: o.Version,
		UseUIDs: o.Config.Authorization.Mode == config.AuthorizeUID, UIDs: o.Config.Authorization.UIDs,
		Flows: p.flows, Reporter: p.report, Support: p, Log: o.Log,
	})
	if err != nil {
		return err
	}
	defer func() { _ = server.Close() }()
	p.report.online(server)
	p.around.online(server)
	p.keeper.Observe(server)
	p.flows.Observe(server)
	p.settle(ctx)
	if !p.rests() {
		p.rest()
	}
	if err := server.Own(); err != nil {
		return err
	}
	life := &life{Options: o, parts: p, server: server}
	return life.live(ctx)
}

// parts are the pieces below the bus.
type parts struct {
	log     *slog.Logger
	store   *record.Store
	service service
	journal *journal.Journal
	gate    flow.Gate
	keeper  *flow.Keeper
	flows   *flow.Manager
	report  *report
	around  *around
	// contacts are those of support that were last heard of.
	contacts contacts
	// word is for systemd: whether the device need be woken for check-ins.
	word word
}

func newParts(ctx context.Context, o Options) (*parts, error) {
	store, err := machine.Record(o.Config, tpm.Open)
	if err != nil {
		return nil, err
	}
	marker := device.Marker{Dir: o.Config.State.Directory, Spare: gate.SpareDir(o.Config)}
	evidence, problems := gate.Evidence(o.Config, store, marker)
	for _, problem := range problems {
		o.Log.Error("the record store is not as it should be", "error", problem)
	}
	if err := store.Settle(); err != nil {
		// The next write does it; until then the record before counts, too.
		o.Log.Error("cannot end what a power cut left of the last write", "error", err)
	}
	p := &parts{log: o.Log, store: store, gate: newGate(o.Config), journal: journal.New(o.Config.State.Directory, time.Now, o.Log), word: word{dir: o.Config.State.Directory}}
	var known lock.Record
	if evidence.Store == lock.StoreValid {
		known = evidence.Record
	}
	p.around = &around{time: flow.NewTime(known.TrustedTime, clock{}, built())}
	var serr error
	if p.service, serr = newService(o.Config, known.KeySet, p.around); serr != nil {
		o.Log.Error("cannot use the account service's configuration", "error", serr)
	}
	p.keeper = flow.NewKeeper(flow.Ports{
		Conversation: p.service, Registry: p.service, Tickets: p.service, Cases: p.service, Trust: p.service,
		Record: store, Marker: marker,
		Gate: p.gate, Resetter: newResetter(o.Config), Journal: waking{p.journal, &p.word}, Diary: p.journal, Events: p.journal,
		Clock: clock{}, Time: p.around.time,
		Chip:     chip(o.Config),
		Hardware: hardware{machineOf(o.Config), o.Config.Device, o.Log},
		Random:   rand.Reader,
	}, evidence, o.Log)
	p.flows = flow.NewManager(ctx, p.keeper, o.Log)
	p.report = newReport(o, evidence, store, p, serr)
	return p, nil
}

// settle ends what an allowed reset has left, asks the account service once where
// the device is locked, and takes up what a crash or a restart left unfinished.
func (p *parts) settle(ctx context.Context) {
	p.keeper.SettleReset()
	p.tellGate(ctx)
	if err := p.flows.Resume(ctx); err != nil {
		p.log.Error("cannot read the operations in the journal", "error", err)
	}
	if p.keeper.Snapshot().Status.Open() || p.flows.Busy() {
		return
	}
	ctx, cancel := context.WithTimeout(ctx, settleTime)
	defer cancel()
	if err := p.flows.CheckIn(ctx); err != nil {
		p.log.Info("the account service could not be asked at start; the device stays locked", "error", err)
	}
}

// close ends what is under way, in the order in which it was begun.
func (p *parts) close(stop context.CancelFunc) {
	stop()
	p.flows.Close()
	p.service.Close()
	if err := p.journal.Close(); err != nil {
		p.log.Warn("cannot close the journal", "error", err)
	}
}

// noDumps keeps passwords out of core files and from other processes of the
// same user (prctl(2) PR_SET_DUMPABLE, setrlimit(2) RLIMIT_CORE).
func noDumps(log *slog.Logger) {
	err := unix.Prctl(unix.PR_SET_DUMPABLE, 0, 0, 0, 0)
	lim := unix.Rlimit{}
	if err = errors.Join(err, unix.Setrlimit(unix.RLIMIT_CORE, &lim)); err != nil {
		log.Warn("cannot switch core dumps off", "error", err)
	}
}

type clock struct{}

// Boot implements flow.Clock.
func (clock) Boot() lock.Boot { return device.Machine{}.Boot() }

// Now implements flow.Clock.
func (clock) Now() time.Time { return time.Now() }

// hardware turns the machine's identities into the flow's.
type hardware struct {
	device.Machine
	config config.Device
	log    *slog.Logger
}

// Identities implements flow.Hardware.
func (h hardware) Identities(recordID []byte) []flow.Identity {
	var out []flow.Identity
	for _, i := range h.Machine.Identities(h.config.Identity, recordID) {
		out = append(out, flow.Identity{Source: i.Source, Digest: i.Digest})
	}
	return out
}

// Token implements flow.Hardware.
func (h hardware) Token() string {
	if h.config.TokenFile == "" {
		return ""
	}
	text, err := device.Token(h.config.TokenFile)
	if err != nil {
		h.log.Warn("the vendor's enrolment token cannot be read: the device proves nothing by it", "error", err)
	}
	return text
}

// machineOf returns the machine, which its TPM names where there is one.
func machineOf(c config.Config) device.Machine {
	if c.TPM.Mode == config.TPMOff {
		return device.Machine{}
	}
	return device.Machine{TPM: func() (string, error) { return tpm.Endorsement(c.TPM.Device) }}
}

// chip returns where the device's key is kept: nil without a TPM.
func chip(c config.Config) flow.Chip {
	if c.TPM.Mode == config.TPMOff {
		return nil
	}
	return tpm.Keys{Device: c.TPM.Device}
}
