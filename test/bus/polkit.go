// SPDX-License-Identifier: Apache-2.0

package bus

import (
	"os"
	"path/filepath"
	"regexp"
	"testing"
)

const (
	polkitName   = "org.freedesktop.PolicyKit1"
	polkitDaemon = "/usr/lib/polkit-1/polkitd"
	polkitPolicy = "packaging/polkit/" + Name + ".policy"
)

// badRules is what polkitd prints about rules or actions that it could not
// read, and then goes on without.
var badRules = regexp.MustCompile(`(?mi)^.*(error (compiling|executing|evaluating|parsing|loading)|SyntaxError|ReferenceError).*`)

// StartPolkit starts polkitd with these rules, as WithPolkit does, and returns
// when it answers. After StopPolkit, it starts it again, with other rules
// perhaps.
func (b *Bus) StartPolkit(t testing.TB, rules string) {
	t.Helper()
	if b.polkit != nil {
		t.Fatal("bus: polkit runs already: StopPolkit first")
	}
	dir := filepath.Join(b.dir, "polkit")
	actions, local, vendor := filepath.Join(dir, "actions"), filepath.Join(dir, "local"), filepath.Join(dir, "vendor")
	for _, folder := range []string{actions, local, vendor} {
		if err := os.MkdirAll(folder, 0o755); err != nil {
			t.Fatalf("bus: cannot make polkit's folders: %v", err)
		}
	}
	policy, err := os.ReadFile(filepath.Join(root(t), polkitPolicy))
	if err != nil {
		t.Fatalf("bus: cannot read the project's actions: %v", err)
	}
	if err := os.WriteFile(filepath.Join(actions, filepath.Base(polkitPolicy)), policy, 0o644); err != nil {
		t.Fatalf("bus: cannot give polkit the actions: %v", err)
	}
	if err := os.WriteFile(filepath.Join(local, "50-test.rules"), []byte(rules), 0o644); err != nil {
		t.Fatalf("bus: cannot give polkit the rules: %v", err)
	}
	p := b.StartProcess(t, b.hidden(t, []bind{
		{actions, "/usr/share/polkit-1/actions"},
		{local, "/etc/polkit-1/rules.d"},
		{vendor, "/usr/share/polkit-1/rules.d"},
	}, polkitDaemon))
	p.name = "polkitd"
	b.awaitOwner(t, polkitName, p, func(owner string) bool { return owner != "" })
	p.AwaitOutput(t, "Acquired the name") // what it has to say of its rules comes before
	if line := badRules.Find(p.Output()); line != nil {
		t.Fatalf("bus: polkit would go on without its rules: %s", line)
	}
	b.polkit = p
}

// StopPolkit kills polkitd and returns when its name is free: what asks now gets
// no answer.
func (b *Bus) StopPolkit(t testing.TB) {
	t.Helper()
	if b.polkit == nil {
		t.Fatal("bus: polkit does not run")
	}
	b.polkit.Kill(t)
	b.polkit = nil
	b.AwaitNoName(t, polkitName)
}

// Polkit is the running polkitd, to stop and let go on (SIGSTOP, SIGCONT), or
// nil.
func (b *Bus) Polkit() *Process { return b.polkit }
