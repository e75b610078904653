// SPDX-License-Identifier: Apache-2.0

package bus

import (
	"bytes"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"net/url"
	"regexp"
	"strings"
	"sync"
	"testing"
)

// crash is how a Go program's end begins that nobody meant.
var crash = regexp.MustCompile(`(?m)^(panic: |fatal error: |WARNING: DATA RACE).*`)

// output keeps what a program prints, and tells who waits for more.
type output struct {
	mu      sync.Mutex
	data    []byte
	changed chan struct{} // closed, and made anew, with each write
}

// both is two outputs that get the same, in the order of writing.
type both [2]*output

// MustNotPrint forbids the secrets in what any program on the bus prints, from
// its start to the bus's end, plain or in an encoding in which secrets slip out.
// The test fails at its end if one is found; the message does not show it.
func (b *Bus) MustNotPrint(t testing.TB, secrets ...string) {
	t.Helper()
	for _, secret := range secrets {
		if len(secret) < 6 {
			t.Fatal("bus: a secret of fewer than 6 bytes cannot be told from chance")
		}
	}
	b.mu.Lock()
	b.secrets = append(b.secrets, secrets...)
	b.mu.Unlock()
}

// Output is what every program on the bus has printed so far, each under its
// name.
func (b *Bus) Output() []byte {
	b.mu.Lock()
	defer b.mu.Unlock()
	var all bytes.Buffer
	for _, p := range b.processes {
		fmt.Fprintf(&all, "== %s ==\n%s\n", p.name, p.Output())
	}
	return all.Bytes()
}

// inspect fails the test if the process crashed or printed a secret.
func (b *Bus) inspect(t testing.TB, p *Process) {
	t.Helper()
	b.mu.Lock()
	secrets := b.secrets
	b.mu.Unlock()
	printed := p.Output()
	if line := crash.Find(printed); line != nil {
		t.Errorf("bus: %s crashed: %s\n%s", p.name, line, printed)
	}
	for i, secret := range secrets {
		if form := leak(printed, secret); form != "" {
			t.Errorf("bus: %s printed secret number %d of MustNotPrint, %s", p.name, i+1, form)
		}
	}
}

// leak names the form in which the text holds the secret, or is empty.
func leak(text []byte, secret string) string {
	quoted, err := json.Marshal(secret)
	if err != nil {
		quoted = []byte(secret)
	}
	lower := bytes.ToLower(text)
	switch {
	case bytes.Contains(text, []byte(secret)):
		return "as it is"
	case bytes.Contains(text, bytes.Trim(quoted, `"`)):
		return "as JSON"
	case bytes.Contains(text, []byte(url.QueryEscape(secret))):
		return "URL-encoded"
	case bytes.Contains(text, []byte(base64.RawStdEncoding.EncodeToString([]byte(secret)))),
		bytes.Contains(text, []byte(base64.RawURLEncoding.EncodeToString([]byte(secret)))):
		return "in base64"
	case bytes.Contains(lower, []byte(hex.EncodeToString([]byte(secret)))):
		return "in hexadecimal"
	case bytes.Contains(text, []byte(numbers(secret, " "))), bytes.Contains(text, []byte(numbers(secret, ","))):
		return "as a list of bytes"
	default:
		return ""
	}
}

// numbers writes the bytes as fmt and JSON write a list of them.
func numbers(secret, separator string) string {
	var list []string
	for _, c := range []byte(secret) {
		list = append(list, fmt.Sprint(c))
	}
	return strings.Join(list, separator)
}

func (o *output) init() { o.changed = make(chan struct{}) }

// Write keeps the bytes and wakes who waits.
func (o *output) Write(data []byte) (int, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.data = append(o.data, data...)
	close(o.changed)
	o.changed = make(chan struct{})
	return len(data), nil
}

// Write gives the bytes to both outputs.
func (b both) Write(data []byte) (int, error) {
	for _, o := range b {
		o.Write(data) //nolint:errcheck // an output takes everything
	}
	return len(data), nil
}

func (o *output) bytes() []byte {
	o.mu.Lock()
	defer o.mu.Unlock()
	return bytes.Clone(o.data)
}

// more returns a channel that the next write closes.
func (o *output) more() <-chan struct{} {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.changed
}
