// SPDX-License-Identifier: Apache-2.0

package gate

import (
	"bytes"
	"encoding/json"
	"flag"
	"fmt"
	"io"
	"strings"
)

// The exit codes of `accountlock-gate --decide`. Nothing but a decision to open
// ends with 0; a crash ends with 2, as Go programs do.
const (
	ExitOpen   = 0
	ExitUsage  = 2
	ExitLocked = 10
)

const usage = `usage: accountlock-gate --decide [--config FILE] [--json]

Decides, from the lock record and the reset marker alone, whether this device
opens, and says why. Writes nothing, and asks neither a network nor a bus.

  --decide        decide; the first line is 'open REASON' or 'locked REASON'
  --config FILE   read this configuration instead of /usr/lib and /etc
  --json          print one JSON object instead

Exit codes: 0 open, 10 locked, 2 wrong usage.
`

// Run is the program accountlock-gate with its arguments, without its name. It
// returns the exit code.
func Run(args []string, stdout, stderr io.Writer, parts Parts) int {
	var decide, asJSON bool
	var path string
	flags := flag.NewFlagSet("accountlock-gate", flag.ContinueOnError)
	flags.SetOutput(io.Discard)
	flags.BoolVar(&decide, "decide", false, "")
	flags.BoolVar(&asJSON, "json", false, "")
	flags.StringVar(&path, "config", "", "")
	if err := flags.Parse(args); err != nil {
		return wrongUsage(stderr, err.Error())
	}
	named := false
	flags.Visit(func(f *flag.Flag) { named = named || f.Name == "config" })
	switch {
	case flags.NArg() > 0:
		return wrongUsage(stderr, fmt.Sprintf("unexpected argument %q: running as a systemd generator is not built yet", flags.Arg(0)))
	case !decide:
		return wrongUsage(stderr, "--decide is the only mode that is built yet")
	case named && path == "":
		// fails locked: an empty name must not fall back to another configuration.
		return wrongUsage(stderr, "--config needs a file")
	}
	v := parts.decide(path)
	out := v.text()
	if asJSON {
		out = v.json()
	}
	if _, err := stdout.Write(out); err != nil {
		// fails locked: nobody has been told that the device is open.
		fmt.Fprintf(stderr, "accountlock-gate: cannot print the decision: %v\n", err)
		return ExitLocked
	}
	if v.Status.Open() {
		return ExitOpen
	}
	return ExitLocked
}

func wrongUsage(stderr io.Writer, what string) int {
	fmt.Fprintf(stderr, "accountlock-gate: %s\n\n%s", what, usage)
	return ExitUsage
}

// text is the answer for people and for scripts that read the first line.
func (v Verdict) text() []byte {
	var b bytes.Buffer
	decision, reason := v.words()
	fmt.Fprintf(&b, "%s %s\n%s\n", decision, reason, v.Rule)
	for _, p := range v.Problems {
		fmt.Fprintf(&b, "problem: %s\n", strings.ReplaceAll(p, "\n", "; "))
	}
	return b.Bytes()
}

// json is the answer as one object on one line. Names may be added to it, none
// renamed.
func (v Verdict) json() []byte {
	decision, reason := v.words()
	problems := v.Problems
	if problems == nil {
		problems = []string{}
	}
	b, err := json.Marshal(struct {
		Decision    string   `json:"decision"`
		Reason      string   `json:"reason"`
		State       string   `json:"state"`
		Rule        string   `json:"rule"`
		Provisioned bool     `json:"provisioned"`
		Store       string   `json:"store"`
		OneCopy     bool     `json:"one_copy"`
		Problems    []string `json:"problems"`
	}{decision, reason, string(v.Status.State), v.Rule, v.Provisioned, string(v.Store), v.OneCopy, problems})
	if err != nil {
		// Strings and booleans do not fail.
		return v.text()
	}
	return append(b, '\n')
}
