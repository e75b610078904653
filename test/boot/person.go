// SPDX-License-Identifier: Apache-2.0

package boot

import (
	"encoding/json"
	"os"
	"testing"
	"time"

	"golang.org/x/crypto/ssh"

	"github.com/accountlock/accountlock/internal/lock"
	"github.com/accountlock/accountlock/internal/record"
)

// As runs a script on the device as a user of it, as a program that somebody else
// has brought does.
func (c *Container) As(user, script string) (out string, code int) {
	return c.Sh("exec setpriv --reuid=" + user + " --regid=" + user + " --init-groups --reset-env sh -s <<'END-OF-SCRIPT'\n" + script + "\nEND-OF-SCRIPT")
}

// Property is a property of the daemon's, read by anybody.
func (c *Container) Property(name string) string {
	out, _ := c.Sh("busctl --json=short get-property org.accountlock.AccountLock1 /org/accountlock/AccountLock1 org.accountlock.AccountLock1.Manager " + name)
	var v struct {
		Data json.RawMessage `json:"data"`
	}
	if json.Unmarshal([]byte(out), &v) != nil {
		return out
	}
	return string(v.Data)
}

// StaysSignedIn signs the user in by ssh and keeps the session: what it returns is
// closed when the session ends.
func StaysSignedIn(t testing.TB, d Device) <-chan struct{} {
	t.Helper()
	conn, err := d.SSH()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close() })
	c, channels, requests, err := ssh.NewClientConn(conn, "device", &ssh.ClientConfig{
		User: User, Auth: []ssh.AuthMethod{ssh.Password(UserPassword)},
		HostKeyCallback: ssh.InsecureIgnoreHostKey(), //nolint:gosec // the device is the test's own
		Timeout:         10 * time.Second,
	})
	if err != nil {
		t.Fatalf("ssh: %v\n%s", err, d.State())
	}
	session, err := ssh.NewClient(c, channels, requests).NewSession()
	if err != nil {
		t.Fatal(err)
	}
	// What a session leaves behind is to end, too.
	if err := session.Start("trap '' HUP TERM; nohup sleep 86400 >/dev/null 2>&1 & sleep 86401"); err != nil {
		t.Fatal(err)
	}
	ended := make(chan struct{})
	go func() {
		_ = session.Wait()
		close(ended)
	}()
	return ended
}

// Exists reports whether there is such a file.
func (c *Container) Exists(path string) bool {
	_, err := os.Lstat(path)
	return err == nil
}

// AwaitRebootWith waits until the device wants to be started again, does what an
// initrd would do then, and starts it.
func (c *Container) AwaitRebootWith(between func()) {
	c.t.Helper()
	if code := c.awaitEnd(); code != rebootCode {
		c.t.Fatalf("the device was to reboot, but ended with %d", code)
	}
	between()
	c.Boot()
}

// MayReset reports whether the record in force allows the next wipe of /var.
func (c *Container) MayReset() bool { return c.record().Reset.Allowed }

// LinkID names the link that the record in force is about.
func (c *Container) LinkID() string { return c.record().Link.ID }

func (c *Container) record() lock.Record {
	c.t.Helper()
	store, err := record.Open("file:" + c.Persist("accountlock/record"))
	if err != nil {
		c.t.Fatal(err)
	}
	reading := store.Read()
	if reading.Err != nil {
		c.t.Fatal(reading.Err)
	}
	return reading.Record
}
