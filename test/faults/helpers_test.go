// SPDX-License-Identifier: Apache-2.0

package faults_test

import (
	"encoding/base64"
	"encoding/json"
	"flag"
	"fmt"
	"maps"
	"net/http"
	"os"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/rs/zerolog"

	"github.com/accountlock/accountlock/internal/diagnose"
)

// header is the header of a JWS in compact form.
func header(word string) string {
	h, _, _ := strings.Cut(word, ".")
	raw, _ := base64.RawURLEncoding.DecodeString(h)
	return string(raw)
}

func pid(p int) string { return strconv.Itoa(p) }

// quoted is a list of strings in TOML.
func quoted(in []string) string {
	out := make([]string, len(in))
	for i, s := range in {
		out[i] = strconv.Quote(s)
	}
	return strings.Join(out, ", ")
}

// jsonOf answers with the members of all the objects.
func jsonOf(status int, media string, objects ...map[string]any) http.Handler {
	all := map[string]any{}
	for _, o := range objects {
		maps.Copy(all, o)
	}
	raw, err := json.Marshal(all)
	if err != nil {
		panic(err)
	}
	return always(status, media, string(raw))
}

// The table of `make faults`: from the question to the verdict.
var table struct {
	sync.Mutex

	lines []string
}

func measured(name string, cause diagnose.Cause, took time.Duration) {
	table.Lock()
	defer table.Unlock()
	table.lines = append(table.lines, fmt.Sprintf("%-24s %8d ms  %s", cause, took.Milliseconds(), name))
}

func TestMain(m *testing.M) {
	// Most rows wait; few compute.
	flag.Parse()
	if err := flag.Set("test.parallel", "8"); err != nil {
		panic(err)
	}
	zerolog.SetGlobalLevel(zerolog.Disabled) // toxiproxy's
	code := m.Run()
	if shifted.dir != "" {
		_ = os.RemoveAll(shifted.dir)
	}
	if testing.Verbose() && len(table.lines) > 0 {
		slices.Sort(table.lines)
		fmt.Println(strings.Join(table.lines, "\n"))
	}
	os.Exit(code)
}
