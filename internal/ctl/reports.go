// SPDX-License-Identifier: Apache-2.0

package ctl

import (
	"context"
	"encoding/base64"
	"fmt"
	"maps"
	"slices"

	"github.com/godbus/dbus/v5"
	"github.com/spf13/cobra"

	"github.com/accountlock/accountlock/internal/busclient"
	"github.com/accountlock/accountlock/internal/console"
)

type variants = map[string]dbus.Variant

// plain turns a dictionary of the bus into what JSON and people can read.
func plain(v variants) map[string]any {
	out := make(map[string]any, len(v))
	for key, value := range v {
		out[key] = plainValue(value.Value())
	}
	return out
}

func plainValue(v any) any {
	switch v := v.(type) {
	case []byte:
		return base64.RawURLEncoding.EncodeToString(v)
	case variants:
		return plain(v)
	case dbus.Variant:
		return plainValue(v.Value())
	}
	return v
}

// details prints a dictionary below what it belongs to.
func (a *app) details(d map[string]any, indent string) {
	for _, key := range slices.Sorted(maps.Keys(d)) {
		if v := console.Clean(fmt.Sprint(d[key])); v != "" {
			a.printf("%s%s: %s\n", indent, console.Clean(key), v)
		}
	}
}

func (a *app) explainCommand() *cobra.Command {
	type raw struct {
		Fact, Source string
		Details      variants
	}
	type fact struct {
		Fact    string         `json:"fact"`
		Source  string         `json:"source"`
		Details map[string]any `json:"details"`
	}
	return a.reading("explain", "Say why the state is what it is",
		`Says which copy of the record, which marker, which word of the account service and which
rule made the state what it is; the deciding rule comes first.

With --json: {"facts": [{"fact", "source", "details": {…}}]}.`,
		func(ctx context.Context, c *busclient.Client) error {
			var got []raw
			if err := c.Manager(ctx, "Explain", []any{&got}); err != nil {
				return err
			}
			facts := make([]fact, len(got))
			for i, r := range got {
				facts[i] = fact{r.Fact, r.Source, plain(r.Details)}
			}
			return a.answer(map[string]any{"facts": facts}, func() {
				for _, f := range facts {
					a.printf("%s (%s)\n", console.Clean(f.Fact), console.Clean(f.Source))
					a.details(f.Details, indent)
				}
			})
		})
}

// finding is one line of `doctor`.
type finding struct {
	Check   string         `json:"check"`
	Result  string         `json:"result"`
	Message string         `json:"message"`
	Details map[string]any `json:"details"`
}

func (a *app) doctorCommand() *cobra.Command {
	return &cobra.Command{
		Use: "doctor", Short: "Find out what works and what does not", GroupID: "read",
		Long: `Checks the way from this program to the account service, and the record store. It prints
no secret, so that its output can be sent to support. It exits with 1 where a check failed.

With --json: {"checks": [{"check", "result", "message", "details": {…}}]}; 'result' is ok, warning,
failed or skipped.`,
		Args:              cobra.NoArgs,
		ValidArgsFunction: cobra.NoFileCompletions,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return a.doctor(cmd.Context())
		},
	}
}

func (a *app) doctor(ctx context.Context) error {
	found := a.examine(ctx)
	err := a.answer(map[string]any{"checks": found}, func() {
		for _, f := range found {
			a.printf("%-8s  %s: %s\n", console.Clean(f.Result), console.Clean(f.Check), console.Clean(f.Message))
			a.details(f.Details, "            ")
		}
	})
	if err != nil {
		return err
	}
	if slices.ContainsFunc(found, func(f finding) bool { return f.Result == "failed" }) {
		return exitStatus(ExitFailed)
	}
	return nil
}

// examine begins with what keeps the daemon itself from being asked.
func (a *app) examine(ctx context.Context) []finding {
	c, err := a.connect(ctx)
	if err != nil {
		return []finding{broken("system bus", err)}
	}
	defer c.Close()
	found := []finding{{"system bus", "ok", "The system bus answers.", map[string]any{}}}
	var got []struct {
		Check, Result, Message string
		Details                variants
	}
	if err := c.Manager(ctx, "Diagnose", []any{&got}); err != nil {
		return append(found, broken("accountlockd", err))
	}
	found = append(found, finding{"accountlockd", "ok", "accountlockd answers.", map[string]any{}})
	for _, g := range got {
		found = append(found, finding{g.Check, g.Result, g.Message, plain(g.Details)})
	}
	return found
}

func broken(check string, err error) finding {
	f := busclient.AsFailure(err)
	return finding{check, "failed", f.Message, map[string]any{"error": f.Name, "remedy": f.Remedy}}
}
