// SPDX-License-Identifier: Apache-2.0

package gate

import (
	"bytes"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"strings"
)

// The exit codes of `accountlock-gate --decide`. Nothing but a decision to open
// ends with 0; a crash ends with 2, as Go programs do. As generator and as service
// it ends with 0 when it did what it is for, and otherwise with ExitFailed.
const (
	ExitOpen   = 0
	ExitFailed = 1
	ExitUsage  = 2
	ExitLocked = 10
)

const usage = `usage: accountlock-gate --decide [--config FILE] [--json]
       accountlock-gate --gate
       accountlock-gate --again [--no-reboot]
       accountlock-gate --reset
       accountlock-gate NORMAL EARLY LATE

Decides, from the lock record, the reset marker and the TPM alone, whether this
device opens, and says why. Asks neither a network nor a bus.

  --decide        decide, and write nothing; the first line is 'open REASON' or
                  'locked REASON'
  --config FILE   read this configuration instead of /usr/lib and /etc
  --json          print one JSON object instead
  --gate          decide at boot (accountlock-gate.service)
  --again         decide again (accountlock-again.service): open a device that was
                  locked; reboot one that was open and is locked now
  --no-reboot     shut that one without a reboot
  --reset         begin a factory reset (accountlock-reset@.service)
  three folders   be a systemd generator

Exit codes of --decide: 0 open, 10 locked, 2 wrong usage.
`

// firstDescriptor is the first one that systemd passes (sd_listen_fds(3)).
const firstDescriptor = 3

// modes are what the arguments ask for.
type modes struct {
	decide, gate, again, reset, noReboot, asJSON bool

	config  string
	named   bool
	folders []string
}

func parse(args []string) (modes, error) {
	var m modes
	flags := flag.NewFlagSet("accountlock-gate", flag.ContinueOnError)
	flags.SetOutput(io.Discard)
	flags.BoolVar(&m.decide, "decide", false, "")
	flags.BoolVar(&m.gate, "gate", false, "")
	flags.BoolVar(&m.again, "again", false, "")
	flags.BoolVar(&m.reset, "reset", false, "")
	flags.BoolVar(&m.noReboot, "no-reboot", false, "")
	flags.BoolVar(&m.asJSON, "json", false, "")
	flags.StringVar(&m.config, "config", "", "")
	if err := flags.Parse(args); err != nil {
		return m, err
	}
	flags.Visit(func(f *flag.Flag) { m.named = m.named || f.Name == "config" })
	m.folders = flags.Args()
	return m, m.check(flags.NFlag())
}

// check refuses what does not go together.
func (m modes) check(flags int) error {
	one := 0
	for _, set := range []bool{m.decide, m.gate, m.again, m.reset, len(m.folders) > 0} {
		if set {
			one++
		}
	}
	switch {
	case one != 1:
		return errors.New("it needs one of --decide, --gate, --again, --reset and three folders")
	case len(m.folders) > 0 && (len(m.folders) != 3 || flags > 0):
		return errors.New("a generator gets three folders and nothing else")
	case m.named && m.config == "":
		// fails locked: an empty name must not fall back to another configuration.
		return errors.New("--config needs a file")
	case m.named && !m.decide, m.asJSON && !m.decide:
		return errors.New("--config and --json go with --decide")
	case m.noReboot && !m.again:
		return errors.New("--no-reboot goes with --again")
	}
	return nil
}

// Run is the program accountlock-gate with its arguments, without its name. It
// returns the exit code.
func Run(args []string, stdin io.Reader, stdout, stderr io.Writer, parts Parts) int {
	m, err := parse(args)
	switch {
	case errors.Is(err, flag.ErrHelp):
		// Not 0, which says that the device opens.
		fmt.Fprint(stderr, usage)
		return ExitUsage
	case err != nil:
		fmt.Fprintf(stderr, "accountlock-gate: %v\n\n%s", err, usage)
		return ExitUsage
	case m.decide:
		return answer(parts.decide(m.config), m.asJSON, stdout, stderr)
	case m.gate:
		err = parts.service(stderr, false).Boot()
	case m.again:
		if err = Drain(firstDescriptor); err != nil {
			// Decided all the same: reading the channel only says that someone asked.
			fmt.Fprintf(stderr, "accountlock-gate: cannot empty the channel: %v\n", err)
		}
		err = parts.service(stderr, m.noReboot).Again()
	case m.reset:
		err = parts.service(stderr, false).Reset(stdin, stdout)
	default:
		err = parts.generator(m.folders[1]).Run()
	}
	if err != nil {
		fmt.Fprintf(stderr, "accountlock-gate: %v\n", err)
		return ExitFailed
	}
	return 0
}

func (p Parts) service(log io.Writer, noReboot bool) Service {
	return Service{
		Root: p.Root, Log: log, NoReboot: noReboot, Systemctl: p.Systemctl, Run: p.Run,
		Decide: func() Verdict { return p.decide("") },
	}
}

func (p Parts) generator(early string) Generator {
	virtualization, _ := p.Getenv("SYSTEMD_VIRTUALIZATION")
	return Generator{Root: p.Root, Early: early, Container: strings.HasPrefix(virtualization, "container:"), Getenv: p.Getenv, Config: p.Config}
}

// answer prints the verdict and returns the exit code that goes with it.
func answer(v Verdict, asJSON bool, stdout, stderr io.Writer) int {
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
		TPM         string   `json:"tpm"`
		Problems    []string `json:"problems"`
	}{decision, reason, string(v.Status.State), v.Rule, v.Provisioned, string(v.Store), v.OneCopy, string(v.TPM), problems})
	if err != nil {
		// Strings and booleans do not fail.
		return v.text()
	}
	return append(b, '\n')
}
