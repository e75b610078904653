// SPDX-License-Identifier: Apache-2.0

package bus_test

import (
	"context"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/godbus/dbus/v5"

	"github.com/accountlock/accountlock/test/bus"
)

const rules = `
polkit.addRule(function(action, subject) {
	if (action.id == "org.accountlock.AccountLock1.link")
		return subject.user == "nobody" ? polkit.Result.YES : polkit.Result.NO;
	if (action.id == "org.accountlock.AccountLock1.sign-out")
		return polkit.Result.NO;
	if (action.id == "org.accountlock.AccountLock1.unlink")
		return polkit.Result.AUTH_ADMIN;
	return polkit.Result.NOT_HANDLED;
});
`

// answer is what polkit says of an authorisation.
type answer struct {
	Authorized bool
	Challenge  bool
	Details    map[string]string
}

func TestPolkitAnswersByTheRules(t *testing.T) {
	bus.NeedRoot(t, "it starts polkitd")
	b := bus.Start(t, bus.WithPolkit(rules))
	tests := map[string]struct {
		uid    int
		action string
		want   answer
	}{
		"yes":                                   {bus.Nobody, "link", answer{Authorized: true}},
		"no":                                    {bus.Nobody, "sign-out", answer{}},
		"yes for one user alone":                {anotherUser, "link", answer{}},
		"a password, where nobody can be asked": {bus.Nobody, "unlink", answer{Challenge: true}},
		"the action's default, where no rule holds": {bus.Nobody, "reset", answer{Challenge: true}},
		"root, whom no rule stops":                  {os.Getuid(), "sign-out", answer{Authorized: true}},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			got, err := check(t, b, test.uid, bus.Name+"."+test.action)
			if err != nil || got.Authorized != test.want.Authorized || got.Challenge != test.want.Challenge {
				t.Errorf("polkit says %+v, %v; want %+v", got, err, test.want)
			}
		})
	}
	t.Run("an action it does not know", func(t *testing.T) {
		if got, err := check(t, b, bus.Nobody, "org.example.unknown"); errorName(err) != "org.freedesktop.PolicyKit1.Error.Failed" {
			t.Errorf("polkit says %+v, %v", got, err)
		}
	})
	t.Run("an action of the host", func(t *testing.T) {
		if got, err := check(t, b, bus.Nobody, "org.freedesktop.policykit.exec"); err == nil {
			t.Errorf("polkit knows it and says %+v", got)
		}
	})
}

func TestPolkitComesAndGoes(t *testing.T) {
	bus.NeedRoot(t, "it starts polkitd")
	b := bus.Start(t, bus.WithPolkit(rules))
	b.StopPolkit(t)
	if got, err := check(t, b, bus.Nobody, bus.Name+".link"); errorName(err) != "org.freedesktop.DBus.Error.ServiceUnknown" {
		t.Errorf("polkit, gone, says %+v, %v", got, err)
	}
	b.StartPolkit(t, "")
	if got, err := check(t, b, bus.Nobody, bus.Name+".link"); err != nil || got.Authorized || !got.Challenge {
		t.Errorf("polkit, without rules, says %+v, %v", got, err)
	}
	b.Polkit().Signal(t, syscall.SIGSTOP)
	ctx, cancel := context.WithTimeout(t.Context(), 200*time.Millisecond)
	defer cancel()
	if got, err := checkContext(ctx, t, b, bus.Nobody, bus.Name+".link"); err == nil {
		t.Errorf("polkit, stopped, says %+v", got)
	}
}

func TestRulesThatPolkitCannotReadFailTheTest(t *testing.T) {
	bus.NeedRoot(t, "it starts polkitd")
	for name, rules := range map[string]string{
		"not JavaScript":   "polkit.addRule(function(action {",
		"an unknown name":  "nothing.addRule();",
		"fails when asked": "throw 'no';",
	} {
		t.Run(name, func(t *testing.T) {
			failures := watch(t, func(t testing.TB) { bus.Start(t, bus.WithPolkit(rules)) })
			if !strings.Contains(failures, "polkit would go on without its rules") {
				t.Errorf("the test goes on: %q", failures)
			}
		})
	}
}

func TestTheHostsPolkitIsUntouched(t *testing.T) {
	bus.NeedRoot(t, "it starts polkitd")
	mounts := read(t, "/proc/self/mountinfo")
	b := bus.Start(t, bus.WithPolkit(rules))
	if got := read(t, "/proc/self/mountinfo"); got != mounts {
		t.Errorf("the test's mounts are\n%s\nand were\n%s", got, mounts)
	}
	inside := filepath.Join("/proc", pid(b.Polkit()), "root")
	for _, folder := range []string{"/usr/share/polkit-1/actions", "/etc/polkit-1/rules.d"} {
		if here, there := list(t, folder), list(t, inside+folder); here == there || there == "" {
			t.Errorf("%s: polkit sees %q, the host %q", folder, there, here)
		}
	}
	if _, err := os.Stat(inside + "/run/dbus"); err == nil {
		t.Error("polkit sees the host's bus")
	}
}

func check(t *testing.T, b *bus.Bus, uid int, action string) (answer, error) {
	t.Helper()
	return checkContext(t.Context(), t, b, uid, action)
}

// checkContext asks as root whether the user's connection may.
func checkContext(ctx context.Context, t *testing.T, b *bus.Bus, uid int, action string) (answer, error) {
	t.Helper()
	subject := struct {
		Kind    string
		Details map[string]dbus.Variant
	}{"system-bus-name", map[string]dbus.Variant{"name": dbus.MakeVariant(b.ConnectAs(t, uid).Names()[0])}}
	var got answer
	err := b.Connect(t).Object("org.freedesktop.PolicyKit1", "/org/freedesktop/PolicyKit1/Authority").CallWithContext(ctx,
		"org.freedesktop.PolicyKit1.Authority.CheckAuthorization", 0, subject, action, map[string]string{}, uint32(0), "").Store(&got)
	return got, err
}
