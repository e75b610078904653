// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"fmt"

	"github.com/spf13/cobra"

	"github.com/accountlock/accountlock/internal/service/audit"
	"github.com/accountlock/accountlock/internal/service/restore"
)

func restoreCommand(at *place) *cobra.Command {
	var asJSON bool
	cmd := &cobra.Command{
		Use:   "after-restore --config FILE",
		Short: "Make a database that was restored from a backup fit to be served",
		Long: "For a database that is older than what devices have seen: their links are made newer than anything stated\n" +
			"before, and sessions, flows, codes, approvals and recoveries of then are ended. Run it once, before the first\n" +
			"server starts on the restored database; see docs/operations.md.",
		Args: exactly(0, "no argument"),
		RunE: func(cmd *cobra.Command, _ []string) (err error) {
			s, err := at.open(cmd.Context())
			if err != nil {
				return err
			}
			defer func() {
				if e := s.close(); err == nil {
					err = storage(e)
				}
			}()
			done, err := restore.Finish(cmd.Context(), s.db)
			if err != nil {
				return storage(err)
			}
			entry := audit.Entry{Actor: audit.Console, Action: "after-restore", Detail: fmt.Sprintf("%d links made newer, %d entries ended", done.Links, done.Ended)}
			if err := s.trail.Record(cmd.Context(), entry); err != nil {
				return storage(err)
			}
			if asJSON {
				return writeJSON(cmd.OutOrStdout(), done)
			}
			_, err = fmt.Fprintf(cmd.OutOrStdout(), "%d links are newer than anything that a device has seen; %d sessions, flows, codes and the like were ended.\n", done.Links, done.Ended)
			return err
		},
	}
	cmd.Flags().BoolVar(&asJSON, "json", false, "write JSON")
	return cmd
}
