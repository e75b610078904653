// SPDX-License-Identifier: Apache-2.0

package record_test

import (
	"bytes"
	"context"
	"crypto/rand"
	"crypto/sha256"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/accountlock/accountlock/internal/accountapi"
	"github.com/accountlock/accountlock/internal/accountapi/client"
	machine "github.com/accountlock/accountlock/internal/device"
	"github.com/accountlock/accountlock/internal/fault"
	"github.com/accountlock/accountlock/internal/flow"
	"github.com/accountlock/accountlock/internal/journal"
	"github.com/accountlock/accountlock/internal/lock"
	"github.com/accountlock/accountlock/internal/record"
	"github.com/accountlock/accountlock/internal/secret"
	"github.com/accountlock/accountlock/internal/service/apitest"
	servicedevice "github.com/accountlock/accountlock/internal/service/device"
)

// system is a whole device whose power can be cut, and its account service. The
// record lies on one disk, marker and journal on another one; the counter is in a
// TPM, where there is one.
type system struct {
	t    *testing.T
	p    place
	chip *chip // nil without a TPM
	svc  *apitest.Service
	// keys is the file with the account service's keys, as a device's image has it.
	keys, ca string

	// disks is held by whatever uses the disks: several goroutines of a daemon do.
	disks sync.Mutex
	kept  *record.Disk
	wiped *record.Disk
	dir   string // the state directory, where SQLite's files really are
	// scratch is for what is looked at and thrown away.
	scratch string

	serial string
	// recorder, while an operation is recorded, sees every change.
	recorder *recorder
}

func newSystem(t *testing.T, p place, c *chip, svc *apitest.Service) *system {
	t.Helper()
	s := &system{t: t, p: p, chip: c, svc: svc, kept: p.disk(), dir: memory(t), scratch: memory(t), serial: rand.Text()}
	s.factoryReset()
	f, err := svc.Keys.DeviceFile()
	must(t, err)
	text, err := json.Marshal(f)
	must(t, err)
	s.keys, s.ca = filepath.Join(t.TempDir(), "keys.json"), filepath.Join(t.TempDir(), "ca.pem")
	must(t, os.WriteFile(s.keys, text, 0o600))
	must(t, os.WriteFile(s.ca, svc.CA, 0o600))
	return s
}

// factoryReset wipes what a reset wipes. No daemon runs then.
func (s *system) factoryReset() {
	s.t.Helper()
	entries, err := os.ReadDir(s.dir)
	must(s.t, err)
	for _, e := range entries {
		must(s.t, os.Remove(filepath.Join(s.dir, e.Name())))
	}
	s.wiped = record.NewDisk("")
	s.wiped.MaxDirty, s.wiped.Chance = 4, 4
	if everything() {
		s.wiped.MaxDirty, s.wiped.Chance = 6, 60
	}
	tap().onto(s.t, s.dir, &s.disks, s.wiped)
}

// daemon is one life of the daemon, on disks that may be recorded.
type daemon struct {
	*system
	keeper  *flow.Keeper
	flows   *flow.Manager
	journal *journal.Journal
	boot    lock.Boot
	close   func()
}

// store returns the record store on a disk, bound to a TPM where there is one.
func (s *system) store(kept *record.Disk, c *chip) *record.Store {
	if c == nil {
		return s.p.on(kept)
	}
	return s.p.on(kept, c.option(true))
}

// start starts the daemon as it is.
func (s *system) start() *daemon {
	s.t.Helper()
	return s.startOn(s.kept, s.chip, s.dir)
}

// startOn starts the daemon on a record, a TPM and a state directory. Only the
// system's own are recorded.
func (s *system) startOn(kept *record.Disk, c *chip, dir string) *daemon {
	s.t.Helper()
	store := s.store(kept, c)
	reading := store.Read()
	must(s.t, store.Settle())
	marker, err := machine.Marker{Dir: dir}.Read()
	must(s.t, err)
	cl, err := client.New(client.Config{URL: s.svc.URL, CAFile: s.ca, KeySetFile: s.keys, Known: reading.Record.KeySet, PortalURL: "http://127.0.0.1:1/"})
	must(s.t, err)
	log := slog.New(slog.DiscardHandler)
	l := &daemon{system: s, boot: lock.Boot{ID: "a boot", Since: time.Minute}}
	l.journal = journal.New(dir, time.Now, log)
	l.keeper = flow.NewKeeper(flow.Ports{
		Conversation: talk{s, cl}, Registry: registry{s, cl}, Trust: cl,
		Record: writing{s, store}, Marker: marking{s, dir},
		Gate: noGate{}, Journal: l.journal, Diary: l.journal, Events: l.journal,
		Clock: l, Hardware: l, Random: rand.Reader,
	}, lock.Evidence{
		Provisioned: true, Store: reading.Store, Record: reading.Record, OneCopy: reading.OneCopy, TPM: reading.TPM,
		Marker: marker, Policy: lock.RequireOnline,
	}, log)
	ctx, cancel := context.WithCancel(context.Background())
	l.flows = flow.NewManager(ctx, l.keeper, log)
	l.close = func() {
		cancel()
		l.flows.Close()
		cl.Close()
		must(s.t, l.journal.Close())
	}
	return l
}

func (l *daemon) Boot() lock.Boot { return l.boot }
func (l *daemon) Now() time.Time  { return time.Now() }
func (l *daemon) Model() string   { return "test" }
func (l *daemon) Token() string   { return "" }
func (l *daemon) Identities([]byte) []flow.Identity {
	i := apitest.Identity(accountapi.Dmi, l.serial)
	return []flow.Identity{{Source: "dmi", Digest: i.Digest}}
}

func (l *daemon) state() lock.Status { return l.keeper.Snapshot().Status }

// settle does what the start of the daemon does, and a check-in.
func (l *daemon) settle() error {
	if err := l.flows.Resume(context.Background()); err != nil {
		return err
	}
	if err := l.idle(); err != nil {
		return err
	}
	return l.flows.CheckIn(context.Background())
}

// idle waits until no operation is under way.
func (l *daemon) idle() error {
	for end := time.Now().Add(time.Minute); time.Now().Before(end); time.Sleep(time.Millisecond) {
		if !slices.ContainsFunc(l.flows.List(""), func(f *flow.Flow) bool { return f.View().Step == flow.StepWorking }) {
			return nil
		}
	}
	return errors.New("an operation does not end")
}

// person answers a flow to its end and returns the recovery code it was shown.
func (l *daemon) person(kind lock.Kind, who apitest.Person) (code string, err error) {
	f, err := l.flows.Begin(":1.1", kind, flow.Options{})
	if err != nil {
		return "", err
	}
	for range 12 {
		in := flow.Input{}
		switch v := f.View(); v.Step {
		case flow.StepIdentify:
			in["identifier"] = who.Email
		case flow.StepPassword:
			in["password"] = secret.Bytes(who.Password)
		case flow.StepConfirm:
			code = v.Prompt.RecoveryCode
			in["confirm"] = true
			if code != "" {
				in["recovery-code"] = secret.Bytes(code)
			}
		case flow.StepDone:
			return code, nil
		case flow.StepWorking:
			if err := l.idle(); err != nil {
				return "", err
			}
			continue
		default:
			return "", fmt.Errorf("%s ended at %s: %w", kind, v.Step, v.Error)
		}
		if err := f.Submit(context.Background(), in); err != nil {
			return "", err
		}
	}
	return "", errors.New("the flow does not end")
}

// --- ports, with the moments between their effects ----------------------------

type writing struct {
	s     *system
	store *record.Store
}

func (w writing) Write(r lock.Record, ownership bool) error {
	w.s.disks.Lock()
	defer w.s.disks.Unlock()
	return w.store.Write(r, ownership)
}

// marking writes the marker, and on the disk in memory what that does: another
// name, flushed, renamed, the folder flushed (machine.Marker).
type marking struct {
	s   *system
	dir string
}

func (m marking) Write(b []byte) error {
	m.s.disks.Lock()
	defer m.s.disks.Unlock()
	if m.dir == m.s.dir {
		d := m.s.wiped
		d.Remove(".reset-marker.new")
		d.Create(".reset-marker.new")
		d.Write(".reset-marker.new", b, 0)
		d.Flush(".reset-marker.new")
		d.Rename(".reset-marker.new", "reset-marker")
		d.SyncFolder()
	}
	return machine.Marker{Dir: m.dir}.Write(b)
}

type noGate struct{}

func (noGate) Poke(context.Context) error { return nil }

type talk struct {
	s *system
	*client.Client
}

func (c talk) Begin(ctx context.Context, creds flow.Credentials, b flow.Begin) (r flow.Remote, err error) {
	c.s.around("begin", func() { r, err = c.Client.Begin(ctx, creds, b) })
	return r, err
}

func (c talk) Answer(ctx context.Context, creds flow.Credentials, id string, a flow.Answer) (r flow.Remote, err error) {
	c.s.around("answer "+a.Step, func() { r, err = c.Client.Answer(ctx, creds, id, a) })
	return r, err
}

type registry struct {
	s *system
	*client.Client
}

func (c registry) Enrol(ctx context.Context, creds flow.Credentials, e flow.Enrolment) (id string, proven bool, err error) {
	c.s.around("enrol", func() { id, proven, err = c.Client.Enrol(ctx, creds, e) })
	return id, proven, err
}

func (c registry) State(ctx context.Context, creds flow.Credentials, link string, n flow.Nonce) (st lock.Statement, err error) {
	c.s.around("state", func() { st, err = c.Client.State(ctx, creds, link, n) })
	return st, err
}

// around makes a call to the account service one step of its own.
func (s *system) around(op string, call func()) {
	if s.recorder == nil {
		call()
		return
	}
	s.disks.Lock()
	s.recorder.moment("before " + op)
	s.disks.Unlock()
	call()
	s.disks.Lock()
	defer s.disks.Unlock()
	s.recorder.serviceChanged()
	s.recorder.moment("after " + op)
}

// --- the account service at a moment -------------------------------------------

// sides is what the account service holds at one moment.
type sides struct {
	file   string // a copy of its database
	status servicedevice.Status
}

func (s *system) database() *sql.DB {
	db, err := sql.Open("sqlite", "file:"+s.svc.Database.Path+"?_pragma=busy_timeout(5000)")
	must(s.t, err)
	db.SetMaxOpenConns(1)
	return db
}

func (s *system) snapshot(deviceID string) sides {
	s.t.Helper()
	db := s.database()
	defer func() { must(s.t, db.Close()) }()
	out := sides{file: filepath.Join(s.scratch, rand.Text()+".db"), status: s.serviceSays(deviceID)}
	_, err := db.Exec(`VACUUM INTO ?`, out.file)
	must(s.t, err)
	return out
}

// restore puts the account service back to a moment. It goes on serving.
func (s *system) restore(to sides) {
	s.t.Helper()
	db := s.database()
	defer func() { must(s.t, db.Close()) }()
	exec := func(query string, args ...any) {
		s.t.Helper()
		_, err := db.Exec(query, args...)
		must(s.t, err)
	}
	exec(`PRAGMA foreign_keys = OFF`)
	exec(`ATTACH ? AS earlier`, to.file)
	exec(`BEGIN IMMEDIATE`)
	rows, err := db.Query(`SELECT name FROM earlier.sqlite_schema WHERE type = 'table' AND name NOT LIKE 'sqlite_%'`)
	must(s.t, err)
	var tables []string
	for rows.Next() {
		var name string
		must(s.t, rows.Scan(&name))
		tables = append(tables, name)
	}
	must(s.t, errors.Join(rows.Err(), rows.Close()))
	if !slices.Contains(tables, "links") {
		s.t.Fatalf("the copy holds nothing but %v", tables)
	}
	for _, table := range tables {
		exec(`DELETE FROM main."` + table + `"`)
		exec(`INSERT INTO main."` + table + `" SELECT * FROM earlier."` + table + `"`)
	}
	exec(`COMMIT`)
}

func (s *system) serviceSays(deviceID string) servicedevice.Status {
	s.t.Helper()
	d, err := s.svc.Devices.Show(context.Background(), deviceID)
	if fault.CodeOf(err) == fault.DeviceUnknown {
		return servicedevice.None
	}
	must(s.t, err)
	return d.Link.Status
}

// --- recording -----------------------------------------------------------------

// recorder keeps every state that a power cut could leave, at every moment of an
// operation.
type recorder struct {
	s        *system
	deviceID string
	seen     [4]int // changes of the disks, of the service and of the TPM
	steps    int    // what was done to the TPM
	sides    []sides
	states   map[[32]byte]left
	physical int
	moments  int
}

// left is what a power cut left: both disks and the TPM, and the account service
// beside them.
type left struct {
	record []byte
	chip   *chip
	files  map[string][]byte
	sides  int
	op     string
	last   bool
}

// recorded runs an operation and returns what the power failing at any moment of
// it, and after it, leaves.
func (s *system) recorded(deviceID string, run func()) *recorder {
	s.t.Helper()
	r := &recorder{s: s, deviceID: deviceID, states: map[[32]byte]left{}}
	r.sides = []sides{s.snapshot(deviceID)}
	s.disks.Lock()
	s.kept.Before = func(op string) error { r.moment(op); return nil }
	s.wiped.Before = s.kept.Before
	if s.chip != nil {
		s.chip.before, s.chip.after = r.moment, func() { r.steps++ }
	}
	s.disks.Unlock()
	s.recorder = r
	run()
	s.disks.Lock()
	defer s.disks.Unlock()
	s.recorder = nil
	s.kept.Before, s.wiped.Before = nil, nil
	if s.chip != nil {
		s.chip.before, s.chip.after = nil, nil
	}
	r.serviceChanged()
	r.seen = [4]int{-1, -1, -1, -1}
	r.visit("the end", true)
	for name, content := range s.wiped.Files() {
		real, err := os.ReadFile(filepath.Join(s.dir, name))
		if must(s.t, err); !bytes.Equal(real, content) {
			s.t.Fatalf("%s is not what was recorded", name)
		}
	}
	return r
}

func (r *recorder) serviceChanged() {
	r.sides = append(r.sides, r.s.snapshot(r.deviceID))
}

func (r *recorder) moment(op string) { r.visit(op, false) }

func (r *recorder) visit(op string, last bool) {
	now := [4]int{r.s.kept.Changes, r.s.wiped.Changes, len(r.sides), r.steps}
	if now == r.seen {
		return
	}
	r.seen = now
	r.moments++
	c := r.s.chip.same()
	r.s.kept.PowerCuts(func(kept *record.Disk) {
		rec := kept.Content(where)
		r.physical += r.s.wiped.PowerCuts(func(wiped *record.Disk) {
			st := left{rec, c, wiped.Files(), len(r.sides) - 1, op, last}
			key := st.key()
			if _, ok := r.states[key]; !ok {
				r.states[key] = st
			}
		})
	})
}

func (l left) key() (key [32]byte) {
	h := sha256.New()
	fmt.Fprintln(h, l.sides, l.last, len(l.record))
	if l.chip != nil {
		fmt.Fprintln(h, l.chip.defined, l.chip.value)
	}
	h.Write(l.record)
	for _, name := range slices.Sorted(maps.Keys(l.files)) {
		fmt.Fprintln(h, name, len(l.files[name]))
		h.Write(l.files[name])
	}
	h.Sum(key[:0])
	return key
}

// logical is what is in a state, apart from how it lies there: what the next start
// makes of it follows from that alone.
type logical struct {
	record  record.Reading
	marker  string
	pending string
}

// read reads a state as the next start does.
func (r *recorder) read(st left, journals map[[32]byte]string) logical {
	t := r.s.t
	t.Helper()
	l := logical{marker: string(st.files["reset-marker"]), record: r.s.store(r.disk(st), st.chip).Read()}
	h := sha256.New()
	for _, name := range []string{"journal.db", "journal.db-wal"} {
		fmt.Fprintln(h, len(st.files[name]))
		h.Write(st.files[name])
	}
	var key [32]byte
	h.Sum(key[:0])
	text, ok := journals[key]
	if !ok {
		dir := r.folder(st)
		j := journal.New(dir, time.Now, slog.New(slog.DiscardHandler))
		ops, err := j.Pending(context.Background())
		must(t, errors.Join(err, j.Close()))
		text = fmt.Sprint(ops)
		journals[key] = text
		must(t, os.RemoveAll(dir))
	}
	l.pending = text
	return l
}

func (r *recorder) disk(st left) *record.Disk {
	if st.record == nil {
		return record.NewDisk("/p")
	}
	return r.s.p.filled(st.record)
}

// memory returns a folder that is quick to flush, where there is one: what a power
// cut leaves is known from elsewhere.
func memory(t *testing.T) string {
	t.Helper()
	dir, err := os.MkdirTemp("/dev/shm", "accountlock-test-")
	if err != nil {
		return t.TempDir()
	}
	t.Cleanup(func() { must(t, os.RemoveAll(dir)) })
	return dir
}

// folder returns the state directory as it is in a state.
func (r *recorder) folder(st left) string {
	dir, err := os.MkdirTemp(r.s.scratch, "")
	must(r.s.t, err)
	for name, content := range st.files {
		must(r.s.t, os.WriteFile(filepath.Join(dir, name), content, 0o600))
	}
	return dir
}
