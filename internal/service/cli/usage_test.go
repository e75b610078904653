// SPDX-License-Identifier: Apache-2.0

package cli_test

import (
	"bytes"
	"context"
	"strings"
	"testing"

	"github.com/accountlock/accountlock/internal/service/cli"
)

// server runs one command line and returns what it wrote, on either stream, and its exit code.
func server(args ...string) (stdout, stderr string, code int) {
	var out, wrong bytes.Buffer
	code = cli.Run(context.Background(), args, cli.Env{Stdin: strings.NewReader(""), Stdout: &out, Stderr: &wrong})
	return out.String(), wrong.String(), code
}

func TestALostCommandIsAMistake(t *testing.T) {
	for _, line := range []string{"", "account", "device", "keys", "support", "support case", "support staff"} {
		args := strings.Fields(line)
		stdout, stderr, code := server(args...)
		if code != cli.ExitUsage || stdout != "" || !strings.Contains(stderr, strings.TrimSpace("accountlock-server "+line)+" --help") {
			t.Errorf("%q: exit %d, %q, %q", line, code, stdout, stderr)
		}
		if stdout, _, code := server(append(args, "--help")...); code != cli.ExitDone || !strings.Contains(stdout, "Available Commands") {
			t.Errorf("%q --help: exit %d, %s", line, code, stdout)
		}
	}
}

func TestTheHelpNamesWhatAFlagTakes(t *testing.T) {
	for line, want := range map[string][]string{
		"device show --help": {"--config FILE ", "--data DIR "},
		"migrate --help":     {"--config FILE ", "--data DIR "},
		"conformance --help": {"--key-set FILE "},
	} {
		stdout, _, _ := server(strings.Fields(line)...)
		for _, w := range want {
			if !strings.Contains(stdout, w) {
				t.Errorf("%s does not say %q:\n%s", line, w, stdout)
			}
		}
	}
}
