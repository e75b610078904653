// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"fmt"
	"io"
	"strings"

	"github.com/spf13/cobra"

	"github.com/accountlock/accountlock/internal/fault"
	"github.com/accountlock/accountlock/internal/service/audit"
	"github.com/accountlock/accountlock/internal/service/files"
)

const (
	consoleActor = audit.Console
	// entriesShown and maxEntriesShown bound what `support audit` lists.
	entriesShown    = 50
	maxEntriesShown = 10_000
	// maxHead bounds, in bytes, the file of a head that was kept.
	maxHead = 4 << 10
)

func (c *supportCommands) audit() *cobra.Command {
	var (
		f       audit.Filter
		verify  bool
		against string
		head    bool
	)
	cmd := &cobra.Command{
		Use:   "audit [--verify [--against FILE]] [--head] [--case NUMBER] [--account ID] [--device DEVICE-ID]",
		Short: "Show what staff and the console have done, and whether anybody changed the trail",
		Long: "Shows the newest entries of the audit trail. With --verify the whole trail is read, its chain of hashes followed\n" +
			"and the signature of its end checked: what does not hold is told in words, and the exit code is 9. --head writes the\n" +
			"signed end of a trail that is whole: keep it on another machine, and --against finds out later whether the database\n" +
			"was put back to an earlier state.",
		Args: exactly(0, "no argument"),
		RunE: func(cmd *cobra.Command, _ []string) error {
			if f.Limit < 1 || f.Limit > maxEntriesShown {
				return usage("--limit must be 1 to %d.", maxEntriesShown)
			}
			if against != "" && !verify {
				return usage("--against is for --verify.")
			}
			return c.with(cmd.Context(), func(s *service) error {
				if verify || head {
					return c.verifyTrail(cmd, s, against, head)
				}
				all, err := s.trail.List(cmd.Context(), f)
				if err != nil {
					return err
				}
				return c.tell(cmd, map[string]any{"entries": all}, func(w io.Writer) {
					for _, e := range all {
						fmt.Fprintf(w, "%d\t%s\t%s\t%s\t%s\t%s\n", e.Number, at(e.At), e.Actor, e.Action,
							strings.Join(nonEmpty(e.Case, e.Account, e.Device), " "), printable(e.Detail))
					}
				})
			})
		},
	}
	fl := cmd.Flags()
	fl.BoolVar(&verify, "verify", false, "say whether the trail is whole")
	fl.StringVar(&against, "against", "", "a file with a head that was kept earlier")
	fl.BoolVar(&head, "head", false, "verify, and write the signed head, to be kept elsewhere")
	fl.StringVar(&f.Case, "case", "", "only what was done in a case")
	fl.StringVar(&f.Account, "account", "", "only what was done to an account, by its account ID")
	fl.StringVar(&f.Device, "device", "", "only what was done to a device")
	fl.Int64Var(&f.Before, "before", 0, "only entries before this number")
	fl.IntVar(&f.Limit, "limit", entriesShown, "how many entries at most")
	return cmd
}

func nonEmpty(all ...string) (out []string) {
	for _, s := range all {
		if s != "" {
			out = append(out, s)
		}
	}
	return out
}

// verifyTrail says whether the trail is whole; what is not is
// fault.StorageFailed. headOnly writes the head and nothing else.
func (c *supportCommands) verifyTrail(cmd *cobra.Command, s *service, against string, headOnly bool) error {
	kept := ""
	if against != "" {
		b, err := files.Read(against, maxHead)
		if err != nil {
			return usage("The file of the kept head cannot be read: %s.", reason(err))
		}
		kept = strings.TrimSpace(string(b))
	}
	trusted, err := s.keys.Trusted()
	if err != nil {
		return storage(err)
	}
	r, err := s.trail.Verify(cmd.Context(), trusted, kept)
	if err != nil {
		return err
	}
	if headOnly && r.Whole() && !c.json {
		_, err := fmt.Fprintln(cmd.OutOrStdout(), r.Head)
		return err
	}
	err = c.tell(cmd, r, func(w io.Writer) {
		fmt.Fprintf(w, "Entries\t%d\n", r.Entries)
		for _, b := range r.Breaks {
			fmt.Fprintf(w, "Broken\t%s\n", b)
		}
		if r.Whole() {
			fmt.Fprintln(w, "The trail is whole.")
		}
	})
	if err != nil || r.Whole() {
		return err
	}
	f := fault.Newf(fault.StorageFailed, "The audit trail is not whole: somebody changed it in the database.")
	f.Remedy = "Keep the database as it is, compare it with a backup, and find out who could write to it."
	return f
}
