// SPDX-License-Identifier: Apache-2.0

package diagnose_test

import (
	"flag"
	"fmt"
	"os"
	"strings"
	"testing"

	"github.com/accountlock/accountlock/internal/diagnose"
	"github.com/accountlock/accountlock/internal/fault"
)

var update = flag.Bool("update", false, "write the tables in docs/diagnosis.md again")

// The marks around what is made from the code.
const (
	document = "../../docs/diagnosis.md"
	begin    = "<!-- begin: made by go test ./internal/diagnose -update -->\n"
	end      = "<!-- end -->\n"
)

func table() string {
	var b strings.Builder
	b.WriteString("| cause | error | evidence | what is said | what to do |\n| --- | --- | --- | --- | --- |\n")
	for _, e := range diagnose.Causes() {
		fmt.Fprintf(&b, "| `%s` | %s | %s | %s | %s |\n", e.Cause, e.Code, e.Evidence, e.Message, e.Remedy)
	}
	return b.String()
}

func TestTheDocumentSaysWhatTheCodeSays(t *testing.T) {
	raw, err := os.ReadFile(document)
	if err != nil {
		t.Fatal(err)
	}
	before, rest, ok := strings.Cut(string(raw), begin)
	_, after, ok2 := strings.Cut(rest, end)
	if !ok || !ok2 {
		t.Fatalf("%s has no %q and %q", document, begin, end)
	}
	want := before + begin + table() + end + after
	if *update {
		if err := os.WriteFile(document, []byte(want), 0o600); err != nil {
			t.Fatal(err)
		}
		return
	}
	if string(raw) != want {
		t.Fatalf("%s is stale: go test ./internal/diagnose -update", document)
	}
}

func TestTheDocumentNamesEveryErrorThatAScreenMayMeet(t *testing.T) {
	raw, err := os.ReadFile(document)
	if err != nil {
		t.Fatal(err)
	}
	for _, code := range fault.Codes() {
		if !strings.Contains(string(raw), string(code)) {
			t.Errorf("%s does not name %s", document, code)
		}
	}
}
