// SPDX-License-Identifier: Apache-2.0

package bus

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/godbus/dbus/v5"

	"github.com/accountlock/accountlock/internal/flow"
)

// Fact is one line of Explain.
type Fact struct {
	Name, Source string
	Details      map[string]string
}

// Check is one line of Diagnose; Result is ok, warning, failed or skipped.
type Check struct {
	Name, Result, Message string
	Details               map[string]string
}

// Reporter tells why the state is what it is, and what works.
type Reporter interface {
	Explain() []Fact
	// Diagnose asks the account service only where ask says so.
	Diagnose(ctx context.Context, ask bool) []Check
}

// Supporter knows how support is reached. Its errors are *fault.Error.
type Supporter interface {
	Support(ctx context.Context, region string) ([]flow.Contact, error)
}

// Config is what a Server is made of.
type Config struct {
	// Address of the bus; empty is the system bus.
	Address string
	// Version of the daemon.
	Version string
	// UseUIDs authorises by UIDs instead of polkit.
	UseUIDs bool
	UIDs    []uint32

	Flows    *flow.Manager
	Reporter Reporter
	Support  Supporter
	Log      *slog.Logger
}

// Server is the daemon on the bus. It is safe for concurrent use.
type Server struct {
	Config

	log    *slog.Logger
	conn   *dbus.Conn
	auth   authorizer
	checks *bucket // CheckIn
	asks   *bucket // GetSupport and Diagnose, which anybody may call
	// used is when a call last came, for the idle exit: nanoseconds.
	used atomic.Int64

	// sending is held while signals of one change are sent, so that they
	// arrive in the order of the changes.
	sending sync.Mutex
	shown   map[uint64]flow.View
	wait    *time.Timer

	owners   ownerWatch
	lostName chan struct{}
}

var _ flow.Observer = (*Server)(nil)

// defaultAddress is the system bus of the D-Bus specification.
const defaultAddress = "unix:path=/run/dbus/system_bus_socket"

// Connect connects to the bus, as Config says, and answers nothing yet: the
// name is taken by Own.
func Connect(ctx context.Context, c Config) (*Server, error) {
	s := &Server{
		Config: c, log: c.Log, shown: map[uint64]flow.View{},
		lostName: make(chan struct{}), checks: newBucket(), asks: newBucket(),
	}
	s.touch()
	raw, err := dial(ctx, c.Address)
	if err != nil {
		return nil, fmt.Errorf("cannot connect to the bus: %w", err)
	}
	// NewConn over a plain stream never negotiates file descriptors, so that the
	// bus delivers none and no client can fill our table of them.
	s.conn, err = dbus.NewConn(newBounded(raw, s.refuseTooLarge),
		dbus.WithHandler(&router{s: s, calls: map[string]int{}}), dbus.WithContext(context.WithoutCancel(ctx)))
	if err != nil {
		return nil, errors.Join(err, raw.Close())
	}
	// A bus that accepts and then says nothing must not hold the daemon for ever.
	if err := raw.SetDeadline(time.Now().Add(busTime)); err != nil {
		return nil, errors.Join(err, s.conn.Close())
	}
	if err := s.conn.Auth([]dbus.Auth{externalAuth()}); err != nil {
		return nil, errors.Join(fmt.Errorf("cannot authenticate to the bus: %w", err), s.conn.Close())
	}
	if err := s.conn.Hello(); err != nil {
		return nil, errors.Join(fmt.Errorf("cannot greet the bus: %w", err), s.conn.Close())
	}
	if err := raw.SetDeadline(time.Time{}); err != nil {
		return nil, errors.Join(err, s.conn.Close())
	}
	s.auth = polkit{s.conn}
	if c.UseUIDs {
		s.auth = uids{s.conn, c.UIDs}
	}
	s.owners.start(s)
	return s, nil
}

// dial opens the first address of the list that answers (D-Bus specification,
// 'Server Addresses'); unix:path and unix:abstract are what a system bus has.
func dial(ctx context.Context, list string) (net.Conn, error) {
	if list == "" {
		list = defaultAddress
	}
	err := fmt.Errorf("no address in %q", list)
	for _, a := range strings.Split(list, ";") {
		transport, params, _ := strings.Cut(a, ":")
		path := ""
		for _, kv := range strings.Split(params, ",") {
			k, v, _ := strings.Cut(kv, "=")
			switch k {
			case "path":
				path = v
			case "abstract":
				path = "@" + v
			}
		}
		if transport != "unix" || path == "" {
			err = fmt.Errorf("cannot use the address %q: it must be unix:path= or unix:abstract=", a)
			continue
		}
		var c net.Conn
		d := net.Dialer{Timeout: busTime}
		if c, err = d.DialContext(ctx, "unix", path); err == nil {
			return c, nil
		}
	}
	return nil, err
}

// Own takes the name: from now on clients find us. The state is settled and
// everything is exported before.
func (s *Server) Own() error {
	reply, err := s.conn.RequestName(Name, dbus.NameFlagDoNotQueue)
	if err != nil {
		return fmt.Errorf("cannot take the name %s: %w", Name, err)
	}
	if reply != dbus.RequestNameReplyPrimaryOwner {
		return fmt.Errorf("cannot take the name %s: another process has it", Name)
	}
	return nil
}

// Release gives the name back; calls that are already here are still answered.
func (s *Server) Release() error {
	_, err := s.conn.ReleaseName(Name)
	return err
}

// Activatable reports whether the bus can start the daemon again.
func (s *Server) Activatable(ctx context.Context) bool {
	ctx, cancel := context.WithTimeout(ctx, busTime)
	defer cancel()
	var names []string
	if err := s.conn.BusObject().CallWithContext(ctx, "org.freedesktop.DBus.ListActivatableNames", 0).Store(&names); err != nil {
		return false
	}
	for _, n := range names {
		if n == Name {
			return true
		}
	}
	return false
}

// Ping makes a round trip to the bus: proof of life for the watchdog. (A system
// bus lets nobody call Peer.Ping on itself.)
func (s *Server) Ping(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, busTime)
	defer cancel()
	return s.conn.BusObject().CallWithContext(ctx, "org.freedesktop.DBus.GetId", 0).Err
}

// Lost is closed when the bus or the name is gone.
func (s *Server) Lost() <-chan struct{} { return s.lostName }

// Idle returns for how long no call has come.
func (s *Server) Idle() time.Duration {
	return time.Duration(time.Now().UnixNano() - s.used.Load())
}

// Close leaves the bus.
func (s *Server) Close() error { return s.conn.Close() }

func (s *Server) touch() { s.used.Store(time.Now().UnixNano()) }

func (s *Server) keeper() *flow.Keeper { return s.Flows.Keeper() }

// refuseTooLarge answers a call whose body was dropped.
func (s *Server) refuseTooLarge(sender string, serial uint32) {
	if s.conn == nil {
		return
	}
	text := fmt.Sprintf("The message is larger than %d bytes; nothing was done.", maxBody)
	s.conn.Send(&dbus.Message{
		Type: dbus.TypeError,
		Headers: map[dbus.HeaderField]dbus.Variant{
			dbus.FieldDestination: dbus.MakeVariant(sender),
			dbus.FieldReplySerial: dbus.MakeVariant(serial),
			dbus.FieldErrorName:   dbus.MakeVariant("org.freedesktop.DBus.Error.LimitsExceeded"),
			dbus.FieldSignature:   dbus.MakeVariant(dbus.SignatureOf("")),
		},
		Body: []any{text},
	}, nil)
}
